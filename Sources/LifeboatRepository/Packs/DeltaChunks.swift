// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// When a chunk is stored as a delta.
package enum DeltaChunks {
    /// Deltas that have to be undone one after the other, at most, as far as the writer knows.
    package static let maximumDepth = 4
    /// A shorter content is stored whole when it changes; bytes.
    package static let minimumContent: UInt64 = 1 << 20
    /// A shorter chunk is stored whole; bytes.
    static let minimumChunk = 16 << 10
    /// A delta must be at most this share of what the chunk would take by itself: one half.
    static let worthwhileDivisor = 2
}

/// Makes and verifies the delta of a chunk against its counterpart in the parent content. Lives on one worker thread.
final class DeltaEncoder {
    struct Delta {
        var bases: [Digest]
        /// Valid until the next call.
        var patch: UnsafeRawBufferPointer
    }

    private let compressor: ZstdDeltaCompressor
    private let decompressor: ZstdDecompressor
    /// The bases, joined. Pages that no base reaches are never touched.
    private let prefix: UnsafeMutableRawBufferPointer

    init(maximumChunk: Int) throws {
        compressor = try ZstdDeltaCompressor()
        decompressor = try ZstdDecompressor()
        prefix = .allocate(byteCount: maximumChunk, alignment: 64)
    }

    deinit { prefix.deallocate() }

    /// The delta of the chunk `id` at `start` of its content; nil when none is worth it. `patch` and `decoded` are
    /// scratch space for the patch and for what it gives again.
    func delta(
        of data: UnsafeRawBufferPointer, _ id: Digest, at start: UInt64, _ counterparts: Counterparts,
        patch: UnsafeMutableRawBufferPointer, decoded: UnsafeMutableRawBufferPointer
    ) throws -> Delta? {
        if let delta = try attempt(data, id, at: start, counterparts, patch, decoded) { return delta }
        guard counterparts.search(for: data, at: start) else { return nil }
        return try attempt(data, id, at: start, counterparts, patch, decoded)
    }

    /// A delta of a stored chunk, of which only the id is given, of the chunk `data`; nil when none is worth it.
    func delta(
        of chunk: Digest, base data: UnsafeRawBufferPointer, _ id: Digest, _ counterparts: Counterparts,
        patch: UnsafeMutableRawBufferPointer, decoded: UnsafeMutableRawBufferPointer
    ) throws -> (delta: Delta, plainLength: Int)? {
        guard let known = counterparts.read(chunk, into: prefix) else { return nil }
        let bytes = UnsafeRawBufferPointer(rebasing: prefix[..<known.length])
        let limit = min(known.storedSize / DeltaChunks.worthwhileDivisor, patch.count)
        guard
            let length = try compressor.compressIfFits(
                bytes, base: data, into: UnsafeMutableRawBufferPointer(rebasing: patch[..<limit]))
        else { return nil }
        let encoded = UnsafeRawBufferPointer(rebasing: patch[..<length])
        let target = UnsafeMutableRawBufferPointer(rebasing: decoded[..<bytes.count])
        try decompressor.decompress(encoded, base: data, into: target)
        guard BLAKE3.hash(UnsafeRawBufferPointer(target)) == chunk else { throw LifeboatError.notComingBack(chunk) }
        return (Delta(bases: [id], patch: encoded), bytes.count)
    }

    private func attempt(
        _ data: UnsafeRawBufferPointer, _ id: Digest, at start: UInt64, _ counterparts: Counterparts,
        _ patch: UnsafeMutableRawBufferPointer, _ decoded: UnsafeMutableRawBufferPointer
    ) throws -> Delta? {
        for candidate in counterparts.candidates(at: start, length: data.count) {
            guard let size = counterparts.read(candidate, into: prefix) else { continue }
            let base = UnsafeRawBufferPointer(rebasing: prefix[..<size])
            let limit = min(candidate.storedSize(of: data.count) / DeltaChunks.worthwhileDivisor, patch.count)
            guard
                let length = try compressor.compressIfFits(
                    data, base: base, into: UnsafeMutableRawBufferPointer(rebasing: patch[..<limit]))
            else { continue }
            let encoded = UnsafeRawBufferPointer(rebasing: patch[..<length])
            // As for every frame: what does not come back stops the backup before anything is committed.
            let target = UnsafeMutableRawBufferPointer(rebasing: decoded[..<data.count])
            try decompressor.decompress(encoded, base: base, into: target)
            guard BLAKE3.hash(UnsafeRawBufferPointer(target)) == id else { throw LifeboatError.notComingBack(id) }
            counterparts.noteDelta(of: data, at: start, candidate, base)
            return Delta(bases: candidate.bases, patch: encoded)
        }
        return nil
    }
}

extension LifeboatError {
    /// A chunk that an encoder turned into something else.
    static func notComingBack(_ id: Digest) -> LifeboatError {
        LifeboatError(
            "chunk '\(id.shortHex)' does not come back from its encoded form",
            causes: ["the compressor or the memory of this machine is faulty; nothing was committed"],
            hint: "Test the memory of this machine before backing up again.")
    }
}
