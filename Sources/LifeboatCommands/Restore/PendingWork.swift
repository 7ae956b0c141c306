// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatDrill
import LifeboatIO
import LifeboatPolicy
import LifeboatRestore
import LifeboatServices

/// What a lifeboat that died left undone on this host: told by every command, put right by those that know the stack.
enum PendingWork {
    static func stateFolder(_ context: CommandContext) throws(LifeboatError) -> String {
        try StateFolder.path(environment: context.environment, userID: context.host.userID)
    }

    /// Starts services that a dead lifeboat left stopped, and tells of restores that were cut off.
    ///
    /// A state directory that cannot be read is a warning here: commands that need it say so themselves. `resuming`: the
    /// stack whose restore the command itself puts right.
    static func report(_ session: CommandSession, resuming: String? = nil) throws {
        do {
            try reportAll(session, resuming)
        } catch {
            let converted = LifeboatError.converting(
                error, "cannot tell whether an earlier run left anything undone on this host")
            if converted.exitCode == .interrupted { throw converted }
            session.warn(converted)
        }
    }

    private static func reportAll(_ session: CommandSession, _ resuming: String?) throws {
        let folder: String
        do {
            folder = try stateFolder(session.context)
        } catch {
            // No HOME, no state: a command that needs the state says so itself.
            return
        }
        let journal = RestoreJournal(stateFolder: folder)
        let records = try journal.records()
        for damage in records.unreadable { session.warn(damage) }
        var toldStacks: Set<String> = []
        for record in records.records where record.needsRecovery && record.plan.stack != resuming {
            let stack = record.plan.stack
            guard toldStacks.insert(stack).inserted, try !isAtWork(stack, journal) else { continue }
            session.warn(
                LifeboatError(
                    "restore '\(record.plan.id)' of stack '\(stack)' was cut off",
                    hint: "Run 'lifeboat restore --resume' with the policy of that stack: it is finished or undone."))
        }
        let now = session.context.clock.now()
        for record in records.records where record.isExpired(now) {
            let room = record.keptBytes.map { ", \(ByteCount($0))" } ?? ""
            session.note(
                "\(record.keptData) of stack '\(record.plan.stack)'\(room) \(record.keptState): "
                    + "the next backup or restore of that stack removes it, or 'lifeboat restore --discard-old'")
        }
        for record in try SandboxJournal(stateFolder: folder).records().records {
            guard try !record.isKept && !record.owner.isAlive() else { continue }
            session.warn(
                LifeboatError(
                    "drill '\(record.drill)' of stack '\(record.stack)' was cut off",
                    hint: "The next drill removes what it left in '\(record.folder)', and so does"
                        + " 'lifeboat drill clean'."))
        }
        try resumeServices(ServiceJournal(stateFolder: folder, clock: session.context.clock), session)
    }

    private static func resumeServices(_ journal: ServiceJournal, _ session: CommandSession) throws {
        let listing = try journal.list()
        for damage in listing.damaged { session.warn(damage) }
        for entry in listing.abandoned {
            session.note("starting services again that \(entry.subject) left \(entry.state)")
            do {
                try journal.resume(
                    entry, runner: session.context.processRunner, progress: session.progress,
                    cancellation: session.cancellation)
            } catch let error as LifeboatError where error.exitCode == .busy {
                continue
            } catch {
                session.warn(LifeboatError.converting(error, "services could not be started again"))
            }
        }
    }

    private static func isAtWork(_ stack: String, _ journal: RestoreJournal) throws -> Bool {
        do {
            let lock = try journal.lock(stack: stack)
            defer { withExtendedLifetime(lock) {} }
            return false
        } catch let error as LifeboatError where error.exitCode == .busy {
            return true
        }
    }

    /// Finishes or undoes what restores of this stack left; throws when that does not work out. A restore in place that
    /// only goes forward is left to one that comes after, if it `isRestoring`.
    @discardableResult
    static func recover(
        _ assembly: StackAssembly, isRestoring: Bool = false, _ session: CommandSession
    ) throws -> [RestoreRecovery.Outcome] {
        let recovery = RestoreRecovery(
            journal: RestoreJournal(stateFolder: try stateFolder(session.context)), clock: session.context.clock,
            progress: session.progress)
        guard try !recovery.pending(stack: assembly.policy.stack).isEmpty else {
            try discardExpired(recovery, assembly, session)
            return []
        }
        let outcomes = try recovery.recover(stack: assembly.policy.stack) { plan in
            try RestoreAim(assembly, plan).stack()
        }
        for outcome in outcomes where !(isRestoring && outcome.decision == .halt) {
            if outcome.isLeftOver == true {
                session.warn(
                    LifeboatError(
                        "\(outcome.leftOver) of stack '\(outcome.stack)' cannot be removed",
                        causes: outcome.problems, hint: "Remove the cause, then run 'lifeboat restore --discard-old'."))
                continue
            }
            guard outcome.problems.isEmpty else {
                throw LifeboatError(
                    "restore '\(outcome.id)' of stack '\(outcome.stack)' was cut off, and cannot be put right",
                    causes: outcome.problems, hint: "Correct the cause, then run 'lifeboat restore --resume'.")
            }
            session.note(
                "restore '\(outcome.id)' of stack '\(outcome.stack)' was cut off: it was \(outcome.decision.word)")
        }
        try discardExpired(recovery, assembly, session)
        return outcomes
    }

    /// Removes old data that was kept for as long as it should be. What cannot be removed is told, and tried again.
    private static func discardExpired(
        _ recovery: RestoreRecovery, _ assembly: StackAssembly, _ session: CommandSession
    ) throws {
        let now = session.context.clock.now()
        let expired = try recovery.kept(stack: assembly.policy.stack).filter { $0.isExpired(now) }
        for record in expired {
            do {
                let outcome = try recovery.discard(record.plan.id, try RestoreAim(assembly, record.plan).stack())
                if !outcome.problems.isEmpty {
                    session.warn(
                        LifeboatError(
                            "\(record.keptData) cannot be removed", causes: outcome.problems,
                            hint: "Remove the cause, then run 'lifeboat restore --discard-old'."))
                    continue
                }
                let room = outcome.bytes.map { ", about \(ByteCount($0))" } ?? ""
                session.note("\(record.keptData) was removed\(room): it \(record.keptState)")
            } catch {
                session.warn(
                    LifeboatError.converting(
                        error, "\(record.keptData) \(record.keptState) and cannot be removed"))
            }
        }
    }
}

extension RestoreRecovery.Decision {
    /// What was done, for people.
    var word: String {
        switch self {
        case .abandon: "undone before anything was exchanged"
        case .rollBack: "rolled back"
        case .finish: "finished"
        case .halt: "cut off while it wrote in place"
        case .discard: "its old data was removed"
        case .nothing: "over already"
        }
    }
}
