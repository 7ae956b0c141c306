// SPDX-License-Identifier: Apache-2.0

/// The age v1 file format (age-encryption.org/v1): small files in one piece.
package enum Age {
    /// The age file of `plain`, for at least one recipient.
    package static func seal(_ plain: [UInt8], recipients: [AgeRecipient]) throws(AgeError) -> [UInt8] {
        try seal(plain, try AgeWriter(recipients: recipients))
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
        if AgeArmor.isArmored(bytes) { return try openBinary(try AgeArmor.decode(bytes), keys) }
        return try openBinary(bytes, keys)
    }

    private static func openBinary(_ file: [UInt8], _ keys: [AgeKey]) throws(AgeError) -> [UInt8] {
        try unsafe file.withUnsafeBufferPointer { file throws(AgeError) in
            let file = UnsafeRawBufferPointer(file)
            let reader: AgeReader
            do throws(AgeError) {
                reader = try unsafe AgeReader(start: file, keys: keys)
            } catch .needMore {
                throw .header("the header is cut short")
            }
            let size = UInt64(file.count)
            let plainSize = try reader.plainSize(storedSize: size)
            var plain = [UInt8](repeating: 0, count: Int(plainSize))
            try unsafe plain.withUnsafeMutableBufferPointer { plain throws(AgeError) in
                try unsafe reader.open(
                    UnsafeRawBufferPointer(rebasing: file[reader.payloadOffset...]), plain: 0..<plainSize,
                    storedSize: size, into: UnsafeMutableRawBufferPointer(plain))
            }
            return plain
        }
    }
}
