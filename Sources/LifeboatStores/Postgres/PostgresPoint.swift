// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// A session whose point in time is about to be fixed, in three steps, so that those of several databases can be fixed
/// back to back: connecting comes before all of them, describing after.
struct PostgresPointOpening {
    let store: PostgresStore
    let connection: PostgresConnection
    let tools: PostgresTools
    let cancellation: Cancellation

    /// Fixes the point: from here on the session sees what the dump will see. Returns the snapshot's name.
    func export() throws -> String {
        let subject = "cannot fix the point in time of \(store.subject)"
        try connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", subject: subject)
        // The first statement of the transaction: everything after it sees what the dump sees.
        guard
            let snapshot = try connection.execute("SELECT pg_catalog.pg_export_snapshot()", subject: subject).scalar
        else { throw LifeboatError(subject, causes: ["the server exported no snapshot"]) }
        return snapshot
    }

    /// Reads what belongs to the point besides the dump.
    func describe(_ snapshot: String) throws -> PostgresCapturePoint {
        var settings = try PostgresSettings.read(connection)
        if store.globals { settings.hasPasswords = try store.isSuperuser(connection) }
        var texts = try PostgresFacts.texts(connection)
        texts[PostgresFacts.clientVersion] = "\(tools.version)"
        texts[PostgresParts.databases] = PostgresParts.encoded(store.database)
        texts.merge(try PostgresFacts.sequences(connection).mapValues { $0.lastValue }) { _, new in new }
        if store.capturesMemberships {
            texts.merge(try PostgresFacts.memberships(connection, of: Set(settings.roles))) { _, new in new }
        }
        return PostgresCapturePoint(
            store: store, tools: tools, snapshot: snapshot, settings: try settings.encoded(), texts: texts,
            isSuperuser: try store.isSuperuser(connection), connection: connection, cancellation: cancellation)
    }
}

/// The open transaction that exports the snapshot.
final class PostgresCapturePoint: CapturePoint {
    let store: PostgresStore
    private let texts: [String: String]
    private let cancellation: Cancellation
    /// Nil once released.
    private let connection: Monitor<PostgresConnection?>
    let parts: [CapturePart]

    init(
        store: PostgresStore, tools: PostgresTools, snapshot: String, settings: [UInt8], texts: [String: String],
        isSuperuser: Bool, connection: PostgresConnection, cancellation: Cancellation
    ) {
        self.store = store
        self.texts = texts
        self.cancellation = cancellation
        self.connection = Monitor(connection)
        let client = PostgresClient(endpoint: store.endpoint, tools: tools, runner: store.runner)
        var parts = [CapturePart.stream(name: PostgresParts.settings) { MemorySource(settings) }]
        if store.globals {
            parts.append(
                .stream(name: PostgresParts.globals) {
                    MemorySource(
                        try PostgresGlobals.capture(
                            client, maintenanceDatabase: store.maintenanceDatabase, withPasswords: isSuperuser,
                            cancellation))
                })
        }
        parts.append(
            .stream(name: PostgresParts.dump) {
                try PostgresDumpSource(
                    client, database: store.database, snapshot: snapshot, cancellation: cancellation)
            })
        self.parts = parts
    }

    var method: String { "pg_dump custom format" }

    func facts() throws -> StoreFacts {
        try withConnection { StoreFacts(counts: try PostgresFacts.rows($0, cancellation), texts: texts) }
    }

    /// The session that sees what the dump sees.
    func withConnection<Result>(_ body: (PostgresConnection) throws -> Result) throws -> Result {
        try connection.withLock { connection in
            guard let connection else {
                throw LifeboatError("the point in time of \(store.subject) was released already")
            }
            return try body(connection)
        }
    }

    func release() {
        // Ending the session ends its transaction.
        connection.withLock { $0 = nil }
    }
}
