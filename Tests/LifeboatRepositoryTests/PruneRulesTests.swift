// SPDX-License-Identifier: Apache-2.0

import LifeboatRepository
import LifeboatTesting
import Testing

/// Which copies of chunks are kept that are stored as deltas of each other, whole, or both, in packs of which some are
/// condemned.
@Suite struct PruneRulesTests {
    private struct Copy {
        var chunk: Int
        var base: Int?
        var isMarked: Bool
    }

    private static let chunks = 5

    /// Copies as several hosts make them that do not see each other's: a delta is made of a chunk that could be had.
    private static func copies(_ random: inout SplitMix64) -> [Copy] {
        var copies: [Copy] = []
        for _ in 0..<12 {
            let chunk = Int(random.next() % UInt64(chunks))
            let base = (0..<chunks).filter { other in other != chunk && copies.contains { $0.chunk == other } }
                .first { _ in random.next() % 2 == 0 }
            copies.append(Copy(chunk: chunk, base: base, isMarked: random.next() % 3 == 0))
        }
        return copies
    }

    /// The chunks that can be decoded from these copies.
    private static func decodable(_ copies: [Copy]) -> Set<Int> {
        var known: Set<Int> = []
        while true {
            let more = Set(copies.filter { copy in copy.base.map(known.contains) ?? true }.map(\.chunk))
            guard known.count < more.count else { return known }
            known = more
        }
    }

    private static func choice(
        _ copies: [Copy], live: Set<Int>, prefersLate: Bool = false, marked: (Int) -> Bool
    ) -> DeltaChoice {
        var graph = DeltaGraph()
        for chunk in 0..<chunks { _ = graph.addChunk(isLive: live.contains(chunk)) }
        // Of copies that are as good, the one that was added first is chosen.
        for number in prefersLate ? copies.indices.reversed() : Array(copies.indices) {
            graph.addCopy(
                of: copies[number].chunk, first: Int32(number), second: 0,
                length: copies[number].base == nil ? 100 : 10,
                isMarked: marked(number), bases: copies[number].base.map { [$0] } ?? [])
        }
        return DeltaChoice(graph)
    }

    private static func kept(_ choice: DeltaChoice) -> Set<Int> { Set(choice.kept.map { Int($0.first) }) }

    @Test func whatIsKeptDecodesWhatIsNeededAndNoMoreIsKept() {
        var random = SplitMix64(seed: 11)
        for _ in 0..<3_000 {
            let copies = Self.copies(&random)
            let live = Set((0..<Self.chunks).filter { _ in random.next() % 2 == 0 })
            let choice = Self.choice(copies, live: live) { copies[$0].isMarked }
            let kept = Self.kept(choice)
            let before = Self.decodable(copies)
            let after = Self.decodable(kept.map { copies[$0] })
            #expect(live.intersection(before).isSubset(of: after))
            let reliable = Self.decodable(copies.filter { !$0.isMarked })
            for chunk in 0..<Self.chunks {
                #expect(choice.isReliable(chunk) == reliable.contains(chunk))
                #expect(choice.isDecodable(chunk) == before.contains(chunk))
                let own = kept.filter { copies[$0].chunk == chunk }
                if reliable.contains(chunk) {
                    // One copy, in a pack that is not condemned.
                    #expect(own.count <= 1 && own.allSatisfy { !copies[$0].isMarked })
                } else if choice.isNeeded(chunk) {
                    #expect(own.count == copies.count { $0.chunk == chunk })
                } else {
                    #expect(own.isEmpty)
                }
            }
        }
    }

    /// Two prunes, of which the second sees all marks the first one sees, and more: whatever each deletes of what it
    /// sees condemned, what was decodable is.
    @Test func twoPrunesTogetherLoseNothing() {
        var random = SplitMix64(seed: 12)
        var lossesOfOtherRule = 0
        for _ in 0..<5_000 {
            let copies = Self.copies(&random)
            let live = Set((0..<Self.chunks).filter { _ in random.next() % 2 == 0 })
            let early = Set(copies.indices.filter { _ in random.next() % 3 == 0 })
            let late = early.union(copies.indices.filter { _ in random.next() % 3 == 0 })
            func left(ignoringMarks: Bool) -> Set<Int> {
                let first = Self.choice(copies, live: live) { !ignoringMarks && early.contains($0) }
                let second = Self.choice(copies, live: live, prefersLate: true) {
                    !ignoringMarks && late.contains($0)
                }
                let gone = early.subtracting(Self.kept(first)).union(late.subtracting(Self.kept(second)))
                return Self.decodable(copies.indices.filter { !gone.contains($0) }.map { copies[$0] })
            }
            let needed = live.intersection(Self.decodable(copies))
            #expect(needed.isSubset(of: left(ignoringMarks: false)))
            if !needed.isSubset(of: left(ignoringMarks: true)) { lossesOfOtherRule += 1 }
        }
        // The test can fail: two prunes that each keep one copy, whatever is condemned, lose chunks.
        #expect(lossesOfOtherRule > 0)
    }

    @Test func aDeltaOfALiveChunkIsPreferredToOneOfADeadChunk() {
        var graph = DeltaGraph()
        let dead = graph.addChunk(isLive: false)
        let base = graph.addChunk(isLive: true)
        let between = graph.addChunk(isLive: true)
        let chunk = graph.addChunk(isLive: true)
        graph.addCopy(of: dead, first: 0, second: 0, length: 100, isMarked: false, bases: [])
        graph.addCopy(of: base, first: 1, second: 0, length: 100, isMarked: false, bases: [])
        graph.addCopy(of: between, first: 2, second: 0, length: 10, isMarked: false, bases: [base])
        graph.addCopy(of: chunk, first: 3, second: 0, length: 10, isMarked: false, bases: [dead])
        graph.addCopy(of: chunk, first: 4, second: 0, length: 20, isMarked: false, bases: [between])
        #expect(Self.kept(DeltaChoice(graph)) == [1, 2, 4])
    }

    @Test func aDeltaOfWhatIsNeededAnywayIsPreferredToTheWhole() {
        var graph = DeltaGraph()
        let dead = graph.addChunk(isLive: false)
        let user = graph.addChunk(isLive: true)
        let chunk = graph.addChunk(isLive: true)
        let above = graph.addChunk(isLive: true)
        graph.addCopy(of: dead, first: 0, second: 0, length: 100, isMarked: false, bases: [])
        graph.addCopy(of: user, first: 1, second: 0, length: 10, isMarked: false, bases: [dead])
        graph.addCopy(of: chunk, first: 2, second: 0, length: 100, isMarked: false, bases: [])
        graph.addCopy(of: above, first: 3, second: 0, length: 10, isMarked: false, bases: [chunk])
        #expect(Self.kept(DeltaChoice(graph)) == [0, 1, 2, 3])
        // One that rests on the chunk itself, one that saves too little, and one that will do.
        graph.addCopy(of: chunk, first: 4, second: 0, length: 5, isMarked: false, bases: [above])
        graph.addCopy(of: chunk, first: 5, second: 0, length: 51, isMarked: false, bases: [user])
        #expect(Self.kept(DeltaChoice(graph)) == [0, 1, 2, 3])
        graph.addCopy(of: chunk, first: 6, second: 0, length: 20, isMarked: false, bases: [user])
        #expect(Self.kept(DeltaChoice(graph)) == [0, 1, 6, 3])
        #expect(Self.kept(DeltaChoice(graph, depthLimit: 2)) == [0, 1, 2, 3])
    }

    @Test func aChainThatIsTooLongCountsAsNone() {
        var graph = DeltaGraph()
        var previous = graph.addChunk(isLive: false)
        graph.addCopy(of: previous, first: 0, second: 0, length: 100, isMarked: false, bases: [])
        for number in 1...5 {
            let next = graph.addChunk(isLive: number == 5)
            graph.addCopy(of: next, first: Int32(number), second: 0, length: 10, isMarked: false, bases: [previous])
            previous = next
        }
        #expect(DeltaChoice(graph, depthLimit: 5).isReliable(previous))
        #expect(!DeltaChoice(graph, depthLimit: 4).isDecodable(previous))
    }
}
