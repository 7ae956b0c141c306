// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore

extension PostgresStore {
    package func swap(_ state: StagedState) throws {
        let databases = try PostgresDatabases(try connectMaintenance(), state)
        let live = try databases.id(databases.live)
        if try databases.isRestored(databases.live) {
            // Done before; a crash may have come between the renames and this.
            try databases.allowConnections(databases.live, true)
            return try complete(state)
        }
        guard try databases.id(databases.staged) != nil else {
            throw LifeboatError(
                "cannot swap \(subject)", causes: ["the restored database '\(databases.staged)' does not exist"])
        }
        guard live == nil || live == databases.liveID else {
            throw LifeboatError(
                "cannot swap \(subject)",
                causes: ["it was created or replaced since the restore was planned"],
                hint: "Run the restore again; this one's data is in database '\(databases.staged)'.")
        }
        guard live != nil else {
            try databases.exchange()
            try databases.allowConnections(databases.live, true)
            return try complete(state)
        }
        guard try databases.id(databases.aside) == nil else {
            throw LifeboatError(
                "cannot swap \(subject)", causes: ["a database '\(databases.aside)' exists already"],
                hint: "Drop or rename it, then run the same command again.")
        }
        do {
            // Before it is closed: as soon as it opens again their workers would take rows out of their slots.
            try replication(databases)?.disable(databases.mark) { try connect() }
            // Clients that reconnect by themselves would otherwise hold up the renames.
            try databases.allowConnections(databases.live, false)
            try databases.exchange()
        } catch {
            _ = try? databases.allowConnections(databases.live, true)
            _ = try? replication(databases)?.enable(databases.mark) { try connect() }
            throw error
        }
        // After a `swapBack` it may have been closed.
        try databases.allowConnections(databases.live, true)
        try complete(state)
    }

    /// The schema in which a restore keeps what has to wait for the exchange.
    func places(_ state: StagedState) throws -> TablePlaces {
        try TablePlaces(restoreID: state.values["restore"] ?? "", database: database)
    }

    private func complete(_ state: StagedState) throws {
        try PostgresDeferral(places: try places(state), connection: try connect()).complete()
    }

    package func swapBack(_ state: StagedState) throws {
        let databases = try PostgresDatabases(try connectMaintenance(), state)
        let isSwapped = try databases.isRestored(databases.live)
        let isAside = try databases.id(databases.aside) != nil
        if isAside {
            guard try isSwapped || databases.id(databases.live) == nil else {
                throw LifeboatError(
                    "cannot swap back \(subject)",
                    causes: ["a database of that name was made that is not of this restore"],
                    hint: "The data before the restore is in database '\(databases.aside)'.")
            }
        }
        if isSwapped { try databases.allowConnections(databases.live, false) }
        try databases.exchangeBack(isSwapped: isSwapped, isAside: isAside)
        // A swap that failed or never ran may have closed it.
        guard try databases.id(databases.live) != nil else { return }
        try databases.allowConnections(databases.live, true)
        try replication(databases)?.enable(databases.mark) { try connect() }
    }

    /// That of the database that was live before; nil when there was none, or another one is live.
    private func replication(_ databases: PostgresDatabases) throws -> PostgresReplication? {
        guard let id = databases.liveID, try databases.id(databases.live) == id else { return nil }
        return PostgresReplication(connection: databases.connection, database: databases.live, id: id)
    }

    package func verify(_ content: any RestoreContent) throws -> [FactDifference] {
        let connection = try connect()
        return try differences(connection, PostgresContent(content, database).facts, nil)
            + PostgresDeferral.differences(connection)
    }

    /// A full disk must not keep what fills it: the server may fail to write pages of the staged database that it has
    /// in memory for any statement that needs a place there, until the database is dropped. Another try meets others.
    package func discard(_ state: StagedState) throws {
        for _ in 1..<Self.discardAttempts {
            do {
                return try discardOnce(state)
            } catch let error as PostgresError where error.sqlState == SQLState.diskFull {
                usleep(100_000)
            }
        }
        try discardOnce(state)
    }

    private static let discardAttempts = 20

    /// What the server says the database takes that was live before.
    package func asideBytes(_ state: StagedState) throws -> UInt64? {
        let connection = try connectMaintenance()
        let databases = try PostgresDatabases(connection, state)
        return try connection.execute(
            "SELECT pg_catalog.pg_database_size(oid) FROM pg_catalog.pg_database WHERE datname = $1",
            [databases.aside]
        ).scalar.flatMap { UInt64($0) }
    }

    private func discardOnce(_ state: StagedState) throws {
        let databases = try PostgresDatabases(try connectMaintenance(), state)
        if try databases.isRestored(databases.live) {
            // Only what carried the live name when the restore was planned.
            if let liveID = databases.liveID {
                try databases.drop(databases.aside, id: liveID) { try session($0) }
            }
            try databases.removeMark(databases.live)
            let places = try places(state)
            return try places.drop(places.staged, connect())
        }
        guard let staged = try databases.id(databases.staged), staged != databases.liveID else { return }
        try databases.drop(databases.staged, id: staged) { try session($0) }
    }

    /// The facts that must hold after a restore, compared with a session's database: rows of every table, large
    /// objects, extensions, encoding, and sequences not behind where they were. Versions and sizes may differ.
    func differences(
        _ connection: PostgresConnection, _ facts: StoreFacts, _ cancellation: Cancellation?
    ) throws -> [FactDifference] {
        var differences: [FactDifference] = []
        let counts = try PostgresFacts.rows(connection, cancellation)
        for (name, expected) in facts.counts.sorted(by: { $0.key < $1.key }) where counts[name] != expected {
            differences.append(
                FactDifference(name: name, expected: "\(expected)", found: counts[name].map { "\($0)" }))
        }
        let texts = try PostgresFacts.texts(connection)
        let sequences = try PostgresFacts.sequences(connection)
        let memberships = try PostgresFacts.memberships(connection, of: nil)
        for (name, expected) in facts.texts.sorted(by: { $0.key < $1.key }) {
            if name.hasPrefix(PostgresFacts.extensionPrefix), texts[name] == nil {
                differences.append(FactDifference(name: name, expected: expected, found: nil))
            } else if name == PostgresFacts.encoding, texts[name] != expected {
                differences.append(FactDifference(name: name, expected: expected, found: texts[name]))
            } else if name.hasPrefix(PostgresFacts.membershipPrefix), memberships[name] != expected,
                memberships[name] != "admin"
            {
                // Roles are the server's: a membership that was withdrawn since is no loss of this database.
                differences.append(
                    FactDifference(
                        name: name, expected: expected, found: memberships[name], isLoss: false, isPromised: true))
            } else if name.hasPrefix(PostgresFacts.viewPrefix), expected == "populated", texts[name] != expected {
                // Its rows are made from others, which are all there: REFRESH brings them back.
                differences.append(FactDifference(name: name, expected: expected, found: texts[name], isLoss: false))
            } else if name.hasPrefix(PostgresFacts.sequencePrefix) {
                let found = sequences[name]
                if found?.isNotBehind(expected) != true {
                    differences.append(FactDifference(name: name, expected: expected, found: found?.lastValue))
                }
            }
        }
        return differences
    }
}
