// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatStorage

/// An index that will not stay as it is, and whose tables can be followed.
struct StaleSource {
    var index: MappedIndex
    /// Packs it says wrong things of, or that are missing or damaged: all else it says goes into a new index.
    var wrongPacks: Set<Digest>
}

/// The indexes a repaired repository will have, and a way to read everything that can still be read.
struct RepairMaterial {
    /// What goes in.
    struct Parts {
        /// Indexes that stay as they are.
        var staying: [MappedIndex] = []
        var stale: [StaleSource] = []
        /// Sound packs to index from their bytes.
        var packsToIndex: [Digest] = []
        /// Packs that are missing or damaged.
        var damaged: Set<Digest> = []
        /// Packs a prune will delete: what is in them alone counts as not kept.
        var condemned: Set<Digest> = []
    }

    /// Indexes that stay, and new ones.
    let kept: IndexSet
    /// Reads through every index there is, also over what is left of damaged packs.
    let reader: ChunkReader
    /// Chunks that some index places in a damaged or missing pack, or that were found in one, and no kept index has in
    /// a pack that stays.
    let endangered: [Digest: Set<Digest>]
    /// New indexes.
    let newIndexes: UInt64

    /// With `stores` new indexes go to the repository, else to the local cache alone.
    init(_ repository: Repository, _ parts: Parts, stores: Bool, _ cancellation: Cancellation) throws {
        let examiner = try PackExaminer(repository)
        var new = NewIndexes(repository, stores: stores)
        try Self.rewrite(parts, repository, into: &new)
        for name in parts.packsToIndex {
            try cancellation.check()
            try new.add(try examiner.contents(of: name))
        }
        try new.seal()
        newIndexes = UInt64(new.indexes.count)
        kept = IndexSet(parts.staying + new.indexes)
        var staying = kept
        try staying.restrict { name, _ in !parts.condemned.contains(name) }
        var readable = kept
        for source in parts.stale { readable.add(source.index) }
        var endangered: [Digest: Set<Digest>] = [:]
        for index in parts.stale.map(\.index) {
            for position in 0..<index.chunkCount {
                guard let number = index.packNumber(at: position) else { continue }
                let pack = index.pack(number).name
                let id = index.chunkID(position)
                if parts.damaged.contains(pack), !staying.contains(id) { endangered[pack, default: []].insert(id) }
            }
        }
        for name in parts.damaged.sorted() {
            try cancellation.check()
            guard let remains = try examiner.remains(of: name), !remains.chunks.isEmpty else { continue }
            for chunk in remains.chunks where !staying.contains(chunk.id) {
                endangered[name, default: []].insert(chunk.id)
            }
            // Only for reading here: an index over a damaged pack never gets into the repository.
            readable.add(try repository.mapIndex([remains]))
        }
        self.endangered = endangered
        reader = ChunkReader(repository, readable)
    }

    /// What stale indexes say rightly, so that no pack is read for it again.
    private static func rewrite(
        _ parts: Parts, _ repository: Repository, into new: inout NewIndexes
    ) throws {
        let told = IndexAudit(parts.staying)
        let fromBytes = Set(parts.packsToIndex)
        let rewriter = IndexRewriter(repository: repository)
        for source in parts.stale {
            for pack in try rewriter.contents(of: source.index, dropping: source.wrongPacks) {
                // Another index that stays, or the pack itself, tells as much.
                guard !fromBytes.contains(pack.name), told.recordCount(of: pack.name) < pack.chunks.count else {
                    continue
                }
                try new.add(pack)
            }
        }
    }
}

/// Collects what packs hold into indexes of bounded size. Used on one thread.
struct NewIndexes {
    private let repository: Repository
    private let stores: Bool
    private var pending: [PackContents] = []
    private var pendingChunks = 0
    private var added: [Digest: Int] = [:]
    private(set) var indexes: [MappedIndex] = []

    init(_ repository: Repository, stores: Bool) {
        self.repository = repository
        self.stores = stores
    }

    mutating func add(_ pack: PackContents) throws {
        // Two indexes that say the same of a pack become one.
        guard added[pack.name, default: 0] < pack.chunks.count else { return }
        added[pack.name] = pack.chunks.count
        pending.append(pack)
        pendingChunks += pack.chunks.count
        if pendingChunks >= Self.chunksPerIndex { try seal() }
    }

    /// Makes the last index.
    mutating func seal() throws {
        guard !pending.isEmpty else { return }
        indexes.append(stores ? try repository.storeIndex(pending) : try repository.mapIndex(pending))
        pending = []
        pendingChunks = 0
    }

    private static let chunksPerIndex = 65_536
}
