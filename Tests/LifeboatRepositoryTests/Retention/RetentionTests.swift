// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatRepository
import LifeboatStorage
import LifeboatTesting
import Testing

/// Retention on a repository: manifests, pins, tombstones.
struct RetentionTests {
    private let folder: TemporaryFolder
    private let memory: MemoryStore
    private let store: FaultInjectingStore
    private let repository: Repository
    private let clock = FixedClock(Timestamp(year: 2026, month: 11, day: 21))
    private let rules = RetentionRules(last: 4)
    private let calendar = RetentionCalendar(zone: .utc)

    init() throws {
        folder = try TemporaryFolder(prefix: "lifeboat-retention-")
        memory = MemoryStore()
        store = FaultInjectingStore(memory)
        _ = try Repository.create(in: store, clock: clock)
        repository = try Repository.open(store, cacheRoot: "\(folder.path)/cache")
    }

    /// A chain of complete snapshots, a day apart, oldest first.
    private func makeSnapshots(_ count: Int, stack: String = "demo") throws -> [Snapshot] {
        var snapshots: [Snapshot] = []
        for number in 0..<count {
            var manifest = Manifest(
                repositoryID: repository.config.repositoryID, stack: stack, host: "h", sequence: UInt64(number + 1),
                previous: snapshots.last?.id,
                started: Timestamp(year: 2026, month: 11, day: 1).adding(seconds: Int64(number) * 86_400),
                lifeboat: "test")
            manifest.complete = true
            snapshots.append(try SnapshotCatalog.commit(manifest, to: repository))
        }
        return snapshots
    }

    private func ids(stack: String = "demo") throws -> [Digest] {
        try SnapshotCatalog(repository, stack: stack).snapshots.map(\.id)
    }

    private func plan(_ rules: RetentionRules? = nil) throws -> RetentionPlan {
        try Retention(repository, stack: "demo").plan(rules ?? self.rules, calendar: calendar, now: clock.now()).plan
    }

    private func carryOut(_ plan: RetentionPlan) throws -> Int {
        try Retention(repository, stack: "demo").carryOut(
            plan, clock: clock, host: "h", cancellation: Cancellation())
    }

    @Test func whatIsRemovedHasATombstoneAndOtherStacksStay() throws {
        defer { try? folder.remove() }
        let snapshots = try makeSnapshots(6)
        let others = try makeSnapshots(3, stack: "other")
        #expect(try carryOut(plan()) == 2)
        #expect(try ids() == snapshots.dropFirst(2).map(\.id))
        #expect(try ids(stack: "other") == others.map(\.id))
        let tombstones = try ForgottenSnapshots.read(repository)
        #expect(tombstones.count == 1)
        #expect(tombstones.first?.rules == rules)
        #expect(tombstones.first?.timeZone == "UTC")
        let entries = tombstones.first?.snapshots ?? []
        #expect(entries.map(\.snapshot) == snapshots.prefix(2).map(\.id))
        #expect(entries.map(\.sequence) == [1, 2])
        #expect(entries.map(\.previous) == [nil, snapshots[0].id])
        #expect(try ForgottenSnapshots.read(repository, stack: "other").isEmpty)
        // Nothing more to do: no second tombstone.
        #expect(try carryOut(plan()) == 0)
        #expect(try ForgottenSnapshots.read(repository).count == 1)
    }

    /// Every call of the store fails once, before or after it was done: no snapshot is gone without a tombstone, none
    /// that is to stay is gone, and the next run ends what was begun.
    @Test(arguments: [true, false])
    func aRunThatBreaksOffIsFinishedByTheNext(answerIsLost: Bool) throws {
        defer { try? folder.remove() }
        let snapshots = try makeSnapshots(7)
        let before = memory.contents
        var number = 1
        while true {
            memory.contents = before
            let plan = try plan()
            let fired = store.firedFaults
            store.inject(answerIsLost ? .failAfter(.transient) : .failBefore(.transient), at: number)
            let result = Result { try carryOut(plan) }
            guard store.firedFaults > fired else {
                #expect(try result.get() == 3)
                break
            }
            #expect(throws: (any Error).self) { try result.get() }
            let left = Set(try ids())
            let forgotten = Set(try ForgottenSnapshots.read(repository).flatMap(\.snapshots).map(\.snapshot))
            #expect(snapshots.dropFirst(3).allSatisfy { left.contains($0.id) }, "call \(number)")
            #expect(snapshots.allSatisfy { left.contains($0.id) || forgotten.contains($0.id) }, "call \(number)")
            _ = try carryOut(try self.plan())
            #expect(try ids() == snapshots.dropFirst(3).map(\.id), "call \(number)")
            number += 1
        }
        // A put, reading it back, and a look for a pin and a removal for each of three.
        #expect(number > 8)
    }

    @Test func aPinSetAfterThePlanWasMadeIsHonoured() throws {
        defer { try? folder.remove() }
        let snapshots = try makeSnapshots(6)
        let plan = try plan()
        #expect(plan.removed.count == 2)
        #expect(try Pins.add(pin(snapshots[1]), for: snapshots[1], to: repository))
        let error = #expect(throws: LifeboatError.self) { try carryOut(plan) }
        #expect(error?.exitCode == .busy)
        #expect(try ids() == snapshots.dropFirst().map(\.id))
        #expect(try self.plan().removed.isEmpty)
    }

    private func pin(_ snapshot: Snapshot, note: String? = nil) -> Pin {
        Pin(
            repositoryID: repository.config.repositoryID, stack: snapshot.manifest.stack, snapshot: snapshot.id,
            host: "h", created: clock.now(), note: note)
    }

    @Test func pinsComeAndGo() throws {
        defer { try? folder.remove() }
        let snapshots = try makeSnapshots(6)
        let first = snapshots[0]
        #expect(try Pins.read(repository, stack: "demo", snapshot: first.id) == nil)
        #expect(try Pins.add(pin(first, note: "before the move"), for: first, to: repository))
        #expect(try !Pins.add(pin(first, note: "another"), for: first, to: repository))
        #expect(try Pins.read(repository, stack: "demo", snapshot: first.id)?.note == "before the move")
        #expect(try Pins.ids(repository, stack: "demo") == [first.id])
        #expect(try Pins.ids(repository, stack: "other").isEmpty)
        #expect(try plan().removed.map(\.id) == [snapshots[1].id])
        #expect(try Pins.remove(repository, stack: "demo", snapshot: first.id, host: "h", time: clock.now()))
        #expect(try !Pins.remove(repository, stack: "demo", snapshot: first.id, host: "h", time: clock.now()))
        #expect(try plan().removed.count == 2)
        // A snapshot that is gone cannot be pinned, and no pin is left behind.
        _ = try carryOut(plan())
        #expect(throws: LifeboatError.self) { try Pins.add(pin(first), for: first, to: repository) }
        #expect(try Pins.names(repository).isEmpty)
    }

    @Test func aDamagedPinStillPinsAndAForeignNameStopsEverything() throws {
        defer { try? folder.remove() }
        let snapshots = try makeSnapshots(6)
        #expect(try Pins.add(pin(snapshots[0]), for: snapshots[0], to: repository))
        memory.contents[RepositoryLayout.pin(stack: "demo", snapshot: snapshots[0].id)] = [0x7B]
        #expect(try plan().removed.map(\.id) == [snapshots[1].id])
        #expect(throws: LifeboatError.self) { try Pins.read(repository, stack: "demo", snapshot: snapshots[0].id) }
        memory.contents[try #require(ObjectKey("pins/demo/mine.json"))] = []
        let error = #expect(throws: LifeboatError.self) { try plan() }
        #expect(error?.exitCode == .damagedRepository)
    }

    @Test func drillResultsAreHeededWhereThereAreAny() throws {
        defer { try? folder.remove() }
        let snapshots = try makeSnapshots(6)
        func put(_ text: String) throws {
            _ = try DrillRecords.store(Array(text.utf8), stack: "demo", time: clock.now(), to: repository)
        }
        try put(#"{"snapshot":"\#(snapshots[0].id.hex)","verified":true,"rta":12}"#)
        try put(#"{"snapshot":"\#(snapshots[1].id.hex)","verified":false}"#)
        #expect(try plan().removed.map(\.id) == [snapshots[1].id])
        #expect(try plan().decisions.first?.reasons == [.drillVerified])
        memory.contents[try #require(ObjectKey("drills/demo/mine.json"))] = Array("{}".utf8)
        #expect(throws: LifeboatError.self) { try plan() }
    }

    @Test func aListingThatFailsRemovesNothing() throws {
        defer { try? folder.remove() }
        let snapshots = try makeSnapshots(6)
        for prefix in ["snapshots/", "pins/", "drills/"] {
            store.inject(.failBefore(.transient), at: 1, of: [.list], prefix: prefix)
            #expect(throws: (any Error).self) { try plan() }
        }
        #expect(try ids() == snapshots.map(\.id))
    }

    @Test func aDamagedTombstoneIsNamed() throws {
        defer { try? folder.remove() }
        _ = try makeSnapshots(6)
        _ = try carryOut(plan())
        let key = try #require(memory.contents.keys.first { $0.text.hasPrefix("forgotten/demo/20261121T000000Z-") })
        memory.contents[key]?[40] ^= 1
        let error = #expect(throws: LifeboatError.self) { try ForgottenSnapshots.read(repository) }
        #expect(error?.exitCode == .damagedRepository)
    }

    @Test func moreThanHalfAndDamageNeedForce() throws {
        defer { try? folder.remove() }
        _ = try makeSnapshots(6)
        let half = try plan(RetentionRules(last: 3))
        #expect(Retention.objection(to: half, damaged: []) == nil)
        let more = try plan(RetentionRules(last: 2))
        let objection = try #require(Retention.objection(to: more, damaged: []))
        #expect(objection.message.contains("remove 4 of the 6 complete snapshots"))
        #expect(objection.exitCode == .failed)
        let damage = RepositoryError.damaged("snapshots/x", "why")
        #expect(Retention.objection(to: half, damaged: [damage])?.exitCode == .damagedRepository)
        #expect(Retention.objection(to: try plan(RetentionRules(last: 9)), damaged: [damage]) == nil)
    }

    @Test func aCancelledRunStopsBetweenTwoSnapshots() throws {
        defer { try? folder.remove() }
        let snapshots = try makeSnapshots(6)
        let cancellation = Cancellation()
        cancellation.cancel()
        let plan = try plan()
        let error = #expect(throws: LifeboatError.self) {
            try Retention(repository, stack: "demo").carryOut(
                plan, clock: clock, host: "h", cancellation: cancellation)
        }
        #expect(error == .interrupted)
        #expect(try ids().count == snapshots.count)
    }
}
