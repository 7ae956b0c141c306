// SPDX-License-Identifier: Apache-2.0

/// Chunks that are stored as deltas, their bases, and every copy of each: which copies suffice to decode what is needed.
/// Pure: a copy is known by two numbers of the caller's.
///
/// A chunk is *live* when a manifest needs it, *dead* when at most a delta needs it. A copy in a condemned pack is
/// *marked*. A chunk is *reliable* when unmarked copies alone decode it. Of a reliable chunk one copy is kept. Of any
/// other all copies are kept, as docs/decisions/0007 demands: two prunes that each chose one could choose differently.
package struct DeltaGraph: Sendable {
    struct Copy: Sendable {
        /// Whose copy it is.
        var chunk: Int32
        var first: Int32
        var second: Int32
        var length: UInt32
        var isMarked: Bool
        var bases: (Int32, Int32) = (-1, -1)
        /// The next copy of the same chunk.
        var next: Int32 = -1
        /// The next use (copy · 2 + slot) of the same first and second base.
        var nextUses: (Int32, Int32) = (-1, -1)

        var isWhole: Bool { bases.0 < 0 }
    }

    struct Chunk: Sendable {
        var isLive: Bool
        /// It is live, stored whole without a mark, and its copy was chosen elsewhere.
        var isSettled: Bool
        /// Bytes of the chunk itself; 0 when that is not known.
        var length: UInt32 = 0
        var firstCopy: Int32 = -1
        var firstUse: Int32 = -1
    }

    private(set) var chunks: [Chunk] = []
    private(set) var copies: [Copy] = []

    package init() {}

    package var chunkCount: Int { chunks.count }

    /// Adds a chunk; gives its number.
    package mutating func addChunk(isLive: Bool, isSettled: Bool = false) -> Int {
        chunks.append(Chunk(isLive: isLive, isSettled: isSettled))
        return chunks.count - 1
    }

    /// Notes how many bytes the chunk itself has, for estimates.
    mutating func setLength(_ length: UInt32, of chunk: Int) { chunks[chunk].length = length }

    /// Adds a copy that is in a pack that is there. `first` and `second` are the caller's; `length` is what it takes in
    /// the store; `bases` (at most two) are chunks that were added.
    package mutating func addCopy(
        of chunk: Int, first: Int32, second: Int32, length: UInt32, isMarked: Bool, bases: [Int]
    ) {
        let number = Int32(copies.count)
        var copy = Copy(
            chunk: Int32(chunk), first: first, second: second, length: length, isMarked: isMarked,
            next: chunks[chunk].firstCopy)
        chunks[chunk].firstCopy = number
        if let base = bases.first {
            copy.bases.0 = Int32(base)
            copy.nextUses.0 = chunks[base].firstUse
            chunks[base].firstUse = number * 2
        }
        if bases.count > 1 {
            copy.bases.1 = Int32(bases[1])
            copy.nextUses.1 = chunks[bases[1]].firstUse
            chunks[bases[1]].firstUse = number * 2 + 1
        }
        copies.append(copy)
    }

    /// Numbers of the copies of a chunk.
    func copies(of chunk: Int) -> [Int] {
        var result: [Int] = []
        var copy = chunks[chunk].firstCopy
        while copy >= 0 {
            result.append(Int(copy))
            copy = copies[Int(copy)].next
        }
        return result
    }

    func bases(of copy: Int) -> [Int] {
        let bases = copies[copy].bases
        return bases.1 >= 0 ? [Int(bases.0), Int(bases.1)] : bases.0 >= 0 ? [Int(bases.0)] : []
    }
}

/// What was chosen of a `DeltaGraph`.
package struct DeltaChoice: Sendable {
    /// Per chunk: the copy it is decoded from, -1 when it cannot be decoded or is settled.
    private(set) var chosen: [Int32]
    /// Per chunk: deltas to undo one after the other.
    private(set) var depth: [UInt8]
    private var isReliable: Bitmap
    private var isDecodable: Bitmap
    private var needed: Bitmap
    private let graph: DeltaGraph

    /// Chooses for every live chunk the copies by which the fewest bytes of dead chunks stay, and of those the ones
    /// with the shortest chain. Chains are at most `depthLimit` long, and lead nowhere in a circle.
    package init(_ graph: DeltaGraph, depthLimit: Int = IndexSet.depthLimit) {
        self.graph = graph
        let count = graph.chunkCount
        chosen = [Int32](repeating: -1, count: count)
        depth = [UInt8](repeating: 0, count: count)
        isReliable = Bitmap(count: count)
        isDecodable = Bitmap(count: count)
        needed = Bitmap(count: count)
        choose(depthLimit)
        for chunk in 0..<count where graph.chunks[chunk].isLive { need(chunk) }
        for chunk in 0..<count where graph.chunks[chunk].isLive { preferDelta(of: chunk, depthLimit) }
    }

    package func isReliable(_ chunk: Int) -> Bool { isReliable[chunk] }
    package func isDecodable(_ chunk: Int) -> Bool { isDecodable[chunk] }
    /// It is live, or what is kept of a live one rests on it.
    package func isNeeded(_ chunk: Int) -> Bool { needed[chunk] }

    /// The copies that are kept, by the caller's numbers.
    package var kept: [(first: Int32, second: Int32)] {
        keptCopies.map { (graph.copies[$0].first, graph.copies[$0].second) }
    }

    /// Numbers of the copies that are kept; those of settled chunks are not among them.
    var keptCopies: [Int] {
        (0..<graph.chunkCount).filter { needed[$0] && !graph.chunks[$0].isSettled }.flatMap(keptCopies)
    }

    private func keptCopies(of chunk: Int) -> [Int] {
        isReliable[chunk] ? [Int(chosen[chunk])] : graph.copies(of: chunk)
    }

    /// A way to decode a chunk; the best comes first. Every step adds to it, so no chunk rests on itself.
    private struct Way: Comparable {
        /// Bytes of dead chunks.
        var dead: UInt64
        var depth: Int
        var copy: Int32

        static func < (left: Way, right: Way) -> Bool {
            (left.dead, left.depth, left.copy) < (right.dead, right.depth, right.copy)
        }
    }

    /// Knuth's generalization of Dijkstra's algorithm, first over unmarked copies, then over all.
    private mutating func choose(_ depthLimit: Int) {
        var dead = [UInt64](repeating: 0, count: graph.chunkCount)
        var missing = graph.copies.map { ($0.bases.0 >= 0 ? 1 : 0) + ($0.bases.1 >= 0 ? 1 : 0) as UInt8 }
        var heap = BinaryHeap<Way>()
        var takesMarked = false

        func way(_ number: Int32) -> Way? {
            let copy = graph.copies[Int(number)]
            var way = Way(dead: graph.chunks[Int(copy.chunk)].isLive ? 0 : UInt64(copy.length), depth: 0, copy: number)
            for base in graph.bases(of: Int(number)) {
                let (sum, overflow) = way.dead.addingReportingOverflow(dead[base])
                way.dead = overflow ? .max : sum
                way.depth = max(way.depth, Int(depth[base]) + 1)
            }
            return way.depth <= depthLimit ? way : nil
        }
        func offer(_ number: Int32) {
            let copy = graph.copies[Int(number)]
            guard missing[Int(number)] == 0, takesMarked || !copy.isMarked, !isDecodable[Int(copy.chunk)] else {
                return
            }
            if let way = way(number) { heap.insert(way) }
        }
        func settle(_ chunk: Int) {
            isDecodable[chunk] = true
            if !takesMarked { isReliable[chunk] = true }
            var use = graph.chunks[chunk].firstUse
            while use >= 0 {
                let user = use / 2
                missing[Int(user)] -= 1
                offer(user)
                let next = graph.copies[Int(user)].nextUses
                use = use & 1 == 0 ? next.0 : next.1
            }
        }
        func run() {
            while let way = heap.removeFirst() {
                let chunk = Int(graph.copies[Int(way.copy)].chunk)
                guard !isDecodable[chunk] else { continue }
                chosen[chunk] = way.copy
                dead[chunk] = way.dead
                // At most the limit, which fits.
                depth[chunk] = UInt8(way.depth)
                settle(chunk)
            }
        }

        for chunk in 0..<graph.chunkCount where graph.chunks[chunk].isSettled { settle(chunk) }
        for number in graph.copies.indices where graph.copies[number].isWhole { offer(Int32(number)) }
        run()
        takesMarked = true
        for number in graph.copies.indices { offer(Int32(number)) }
        run()
    }

    /// Of a live chunk that would be kept whole a delta of chunks that are needed anyway is kept when that takes at most
    /// half, and none of those rests on the chunk. It makes nothing else needed, and nothing that was needed unneeded.
    private mutating func preferDelta(of chunk: Int, _ depthLimit: Int) {
        guard isReliable[chunk], !graph.chunks[chunk].isSettled, chosen[chunk] >= 0 else { return }
        let whole = graph.copies[Int(chosen[chunk])]
        guard whole.isWhole else { return }
        let deltas = graph.copies(of: chunk).filter { number in
            let copy = graph.copies[number]
            return !copy.isWhole && !copy.isMarked && UInt64(copy.length) * 2 <= UInt64(whole.length)
                && graph.bases(of: number).allSatisfy { needed[$0] && isReliable[$0] }
        }.sorted { (graph.copies[$0].length, $0) < (graph.copies[$1].length, $1) }
        guard !deltas.isEmpty else { return }
        let (resting, height) = chunksResting(on: chunk)
        for number in deltas {
            let bases = graph.bases(of: number)
            let ownDepth = 1 + (bases.map { Int(depth[$0]) }.max() ?? 0)
            guard !bases.contains(where: resting.contains), ownDepth + height <= depthLimit else { continue }
            chosen[chunk] = Int32(number)
            // At most the limit, which fits. What rests on it may be that much deeper.
            for above in resting { depth[above] = UInt8(clamping: Int(depth[above]) + ownDepth) }
            depth[chunk] = UInt8(ownDepth)
            return
        }
    }

    /// The chunk and all whose chosen copies rest on it, and the most deltas of those in a row.
    private func chunksResting(on chunk: Int) -> (chunks: Set<Int>, height: Int) {
        var found: Set<Int> = [chunk]
        var height = 0
        var open = [chunk]
        while let next = open.popLast() {
            var use = graph.chunks[next].firstUse
            while use >= 0 {
                let copy = graph.copies[Int(use / 2)]
                if chosen[Int(copy.chunk)] == use / 2, found.insert(Int(copy.chunk)).inserted {
                    open.append(Int(copy.chunk))
                    height = max(height, Int(depth[Int(copy.chunk)]) - Int(depth[chunk]))
                }
                use = use & 1 == 0 ? copy.nextUses.0 : copy.nextUses.1
            }
        }
        return (found, height)
    }

    /// Notes that the chunk is needed, and what its kept copies rest on.
    private mutating func need(_ chunk: Int) {
        var open = [chunk]
        while let chunk = open.popLast() {
            guard needed.insert(chunk), !graph.chunks[chunk].isSettled else { continue }
            for copy in keptCopies(of: chunk) { open += graph.bases(of: copy) }
        }
    }
}

/// The smallest element first.
struct BinaryHeap<Element: Comparable> {
    private var elements: [Element] = []

    mutating func insert(_ element: Element) {
        elements.append(element)
        var child = elements.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard elements[child] < elements[parent] else { return }
            elements.swapAt(child, parent)
            child = parent
        }
    }

    mutating func removeFirst() -> Element? {
        guard let first = elements.first, let last = elements.popLast() else { return nil }
        guard !elements.isEmpty else { return first }
        elements[0] = last
        var parent = 0
        while true {
            var smallest = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < elements.count && elements[child] < elements[smallest] {
                smallest = child
            }
            guard smallest != parent else { return first }
            elements.swapAt(parent, smallest)
            parent = smallest
        }
    }
}
