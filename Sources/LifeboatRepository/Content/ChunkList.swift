// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// The list form of content: records of 36 bytes, 32 bytes chunk id and 4 bytes little-endian length of the chunk.
enum ChunkList {
    static let recordSize = 36

    static func encode(ids: [Digest], lengths: [UInt32]) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: ids.count * recordSize) { buffer, count in
            let bytes = UnsafeMutableRawBufferPointer(buffer)
            for (number, (id, length)) in zip(ids, lengths).enumerated() {
                let start = number * recordSize
                id.copyBytes(to: UnsafeMutableRawBufferPointer(rebasing: bytes[start..<start + 32]))
                bytes.storeBytes(of: length.littleEndian, toByteOffset: start + 32, as: UInt32.self)
            }
            count = ids.count * recordSize
        }
    }

    /// The record at the start of `bytes`, which holds at least one.
    static func decode(_ bytes: UnsafeRawBufferPointer) -> (id: Digest, length: UInt32) {
        (
            Digest(UnsafeRawBufferPointer(rebasing: bytes[..<32])),
            UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 32, as: UInt32.self))
        )
    }
}
