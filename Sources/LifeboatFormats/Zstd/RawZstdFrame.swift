// SPDX-License-Identifier: Apache-2.0

/// A zstd frame whose blocks hold the data as it is (RFC 8878, block type Raw_Block): for data that does not shrink.
/// `zstd -d` reads it like any other frame; writing and reading it cost a copy.
///
///     4  magic FD2FB528, little-endian
///     1  frame header descriptor: content size in 4 (0x80) or 8 (0xC0) bytes, no checksum, no dictionary
///     1  window descriptor 0x38: 128 KiB, since nothing refers back
///     4/8 content size
///     then blocks of at most 128 KiB, each after 3 bytes: size << 3 | type 0 << 1 | last
package enum RawZstdFrame {
    static let magic: UInt32 = 0xFD2F_B528
    /// The format's largest block.
    private static let blockSize = 128 << 10
    private static let blockHeaderSize = 3

    /// Length of the frame for `n` bytes of data.
    package static func size(of n: Int) -> Int {
        headerSize(of: n) + max(1, (n + blockSize - 1) / blockSize) * blockHeaderSize + n
    }

    private static func headerSize(of n: Int) -> Int { n <= Int(UInt32.max) ? 10 : 14 }

    /// Writes the frame to the start of `destination`, which must hold `size(of: source.count)` bytes (a programming
    /// error otherwise); returns that size. The two must not overlap.
    @discardableResult
    package static func write(
        _ source: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer
    ) -> Int {
        unsafe write(source, UnsafeRawBufferPointer(start: nil, count: 0), padding: 0, into: destination)
    }

    /// Writes a frame that decodes to `head`, then `body`, then `padding` zero bytes: a tar member whose data is
    /// copied this once. Sizes and returns as `write(_:into:)`.
    @discardableResult
    package static func write(
        _ head: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer, padding: Int,
        into destination: UnsafeMutableRawBufferPointer
    ) -> Int {
        let total = head.count + body.count + padding
        let frameSize = size(of: total)
        precondition(padding >= 0 && destination.count >= frameSize, "the destination holds the whole frame")
        unsafe destination.storeBytes(of: magic.littleEndian, as: UInt32.self)
        unsafe destination[5] = 0x38
        if headerSize(of: total) == 10 {
            unsafe destination[4] = 0x80
            unsafe destination.storeBytes(of: UInt32(total).littleEndian, toByteOffset: 6, as: UInt32.self)
        } else {
            unsafe destination[4] = 0xC0
            unsafe destination.storeBytes(of: UInt64(total).littleEndian, toByteOffset: 6, as: UInt64.self)
        }
        var output = headerSize(of: total)
        var position = 0
        repeat {
            let block = min(blockSize, total - position)
            let blockHeader = UInt32(block) << 3 | (position + block == total ? 1 : 0)
            unsafe destination[output] = UInt8(truncatingIfNeeded: blockHeader)
            unsafe destination[output + 1] = UInt8(truncatingIfNeeded: blockHeader >> 8)
            unsafe destination[output + 2] = UInt8(truncatingIfNeeded: blockHeader >> 16)
            output += blockHeaderSize
            // The block is the part position..<position + block of head + body + zeros.
            let end = position + block
            if position < head.count {
                let part = unsafe head[position..<min(end, head.count)]
                unsafe copy(UnsafeRawBufferPointer(rebasing: part), to: destination, at: output)
                output += unsafe part.count
                position += unsafe part.count
            }
            if position < end, position < head.count + body.count {
                let part = unsafe body[position - head.count..<min(end - head.count, body.count)]
                unsafe copy(UnsafeRawBufferPointer(rebasing: part), to: destination, at: output)
                output += unsafe part.count
                position += unsafe part.count
            }
            if position < end {
                let zeros = end - position
                unsafe UnsafeMutableRawBufferPointer(rebasing: destination[output..<output + zeros])
                    .initializeMemory(as: UInt8.self, repeating: 0)
                output += zeros
                position = end
            }
        } while position < total
        return output
    }

    private static func copy(
        _ part: UnsafeRawBufferPointer, to destination: UnsafeMutableRawBufferPointer, at offset: Int
    ) {
        unsafe UnsafeMutableRawBufferPointer(rebasing: destination[offset..<offset + part.count])
            .copyMemory(from: part)
    }
}
