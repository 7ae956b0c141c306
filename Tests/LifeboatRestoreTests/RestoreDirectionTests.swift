// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatRestore
import LifeboatTesting
import Testing

/// A restore that was killed at any instant, carried on in one world and undone in another.
struct RestoreDirectionTests {
    private let wrecking = RestoreRecoveryTests()

    private func after<Result>(
        _ wreck: RestoreRecoveryTests.Wreck, unhealthy: Set<String> = [], _ body: (RestoreFixture) throws -> Result
    ) throws -> Result {
        let fake = FakeStack(components: ["database", "documents"], unhealthyData: unhealthy)
        return try RestoreFixture.with(fake) { fixture in
            fake.reset(to: wreck.state)
            for record in wreck.records { try fixture.journal.write(record) }
            return try body(fixture)
        }
    }

    private func resume(_ fixture: RestoreFixture) throws {
        guard let record = try fixture.recovery.pending().first else { return }
        if record.canGoOn {
            _ = try fixture.executor().resume(
                record.plan.id, from: fixture.fake.source, cancellation: Cancellation())
        } else {
            #expect(try fixture.recovery.recover(fixture.fake.stack).allSatisfy { $0.problems.isEmpty })
        }
    }

    @Test func carriedOnItEndsWithTheNewDataFromAnyInstant() throws {
        let all = try wrecking.wrecks(of: nil, unhealthy: []) { _ = try $0.restore() }
        for wreck in all {
            try after(wreck) { fixture in
                try resume(fixture)
                try fixture.expectClean()
                // Before the journal began nothing had.
                #expect(fixture.end == (wreck.records.isEmpty && wreck.state.log.isEmpty ? .old : .new))
            }
        }
    }

    @Test func undoneItEndsWithTheOldDataAsLongAsThatIsThere() throws {
        let all = try wrecking.wrecks(of: nil, unhealthy: []) { _ = try $0.restore() }
        var refused = 0
        for wreck in all {
            try after(wreck) { fixture in
                do {
                    _ = try fixture.recovery.recover(fixture.fake.stack, .back)
                } catch {
                    // The old data is being removed: only that can be finished.
                    refused += 1
                    #expect(wreck.records.first?.course == .finishing)
                    _ = try fixture.recovery.recover(fixture.fake.stack)
                    #expect(fixture.end == .new)
                }
                try fixture.expectClean()
                if let record = wreck.records.first, record.course != .finishing { #expect(fixture.end == .old) }
            }
        }
        #expect(refused > 0 && refused < all.count / 3)
    }

    @Test func aKillAtAnyInstantOfTheCarryingOnIsCarriedOnOrUndone() throws {
        let all = try wrecking.wrecks(of: nil, unhealthy: []) { _ = try $0.restore() }
        // Every instant of every instant is thousands: each third shows all kinds.
        for position in stride(from: 0, to: all.count, by: 3) {
            let again = try wrecking.wrecks(of: all[position], unhealthy: []) { try resume($0) }
            for wreck in again {
                try after(wreck) { fixture in
                    try resume(fixture)
                    try fixture.expectClean()
                }
                try after(wreck) { fixture in
                    #expect(try fixture.recovery.recover(fixture.fake.stack).allSatisfy { $0.problems.isEmpty })
                    try fixture.expectClean()
                }
            }
        }
    }

    @Test func aCarriedOnRestoreThatFailsIsUndoneFromAnyInstant() throws {
        let all = try wrecking.wrecks(of: nil, unhealthy: []) { _ = try $0.restore() }
        for wreck in all where wreck.records.first?.canGoOn == true {
            for number in 1...20 {
                try after(wreck) { fixture in
                    fixture.fake.inject(.before(number))
                    do { try resume(fixture) } catch { #expect(fixture.end == .old) }
                    fixture.fake.inject(nil)
                    #expect(try fixture.nextCommand().allSatisfy { $0.problems.isEmpty })
                    try fixture.expectClean()
                }
            }
        }
    }

    // MARK: - In place

    @Test func whatIsWrittenInPlaceHasNoWayBackAndGoesOnFromAnyInstant() throws {
        let all = try wrecking.wrecks(of: nil, unhealthy: []) { _ = try $0.restore(inPlace: ["documents"]) }
        var halted = 0
        for wreck in all {
            let isBegun = wreck.state.components["documents"]?.live != FakeStack.old
            try after(wreck) { fixture in
                // By itself nothing goes forward: what was begun is left for --resume.
                let outcomes = try fixture.recovery.recover(fixture.fake.stack)
                if let outcome = outcomes.first, outcome.decision == .halt {
                    halted += 1
                    #expect(outcome.problems.count == 1)
                    #expect(throws: LifeboatError.self) {
                        _ = try fixture.recovery.recover(fixture.fake.stack, .back)
                    }
                    try resume(fixture)
                    #expect(fixture.end == .new)
                } else {
                    #expect(!isBegun || fixture.end == .new)
                }
                try fixture.expectClean()
            }
        }
        #expect(halted > 10)
    }

    @Test func anotherSnapshotPutsRightWhatWasLeftInPlace() throws {
        let both = ["database", "documents"]
        let all = try wrecking.wrecks(of: nil, unhealthy: []) { _ = try $0.restore(inPlace: both) }
        var replaced = 0
        for wreck in all {
            try after(wreck) { fixture in
                guard try fixture.recovery.recover(fixture.fake.stack).first?.decision == .halt else { return }
                // One that leaves a part as it is cannot.
                let fewer = FakeStack(components: ["documents"])
                #expect(throws: LifeboatError.self) {
                    _ = try fixture.executor().execute(
                        fewer.plan(id: "restore-2", inPlace: ["documents"]), from: fixture.fake.source,
                        cancellation: Cancellation())
                }
                _ = try fixture.restore("restore-2", inPlace: both)
                replaced += 1
                #expect(fixture.end == .new)
                try fixture.expectClean()
            }
        }
        #expect(replaced > 5)
        let halted = try #require(try all.first { try after($0, isHalted) })
        let second = try wrecking.wrecks(of: halted, unhealthy: []) {
            _ = try $0.recovery.recover($0.fake.stack)
            _ = try $0.restore("restore-2", inPlace: both)
        }
        for again in second {
            try after(again) { fixture in
                _ = try fixture.recovery.recover(fixture.fake.stack)
                if try !fixture.recovery.pending().isEmpty { _ = try fixture.restore("restore-3", inPlace: both) }
                #expect(fixture.end == .new)
                try fixture.expectClean()
            }
        }
    }

    private func isHalted(_ fixture: RestoreFixture) throws -> Bool {
        try fixture.recovery.recover(fixture.fake.stack).first?.decision == .halt
    }

    @Test func whatARestoreInPlaceStagedBesideGoesOnceAnotherPutItRight() throws {
        let all = try wrecking.wrecks(of: nil, unhealthy: []) { _ = try $0.restore(inPlace: ["documents"]) }
        let halted = try #require(try all.first { try after($0, isHalted) })
        try after(halted) { fixture in
            _ = try fixture.recovery.recover(fixture.fake.stack)
            _ = try fixture.restore("restore-2")
            let left = try #require(try fixture.journal.records().records.first)
            #expect(left.plan.id == "restore-1" && left.supersededBy == "restore-2")
            #expect(!left.needsRecovery && left.isExpired(Timestamp(seconds: 1_700_000_000)))
            #expect(try fixture.recovery.discard("restore-1", fixture.fake.stack).problems.isEmpty)
            #expect(fixture.end == .new)
            try fixture.expectClean()
        }
    }

    @Test func aFailureAfterWritingInPlaceBeganLeavesServicesDownAndTheWayForwardOpen() throws {
        let fake = FakeStack(components: ["database", "documents"])
        try RestoreFixture.with(fake) { fixture in
            var number = 0
            while true {
                number += 1
                fake.inject(.before(number))
                do {
                    _ = try fixture.restore(inPlace: ["documents"])
                } catch let error as LifeboatError {
                    if fake.state.log.contains("begin writing documents") {
                        #expect(error.exitCode == .failed)
                        #expect(error.hint?.contains("Do not use fake 'documents'") == true)
                        if fake.state.components["documents"]?.live == "half" { #expect(!fake.state.servicesRun) }
                        break
                    }
                }
            }
            fake.inject(nil)
            try resume(fixture)
            #expect(fixture.end == .new)
            try fixture.expectClean()
        }
    }

    // MARK: - Side by side

    @Test func componentsAreStagedSideBySideAndAFailureEndsTheOthers() throws {
        let names = ["a", "b", "c", "d", "e"]
        let fake = FakeStack(components: names)
        try RestoreFixture.with(fake) { fixture in
            let outcome = try fixture.restore(lanes: 3)
            #expect(fixture.end == .new)
            #expect(outcome.steps.filter { $0.id.hasPrefix("stage:") }.count == 5)
            try fixture.expectClean()
        }
        for number in 7...16 {
            let fake = FakeStack(components: names)
            try RestoreFixture.with(fake) { fixture in
                fake.inject(.before(number))
                #expect(throws: (any Error).self) { _ = try fixture.restore(lanes: 3) }
                #expect(fixture.end == .old)
                try fixture.expectClean()
            }
        }
    }
}
