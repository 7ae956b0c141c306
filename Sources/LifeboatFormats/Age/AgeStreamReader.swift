// SPDX-License-Identifier: Apache-2.0

package import LifeboatIO

/// The plain bytes of an age file that comes as a stream. Hands out only what a tag vouches for; what it handed out
/// before it threw was written so, but is not the whole file. Used on one thread at a time; reads block.
@safe
package final class AgeStreamReader: ByteSource {
    private let source: any ByteSource
    private let opener: AgeBlockOpener
    /// Sealed bytes read but not opened yet: a block, and one byte more, to know whether another block follows.
    private let sealed: UnsafeMutableRawBufferPointer
    private var sealedCount: Int
    private var sourceEnded: Bool
    private var block: UInt64 = 0
    /// Opened bytes that the last reader's buffer had no room for.
    private let plain: UnsafeMutableRawBufferPointer
    private var plainRange = 0..<0
    private var finished = false
    /// Thrown by the next read, and every one after it.
    private var failure: (any Error)?

    /// Reads the header, and some of what follows, from `source`, which belongs to the reader from now on. Throws
    /// `AgeError`, and what the source throws.
    package init(_ source: any ByteSource, keys: [AgeKey]) throws {
        var start = [UInt8](repeating: 0, count: 4 << 10)
        var count = 0
        var ended = false
        var opened: AgeReader?
        while opened == nil {
            // Only tried when the buffer is full or the source at its end: twice as much each time.
            while !ended, count < start.count {
                let read = try unsafe start.withUnsafeMutableBytes { bytes in
                    try unsafe source.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[count...]))
                }
                if read == 0 { ended = true }
                count += read
            }
            do {
                opened = try unsafe start.withUnsafeBufferPointer { bytes throws(AgeError) in
                    try unsafe AgeReader(
                        start: UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: bytes[..<count])), keys: keys)
                }
            } catch AgeError.needMore {
                guard !ended else { throw AgeError.header("the header is cut short") }
                start += [UInt8](repeating: 0, count: start.count)
            }
        }
        guard let opened else { throw AgeError.needMore }
        self.source = source
        opener = try AgeBlockOpener(opened.payloadKey)
        sourceEnded = ended
        // A long header leaves more than a block behind it at worst.
        let rest = start[opened.payloadOffset..<count]
        unsafe sealed = .allocate(byteCount: max(AgePayload.sealedBlockSize + 1, rest.count), alignment: 64)
        unsafe plain = .allocate(byteCount: AgePayload.blockSize, alignment: 64)
        sealedCount = rest.count
        unsafe sealed.copyBytes(from: rest)
    }

    deinit {
        unsafe wipe(plain)
        unsafe plain.deallocate()
        unsafe sealed.deallocate()
    }

    package func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        guard buffer.count > 0 else { return 0 }
        if plainRange.isEmpty {
            if let failure { throw failure }
            if finished { return 0 }
            do {
                let direct = buffer.count >= AgePayload.blockSize
                let count = try unsafe nextBlock(into: direct ? buffer : plain)
                if direct { return count }
                plainRange = 0..<count
            } catch {
                failure = error
                throw error
            }
            // Only the empty file has an empty block, and it ends there.
            if plainRange.isEmpty { return 0 }
        }
        let count = min(buffer.count, plainRange.count)
        unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: plain[plainRange.prefix(count)]))
        plainRange = plainRange.dropFirst(count)
        return count
    }

    package func close() { source.close() }

    /// Opens the next block, and returns its size.
    private func nextBlock(into target: UnsafeMutableRawBufferPointer) throws -> Int {
        while !sourceEnded, sealedCount <= AgePayload.sealedBlockSize {
            let read = try unsafe source.read(into: UnsafeMutableRawBufferPointer(rebasing: sealed[sealedCount...]))
            if read == 0 { sourceEnded = true }
            sealedCount += read
        }
        guard sealedCount > 0 else {
            throw AgeError.truncated("the payload has no block")
        }
        let count = min(sealedCount, AgePayload.sealedBlockSize)
        let bytes = unsafe UnsafeRawBufferPointer(rebasing: sealed[..<count])
        let isLast = sourceEnded && sealedCount == count
        if try unsafe opener.tryOpen(bytes, block, isLast: isLast, into: target) {
            if isLast {
                guard count > AgePayload.tagSize || block == 0 else {
                    throw AgeError.payload("its last block is empty")
                }
                finished = true
            }
        } else {
            // The block may be a good one in the wrong place. Its bytes are what was written, so they are handed out;
            // the next read says what is wrong.
            guard count == AgePayload.sealedBlockSize,
                try unsafe opener.tryOpen(bytes, block, isLast: !isLast, into: target)
            else { throw AgeError.payload(AgeBlockOpener.damaged(block, count)) }
            failure =
                isLast
                ? AgeError.truncated("the payload ends after block \(block), which is not its last")
                : AgeError.payload("bytes follow the last block of the payload")
        }
        block += 1
        sealedCount -= count
        if sealedCount > 0 {
            unsafe sealed.copyMemory(
                from: UnsafeRawBufferPointer(rebasing: sealed[count..<count + sealedCount]))
        }
        return count - AgePayload.tagSize
    }
}
