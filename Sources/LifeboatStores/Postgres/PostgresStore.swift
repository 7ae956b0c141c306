// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatIO

/// One PostgreSQL database: pg_dump's custom format under an exported snapshot, restored into a new database that
/// takes the old one's name in one transaction.
package struct PostgresStore: DataStore {
    package let endpoint: PostgresEndpoint
    package let database: String
    /// Folder of pg_dump, pg_dumpall and pg_restore, where they run; nil: the server's major version in Debian's place,
    /// then PATH.
    package let binaries: String?
    /// Whether the server's roles are captured too.
    package let globals: Bool
    /// Whether the memberships of this database's roles are among its facts.
    let capturesMemberships: Bool
    /// Where to connect while the database itself is renamed, created or dropped.
    package let maintenanceDatabase: String
    /// How many indexes and constraints a restore builds at once.
    package let jobs: Int
    let runner: any ProcessRunner
    let lookups: PostgresLookups

    package init(
        endpoint: PostgresEndpoint, database: String, binaries: String? = nil, globals: Bool = true,
        maintenanceDatabase: String? = nil, jobs: Int = PostgresStore.defaultJobs, runner: any ProcessRunner
    ) {
        self.init(
            endpoint: endpoint, database: database, binaries: binaries, globals: globals,
            capturesMemberships: globals, maintenanceDatabase: maintenanceDatabase, jobs: jobs, runner: runner,
            lookups: PostgresLookups())
    }

    init(
        endpoint: PostgresEndpoint, database: String, binaries: String?, globals: Bool, capturesMemberships: Bool,
        maintenanceDatabase: String?, jobs: Int, runner: any ProcessRunner, lookups: PostgresLookups
    ) {
        self.endpoint = endpoint
        self.database = database
        self.binaries = binaries
        self.globals = globals
        self.capturesMemberships = capturesMemberships
        // A database cannot be renamed from inside itself.
        let maintenance = maintenanceDatabase ?? "postgres"
        self.maintenanceDatabase = maintenance == database ? "template1" : maintenance
        self.jobs = jobs
        self.runner = runner
        self.lookups = lookups
    }

    /// One index is already built by several workers of the server (max_parallel_maintenance_workers): two at once keep
    /// it busy while one of them reads.
    package static let defaultJobs = 2

    package var kind: String { "postgres" }
    package var swapsWithServer: Bool { true }
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
            AND n.nspname !~ '\(TablePlaces.expression)'
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
        warnings += try PostgresCollation.warnings(connection, self.subject)
        let size = try connection.execute(
            "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())", subject: subject
        ).scalar
        return StoreProbe(
            engineVersion: connection.serverVersionText, estimatedBytes: size.flatMap { UInt64($0) },
            warnings: warnings)
    }

    package func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
        let opening = try openPoint(cancellation)
        return try opening.describe(try opening.export())
    }

    /// The first step of fixing the point in time: all that may take a moment.
    func openPoint(_ cancellation: Cancellation) throws -> PostgresPointOpening {
        let connection = try connect(cancellation)
        let tools = try captureTools(connection)
        return PostgresPointOpening(store: self, connection: connection, tools: tools, cancellation: cancellation)
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
        let connection = try lookups.connect(endpoint, database, runner, cancellation)
        // Limits set for the application's sessions are not meant for a backup.
        // Locks are waited for as long as pg_dump is told to.
        for setting in [
            "statement_timeout = 0", "idle_in_transaction_session_timeout = 0", "lock_timeout = '60s'",
            "default_transaction_read_only = off",
        ] {
            try connection.execute("SET \(setting)", subject: "cannot prepare a session on \(subject)")
        }
        return connection
    }

    private func captureTools(_ connection: PostgresConnection) throws -> PostgresTools {
        try lookups.tools("capture \(connection.version)") {
            try PostgresTools.find(
                globals ? ["pg_dump", "pg_dumpall"] : ["pg_dump"], server: connection.version, folder: binaries,
                container: endpoint.container, runner: runner)
        }
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
