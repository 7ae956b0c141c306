// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatFormats
import LifeboatRepository

/// `lifeboat find`
struct Find: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "find", abstract: "Find files in snapshots by name.",
        discussion: "A pattern without a slash is compared with names, one with a slash with whole paths, where '*' "
            + "stops at a slash. Exit code 1 when nothing was found.")

    @Argument(help: "A name or path with '*', '?' and '[…]'. Quote it.")
    var pattern: String

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp("Look in this one (repeatable); else in all.", valueName: "snapshot"))
    var snapshot: [String] = []

    @Flag(name: [.short, .long], help: "Take upper and lower case as the same (ASCII).")
    var ignoreCase = false

    @Flag(name: .shortAndLong, help: "Also mode, owner, group, size and time (UTC).")
    var long = false

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var selection: SnapshotOptions
    @OptionGroup var output: OutputOptions

    var isListing: Bool { true }

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.openForReading(session, for: .reading)
        let catalog = try SnapshotCatalog.readable(repository, session)
        let chosen =
            try snapshot.isEmpty
            ? catalog.snapshots.filter { selection.stack == nil || $0.manifest.stack == selection.stack }
            : snapshot.map { try selection.find($0, catalog, repository, location, session) }
        let reader = try session.reader(repository)
        let wanted = NamePattern(pattern, ignoresCase: ignoreCase)
        var summary = EntriesSummary(entries: 0, bytes: 0)
        for snapshot in chosen {
            for tree in SnapshotPlaces(snapshot: snapshot).trees {
                let entries = try tree.part.entries(reader)
                while let entry = try entries.next() {
                    try session.cancellation.check()
                    guard wanted.matches(path: tree.shownPath(entry.path)) else { continue }
                    var row = EntryRow(entry, in: tree)
                    row.snapshot = snapshot.id.shortHex
                    row.isLong = long
                    summary.entries += 1
                    summary.bytes = summary.bytes &+ entry.size
                    try session.emit(FoundRow(row: row))
                }
            }
        }
        if session.printsJSON { try session.emit(summary) }
        if snapshot.isEmpty {
            for damage in catalog.damaged { try session.problem(damage) }
            if !catalog.damaged.isEmpty { return .damagedRepository }
        }
        if summary.entries == 0 { session.note("nothing matches '\(pattern)'") }
        return summary.entries == 0 ? .failed : .done
    }
}

/// An entry with the snapshot it is in.
private struct FoundRow: OutputRendering {
    static let messageType = EntryRow.messageType
    let row: EntryRow

    func encode(to encoder: any Encoder) throws { try row.encode(to: encoder) }
    var text: String { "\(row.snapshot ?? "")  \(row.text)" }
}
