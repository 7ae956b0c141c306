// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatRestore
import LifeboatStores
import LifeboatTesting
import Testing

struct RestoreExecutorTests {
    @Test func aRestoreStagesStopsSwapsStartsAndVerifies() throws {
        try RestoreFixture.with { fixture in
            let outcome = try fixture.restore()
            #expect(
                fixture.fake.state.log == [
                    "verify chunks", "preflight database", "preflight documents", "begin stage database",
                    "end stage database", "begin stage documents", "end stage documents", "ask services", "stop",
                    "ask services", "swap database", "swap documents", "ask services", "start", "health",
                    "verify database", "verify documents",
                    "discard database", "discard documents",
                ])
            #expect(fixture.end == .new)
            try fixture.expectClean()
            #expect(
                outcome.phases.map(\.name) == [
                    "preflight", "stage", "stop", "swap", "start", "health", "verify", "finish",
                ])
            #expect(outcome.components.map(\.factsVerified) == [1, 1])
            #expect(outcome.downtimeSeconds > 0)
            #expect(outcome.downtimeSeconds < outcome.totalSeconds)
            #expect(outcome.warnings == [])
        }
    }

    @Test func theClockStartsWithTheCommandAndWhatWasDownIsDownFromThen() throws {
        for wasDown in [false, true] {
            try RestoreFixture.with { fixture in
                var plan = try fixture.fake.plan()
                if wasDown { plan.wasDown = true }
                // The clock of the fixture shows 1 at its first look: the command began 100 s before that.
                let outcome = try fixture.executor().execute(
                    plan, from: fixture.fake.source, begun: -100, cancellation: Cancellation())
                #expect(outcome.phases.first?.name == "prepare")
                #expect((outcome.phases.first?.seconds ?? 0) > 100)
                #expect(outcome.totalSeconds > 100)
                #expect((outcome.downtimeSeconds > 100) == wasDown)
            }
        }
    }

    @Test func aFailureAtAnyOperationEndsWithOldDataBeforeTheSwapAndRolledBackAfterIt() throws {
        var number = 0
        var exitCodes: [ExitCode] = []
        while true {
            number += 1
            var isOver = false
            for fault in [FakeStack.Fault.before(number), .after(number)] {
                try RestoreFixture.with { fixture in
                    fixture.fake.inject(fault)
                    do {
                        _ = try fixture.restore()
                        // Only removing what is old may fail without failing the restore; it is done the next time.
                        #expect(fixture.end == .new)
                        isOver = number > fixture.fake.operationCount
                        fixture.fake.inject(nil)
                        // It blocks nothing.
                        #expect(try fixture.recovery.pending().isEmpty)
                        let outcomes = try fixture.nextCommand()
                        #expect(outcomes.allSatisfy { $0.decision == .discard && $0.problems.isEmpty })
                        #expect(isOver || outcomes.count == 1)
                    } catch let error as LifeboatError {
                        exitCodes.append(error.exitCode)
                        #expect(fixture.end == .old)
                        let swapped = fixture.fake.state.log.contains { $0.hasPrefix("swap ") }
                        #expect(error.exitCode == (swapped ? .rolledBack : .failed), "\(fault)")
                    }
                    try fixture.expectClean("\(fault)")
                }
            }
            if isOver { break }
        }
        #expect(Set(exitCodes) == [.failed, .rolledBack])
        #expect(number > 15)
    }

    @Test func aFailureWhileUndoingIsMadeGoodByTheNextRun() throws {
        // The health check fails, so it rolls back; then one more operation fails.
        for number in 1...40 {
            let fake = FakeStack(components: ["database", "documents"], unhealthyData: [FakeStack.new])
            try RestoreFixture.with(fake) { fixture in
                fixture.fake.inject(.before(number))
                let error = try #require(throws: LifeboatError.self) { _ = try fixture.restore() }
                let mixed = fixture.end == .mixed
                if error.exitCode == .rolledBack { #expect(fixture.end == .old) }
                if mixed {
                    #expect(error.hint?.contains("Both copies are kept") == true)
                    #expect(!fixture.fake.state.servicesRun)
                }
                fixture.fake.inject(nil)
                _ = try fixture.nextCommand()
                #expect(fixture.end == .old)
                try fixture.expectClean("operation \(number)")
            }
        }
    }

    @Test func anUnhealthyStackIsRolledBack() throws {
        let fake = FakeStack(components: ["database"], unhealthyData: [FakeStack.new])
        try RestoreFixture.with(fake) { fixture in
            let error = try #require(throws: LifeboatError.self) { _ = try fixture.restore() }
            #expect(error.exitCode == .rolledBack)
            #expect(error.message == "the restore of stack 'fake' failed and was rolled back")
            #expect(error.causes.first == "'database' is not healthy")
            #expect(fixture.end == .old)
            #expect(
                fixture.fake.state.log.suffix(7) == [
                    "start", "health", "stop", "swap back database", "start", "health", "discard database",
                ])
            try fixture.expectClean()
        }
    }

    @Test func aServiceThatSomebodyStartsWhileDataIsExchangedRollsBack() throws {
        let revived = Monitor<FakeStack?>(nil)
        let isSwapped = Monitor(false)
        let fake = FakeStack(
            components: ["database"],
            onOperation: { operation in
                if operation == "swap database" { isSwapped.withLock { $0 = true } }
                // Asked after the exchange.
                if operation == "ask services", isSwapped.withLock({ $0 }) { revived.withLock { $0 }?.startServices() }
            })
        revived.withLock { $0 = fake }
        defer { revived.withLock { $0 = nil } }
        try RestoreFixture.with(fake) { fixture in
            let error = try #require(throws: LifeboatError.self) { _ = try fixture.restore() }
            #expect(error.exitCode == .rolledBack)
            #expect(error.causes.first == "service 'service' was started while the data was exchanged")
            #expect(fixture.end == .old)
            try fixture.expectClean()
        }
    }

    @Test func factsThatFellShortRollBackAndFactsThatGrewAreTold() throws {
        let lost = FakeStack(
            components: ["database"],
            differences: [FactDifference(name: "rows", expected: "10", found: "9")])
        try RestoreFixture.with(lost) { fixture in
            let error = try #require(throws: LifeboatError.self) { _ = try fixture.restore() }
            #expect(error.exitCode == .rolledBack)
            #expect(error.causes.contains("rows is 9, not 10"))
            try fixture.expectClean()
        }
        let grown = FakeStack(
            components: ["database"],
            differences: [FactDifference(name: "rows", expected: "10", found: "11")])
        try RestoreFixture.with(grown) { fixture in
            let outcome = try fixture.restore()
            #expect(outcome.warnings.count == 1)
            #expect(fixture.end == .new)
            try fixture.expectClean()
        }
    }

    @Test func aStackWhoseServicesWereDownIsStartedAndStoppedAgainOnRollback() throws {
        let healthy = FakeStack(components: ["database"], servicesRun: false)
        try RestoreFixture.with(healthy) { fixture in
            _ = try fixture.restore()
            #expect(!fixture.fake.state.log.contains("stop"))
            try fixture.expectClean(servicesRun: true)
        }
        let broken = FakeStack(components: ["database"], servicesRun: false, unhealthyData: [FakeStack.new])
        try RestoreFixture.with(broken) { fixture in
            #expect(throws: LifeboatError.self) { _ = try fixture.restore() }
            #expect(fixture.end == .old)
            try fixture.expectClean(servicesRun: false)
        }
    }

    @Test func cancellationAtAnyOperationEndsWithOldDataOrRunsToTheEnd() throws {
        var number = 0
        var codes: Set<ExitCode> = []
        repeat {
            number += 1
            let cancellation = Cancellation()
            let count = Monitor(0)
            let wanted = number
            let fake = FakeStack(
                components: ["database", "documents"],
                onOperation: { _ in
                    let now = count.withLock { count -> Int in
                        count += 1
                        return count
                    }
                    if now == wanted { cancellation.cancel() }
                })
            try RestoreFixture.with(fake) { fixture in
                do {
                    _ = try fixture.restore(cancellation: cancellation)
                    #expect(fixture.end == .new)
                } catch let error as LifeboatError {
                    codes.insert(error.exitCode)
                    #expect(fixture.end == .old)
                }
                try fixture.expectClean("operation \(wanted)")
            }
            if count.withLock({ $0 }) < wanted { break }
        } while true
        #expect(codes == [.interrupted, .rolledBack])
    }

    @Test func aJournalThatCannotBeWrittenNeverLeavesAMixture() throws {
        var number = 0
        var finished = false
        while !finished {
            number += 1
            let wanted = number
            let count = Monitor(0)
            let writer: RestoreJournal.Writer = { text, path in
                let now = count.withLock { count -> Int in
                    count += 1
                    return count
                }
                if now == wanted { throw SystemCallError("write to", path, errorNumber: 28) }
                try RestoreJournal.writeAtomically(text, path)
            }
            try RestoreFixture.with(writer: writer) { fixture in
                do {
                    _ = try fixture.restore()
                    #expect(fixture.end == .new)
                    finished = count.withLock { $0 } < wanted
                } catch let error as LifeboatError {
                    #expect(fixture.end == .old)
                    let swapped = fixture.fake.state.log.contains { $0.hasPrefix("swap ") }
                    #expect(error.exitCode == (swapped ? .rolledBack : .failed))
                }
                _ = try fixture.nextCommand()
                try fixture.expectClean("write \(wanted)")
            }
        }
        #expect(number > 12)
    }

    @Test func oldDataThatWasKeptCanBeBroughtBack() throws {
        try RestoreFixture.with { fixture in
            let outcome = try fixture.restore(oldData: .keep)
            #expect(fixture.end == .new)
            #expect(fixture.fake.state.components["database"]?.staged == FakeStack.old)
            #expect(try fixture.recovery.pending().isEmpty)
            #expect(try fixture.recovery.recover(fixture.fake.stack).isEmpty)
            #expect(try fixture.recovery.kept(stack: "fake").map(\.plan.id) == [outcome.id])
            let rolledBack = try fixture.recovery.rollBack(outcome.id, fixture.fake.stack)
            #expect(rolledBack.decision == .rollBack)
            #expect(rolledBack.problems == [])
            #expect(fixture.end == .old)
            try fixture.expectClean()
        }
    }

    @Test func oneStackIsRestoredByOneProcessAtATime() throws {
        try RestoreFixture.with { fixture in
            let lock = try fixture.journal.lock(stack: "fake")
            let error = try #require(throws: LifeboatError.self) { _ = try fixture.restore() }
            #expect(error.exitCode == .busy)
            #expect(fixture.fake.state.log == [])
            _ = consume lock
        }
    }

    @Test func aRestoreThatWasCutOffComesBeforeANewOne() throws {
        try RestoreFixture.with { fixture in
            try fixture.journal.write(RestoreRecord(try fixture.fake.plan(id: "earlier"), owner: try .current()))
            let error = try #require(throws: LifeboatError.self) { _ = try fixture.restore() }
            #expect(error.exitCode == .busy)
            #expect(error.message.contains("earlier"))
            _ = try fixture.recovery.recover(fixture.fake.stack)
            _ = try fixture.restore()
            #expect(fixture.end == .new)
        }
    }
}
