// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatRepository

/// `lifeboat check`
struct Check: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Verify that the repository can give back every snapshot.",
        discussion: "Without --read-data every object must be there with its right size, and indexes, manifests and "
            + "listings are read whole. With it every byte is read and compared with its digest; with --read-data=10% "
            + "a tenth of it, the next tenth in the next run. Exit code 13 when something is damaged; the snapshots "
            + "and paths that suffer are named.")

    @Option(
        name: .long, defaultAsFlag: "100%",
        help: ArgumentHelp("Read and verify all data, or a share of it that moves on with each run.", valueName: "N%"))
    var readData: String?

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var output: OutputOptions

    func validate() throws { _ = try coverage() }

    private func coverage() throws -> DataCoverage {
        guard let readData else { return .none }
        let number = readData.hasSuffix("%") ? String(readData.dropLast()) : readData
        guard let percent = Double(number), percent > 0, percent <= 100 else {
            throw ValidationError("'\(readData)' is not a share of the data, such as 10%")
        }
        return percent == 100 ? .all : .sample(percent: percent)
    }

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.openForReading(session, for: .examining)
        let start = session.context.clock.monotonicSeconds()
        let checker = RepositoryChecker(
            repository, threads: session.context.host.processors, progress: session.progress,
            cancellation: session.cancellation)
        let report = try checker.run(coverage())
        session.progress.finish()
        for note in report.notes { session.note("note: \(note)") }
        for problem in report.problems { try session.problem(problem.error) }
        let seconds = session.context.clock.monotonicSeconds() - start
        try session.emitReport(CheckSummary(report: report, seconds: seconds))
        return report.isHealthy ? .done : .damagedRepository
    }
}

extension CheckProblem {
    /// As an error to print.
    var error: LifeboatError {
        var causes = [reason]
        if !snapshots.isEmpty {
            causes.append("it affects \(counted(snapshots.count, "snapshot")): \(snapshots.joined(separator: ", "))")
        }
        causes += paths.map { "it affects '\($0)'" }
        let more = pathCount - UInt64(paths.count)
        if more > 0 { causes.append("and \(counted(more, "other path"))") }
        return LifeboatError(
            hint == nil ? "'\(object)' is damaged" : "'\(object)' is not as it should be", causes: causes,
            hint: hint
                ?? "Run 'lifeboat repair' to see what can be saved; a backup after it stores anew what is still on the host.",
            exitCode: .damagedRepository)
    }
}

private struct CheckSummary: OutputRendering {
    static let messageType = "summary"
    let report: CheckReport
    let seconds: Double

    var text: String {
        let data: String
        if report.readData {
            data = "all data was read (\(ByteCount(report.bytesRead)))"
        } else if report.samplePercent != nil {
            data = "\(counted(report.packsRead, "pack")) of the sample were read (\(ByteCount(report.bytesRead)))"
        } else {
            data = "data was not read"
        }
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
