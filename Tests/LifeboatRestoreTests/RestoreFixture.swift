// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatRestore
import LifeboatTesting
import Testing

/// A fake stack, a journal in a folder of its own, and what may be said about both after a restore ended.
struct RestoreFixture {
    /// Time goes on by itself a little with each look at it.
    struct SteppingClock: Clock {
        private let time = Monitor(0.0)
        func now() -> Timestamp { Timestamp(seconds: 1_700_000_000) }
        func monotonicSeconds() -> Double {
            time.withLock { time in
                time += 1
                return time
            }
        }
        func sleep(seconds: Double) {}
    }

    enum End: Equatable { case old, new, mixed }

    let folder: TemporaryFolder
    let fake: FakeStack
    let journal: RestoreJournal

    init(
        _ fake: FakeStack, folder: TemporaryFolder,
        writer: @escaping RestoreJournal.Writer = RestoreJournal.writeAtomically
    ) {
        self.folder = folder
        self.fake = fake
        journal = RestoreJournal(stateFolder: folder.path, writer: writer)
    }

    static func with<Result>(
        _ fake: FakeStack = FakeStack(components: ["database", "documents"]),
        writer: @escaping RestoreJournal.Writer = RestoreJournal.writeAtomically,
        _ body: (RestoreFixture) throws -> Result
    ) throws -> Result {
        // Thousands of durable writes: in memory where there is such a place.
        let folder = try access("/dev/shm", W_OK) == 0 ? TemporaryFolder(in: "/dev/shm") : TemporaryFolder()
        defer { try? folder.remove() }
        return try body(RestoreFixture(fake, folder: folder, writer: writer))
    }

    func restore(
        _ id: String = "restore-1", oldData: RestorePlan.OldData = .discard, keepSeconds: Int64? = nil,
        inPlace: [String] = [], lanes: Int = 1, cancellation: Cancellation = Cancellation()
    ) throws -> RestoreOutcome {
        try executor(lanes: lanes).execute(
            fake.plan(id: id, oldData: oldData, keepSeconds: keepSeconds, inPlace: inPlace), from: fake.source,
            cancellation: cancellation)
    }

    /// One component at a time, so that the order of operations is known.
    func executor(lanes: Int = 1) -> RestoreExecutor {
        RestoreExecutor(
            stack: fake.stack, journal: journal, rates: RateHistory(stateFolder: folder.path), lanes: lanes,
            clock: SteppingClock(), progress: SilentProgress())
    }

    var recovery: RestoreRecovery {
        RestoreRecovery(journal: journal, clock: SteppingClock(), progress: SilentProgress())
    }

    /// What the next command of this stack does first: recovery, then removal of old data that was left over.
    func nextCommand() throws -> [RestoreRecovery.Outcome] {
        var outcomes = try recovery.recover(fake.stack)
        for record in try recovery.kept(stack: "fake") where record.isLeftOver == true {
            outcomes.append(try recovery.discard(record.plan.id, fake.stack))
        }
        return outcomes
    }

    /// Which data is live.
    var end: End {
        let live = Set(fake.state.components.values.map(\.live))
        if live == [FakeStack.old] { return .old }
        return live == [FakeStack.new] ? .new : .mixed
    }

    /// Whole old or whole new data is live, services run as `servicesRun` says, nothing lies about, nothing is pending.
    func expectClean(
        servicesRun: Bool = true, _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let state = fake.state
        #expect(end != .mixed, comment, sourceLocation: sourceLocation)
        #expect(state.servicesRun == servicesRun, comment, sourceLocation: sourceLocation)
        #expect(state.components.values.allSatisfy { $0.staged == nil }, comment, sourceLocation: sourceLocation)
        #expect(state.violations == [], comment, sourceLocation: sourceLocation)
        #expect(try journal.records().records == [], comment, sourceLocation: sourceLocation)
    }
}
