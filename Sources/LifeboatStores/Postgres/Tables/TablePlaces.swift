// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// The two schemas that a restore of tables uses in the live database: one for the rows of the snapshot, one for those
/// that were live before. That the second is there says that the exchange was made: both come and go with it.
///
/// Captures leave schemas of these names out.
struct TablePlaces {
    private static let stagedPrefix = "lifeboat_new_"
    private static let asidePrefix = "lifeboat_old_"
    /// The same as a pattern of pg_dump, and as a regular expression of the server.
    static let patterns = [stagedPrefix + "*", asidePrefix + "*"]
    static let expression = "^lifeboat_(new|old)_"

    let restoreID: String
    let database: String
    let staged: String
    let aside: String

    init(restoreID: String, database: String) throws {
        let longest = PostgresNames.maximumBytes - Self.stagedPrefix.utf8.count
        guard restoreID.utf8.count <= longest, !restoreID.isEmpty else {
            throw LifeboatError("the restore's identifier '\(restoreID)' is too long for a schema's name")
        }
        self.restoreID = restoreID
        self.database = database
        staged = Self.stagedPrefix + restoreID
        aside = Self.asidePrefix + restoreID
    }

    init(_ state: StagedState) throws {
        func value(_ key: String) throws -> String {
            guard let value = state.values[key], !value.isEmpty else {
                throw LifeboatError("the restore's journal holds no '\(key)' of its tables")
            }
            return value
        }
        restoreID = try value("restore")
        database = try value("database")
        staged = try value("staged-schema")
        aside = try value("old-schema")
    }

    var state: StagedState {
        StagedState(["restore": restoreID, "database": database, "staged-schema": staged, "old-schema": aside])
    }

    /// What a schema of this restore says of itself.
    private var mark: String { "made by lifeboat for restore \(restoreID)" }

    /// Whether the schema is there. One of that name that somebody else made is an error.
    func exists(_ schema: String, _ connection: PostgresConnection) throws -> Bool {
        let row = try connection.execute(
            """
            SELECT pg_catalog.obj_description(oid, 'pg_namespace') IS NOT DISTINCT FROM $2
            FROM pg_catalog.pg_namespace WHERE nspname = $1
            """, [schema, mark], subject: "cannot look for schema '\(schema)'")
        guard let isOurs = row.scalar else { return false }
        guard isOurs == "t" else {
            throw LifeboatError(
                "schema '\(schema)' of database '\(database)' is not of this restore",
                hint: "Drop or rename it, then run the same command again.")
        }
        return true
    }

    func make(_ schema: String, _ connection: PostgresConnection) throws {
        let subject = "cannot make schema '\(schema)' in database '\(database)'"
        let name = PostgresTableName.quoted(schema)
        try connection.execute("CREATE SCHEMA \(name)", subject: subject)
        try connection.execute("COMMENT ON SCHEMA \(name) IS \(try connection.literal(mark))", subject: subject)
    }

    func drop(_ schema: String, _ connection: PostgresConnection) throws {
        guard try exists(schema, connection) else { return }
        try connection.execute(
            "DROP SCHEMA \(PostgresTableName.quoted(schema)) CASCADE",
            subject: "cannot drop schema '\(schema)' of database '\(database)'")
    }

    /// The place of the rows of a table in one of the schemas.
    static func table(_ number: Int, in schema: String) -> PostgresTableName {
        PostgresTableName(schema, "table_\(number)")
    }

    /// Lists the tables of the restore: number, schema, name, and how many rows are staged (null: not all yet).
    var list: String { PostgresTableName(staged, "tables").sql }
    /// What makes a table of them where it is missing.
    var steps: String { PostgresTableName(staged, "steps").sql }
}

/// One table of a restore.
struct RestoredTable {
    var number: Int
    var name: PostgresTableName
}

extension PostgresConnection {
    /// All of `body` or nothing of it.
    func transaction<Result>(_ subject: String, _ body: () throws -> Result) throws -> Result {
        try execute("BEGIN", subject: subject)
        do {
            let result = try body()
            try execute("COMMIT", subject: subject)
            return result
        } catch {
            // When this fails too the session is gone, and its transaction with it.
            _ = try? execute("ROLLBACK", subject: subject)
            throw error
        }
    }
}
