// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// The databases of one restore: live, staged and set aside, told apart by name, object id and mark.
///
/// The mark is a setting on the restored database itself (`lifeboat.restore`), so it goes with it through every
/// rename; it says which of two databases of a name is the restored one after a crash at any moment.
struct PostgresDatabases {
    static let markName = "lifeboat.restore"

    let connection: PostgresConnection
    let live: String
    let staged: String
    let aside: String
    /// Object id of the live database when the restore was planned; nil when there was none.
    let liveID: String?
    let restoreID: String

    init(_ connection: PostgresConnection, _ state: StagedState) throws {
        func value(_ key: String) throws -> String {
            guard let value = state.values[key], !value.isEmpty else {
                throw LifeboatError("the restore's journal holds no '\(key)' of its database")
            }
            return value
        }
        self.connection = connection
        live = try value("database")
        staged = try value("staged")
        aside = try value("old")
        restoreID = try value("restore")
        liveID = state.values["live-oid"].flatMap { $0.isEmpty ? nil : $0 }
        guard Set([live, staged, aside]).count == 3 else {
            throw LifeboatError("the restore's journal gives one name to two databases")
        }
    }

    /// Object id of a database; nil when there is none of that name.
    static func id(_ name: String, _ connection: PostgresConnection) throws -> String? {
        try connection.execute("SELECT oid FROM pg_catalog.pg_database WHERE datname = $1", [name]).scalar
    }

    func id(_ name: String) throws -> String? { try Self.id(name, connection) }

    /// True when the database of that name is the one this restore made.
    func isRestored(_ name: String) throws -> Bool {
        try connection.execute(
            """
            SELECT 1 FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
            WHERE d.datname = $1 AND s.setrole = 0 AND $2 = ANY (s.setconfig)
            """, [name, "\(Self.markName)=\(restoreID)"]
        ).scalar != nil
    }

    /// Ids of the restores whose mark is on a database of the server.
    static func marks(_ connection: PostgresConnection) throws -> [String] {
        let result = try connection.execute(
            """
            SELECT DISTINCT substr(item, length($1) + 2) FROM pg_catalog.pg_db_role_setting, unnest(setconfig) item
            WHERE setrole = 0 AND item LIKE $1 || '=%'
            """, [markName], subject: "cannot read the marks of restores")
        return result.rows.compactMap { $0[0] }
    }

    func mark(_ name: String) throws {
        try connection.execute(
            "ALTER DATABASE \(connection.identifier(name)) SET \(Self.markName) TO \(try connection.literal(restoreID))",
            subject: "cannot mark database '\(name)'")
    }

    func removeMark(_ name: String) throws {
        try connection.execute(
            "ALTER DATABASE \(connection.identifier(name)) RESET \(Self.markName)",
            subject: "cannot remove the mark of database '\(name)'")
    }

    func allowConnections(_ name: String, _ allow: Bool) throws {
        try connection.execute(
            "ALTER DATABASE \(connection.identifier(name)) ALLOW_CONNECTIONS \(allow)",
            subject: "cannot \(allow ? "open" : "close") database '\(name)' for connections")
    }

    /// Renames all in one transaction, so that there is no moment with a half of it. Sessions in them are ended.
    func rename(_ renames: [(from: String, to: String)]) throws {
        let subject = "cannot rename " + renames.map { "database '\($0.from)' to '\($0.to)'" }.joined(separator: ", ")
        for attempt in 1... {
            for rename in renames { try endSessions(rename.from) }
            do {
                try connection.execute("BEGIN", subject: subject)
                for (from, to) in renames {
                    try connection.execute(
                        "ALTER DATABASE \(connection.identifier(from)) RENAME TO \(connection.identifier(to))",
                        subject: subject)
                }
                try connection.execute("COMMIT", subject: subject)
                return
            } catch let error as PostgresError {
                _ = try? connection.execute("ROLLBACK", subject: subject)
                // A session that came in between, or one that takes long to end (the server itself waits 5 s).
                guard error.sqlState == SQLState.objectInUse, attempt < 4 else { throw error }
            }
        }
    }

    private func endSessions(_ name: String) throws {
        try connection.execute(
            """
            SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
            WHERE datname = $1 AND pid <> pg_catalog.pg_backend_pid()
            """, [name], subject: "cannot end the sessions of database '\(name)'")
    }

    /// Drops a database of that name and object id; nothing when it is gone.
    func drop(_ name: String, id expected: String) throws {
        guard try id(name) == expected else { return }
        let force = connection.serverMajor >= 13
        if !force { try endSessions(name) }
        try connection.execute(
            "DROP DATABASE IF EXISTS \(connection.identifier(name))\(force ? " WITH (FORCE)" : "")",
            subject: "cannot drop database '\(name)'")
    }
}
