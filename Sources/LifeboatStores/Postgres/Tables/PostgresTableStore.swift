// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

/// Single tables of a captured database, restored into the live one, which keeps everything else.
///
/// The rows are read out of the dump into a schema of their own in the live database. The exchange is one transaction
/// there: it happens wholly or not at all. The table itself stays, with all that refers to it; only its rows are others.
/// See docs/decisions/0010-single-tables.md.
package struct PostgresTableStore: DataStore {
    /// The database they are in.
    package let store: PostgresStore
    /// As the user named them: `documents`, `app.documents`, `"Odd"."Name"`.
    package let tables: [String]

    /// `store` is the one of the database that holds the tables: of a `PostgresServerStore` the one that its `store(_:)`
    /// gives.
    package init(_ store: PostgresStore, tables: [String]) {
        self.store = store
        self.tables = tables
    }

    package var kind: String { store.kind }
    package var swapsWithServer: Bool { true }

    package var subject: String {
        let names = tables.map { "'\($0)'" }.joined(separator: ", ")
        return "\(tables.count == 1 ? "table" : "tables") \(names) of \(store.subject)"
    }

    /// A capture is always of the whole database.
    package func probe() throws -> StoreProbe { try store.probe() }
    package func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint { try store.fixPoint(cancellation) }

    package func planStaging(_ restoreID: String) throws -> StagedState {
        try TablePlaces(restoreID: restoreID, database: store.database).state
    }

    /// A session in the live database that means nothing but what it says: no search path, no hidden rows.
    func session(_ cancellation: Cancellation? = nil) throws -> PostgresConnection {
        let connection: PostgresConnection
        do {
            connection = try store.connect(cancellation)
        } catch let error as PostgresError where error.sqlState == SQLState.noSuchDatabase {
            throw LifeboatError(
                "cannot restore \(subject)", causes: ["there is no database '\(store.database)'"],
                hint: "Restore the whole component: without naming tables.")
        }
        for setting in ["search_path = ''", "row_security = off", "xmloption = content"] {
            try connection.execute("SET \(setting)", subject: "cannot prepare a session on \(store.subject)")
        }
        return connection
    }

    /// Rows of the tables, and where their sequences stand. Everything else of the database is none of this restore.
    package func verify(_ content: any RestoreContent) throws -> [FactDifference] {
        let facts = PostgresContent(content, store.database).facts
        let catalog = TableCatalog(connection: try session(), subject: "cannot verify \(subject)")
        var differences: [FactDifference] = []
        for name in try captured(in: facts) {
            let fact = Self.fact(name)
            let expected = facts.counts[fact] ?? 0
            let found = try catalog.table(name) == nil ? nil : try catalog.count(name)
            if found != expected {
                differences.append(
                    FactDifference(name: fact, expected: "\(expected)", found: found.map { "\($0)" }))
            }
            let sequences = try PostgresFacts.sequences(catalog.connection)
            for sequence in try catalog.sequences(name).sorted() {
                guard let expected = facts.texts[sequence], let found = sequences[sequence],
                    !found.isNotBehind(expected)
                else { continue }
                differences.append(FactDifference(name: sequence, expected: expected, found: found.lastValue))
            }
        }
        return differences
    }

    /// Name of the fact that counts its rows.
    static func fact(_ name: PostgresTableName) -> String { "rows:\(name.shown)" }

    /// The named tables among the snapshot's facts.
    func captured(in facts: StoreFacts) throws -> [PostgresTableName] {
        var found: [PostgresTableName] = []
        for text in tables {
            let name = try PostgresTableName.candidates(text).first { facts.counts[Self.fact($0)] != nil }
            guard let name else {
                throw LifeboatError("cannot verify \(subject)", causes: ["the snapshot holds no table '\(text)'"])
            }
            if !found.contains(name) { found.append(name) }
        }
        return found
    }

    package func asideBytes(_ state: StagedState) throws -> UInt64? {
        let places = try TablePlaces(state)
        return try session().execute(
            """
            SELECT sum(pg_catalog.pg_total_relation_size(c.oid)) FROM pg_catalog.pg_class c
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'
            """, [places.aside], subject: "cannot look at schema '\(places.aside)' of \(store.subject)"
        ).scalar.flatMap { UInt64($0) }
    }
}
