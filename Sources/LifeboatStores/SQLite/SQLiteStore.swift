// SPDX-License-Identifier: Apache-2.0

import CSQLite
import Glibc
package import LifeboatCore
import LifeboatIO

/// One SQLite database file of another program, copied while it is in use through SQLite's own backup API, restored as
/// a file beside it and exchanged by one rename.
///
/// In a database with a write-ahead log the point in time is a read transaction, taken in milliseconds; the copy is made
/// from it afterwards, while writers go on. With a rollback journal a reader holds up writers, so there the copy itself
/// is made when the point is fixed. Nothing of the database or its log is ever written or checkpointed.
package struct SQLiteStore: DataStore {
    /// Name of the one part of a capture.
    static let partName = "database"

    /// As the policy gives it.
    let path: String
    /// Seconds another program may keep the database locked before that is an error.
    private let patience: Double
    private let temporaryFolder: String

    /// `temporaryFolder`: where copies are made if there is room; else beside the database.
    package init(path: String, temporaryFolder: String = "/tmp", patience: Double = 10) {
        self.path = path
        self.temporaryFolder = temporaryFolder
        self.patience = patience
    }

    package var kind: String { "sqlite" }
    package var subject: String { "SQLite database '\(path)'" }

    private func place() throws -> TemporaryPlace {
        TemporaryPlace(folders: [temporaryFolder, RootPlace(try VolumePlace.resolved(path)).parent])
    }

    func open(recovers: Bool = true, _ cancellation: Cancellation) throws -> LiveSQLite {
        try LiveSQLite.open(path, try place(), recovers: recovers, patience: patience, cancellation)
    }

    package func probe() throws -> StoreProbe {
        var probe = StoreProbe(engineVersion: SQLiteConnection.libraryVersion)
        do {
            let live = try open(recovers: false, Cancellation())
            defer { live.prepareClosing() }
            let pages = try live.connection.number("PRAGMA page_count") ?? 0
            let size = try live.connection.number("PRAGMA page_size") ?? 0
            probe.estimatedBytes = UInt64(clamping: pages.multipliedReportingOverflow(by: size).partialValue)
        } catch let error as SQLiteError where error.isCutOff {
            probe.warnings.append(
                LifeboatError(
                    "the program that writes \(subject) was killed in the middle of a transaction",
                    causes: ["'\(path)-journal' holds what undoes it"],
                    hint: "The backup undoes it on its copy; the program does so when it starts again."))
        }
        return probe
    }

    package func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
        let live = try open(cancellation)
        let point = SQLitePoint(
            store: self, live: live, place: try place(), patience: patience, cancellation: cancellation)
        if !live.letsWritersGoOn { try point.copyNow() }
        return point
    }

    // MARK: - Restore

    package func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] {
        let place = try VolumePlace(path)
        try place.checkMounts()
        try place.checkWritable()
        try ExchangeFlags.check(place.path, way: "restore it with --to DIR")
        guard let bytes = content.streamSize(Self.partName) else {
            throw LifeboatError("the snapshot holds no copy of \(subject)", exitCode: .incomplete)
        }
        let room = try place.room(for: bytes)
        guard room.needed < room.free else {
            throw LifeboatError(
                "there is no room to restore \(subject) beside the live one",
                causes: ["it takes \(ByteCount(bytes)), free are \(ByteCount(room.free))"],
                hint: "Free some space on that file system, or restore elsewhere with --to DIR.")
        }
        return place.warnings
    }

    package func stagingRoom(_ content: any RestoreContent) throws -> StagingRoom? {
        try content.streamSize(Self.partName).map { try VolumePlace(path).room(for: $0) }
    }

    package func asideBytes(_ state: StagedState) throws -> UInt64? {
        try VolumeStore.blocks(try SQLiteSwap(state).staged)
    }

    package func planStaging(_ restoreID: String) throws -> StagedState {
        let place = try VolumePlace(path)
        try place.checkMounts()
        return try SQLiteSwap.plan(place, restoreID).state
    }

    package func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        let swap = try SQLiteSwap(state)
        try swap.prepareStaging()
        try write(content, to: swap.staged, progress, cancellation)
        try check(swap.staged, content.facts, cancellation)
        try swap.markStaged()
    }

    private func write(
        _ content: any RestoreContent, to path: String, _ progress: any ProgressSink, _ cancellation: Cancellation
    ) throws {
        let source = try content.openStream(Self.partName)
        defer { source.close() }
        let file = try OwnedDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        while true {
            try cancellation.check()
            let count = try source.read(into: buffer)
            if count == 0 { break }
            try DescriptorIO.write(file.raw, UnsafeRawBufferPointer(rebasing: buffer[..<count]), path)
        }
        for shortfall in SQLiteFileFacts(content.facts)?.apply(to: file.raw, path) ?? [] {
            progress.report(.warning(shortfall))
        }
        try DescriptorIO.synchronize(file.raw, path)
        try file.close(path)
    }

    /// What was staged opens, is sound and holds what the snapshot says.
    private func check(_ staged: String, _ facts: StoreFacts, _ cancellation: Cancellation) throws {
        let connection = try SQLiteConnection(staged, .immutable)
        let integrity = try SQLiteFacts.integrity(connection, cancellation)
        if case .damaged(let findings) = integrity {
            throw LifeboatError(
                "\(subject) in the snapshot is damaged", causes: findings,
                hint: "Choose an earlier snapshot, or restore this one with --to DIR and try 'sqlite3 FILE .recover'.")
        }
        let differences = try differences(connection, facts, cancellation)
        guard differences.isEmpty else {
            throw LifeboatError(
                "the restored copy of \(subject) is not what the snapshot says",
                causes: differences.map { "\($0.name) is \($0.found ?? "missing"), not \($0.expected)" },
                exitCode: .damagedRepository)
        }
    }

    package func swap(_ state: StagedState) throws { try SQLiteSwap(state).swap() }

    package func swapBack(_ state: StagedState) throws { try SQLiteSwap(state).swapBack() }

    package func discard(_ state: StagedState) throws { try SQLiteSwap(state).discard() }

    /// Rows of every table, and what the database says it is.
    package func verify(_ content: any RestoreContent) throws -> [FactDifference] {
        guard access(path, F_OK) == 0 else {
            return [FactDifference(name: "database", expected: "'\(path)'", found: nil)]
        }
        let cancellation = Cancellation()
        let live = try open(cancellation)
        defer { live.prepareClosing() }
        return try differences(live.connection, content.facts, cancellation)
    }

    private func differences(
        _ connection: SQLiteConnection, _ facts: StoreFacts, _ cancellation: Cancellation
    ) throws -> [FactDifference] {
        // What of the schema this library does not understand is left out, here as in the snapshot.
        let unknown = try connection.readSchema()
        let rows = try SQLiteFacts.rows(connection, cancellation)
        let texts = try SQLiteFacts.texts(connection)
        var differences: [FactDifference] = []
        for (name, expected) in facts.counts.sorted(by: { $0.key < $1.key }) where name.hasPrefix("rows:") {
            let found = rows[name]
            // A table an older library than the one of the backup cannot count is not lost.
            if found == nil, unknown != nil { continue }
            if found != expected {
                differences.append(FactDifference(name: name, expected: "\(expected)", found: found.map { "\($0)" }))
            }
        }
        for name in SQLiteFacts.compared {
            guard let expected = facts.texts[name], texts[name] != expected else { continue }
            differences.append(FactDifference(name: name, expected: expected, found: texts[name]))
        }
        return differences
    }
}

/// A read transaction on the database, then the copy that was made from it.
private final class SQLitePoint: CapturePoint, NumberSource {
    private struct State {
        var live: LiveSQLite?
        var copy: SQLiteCopy?
        var facts: StoreFacts?
        /// Why the copy could not be checked whole.
        var unverified: String?
    }

    private let store: SQLiteStore
    private let place: TemporaryPlace
    private let patience: Double
    private let cancellation: Cancellation
    /// Facts that are not in the database.
    private let texts: [String: String]
    private let state: Monitor<State>

    init(
        store: SQLiteStore, live: LiveSQLite, place: TemporaryPlace, patience: Double, cancellation: Cancellation
    ) {
        self.store = store
        self.place = place
        self.patience = patience
        self.cancellation = cancellation
        var texts = live.file.texts
        texts["journal"] = live.usesLog ? "wal" : "rollback"
        self.texts = texts
        state = Monitor(State(live: live))
    }

    var method: String { "SQLite backup API" }

    var parts: [CapturePart] {
        [.stream(name: SQLiteStore.partName) { SQLiteCopySource(try self.state.withLock { try self.copy(&$0) }) }]
    }

    /// As of the point: what the copy holds, or will hold.
    func number(_ question: CheckQuestion, _ cancellation: Cancellation) throws -> Double {
        guard case .sql(let sql) = question else { throw question.notAnswered(by: store.subject) }
        return try state.withLock { state in
            guard let connection = state.copy?.reader ?? state.live?.connection else {
                throw LifeboatError("the point in time of \(store.subject) was released already")
            }
            return try connection.number(answering: sql, cancellation)
        }
    }

    /// Copies within the freeze: for a database whose writers a reader would hold up.
    func copyNow() throws {
        try state.withLock { state in
            guard let live = state.live else { return }
            // Writers get in between the steps; the copy is of the moment it is finished.
            try live.end()
            state.copy = try SQLiteCopy(
                of: live, holdsPoint: false, place, patience: patience, cancellation)
            state.live = nil
        }
    }

    private func copy(_ state: inout State) throws -> SQLiteCopy {
        if let copy = state.copy { return copy }
        guard let live = state.live else {
            throw LifeboatError("the point in time of \(store.subject) was released already")
        }
        let copy = try SQLiteCopy(of: live, holdsPoint: true, place, patience: patience, cancellation)
        state.copy = copy
        // The log can be checkpointed by its own program from here on.
        live.prepareClosing()
        state.live = nil
        return copy
    }

    /// Of the copy. Throws when the copy is damaged: so is the database; its bytes are kept all the same.
    func facts() throws -> StoreFacts {
        try state.withLock { state in
            if let facts = state.facts { return facts }
            let copy = try self.copy(&state)
            let integrity = try SQLiteFacts.integrity(copy.reader, cancellation)
            if case .unverified(let reason) = integrity { state.unverified = reason }
            if case .damaged(let findings) = integrity {
                throw LifeboatError(
                    "\(store.subject) is damaged", causes: findings,
                    hint: "The copy is kept as it is. Restore an earlier snapshot, or try 'sqlite3 FILE .recover'.")
            }
            var facts = StoreFacts(counts: try SQLiteFacts.rows(copy.reader, cancellation), texts: texts)
            facts.counts["pages"] = try copy.reader.number("PRAGMA page_count")
            facts.texts.merge(try SQLiteFacts.texts(copy.reader)) { _, new in new }
            facts.texts[SQLiteFacts.integrity] = integrity.text
            state.facts = facts
            return facts
        }
    }

    var warnings: [LifeboatError] {
        guard let reason = state.withLock({ $0.unverified }) else { return [] }
        return [
            LifeboatError(
                "\(store.subject) was captured, and could not be checked whole", causes: [reason],
                hint: "Check a restored copy with the SQLite of its own program: 'PRAGMA integrity_check'.")
        ]
    }

    func release() {
        state.withLock { state in
            state.live?.prepareClosing()
            state = State()
        }
    }
}
