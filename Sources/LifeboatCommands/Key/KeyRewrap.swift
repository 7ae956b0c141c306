// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatPolicy
import LifeboatRepository

/// `lifeboat key rewrap`
struct KeyRewrap: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "rewrap", abstract: "Encrypt what is stored for the present readers, and only for them.",
        discussion: """
            After 'key add' or 'key remove': a new reader can then read everything, and a removed one nothing that is \
            left. Needs the keys that open what is stored, old and new ones. Manifests and indexes are written anew at \
            once; packs move to new ones, and the old ones are condemned and deleted by a later prune. A run that was \
            ended goes on where it stopped. Snapshots get new ids; the old ones still name them.
            """)

    @Option(
        name: .long,
        help: ArgumentHelp("Move packs of at most so many bytes in this run: 500MiB, 20GiB.", valueName: "size"))
    var limit: SizeArgument?

    @Option(name: .long, help: ArgumentHelp("Time between condemning and deleting old packs.", valueName: "time"))
    var grace = WaitingTime(seconds: 12 * 3600)

    @Option(
        name: .long, help: ArgumentHelp("Wait up to so long for running backups and restores.", valueName: "time"))
    var wait = WaitingTime(seconds: 0)

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.open(session)
        var options = PruneOptions()
        options.grace = grace.seconds
        options.wait = wait.seconds
        let outcome = try Rewrapper(
            repository, host: session.context.host.name, clock: session.context.clock, progress: session.progress,
            cancellation: session.cancellation
        ).run(limit: limit?.bytes, options)
        session.progress.finish()
        for warning in outcome.prune?.warnings ?? [] { session.warn(warning) }
        for problem in outcome.problems { try session.problem(problem) }
        try session.emitReport(KeyRewrapReport(outcome))
        return outcome.problems.first?.exitCode ?? .done
    }
}

private struct KeyRewrapReport: OutputRendering {
    static let messageType = "summary"
    let snapshots: Int
    let records: Int
    let indexes: Int
    let packsWritten: Int
    let bytesWritten: UInt64
    let condemned: PrunePlan.Packs
    let deleted: PrunePlan.Packs
    let waiting: PrunePlan.Packs
    /// For other readers, and left for a later run.
    let left: PrunePlan.Packs
    /// Objects below `damaged/`, which stay as they are.
    let setAside: Int

    init(_ outcome: RewrapOutcome) {
        snapshots = outcome.snapshots
        records = outcome.records
        indexes = outcome.indexes
        packsWritten = outcome.prune?.packsWritten ?? 0
        bytesWritten = outcome.prune?.bytesWritten ?? 0
        condemned = outcome.prune?.condemned ?? PrunePlan.Packs()
        deleted = outcome.prune?.deleted ?? PrunePlan.Packs()
        waiting = outcome.prune?.waiting ?? PrunePlan.Packs()
        left = outcome.left
        setAside = outcome.setAside
    }

    var text: String {
        var lines = [
            "rewrapped \(counted(snapshots, "snapshot")), \(counted(records, "record")), "
                + "\(counted(indexes, "index", plural: "indexes")); \(ByteCount(bytesWritten)) moved to new packs"
        ]
        if deleted.count > 0 { lines.append("deleted \(described(deleted))") }
        if left.count > 0 { lines.append("for other readers still: \(described(left)); run it again") }
        if waiting.count > 0 {
            lines.append("condemned, to be deleted by a later prune: \(described(waiting))")
        }
        if setAside > 0 {
            lines.append("left as they are: \(counted(setAside, "object")) below 'damaged/', which old keys may open")
        }
        return lines.joined(separator: "\n")
    }

    private func described(_ packs: PrunePlan.Packs) -> String {
        "\(counted(packs.count, "pack")) (\(ByteCount(packs.bytes)))"
    }
}

/// A number of bytes on the command line, as in a policy.
struct SizeArgument: ExpressibleByArgument {
    let bytes: UInt64

    init?(argument: String) {
        guard let bytes = SizeText.bytes(argument) else { return nil }
        self.bytes = bytes
    }
}
