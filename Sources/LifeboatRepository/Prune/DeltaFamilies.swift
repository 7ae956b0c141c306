// SPDX-License-Identifier: Apache-2.0

/// Groups the live chunks of a graph that rest on the same dead ones, and estimates what storing them anew would free.
struct DeltaFamilies {
    private(set) var all: [DeltaFamily] = []

    private let graph: DeltaGraph
    private let choice: DeltaChoice
    /// Union-find: a chunk closer to the representative of its group.
    private var parents: [Int32]

    /// What is known of a group.
    private struct Sums {
        var family = DeltaFamily()
        /// Dead chunks that are kept whole: as many live ones have to be stored whole in their place.
        var roots: UInt64 = 0
        var rootBytes: UInt64 = 0
        /// Bytes of those chunks themselves.
        var rootLength: UInt64 = 0
        /// Of the live chunks: deltas on the way to it, stored bytes of its patch, its own length.
        var live: [(depth: UInt8, patch: UInt64, length: UInt64)] = []
    }

    init(_ graph: DeltaGraph, _ choice: DeltaChoice) {
        self.graph = graph
        self.choice = choice
        parents = (0..<Int32(graph.chunkCount)).map { $0 }
        for chunk in 0..<graph.chunkCount where counts(chunk) {
            for base in graph.bases(of: Int(choice.chosen[chunk])) where isDead(base) { join(chunk, base) }
        }
        sum()
    }

    private func isDead(_ chunk: Int) -> Bool { !graph.chunks[chunk].isLive }

    /// It is kept as the one copy that was chosen.
    private func counts(_ chunk: Int) -> Bool {
        choice.isNeeded(chunk) && choice.isReliable(chunk) && choice.chosen[chunk] >= 0
    }

    private mutating func root(_ chunk: Int) -> Int {
        var chunk = chunk
        while parents[chunk] != chunk {
            parents[chunk] = parents[Int(parents[chunk])]
            chunk = Int(parents[chunk])
        }
        return chunk
    }

    private mutating func join(_ left: Int, _ right: Int) {
        let (left, right) = (root(left), root(right))
        parents[max(left, right)] = Int32(min(left, right))
    }

    private mutating func sum() {
        var sums: [Int: Sums] = [:]
        for chunk in 0..<graph.chunkCount where counts(chunk) {
            let copy = graph.copies[Int(choice.chosen[chunk])]
            let length = UInt64(copy.length)
            if isDead(chunk) {
                var known = sums[root(chunk)] ?? Sums()
                known.family.bytes += length
                if copy.isWhole {
                    known.roots += 1
                    known.rootBytes += length
                    known.rootLength += UInt64(graph.chunks[chunk].length)
                }
                sums[root(chunk)] = known
            } else if graph.bases(of: Int(choice.chosen[chunk])).contains(where: isDead) {
                var known = sums[root(chunk)] ?? Sums()
                known.family.bytes += length
                known.family.members.append(chunk)
                known.live.append((choice.depth[chunk], length, UInt64(graph.chunks[chunk].length)))
                sums[root(chunk)] = known
            }
        }
        for (_, known) in sums.sorted(by: { $0.key < $1.key }) where !known.family.members.isEmpty {
            var family = known.family
            family.excess = family.bytes - min(family.bytes, Self.bytesAnew(known))
            all.append(family)
        }
    }

    /// As many live chunks are stored whole as there are dead ones that are, those nearest to them; each takes the share
    /// of its length that the dead ones take. A delta of another base takes about what it takes now.
    private static func bytesAnew(_ sums: Sums) -> UInt64 {
        let share = Double(sums.rootBytes) / Double(max(1, sums.rootLength))
        var bytes: UInt64 = 0
        for (number, chunk) in sums.live.sorted(by: { $0.depth < $1.depth }).enumerated() {
            let whole = UInt64(Double(chunk.length) * share)
            bytes += UInt64(number) < sums.roots && chunk.length > 0 ? max(whole, chunk.patch) : chunk.patch
        }
        return bytes
    }
}
