// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// What of a database stands in the way of renaming or dropping it, or stands still afterwards: subscriptions, logical
/// replication slots, prepared transactions.
struct PostgresReplication {
    /// A session beside the database.
    let connection: PostgresConnection
    let database: String
    /// Object id of the database.
    let id: String

    private var subject: String { "cannot look at the replication of database '\(database)'" }

    struct Subscription {
        var name: String
        var isEnabled: Bool
        /// Whether this user may alter it.
        var isOurs: Bool
        var owner: String
    }

    /// The subscriptions in the database.
    func subscriptions() throws -> [Subscription] {
        try connection.execute(
            """
            SELECT subname, subenabled, pg_catalog.pg_has_role(subowner, 'USAGE'),
            pg_catalog.pg_get_userbyid(subowner)
            FROM pg_catalog.pg_subscription WHERE subdbid = $1::oid ORDER BY 1
            """, [id], subject: subject
        ).rows.compactMap { row in
            guard row.count == 4, let name = row[0], let owner = row[3] else { return nil }
            return Subscription(name: name, isEnabled: row[1] == "t", isOurs: row[2] == "t", owner: owner)
        }
    }

    /// The comment of a subscription, which only sessions in its database see.
    private func comment(_ name: String, _ inside: PostgresConnection) throws -> String? {
        try inside.execute(
            """
            SELECT pg_catalog.obj_description(s.oid, 'pg_subscription') FROM pg_catalog.pg_subscription s
            JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
            WHERE d.datname = pg_catalog.current_database() AND s.subname = $1
            """, [name], subject: subject
        ).scalar
    }

    /// Before a restore: throws what would refuse the exchange of the live database. Returns what stands still after it.
    func check(_ refusal: String, user: String) throws -> [LifeboatError] {
        let prepared = try connection.execute(
            "SELECT gid, owner FROM pg_catalog.pg_prepared_xacts WHERE database = $1 ORDER BY 1", [database],
            subject: subject)
        let transactions = prepared.rows.compactMap { row in
            row[0].map { "prepared transaction '\($0)' of user '\(row[1] ?? "?")' is open in it" }
        }
        guard transactions.isEmpty else {
            throw LifeboatError(
                refusal, causes: transactions,
                hint: "End each with COMMIT PREPARED or ROLLBACK PREPARED in that database, then run the same command"
                    + " again.")
        }
        let subscriptions = try subscriptions()
        if let foreign = subscriptions.first(where: { !$0.isOurs }) {
            throw LifeboatError(
                refusal,
                causes: [
                    "subscription '\(foreign.name)' in it belongs to '\(foreign.owner)', and user '\(user)' may not"
                        + " disable it"
                ], hint: "Use the owner of the subscription, or a superuser.")
        }
        let slots = try connection.execute(
            "SELECT slot_name FROM pg_catalog.pg_replication_slots WHERE database = $1 ORDER BY 1", [database],
            subject: subject)
        return subscriptions.map { Self.standsStill($0.name) }
            + slots.rows.compactMap { $0[0] }.map { slot in
                LifeboatError(
                    "logical replication slot '\(slot)' of database '\(database)' goes with the old database",
                    causes: ["what reads from it has to be set up again after the restore"],
                    hint: "A slot of an old database that is kept (--keep-old) holds back WAL on this server.")
            }
    }

    static func standsStill(_ subscription: String) -> LifeboatError {
        LifeboatError(
            "subscription '\(subscription)' is disabled after the restore",
            causes: ["until it is enabled its slot on the publisher holds back WAL there"],
            hint: "Compare its tables with the publisher's, then run ALTER SUBSCRIPTION"
                + " \(PostgresNames.shown(subscription)) ENABLE; or drop the slot on the publisher.")
    }

    /// Disables the subscriptions of a database that is to be set aside, and notes on each that it was enabled.
    func disable(_ mark: PostgresMark, _ session: () throws -> PostgresConnection) throws {
        let enabled = try subscriptions().filter(\.isEnabled)
        guard !enabled.isEmpty else { return }
        let inside = try session()
        for subscription in enabled {
            let name = inside.identifier(subscription.name)
            let subject = "cannot disable subscription '\(subscription.name)' of database '\(database)'"
            try inside.transaction(subject) {
                let comment = try inside.literal(mark.added(to: comment(subscription.name, inside)))
                try inside.execute("COMMENT ON SUBSCRIPTION \(name) IS \(comment)", subject: subject)
                try inside.execute("ALTER SUBSCRIPTION \(name) DISABLE", subject: subject)
            }
        }
    }

    /// Enables what `disable` disabled.
    func enable(_ mark: PostgresMark, _ session: () throws -> PostgresConnection) throws {
        let disabled = try subscriptions().filter { !$0.isEnabled }
        guard !disabled.isEmpty else { return }
        let inside = try session()
        for subscription in disabled {
            let marked = try comment(subscription.name, inside)
            guard PostgresMark.read(marked).marks.contains(mark) else { continue }
            let name = inside.identifier(subscription.name)
            let subject = "cannot enable subscription '\(subscription.name)' of database '\(database)' again"
            try inside.transaction(subject) {
                let comment = try mark.removed(from: marked).map(inside.literal) ?? "NULL"
                try inside.execute("ALTER SUBSCRIPTION \(name) ENABLE", subject: subject)
                try inside.execute("COMMENT ON SUBSCRIPTION \(name) IS \(comment)", subject: subject)
            }
        }
    }

    /// Drops the subscriptions of a database that is to be dropped, without a word to their publishers: the slot there
    /// belongs to the live database's subscription of that name.
    func detach(_ session: () throws -> PostgresConnection) throws {
        let subscriptions = try subscriptions()
        guard !subscriptions.isEmpty else { return }
        let inside = try session()
        for subscription in subscriptions {
            let name = inside.identifier(subscription.name)
            let subject = "cannot drop subscription '\(subscription.name)' of database '\(database)'"
            try inside.execute("ALTER SUBSCRIPTION \(name) DISABLE", subject: subject)
            try inside.execute("ALTER SUBSCRIPTION \(name) SET (slot_name = NONE)", subject: subject)
            try inside.execute("DROP SUBSCRIPTION \(name)", subject: subject)
        }
    }
}
