// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatIO
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
            (exit code 14). With --path, --collection or --table only these parts are, and all else stays. What a restore that was cut off leaves is carried on with --resume, or undone with \
            --rollback. With --to FOLDER everything is written below that folder at its path on the host, and \
            nothing that exists is touched.
            """)

    @Argument(help: "Id of the snapshot (4 digits or more), or 'latest'. Not needed with --at.")
    var snapshot: String?

    @Option(name: .long, help: ArgumentHelp("Extract below this folder.", valueName: "folder"))
    var to: String?

    @OptionGroup var chosen: RestoreSelection

    @Flag(name: .long, help: "Carry on a restore that was cut off; one that is being undone is undone to the end.")
    var resume = false

    @Flag(name: .long, help: "Undo a restore that was cut off, or the last one that kept the old data.")
    var rollback = false

    @Flag(name: .long, help: "Remove the old data that earlier restores kept.")
    var discardOld = false

    @Flag(name: [.customShort("n"), .long], help: "Only print the plan.")
    var dryRun = false

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Restore a snapshot of another stack over this one, which has to be named: --yes alone is not enough.",
            valueName: "name"))
    var intoStack: String?

    @Flag(name: [.short, .long], help: "Do not ask. Needed when there is no terminal to ask on.")
    var yes = false

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var selection: SnapshotOptions
    @OptionGroup var output: OutputOptions

    /// Whether it is about an earlier restore.
    private var isRecovery: Bool { resume || rollback || discardOld }

    func validate() throws {
        if isRecovery {
            guard [resume, rollback, discardOld].count(where: { $0 }) == 1, snapshot == nil, to == nil, !dryRun,
                chosen.at == nil, chosen.component.isEmpty, chosen.path.isEmpty, !chosen.hasStackOptions
            else { throw ValidationError("--resume, --rollback and --discard-old stand alone") }
        }
        if to != nil, dryRun || intoStack != nil || chosen.hasStackOptions {
            throw ValidationError("--to goes with --component, --path, --at and --incomplete only")
        }
    }

    func run(_ session: CommandSession) throws -> ExitCode {
        let begun = session.context.clock.monotonicSeconds()
        if let to { return try LooseRun(to: to, paths: chosen.path).run(self, session) }
        let policy = try PolicyFile.require(location.policy, session.context)
        let assembly = StackAssembly(policy, session)
        if isRecovery { return try RecoveryRun(command: self, assembly: assembly).run(session) }
        if let intoStack, intoStack != policy.stack {
            throw LifeboatError(
                "the policy is of stack '\(policy.stack)', not of '\(intoStack)'",
                hint: "Name the policy of the stack to restore into with --policy FILE.", exitCode: .usage)
        }
        let aim = try RestoreAim(assembly, chosen)
        if !dryRun { try PendingWork.recover(assembly, isRestoring: true, session) }
        let repository = try location.openForReading(session, policy: policy)
        let found = try chosen.snapshot(snapshot, repository, selection, location, session)
        guard dryRun || yes || session.canAsk else { throw Self.cannotAsk("restore") }
        // Before anything is started for the plan: a backup that stopped or froze services is not disturbed.
        var lock: FileLock?
        if !dryRun {
            let journal = RestoreJournal(stateFolder: try PendingWork.stateFolder(session.context))
            lock = try journal.lock(stack: policy.stack)
        }
        let canType = !yes && session.canAsk
        let planned = try PlannedRestore(
            aim, found, repository, chosen, isDryRun: dryRun,
            allowsForeign: dryRun || canType || intoStack != nil, session)
        if dryRun { return try PlanReport.show(planned.plan, repository, session) }
        try planned.requirePossible()
        try confirm(planned.plan, session)
        // Who was asked has read them in the plan.
        if yes { for warning in planned.plan.warnings { session.warn(LifeboatError(warning)) } }
        let outcome = try Self.executor(planned.stack, session).execute(
            planned.plan, from: planned.source, begun: begun, lock: consume lock, cancellation: session.cancellation)
        return try Self.report(outcome, of: found, told: planned.plan.warnings, session)
    }

    static func executor(_ stack: RestoreStack, _ session: CommandSession) throws -> RestoreExecutor {
        let stateFolder = try PendingWork.stateFolder(session.context)
        return RestoreExecutor(
            stack: stack, journal: RestoreJournal(stateFolder: stateFolder),
            rates: RateHistory(stateFolder: stateFolder), clock: session.context.clock, progress: session.progress)
    }

    /// Prints what was done; `told`: warnings that were printed before.
    static func report(
        _ outcome: RestoreOutcome, of snapshot: Snapshot, told: [String], _ session: CommandSession
    ) throws -> ExitCode {
        session.progress.finish()
        for warning in outcome.warnings where !told.contains(warning) { session.warn(LifeboatError(warning)) }
        try session.emitReport(RestoreReport(outcome: outcome))
        let isWhole = outcome.components.allSatisfy { snapshot.manifest.component($0.name)?.isComplete ?? false }
        return isWhole && outcome.absent.isEmpty ? .done : .incomplete
    }

    /// The name of the stack, typed: a restore replaces what is live.
    private func confirm(_ plan: RestorePlan, _ session: CommandSession) throws {
        if yes { return }
        guard session.canAsk else { throw Self.cannotAsk("restore") }
        for line in PlanReport(plan: plan).text.split(separator: "\n") { session.note(String(line)) }
        let place = plan.targets.map { " at \($0.map(\.text).joined(separator: ", "))" } ?? ""
        let question = "This replaces the live data of stack '\(plan.stack)'\(place). Type its name to go on: "
        guard try session.ask(question) == plan.stack else {
            throw LifeboatError("the name of the stack was not typed: nothing was touched", exitCode: .usage)
        }
    }

    static func cannotAsk(_ what: String) -> LifeboatError {
        LifeboatError(
            "a \(what) replaces live data, and there is no terminal to ask on", hint: "Add --yes.", exitCode: .usage)
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
        lines += PlanReport.lines(outcome.targets)
        for component in outcome.components {
            lines.append(
                "  \(EscapedName.line(component.name)): \(EscapedName.line(component.subject)), "
                    + "\(ByteCount(component.bytes)), \(counted(component.factsVerified, "fact")) verified")
        }
        if !outcome.checks.isEmpty {
            let held = outcome.checks.filter(\.holds).count
            lines.append("checks: \(grouped(held)) of \(grouped(outcome.checks.count)) hold")
        }
        if let kept = outcome.kept { lines.append(KeptText.line(kept.until, kept.bytes)) }
        let phases = outcome.phases.map { "\($0.name) \(DurationText.short($0.seconds))" }
        lines.append("time line: \(phases.joined(separator: ", "))")
        lines.append(
            "recovery time: \(DurationText.short(outcome.totalSeconds)), of it down: "
                + DurationText.short(outcome.downtimeSeconds))
        return lines.joined(separator: "\n")
    }
}
