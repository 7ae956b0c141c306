// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatRestore
import LifeboatTesting
import Testing

/// Old data that stays beside the live data after a restore that succeeded.
struct KeptDataTests {
    private func kept(_ fixture: RestoreFixture) throws -> RestoreRecord {
        try #require(try fixture.recovery.kept(stack: "fake").last)
    }

    @Test func itIsKeptForItsPeriodAndTellsItsRoom() throws {
        try RestoreFixture.with { fixture in
            let outcome = try fixture.restore(oldData: .keep, keepSeconds: 3600)
            let end = Timestamp(seconds: 1_700_003_600)
            #expect(outcome.kept == RestoreOutcome.Kept(until: end, bytes: 200))
            let record = try kept(fixture)
            #expect(!record.isExpired(Timestamp(seconds: 1_700_003_599)))
            #expect(record.isExpired(end))
            #expect(!record.needsRecovery)
        }
    }

    @Test func withoutAPeriodItNeverExpires() throws {
        try RestoreFixture.with { fixture in
            let outcome = try fixture.restore(oldData: .keep)
            #expect(outcome.kept?.until == nil)
            #expect(try !kept(fixture).isExpired(Timestamp(seconds: 4_000_000_000)))
        }
    }

    @Test func discardedItIsGoneAndTheNewDataStays() throws {
        try RestoreFixture.with { fixture in
            let outcome = try fixture.restore(oldData: .keep)
            let discarded = try fixture.recovery.discard(outcome.id, fixture.fake.stack)
            #expect(discarded.decision == .discard && discarded.bytes == 200 && discarded.problems == [])
            #expect(fixture.end == .new)
            try fixture.expectClean()
            #expect(throws: LifeboatError.self) {
                _ = try fixture.recovery.discard(outcome.id, fixture.fake.stack)
            }
        }
    }

    @Test func `old data that cannot be removed after a verified restore is a warning, and blocks nothing`() throws {
        try RestoreFixture.with { fixture in
            _ = try fixture.restore()
            let last = fixture.fake.operationCount
            fixture.fake.reset(to: FakeStack(components: ["database", "documents"]).state)
            fixture.fake.inject(.before(last))
            let outcome = try fixture.restore("restore-2")
            #expect(fixture.end == .new && outcome.kept == nil)
            #expect(outcome.warnings.count == 1, "\(outcome.warnings)")
            #expect(outcome.warnings.first?.contains("'lifeboat restore --discard-old'") == true)
            let record = try kept(fixture)
            #expect(record.isLeftOver == true && !record.needsRecovery)
            #expect(record.isExpired(Timestamp(seconds: 1_700_000_000)))
            // Not all of it is there any more.
            let refused = try #require(throws: LifeboatError.self) {
                _ = try fixture.recovery.rollBack("restore-2", fixture.fake.stack)
            }
            #expect(refused.exitCode == .usage)
            // As long as the cause stays the next restore works all the same.
            fixture.fake.inject(.before(1))
            #expect(try fixture.recovery.discard("restore-2", fixture.fake.stack).problems.count == 1)
            #expect(try kept(fixture).isLeftOver == true)
            fixture.fake.inject(nil)
            #expect(try fixture.nextCommand().map(\.problems) == [[]])
            try fixture.expectClean()
        }
    }

    /// The restore fails at its last operation (`swapped`) or while it stages, and so does the removal of what it staged.
    @Test(arguments: [false, true])
    func `staged data of a failed restore that cannot be removed is a left-over, and blocks nothing`(
        swapped: Bool
    ) throws {
        try RestoreFixture.with { fixture in
            // Something to roll back to, which the failed restore must not hide.
            _ = try fixture.restore("kept", oldData: .keep)
            fixture.fake.reset(to: FakeStack(components: ["database", "documents"]).state)
            let discards: Set = ["discard database", "discard documents"]
            fixture.fake.refuse(discards.union([swapped ? "verify documents" : "end stage documents"]))
            let error = try #require(throws: LifeboatError.self) { _ = try fixture.restore("failed") }
            #expect(error.hint?.contains("'lifeboat restore --discard-old'") == true, "\(error)")
            #expect(error.exitCode == (swapped ? .rolledBack : .failed), "\(error)")
            #expect(fixture.end == .old && fixture.fake.state.servicesRun)
            #expect(try fixture.recovery.pending(stack: "fake") == [])
            let left = try #require(try fixture.recovery.kept(stack: "fake").first { $0.plan.id == "failed" })
            #expect(left.isLeftOver == true && left.isExpired(Timestamp(seconds: 1_700_000_000)))
            #expect(try fixture.recovery.kept(stack: "fake").contains { $0.plan.id == "kept" })
            let refused = try #require(throws: LifeboatError.self) {
                _ = try fixture.recovery.rollBack("failed", fixture.fake.stack)
            }
            #expect(refused.message == "restore 'failed' was undone already")
            // The removal fails again: the next restore works all the same.
            fixture.fake.refuse(discards)
            #expect(try fixture.recovery.discard("failed", fixture.fake.stack).problems.isEmpty == false)
            #expect(try fixture.recovery.pending(stack: "fake") == [])
            fixture.fake.refuse([])
            #expect(try fixture.recovery.discard("failed", fixture.fake.stack).problems == [])
            #expect(try fixture.recovery.kept(stack: "fake").map(\.plan.id) == ["kept"])
            #expect(fixture.fake.state.components.values.allSatisfy { $0.staged == nil })
        }
    }

    @Test func aDiscardThatFailsHalfWayIsFinishedByTheNextRun() throws {
        for number in 1...2 {
            try RestoreFixture.with { fixture in
                let outcome = try fixture.restore(oldData: .keep)
                fixture.fake.inject(.before(number))
                let discarded = try fixture.recovery.discard(outcome.id, fixture.fake.stack)
                #expect(discarded.problems.count == 1)
                #expect(fixture.end == .new)
                fixture.fake.inject(nil)
                #expect(try fixture.nextCommand().map(\.decision) == [.discard])
                try fixture.expectClean()
            }
        }
    }

    @Test func aKillAtAnyInstantOfALaterRollbackOrDiscardIsRecoveredFrom() throws {
        let wrecking = RestoreRecoveryTests()
        let start = try #require(
            try wrecking.wrecks(of: nil, unhealthy: []) { _ = try $0.restore(oldData: .keep) }.last)
        #expect(start.records.first?.course == .kept)
        for isRollback in [true, false] {
            let all = try wrecking.wrecks(of: start, unhealthy: []) { fixture in
                let recovery = fixture.recovery
                _ =
                    isRollback
                    ? try recovery.rollBack("restore-1", fixture.fake.stack)
                    : try recovery.discard("restore-1", fixture.fake.stack)
            }
            #expect(all.count > 4)
            for wreck in all {
                let fake = FakeStack(components: ["database", "documents"])
                try RestoreFixture.with(fake) { fixture in
                    fake.reset(to: wreck.state)
                    for record in wreck.records { try fixture.journal.write(record) }
                    _ = try fixture.recovery.recover(fake.stack)
                    #expect(fake.state.violations == [] && fake.state.servicesRun)
                    let isUntouched = try !fixture.recovery.kept(stack: "fake").isEmpty
                    #expect(fixture.end == (isRollback && !isUntouched ? .old : .new))
                    if !isUntouched { try fixture.expectClean() }
                }
            }
        }
    }

    @Test func aRollbackStartsWhatRanJustBeforeItNotWhatRanOnce() throws {
        // Nothing ran when the stack was restored; it was brought up whole, and runs now.
        let fake = FakeStack(components: ["database"], servicesRun: false)
        try RestoreFixture.with(fake) { fixture in
            let outcome = try fixture.restore(oldData: .keep)
            #expect(fake.state.servicesRun)
            let rolledBack = try fixture.recovery.rollBack(outcome.id, fake.stack)
            #expect(rolledBack.problems == [])
            #expect(fixture.end == .old)
            try fixture.expectClean(servicesRun: true)
        }
    }

    @Test func aLaterRestoreThatKeepsNothingEndsTheWayBack() throws {
        try RestoreFixture.with { fixture in
            try fixture.journal.write(try keptRecord("restore-0", fixture))
            _ = try fixture.restore("restore-1")
            let record = try kept(fixture)
            #expect(record.plan.id == "restore-0" && record.supersededBy == "restore-1")
            let error = try #require(throws: LifeboatError.self) {
                _ = try fixture.recovery.rollBack("restore-0", fixture.fake.stack)
            }
            #expect(error.causes.contains { $0.contains("restore-1") })
            #expect(fixture.end == .new)
        }
    }

    @Test func aLaterRestoreThatKeepsItsOldDataLeavesTheWayBackOpen() throws {
        try RestoreFixture.with { fixture in
            try fixture.journal.write(try keptRecord("restore-0", fixture))
            _ = try fixture.restore("restore-1", oldData: .keep)
            #expect(try fixture.recovery.kept(stack: "fake").map(\.supersededBy) == [nil, nil])
            // Until the later one lets go of it.
            _ = try fixture.recovery.discard("restore-1", fixture.fake.stack)
            #expect(try kept(fixture).supersededBy == "restore-1")
        }
    }

    /// An earlier restore that kept its old data.
    private func keptRecord(_ id: String, _ fixture: RestoreFixture) throws -> RestoreRecord {
        var record = RestoreRecord(try fixture.fake.plan(id: id, oldData: .keep), owner: try .current())
        record.course = .kept
        record.states = record.states.map { _ in .done }
        return record
    }

    @Test func whatARestoreTookIsNotedForForecasts() throws {
        try RestoreFixture.with { fixture in
            let outcome = try fixture.restore()
            let noted = RateHistory(stateFolder: fixture.folder.path).measurements().measurements
            #expect(noted.map(\.phase).contains("stage") && noted.count == outcome.steps.count)
            let rates = RecoveryRates(noted)
            let measured = try #require(outcome.steps.first { $0.id == "stop-services" })
            #expect(rates.estimate("stop-services", stack: "fake", bytes: 0).seconds == measured.seconds)
            #expect(
                rates.estimate("swap", stack: "fake", component: "database", store: "fake", bytes: 0).basis
                    == .component)
        }
    }
}
