// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
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
    @Flag(name: .long, help: "Plan to keep the data that is live now, for a later --rollback.")
    var keepOld = false

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var selection: SnapshotOptions
    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let policy = try PolicyFile.require(location.policy, session.context)
        let repository = try location.open(session)
        let found = try chosen.snapshot(snapshot, repository, selection, location, session)
        let planned = try PlannedRestore(
            StackAssembly(policy, session), found, chosen, keepsOld: keepOld, session)
        try session.emit(PlanReport(plan: planned.plan))
        return .done
    }
}

/// A plan as people read it.
struct PlanReport: OutputRendering {
    static let messageType = "summary"
    let plan: RestorePlan

    var text: String {
        var lines = [
            "restore of stack '\(EscapedName.line(plan.stack))' from snapshot \(plan.snapshot.shortHex) of "
                + "\(plan.snapshotTime.tableText) UTC: \(ByteCount(plan.bytes))"
        ]
        let width = "\(plan.steps.count)".count
        for (number, step) in plan.steps.enumerated() {
            let count = "\(number + 1)"
            let padding = String(repeating: " ", count: width - count.count)
            lines.append("  \(padding)\(count). \(step.isDowntime ? "!" : " ") \(EscapedName.line(step.summary))")
        }
        if plan.steps.contains(where: \.isDowntime) { lines.append("'!': the stack is down during this step") }
        lines += plan.warnings.map { "warning: \(EscapedName.line($0))" }
        return lines.joined(separator: "\n")
    }
}
