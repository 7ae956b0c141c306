// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatIO
package import LifeboatStorage

/// Reads chunks: finds them in the index, fetches and decodes their frame, checks their digest. Thread-safe.
///
/// Decoded frames are kept up to a byte limit, so that the small files of one frame cost one fetch; two threads that
/// want the same frame wait for one fetch.
package final class ChunkReader: Sendable {
    /// Identifies a frame: its pack and where it starts.
    private struct FrameKey: Hashable {
        var pack: Digest
        var offset: UInt32
    }

    /// Decoded bytes of a frame; read-only once shared.
    private final class Frame: @unchecked Sendable {
        let bytes: UnsafeMutableRawBufferPointer
        init(count: Int) { bytes = .allocate(byteCount: count, alignment: 64) }
        deinit { bytes.deallocate() }
    }

    private enum Slot {
        case loading
        case loaded(Frame, lastUse: UInt64)
    }

    private struct State {
        var slots: [FrameKey: Slot] = [:]
        var bytes = 0
        var clock: UInt64 = 0
    }

    private let repository: Repository
    private let indexes: IndexSet
    private let cacheLimit: Int
    private let state = Monitor(State())
    private let decoders = Monitor<[DecoderBox]>([])
    private let maximumPlain: Int
    private let maximumFrame: Int

    /// `cacheLimit`: bytes of decoded frames that are kept.
    package init(_ repository: Repository, _ indexes: IndexSet, cacheLimit: Int = 24 << 20) {
        self.repository = repository
        self.indexes = indexes
        self.cacheLimit = cacheLimit
        maximumPlain = ChunkWorker.maximumPlain(maximumChunk: repository.config.chunker.maximum)
        maximumFrame = ChunkWorker.maximumFrame(maximumChunk: repository.config.chunker.maximum)
    }

    package var indexSet: IndexSet { indexes }

    /// Whether some index knows the chunk.
    package func isKnown(_ id: Digest) -> Bool { indexes.contains(id) }

    /// Hands the verified bytes of a chunk to `body`; they are valid only inside it. A chunk that is stored at several
    /// places is read from the next one when the first is damaged.
    package func withChunk<Result>(
        _ id: Digest, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        if !repository.sealing.canRead {
            // This host cannot open packs: it has what it wrote itself, or nothing.
            guard let copy = try repository.local.chunk(id) else {
                throw Sealing.noKey(try packKey(of: id))
            }
            return try copy.withUnsafeBytes(body)
        }
        let locations = try indexes.locations(of: id)
        guard !locations.isEmpty else {
            throw LifeboatError(
                "chunk '\(id.shortHex)' is in no index of the repository",
                hint: "Run 'lifeboat check --read-data' to see what it affects.", exitCode: .damagedRepository)
        }
        var firstFailure: LifeboatError?
        for location in locations {
            let frame: Frame
            let data: UnsafeRawBufferPointer
            do {
                frame = try self.frame(at: location)
                data = UnsafeRawBufferPointer(
                    rebasing: frame.bytes[Int(location.offset)..<Int(location.offset) + Int(location.length)])
                guard BLAKE3.hash(data) == id else {
                    throw RepositoryError.damaged(
                        RepositoryLayout.pack(location.pack).text,
                        "chunk '\(id.shortHex)' in it does not have the digest that is its name")
                }
            } catch {
                if firstFailure == nil { firstFailure = LifeboatError.converting(error) }
                continue
            }
            return try withExtendedLifetime(frame) { try body(data) }
        }
        // The loop ran at least once and did not return.
        throw firstFailure ?? .interrupted
    }

    private func packKey(of id: Digest) throws -> ObjectKey {
        try indexes.locations(of: id).first.map { RepositoryLayout.pack($0.pack) } ?? RepositoryLayout.config
    }

    private func frame(at location: ChunkLocation) throws -> Frame {
        let key = FrameKey(pack: location.pack, offset: location.frameOffset)
        let found: Frame? = state.wait { state -> Frame?? in
            switch state.slots[key] {
            case .loaded(let frame, _):
                state.clock += 1
                state.slots[key] = .loaded(frame, lastUse: state.clock)
                return .some(frame)
            case .loading: return nil
            case nil:
                state.slots[key] = .loading
                return .some(nil)
            }
        }
        if let found { return found }
        do {
            let frame = try load(location)
            state.update { state in
                state.clock += 1
                state.slots[key] = .loaded(frame, lastUse: state.clock)
                state.bytes += frame.bytes.count
                evict(&state, keeping: key)
            }
            return frame
        } catch {
            state.update { $0.slots[key] = nil }
            throw error
        }
    }

    /// Drops the frames that were not used for longest.
    private func evict(_ state: inout State, keeping kept: FrameKey) {
        while state.bytes > cacheLimit {
            var oldest: (key: FrameKey, use: UInt64, size: Int)?
            for (key, slot) in state.slots where key != kept {
                guard case .loaded(let frame, let use) = slot, use < oldest?.use ?? .max else { continue }
                oldest = (key, use, frame.bytes.count)
            }
            guard let oldest else { return }
            state.slots[oldest.key] = nil
            state.bytes -= oldest.size
        }
    }

    private func load(_ location: ChunkLocation) throws -> Frame {
        let key = RepositoryLayout.pack(location.pack)
        guard location.framePlainLength <= maximumPlain, location.frameLength <= maximumFrame else {
            throw RepositoryError.damaged(key.text, "the index gives one of its frames an impossible size")
        }
        let frame = Frame(count: Int(location.framePlainLength))
        try withDecoder { decoder in
            let encoded = decoder.buffer(Int(location.frameLength))
            try repository.read(key, at: UInt64(location.frameOffset), into: encoded)
            do throws(FormatError) {
                try decoder.decompressor.decompress(UnsafeRawBufferPointer(encoded), into: frame.bytes)
            } catch {
                throw RepositoryError.damaged(key.text, error.lifeboatError.message)
            }
        }
        return frame
    }

    /// A decompressor with its input buffer; used by one thread at a time.
    private final class DecoderBox: @unchecked Sendable {
        // Sendable: taken out of the pool by one thread, and put back by it.
        let decompressor: ZstdDecompressor
        private var input = UnsafeMutableRawBufferPointer(start: nil, count: 0)

        init() throws { decompressor = try ZstdDecompressor() }

        deinit { input.deallocate() }

        func buffer(_ count: Int) -> UnsafeMutableRawBufferPointer {
            if input.count < count {
                input.deallocate()
                input = .allocate(byteCount: count, alignment: 64)
            }
            return UnsafeMutableRawBufferPointer(rebasing: input[..<count])
        }
    }

    private func withDecoder<Result>(_ body: (DecoderBox) throws -> Result) throws -> Result {
        let decoder = try decoders.withLock { $0.popLast() } ?? DecoderBox()
        defer { decoders.withLock { $0.append(decoder) } }
        return try body(decoder)
    }
}

extension StorageError {
    /// A failed read of an object that has to be there: a missing or short one is damage, and says so.
    package func readingRepositoryObject(_ key: ObjectKey) -> LifeboatError {
        switch kind {
        case .notFound: RepositoryError.missing(key.text, "the store has no object of that name")
        case .rangeNotSatisfiable: RepositoryError.damaged(key.text, "it is shorter than the index says")
        default: lifeboatError
        }
    }
}
