// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatRepository

/// `lifeboat repair`
struct Repair: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair", abstract: "Bring a damaged repository back into use.",
        discussion: "Reads everything and tells what it would do; --yes does it. Indexes are written anew from the "
            + "packs, and what is whole in a damaged pack is copied. Then back up: what was lost and is still on the "
            + "host is stored again, for older snapshots too. Last, --snapshots replaces snapshots that are still "
            + "damaged by what is left of them, marked as incomplete. What is replaced is kept below 'damaged/'. No "
            + "other lifeboat may write to the repository meanwhile.")

    @Flag(name: .long, help: "Replace snapshots with lost files by what is left of them.")
    var snapshots = false

    @Flag(name: [.short, .long], help: "Do it; without it nothing is written.")
    var yes = false

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.open(session)
        let planner = RepairPlanner(
            repository, threads: session.context.host.processors, progress: session.progress,
            cancellation: session.cancellation)
        let plan = try planner.plan(rewritesSnapshots: snapshots)
        session.progress.finish()
        guard yes, plan.hasSteps else {
            try report(plan, nil, session)
            return plan.isEmpty ? .done : .damagedRepository
        }
        let outcome = try RepairExecutor(repository, cancellation: session.cancellation).execute(plan)
        try report(plan, outcome, session)
        if !plan.unrepairable.isEmpty || (!snapshots && !plan.damagedSnapshots.isEmpty) { return .damagedRepository }
        return outcome.snapshots.isEmpty ? .done : .incomplete
    }

    /// What is lost is a problem; what is done about it is the report.
    private func report(_ plan: RepairPlan, _ outcome: RepairOutcome?, _ session: CommandSession) throws {
        for snapshot in plan.damagedSnapshots {
            var causes = snapshot.lost.map { "lost: '\($0)'" }
            let more = snapshot.lostCount - UInt64(snapshot.lost.count)
            if more > 0 { causes.append("and \(counted(more, "more"))") }
            try session.problem(
                LifeboatError(
                    "snapshot \(snapshot.id.shortHex) of stack '\(snapshot.stack)' is damaged", causes: causes,
                    hint: snapshots
                        ? nil
                        : "Back up again after the repair; what is still lost then, 'lifeboat repair --snapshots' "
                            + "takes out of the snapshot.",
                    exitCode: snapshots ? .incomplete : .damagedRepository))
        }
        for object in plan.unrepairable {
            try session.problem(
                LifeboatError(
                    "'\(object.object)' cannot be repaired", causes: [object.reason],
                    hint: "Bring it back from a copy of the repository, or move it out of the repository.",
                    exitCode: .damagedRepository))
        }
        try session.emitReport(RepairSummary(plan: plan, outcome: outcome))
    }
}

private struct RepairSummary: OutputRendering {
    static let messageType = "summary"
    let plan: RepairPlan
    /// Nil: nothing was written.
    let outcome: RepairOutcome?

    var text: String {
        if plan.isEmpty { return "nothing is wrong: \(counted(plan.packsRead, "pack")) read" }
        var lines: [String] = []
        if plan.rewritesReadme { lines.append("README.txt: written again") }
        for index in plan.staleIndexes {
            lines.append("index \(index.name.shortHex): replaced, \(EscapedName.line(index.reason))")
        }
        if !plan.packsToIndex.isEmpty { lines.append("\(counted(plan.packsToIndex.count, "pack")): indexed anew") }
        for pack in plan.damagedPacks {
            lines.append(
                "pack \(pack.name.shortHex): \(EscapedName.line(pack.reason)); "
                    + "\(counted(pack.chunksKept, "chunk")) copied, \(counted(pack.chunksLost, "chunk")) lost")
        }
        if plan.rewritesSnapshots {
            for snapshot in plan.damagedSnapshots {
                lines.append("snapshot \(snapshot.id.shortHex): replaced by what is left of it")
            }
        }
        if let outcome {
            for snapshot in outcome.snapshots {
                lines.append("snapshot \(snapshot.old.shortHex) is now \(snapshot.new.shortHex)")
            }
            lines.append("done; \(counted(outcome.setAside.count, "object")) kept below 'damaged/'")
        } else if plan.hasSteps {
            lines.append("nothing was written; --yes does this")
        } else {
            lines.append("there is nothing to do that would help")
        }
        return lines.joined(separator: "\n")
    }
}
