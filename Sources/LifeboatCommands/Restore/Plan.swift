// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatDrill
import LifeboatRepository
import LifeboatRestore

/// `lifeboat plan`
struct Plan: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "Print what a restore of the stack would do, step by step.",
        discussion: "Nothing is touched.")

    @Argument(help: "Id of the snapshot (4 digits or more), or 'latest'. Not needed with --at.")
    var snapshot: String?

    @OptionGroup var chosen: RestoreSelection
    @OptionGroup var location: RepositoryOptions
    @OptionGroup var selection: SnapshotOptions
    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let policy = try PolicyFile.require(location.policy, session.context)
        let aim = try RestoreAim(StackAssembly(policy, session), chosen)
        let repository = try location.openForReading(session, policy: policy)
        let found = try chosen.snapshot(snapshot, repository, selection, location, session)
        let planned = try PlannedRestore(
            aim, found, repository, chosen, isDryRun: true, allowsForeign: true, session)
        return try PlanReport.show(planned.plan, repository, session)
    }
}

/// A plan as people read it.
struct PlanReport: OutputRendering {
    static let messageType = "summary"
    let plan: RestorePlan
    /// What drills of the stack foretell for what the plan restores; nil: there are none.
    var drills: RecoveryForecast?

    /// Prints the plan, and what makes it impossible as errors: the exit code is that of the first.
    static func show(_ plan: RestorePlan, _ repository: Repository, _ session: CommandSession) throws -> ExitCode {
        let history = try DrillHistory(repository, stack: plan.stack)
        for damage in history.damaged { session.warn(damage) }
        let forecast = RecoveryForecast(
            history.entries.map(\.result), stack: plan.stack,
            sizes: plan.components.map { (name: $0.name, store: $0.store, bytes: $0.bytes) })
        session.progress.finish()
        try session.emit(PlanReport(plan: plan, drills: forecast))
        let problems = (plan.problems ?? []).map(\.error)
        for problem in problems { try session.problem(problem) }
        return problems.first?.exitCode ?? .done
    }

    var text: String {
        var lines = [
            "restore of stack '\(EscapedName.line(plan.stack))' from snapshot \(plan.snapshot.shortHex) of "
                + "\(plan.snapshotTime.tableText) UTC: \(ByteCount(plan.bytes))"
        ]
        lines += Self.lines(plan.targets)
        for component in plan.components {
            guard let parts = component.parts else { continue }
            lines.append(
                "  of '\(EscapedName.line(component.name))' only: \(EscapedName.line(parts.joined(separator: ", ")))")
        }
        let width = "\(plan.steps.count)".count
        for (number, step) in plan.steps.enumerated() {
            let count = "\(number + 1)"
            let padding = String(repeating: " ", count: width - count.count)
            lines.append(
                "  \(padding)\(count). \(step.isDowntime ? "!" : " ") \(EscapedName.line(step.summary))"
                    + (step.expected.map { ", \(Self.text($0))" } ?? ""))
        }
        if plan.steps.contains(where: \.isDowntime) { lines.append("'!': the stack is down during this step") }
        if let forecast = plan.forecast {
            lines.append(
                "expected: \(DurationText.short(forecast.totalSeconds)) in all, of it down: "
                    + DurationText.short(forecast.downtimeSeconds))
            if forecast.assumedSteps > 0 {
                lines.append(
                    "'~': assumed, nothing like it was measured on this host "
                        + "(\(forecast.assumedSteps) of \(counted(plan.steps.count, "step")))")
            }
        }
        if let drills { lines += drills.text(whole: "by drills, all of it", component: "by drills,") }
        lines += plan.warnings.map { "warning: \(EscapedName.line($0))" }
        return lines.joined(separator: "\n")
    }

    /// What counts instead of what the policy says.
    static func lines(_ targets: [RestorePlan.Target]?) -> [String] {
        targets.map {
            ["  instead of what the policy says: \(EscapedName.line($0.map(\.text).joined(separator: ", ")))"]
        } ?? []
    }

    private static func text(_ estimate: PhaseEstimate) -> String {
        (estimate.basis == .assumed ? "~" : "") + DurationText.short(estimate.seconds)
    }
}
