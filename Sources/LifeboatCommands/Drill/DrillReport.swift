// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatDrill
import LifeboatIO
import LifeboatRepository

/// `lifeboat drill history`
struct DrillList: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "history", abstract: "List the drills of a stack, oldest first.")

    @OptionGroup var selection: DrillSelection
    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let (_, history) = try selection.history(session)
        try session.emitTable(history.entries.map(DrillRow.init), whenEmpty: "there are no drills")
        return history.damaged.isEmpty ? .done : .damagedRepository
    }
}

/// `lifeboat drill show`
struct DrillShow: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show the result of a drill.")

    @Argument(help: "Id of the drill (4 digits or more), or 'latest'.")
    var drill = "latest"

    @OptionGroup var selection: DrillSelection
    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let (_, history) = try selection.history(session)
        let entry = try history.find(drill)
        try session.emit(DrillSummary(id: entry.id, result: entry.result))
        return .done
    }
}

/// `lifeboat drill report`
struct DrillReportCommand: LifeboatCommand {
    enum Form: String, ExpressibleByArgument, CaseIterable { case text, json, html, prometheus }

    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "Write a report of a drill: for people, for programs, for paper.",
        discussion: """
            The page (html) is one file without links to anything outside, readable in a browser in light and dark and \
            on paper. The figures (prometheus) are for the textfile collector of the node exporter.
            """)

    @Argument(help: "Id of the drill (4 digits or more), or 'latest'.")
    var drill = "latest"

    @Option(name: .long, help: ArgumentHelp("text, json, html or prometheus.", valueName: "form"))
    var format: Form = .text

    @Option(
        name: [.customShort("o"), .customLong("output")],
        help: ArgumentHelp("Write to this file instead of standard output.", valueName: "file"))
    var file: String?

    @OptionGroup var selection: DrillSelection
    @OptionGroup var output: OutputOptions

    var writesData: Bool { file == nil && (format == .html || format == .prometheus) }

    func run(_ session: CommandSession) throws -> ExitCode {
        let (repository, history) = try selection.history(session)
        let entry = try history.find(drill)
        let report = DrillReport(
            entry: entry, history: history.entries.map(\.result), forecast: try forecast(entry, history, repository))
        let text =
            switch output.json ? .json : format {
            case .text: report.summary.text + "\n"
            case .json: String(decoding: try JSONLine.encode(report.summary), as: UTF8.self) + "\n"
            case .html: DrillPage(report).html
            case .prometheus: DrillMetrics(report).text
            }
        if let file {
            let path = session.context.absolutePath(file)
            let bytes = Array(text.utf8)
            _ = try bytes.withUnsafeBytes { try AtomicFile.write([$0], to: path, mode: 0o644) }
        } else {
            try session.context.output.standard.write(text)
        }
        return .done
    }

    /// For what the newest complete snapshot holds.
    private func forecast(
        _ entry: DrillHistory.Entry, _ history: DrillHistory, _ repository: Repository
    ) throws -> RecoveryForecast? {
        let stack = entry.result.stack
        let newest = try SnapshotCatalog(repository, stack: stack, skippingSealed: true).snapshots.last {
            $0.manifest.complete
        }
        let drilled = entry.result.components.map { (name: $0.name, store: $0.store, bytes: $0.bytes) }
        let sizes = newest?.manifest.components.map { (name: $0.name, store: $0.store, bytes: $0.bytes) } ?? drilled
        return RecoveryForecast(history.entries.map(\.result), stack: stack, sizes: sizes)
    }
}

/// A drill with all that a report tells about it.
struct DrillReport {
    let entry: DrillHistory.Entry
    /// All drills of the stack, ascending by time.
    let history: [DrillResult]
    let forecast: RecoveryForecast?

    var result: DrillResult { entry.result }

    /// Those of the same components and share up to this one: their times can be held against each other.
    var comparable: [DrillResult] {
        let names = Set(result.components.map(\.name))
        return history.filter {
            $0.ended <= result.ended && $0.samplePercent == result.samplePercent
                && Set($0.components.map(\.name)) == names
        }
    }

    var summary: DrillSummary { DrillSummary(id: entry.id, result: entry.result, forecast: forecast) }
}
