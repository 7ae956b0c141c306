// SPDX-License-Identifier: Apache-2.0

/// The age v1 file format (age-encryption.org/v1): small files in one piece.
package enum Age {
    /// The age file of `plain`, for at least one recipient.
    package static func seal(
        _ plain: [UInt8], recipients: [AgeRecipient], tag: String? = nil
    ) throws(AgeError) -> [UInt8] {
        try seal(plain, try AgeWriter(recipients: recipients, tag: tag))
    }

    /// The age file of `plain`, all of it in memory, with a fresh `writer`.
    package static func seal(_ plain: [UInt8], _ writer: AgeWriter) throws(AgeError) -> [UInt8] {
        let headerCount = writer.header.count
        var file = writer.header + [UInt8](repeating: 0, count: AgeWriter.sealedPayloadSize(plain.count))
        _ = try unsafe plain.withUnsafeBufferPointer { plain throws(AgeError) in
            try unsafe file.withUnsafeMutableBufferPointer { file throws(AgeError) in
                let payload = unsafe UnsafeMutableBufferPointer(rebasing: file[headerCount...])
                return try unsafe writer.seal(
                    UnsafeRawBufferPointer(plain), into: UnsafeMutableRawBufferPointer(payload))
            }
        }
        return file
    }

    /// The plain bytes of a whole age file, armored or not.
    package static func open(_ bytes: [UInt8], keys: [AgeKey]) throws(AgeError) -> [UInt8] {
        var bytes = AgeArmor.isArmored(bytes) ? try AgeArmor.decode(bytes) : bytes
        try openInPlace(&bytes, keys: keys)
        return bytes
    }

    /// Puts the plain bytes of a whole binary age file in its place, which takes no second copy of a large one. What
    /// does not open leaves an empty array.
    package static func openInPlace(_ file: inout [UInt8], keys: [AgeKey]) throws(AgeError) {
        do throws(AgeError) {
            let plainSize = try unsafe file.withUnsafeMutableBufferPointer { file throws(AgeError) in
                try unsafe openInPlace(UnsafeMutableRawBufferPointer(file), keys)
            }
            file.removeLast(file.count - plainSize)
        } catch {
            file = []
            throw error
        }
    }

    /// Gives the count of plain bytes, which then lie at the start of `file`: no block begins there before its place in
    /// the file.
    private static func openInPlace(
        _ file: UnsafeMutableRawBufferPointer, _ keys: [AgeKey]
    ) throws(AgeError) -> Int {
        let reader: AgeReader
        do throws(AgeError) {
            reader = try unsafe AgeReader(start: UnsafeRawBufferPointer(file), keys: keys)
        } catch .needMore {
            throw .header("the header is cut short")
        }
        let size = UInt64(file.count)
        let plainSize = try reader.plainSize(storedSize: size)
        let piece = UnsafeMutableRawBufferPointer.allocate(
            byteCount: min(pieceSize, Int(plainSize)), alignment: 64)
        defer { unsafe piece.deallocate() }
        var offset: UInt64 = 0
        repeat {
            let plain = offset..<min(plainSize, offset + UInt64(pieceSize))
            let place = try reader.storedRange(of: plain, storedSize: size)
            let sealed = unsafe file[Int(place.lowerBound)..<Int(place.upperBound)]
            try unsafe reader.open(
                UnsafeRawBufferPointer(rebasing: sealed), plain: plain, storedSize: size, into: piece)
            unsafe UnsafeMutableRawBufferPointer(rebasing: file[Int(offset)...]).copyMemory(
                from: UnsafeRawBufferPointer(rebasing: piece[..<plain.count]))
            offset = plain.upperBound
        } while offset < plainSize
        return Int(plainSize)
    }

    /// Whole blocks of an age file: 1 MiB.
    private static let pieceSize = 1 << 20
}
