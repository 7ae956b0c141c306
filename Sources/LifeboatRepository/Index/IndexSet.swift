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

    /// Whether the chunk is stored in a pack that can be counted on.
    package func contains(_ id: Digest) -> Bool {
        for (number, index) in indexes.enumerated() {
            guard var position = index.position(of: id) else { continue }
            guard let usable = usablePacks?[number] else { return true }
            // Equal ids stand side by side.
            while position < index.chunkCount, index.chunkID(position) == id {
                if let pack = index.packNumber(at: position), usable[pack] { return true }
                position += 1
            }
        }
        return false
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
