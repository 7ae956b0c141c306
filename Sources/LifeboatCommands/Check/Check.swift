// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatRepository

/// `lifeboat check`
struct Check: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Verify that the repository can give back every snapshot.",
        discussion: "Without --read-data every object must be there with its right size, and indexes, manifests and "
            + "listings are read whole. With it every byte is read and compared with its digest. Exit code 13 when "
            + "something is damaged; the snapshots and paths that suffer are named.")

    @Flag(name: .long, help: "Read and verify all data.")
    var readData = false

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.openForReading(session)
        let start = session.context.clock.monotonicSeconds()
        let checker = RepositoryChecker(
            repository, threads: session.context.host.processors, progress: session.progress,
            cancellation: session.cancellation)
        let report = try checker.run(readData: readData)
        session.progress.finish()
        for note in report.notes { session.note("note: \(note)") }
        for problem in report.problems { try session.problem(Self.error(problem)) }
        let seconds = session.context.clock.monotonicSeconds() - start
        try session.emitReport(CheckSummary(report: report, seconds: seconds))
        return report.isHealthy ? .done : .damagedRepository
    }

    private static func error(_ problem: CheckProblem) -> LifeboatError {
        var causes = [problem.reason]
        if !problem.snapshots.isEmpty {
            causes.append(
                "it affects \(counted(problem.snapshots.count, "snapshot")): \(problem.snapshots.joined(separator: ", "))"
            )
        }
        causes += problem.paths.map { "it affects '\($0)'" }
        let more = problem.pathCount - UInt64(problem.paths.count)
        if more > 0 { causes.append("and \(counted(more, "other path"))") }
        let hint =
            problem.snapshots.isEmpty
            ? nil
            : "Back up again: what is still on the host is stored anew. Other snapshots are not affected."
        return LifeboatError("'\(problem.object)' is damaged", causes: causes, hint: hint, exitCode: .damagedRepository)
    }
}

private struct CheckSummary: OutputRendering {
    static let messageType = "summary"
    let report: CheckReport
    let seconds: Double

    var text: String {
        let data = report.readData ? "all data was read (\(ByteCount(report.bytesRead)))" : "data was not read"
        let verdict =
            report.isHealthy ? "no problems were found" : "\(counted(report.problems.count, "problem")) found"
        return """
            checked \(counted(report.snapshots, "snapshot")), \(counted(report.packs, "pack")), \
            \(counted(report.indexes, "index", plural: "indexes")), \(counted(report.chunks, "chunk")) \
            in \(DurationText.short(seconds)); \(data)
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
