// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatRepository

extension ChunkReader {
    /// Hands the verified bytes of a chunk to `body`; a length other than its list says is damage.
    func withChunk<Result>(
        _ id: Digest, length: UInt32, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        try withChunk(id) { bytes in
            guard bytes.count == Int(length) else {
                throw LifeboatError(
                    "chunk '\(id.shortHex)' has \(bytes.count) bytes where \(length) were expected",
                    hint: "Run 'lifeboat check --read-data' to see what it affects.", exitCode: .damagedRepository)
            }
            return try body(bytes)
        }
    }

    /// A copy of the verified bytes of a chunk.
    func verifiedChunk(_ id: Digest, length: UInt32) throws -> [UInt8] {
        try withChunk(id, length: length) { Array($0) }
    }
}
