// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatPolicy
import LifeboatRepository
import LifeboatRestore
import LifeboatStores

/// `lifeboat restore`
struct Restore: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Bring a stack back, or extract a snapshot into a folder.",
        discussion: """
            By policy the whole stack, or the components named, is restored: staged beside the live data, services \
            stopped, exchanged, services started, health and facts verified; when that fails the old data comes back \
            (exit code 14). With --to FOLDER everything is written below that folder at its path on the host, and \
            nothing that exists is touched.
            """)

    @Argument(help: "Id of the snapshot (4 digits or more), or 'latest'. Not needed with --at.")
    var snapshot: String?

    @Option(name: .long, help: ArgumentHelp("Extract below this folder.", valueName: "folder"))
    var to: String?

    @OptionGroup var chosen: RestoreSelection

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp("With --to: only this file or folder of a volume (repeatable).", valueName: "path"))
    var path: [String] = []

    @Flag(name: .long, help: "Keep the data that is live now, for a later --rollback.")
    var keepOld = false

    @Flag(name: .long, help: "Finish or undo a restore that was cut off.")
    var resume = false

    @Flag(name: .long, help: "Undo a restore that was cut off, or the last one that kept the old data.")
    var rollback = false

    @Flag(name: [.short, .long], help: "Do not ask. Needed when there is no terminal to ask on.")
    var yes = false

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var selection: SnapshotOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if resume || rollback {
            guard !(resume && rollback), snapshot == nil, to == nil, chosen.at == nil, chosen.component.isEmpty else {
                throw ValidationError("--resume and --rollback stand alone")
            }
        }
        if !path.isEmpty, to == nil { throw ValidationError("--path is for --to") }
        if keepOld, to != nil { throw ValidationError("--keep-old is not for --to") }
    }

    func run(_ session: CommandSession) throws -> ExitCode {
        if let to { return try LooseRun(to: to, paths: path).run(self, session) }
        let policy = try PolicyFile.require(location.policy, session.context)
        let assembly = StackAssembly(policy, session)
        if resume || rollback { return try recover(assembly, session) }
        try PendingWork.recover(assembly, session)
        let repository = try location.openForReading(session)
        let found = try chosen.snapshot(snapshot, repository, selection, location, session)
        guard yes || session.canAsk else { throw Self.cannotAsk("restore") }
        let planned = try PlannedRestore(assembly, found, chosen, keepsOld: keepOld, startsServers: true, session)
        try confirm(planned.plan, session)
        // Who was asked has read them in the plan.
        if yes { for warning in planned.plan.warnings { session.warn(LifeboatError(warning)) } }
        let executor = RestoreExecutor(
            stack: planned.stack, journal: RestoreJournal(stateFolder: try PendingWork.stateFolder(session.context)),
            clock: session.context.clock, progress: session.progress)
        let source = try SnapshotSource(
            found, repository, planned.plan, allowsIncomplete: chosen.incomplete, session)
        let outcome = try executor.execute(planned.plan, from: source, cancellation: session.cancellation)
        session.progress.finish()
        for warning in outcome.warnings where !planned.plan.warnings.contains(warning) {
            session.warn(LifeboatError(warning))
        }
        try session.emitReport(RestoreReport(outcome: outcome))
        let isWhole = outcome.components.allSatisfy { found.manifest.component($0.name)?.isComplete ?? false }
        return isWhole && outcome.absent.isEmpty ? .done : .incomplete
    }

    /// The name of the stack, typed: a restore replaces what is live.
    private func confirm(_ plan: RestorePlan, _ session: CommandSession) throws {
        if yes { return }
        guard session.canAsk else { throw Self.cannotAsk("restore") }
        for line in PlanReport(plan: plan).text.split(separator: "\n") { session.note(String(line)) }
        let question = "This replaces the live data of stack '\(plan.stack)'. Type its name to go on: "
        guard try session.ask(question) == plan.stack else {
            throw LifeboatError("the name of the stack was not typed: nothing was touched", exitCode: .interrupted)
        }
    }

    private static func cannotAsk(_ what: String) -> LifeboatError {
        LifeboatError(
            "a \(what) replaces live data, and there is no terminal to ask on", hint: "Add --yes.", exitCode: .usage)
    }

    private func recover(_ assembly: StackAssembly, _ session: CommandSession) throws -> ExitCode {
        var outcomes = try PendingWork.recover(assembly, session)
        if rollback, outcomes.isEmpty {
            let recovery = RestoreRecovery(
                journal: RestoreJournal(stateFolder: try PendingWork.stateFolder(session.context)),
                clock: session.context.clock, progress: session.progress)
            guard let last = try recovery.kept(stack: assembly.policy.stack).last else {
                throw LifeboatError(
                    "there is no restore of stack '\(assembly.policy.stack)' to roll back",
                    hint: "Only a restore with --keep-old can be rolled back after it succeeded.")
            }
            if !yes {
                let question =
                    "This brings back the data from before restore '\(last.plan.id)'. Type the name of the stack: "
                guard session.canAsk else { throw Self.cannotAsk("rollback") }
                guard try session.ask(question) == assembly.policy.stack else {
                    throw LifeboatError(
                        "the name of the stack was not typed: nothing was touched", exitCode: .interrupted)
                }
            }
            let outcome = try recovery.rollBack(last.plan.id, try assembly.restoreStack())
            guard outcome.problems.isEmpty else {
                throw LifeboatError(
                    "restore '\(outcome.id)' could not be rolled back", causes: outcome.problems,
                    hint: "Correct the cause, then run 'lifeboat restore --resume'.")
            }
            outcomes.append(outcome)
        }
        try session.emitReport(RecoveryReport(outcomes: outcomes))
        return .done
    }
}

private struct RecoveryReport: OutputRendering {
    static let messageType = "summary"
    let outcomes: [RestoreRecovery.Outcome]

    var text: String {
        if outcomes.isEmpty { return "there is nothing to resume" }
        return outcomes.map { "restore '\($0.id)' of stack '\($0.stack)': \($0.decision.word)" }.joined(separator: "\n")
    }
}

/// A restore of a stack that succeeded.
struct RestoreReport: OutputRendering {
    static let messageType = "summary"
    let outcome: RestoreOutcome

    func encode(to encoder: any Encoder) throws { try outcome.encode(to: encoder) }

    var text: String {
        var lines = [
            "restored stack '\(EscapedName.line(outcome.stack))' from snapshot \(outcome.snapshot.shortHex) of "
                + "\(outcome.snapshotTime.tableText) UTC"
        ]
        for component in outcome.components {
            lines.append(
                "  \(EscapedName.line(component.name)): \(EscapedName.line(component.subject)), "
                    + "\(ByteCount(component.bytes)), \(counted(component.factsVerified, "fact")) verified")
        }
        if !outcome.checks.isEmpty {
            let held = outcome.checks.filter(\.holds).count
            lines.append("checks: \(grouped(held)) of \(grouped(outcome.checks.count)) hold")
        }
        let phases = outcome.phases.map { "\($0.name) \(DurationText.short($0.seconds))" }
        lines.append("time line: \(phases.joined(separator: ", "))")
        lines.append(
            "recovery time: \(DurationText.short(outcome.totalSeconds)), of it down: "
                + DurationText.short(outcome.downtimeSeconds))
        return lines.joined(separator: "\n")
    }
}
