// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatRepository
import Testing

@Suite struct SnapshotChainTests {
    private static func id(_ number: UInt64) -> Digest { Digest(bigEndianWords: number, 0, 0, 0) }

    /// Snapshot `number` of a chain in which every one follows the one before.
    private static func snapshot(_ number: UInt64, host: String = "h", startedAt second: Int64? = nil) -> Snapshot {
        var manifest = Manifest(
            repositoryID: id(99), stack: "s", host: host, sequence: number, previous: number > 1 ? id(number - 1) : nil,
            started: Timestamp(seconds: second ?? Int64(number) * 100), lifeboat: "test")
        manifest.frozen = manifest.started
        return Snapshot(id: id(number), manifest: manifest)
    }

    private static func problems(
        _ snapshots: [Snapshot], forgotten: [UInt64] = [], seen: UInt64? = nil
    ) -> [SnapshotChain.Problem] {
        SnapshotChain.problems(
            snapshots, forgotten: Set(forgotten.map(id)),
            seen: seen.map { ["s/h": HostTrust.Pin.Seen(sequence: $0, snapshot: id($0))] } ?? [:])
    }

    @Test func aWholeChainHasNoProblemInWhateverOrderItIsListed() {
        let chain = (1...5).map { Self.snapshot($0) }
        #expect(Self.problems(chain, seen: 5).isEmpty)
        #expect(Self.problems(chain.reversed(), seen: 5).isEmpty)
        #expect(Self.problems([], seen: nil).isEmpty)
    }

    @Test func aGapIsToldUnlessRetentionMadeIt() {
        let chain = [1, 2, 4, 5].map { Self.snapshot($0) }
        #expect(Self.problems(chain, seen: 5).map(\.snapshot) == [Self.id(3)])
        #expect(Self.problems(chain, forgotten: [3], seen: 5).isEmpty)
        // Only the edge of a longer gap is known by name.
        #expect(Self.problems([Self.snapshot(5)], forgotten: [1, 2, 3]).map(\.snapshot) == [Self.id(4)])
    }

    @Test func aRemovedNewestIsToldByWhoSawIt() {
        let chain = [1, 2].map { Self.snapshot($0) }
        #expect(Self.problems(chain, seen: 3).map(\.snapshot) == [Self.id(3)])
        #expect(Self.problems(chain, forgotten: [3], seen: 3).isEmpty)
        #expect(Self.problems(chain, seen: nil).isEmpty)
        // Told once: as predecessor, not again as seen.
        let followed = [1, 2, 4].map { Self.snapshot($0) }
        #expect(Self.problems(followed, seen: 3).count == 1)
    }

    @Test func aNumberGivenTwiceIsToldButNotThatOfAnotherHost() {
        var twin = Self.snapshot(2)
        twin.id = Self.id(22)
        let problems = Self.problems([Self.snapshot(1), Self.snapshot(2), twin])
        #expect(problems.map(\.snapshot) == [Self.id(22)])
        #expect(!problems.map(\.isNote).contains(true))
        var other = Self.snapshot(1, host: "other")
        other.id = Self.id(31)
        #expect(Self.problems([Self.snapshot(1), other]).isEmpty)
    }

    @Test func aClockThatWentBackIsANote() {
        let problems = Self.problems([Self.snapshot(1), Self.snapshot(2, startedAt: 50)])
        #expect(problems.map(\.snapshot) == [Self.id(2)])
        #expect(problems.map(\.isNote) == [true])
    }
}
