// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatIO
import LifeboatServices
import LifeboatStores

/// Executes restore plans, and only plans. Every step is journalled before and after; a failure before the first swap
/// leaves the live data as it was, a failure after it brings the old data back.
///
/// Blocking; one restore per stack and host at a time.
package struct RestoreExecutor: Sendable {
    /// Components that are staged at a time, unless told otherwise: one that waits for a server's indexes leaves the
    /// other the disk and the repository, and two keep the promised memory.
    package static let defaultLanes = 2

    private let stack: RestoreStack
    private let journal: RestoreJournal
    private let rates: RateHistory?
    private let lanes: Int
    private let clock: any Clock
    private let progress: any ProgressSink

    /// `rates`: where to note what the steps took.
    package init(
        stack: RestoreStack, journal: RestoreJournal, rates: RateHistory? = nil, lanes: Int = Self.defaultLanes,
        clock: any Clock, progress: any ProgressSink
    ) {
        self.stack = stack
        self.journal = journal
        self.rates = rates
        self.lanes = max(1, lanes)
        self.clock = clock
        self.progress = progress
    }

    /// `begun`: when the command began, on the clock's monotonic time: the recovery time counts from then; nil: now.
    /// `lock`: that of the stack, when the caller has taken it; it ends with the restore.
    ///
    /// Throws the reason when the restore did not happen: with exit code `rolledBack` when the old data was brought
    /// back after a swap, with the code of the failure itself when nothing had been swapped yet.
    package func execute(
        _ plan: RestorePlan, from source: any RestoreSource, begun: Double? = nil,
        lock given: consuming FileLock? = nil,
        cancellation: Cancellation
    ) throws -> RestoreOutcome {
        if let problem = plan.problems?.first { throw problem.error }
        guard plan.stack == stack.name else {
            throw LifeboatError("the plan is for stack '\(plan.stack)', not '\(stack.name)'", exitCode: .usage)
        }
        let lock: FileLock
        switch consume given {
        case .some(let taken): lock = taken
        case .none: lock = try journal.lock(stack: plan.stack)
        }
        let record = RestoreRecord(plan, owner: try .current())
        let pending = try journal.records().records.filter { $0.plan.stack == plan.stack && $0.needsRecovery }
        if let other = pending.first(where: { !$0.isReplaced(by: record) }) { throw RestoreFailure.pending(other) }
        let outcome = try run(RestoreMachine(record), source, begun: begun, cancellation)
        lock.release()
        return outcome
    }

    /// Carries on a restore that was cut off: what was staged whole is used. Throws as `execute` does.
    package func resume(
        _ id: String, from source: any RestoreSource, cancellation: Cancellation
    ) throws -> RestoreOutcome {
        let lock = try journal.lock(stack: stack.name)
        guard
            let record = try journal.records().records.first(where: {
                $0.plan.id == id && $0.plan.stack == stack.name && $0.needsRecovery
            })
        else { throw LifeboatError("restore '\(id)' of stack '\(stack.name)' is over already") }
        let outcome = try run(RestoreMachine(resuming: record), source, cancellation)
        lock.release()
        return outcome
    }

    private func run(
        _ machine: RestoreMachine, _ source: any RestoreSource, begun: Double? = nil, _ cancellation: Cancellation
    ) throws -> RestoreOutcome {
        var run = RestoreRun(
            machine, stack: stack, journal: journal, source: source, lanes: lanes, begun: begun, clock: clock,
            progress: progress, cancellation: cancellation)
        run.run()
        if let failure = run.failure { throw failure }
        if let rates {
            do {
                try rates.add(run.measurements(.restore), stack: stack.name)
            } catch {
                run.warn(LifeboatError.converting(error, "what the restore took cannot be noted for later forecasts"))
            }
        }
        return run.outcome
    }
}
