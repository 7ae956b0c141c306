// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatRestore
import LifeboatTesting
import Testing

/// kill -9 at every instant, without killing: what a crash would leave behind is kept, put back, and recovered from.
struct RestoreRecoveryTests {
    /// What is left when the process is gone: the stack, and the journal on the disk.
    struct Wreck: Sendable {
        var state: FakeStack.State
        var records: [RestoreRecord]
    }

    /// Keeps a wreck of every instant at which a process may be killed.
    private final class Recorder: Sendable {
        private let wrecks = Monitor<[Wreck]>([])
        private let view = Monitor<(FakeStack, RestoreJournal)?>(nil)

        func watch(_ fake: FakeStack, _ journal: RestoreJournal) { view.withLock { $0 = (fake, journal) } }

        func keep() {
            guard let (fake, journal) = view.withLock({ $0 }) else { return }
            do {
                let wreck = Wreck(state: fake.state, records: try journal.records().records)
                wrecks.withLock { $0.append(wreck) }
            } catch {
                Issue.record(error)
            }
        }

        var all: [Wreck] { wrecks.withLock { $0 } }
    }

    /// The wrecks of everything `body` does from `start` on.
    func wrecks(
        of start: Wreck?, unhealthy: Set<String>, servicesRun: Bool = true, fault: FakeStack.Fault? = nil,
        _ body: (RestoreFixture) throws -> Void
    ) throws -> [Wreck] {
        let recorder = Recorder()
        let fake = FakeStack(
            components: ["database", "documents"], servicesRun: servicesRun, unhealthyData: unhealthy,
            onInstant: { recorder.keep() })
        let writer: RestoreJournal.Writer = { text, path in
            recorder.keep()
            try RestoreJournal.writeAtomically(text, path)
            recorder.keep()
        }
        return try RestoreFixture.with(fake, writer: writer) { fixture in
            if let start {
                fake.reset(to: start.state)
                for record in start.records { try fixture.journal.write(record) }
            }
            fake.inject(fault)
            recorder.watch(fake, fixture.journal)
            try body(fixture)
            recorder.keep()
            return recorder.all
        }
    }

    private func recoverCompletely(_ wreck: Wreck, unhealthy: Set<String>, servicesRun: Bool = true) throws
        -> RestoreFixture.End
    {
        let fake = FakeStack(
            components: ["database", "documents"], servicesRun: servicesRun, unhealthyData: unhealthy)
        return try RestoreFixture.with(fake) { fixture in
            fake.reset(to: wreck.state)
            for record in wreck.records { try fixture.journal.write(record) }
            let outcomes = try fixture.recovery.recover(fake.stack)
            #expect(outcomes.allSatisfy { $0.problems.isEmpty })
            try fixture.expectClean(servicesRun: servicesRun || fixture.end == .new)
            #expect(try fixture.recovery.recover(fake.stack).isEmpty)
            return fixture.end
        }
    }

    @Test func aKillAtAnyInstantOfARestoreIsRecoveredFrom() throws {
        let all = try wrecks(of: nil, unhealthy: []) { _ = try $0.restore() }
        #expect(all.count > 60)
        let ends = try all.map { try recoverCompletely($0, unhealthy: []) }
        #expect(ends.first == .old)
        #expect(ends.last == .new)
        // Old up to some instant, new from then on: there is one point at which it is decided.
        let turn = try #require(ends.firstIndex(of: .new))
        #expect(ends[turn...].allSatisfy { $0 == .new })
    }

    @Test func aKillAtAnyInstantOfARollbackIsRecoveredFrom() throws {
        let all = try wrecks(of: nil, unhealthy: [FakeStack.new]) { fixture in
            #expect(throws: LifeboatError.self) { _ = try fixture.restore() }
        }
        for wreck in all {
            #expect(try recoverCompletely(wreck, unhealthy: [FakeStack.new]) == .old)
        }
    }

    @Test func aKillAtAnyInstantOfARecoveryIsRecoveredFrom() throws {
        let all = try wrecks(of: nil, unhealthy: []) { _ = try $0.restore() }
        for wreck in all {
            let again = try wrecks(of: wreck, unhealthy: []) { _ = try $0.recovery.recover($0.fake.stack) }
            let ends = Set(try again.map { try recoverCompletely($0, unhealthy: []) })
            #expect(ends.count == 1)
        }
    }

    @Test func servicesThatWereDownStayDownWhenTheRestoreIsUndone() throws {
        let all = try wrecks(of: nil, unhealthy: [], servicesRun: false) { _ = try $0.restore() }
        for wreck in all { _ = try recoverCompletely(wreck, unhealthy: [], servicesRun: false) }
    }

    @Test func theDecisionFollowsFromHowFarTheStepsCame() throws {
        let fake = FakeStack(components: ["database", "documents"])
        let plan = try fake.plan()
        for begun in 0...plan.steps.count {
            for last in [RestoreRecord.StepState.started, .done] where begun > 0 {
                var record = RestoreRecord(plan, owner: try .current())
                for position in 0..<begun { record.states[position] = position == begun - 1 ? last : .done }
                let swapped = plan.steps[..<begun].contains { $0.action == .swap }
                #expect(RestoreRecovery.decision(record) == (swapped ? .rollBack : .abandon))
                for (course, decision) in [
                    (RestoreRecord.Course.abandoning, RestoreRecovery.Decision.abandon),
                    (.rollingBack, .rollBack), (.finishing, .finish), (.kept, .nothing), (.done, .nothing),
                ] {
                    record.course = course
                    #expect(RestoreRecovery.decision(record) == decision)
                }
            }
        }
    }

    @Test func aJournalThatCannotBeReadIsToldAndNeverPassedOver() throws {
        try RestoreFixture.with { fixture in
            let path = fixture.journal.path(of: "torn")
            try fixture.journal.write(RestoreRecord(try fixture.fake.plan(id: "torn"), owner: try .current()))
            try AtomicFile.write("{\"format\": 1", to: path)
            let error = try #require(throws: LifeboatError.self) { _ = try fixture.recovery.pending() }
            #expect(error.message.contains("torn.json"))
        }
    }
}
