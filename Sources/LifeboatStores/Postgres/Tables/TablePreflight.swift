// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

extension PostgresTableStore {
    /// Makes the tables of the snapshot in a transaction that is rolled back: nothing tells better whether it can be
    /// done, and what their columns are.
    package func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] {
        let content = PostgresContent(content, store.database)
        let archive = try TableArchive(content, self, Cancellation())
        archive.source.close()
        let connection = try session()
        let preflight = TablePreflight(
            subject: "cannot restore \(subject)", user: store.endpoint.user, database: store.database,
            catalog: TableCatalog(connection: connection, subject: "cannot restore \(subject)"),
            tables: archive.tables)
        try preflight.checkRights()
        var warnings = try preflight.checkEventTriggers()
        for table in archive.tables {
            warnings += try preflight.check(table)
            let hasObjects = try preflight.rehearse(table)
            if hasObjects, content.facts.counts[PostgresFacts.largeObjects] ?? 0 > 0 {
                warnings.append(
                    LifeboatError("large objects that rows of \(table.name.shown) name are not restored with it"))
            }
        }
        try preflight.checkForeignKeys()
        try stagingRoom(content)?.check(subject)
        return warnings
    }
}

/// What can stand in the way of restoring tables into the live database.
struct TablePreflight {
    let subject: String
    let user: String
    let database: String
    let catalog: TableCatalog
    let tables: [ArchivedTable]

    private var connection: PostgresConnection { catalog.connection }

    private func refusal(_ causes: [String], hint: String? = nil) -> LifeboatError {
        LifeboatError(subject, causes: causes, hint: hint)
    }

    func checkRights() throws {
        let mayCreate = try connection.execute(
            "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')", subject: subject)
        guard mayCreate.scalar == "t" else {
            throw refusal(
                ["user '\(user)' may not make schemas in database '\(database)'"],
                hint: "Run GRANT CREATE ON DATABASE … for it, or use the owner of the database.")
        }
    }

    /// What fires when lifeboat makes and alters tables, and this user cannot silence.
    func checkEventTriggers() throws -> [LifeboatError] {
        let triggers = try EventTriggers(connection, subject)
        guard !triggers.isSilenced, !triggers.names.isEmpty else { return [] }
        let names = triggers.names.map { "'\($0)'" }.joined(separator: ", ")
        return [
            LifeboatError(
                "event triggers fire while the tables are exchanged: \(names)",
                causes: ["only a superuser can disable them, and '\(user)' is none"],
                hint: "Restore as a superuser, or disable them (ALTER EVENT TRIGGER … DISABLE).")
        ]
    }

    /// Looks at a table as it is now.
    func check(_ table: ArchivedTable) throws -> [LifeboatError] {
        guard let live = try catalog.table(table.name) else { return try checkMissing(table) }
        let shown = table.name.shown
        guard live.kind == "r" else { throw refusal(["\(shown) is no ordinary table now"], hint: ArchivedTable.beside) }
        if live.isPartition { throw refusal(["\(shown) is a partition now"], hint: ArchivedTable.beside) }
        if live.isInherited { throw refusal(["\(shown) inherits, or is inherited from"], hint: ArchivedTable.beside) }
        guard live.isOurs else {
            throw refusal(
                ["\(shown) belongs to '\(live.owner)', and user '\(user)' may not alter it"],
                hint: "Use the owner of the table, or a superuser.")
        }
        if live.hidesRows {
            throw refusal(
                ["row security hides rows of \(shown) from user '\(user)'"],
                hint: "Use a superuser, or a role with the attribute BYPASSRLS.")
        }
        return []
    }

    /// A table that is not there is made, when what it rests on is there.
    private func checkMissing(_ table: ArchivedTable) throws -> [LifeboatError] {
        let schema = try connection.execute(
            "SELECT pg_catalog.has_schema_privilege(oid, 'CREATE') FROM pg_catalog.pg_namespace WHERE nspname = $1",
            [table.name.schema], subject: subject)
        guard let mayCreate = schema.scalar else {
            throw refusal(["there is no schema '\(table.name.schema)'"], hint: "Create the schema first.")
        }
        guard mayCreate == "t" else {
            throw refusal(["user '\(user)' may not create tables in schema '\(table.name.schema)'"])
        }
        for parent in table.parents where !tables.contains(where: { $0.name == parent }) {
            if try catalog.table(parent) == nil {
                throw refusal(
                    ["a foreign key of \(table.name.shown) needs table \(parent.shown), which is not there"],
                    hint: "Restore it too: --table \(parent.shown).")
            }
        }
        let shown = table.name.shown
        var warnings = [LifeboatError("table \(shown) is not there, and will be made as the snapshot has it")]
        // A table of this restore that is missing too is made with its foreign keys.
        let lost = try table.dependents.filter { dependent in
            if let relation = dependent.relation, try catalog.table(relation) != nil { return false }
            if let part = dependent.part, part != dependent.table, try catalog.table(part) == nil { return false }
            guard let other = dependent.table, tables.contains(where: { $0.name == other }) else { return true }
            return try catalog.table(other) != nil
        }
        if !lost.isEmpty {
            warnings.append(
                LifeboatError("not made again with table \(shown): \(lost.map(\.told).joined(separator: ", "))"))
        }
        return warnings
    }

    /// Makes it, and takes that back. Returns whether its rows can name large objects.
    func rehearse(_ table: ArchivedTable) throws -> Bool {
        let places = try TablePlaces(restoreID: "check_\(UInt32.random(in: .min ... .max))", database: database)
        let isThere = try catalog.table(table.name) != nil
        try connection.execute("BEGIN", subject: subject)
        // When it fails the session is gone, and the transaction with it.
        defer { _ = try? connection.execute("ROLLBACK", subject: subject) }
        // Nobody is to wait behind a rehearsal.
        try connection.execute("SET LOCAL lock_timeout = '5s'", subject: subject)
        try EventTriggers(connection, subject).disable()
        try places.make(places.staged, connection)
        let place = TablePlaces.table(1, in: places.staged)
        let columns = try attempt(table) { try TableStaging.make(table, place, catalog) }
        if isThere {
            let differences = TableCatalog.differences(snapshot: columns, live: try catalog.columns(table.name))
            guard differences.isEmpty else {
                throw refusal(["table \(table.name.shown) was altered since"] + differences, hint: ArchivedTable.beside)
            }
        } else {
            try attempt(table) {
                // Foreign keys lock the tables they point at: those that are missing were looked for.
                let path = try PostgresSearchPath.live(of: table.owner, connection)
                for step in table.steps where step.phase == .definition || step.phase == .rest {
                    try connection.runInTransaction(step.sql, orWith: path, subject: subject)
                }
            }
        }
        return columns.contains { ["oid", "lo", "public.lo"].contains($0.type) }
    }

    private func attempt<Result>(_ table: ArchivedTable, _ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as PostgresError {
            let told = error.lifeboatError
            throw refusal(
                ["table \(table.name.shown) cannot be made as the snapshot has it"] + told.causes,
                hint: told.hint ?? "Create what is missing first, or restore the whole database.")
        }
    }

    /// Foreign keys are taken off and put back: those of other tables too, when they point at these.
    func checkForeignKeys() throws {
        let live = try tables.compactMap { try catalog.table($0.name) }
        for key in try catalog.foreignKeys(live) {
            guard key.isOurs else {
                throw refusal(
                    ["\(key.told) has to be taken off and put back, and the table belongs to '\(key.owner)'"],
                    hint: "Use the owner of both tables, or a superuser.")
            }
            if key.isOff {
                throw refusal(
                    ["the checks of \(key.told) are switched off"],
                    hint: "Switch them on (ALTER TABLE … ENABLE TRIGGER ALL), or drop the foreign key.")
            }
        }
    }
}
