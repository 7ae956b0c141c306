// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// All indexes of a repository as one table. Thread-safe; a value, cheap to copy.
///
/// Those that were merged are searched at once, the others one by one: a look-up takes a few reads however many indexes
/// there are, since more than `IndexCache.singleIndexes` are always merged.
package struct IndexSet: Sendable {
    private var merged: MergedIndex?
    /// Per pack number of `merged`: whether the pack can be counted on. Nil: every pack can.
    private var usableMergedPacks: [Bool]?
    private var indexes: [MappedIndex]
    /// Positions in `indexes` of those that are not in `merged`.
    private var singles: [Int]
    /// Per index, per pack number, as in `usableMergedPacks`.
    private var usablePacks: [[Bool]]?
    /// Per source of `merged`: its position in `indexes`. Nil when those in `merged` were not opened by themselves.
    private var positions: [Int]?
    /// Packs that cannot be counted on.
    private var unusable: Set<Digest> = []
    /// Indexes that were left out, since they were written for other readers: what is in them only is not found.
    package internal(set) var unreadable = 0
    /// Indexes of the repository that are damaged: what only they name is unknown here.
    package internal(set) var damagedIndexes: [LifeboatError] = []

    package init(_ indexes: [MappedIndex]) { self.init(indexes, merged: nil) }

    /// `indexes` are those that `merged` does not hold.
    init(_ indexes: [MappedIndex], merged: MergedIndex?) {
        self.indexes = indexes
        self.merged = merged
        singles = Array(indexes.indices)
    }

    /// `indexes` are all there are; those that `merged` holds too are found through it.
    init(each indexes: [MappedIndex], merged: MergedIndex?) {
        self.init(indexes, merged: nil)
        guard let merged else { return }
        var numbers: [Digest: Int] = [:]
        for (number, index) in indexes.enumerated() { numbers[index.name] = number }
        let found = merged.sources.compactMap { numbers[$0.name] }
        // Holds for what the cache gives; otherwise all are searched one by one.
        guard found.count == merged.sources.count else { return }
        self.merged = merged
        positions = found
        let inMerged = Set(found)
        singles = indexes.indices.filter { !inMerged.contains($0) }
    }

    /// Only packs for which `isPresent` holds count from now on: a chunk whose packs are all gone is unknown again,
    /// so that the next backup stores it anew.
    package mutating func restrict(toPacks isPresent: (_ name: Digest, _ storedSize: UInt64) -> Bool) throws {
        var unusable: Set<Digest> = []
        func isUsable(_ name: Digest, _ storedSize: UInt64) -> Bool {
            if isPresent(name, storedSize) { return true }
            unusable.insert(name)
            return false
        }
        if let merged {
            var usable: [Bool] = []
            usable.reserveCapacity(merged.packCount)
            try merged.forEachPack { usable.append(isUsable($0, $1)) }
            usableMergedPacks = usable
        }
        usablePacks = indexes.map { index in
            (0..<index.packCount).map { number in
                let pack = index.pack(number)
                return isUsable(pack.name, pack.storedSize)
            }
        }
        self.unusable = unusable
    }

    /// Every pack that some index names.
    func packNames() throws -> Set<Digest> {
        var names: Set<Digest> = []
        try merged?.forEachPack { name, _ in names.insert(name) }
        for index in indexes {
            for number in 0..<index.packCount { names.insert(index.pack(number).name) }
        }
        return names
    }

    /// Restricts to the same packs as `other`.
    mutating func restrict(like other: IndexSet) throws {
        guard other.usablePacks != nil else { return }
        try restrict { name, _ in !other.unusable.contains(name) }
    }

    /// Adds an index all of whose packs were just written.
    package mutating func add(_ index: MappedIndex) {
        singles.append(indexes.count)
        indexes.append(index)
        usablePacks?.append(Array(repeating: true, count: index.packCount))
    }

    /// Records over all indexes; a chunk that is stored twice counts twice.
    package var recordCount: Int {
        singles.reduce(merged?.chunkCount ?? 0) { $0 + indexes[$1].chunkCount }
    }

    /// Every index. Only for sets that were opened one by one (`Repository.openEachIndex`).
    package var all: [MappedIndex] {
        precondition(merged == nil || positions != nil, "these indexes were opened for finding chunks")
        return indexes
    }

    /// Positions in `all` of the indexes that have the chunk, ascending.
    func holders(of id: Digest) throws -> [Int] {
        var holders = Set(singles.filter { indexes[$0].position(of: id) != nil })
        if let merged, let positions {
            for place in try merged.places(of: id) { holders.insert(positions[try merged.source(of: place)]) }
        }
        return holders.sorted()
    }

    /// Longest chain of deltas that is followed. A writer makes shorter ones (`DeltaChunks.maximumDepth`), but a chain
    /// grows when the whole copy of a chunk that was also stored as a delta goes away.
    package static let depthLimit = 16

    /// Whether the chunk can be had: it is stored whole in a pack that can be counted on, or as a delta in such a pack
    /// whose bases can be had.
    package func contains(_ id: Digest) -> Bool { contains(id, depthLeft: Self.depthLimit) }

    private func contains(_ id: Digest, depthLeft: Int) -> Bool {
        func canBeHad(_ bases: [Digest]) -> Bool {
            bases.isEmpty || depthLeft > 0 && bases.allSatisfy { contains($0, depthLeft: depthLeft - 1) }
        }
        if let merged {
            // A table that cannot be read, a record that names what is not there: of no use, the chunk is unknown.
            for place in (try? merged.places(of: id)) ?? [] {
                if let usableMergedPacks {
                    guard let pack = try? merged.packNumber(of: place), usableMergedPacks[pack] else { continue }
                }
                if let bases = try? merged.bases(of: place), canBeHad(bases) { return true }
            }
        }
        for number in singles {
            let index = indexes[number]
            for position in index.records(of: id) {
                if let usable = usablePacks?[number] {
                    guard let pack = index.packNumber(at: position), usable[pack] else { continue }
                }
                if let bases = try? index.bases(at: position), canBeHad(bases) { return true }
            }
        }
        return false
    }

    /// The places of the chunk that can be counted on: what each of them rests on, empty where the chunk is whole.
    private func usableBases(of id: Digest) throws -> [[Digest]] {
        var places: [[Digest]] = []
        if let merged {
            for place in try merged.places(of: id) {
                if let usableMergedPacks, try !usableMergedPacks[merged.packNumber(of: place)] { continue }
                places.append(try merged.bases(of: place))
            }
        }
        for number in singles {
            for position in indexes[number].records(of: id) {
                if let usable = usablePacks?[number] {
                    guard let pack = indexes[number].packNumber(at: position), usable[pack] else { continue }
                }
                places.append(try indexes[number].bases(at: position))
            }
        }
        return places
    }

    /// What the chunk is a delta of; empty for one that is stored whole somewhere, or unknown. Of several deltas one
    /// counts, always the same. Only the next step: ask again for each base.
    package func bases(of id: Digest) throws -> [Digest] {
        let places = try usableBases(of: id)
        guard places.allSatisfy({ !$0.isEmpty }) else { return [] }
        return places.min { $0.lexicographicallyPrecedes($1) } ?? []
    }

    /// The fewest deltas to undo before the chunk is there: 0 when it is stored whole somewhere. More than `limit` is
    /// told as `limit + 1`.
    package func deltaDepth(of id: Digest, limit: Int) throws -> Int {
        let places = try usableBases(of: id)
        guard places.allSatisfy({ !$0.isEmpty }) else { return 0 }
        guard limit > 0 else { return places.isEmpty ? 0 : 1 }
        var least: Int?
        for bases in places {
            let depth = try 1 + (bases.map { try deltaDepth(of: $0, limit: limit - 1) }.max() ?? 0)
            least = min(least ?? depth, depth)
        }
        return least ?? 0
    }

    /// The chunk itself when fewer than `limit` deltas have to be undone for it, else the nearest of the chunks it rests
    /// on for which that is so, in the order they are joined in; empty when the chunk is unknown.
    package func nearestBases(of id: Digest, below limit: Int) throws -> [Digest] {
        try nearestBases(of: id, below: limit, depthLeft: Self.depthLimit)
    }

    private func nearestBases(of id: Digest, below limit: Int, depthLeft: Int) throws -> [Digest] {
        guard depthLeft > 0, contains(id) else { return [] }
        if try deltaDepth(of: id, limit: limit) < limit { return [id] }
        var nearest: [Digest] = []
        for base in try bases(of: id) {
            let found = try nearestBases(of: base, below: limit, depthLeft: depthLeft - 1)
            guard !found.isEmpty else { return [] }
            nearest += found
        }
        return nearest
    }

    /// Sizes of a frame that the chain of deltas to the chunk rests on.
    func frame(below id: Digest) throws -> (stored: UInt32, plain: UInt32)? {
        var id = id
        for _ in 0...Self.depthLimit {
            let locations = try locations(of: id)
            if let whole = locations.first(where: { !$0.isDelta }) {
                return (whole.frameLength, whole.framePlainLength)
            }
            guard let base = locations.first?.bases.first else { return nil }
            id = base
        }
        return nil
    }

    /// Every place the chunk is stored at; empty when it is unknown.
    package func locations(of id: Digest) throws -> [ChunkLocation] {
        var locations: [ChunkLocation] = []
        if let merged {
            for place in try merged.places(of: id) { locations.append(try merged.location(of: place)) }
        }
        for number in singles {
            for position in indexes[number].records(of: id) {
                locations.append(try indexes[number].location(at: position))
            }
        }
        return locations
    }
}
