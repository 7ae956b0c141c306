// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// The databases of one restore: live, staged and set aside, told apart by name, object id and mark.
///
/// The restored database carries a mark in its comment while it is staged, and while it is live without anything set
/// aside for it. Once something is, the mark is in that one's comment, with the object id of the restored database: the
/// live comment is the owner's alone. Marks and names change in one transaction, so they agree after a crash at any
/// moment.
struct PostgresDatabases {
    /// The setting that earlier versions marked restored databases with.
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

    var mark: PostgresMark { PostgresMark(restoreID: restoreID) }

    /// The whole comment of a database, marks included.
    private func comment(_ name: String) throws -> String? {
        try connection.execute(
            "SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database WHERE datname = $1",
            [name], subject: "cannot read the comment of database '\(name)'"
        ).scalar
    }

    private func setComment(_ name: String, _ comment: String?) throws {
        try connection.execute(
            "COMMENT ON DATABASE \(connection.identifier(name)) IS \(try comment.map(connection.literal) ?? "NULL")",
            subject: "cannot mark database '\(name)' with a comment")
    }

    private func hasSetting(_ name: String) throws -> Bool {
        try connection.execute(
            """
            SELECT 1 FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
            WHERE d.datname = $1 AND s.setrole = 0 AND $2 = ANY (s.setconfig)
            """, [name, "\(Self.markName)=\(restoreID)"]
        ).scalar != nil
    }

    /// True when the database of that name is the one this restore made.
    func isRestored(_ name: String) throws -> Bool {
        guard let found = try id(name), found != liveID else { return false }
        if try PostgresMark.read(comment(name)).marks.contains(mark) { return true }
        if let liveID, try id(aside) == liveID {
            let successor = PostgresMark(restoreID: restoreID, successor: found)
            if try PostgresMark.read(comment(aside)).marks.contains(successor) { return true }
        }
        return try hasSetting(name)
    }

    /// Ids of the restores whose mark is on a database of the server.
    static func marks(_ connection: PostgresConnection) throws -> Set<String> {
        let subject = "cannot read the marks of restores"
        let comments = try connection.execute(
            """
            SELECT description FROM pg_catalog.pg_shdescription WHERE classoid = 'pg_catalog.pg_database'::regclass
            """, subject: subject)
        let settings = try connection.execute(
            """
            SELECT DISTINCT substr(item, length($1) + 2) FROM pg_catalog.pg_db_role_setting, unnest(setconfig) item
            WHERE setrole = 0 AND item LIKE $1 || '=%'
            """, [markName], subject: subject)
        return Set(settings.rows.compactMap { $0[0] })
            .union(comments.rows.flatMap { PostgresMark.read($0[0]).marks.map(\.restoreID) })
    }

    /// Marks the staged database, whose comment is to be `comment`.
    func mark(_ name: String, comment: String?) throws { try setComment(name, mark.added(to: comment)) }

    /// Takes the mark of this restore off the restored database; the rest of its comment stays.
    func removeMark(_ name: String) throws {
        let comment = try comment(name)
        if PostgresMark.read(comment).marks.contains(where: { $0.restoreID == restoreID }) {
            try setComment(name, mark.removed(from: comment))
        }
        guard try hasSetting(name) else { return }
        try connection.execute(
            "ALTER DATABASE \(connection.identifier(name)) RESET \(Self.markName)",
            subject: "cannot remove the mark of database '\(name)'")
    }

    /// The staged database becomes live; what is live, if anything, is set aside.
    func exchange() throws {
        guard try id(live) != nil else { return try rename([(staged, live)]) }
        guard let restored = try id(staged) else { throw LifeboatError("database '\(staged)' is gone") }
        try rename([(live, aside), (staged, live)]) {
            let successor = PostgresMark(restoreID: restoreID, successor: restored)
            try setComment(live, successor.added(to: comment(live)))
            try setComment(staged, mark.removed(from: comment(staged)))
        }
    }

    /// The restored database is staged again, what was set aside is live again; either of them may be missing.
    func exchangeBack(isSwapped: Bool, isAside: Bool) throws {
        let renames = (isSwapped ? [(live, staged)] : []) + (isAside ? [(aside, live)] : [])
        if renames.isEmpty { return }
        try rename(renames) {
            if isSwapped { try setComment(live, mark.added(to: comment(live))) }
            if isAside { try setComment(aside, mark.removed(from: comment(aside))) }
        }
    }

    func allowConnections(_ name: String, _ allow: Bool) throws {
        try connection.execute(
            "ALTER DATABASE \(connection.identifier(name)) ALLOW_CONNECTIONS \(allow)",
            subject: "cannot \(allow ? "open" : "close") database '\(name)' for connections")
    }

    /// Renames all in one transaction, so that there is no moment with a half of it. Sessions in them are ended.
    /// `first` runs at the beginning of the transaction, with the names as they were.
    private func rename(_ renames: [(from: String, to: String)], first: () throws -> Void = {}) throws {
        let subject = "cannot rename " + renames.map { "database '\($0.from)' to '\($0.to)'" }.joined(separator: ", ")
        for attempt in 1... {
            for rename in renames { try endSessions(rename.from) }
            do {
                try connection.transaction(subject) {
                    try first()
                    for (from, to) in renames {
                        try connection.execute(
                            "ALTER DATABASE \(connection.identifier(from)) RENAME TO \(connection.identifier(to))",
                            subject: subject)
                    }
                }
                return
            } catch let error as PostgresError {
                guard error.sqlState == SQLState.objectInUse else { throw error }
                // A session that came in between, or one that takes long to end (the server itself waits 5 s).
                if attempt < 4 { continue }
                throw try blocked(error, renames.map(\.from))
            }
        }
    }

    /// Which users' sessions keep the databases in use.
    private func blocked(_ error: PostgresError, _ names: [String]) throws -> LifeboatError {
        var told = error.lifeboatError
        for name in names {
            for row in try sessions(name) where row.count == 3 {
                told.causes.append(
                    "database '\(name)': \(row[1] ?? "0") open sessions of user '\(row[0] ?? "?")'"
                        + (row[2] == "t" ? "" : ", which this user may not end"))
            }
        }
        told.hint =
            "End these sessions, or grant the user of the policy the role pg_signal_backend, then run the same"
            + " command again."
        return told
    }

    /// Whether this session may end one of `pg_stat_activity a`.
    static let mayEnd = """
        ((SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
        OR (pg_catalog.pg_has_role(a.usesysid, 'USAGE') OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE'))
        AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE oid = a.usesysid))
        """

    /// User, number, and whether they may be ended, of the sessions in a database.
    private func sessions(_ name: String) throws -> [[String?]] { try Self.sessions(name, connection) }

    static func sessions(_ name: String, _ connection: PostgresConnection) throws -> [[String?]] {
        try connection.execute(
            """
            SELECT usename, count(*), bool_and(coalesce(\(mayEnd), false)) FROM pg_catalog.pg_stat_activity a
            WHERE datname = $1 AND pid <> pg_catalog.pg_backend_pid() AND usename IS NOT NULL GROUP BY 1 ORDER BY 1
            """, [name], subject: "cannot list the sessions of database '\(name)'"
        ).rows
    }

    /// Ends the sessions that this user may end; the others are waited for by the server.
    private func endSessions(_ name: String) throws {
        try connection.execute(
            """
            SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity a
            WHERE datname = $1 AND pid <> pg_catalog.pg_backend_pid() AND \(Self.mayEnd)
            """, [name], subject: "cannot end the sessions of database '\(name)'")
    }

    /// Drops a database of that name and object id, with its subscriptions; nothing when it is gone. `session` connects
    /// to a database by name.
    func drop(_ name: String, id expected: String, _ session: (String) throws -> PostgresConnection) throws {
        guard try id(name) == expected else { return }
        let isTemplate = try connection.execute(
            "SELECT datistemplate FROM pg_catalog.pg_database WHERE datname = $1", [name])
        if isTemplate.scalar == "t" {
            try connection.execute(
                "ALTER DATABASE \(connection.identifier(name)) IS_TEMPLATE false",
                subject: "cannot drop the template database '\(name)'")
        }
        let replication = PostgresReplication(connection: connection, database: name, id: expected)
        try replication.detach {
            try allowConnections(name, true)
            return try session(name)
        }
        try endSessions(name)
        // FORCE fails as a whole on a session that this user may not end.
        let force = try connection.serverMajor >= 13 && sessions(name).allSatisfy { $0.count == 3 && $0[2] == "t" }
        try connection.execute(
            "DROP DATABASE IF EXISTS \(connection.identifier(name))\(force ? " WITH (FORCE)" : "")",
            subject: "cannot drop database '\(name)'")
    }
}
