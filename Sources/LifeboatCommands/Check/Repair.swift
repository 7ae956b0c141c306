// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatRepository

/// `lifeboat repair`
struct Repair: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair", abstract: "Bring a damaged repository back into use.",
        discussion: "Reads everything and tells what it would do; --yes does it. Indexes are written anew, and what "
            + "is whole in a damaged pack is copied. Then back up: what was lost and is still on the host is stored "
            + "again, for older snapshots too. Last, --snapshots replaces snapshots that are still damaged by what is "
            + "left of them, marked as incomplete, and takes unreadable ones out. What is replaced is kept below "
            + "'damaged/'. Backups and restores may run meanwhile; a prune may not.")

    @Flag(name: .long, help: "Replace snapshots with lost files by what is left of them.")
    var snapshots = false

    @Flag(
        name: .long,
        help: "Read only packs that no sound index describes: fast, but finds no flipped bytes in the others.")
    var trustData = false

    @Flag(name: [.short, .long], help: "Do it; without it nothing is written.")
    var yes = false

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        guard yes else {
            // A lease for reading: no prune deletes what is being looked at.
            let plan = try plan(try location.openForReading(session), session)
            try report(plan, nil, session)
            return plan.isEmpty ? .done : .damagedRepository
        }
        let repository = try location.open(session)
        try repository.requireKey()
        try repository.requireTrusted()
        let lease = try RepairLease.take(repository, host: session.context.host.name, clock: session.context.clock)
        session.atEnd { lease.lease.release() }
        let plan = try plan(repository, session)
        guard plan.hasSteps else {
            try report(plan, nil, session)
            return plan.isEmpty ? .done : .damagedRepository
        }
        let outcome = try RepairExecutor(
            repository, lease, clock: session.context.clock, cancellation: session.cancellation
        ).execute(plan)
        try report(plan, outcome, session)
        if plan.leavesDamage { return .damagedRepository }
        let isWhole = outcome.snapshots.isEmpty && plan.unreadableSnapshots.isEmpty && plan.goneSnapshots.isEmpty
        return isWhole ? .done : .incomplete
    }

    private func plan(_ repository: Repository, _ session: CommandSession) throws -> RepairPlan {
        let plan = try RepairPlanner(
            repository, threads: session.context.host.processors, progress: session.progress,
            cancellation: session.cancellation
        ).plan(rewritesSnapshots: snapshots, trustsData: trustData)
        session.progress.finish()
        return plan
    }

    /// What is lost is a problem; what is done about it is the report.
    private func report(_ plan: RepairPlan, _ outcome: RepairOutcome?, _ session: CommandSession) throws {
        for snapshot in plan.damagedSnapshots {
            var causes = snapshot.lost.map { "lost: '\($0)'" }
            let more = snapshot.lostCount - UInt64(snapshot.lost.count)
            if more > 0 { causes.append("and \(grouped(more)) more") }
            try session.problem(
                LifeboatError(
                    "snapshot \(snapshot.id.shortHex) of stack '\(snapshot.stack)' is damaged", causes: causes,
                    hint: snapshots
                        ? nil
                        : "Back up again after the repair; what is still lost then, 'lifeboat repair --snapshots' "
                            + "takes out of the snapshot.",
                    exitCode: snapshots ? .incomplete : .damagedRepository))
        }
        for manifest in plan.unreadableSnapshots {
            try session.problem(
                LifeboatError(
                    "'\(manifest.object)' is damaged: it is not known what this snapshot holds",
                    causes: [manifest.reason],
                    hint: snapshots
                        ? nil
                        : "Bring it back from a copy of the repository; if there is none, 'lifeboat repair --snapshots' "
                            + "takes it out.",
                    exitCode: snapshots ? .incomplete : .damagedRepository))
        }
        // One whose manifest is there, but damaged, was told as such.
        for snapshot in plan.goneSnapshots
        where !plan.unreadableSnapshots.contains(where: { $0.object.contains(snapshot.id.shortHex) }) {
            try session.problem(
                LifeboatError(
                    "snapshot \(snapshot.id.shortHex) of stack '\(snapshot.stack)' is gone", causes: [snapshot.reason],
                    hint: snapshots
                        ? nil
                        : "Find out who removed it. Bring it back from a copy of the repository; if there is none, "
                            + "'lifeboat repair --snapshots' notes that it is lost.",
                    exitCode: snapshots ? .incomplete : .damagedRepository))
        }
        for object in plan.unrepairable {
            try session.problem(
                LifeboatError(
                    "'\(object.object)' cannot be repaired", causes: [object.reason],
                    hint: "See 'When check finds damage' in the operations guide.", exitCode: .damagedRepository))
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
        var lines = steps
        if plan.orphanPacks > 0 {
            lines.append(
                "\(counted(plan.orphanPacks, "pack")) in no index that no snapshot needs: left for 'lifeboat prune'")
        }
        if let outcome {
            lines += results(outcome)
        } else if plan.isEmpty {
            lines.append("nothing is wrong: \(counted(plan.packsRead, "pack")) read")
        } else if plan.hasSteps {
            lines.append("nothing was written; --yes does this")
        } else {
            lines.append("there is nothing to do that would help; back up again")
        }
        return lines.joined(separator: "\n")
    }

    private var steps: [String] {
        var lines: [String] = []
        if plan.rewritesReadme { lines.append("README.txt: written again") }
        if let reason = plan.resignsConfig { lines.append("config.json: signed anew, \(EscapedName.line(reason))") }
        for record in plan.damagedRecords {
            lines.append("\(EscapedName.line(record.object)): replaced, \(EscapedName.line(record.reason))")
        }
        for index in plan.staleIndexes {
            lines.append("index \(index.name.shortHex): replaced, \(EscapedName.line(index.reason))")
        }
        if !plan.packsToIndex.isEmpty { lines.append("\(counted(plan.packsToIndex.count, "pack")): indexed anew") }
        for pack in plan.damagedPacks {
            lines.append(
                "pack \(pack.name.shortHex): \(EscapedName.line(pack.reason)); "
                    + "\(counted(pack.chunksKept, "chunk")) copied, \(counted(pack.chunksLost, "chunk")) lost")
        }
        for manifest in plan.unsignedSnapshots {
            lines.append("\(EscapedName.line(manifest.object)): signed anew")
        }
        for manifest in plan.misnamedSnapshots {
            lines.append("\(EscapedName.line(manifest.object)): stored under its own name")
        }
        guard plan.rewritesSnapshots else { return lines }
        for snapshot in plan.damagedSnapshots {
            lines.append("snapshot \(snapshot.id.shortHex): replaced by what is left of it")
        }
        for manifest in plan.unreadableSnapshots {
            lines.append("\(EscapedName.line(manifest.object)): taken out, \(EscapedName.line(manifest.reason))")
        }
        for snapshot in plan.goneSnapshots { lines.append("snapshot \(snapshot.id.shortHex): noted as lost") }
        return lines
    }

    private func results(_ outcome: RepairOutcome) -> [String] {
        var lines = outcome.snapshots.map { "snapshot \($0.old.shortHex) is now \($0.new.shortHex)" }
        lines += outcome.sound.map { "\($0) is sound by now, and stays" }
        if !outcome.postponed.isEmpty {
            lines.append(
                "\(counted(outcome.postponed.count, "damaged pack")) left for a later repair, because somebody may "
                    + "read from them still:")
            lines += outcome.waitsFor.map { "  \(EscapedName.line($0))" }
        }
        lines.append("done; \(counted(outcome.setAside.count, "object")) kept below 'damaged/'")
        return lines
    }
}
