// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// What of a database can be made only once it has its name: extensions that are bound to a database's name (pg_cron),
/// with their rows and what rests on them. Kept in a schema of the restored database, made in one transaction right after
/// the exchange.
struct PostgresDeferral {
    let places: TablePlaces
    /// In the restored database.
    let connection: PostgresConnection

    private var steps: String { PostgresTableName(places.staged, "deferred").sql }
    private var missing: String { PostgresTableName(places.staged, Self.missingTable).sql }
    private static let missingTable = "deferred_missing"

    private var subject: String { "cannot complete database '\(places.database)' after the exchange" }

    private func rows(_ position: Int) -> PostgresTableName {
        PostgresTableName(places.staged, "rows_\(position)")
    }

    // MARK: - Before the exchange

    /// Tables for the rows that an archive holds of tables which are not there, under the same names.
    struct StandIns {
        /// Entries whose rows go there.
        var entries: [ArchiveContents.Entry] = []
        /// Schemas that were made for them.
        var schemas: [String] = []
        /// Entries that set sequences which are not there.
        var sequences: [ArchiveContents.Entry] = []
    }

    /// Makes stand-ins: every column is text, which takes any row as it is written in the archive.
    static func standIns(
        for contents: ArchiveContents, _ connection: PostgresConnection
    ) throws -> StandIns {
        let subject = "cannot prepare for the rows of extensions"
        var standIns = StandIns()
        for entry in contents.entries where entry.kind == "TABLE DATA" || entry.kind == "SEQUENCE SET" {
            let name = PostgresTableName(entry.schema, entry.tag)
            let isThere = try connection.execute(
                """
                SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = $1 AND c.relname = $2
                """, [name.schema, name.name], subject: subject)
            guard isThere.scalar == nil else { continue }
            guard entry.kind == "TABLE DATA" else {
                standIns.sequences.append(entry)
                continue
            }
            guard let columns = TableDefinition.columns(ofCopy: entry.copyStatement) else { continue }
            let hasSchema = try connection.execute(
                "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1", [name.schema], subject: subject)
            if hasSchema.scalar == nil {
                try connection.execute("CREATE SCHEMA \(PostgresTableName.quoted(name.schema))", subject: subject)
                standIns.schemas.append(name.schema)
            }
            let list = columns.map { "\(PostgresTableName.quoted($0)) text" }.joined(separator: ", ")
            try connection.execute("CREATE TABLE \(name.sql) (\(list))", subject: subject)
            standIns.entries.append(entry)
        }
        return standIns
    }

    /// Notes what is to be made, and puts the rows where they do not stand in its way.
    func keep(_ waiting: [ArchiveContents.Entry], _ standIns: StandIns) throws {
        try connection.transaction(subject) {
            try places.make(places.staged, connection)
            try connection.execute(
                """
                CREATE TABLE \(steps) (position int PRIMARY KEY, kind text, what text, sql text, owner text,
                row_schema text, row_table text)
                """, subject: subject)
            for (position, entry) in waiting.enumerated() {
                let hasRows = entry.kind == "TABLE DATA"
                try connection.execute(
                    "INSERT INTO \(steps) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                    [
                        "\(position)", entry.kind, entry.shown, entry.definition, entry.owner,
                        hasRows ? entry.schema : nil, hasRows ? entry.tag : nil,
                    ], subject: subject)
                guard hasRows else { continue }
                let standIn = PostgresTableName(entry.schema, entry.tag)
                let name = PostgresTableName.quoted(rows(position).name)
                try connection.execute("ALTER TABLE \(standIn.sql) RENAME TO \(name)", subject: subject)
                try connection.execute(
                    "ALTER TABLE \(PostgresTableName.quoted(entry.schema)).\(name) SET SCHEMA"
                        + " \(PostgresTableName.quoted(places.staged))", subject: subject)
            }
            for schema in standIns.schemas {
                try connection.execute("DROP SCHEMA \(PostgresTableName.quoted(schema))", subject: subject)
            }
        }
    }

    // MARK: - After the exchange

    private func isThere(_ table: String) throws -> Bool {
        try connection.execute("SELECT pg_catalog.to_regclass($1) IS NOT NULL", [table], subject: subject).scalar == "t"
    }

    /// Makes all that waits; nothing when that is done. What data does not depend on may fail: it is noted.
    func complete() throws {
        guard try places.exists(places.staged, connection), try isThere(steps) else { return }
        let waiting = try connection.execute(
            "SELECT position, kind, what, sql, owner, row_schema, row_table FROM \(steps) ORDER BY position",
            subject: subject)
        try connection.transaction(subject) {
            var lost: [(what: String, cause: String)] = []
            for row in waiting.rows {
                guard row.count == 7, let position = row[0].flatMap({ Int($0) }), let kind = row[1], let what = row[2],
                    let sql = row[3]
                else { continue }
                if let schema = row[5], let table = row[6] {
                    try load(rows(position), into: PostgresTableName(schema, table))
                } else if kind == "EXTENSION" || kind == "SEQUENCE SET" {
                    try connection.run(script: sql, subject: "cannot make \(what)")
                } else if let cause = try attempt(sql, owner: row[4] ?? "", kind: kind, what: what) {
                    lost.append((what, cause))
                }
            }
            try connection.execute("DROP TABLE \(steps)", subject: subject)
            for row in waiting.rows where row.count == 7 && row[5] != nil {
                guard let position = row[0].flatMap({ Int($0) }) else { continue }
                try connection.execute("DROP TABLE \(rows(position).sql)", subject: subject)
            }
            guard !lost.isEmpty else { return try places.drop(places.staged, connection) }
            try connection.execute("CREATE TABLE \(missing) (what text, cause text)", subject: subject)
            for (what, cause) in lost {
                try connection.execute("INSERT INTO \(missing) VALUES ($1, $2)", [what, cause], subject: subject)
            }
        }
    }

    /// Each text is read as the column's type reads it.
    private func load(_ source: PostgresTableName, into target: PostgresTableName) throws {
        let subject = "cannot load the rows of table \(target.shown)"
        let catalog = TableCatalog(connection: connection, subject: subject)
        let types = Dictionary(try catalog.columns(target).map { ($0.name, $0.type) }) { first, _ in first }
        let columns = try catalog.columns(source).map(\.name)
        guard !columns.isEmpty else { return }
        let names = columns.map(PostgresTableName.quoted).joined(separator: ", ")
        let values = try columns.map { column in
            guard let type = types[column] else {
                throw LifeboatError(subject, causes: ["it has no column \(PostgresNames.shown(column)) here"])
            }
            return "\(PostgresTableName.quoted(column))::\(type)"
        }.joined(separator: ", ")
        // The extension's script may have put some there, as in the captured database: the captured ones count.
        try connection.execute("DELETE FROM \(target.sql)", subject: subject)
        try connection.execute(
            "INSERT INTO \(target.sql) (\(names)) OVERRIDING SYSTEM VALUE SELECT \(values) FROM \(source.sql)",
            subject: subject)
    }

    /// Nil when it was made; why it could not be otherwise.
    private func attempt(_ sql: String, owner: String, kind: String, what: String) throws -> String? {
        let subject = "cannot make \(what)"
        try connection.execute("SAVEPOINT lifeboat", subject: subject)
        do {
            if PostgresSecondTry.needsOwner(kind), !owner.isEmpty {
                try connection.execute("SET LOCAL ROLE \(connection.identifier(owner))", subject: subject)
            }
            try connection.run(script: sql, subject: subject)
            try connection.execute("SET LOCAL ROLE NONE", subject: subject)
            return nil
        } catch let error as PostgresError {
            guard case .failed(_, let message) = error else { throw error }
            try connection.execute("ROLLBACK TO SAVEPOINT lifeboat", subject: subject)
            return message.causes.first
        }
    }

    /// What could not be made after exchanges, of the session's database, as facts that do not hold.
    static func differences(_ connection: PostgresConnection) throws -> [FactDifference] {
        let subject = "cannot look for what a restore left out"
        let tables = try connection.execute(
            """
            SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relname = $1 AND n.nspname ~ '\(TablePlaces.expression)' ORDER BY 1
            """, [missingTable], subject: subject)
        return try tables.rows.compactMap { $0[0] }.flatMap { schema in
            try connection.execute(
                "SELECT what, cause FROM \(PostgresTableName(schema, missingTable).sql) ORDER BY 1", subject: subject
            ).rows.compactMap { row in
                row[0].map {
                    FactDifference(
                        name: $0, expected: "present", found: "cannot be made: \(row[1] ?? "")", isLoss: false,
                        isPromised: true)
                }
            }
        }
    }
}
