// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatRepository

/// `lifeboat snapshots`
struct Snapshots: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshots", abstract: "List snapshots, oldest first.",
        discussion: "Sizes are of the data that was backed up; STORED is what the snapshot added to the repository.")

    @OptionGroup var location: RepositoryOptions

    @Option(name: .long, help: ArgumentHelp("Only snapshots of this stack.", valueName: "name"))
    var stack: String?

    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.open(session, for: .reading)
        let catalog = try SnapshotCatalog.readable(repository, stack: stack, session)
        let missing = try catalog.missing(repository, stack: stack)
        try session.emitTable(catalog.snapshots.map(SnapshotRow.init), whenEmpty: "there are no snapshots")
        if session.printsJSON {
            try session.emit(
                SnapshotsSummary(
                    snapshots: catalog.snapshots.count, damagedSnapshots: catalog.damaged.count,
                    missingSnapshots: missing.count, unreadableSnapshots: catalog.sealed))
        }
        for damage in catalog.damaged { try session.problem(damage) }
        for missing in missing { try session.problem(missing.error) }
        return catalog.damaged.isEmpty && missing.isEmpty ? .done : .damagedRepository
    }
}

/// A snapshot in a listing.
struct SnapshotRow: TableRow {
    static let messageType = "snapshot"
    static let columns = [
        TableColumn("ID"), TableColumn("TIME (UTC)"), TableColumn("STACK"), TableColumn("HOST"),
        TableColumn("FILES", alignsRight: true), TableColumn("SIZE", alignsRight: true),
        TableColumn("STORED", alignsRight: true), TableColumn("COMPLETE"), TableColumn("COMPONENTS"),
    ]

    let id: String
    let time: Timestamp
    let stack: String
    let host: String
    let sequence: UInt64
    let previous: String?
    let complete: Bool
    let files: UInt64
    let bytes: UInt64
    let bytesStored: UInt64
    let components: [String]
    let incompleteComponents: [String]

    init(_ snapshot: Snapshot) {
        let manifest = snapshot.manifest
        id = snapshot.id.hex
        time = manifest.frozen
        stack = manifest.stack
        host = manifest.host
        sequence = manifest.sequence
        previous = manifest.previous?.hex
        complete = manifest.complete
        // Sums over what a manifest claims: wrapping beats trapping on a forged one.
        files = manifest.components.clampedSum(\.files)
        bytes = manifest.components.clampedSum(\.bytes)
        bytesStored = manifest.bytesStored
        components = manifest.components.map(\.name)
        incompleteComponents = manifest.components.filter { !$0.isComplete }.map(\.name)
    }

    var cells: [String] {
        [
            String(id.prefix(12)), time.tableText, EscapedName.line(stack), EscapedName.line(host), grouped(files),
            "\(ByteCount(bytes))", "\(ByteCount(bytesStored))", complete ? "yes" : "NO",
            components.map { name in
                EscapedName.line(name) + (incompleteComponents.contains(name) ? " (incomplete)" : "")
            }.joined(separator: ", "),
        ]
    }
}

private struct SnapshotsSummary: OutputRendering {
    static let messageType = "summary"
    let snapshots: Int
    let damagedSnapshots: Int
    let missingSnapshots: Int
    /// Written for other readers than the key that was given.
    let unreadableSnapshots: Int
    var text: String { "" }
}
