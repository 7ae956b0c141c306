// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatRepository

/// `lifeboat prune`
struct Prune: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "prune", abstract: "Delete data that no snapshot needs.",
        discussion: """
            In two phases, so that backups and restores may run meanwhile: unused data is condemned first, and deleted \
            by a later run, when the grace period is over and everything has ended that ran when it was condemned. \
            With --grace 0 and nothing else running, one run does both. Chunks that are stored as deltas of data no \
            snapshot needs any more are stored anew when that frees space.
            """)

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Unused data that may stay in packs, in percent of what is used; the most wasteful packs and deltas are "
                + "rewritten until then.", valueName: "percent"))
    var maxUnused: Double = 5

    @Flag(name: .long, help: "Rewrite no packs: only delete those nothing is needed of. Needs next to no space.")
    var noRepack = false

    @Option(name: .long, help: ArgumentHelp("Time between condemning and deleting.", valueName: "time"))
    var grace = WaitingTime(seconds: 12 * 3600)

    @Option(
        name: .long, help: ArgumentHelp("Wait up to so long for running backups and restores.", valueName: "time"))
    var wait = WaitingTime(seconds: 0)

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Count a process as dead when this host saw no sign of life from it for so long.", valueName: "time"))
    var deadAfter = WaitingTime(seconds: 1800)

    @Flag(name: .long, help: "Even if snapshots vanished that were not forgotten, or no snapshot is left.")
    var force = false

    @Flag(name: [.customShort("n"), .long], help: "Only tell what would be done.")
    var dryRun = false

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (0...1000).contains(maxUnused) else {
            throw ValidationError("--max-unused is a percentage, 0 or more")
        }
    }

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.open(session)
        var options = PruneOptions()
        options.maximumUnused = maxUnused / 100
        options.repacks = !noRepack
        options.grace = grace.seconds
        options.wait = wait.seconds
        options.force = force
        options.dryRun = dryRun
        options.leases.deadAfter = deadAfter.seconds
        let outcome = try Pruner(
            repository, host: session.context.host.name, options: options, clock: session.context.clock,
            progress: session.progress, cancellation: session.cancellation
        ).run()
        session.progress.finish()
        for warning in outcome.warnings { session.warn(warning) }
        for problem in outcome.problems { try session.problem(problem) }
        try session.emitReport(PruneReport(outcome, dryRun: dryRun))
        return outcome.problems.isEmpty ? .done : .damagedRepository
    }
}

/// A length of time: `0`, `90s`, `30m`, `12h`, `7d`.
struct WaitingTime: ExpressibleByArgument {
    let seconds: Double

    init(seconds: Double) { self.seconds = seconds }

    init?(argument: String) {
        let units: [Character: Double] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        guard let last = argument.last else { return nil }
        let digits = units[last] == nil ? argument[...] : argument.dropLast()
        guard (1...9).contains(digits.utf8.count), digits.allSatisfy(\.isASCII), let number = UInt64(digits),
            units[last] != nil || number == 0
        else { return nil }
        seconds = Double(number) * (units[last] ?? 1)
    }

    var defaultValueDescription: String {
        switch seconds {
        case 0: "0"
        case 3600...: "\(Int(seconds / 3600))h"
        default: "\(Int(seconds / 60))m"
        }
    }
}

private struct PruneReport: OutputRendering {
    static let messageType = "summary"
    let dryRun: Bool
    let snapshots: Int
    let kept: PrunePlan.Packs
    let unused: PrunePlan.Packs
    let repacked: PrunePlan.Packs
    let rewrittenChunks: Int
    let rewrittenBytes: UInt64
    let movedBytes: UInt64
    let wastedBytes: UInt64
    let postponed: PrunePlan.Packs
    let condemned: PrunePlan.Packs
    let deleted: PrunePlan.Packs
    let waiting: PrunePlan.Packs
    let waitsFor: [String]
    let packsWritten: Int
    let bytesWritten: UInt64
    let indexesRewritten: Int
    let seconds: Double

    init(_ outcome: PruneOutcome, dryRun: Bool) {
        self.dryRun = dryRun
        let plan = outcome.plan
        snapshots = outcome.snapshots
        kept = plan.kept
        unused = plan.unused
        repacked = plan.repacked
        rewrittenChunks = plan.rewrittenChunks
        rewrittenBytes = plan.rewrittenBytes
        movedBytes = plan.movedBytes
        wastedBytes = plan.wastedBytes
        postponed = plan.postponed
        condemned = outcome.condemned
        deleted = dryRun ? plan.deleted : outcome.deleted
        waiting = outcome.waiting
        waitsFor = outcome.waitsFor
        packsWritten = outcome.packsWritten
        bytesWritten = outcome.bytesWritten
        indexesRewritten = outcome.indexesRewritten
        seconds = (outcome.seconds * 1e6).rounded() / 1e6
    }

    var text: String {
        var lines = [
            "\(counted(snapshots, "snapshot")) \(snapshots == 1 ? "needs" : "need") \(described(kept)); "
                + "\(ByteCount(wastedBytes)) in them is unused"
        ]
        if unused.count > 0 { lines.append("unused: \(described(unused))") }
        if repacked.count > 0 {
            lines.append("partly used: \(described(repacked)), of which \(ByteCount(movedBytes)) moves to new packs")
        }
        if rewrittenChunks > 0 {
            lines.append(
                "deltas of data that no snapshot needs: \(counted(rewrittenChunks, "chunk")) "
                    + "\(dryRun ? "to store" : "stored") anew, frees about \(ByteCount(rewrittenBytes))")
        }
        if postponed.count > 0 {
            let what = described(postponed)
            lines.append("unused, but maybe written by a backup that runs: \(what), left for a later run")
        }
        if dryRun {
            if deleted.count > 0 { lines.append("would delete \(described(deleted))") }
            let count = unused.count + repacked.count
            if count > 0 { lines.append("would condemn \(counted(count, "pack"))") }
            if waiting.count > 0 { lines.append("condemned, not to be deleted yet: \(described(waiting))") }
            lines.append("nothing was changed")
            return lines.joined(separator: "\n")
        }
        if condemned.count > 0 { lines.append("condemned \(described(condemned))") }
        lines.append("deleted \(described(deleted)) in \(DurationText.short(seconds))")
        if waiting.count > 0 {
            lines.append("condemned, to be deleted by a later run: \(described(waiting))")
            for name in waitsFor { lines.append("  waits for: \(EscapedName.line(name))") }
        }
        return lines.joined(separator: "\n")
    }

    private func described(_ packs: PrunePlan.Packs) -> String {
        "\(counted(packs.count, "pack")) (\(ByteCount(packs.bytes)))"
    }
}
