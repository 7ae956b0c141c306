// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// Event triggers of a session's database, which fire for what lifeboat makes and alters: audits of schema changes,
/// prohibitions. Superusers switch them off inside of a transaction and on again at its end; other sessions see nothing
/// of it.
struct EventTriggers {
    /// Those that are enabled, with the word that enables them again.
    private let enabled: [(name: String, word: String)]
    /// Whether this user may silence them.
    let isSilenced: Bool
    private let connection: PostgresConnection
    private let subject: String

    var names: [String] { enabled.map(\.name) }

    init(_ connection: PostgresConnection, _ subject: String) throws {
        self.connection = connection
        self.subject = subject
        let rows = try connection.execute(
            """
            SELECT evtname, evtenabled FROM pg_catalog.pg_event_trigger
            WHERE evtenabled <> 'D' AND evtevent <> 'login' ORDER BY 1
            """, subject: subject)
        let words = ["R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"]
        enabled = rows.rows.compactMap { row in
            row[0].map { ($0, row[1].flatMap { words[$0] } ?? "ENABLE") }
        }
        isSilenced =
            try connection.execute(
                "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user", subject: subject
            ).scalar == "t"
    }

    /// In a transaction.
    func disable() throws { if isSilenced { try alter { _ in "DISABLE" } } }

    /// As they were; in the same transaction.
    func enable() throws { if isSilenced { try alter(\.word) } }

    private func alter(_ word: ((name: String, word: String)) -> String) throws {
        for trigger in enabled {
            try connection.execute(
                "ALTER EVENT TRIGGER \(connection.identifier(trigger.name)) \(word(trigger))", subject: subject)
        }
    }
}

extension PostgresConnection {
    /// A transaction in which no event trigger fires, where this user can do that.
    func silentTransaction<Result>(_ subject: String, _ body: () throws -> Result) throws -> Result {
        try transaction(subject) {
            let triggers = try EventTriggers(self, subject)
            try triggers.disable()
            let result = try body()
            try triggers.enable()
            return result
        }
    }

    /// Runs statements in a transaction that is open; when that fails, once more with a search path, for functions that
    /// name things without their schema.
    func runInTransaction(_ script: String, orWith path: PostgresSearchPath, subject: String) throws {
        try execute("SAVEPOINT lifeboat", subject: subject)
        do {
            try run(script: script, subject: subject)
        } catch let error as PostgresError {
            guard case .failed = error else { throw error }
            try execute("ROLLBACK TO SAVEPOINT lifeboat", subject: subject)
            try path.set(self, isLocal: true, subject)
            do {
                try run(script: script, subject: subject)
            } catch is PostgresError {
                throw error
            }
            try execute("SET LOCAL search_path = ''", subject: subject)
        }
        try execute("RELEASE SAVEPOINT lifeboat", subject: subject)
    }
}
