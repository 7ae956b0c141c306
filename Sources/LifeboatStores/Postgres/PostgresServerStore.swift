// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatIO

/// Several databases of one PostgreSQL server as one component: each dumped and restored as a `PostgresStore` does it,
/// the server's roles once.
///
/// PostgreSQL has no snapshot across databases: those of a component are fixed one right after the other, and agree
/// with each other only when nobody writes meanwhile (`freeze: pause` or `stop`).
package struct PostgresServerStore: DataStore {
    package enum Selection: Sendable, Equatable {
        case named([String])
        /// All that are neither templates nor what a restore keeps beside them; `postgres` only when it is used.
        case all
    }

    package let endpoint: PostgresEndpoint
    package let selection: Selection
    let binaries: String?
    let globals: Bool
    let maintenanceDatabase: String?
    let jobs: Int
    let runner: any ProcessRunner
    private let lookups = PostgresLookups()

    package init(
        endpoint: PostgresEndpoint, selection: Selection, binaries: String? = nil, globals: Bool = true,
        maintenanceDatabase: String? = nil, jobs: Int = PostgresStore.defaultJobs, runner: any ProcessRunner
    ) {
        self.endpoint = endpoint
        self.selection = selection
        self.binaries = binaries
        self.globals = globals
        self.maintenanceDatabase = maintenanceDatabase
        self.jobs = jobs
        self.runner = runner
    }

    package var kind: String { "postgres" }
    package var swapsWithServer: Bool { true }

    package var subject: String {
        switch selection {
        case .named(let names):
            "databases \(names.map { "'\($0)'" }.joined(separator: ", ")) on \(endpoint.address)"
        case .all: "all databases on \(endpoint.address)"
        }
    }

    /// The store of one of the databases, whether it is there or not.
    package func store(_ database: String, globals: Bool = false) -> PostgresStore {
        PostgresStore(
            endpoint: endpoint, database: database, binaries: binaries, globals: globals,
            capturesMemberships: self.globals, maintenanceDatabase: maintenanceDatabase, jobs: jobs, runner: runner,
            lookups: lookups)
    }

    /// The databases as the policy and the server have them now.
    package func databases() throws -> [String] {
        switch selection {
        case .named(let names): return names
        case .all: return try allDatabases()
        }
    }

    private func allDatabases() throws -> [String] {
        let maintenance = maintenanceDatabase ?? "postgres"
        let connection = try store(maintenance).session(maintenance)
        let subject = "cannot list the databases of PostgreSQL at \(endpoint.address)"
        let names = try connection.execute(
            "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1",
            subject: subject
        ).rows.compactMap { $0[0] }
        let restores = try PostgresDatabases.marks(connection)
        var chosen = names.filter { name in
            !restores.contains { name.hasSuffix("_lifeboat_\($0)") || name.hasSuffix("_old_\($0)") }
        }
        if let position = chosen.firstIndex(of: "postgres"), try !isUsed("postgres") { chosen.remove(at: position) }
        guard !chosen.isEmpty else {
            throw LifeboatError("PostgreSQL at \(endpoint.address) has no database to protect")
        }
        return chosen
    }

    /// Whether somebody made something in it: the database of that name is there for tools to connect to.
    private func isUsed(_ database: String) throws -> Bool {
        let connection = try store(database).connect()
        // Of a schema: what is in the server's own is temporary.
        let inSchemas = [
            ("pg_class", "relnamespace"), ("pg_proc", "pronamespace"), ("pg_type", "typnamespace"),
            ("pg_operator", "oprnamespace"), ("pg_collation", "collnamespace"), ("pg_ts_config", "cfgnamespace"),
            ("pg_ts_dict", "dictnamespace"),
        ].map { catalog, column in
            """
            SELECT 1 FROM pg_catalog.\(catalog) o JOIN pg_catalog.pg_namespace n ON n.oid = o.\(column)
            WHERE o.oid >= \(PostgresFacts.firstOwnID) AND n.nspname !~ '^pg_'
            """
        }
        let others = [
            "pg_extension", "pg_event_trigger", "pg_publication", "pg_foreign_server", "pg_foreign_data_wrapper",
            "pg_language", "pg_cast", "pg_largeobject_metadata",
        ].map { "SELECT 1 FROM pg_catalog.\($0) WHERE oid >= \(PostgresFacts.firstOwnID)" }
        let rest = [
            "SELECT 1 FROM pg_catalog.pg_namespace WHERE oid >= \(PostgresFacts.firstOwnID) AND nspname !~ '^pg_'",
            """
            SELECT 1 FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
            WHERE d.datname = pg_catalog.current_database()
            """,
        ]
        return try connection.execute(
            "SELECT EXISTS (\((inSchemas + others + rest).joined(separator: " UNION ALL ")))",
            subject: "cannot look at database '\(database)' on \(endpoint.address)"
        ).scalar == "t"
    }

    /// One store each; the first one has the server's roles with it.
    private func captureStores() throws -> [PostgresStore] {
        try databases().enumerated().map { store($1, globals: globals && $0 == 0) }
    }

    package func probe() throws -> StoreProbe {
        var probe = StoreProbe(estimatedBytes: 0)
        for store in try captureStores() {
            let found = try store.probe()
            probe.engineVersion = found.engineVersion
            probe.estimatedBytes = (probe.estimatedBytes ?? 0) + (found.estimatedBytes ?? 0)
            probe.warnings += found.warnings
        }
        return probe
    }

    package func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
        let openings = try captureStores().map { try $0.openPoint(cancellation) }
        // Nothing stands between two of these but the next one's turn.
        let snapshots = try openings.map { try $0.export() }
        return PostgresServerPoint(points: try zip(openings, snapshots).map { try $0.describe($1) })
    }

    /// Compares the databases with a snapshot's facts.
    package func verify(_ content: any RestoreContent) throws -> [FactDifference] {
        try restored(content.facts).flatMap { database in
            try store(database).verify(content).map { difference in
                var difference = difference
                difference.name = PostgresParts.fact(difference.name, of: database)
                return difference
            }
        }
    }
}

/// The points of several databases.
private struct PostgresServerPoint: CapturePoint, NumberSource {
    let points: [PostgresCapturePoint]

    func number(_ question: CheckQuestion, _ cancellation: Cancellation) throws -> Double {
        guard let first = points.first else { throw LifeboatError("there is no database to ask") }
        return try first.number(question, cancellation)
    }

    var method: String { "pg_dump custom format, each database under a snapshot of its own" }

    var parts: [CapturePart] {
        points.flatMap { point in
            point.parts.map { part in
                guard case .stream(let name, let open) = part else { return part }
                let database = point.store.database
                return switch name {
                case PostgresParts.settings: .stream(name: PostgresParts.settings(of: database), open: open)
                case PostgresParts.dump: .stream(name: PostgresParts.dump(of: database), open: open)
                default: part
                }
            }
        }
    }

    func facts() throws -> StoreFacts {
        var facts = StoreFacts()
        for point in points {
            let own = try point.facts()
            for (name, value) in own.counts { facts.counts[PostgresParts.fact(name, of: point.store.database)] = value }
            for (name, value) in own.texts where name != PostgresParts.databases {
                facts.texts[PostgresParts.fact(name, of: point.store.database)] = value
            }
        }
        facts.texts[PostgresParts.databases] =
            points.map { PostgresParts.encoded($0.store.database) }.joined(separator: " ")
        return facts
    }

    func release() {
        for point in points { point.release() }
    }
}
