// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatRepository

/// `lifeboat scrub`
struct Scrub: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "scrub", abstract: "Compare every stored object with its name; needs no key.",
        discussion: "Reads every byte of the repository and decodes nothing, so any host that can read the storage can "
            + "do it. It finds what rotted, not what is missing: for that use check. Exit code 13 when an object is "
            + "not what its name says.")

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let store = try location.openStore(session)
        let start = session.context.clock.monotonicSeconds()
        let report = try RepositoryScrubber(
            store, threads: session.context.host.processors, progress: session.progress,
            cancellation: session.cancellation
        ).run()
        session.progress.finish()
        for note in report.notes { session.note("note: \(note)") }
        for problem in report.problems { try session.problem(problem.error) }
        let seconds = session.context.clock.monotonicSeconds() - start
        try session.emitReport(ScrubSummary(report: report, seconds: seconds))
        return report.isHealthy ? .done : .damagedRepository
    }
}

private struct ScrubSummary: OutputRendering {
    static let messageType = "summary"
    let report: ScrubReport
    let seconds: Double

    var text: String {
        let verdict =
            report.isHealthy ? "no problems were found" : "\(counted(report.problems.count, "problem")) found"
        return """
            compared \(counted(report.packs, "pack")), \(counted(report.indexes, "index", plural: "indexes")) and \
            \(counted(report.snapshots, "manifest")) (\(ByteCount(report.bytesRead))) with their names \
            in \(DurationText.short(seconds))
            \(verdict)
            """
    }

    func encode(to encoder: any Encoder) throws {
        try report.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(seconds, forKey: .seconds)
    }

    private enum CodingKeys: String, CodingKey { case seconds }
}
