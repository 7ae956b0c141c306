// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatRepository

/// `lifeboat pin`
struct PinCommand: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "pin", abstract: "Keep a snapshot whatever the rules say, or list the pins.",
        discussion: "A pinned snapshot counts for the rules like any other; it is never removed until it is unpinned.")

    @Argument(help: "Id of the snapshot (4 digits or more), or 'latest'. Without one, pins are listed.")
    var snapshot: String?

    @Option(name: .long, help: ArgumentHelp("Why; shown in the list.", valueName: "text"))
    var note: String?

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var selection: SnapshotOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if snapshot == nil, note != nil { throw ValidationError("--note needs a snapshot") }
        if let note, note.utf8.count > 1000 { throw ValidationError("The note is longer than 1000 bytes") }
    }

    func run(_ session: CommandSession) throws -> ExitCode {
        guard let snapshot else { return try list(location.open(session, for: .reading), session) }
        let repository = try location.open(session)
        let found = try selection.find(snapshot, repository, location, session)
        let pin = Pin(
            repositoryID: repository.config.repositoryID, stack: found.manifest.stack, snapshot: found.id,
            host: session.context.host.name, created: session.context.clock.now(), note: note)
        let isNew = try Pins.add(pin, for: found, to: repository)
        try session.emitReport(PinReport(snapshot: found.id.hex, stack: pin.stack, pinned: true, changed: isNew))
        return .done
    }

    private func list(_ repository: Repository, _ session: CommandSession) throws -> ExitCode {
        var rows: [PinRow] = []
        var damaged: [LifeboatError] = []
        for name in try Pins.names(repository, stack: selection.stack) {
            do {
                // Nil: unpinned since the listing.
                guard let pin = try Pins.read(repository, stack: name.stack, snapshot: name.snapshot) else { continue }
                rows.append(PinRow(pin))
            } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                damaged.append(error)
            }
        }
        try session.emitTable(rows, whenEmpty: "no snapshot is pinned")
        for damage in damaged { try session.problem(damage) }
        return damaged.isEmpty ? .done : .damagedRepository
    }
}

/// `lifeboat unpin`
struct Unpin: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "unpin", abstract: "Let the rules decide about a pinned snapshot again.")

    @Argument(help: "Id of the snapshot (4 digits or more), or 'latest'.")
    var snapshot: String

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var selection: SnapshotOptions
    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.open(session)
        let name = try named(repository, session)
        let catalog = try SnapshotCatalog(repository, stack: name.stack, skippingSealed: true)
        let ledger = try PinLedger(repository, stack: name.stack, catalog, passingOverDamage: true)
        let changed = try Pins.remove(
            repository, stack: name.stack, snapshot: name.snapshot,
            known: ledger.pinned.contains(name.snapshot) ? ledger.evidence : Set(ledger.vanished),
            host: session.context.host.name, time: session.context.clock.now())
        try session.emitReport(
            PinReport(snapshot: name.snapshot.hex, stack: name.stack, pinned: false, changed: changed))
        return .done
    }

    /// Pins first: one may be left of a snapshot that is gone or damaged.
    private func named(
        _ repository: Repository, _ session: CommandSession
    ) throws -> (stack: String, snapshot: Digest) {
        if snapshot.utf8.count >= 4 {
            let matching = try Pins.names(repository, stack: selection.stack).filter {
                $0.snapshot.hex.hasPrefix(snapshot)
            }
            guard matching.count <= 1 else {
                throw LifeboatError(
                    "'\(snapshot)' names \(matching.count) pins", causes: matching.map(\.snapshot.shortHex),
                    hint: "Give more digits.", exitCode: .usage)
            }
            if let match = matching.first { return match }
        }
        let found = try selection.find(snapshot, repository, location, session)
        return (found.manifest.stack, found.id)
    }
}

private struct PinReport: OutputRendering {
    static let messageType = "summary"
    let snapshot: String
    let stack: String
    let pinned: Bool
    /// False: it was so already.
    let changed: Bool

    var text: String {
        let verdict =
            switch (pinned, changed) {
            case (true, true): "is pinned: it stays until it is unpinned"
            case (true, false): "was pinned already"
            case (false, true): "is no longer pinned"
            case (false, false): "was not pinned"
            }
        return "snapshot \(snapshot.prefix(12)) of stack '\(EscapedName.line(stack))' \(verdict)"
    }
}

private struct PinRow: TableRow {
    static let messageType = "pin"
    static let columns = [
        TableColumn("SNAPSHOT"), TableColumn("STACK"), TableColumn("PINNED (UTC)"), TableColumn("BY HOST"),
        TableColumn("NOTE"),
    ]

    let snapshot: String
    let stack: String
    let created: Timestamp
    let host: String
    let note: String?

    init(_ pin: Pin) {
        snapshot = pin.snapshot.hex
        stack = pin.stack
        created = pin.created
        host = pin.host
        note = pin.note
    }

    var cells: [String] {
        [
            String(snapshot.prefix(12)), EscapedName.line(stack), created.tableText, EscapedName.line(host),
            EscapedName.line(note ?? ""),
        ]
    }
}
