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
    ) throws -> [SnapshotChain.Problem] {
        SnapshotChain.problems(
            snapshots, forgotten: [try list(forgotten.map { snapshot($0) })],
            seen: seen.map { ["s/h": HostTrust.Pin.Seen(sequence: $0, snapshot: id($0))] } ?? [:])
    }

    /// The list of what retention with `last: 1` forgets of those snapshots: all of them, since a newer one is kept.
    private static func list(_ forgotten: [Snapshot]) throws -> Tombstone {
        var newer = snapshot(100)
        newer.manifest.complete = true
        let planner = try RetentionPlanner(
            rules: RetentionRules(last: 1), calendar: RetentionCalendar(zone: .utc), now: Timestamp(seconds: 100_000))
        let plan = planner.plan(stack: "s", (forgotten + [newer]).map(RetentionCandidate.init))
        #expect(plan.removed.map(\.id) == forgotten.map(\.id))
        return Tombstone(plan, repositoryID: id(99), time: Timestamp(seconds: 0), host: "h")
    }

    @Test func `a gap shows when the snapshot after it is forgotten, too`() throws {
        let chain = [5, 6].map { Self.snapshot($0) }
        #expect(try Self.problems(chain, forgotten: [1, 2, 4], seen: 6).map(\.snapshot) == [Self.id(3)])
        #expect(try Self.problems(chain, forgotten: [1, 2, 4], seen: 6).map(\.gone?.sequence) == [3])
        #expect(try Self.problems(chain, forgotten: [1, 2, 3, 4], seen: 6).isEmpty)
    }

    @Test func `a snapshot that a repair replaced is forgotten with what stood for it`() throws {
        var repaired = Self.snapshot(2)
        repaired.id = Self.id(22)
        repaired.manifest.repairedFrom = [Self.id(2)]
        let list = try Self.list([repaired])
        #expect(
            SnapshotChain.problems([Self.snapshot(1), Self.snapshot(3)], forgotten: [list], seen: [:]).isEmpty)
    }

    @Test func aWholeChainHasNoProblemInWhateverOrderItIsListed() throws {
        let chain = (1...5).map { Self.snapshot($0) }
        #expect(try Self.problems(chain, seen: 5).isEmpty)
        #expect(try Self.problems(chain.reversed(), seen: 5).isEmpty)
        #expect(try Self.problems([], seen: nil).isEmpty)
    }

    @Test func aGapIsToldUnlessRetentionMadeIt() throws {
        let chain = [1, 2, 4, 5].map { Self.snapshot($0) }
        #expect(try Self.problems(chain, seen: 5).map(\.snapshot) == [Self.id(3)])
        #expect(try Self.problems(chain, forgotten: [3], seen: 5).isEmpty)
        // Only the edge of a longer gap is known by name.
        #expect(try Self.problems([Self.snapshot(5)], forgotten: [1, 2, 3]).map(\.snapshot) == [Self.id(4)])
    }

    @Test func aRemovedNewestIsToldByWhoSawIt() throws {
        let chain = [1, 2].map { Self.snapshot($0) }
        #expect(try Self.problems(chain, seen: 3).map(\.snapshot) == [Self.id(3)])
        #expect(try Self.problems(chain, forgotten: [3], seen: 3).isEmpty)
        #expect(try Self.problems(chain, seen: nil).isEmpty)
        // Told once: as predecessor, not again as seen.
        let followed = [1, 2, 4].map { Self.snapshot($0) }
        #expect(try Self.problems(followed, seen: 3).count == 1)
    }

    @Test func aNumberGivenTwiceIsToldButNotThatOfAnotherHost() throws {
        var twin = Self.snapshot(2)
        twin.id = Self.id(22)
        let problems = try Self.problems([Self.snapshot(1), Self.snapshot(2), twin])
        #expect(problems.map(\.snapshot) == [Self.id(22)])
        #expect(!problems.map(\.isNote).contains(true))
        var other = Self.snapshot(1, host: "other")
        other.id = Self.id(31)
        #expect(try Self.problems([Self.snapshot(1), other]).isEmpty)
    }

    @Test func aClockThatWentBackIsANote() throws {
        let problems = try Self.problems([Self.snapshot(1), Self.snapshot(2, startedAt: 50)])
        #expect(problems.map(\.snapshot) == [Self.id(2)])
        #expect(problems.map(\.isNote) == [true])
    }
}

@Suite struct ChainPositionTests {
    private static func id(_ number: UInt64) -> Digest { Digest(bigEndianWords: number, 0, 0, 0) }

    private static func snapshot(
        _ number: UInt64, host: String = "h", at second: Int64, isComplete: Bool = true
    ) -> Snapshot {
        var manifest = Manifest(
            repositoryID: id(99), stack: "s", host: host, sequence: number, previous: nil,
            started: Timestamp(seconds: second), lifeboat: "test")
        manifest.frozen = manifest.started
        manifest.complete = isComplete
        return Snapshot(id: id(UInt64(second)), manifest: manifest)
    }

    @Test func `the next snapshot follows the highest number that is known`() throws {
        let newest = Self.snapshot(4, at: 400)
        let lost = HostTrust.Pin.Seen(sequence: 6, snapshot: Self.id(6))
        #expect(try ChainPosition.next(after: nil, remembered: nil) == ChainPosition(sequence: 1, previous: nil))
        #expect(
            try ChainPosition.next(after: newest, remembered: nil) == ChainPosition(sequence: 5, previous: newest.id))
        #expect(
            try ChainPosition.next(after: newest, remembered: lost)
                == ChainPosition(sequence: 7, previous: lost.snapshot))
        // A repair put another in its place: that one is there.
        let same = HostTrust.Pin.Seen(sequence: 4, snapshot: Self.id(1))
        #expect(try ChainPosition.next(after: newest, remembered: same).previous == newest.id)
        let last = HostTrust.Pin.Seen(sequence: .max, snapshot: Self.id(1))
        #expect(throws: LifeboatError.self) { try ChainPosition.next(after: newest, remembered: last) }
        // Manifests that cannot be read may have the next numbers, unless this host remembers its last one.
        #expect(try ChainPosition.next(after: newest, remembered: nil, damaged: 2).sequence == 7)
        #expect(try ChainPosition.next(after: nil, remembered: nil, damaged: 1).sequence == 2)
        #expect(try ChainPosition.next(after: newest, remembered: same, damaged: 2).sequence == 5)
    }

    @Test func `of one host the number counts and between hosts the time`() {
        func newest(_ snapshots: [Snapshot], _ limit: Int64?) -> Digest? {
            SnapshotCatalog.newestComplete(snapshots, notAfter: limit.map { Timestamp(seconds: $0) })?.id
        }
        // Number 2 was made under a clock that was ahead.
        let own = [Self.snapshot(1, at: 100), Self.snapshot(2, at: 900), Self.snapshot(3, at: 300)]
        #expect(newest(own, 500) == Self.id(300))
        #expect(newest(own, 1000) == Self.id(300))
        #expect(newest(own, 200) == Self.id(100))
        #expect(newest(own, 50) == nil)
        let other = [
            Self.snapshot(1, host: "other", at: 400), Self.snapshot(2, host: "other", at: 950, isComplete: false),
        ]
        #expect(newest(own + other, 1000) == Self.id(400))
    }
}
