// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats

@testable import LifeboatRepository

/// What the bytes of a repository are spent on, beside those of another one that holds the same snapshots: for the
/// message of a test that finds too many.
struct StoredBytes {
    private struct Copy {
        /// Bytes of the patch, or of the chunk when it is compressed by itself.
        var size: Int
        var isWhole: Bool
    }

    private let copies: [Digest: [Copy]]
    /// Bytes that frames take beyond their members.
    private let frames: Int

    init(_ repository: Repository) throws {
        let reader = ChunkReader(repository, try repository.openIndexes())
        let compressor = try ZstdCompressor(level: 3)
        var buffer = [UInt8](repeating: 0, count: ZstdCompressor.bound(repository.config.chunker.maximum))
        var copies: [Digest: [Copy]] = [:]
        var frames = 0
        for index in try repository.openEachIndex().all {
            for frame in 0..<index.frameCount { frames += Int(index.frame(frame).length) }
            for record in 0..<index.chunkCount {
                let location = try index.location(at: record)
                var size = Int(location.length)
                if !location.isDelta {
                    size = try reader.withChunk(index.chunkID(record)) { data in
                        min(data.count, try buffer.withUnsafeMutableBytes { try compressor.compress(data, into: $0) })
                    }
                }
                frames -= size
                copies[index.chunkID(record), default: []].append(Copy(size: size, isWhole: !location.isDelta))
            }
        }
        self.copies = copies
        self.frames = frames
    }

    /// A line for each kind of difference: bytes and chunks.
    func difference(from other: StoredBytes) -> String {
        var sums: [String: (bytes: Int, chunks: Int)] = [:]
        func add(_ key: String, _ bytes: Int) {
            sums[key, default: (0, 0)].bytes += bytes
            sums[key, default: (0, 0)].chunks += 1
        }
        func kind(_ copy: Copy) -> String { copy.isWhole ? "whole" : "delta" }
        for (id, own) in copies {
            let best = own.reduce(own[0]) { $1.size < $0.size ? $1 : $0 }
            if own.count > 1 { add("second copies", own.reduce(0) { $0 + $1.size } - best.size) }
            if let theirs = other.copies[id]?[0] {
                add("\(kind(best)) for \(kind(theirs))", best.size - theirs.size)
            } else {
                add("\(kind(best)) of a dead chunk", best.size)
            }
        }
        add("frames beyond their members", frames - other.frames)
        return sums.sorted { $0.key < $1.key }.map { "\n    \($0.key): \($0.value.bytes) in \($0.value.chunks)" }
            .joined()
    }
}
