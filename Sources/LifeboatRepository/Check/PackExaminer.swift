// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatStorage

/// Reads packs whole: name against bytes, every frame decoded, every chunk against its name. Used on one thread.
package final class PackExaminer {
    private let repository: Repository
    private let decompressor: ZstdDecompressor
    private let maximumPlain: Int
    private let sizeLimit: UInt64
    private let maximumFrame: Int
    /// What is decoded now, and what it becomes.
    private let window: StoredWindow
    private let plain: UnsafeMutableRawBufferPointer

    package init(_ repository: Repository) throws {
        self.repository = repository
        decompressor = try ZstdDecompressor()
        maximumPlain = ChunkWorker.maximumPlain(maximumChunk: repository.config.chunker.maximum)
        maximumFrame = ChunkWorker.maximumFrame(maximumChunk: repository.config.chunker.maximum)
        window = StoredWindow(capacity: maximumFrame + StoredWindow.readAhead)
        plain = .allocate(byteCount: maximumPlain, alignment: 64)
        sizeLimit = UInt64(
            2
                * max(
                    PackAssembler.longestPack,
                    ChunkWorker.maximumFrame(maximumChunk: repository.config.chunker.maximum)))
    }

    deinit { plain.deallocate() }

    /// What became of a pack.
    enum Verdict: Sendable {
        case sound(PackContents)
        case damaged(reason: String)
    }

    /// Reads and judges a pack. Throws only when the store cannot be read at all.
    func verdict(on name: Digest) throws -> Verdict {
        do {
            return .sound(try contents(of: name))
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            return .damaged(reason: error.summary)
        } catch let error as FormatError {
            return .damaged(reason: error.lifeboatError.summary)
        }
    }

    /// Why a patch in the pack does not give its chunk; nil when all do, and when a base cannot be had: that is a
    /// problem of the base's pack. `reader` reads the bases.
    static func deltaProblem(in contents: PackContents, _ reader: ChunkReader) -> String? {
        for position in contents.chunks.indices {
            let place = contents.location(at: position)
            if let reason = deltaProblem(contents.chunks[position], at: place, reader) { return reason }
        }
        return nil
    }

    private static func deltaProblem(
        _ chunk: PackContents.Chunk, at place: ChunkLocation, _ reader: ChunkReader
    ) -> String? {
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

    /// What the pack holds, from its bytes alone: they are read once and piece by piece. Throws damage as
    /// `damagedRepository` or `FormatError`, and that its bytes do not have the digest in its name before all else.
    package func contents(of name: Digest) throws -> PackContents {
        let key = RepositoryLayout.pack(name)
        let stream = try PackStream(repository, name, limit: sizeLimit)
        var contents = PackContents(name: name, storedSize: stream.storedSize, frames: [], chunks: [])
        window.begin()
        try stream.reporting {
            var offset: UInt64 = 0
            var ended = false
            while offset < stream.size {
                guard !ended else { throw damaged(key, "data follows its end marker") }
                let rest = try window.bytes(from: offset, atLeast: maximumFrame, of: stream.size) {
                    try stream.read(at: $0, into: $1)
                }
                let length = try ZstdDecompressor.frameSize(of: rest)
                ended = try decode(UnsafeRawBufferPointer(rebasing: rest[..<length]), at: Int(offset), key, &contents)
                offset += UInt64(length)
            }
            guard ended else { throw damaged(key, "it has no end marker") }
        }
        try stream.finish()
        return contents
    }

    /// The chunks of a damaged pack that are whole, where they lie in it: each was decoded and has its digest. Frames
    /// are found by their first four bytes where what comes before them cannot be read. Nil when there is no such pack.
    func remains(of name: Digest) throws -> PackContents? {
        let key = RepositoryLayout.pack(name)
        let storedKey = repository.sealing.storedKey(key)
        guard let object = try repository.store.stat(storedKey) else { return nil }
        var contents = PackContents(name: name, storedSize: object.size, frames: [], chunks: [])
        guard object.size <= sizeLimit else { return contents }
        let stored: [UInt8]
        do throws(StorageError) {
            stored = try repository.store.get(storedKey, limit: sizeLimit)
        } catch {
            throw error.readingRepositoryObject(storedKey)
        }
        try repository.sealing.openWhatIsWhole(stored).withUnsafeBytes { bytes in
            var offset = 0
            while let start = Self.frameStart(bytes, from: offset) {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[start...])
                do {
                    let length = try ZstdDecompressor.frameSize(of: rest)
                    _ = try decode(
                        UnsafeRawBufferPointer(rebasing: rest[..<length]), at: start, key, &contents,
                        passesOverDamage: true)
                    offset = start + length
                } catch is FormatError {
                    offset = start + 1
                } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                    offset = start + 1
                }
            }
        }
        return contents
    }

    /// Where the next zstd frame may begin: its magic number, 0xFD2FB528 in little-endian order.
    private static func frameStart(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        var position = start
        while position + 4 <= bytes.count {
            if UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self)) == 0xFD2F_B528 {
                return position
            }
            position += 1
        }
        return nil
    }

    /// Adds one frame and its chunks; true when it held the end marker. With `passesOverDamage` chunks of a frame that
    /// are damaged are left out, and what follows a damaged tar header.
    private func decode(
        _ frame: UnsafeRawBufferPointer, at offset: Int, _ key: ObjectKey, _ contents: inout PackContents,
        passesOverDamage: Bool = false
    ) throws -> Bool {
        let plainLength = try ZstdDecompressor.contentSize(of: frame)
        guard plainLength <= UInt64(maximumPlain) else {
            throw damaged(key, "one of its frames has an impossible size")
        }
        let plain = UnsafeMutableRawBufferPointer(rebasing: plain[..<Int(plainLength)])
        try decompressor.decompress(frame, into: plain)
        var members = TarMemberReader(UnsafeRawBufferPointer(plain))
        var chunks: [PackContents.Chunk] = []
        do {
            while let member = try members.next() {
                let data = UnsafeRawBufferPointer(rebasing: plain[member.data])
                do {
                    chunks.append(try chunk(member, data, in: contents.frames.count, key))
                } catch {
                    guard passesOverDamage else { throw error }
                }
            }
        } catch {
            guard passesOverDamage else { throw error }
        }
        if !chunks.isEmpty {
            contents.chunks += chunks
            contents.frames.append(
                PackContents.Frame(
                    offset: UInt32(offset), length: UInt32(frame.count), plainLength: UInt32(plainLength)))
        }
        return members.sawEndMarker
    }

    /// The chunk of one member of frame number `frame`; throws when it is not what its name says.
    private func chunk(
        _ member: TarMemberReader.Member, _ data: UnsafeRawBufferPointer, in frame: Int, _ key: ObjectKey
    ) throws -> PackContents.Chunk {
        if let delta = DeltaName.parse(member.name) {
            return PackContents.Chunk(
                id: delta.id, frame: frame, offset: UInt32(member.data.lowerBound), length: UInt32(member.data.count),
                bases: delta.bases, plainLength: try chunkLength(ofPatch: data, member.name, key))
        }
        guard let id = member.digest, BLAKE3.hash(data) == id else {
            throw damaged(
                key, "member '\(member.name)' does not have the digest that is its name")
        }
        return PackContents.Chunk(
            id: id, frame: frame, offset: UInt32(member.data.lowerBound), length: UInt32(member.data.count))
    }

    /// Length of the chunk a patch gives. What it gives only its bases tell: here it must be one whole frame.
    private func damaged(_ key: ObjectKey, _ reason: String) -> LifeboatError {
        RepositoryError.damaged(repository.sealing.storedKey(key).text, reason)
    }

    private func chunkLength(ofPatch patch: UnsafeRawBufferPointer, _ name: String, _ key: ObjectKey) throws -> UInt32 {
        let size = try ZstdDecompressor.contentSize(of: patch)
        guard try ZstdDecompressor.frameSize(of: patch) == patch.count, size > 0, size <= UInt64(maximumPlain) else {
            throw damaged(key, "member '\(name)' is not the patch of a chunk")
        }
        return UInt32(size)
    }
}

extension PackContents {
    /// Where the chunk at `position` lies, as an index tells it.
    func location(at position: Int) -> ChunkLocation {
        let chunk = chunks[position]
        let frame = frames[chunk.frame]
        return ChunkLocation(
            pack: name, frameOffset: frame.offset, frameLength: frame.length, framePlainLength: frame.plainLength,
            offset: chunk.offset, length: chunk.length, bases: chunk.bases)
    }
}
