// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatStorage

/// Reads packs whole: name against bytes, every frame decoded, every chunk against its name, every chunk where the
/// indexes say it is. Used on one thread.
package final class PackExaminer {
    private let repository: Repository
    private let decompressor: ZstdDecompressor
    private let maximumPlain: Int
    private let sizeLimit: UInt64

    package init(_ repository: Repository) throws {
        self.repository = repository
        decompressor = try ZstdDecompressor()
        maximumPlain = ChunkWorker.maximumPlain(maximumChunk: repository.config.chunker.maximum)
        sizeLimit = UInt64(
            2
                * max(
                    PackAssembler.targetSize,
                    ChunkWorker.maximumFrame(maximumChunk: repository.config.chunker.maximum)))
    }

    /// What is wrong with the pack; nil when nothing is. Throws only when the store cannot be read at all. `reader`
    /// reads the bases of deltas.
    func problem(of name: Digest, _ indexes: IndexSet, _ reader: ChunkReader) throws -> String? {
        do {
            let contents = try contents(of: name)
            for chunk in contents.chunks {
                let frame = contents.frames[chunk.frame]
                let place = ChunkLocation(
                    pack: name, frameOffset: frame.offset, frameLength: frame.length,
                    framePlainLength: frame.plainLength, offset: chunk.offset, length: chunk.length,
                    bases: chunk.bases)
                let known = try indexes.locations(of: chunk.id).filter { $0.pack == name }
                // A pack that no index names is an orphan, not damage.
                guard known.isEmpty || known.contains(place) else {
                    return "an index places chunk '\(chunk.id.shortHex)' where the pack does not have it"
                }
                if let reason = deltaProblem(chunk, at: place, reader) { return reason }
            }
            return nil
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            return error.summary
        } catch let error as FormatError {
            return error.lifeboatError.summary
        }
    }

    /// Why the patch does not give its chunk; nil when it does, and when a base cannot be had: that is a problem of
    /// the base's pack.
    private func deltaProblem(_ chunk: PackContents.Chunk, at place: ChunkLocation, _ reader: ChunkReader) -> String? {
        guard place.isDelta else { return nil }
        for base in chunk.bases {
            do { try reader.withChunk(base) { _ in } } catch { return nil }
        }
        do {
            try reader.verifyDelta(chunk.id, at: place)
            return nil
        } catch {
            return LifeboatError.converting(error).summary
        }
    }

    /// What the pack holds, from its bytes alone. Throws damage as `damagedRepository` or `FormatError`.
    package func contents(of name: Digest) throws -> PackContents {
        let key = RepositoryLayout.pack(name)
        let stored = try repository.storedBytes(key, named: name, limit: sizeLimit)
        let bytes = try repository.sealing.open(stored, key)
        var contents = PackContents(name: name, storedSize: UInt64(stored.count), frames: [], chunks: [])
        var ended = false
        try bytes.withUnsafeBytes { bytes in
            var offset = 0
            while offset < bytes.count {
                guard !ended else { throw RepositoryError.damaged(key.text, "data follows its end marker") }
                let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
                let length = try ZstdDecompressor.frameSize(of: rest)
                let frame = UnsafeRawBufferPointer(rebasing: rest[..<length])
                ended = try decode(frame, at: offset, key, &contents)
                offset += length
            }
        }
        guard ended else { throw RepositoryError.damaged(key.text, "it has no end marker") }
        return contents
    }

    /// Adds one frame and its chunks; true when it held the end marker.
    private func decode(
        _ frame: UnsafeRawBufferPointer, at offset: Int, _ key: ObjectKey, _ contents: inout PackContents
    ) throws -> Bool {
        let plainLength = try ZstdDecompressor.contentSize(of: frame)
        guard plainLength <= UInt64(maximumPlain) else {
            throw RepositoryError.damaged(key.text, "one of its frames has an impossible size")
        }
        let plain = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(plainLength), alignment: 64)
        defer { plain.deallocate() }
        try decompressor.decompress(frame, into: plain)
        var members = TarMemberReader(UnsafeRawBufferPointer(plain))
        var found = false
        while let member = try members.next() {
            found = true
            let data = UnsafeRawBufferPointer(rebasing: plain[member.data])
            if let delta = DeltaName.parse(member.name) {
                contents.chunks.append(
                    PackContents.Chunk(
                        id: delta.id, frame: contents.frames.count, offset: UInt32(member.data.lowerBound),
                        length: UInt32(member.data.count), bases: delta.bases,
                        plainLength: try chunkLength(ofPatch: data, member.name, key)))
                continue
            }
            guard let id = member.digest, BLAKE3.hash(data) == id else {
                throw RepositoryError.damaged(
                    key.text, "member '\(member.name)' does not have the digest that is its name")
            }
            contents.chunks.append(
                PackContents.Chunk(
                    id: id, frame: contents.frames.count, offset: UInt32(member.data.lowerBound),
                    length: UInt32(member.data.count)))
        }
        if found {
            contents.frames.append(
                PackContents.Frame(
                    offset: UInt32(offset), length: UInt32(frame.count), plainLength: UInt32(plainLength)))
        }
        return members.sawEndMarker
    }

    /// Length of the chunk a patch gives. What it gives only its bases tell: here it must be one whole frame.
    private func chunkLength(ofPatch patch: UnsafeRawBufferPointer, _ name: String, _ key: ObjectKey) throws -> UInt32 {
        let size = try ZstdDecompressor.contentSize(of: patch)
        guard try ZstdDecompressor.frameSize(of: patch) == patch.count, size > 0, size <= UInt64(maximumPlain) else {
            throw RepositoryError.damaged(key.text, "member '\(name)' is not the patch of a chunk")
        }
        return UInt32(size)
    }
}
