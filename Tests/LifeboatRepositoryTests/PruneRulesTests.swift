// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatRepository
import LifeboatTesting
import Testing

@Suite struct PruneRulesTests {
    /// A copy of a chunk: in a pack of its own, whole or as a delta of another chunk.
    private struct Copy {
        var base: Int?
        var candidate: PruneRules.Candidate
    }

    /// Copies as several hosts make them that do not see each other's: a delta is made of a chunk that could be had.
    private static func copies(_ random: inout SplitMix64) -> [[Copy]] {
        var chunks: [[Copy]] = Array(repeating: [], count: 4)
        for number in 0..<12 {
            let chunk = Int(random.next() % 4)
            let base = chunks.indices.filter { $0 != chunk && !chunks[$0].isEmpty }
                .first { _ in random.next() % 2 == 0 }
            chunks[chunk].append(
                Copy(
                    base: base,
                    candidate: PruneRules.Candidate(
                        name: Digest(bigEndianWords: UInt64(number), 0, 0, 0), isPresent: true,
                        isCondemned: random.next() % 4 == 0, isWhole: base == nil, neededBytes: random.next() % 100)))
        }
        return chunks
    }

    /// The chunks that can be decoded from these copies.
    private static func decodable(_ chunks: [[Copy]]) -> Set<Int> {
        var known: Set<Int> = []
        while true {
            let more = chunks.indices.filter { chunk in
                chunks[chunk].contains { copy in copy.base.map(known.contains) ?? true }
            }
            guard known.count < more.count else { return known }
            known = Set(more)
        }
    }

    private static func kept(_ chunks: [[Copy]], forgettingDeltas: Bool) -> [[Copy]] {
        chunks.map { copies in
            let candidates = copies.map { copy in
                var candidate = copy.candidate
                if forgettingDeltas { candidate.isWhole = true }
                return candidate
            }
            return PruneRules.keepers(among: candidates).map { copies[$0] }
        }
    }

    @Test func whatIsKeptDecodesWhatCouldBeDecoded() {
        var random = SplitMix64(seed: 11)
        var wrongWithoutTheRule = 0
        for _ in 0..<2_000 {
            let chunks = Self.copies(&random)
            let before = Self.decodable(chunks)
            #expect(Self.decodable(Self.kept(chunks, forgettingDeltas: false)) == before)
            if Self.decodable(Self.kept(chunks, forgettingDeltas: true)) != before { wrongWithoutTheRule += 1 }
        }
        // The test can fail: choosing copies without looking at deltas loses chunks.
        #expect(wrongWithoutTheRule > 0)
    }
}
