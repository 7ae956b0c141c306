// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO
import LifeboatServices

/// Finishes or undoes restores that were cut off: by kill -9, a crash, a power loss. The next run of any command calls
/// it, so nothing has to be repaired by hand.
package struct RestoreRecovery: Sendable {
    /// What becomes of a restore that was cut off.
    package enum Decision: String, Codable, Sendable, Equatable, CaseIterable {
        /// Nothing was exchanged: staged data goes, services run again.
        case abandon
        /// Something may have been exchanged: the old data comes back.
        case rollBack = "roll-back"
        /// The restored data was verified: it stays.
        case finish
        /// Data was written over in place: only going on is left.
        case halt
        /// The old data that had been kept is removed.
        case discard
        /// It is over.
        case nothing
    }

    /// What was done about one restore.
    package struct Outcome: Codable, Sendable, Equatable {
        package var id: String
        package var stack: String
        package var snapshot: Digest
        package var decision: Decision
        /// What was kept took so many bytes; nil: unknown, or nothing was kept.
        package var bytes: UInt64?
        /// True: data that is not needed any more could not be removed: the old data of a restore that was verified, the
        /// staged data of one that was undone.
        package var isLeftOver: Bool?
        /// How long the stack was down for it; nil: it was not touched.
        package var downtimeSeconds: Double?
        /// Empty when nothing is left to do.
        package var problems: [String]

        private enum CodingKeys: String, CodingKey {
            case id, stack, snapshot, decision, bytes, problems
            case isLeftOver = "left_over"
            case downtimeSeconds = "downtime_seconds"
        }

        /// What `isLeftOver` is about, for messages.
        package var leftOver: String {
            decision == .abandon || decision == .rollBack
                ? "what the failed restore '\(id)' had staged" : "the old data of restore '\(id)'"
        }
    }

    private let journal: RestoreJournal
    private let clock: any Clock
    private let progress: any ProgressSink

    package init(journal: RestoreJournal, clock: any Clock, progress: any ProgressSink) {
        self.journal = journal
        self.clock = clock
        self.progress = progress
    }

    /// Pure: what the record calls for.
    package static func decision(_ record: RestoreRecord) -> Decision {
        decision(RestoreMachine(recovering: record).record.course)
    }

    private static func decision(_ course: RestoreRecord.Course) -> Decision {
        switch course {
        case .abandoning: .abandon
        case .rollingBack: .rollBack
        case .finishing: .finish
        case .halted: .halt
        case .forward, .kept, .done: .nothing
        }
    }

    /// Restores that need recovery, of this stack or of all. One whose lifeboat is still at work is among them: only
    /// its lock tells. Throws when one cannot be read.
    package func pending(stack: String? = nil) throws -> [RestoreRecord] {
        let (records, unreadable) = try journal.records()
        if let first = unreadable.first { throw first }
        return records.filter { $0.needsRecovery && (stack == nil || $0.plan.stack == stack) }
    }

    /// Restores of this stack whose old data was kept.
    /// With what is left of old data that could not be removed.
    package func kept(stack: String) throws -> [RestoreRecord] {
        try journal.records().records.filter { $0.plan.stack == stack && $0.course == .kept }
    }

    /// What becomes of restores that were cut off.
    package enum Direction: Sendable {
        /// What was verified is finished, anything else undone.
        case settle
        /// Undone, as long as there is something to go back to.
        case back
    }

    /// Recovers every restore of this stack that was cut off; one that is still at work in another process is left to
    /// it. What could not be done is in the outcome, and is tried again next time.
    package func recover(_ stack: RestoreStack, _ direction: Direction = .settle) throws -> [Outcome] {
        try recover(stack: stack.name, direction) { _ in stack }
    }

    /// The same; `live` gives the stack as a plan needs it, of which components may have been restored in part or to
    /// another target than the policy's.
    package func recover(
        stack: String, _ direction: Direction = .settle, _ live: (RestorePlan) throws -> RestoreStack
    ) throws -> [Outcome] {
        guard try !pending(stack: stack).isEmpty else { return [] }
        let lock: FileLock
        do {
            lock = try journal.lock(stack: stack)
        } catch let error as LifeboatError where error.exitCode == .busy {
            return []
        }
        // Asked again under the lock: another process may have ended meanwhile.
        let all = try pending(stack: stack)
        // What was halted waits while the restore that puts it right is itself put right.
        let chosen = all.filter { record in !all.contains { record.isReplaced(by: $0) } }
        let outcomes = try chosen.map { record in
            let machine: RestoreMachine
            switch direction {
            case .settle: machine = RestoreMachine(recovering: record)
            case .back: machine = try RestoreMachine.turningBack(record)
            }
            return run(machine, try live(record.plan), decision: Self.decision(machine.record.course))
        }
        lock.release()
        return outcomes
    }

    /// Brings back the old data of a restore that succeeded and kept it. `begun`: when the command began, on the
    /// clock's monotonic time: a stack that is down counts as down from then; nil: now.
    package func rollBack(_ id: String, _ stack: RestoreStack, begun: Double? = nil) throws -> Outcome {
        let lock = try journal.lock(stack: stack.name)
        var record = try keptRecord(id, stack.name)
        var running = try stack.services?.running(nil) ?? []
        // What should run and does not is started too: the application may have been stopped by hand.
        if record.plan.onlyRunning != true, let idle = try stack.services?.idle(nil), !idle.isEmpty {
            let wanted = Set(running + idle)
            running = stack.allServices.filter(wanted.contains) + running.filter { !stack.allServices.contains($0) }
            record.plan.wasDown = true
        } else {
            record.plan.wasDown = nil
        }
        let machine = try RestoreMachine.rollingBack(kept: record, running: running)
        let outcome = run(machine, stack, decision: .rollBack, begun: begun)
        lock.release()
        return outcome
    }

    /// Removes the old data of a restore that succeeded and kept it.
    package func discard(_ id: String, _ stack: RestoreStack) throws -> Outcome {
        let lock = try journal.lock(stack: stack.name)
        let machine = try RestoreMachine.discarding(kept: try keptRecord(id, stack.name))
        let outcome = run(machine, stack, decision: .discard)
        lock.release()
        return outcome
    }

    private func keptRecord(_ id: String, _ stack: String) throws -> RestoreRecord {
        guard let record = try kept(stack: stack).first(where: { $0.plan.id == id }) else {
            throw LifeboatError("there is no restore '\(id)' of stack '\(stack)' that kept its old data")
        }
        return record
    }

    private func run(
        _ machine: RestoreMachine, _ stack: RestoreStack, decision: Decision, begun: Double? = nil
    ) -> Outcome {
        var run = RestoreRun(
            machine, stack: stack, journal: journal, source: nil, begun: begun, clock: clock, progress: progress,
            cancellation: Cancellation())
        run.run()
        let record = run.machine.record
        let downtime = run.timeline.downtimeSoFar
        let halted = record.course == .halted ? run.failure.map { [$0] } ?? [] : []
        let troubles = record.troubles.map(\.error) + run.warnings + halted
        return Outcome(
            id: record.plan.id, stack: stack.name, snapshot: record.plan.snapshot, decision: decision,
            bytes: record.keptBytes, isLeftOver: record.isLeftOver, downtimeSeconds: downtime > 0 ? downtime : nil,
            problems: troubles.map { ([$0.message] + $0.causes).joined(separator: ": ") })
    }
}
