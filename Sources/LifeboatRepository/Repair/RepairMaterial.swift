// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatStorage

/// The indexes a repaired repository will have, and a way to read everything that can still be read.
struct RepairMaterial {
    /// Indexes that stay, and new ones.
    let kept: IndexSet
    /// Reads through every index there is, also over what is left of damaged packs.
    let reader: ChunkReader
    /// Chunks that some index places in a damaged or missing pack, or that were found in one, and no kept index has.
    let endangered: [Digest: Set<Digest>]
    /// New indexes over sound packs.
    let newIndexes: UInt64

    /// `stale`: indexes that can be read and will not stay. With `stores` new indexes go to the repository, else to
    /// the local cache alone.
    init(
        _ repository: Repository, staying: [MappedIndex], stale: [MappedIndex], packsToIndex: [Digest],
        damaged: Set<Digest>, stores: Bool, _ cancellation: Cancellation
    ) throws {
        let examiner = try PackExaminer(repository)
        var staying = staying
        var pending: [PackContents] = []
        var written: UInt64 = 0
        func seal() throws {
            guard !pending.isEmpty else { return }
            staying.append(stores ? try repository.storeIndex(pending) : try repository.mapIndex(pending))
            pending = []
            written += 1
        }
        for name in packsToIndex {
            try cancellation.check()
            pending.append(try examiner.contents(of: name))
            if pending.reduce(0, { $0 + $1.chunks.count }) >= Self.chunksPerIndex { try seal() }
        }
        try seal()
        newIndexes = written
        kept = IndexSet(staying)
        var readable = kept
        for index in stale { readable.add(index) }
        var endangered: [Digest: Set<Digest>] = [:]
        for index in stale {
            for position in 0..<index.chunkCount {
                guard let number = index.packNumber(at: position) else { continue }
                let pack = index.pack(number).name
                let id = index.chunkID(position)
                if damaged.contains(pack), !kept.contains(id) { endangered[pack, default: []].insert(id) }
            }
        }
        for name in damaged.sorted() {
            try cancellation.check()
            guard let remains = try examiner.remains(of: name), !remains.chunks.isEmpty else { continue }
            for chunk in remains.chunks where !kept.contains(chunk.id) {
                endangered[name, default: []].insert(chunk.id)
            }
            // Only for reading here: an index over a damaged pack never gets into the repository.
            readable.add(try repository.mapIndex([remains]))
        }
        self.endangered = endangered
        reader = ChunkReader(repository, readable)
    }

    private static let chunksPerIndex = 65_536
}
