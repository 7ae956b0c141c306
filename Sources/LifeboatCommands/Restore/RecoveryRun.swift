// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatPolicy
import LifeboatRepository
import LifeboatRestore

/// `lifeboat restore --resume`, `--rollback`, `--discard-old`: what is about an earlier restore of the stack.
struct RecoveryRun {
    let command: Restore
    let assembly: StackAssembly

    private var stack: String { assembly.policy.stack }

    /// As it was for that restore: parts of components, other targets.
    private func stack(of plan: RestorePlan) throws -> RestoreStack { try RestoreAim(assembly, plan).stack() }

    func run(_ session: CommandSession) throws -> ExitCode {
        let recovery = RestoreRecovery(
            journal: RestoreJournal(stateFolder: try PendingWork.stateFolder(session.context)),
            clock: session.context.clock, progress: session.progress)
        if command.resume { return try resume(recovery, session) }
        if command.rollback { return try rollBack(recovery, session) }
        return try discard(recovery, session)
    }

    /// Goes on with what was cut off, forward as long as nothing speaks against it.
    private func resume(_ recovery: RestoreRecovery, _ session: CommandSession) throws -> ExitCode {
        // The last: it puts right what an earlier one may have left in place.
        guard let record = try recovery.pending(stack: stack).last(where: \.canGoOn) else {
            return try report(try settle(recovery, .settle, session), session)
        }
        let repository: Repository
        let snapshot: Snapshot
        do {
            repository = try command.location.openForReading(session, policy: assembly.policy, resuming: stack)
            snapshot = try SnapshotCatalog.readable(repository, session).find(record.plan.snapshot.hex, stack: nil)
        } catch {
            let isInPlace = record.plan.isInPlace
            throw LifeboatError.converting(
                error, "restore '\(record.plan.id)' cannot go on without its snapshot",
                hint: isInPlace
                    ? "Restore its components from another snapshot: that puts them right too."
                    : "Run 'lifeboat restore --rollback' with this policy: it is undone without.")
        }
        var source = try RepositorySource(
            repository, snapshot, components: record.plan.components.map(\.name),
            options: RepositoryContent.Options(threads: session.context.host.processors), progress: session.progress)
        source.expect(record.plan)
        let outcome = try Restore.executor(try stack(of: record.plan), session).resume(
            record.plan.id, from: source, cancellation: session.cancellation)
        return try Restore.report(outcome, of: snapshot, told: [], session)
    }

    private func rollBack(_ recovery: RestoreRecovery, _ session: CommandSession) throws -> ExitCode {
        let begun = session.context.clock.monotonicSeconds()
        var outcomes = try settle(recovery, .back, session)
        if outcomes.isEmpty {
            guard let last = try recovery.kept(stack: stack).last(where: { $0.failure == nil }) else {
                throw LifeboatError(
                    "there is no restore of stack '\(stack)' to roll back",
                    hint: "Only a restore with --keep-old can be rolled back after it succeeded.")
            }
            try confirm(
                "This brings back the data from before restore '\(last.plan.id)'; what was written since is lost.",
                "rollback", session)
            let outcome = try recovery.rollBack(last.plan.id, try stack(of: last.plan), begun: begun)
            try require(outcome, "could not be rolled back")
            outcomes.append(outcome)
        }
        return try report(outcomes, session)
    }

    private func discard(_ recovery: RestoreRecovery, _ session: CommandSession) throws -> ExitCode {
        let kept = try recovery.kept(stack: stack)
        if !kept.isEmpty {
            try confirm("This removes the old data that \(counted(kept.count, "restore")) kept.", "removal", session)
        }
        // The oldest first: a newer one may still be rolled back when one of them fails.
        let outcomes = try kept.map { record in
            let outcome = try recovery.discard(record.plan.id, try stack(of: record.plan))
            try require(outcome, "could not be cleared of its old data", again: "--discard-old")
            return outcome
        }
        return try report(outcomes, session)
    }

    private func settle(
        _ recovery: RestoreRecovery, _ direction: RestoreRecovery.Direction, _ session: CommandSession
    ) throws -> [RestoreRecovery.Outcome] {
        guard try !recovery.pending(stack: stack).isEmpty else { return [] }
        let outcomes = try recovery.recover(stack: stack, direction) { plan in try stack(of: plan) }
        for outcome in outcomes {
            if outcome.isLeftOver == true {
                let isUndone = outcome.decision == .abandon || outcome.decision == .rollBack
                let what =
                    isUndone
                    ? "was undone, and what it had staged cannot be removed"
                    : "was finished, and its old data cannot be removed"
                try require(outcome, what, again: "--discard-old")
            }
            try require(outcome, "was cut off, and cannot be put right")
        }
        return outcomes
    }

    private func require(
        _ outcome: RestoreRecovery.Outcome, _ what: String, again: String = "--resume"
    ) throws {
        guard outcome.problems.isEmpty else {
            throw LifeboatError(
                "restore '\(outcome.id)' of stack '\(stack)' \(what)", causes: outcome.problems,
                hint: "Correct the cause, then run 'lifeboat restore \(again)'.")
        }
    }

    private func confirm(_ what: String, _ word: String, _ session: CommandSession) throws {
        if command.yes { return }
        guard session.canAsk else { throw Restore.cannotAsk(word) }
        guard try session.ask("\(what) Type the name of the stack to go on: ") == stack else {
            throw LifeboatError("the name of the stack was not typed: nothing was touched", exitCode: .usage)
        }
    }

    private func report(_ outcomes: [RestoreRecovery.Outcome], _ session: CommandSession) throws -> ExitCode {
        try session.emitReport(RecoveryReport(outcomes: outcomes, asked: command))
        return .done
    }
}

private struct RecoveryReport: OutputRendering {
    static let messageType = "summary"
    let outcomes: [RestoreRecovery.Outcome]
    private let whenEmpty: String

    private enum CodingKeys: String, CodingKey { case outcomes }

    init(outcomes: [RestoreRecovery.Outcome], asked command: Restore) {
        self.outcomes = outcomes
        whenEmpty = command.discardOld ? "no old data is kept" : "there is nothing to resume"
    }

    var text: String {
        if outcomes.isEmpty { return whenEmpty }
        return outcomes.map { outcome in
            let freed = outcome.decision == .discard ? outcome.bytes.map { ", about \(ByteCount($0))" } ?? "" : ""
            let down = outcome.downtimeSeconds.map { ", downtime \(DurationText.short($0))" } ?? ""
            return "restore '\(outcome.id)' of stack '\(outcome.stack)': \(outcome.decision.word)\(freed)\(down)"
        }.joined(separator: "\n")
    }
}

/// Old data that is kept, for people.
enum KeptText {
    static func line(_ until: Timestamp?, _ bytes: UInt64?) -> String {
        let end = until.map { " until \($0.tableText) UTC" } ?? ""
        let room = bytes.map { "; it takes \(ByteCount($0))" } ?? ""
        return "the old data is kept\(end)\(room): --rollback brings it back, --discard-old removes it"
    }
}
