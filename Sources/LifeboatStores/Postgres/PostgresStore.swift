// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatIO

/// One PostgreSQL database: pg_dump's custom format under an exported snapshot, restored into a new database that
/// takes the old one's name in one transaction.
package struct PostgresStore: DataStore {
    package let endpoint: PostgresEndpoint
    package let database: String
    /// Folder of pg_dump, pg_dumpall and pg_restore; nil: the server's major version in Debian's place, then PATH.
    package let binaries: String?
    /// Whether the server's roles are captured too.
    package let globals: Bool
    /// Where to connect while the database itself is renamed, created or dropped.
    package let maintenanceDatabase: String
    let runner: any ProcessRunner

    package init(
        endpoint: PostgresEndpoint, database: String, binaries: String? = nil, globals: Bool = true,
        maintenanceDatabase: String? = nil, runner: any ProcessRunner
    ) {
        self.endpoint = endpoint
        self.database = database
        self.binaries = binaries
        self.globals = globals
        self.maintenanceDatabase = maintenanceDatabase ?? (database == "postgres" ? "template1" : "postgres")
        self.runner = runner
    }

    package var kind: String { "postgres" }
    package var subject: String { "database '\(database)' on \(endpoint.address)" }

    /// Runs a query that gives one value (a policy's check, a health probe); nil is SQL NULL or no row.
    package func scalar(_ sql: String, cancellation: Cancellation? = nil) throws -> String? {
        try connect(cancellation).execute(
            sql, subject: "a query on \(subject) failed", cancellation: cancellation
        ).scalar
    }

    package func probe() throws -> StoreProbe {
        let connection = try connect()
        _ = try captureTools(connection)
        var warnings: [LifeboatError] = []
        let subject = "cannot look at \(subject)"
        let unreadable = try connection.execute(
            """
            SELECT n.nspname, c.relname, pg_catalog.row_security_active(c.oid) FROM pg_catalog.pg_class c
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
            AND (pg_catalog.row_security_active(c.oid) OR NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                OR CASE WHEN c.relkind = 'S' THEN NOT pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
                ELSE NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') END)
            ORDER BY 1, 2
            """, subject: subject)
        if let first = unreadable.rows.first, first.count == 3, let schema = first[0], let name = first[1] {
            let more = unreadable.rows.count > 1 ? " and \(unreadable.rows.count - 1) more" : ""
            throw LifeboatError(
                "user '\(endpoint.user)' cannot read all of \(self.subject)",
                causes: [
                    first[2] == "t"
                        ? "row security hides rows of \(PostgresNames.shown(schema, name))\(more)"
                        : "no right to read \(PostgresNames.shown(schema, name))\(more)"
                ],
                hint: "Grant the role pg_read_all_data and the attribute BYPASSRLS to '\(endpoint.user)', or use the"
                    + " owner of the tables.")
        }
        if globals, try !isSuperuser(connection) {
            warnings.append(
                LifeboatError(
                    "passwords of roles are not captured",
                    causes: ["user '\(endpoint.user)' is not a superuser of PostgreSQL at \(endpoint.address)"],
                    hint: "Use a superuser, or set 'globals: false' if roles are managed elsewhere."))
        }
        let size = try connection.execute(
            "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())", subject: subject
        ).scalar
        return StoreProbe(
            engineVersion: connection.serverVersionText, estimatedBytes: size.flatMap { UInt64($0) },
            warnings: warnings)
    }

    package func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
        let connection = try connect(cancellation)
        let tools = try captureTools(connection)
        let subject = "cannot fix the point in time of \(subject)"
        try connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", subject: subject)
        // The first statement of the transaction: everything after it sees what the dump sees.
        guard
            let snapshot = try connection.execute("SELECT pg_catalog.pg_export_snapshot()", subject: subject).scalar
        else { throw LifeboatError(subject, causes: ["the server exported no snapshot"]) }
        let settings = try PostgresSettings.read(connection)
        var texts = try PostgresFacts.texts(connection)
        texts[PostgresFacts.clientVersion] = "\(tools.version)"
        texts.merge(try PostgresFacts.sequences(connection).mapValues { $0.lastValue }) { _, new in new }
        return PostgresCapturePoint(
            store: self, tools: tools, snapshot: snapshot, settings: try settings.encoded(), texts: texts,
            isSuperuser: try isSuperuser(connection), connection: connection, cancellation: cancellation)
    }

    /// A session in the database itself.
    func connect(_ cancellation: Cancellation? = nil) throws -> PostgresConnection {
        try session(database, cancellation)
    }

    /// A session beside the database.
    func connectMaintenance(_ cancellation: Cancellation? = nil) throws -> PostgresConnection {
        try session(maintenanceDatabase, cancellation)
    }

    func session(_ database: String, _ cancellation: Cancellation? = nil) throws -> PostgresConnection {
        let connection = try PostgresConnection(endpoint, database: database, cancellation: cancellation)
        // Limits set for the application's sessions are not meant for a backup.
        // Locks are waited for as long as pg_dump is told to.
        for setting in [
            "statement_timeout = 0", "idle_in_transaction_session_timeout = 0", "lock_timeout = '60s'",
        ] {
            try connection.execute("SET \(setting)", subject: "cannot prepare a session on \(subject)")
        }
        return connection
    }

    private func captureTools(_ connection: PostgresConnection) throws -> PostgresTools {
        try PostgresTools.find(
            globals ? ["pg_dump", "pg_dumpall"] : ["pg_dump"], server: connection.version, folder: binaries,
            runner: runner)
    }

    func isSuperuser(_ connection: PostgresConnection) throws -> Bool {
        try connection.execute(
            "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user",
            subject: "cannot look at the rights of user '\(endpoint.user)'"
        ).scalar == "t"
    }
}

extension PostgresConnection {
    var version: PostgresVersion { PostgresVersion(major: serverVersion / 10_000, minor: serverVersion % 10_000) }
}

/// The open transaction that exports the snapshot.
private final class PostgresCapturePoint: CapturePoint {
    private let store: PostgresStore
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
        try connection.withLock { connection in
            guard let connection else {
                throw LifeboatError("the point in time of \(store.subject) was released already")
            }
            return StoreFacts(counts: try PostgresFacts.rows(connection, cancellation), texts: texts)
        }
    }

    func release() {
        // Ending the session ends its transaction.
        connection.withLock { $0 = nil }
    }
}

/// Names of a captured database's parts.
enum PostgresParts {
    static let settings = "settings"
    static let globals = "globals"
    static let dump = "dump"
}
