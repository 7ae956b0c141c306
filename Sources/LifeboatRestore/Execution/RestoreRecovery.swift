// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

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
        /// It is over.
        case nothing
    }

    /// What was done about one restore.
    package struct Outcome: Codable, Sendable, Equatable {
        package var id: String
        package var stack: String
        package var snapshot: Digest
        package var decision: Decision
        /// Empty when nothing is left to do.
        package var problems: [String]
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
        switch RestoreMachine(recovering: record).record.course {
        case .abandoning: .abandon
        case .rollingBack: .rollBack
        case .finishing: .finish
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
    package func kept(stack: String) throws -> [RestoreRecord] {
        try journal.records().records.filter { $0.plan.stack == stack && $0.course == .kept }
    }

    /// Recovers every restore of this stack that was cut off; one that is still at work in another process is left to
    /// it. What could not be done is in the outcome, and is tried again next time.
    package func recover(_ stack: RestoreStack) throws -> [Outcome] {
        guard try !pending(stack: stack.name).isEmpty else { return [] }
        let lock: FileLock
        do {
            lock = try journal.lock(stack: stack.name)
        } catch let error as LifeboatError where error.exitCode == .busy {
            return []
        }
        // Asked again under the lock: another process may have ended meanwhile.
        let outcomes = try pending(stack: stack.name).map { record in
            run(RestoreMachine(recovering: record), stack, decision: Self.decision(record))
        }
        _ = consume lock
        return outcomes
    }

    /// Brings back the old data of a restore that succeeded and kept it.
    package func rollBack(_ id: String, _ stack: RestoreStack) throws -> Outcome {
        let lock = try journal.lock(stack: stack.name)
        guard let record = try kept(stack: stack.name).first(where: { $0.plan.id == id }) else {
            throw LifeboatError("there is no restore '\(id)' of stack '\(stack.name)' that kept its old data")
        }
        let outcome = run(try RestoreMachine.rollingBack(kept: record), stack, decision: .rollBack)
        _ = consume lock
        return outcome
    }

    private func run(_ machine: RestoreMachine, _ stack: RestoreStack, decision: Decision) -> Outcome {
        var run = RestoreRun(
            machine, stack: stack, journal: journal, source: nil, clock: clock, progress: progress,
            cancellation: Cancellation())
        run.run()
        let troubles = run.machine.record.troubles.map(\.error) + run.warnings
        return Outcome(
            id: machine.record.plan.id, stack: stack.name, snapshot: machine.record.plan.snapshot,
            decision: decision,
            problems: troubles.map { ([$0.message] + $0.causes).joined(separator: ": ") })
    }
}
