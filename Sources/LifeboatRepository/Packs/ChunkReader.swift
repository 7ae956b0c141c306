// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatIO
package import LifeboatStorage

/// Reads chunks: finds them in the index, fetches and decodes their frame, undoes deltas, checks their digest.
/// Thread-safe.
///
/// Decoded frames and undone deltas are kept up to a byte limit, so that the small files of one frame cost one fetch;
/// two threads that want the same frame wait for one fetch.
package final class ChunkReader: Sendable {
    /// What is kept: a frame, by its place and size as one index tells them (another may say otherwise), or a chunk
    /// that was undone from a delta.
    private enum FrameKey: Hashable {
        case frame(pack: Digest, offset: UInt32, length: UInt32, plainLength: UInt32)
        case chunk(Digest)
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

    private struct Indexes {
        var set: IndexSet
        /// The local copies were hashed once more already.
        var areRechecked = false
        /// Packs that no index names were read already.
        var areSearched = false
    }

    private let repository: Repository
    private let indexes: Monitor<Indexes>
    private let cacheLimit: Int
    private let onSearch: (@Sendable (_ packs: Int) -> Void)?
    private let state = Monitor(State())
    private let decoders = Monitor<[DecoderBox]>([])
    private let frames = FramePool()
    private let maximumPlain: Int
    private let maximumFrame: Int

    package static let usualCacheLimit = 24 << 20

    /// `cacheLimit`: bytes of decoded frames that are kept. With `onSearch` a chunk that cannot be had is looked for in
    /// packs that no index names, once in the life of this reader; it is called with their number before they are read,
    /// on the thread that needs the chunk.
    package init(
        _ repository: Repository, _ indexes: IndexSet, cacheLimit: Int = usualCacheLimit,
        onSearch: (@Sendable (_ packs: Int) -> Void)? = nil
    ) {
        self.onSearch = onSearch
        self.repository = repository
        self.indexes = Monitor(Indexes(set: indexes))
        self.cacheLimit = cacheLimit
        maximumPlain = ChunkWorker.maximumPlain(maximumChunk: repository.config.chunker.maximum)
        maximumFrame = ChunkWorker.maximumFrame(maximumChunk: repository.config.chunker.maximum)
    }

    /// False on a host that has recipients only: it reads what it kept itself, or nothing.
    var canRead: Bool { repository.sealing.canRead }

    package var indexSet: IndexSet { indexes.withLock { $0.set } }

    /// Whether the chunk can be had, as far as indexes tell: with it, all that its deltas rest on. With `rechecking` a
    /// damaged local copy of an index, and a damaged index, are ruled out before it says no.
    package func isKnown(_ id: Digest, rechecking: Bool = false) -> Bool {
        while !indexSet.contains(id) {
            guard rechecking, (try? improveIndexes()) == true else { return false }
        }
        return true
    }

    /// Makes the indexes say more than they did: hashes the local copies, and replaces damaged ones; then, where that is
    /// wanted, reads the packs that no index names. Each once in the life of this reader; false when nothing was gained.
    private func improveIndexes() throws -> Bool {
        try indexes.withLock { indexes in
            if !indexes.areRechecked {
                indexes.areRechecked = true
                if let fresh = try repository.recheckedIndexes(indexes.set) {
                    indexes.set = fresh
                    return true
                }
            }
            guard let onSearch, !indexes.areSearched else { return false }
            indexes.areSearched = true
            let found = try repository.indexUnnamedPacks(indexes.set, onSearch)
            for index in found { indexes.set.add(index) }
            return !found.isEmpty
        }
    }

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
        let (frame, range) = try improvedChunk(id)
        return try withExtendedLifetime(frame) {
            try body(UnsafeRawBufferPointer(rebasing: frame.bytes[range]))
        }
    }

    private func improvedChunk(_ id: Digest) throws -> (Frame, Range<Int>) {
        while true {
            do {
                return try verifiedChunk(id)
            } catch let failure as LifeboatError where failure.exitCode == .damagedRepository {
                // An index may have led to the wrong place, or be missing: better ones do not.
                guard try improveIndexes() else { throw failure }
            }
        }
    }

    private func verifiedChunk(_ id: Digest) throws -> (Frame, Range<Int>) {
        do {
            return try chunk(id, depth: 0, verifyBases: false)
        } catch let failure {
            guard try indexSet.locations(of: id).contains(where: \.isDelta) else { throw failure }
            // A wrong base shows only in what is made of it: go through the chain again, step by step, to take
            // another copy of what is damaged, or to name it.
            return try chunk(id, depth: 0, verifyBases: true)
        }
    }

    private func packKey(of id: Digest) throws -> ObjectKey {
        try indexSet.locations(of: id).first.map { RepositoryLayout.pack($0.pack) } ?? RepositoryLayout.config
    }

    /// The bytes of a chunk, from the first place that has them right. A chunk of `depth` 0 is verified; one that is
    /// only a base of another when `verifyBases` says so, since the other one's digest covers it. An undone delta is
    /// kept for others when it `isShared`.
    private func chunk(
        _ id: Digest, depth: Int, verifyBases: Bool, isShared: Bool = true
    ) throws -> (Frame, Range<Int>) {
        let verifies = depth == 0 || verifyBases
        if let kept = kept(.chunk(id)) {
            if !verifies || BLAKE3.hash(UnsafeRawBufferPointer(kept.bytes)) == id {
                return (kept, 0..<kept.bytes.count)
            }
            drop(.chunk(id))
        }
        guard depth <= IndexSet.depthLimit else {
            throw RepositoryError.damaged("chunk \(id.shortHex)", "the chain of deltas to it has no end")
        }
        let locations = try indexSet.locations(of: id)
        guard !locations.isEmpty else {
            guard indexSet.unreadable == 0 else {
                throw Sealing.forOtherReaders(
                    "chunk '\(id.shortHex)'", "it may be in one of \(indexSet.unreadable) indexes that it does not open"
                )
            }
            throw LifeboatError(
                "chunk '\(id.shortHex)' is in no index of the repository",
                hint: "Run 'lifeboat check --read-data' to see what it affects.", exitCode: .damagedRepository)
        }
        var firstFailure: LifeboatError?
        // Whole copies first: they rest on nothing else.
        for location in locations.filter({ !$0.isDelta }) + locations.filter(\.isDelta) {
            do {
                let (frame, range) =
                    location.isDelta
                    ? try undo(location, of: id, depth: depth, verifyBases: verifyBases) : try whole(location)
                if verifies, BLAKE3.hash(UnsafeRawBufferPointer(rebasing: frame.bytes[range])) != id {
                    throw RepositoryError.damaged(
                        repository.packName(location.pack),
                        "chunk '\(id.shortHex)' in it does not have the digest that is its name")
                }
                if location.isDelta, isShared { keep(frame, as: .chunk(id)) }
                return (frame, range)
            } catch {
                if firstFailure == nil { firstFailure = LifeboatError.converting(error) }
            }
        }
        // The loop ran at least once and did not return.
        throw firstFailure ?? .interrupted
    }

    private func whole(_ location: ChunkLocation) throws -> (Frame, Range<Int>) {
        let frame = try frame(at: location)
        let range = Int(location.offset)..<Int(location.offset) + Int(location.length)
        // The frame may have come by another record, which gave it another length.
        guard range.upperBound <= frame.bytes.count else {
            throw RepositoryError.damaged(
                repository.packName(location.pack), "an index places a chunk beyond the end of a frame in it")
        }
        return (frame, range)
    }

    /// The chunk of a delta: its bases, joined, are the prefix its patch is decoded with.
    private func undo(
        _ location: ChunkLocation, of id: Digest, depth: Int, verifyBases: Bool
    ) throws -> (Frame, Range<Int>) {
        let pack = repository.packName(location.pack)
        let (patchFrame, range) = try whole(location)
        let patch = UnsafeRawBufferPointer(rebasing: patchFrame.bytes[range])
        var bases: [(frame: Frame, range: Range<Int>)] = []
        for base in location.bases {
            do {
                // One of a pair is a base of the neighbour too. One that stands alone is wanted once: its memory is
                // better used again at once, while the processor has it at hand.
                bases.append(
                    try chunk(base, depth: depth + 1, verifyBases: verifyBases, isShared: location.bases.count > 1))
            } catch {
                throw LifeboatError.converting(error).wrapped(
                    "chunk '\(id.shortHex)' is stored as a delta, and its base '\(base.shortHex)' cannot be read")
            }
        }
        do throws(FormatError) {
            let size = try ZstdDecompressor.contentSize(of: patch)
            guard size > 0, size <= UInt64(maximumPlain) else {
                throw FormatError(.sizeMismatch, "undo a delta", "it says that its chunk has \(size) bytes")
            }
            let frame = frames.frame(count: Int(size))
            let decoder = try takeDecoder()
            defer { giveBack(decoder) }
            let prefix: UnsafeRawBufferPointer
            if bases.count == 1 {
                prefix = UnsafeRawBufferPointer(rebasing: bases[0].frame.bytes[bases[0].range])
            } else {
                let joined = decoder.buffer(bases.reduce(0) { $0 + $1.range.count })
                var end = 0
                for base in bases {
                    UnsafeMutableRawBufferPointer(rebasing: joined[end...])
                        .copyMemory(from: UnsafeRawBufferPointer(rebasing: base.frame.bytes[base.range]))
                    end += base.range.count
                }
                prefix = UnsafeRawBufferPointer(joined)
            }
            try withExtendedLifetime((patchFrame, bases)) { () throws(FormatError) in
                try decoder.decompressor.decompress(patch, base: prefix, into: frame.bytes)
            }
            return (frame, 0..<frame.bytes.count)
        } catch {
            throw RepositoryError.damaged(
                pack, "the delta of chunk '\(id.shortHex)' in it cannot be undone: \(error.lifeboatError.message)")
        }
    }

    /// Throws unless the delta at `location` gives the chunk.
    func verifyDelta(_ id: Digest, at location: ChunkLocation) throws {
        do {
            try verifyDelta(id, at: location, verifyBases: false)
        } catch {
            // As for any chunk: was it the delta, or its base?
            try verifyDelta(id, at: location, verifyBases: true)
        }
    }

    private func verifyDelta(_ id: Digest, at location: ChunkLocation, verifyBases: Bool) throws {
        let (frame, range) = try undo(location, of: id, depth: 0, verifyBases: verifyBases)
        guard BLAKE3.hash(UnsafeRawBufferPointer(rebasing: frame.bytes[range])) == id else {
            throw RepositoryError.damaged(
                repository.packName(location.pack),
                "the delta of chunk '\(id.shortHex)' in it gives other bytes")
        }
    }

    private func kept(_ key: FrameKey) -> Frame? {
        state.withLock { state in
            guard case .loaded(let frame, _) = state.slots[key] else { return nil }
            state.clock += 1
            state.slots[key] = .loaded(frame, lastUse: state.clock)
            return frame
        }
    }

    private func keep(_ frame: Frame, as key: FrameKey) {
        state.update { state in
            guard state.slots[key] == nil else { return }
            state.clock += 1
            state.slots[key] = .loaded(frame, lastUse: state.clock)
            state.bytes += frame.bytes.count
            evict(&state, keeping: key)
        }
    }

    private func drop(_ key: FrameKey) {
        state.update { state in
            guard case .loaded(let frame, _) = state.slots.removeValue(forKey: key) else { return }
            state.bytes -= frame.bytes.count
        }
    }

    private func frame(at location: ChunkLocation) throws -> Frame {
        let key = FrameKey.frame(
            pack: location.pack, offset: location.frameOffset, length: location.frameLength,
            plainLength: location.framePlainLength)
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
            throw RepositoryError.damaged(
                repository.packName(location.pack), "the index gives one of its frames an impossible size")
        }
        let frame = frames.frame(count: Int(location.framePlainLength))
        try withDecoder { decoder in
            let encoded = decoder.buffer(Int(location.frameLength))
            try repository.read(key, at: UInt64(location.frameOffset), into: encoded)
            do throws(FormatError) {
                try decoder.decompressor.decompress(UnsafeRawBufferPointer(encoded), into: frame.bytes)
            } catch {
                throw RepositoryError.damaged(repository.packName(location.pack), error.lifeboatError.message)
            }
        }
        return frame
    }

    /// A decompressor with its input buffer; used by one thread at a time.
    private final class DecoderBox: @unchecked Sendable {
        // Sendable: taken out of the pool by one thread, and put back by it.
        let decompressor: ZstdDecompressor
        private var input = UnsafeMutableRawBufferPointer(start: nil, count: 0)

        init() throws(FormatError) { decompressor = try ZstdDecompressor() }

        deinit { input.deallocate() }

        func buffer(_ count: Int) -> UnsafeMutableRawBufferPointer {
            if input.count < count {
                input.deallocate()
                input = .allocate(byteCount: count, alignment: 64)
            }
            return UnsafeMutableRawBufferPointer(rebasing: input[..<count])
        }
    }

    private func takeDecoder() throws(FormatError) -> DecoderBox {
        if let decoder = decoders.withLock({ $0.popLast() }) { return decoder }
        return try DecoderBox()
    }

    private func giveBack(_ decoder: DecoderBox) { decoders.withLock { $0.append(decoder) } }

    private func withDecoder<Result>(_ body: (DecoderBox) throws -> Result) throws -> Result {
        let decoder = try takeDecoder()
        defer { giveBack(decoder) }
        return try body(decoder)
    }
}

extension StorageError {
    /// A failed read of an object that has to be there: a missing or short one is damage, and says so.
    package func readingRepositoryObject(_ key: ObjectKey) -> LifeboatError {
        switch kind {
        case .notFound: RepositoryError.missing(key.text, "the store has no object of that name")
        case .rangeNotSatisfiable: RepositoryError.damaged(key.text, "it is shorter than the index says")
        // Of a read only one thing is too much: the limit on the size of the object.
        case .full: RepositoryError.damaged(key.text, "it is larger than any object of its kind")
        default: lifeboatError
        }
    }
}
