// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// All indexes of a repository as one table. Thread-safe; a value, cheap to copy.
package struct IndexSet: Sendable {
    private var indexes: [MappedIndex]
    /// Per index, per pack number: whether the pack can be counted on. Nil: every pack can.
    private var usablePacks: [[Bool]]?

    package init(_ indexes: [MappedIndex]) { self.indexes = indexes }

    /// Only packs for which `isPresent` holds count from now on: a chunk whose packs are all gone is unknown again,
    /// so that the next backup stores it anew.
    package mutating func restrict(toPacks isPresent: (_ name: Digest, _ storedSize: UInt64) -> Bool) {
        usablePacks = indexes.map { index in
            (0..<index.packCount).map { number in
                let pack = index.pack(number)
                return isPresent(pack.name, pack.storedSize)
            }
        }
    }

    /// Adds an index all of whose packs were just written.
    package mutating func add(_ index: MappedIndex) {
        indexes.append(index)
        usablePacks?.append(Array(repeating: true, count: index.packCount))
    }

    /// Records over all indexes; a chunk that is stored twice counts twice.
    package var recordCount: Int { indexes.reduce(0) { $0 + $1.chunkCount } }

    package var all: [MappedIndex] { indexes }

    /// Longest chain of deltas that is followed. A writer makes shorter ones (`DeltaChunks.maximumDepth`), but a chain
    /// grows when the whole copy of a chunk that was also stored as a delta goes away.
    package static let depthLimit = 16

    /// Whether the chunk can be had: it is stored whole in a pack that can be counted on, or as a delta in such a pack
    /// whose bases can be had.
    package func contains(_ id: Digest) -> Bool { contains(id, depthLeft: Self.depthLimit) }

    private func contains(_ id: Digest, depthLeft: Int) -> Bool {
        forEachUsable(id) { index, position in
            // A record that names bases that are not there is of no use.
            guard let bases = try? index.bases(at: position) else { return false }
            if bases.isEmpty { return true }
            return depthLeft > 0 && bases.allSatisfy { contains($0, depthLeft: depthLeft - 1) }
        }
    }

    /// Calls `body` with the places of the chunk in packs that can be counted on, until it returns true; returns
    /// whether it did.
    private func forEachUsable(_ id: Digest, _ body: (MappedIndex, Int) -> Bool) -> Bool {
        for (number, index) in indexes.enumerated() {
            guard var position = index.position(of: id) else { continue }
            // Equal ids stand side by side.
            while position < index.chunkCount, index.chunkID(position) == id {
                defer { position += 1 }
                if let usable = usablePacks?[number] {
                    guard let pack = index.packNumber(at: position), usable[pack] else { continue }
                }
                if body(index, position) { return true }
            }
        }
        return false
    }

    /// The chunks that must stay for the chunk to be readable at each place it is stored at: what counts as referenced
    /// with it. Empty for one that is stored whole, or unknown. Only the next step: ask again for each base.
    package func bases(of id: Digest) throws -> Set<Digest> {
        try locations(of: id).reduce(into: []) { $0.formUnion($1.bases) }
    }

    /// The longest chain of deltas to undo before the chunk is there, over all its places: 0 when it is stored whole
    /// everywhere. More than `limit` is told as `limit + 1`.
    package func deltaDepth(of id: Digest, limit: Int) throws -> Int {
        let bases = try bases(of: id)
        guard !bases.isEmpty else { return 0 }
        guard limit > 0 else { return 1 }
        return try 1 + (bases.map { try deltaDepth(of: $0, limit: limit - 1) }.max() ?? 0)
    }

    /// Every place the chunk is stored at; empty when it is unknown.
    package func locations(of id: Digest) throws -> [ChunkLocation] {
        var locations: [ChunkLocation] = []
        for index in indexes {
            guard var position = index.position(of: id) else { continue }
            while position < index.chunkCount, index.chunkID(position) == id {
                locations.append(try index.location(at: position))
                position += 1
            }
        }
        return locations
    }
}
