// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

extension PostgresTableStore {
    package func swap(_ state: StagedState) throws {
        let exchange = try exchange(
            state, "cannot swap \(subject)",
            keyHint: "Nothing was changed. Restore the tables at both ends of the foreign key together, or the whole"
                + " database.")
        guard try !exchange.isSwapped() else { return }
        let tables = try exchange.stagedTables()
        try exchange.endOthers(tables)
        try exchange.connection.silentTransaction(exchange.subject) { try exchange.bringIn(tables) }
    }

    package func swapBack(_ state: StagedState) throws {
        let exchange = try exchange(
            state, "cannot swap back \(subject)",
            keyHint: "Nothing was changed. Rows were added since that rest on restored ones: remove them, then run the"
                + " same command again.")
        guard try exchange.isSwapped() else { return }
        let tables = try exchange.tables()
        try exchange.endOthers(tables)
        try exchange.connection.silentTransaction(exchange.subject) { try exchange.bringBack(tables) }
    }

    package func discard(_ state: StagedState) throws {
        let places = try TablePlaces(state)
        let connection = try session()
        // Both at once: of the two alone one would mean something else.
        try connection.silentTransaction("cannot clean up after \(subject)") {
            try places.drop(places.staged, connection)
            try places.drop(places.aside, connection)
        }
    }

    private func exchange(_ state: StagedState, _ subject: String, keyHint: String) throws -> TableExchange {
        TableExchange(places: try TablePlaces(state), connection: try session(), subject: subject, keyHint: keyHint)
    }
}

/// Exchanges the rows of tables inside a transaction. Tables keep their identity, and so all that refers to them: views,
/// functions, policies, grants. Nothing of what rows set off when they come and go happens: triggers and rules are
/// switched off, and foreign keys taken off, so that no cascade fires; when they are put back the server checks every
/// row, and names the foreign key that does not hold.
struct TableExchange {
    let places: TablePlaces
    let connection: PostgresConnection
    let subject: String
    /// What to do about a foreign key that would not hold.
    let keyHint: String

    private var catalog: TableCatalog { TableCatalog(connection: connection, subject: subject) }

    private func execute(_ sql: String) throws { try connection.execute(sql, subject: subject) }

    func isSwapped() throws -> Bool { try places.exists(places.aside, connection) }

    // MARK: - What was staged

    /// The tables whose rows are all there; throws when there are others.
    func stagedTables() throws -> [RestoredTable] {
        guard try places.exists(places.staged, connection) else {
            throw LifeboatError(subject, causes: ["there is no schema '\(places.staged)' with their rows"])
        }
        let unfinished = try connection.execute(
            "SELECT count(*) FROM \(places.list) WHERE rows IS NULL", subject: subject)
        let tables = try tables()
        guard unfinished.scalar == "0", !tables.isEmpty else {
            throw LifeboatError(subject, causes: ["not all of their rows were staged"])
        }
        return tables
    }

    func tables() throws -> [RestoredTable] {
        try connection.execute(
            "SELECT number, schema, name FROM \(places.list) ORDER BY number", subject: subject
        ).rows.compactMap { row in
            guard row.count == 3, let number = row[0].flatMap({ Int($0) }), let schema = row[1], let name = row[2]
            else { return nil }
            return RestoredTable(number: number, name: PostgresTableName(schema, name))
        }
    }

    private func run(_ phase: ArchivedTable.Phase, _ table: RestoredTable) throws {
        let steps = try connection.execute(
            "SELECT sql FROM \(places.steps) WHERE number = $1 AND phase = $2 ORDER BY position",
            ["\(table.number)", phase.rawValue], subject: subject)
        let path = try path(staged(table))
        for sql in steps.rows.compactMap({ $0[0] }) {
            try connection.runInTransaction(
                sql, orWith: path, subject: "cannot make table \(table.name.shown) again")
        }
    }

    // MARK: - The exchange

    /// Ends sessions that hold locks on the tables, or on those that foreign keys join to them: a forgotten one would
    /// hold up the exchange while services stand still. What this user may not end is waited for instead.
    func endOthers(_ tables: [RestoredTable]) throws {
        let ids = try tables.compactMap { try catalog.table($0.name)?.id }
        _ = try? connection.execute(
            """
            WITH own AS (SELECT unnest($1::oid[]) AS id), joined AS (SELECT id FROM own
                UNION SELECT conrelid FROM pg_catalog.pg_constraint JOIN own ON confrelid = id WHERE contype = 'f'
                UNION SELECT confrelid FROM pg_catalog.pg_constraint JOIN own ON conrelid = id WHERE contype = 'f')
            SELECT pg_catalog.pg_terminate_backend(l.pid) FROM (SELECT DISTINCT pid FROM pg_catalog.pg_locks
                WHERE locktype = 'relation' AND relation IN (SELECT id FROM joined)
                AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
                AND pid <> pg_catalog.pg_backend_pid()) l
            """, ["{\(ids.joined(separator: ","))}"])
    }

    /// Puts live rows aside and staged ones in their place; makes tables that are not there.
    func bringIn(_ tables: [RestoredTable]) throws {
        let there = try tables.filter { try catalog.table($0.name) != nil }
        let missing = tables.filter { table in !there.contains { $0.number == table.number } }
        try lock(there)
        for table in there { try checkColumns(table) }
        try places.make(places.aside, connection)
        for table in there {
            let columns = list(try stored(table.name))
            try execute(
                "CREATE TABLE \(aside(table).sql) AS SELECT \(columns) FROM ONLY \(table.name.sql)")
        }
        for table in missing { try run(.definition, table) }
        try refill(there, made: missing, from: staged)
        for table in missing { try run(.rest, table) }
        for table in missing { try run(.key, table) }
        try advanceSequences(made: missing)
        for table in tables { try execute("TRUNCATE \(staged(table).sql)") }
        try execute("UPDATE \(places.list) SET rows = NULL")
        for table in tables { try analyze(table) }
    }

    /// Statistics are no data: an expression that cannot be computed here does not undo the exchange.
    private func analyze(_ table: RestoredTable) throws {
        try execute("SAVEPOINT lifeboat_analyze")
        do {
            try execute("ANALYZE \(table.name.sql)")
        } catch let error as PostgresError {
            guard case .failed = error else { throw error }
            try execute("ROLLBACK TO SAVEPOINT lifeboat_analyze")
        }
    }

    /// The search path of the owner of a table; of the owner of the database for one that lifeboat made.
    private func path(_ table: PostgresTableName) throws -> PostgresSearchPath {
        let isLive = table.schema != places.staged && table.schema != places.aside
        let owner =
            try isLive
            ? catalog.table(table)?.owner
            : connection.execute(
                """
                SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database
                WHERE datname = pg_catalog.current_database()
                """, subject: subject
            ).scalar
        return try PostgresSearchPath.live(of: owner ?? "", connection)
    }

    /// Puts the live rows back to where the restored ones were staged, and those kept aside in their place. Tables that
    /// the exchange made go.
    func bringBack(_ tables: [RestoredTable]) throws {
        let kept = try tables.filter { try catalog.table(aside($0)) != nil }
        let live = try tables.filter { try catalog.table($0.name) != nil }
        let made = live.filter { table in !kept.contains { $0.number == table.number } }
        if let gone = kept.first(where: { table in !live.contains { $0.number == table.number } }) {
            throw LifeboatError(
                subject, causes: ["table \(gone.name.shown) was dropped since"],
                hint: "The rows before the restore are in \(aside(gone).shown).")
        }
        try lock(live)
        for table in live {
            let there = Set(try stored(table.name))
            let columns = try stored(staged(table)).filter { there.contains($0) }
            try fill(staged(table), columns, from: table.name)
            try execute(
                """
                UPDATE \(places.list) SET rows = (SELECT count(*) FROM \(staged(table).sql))
                WHERE number = \(table.number)
                """)
        }
        if !made.isEmpty { try execute("DROP TABLE \(made.map(\.name.sql).joined(separator: ", "))") }
        try refill(kept, made: [], from: aside)
        try places.drop(places.aside, connection)
        for table in kept { try analyze(table) }
    }

    /// Empties tables and fills them and `made` from elsewhere, with nothing set off by it.
    private func refill(
        _ tables: [RestoredTable], made: [RestoredTable], from source: (RestoredTable) -> PostgresTableName
    ) throws {
        // Checks that wait for the end of the transaction would be in the way of ALTER TABLE.
        try execute("SET CONSTRAINTS ALL IMMEDIATE")
        let keys = try catalog.foreignKeys(try tables.compactMap { try catalog.table($0.name) })
        for key in keys {
            if key.isOff { throw LifeboatError(subject, causes: ["the checks of \(key.told) are switched off"]) }
            try execute("ALTER TABLE \(key.table) DROP CONSTRAINT \(connection.identifier(key.name))")
        }
        let unchecked = try tables.flatMap { try catalog.unchecked($0.name) }
        for constraint in unchecked {
            try execute("ALTER TABLE \(constraint.table) DROP CONSTRAINT \(connection.identifier(constraint.name))")
        }
        let reactions = try tables.flatMap { try catalog.reactions($0.name) }
        for reaction in reactions { try execute(reaction.disable) }
        // Built at once when all rows are there they cost a fraction, above all those of vectors.
        let indexes = try tables.flatMap { try catalog.indexes($0.name) }
        for index in indexes { try execute(index.drop) }
        if !tables.isEmpty {
            try execute("TRUNCATE ONLY \(tables.map(\.name.sql).joined(separator: ", ONLY "))")
        }
        for table in tables + made {
            try fill(table.name, try stored(source(table)), from: source(table))
        }
        try execute("SET LOCAL default_tablespace = ''")
        for index in indexes { try execute(index.make) }
        for reaction in reactions { try execute(reaction.enable) }
        for key in unchecked + keys { try putBack(key) }
    }

    private func putBack(_ key: TableCatalog.ForeignKey) throws {
        let name = connection.identifier(key.name)
        do {
            try execute("ALTER TABLE \(key.table) ADD CONSTRAINT \(name) \(key.definition)")
        } catch let error as PostgresError where error.sqlState == SQLState.foreignKeyViolation {
            throw LifeboatError(
                subject, causes: ["\(key.told) would not hold"] + error.lifeboatError.causes,
                hint: keyHint)
        }
        guard let comment = key.comment else { return }
        try execute("COMMENT ON CONSTRAINT \(name) ON \(key.table) IS \(try connection.literal(comment))")
    }

    /// Sequences never go back: what they gave out since may be known elsewhere.
    private func advanceSequences(made: [RestoredTable]) throws {
        let steps = try connection.execute(
            "SELECT sql, sequence_schema, sequence_name, number FROM \(places.steps) WHERE phase = $1",
            [ArchivedTable.Phase.sequence.rawValue], subject: subject)
        for step in steps.rows {
            guard step.count == 4, let sql = step[0], let schema = step[1], let name = step[2] else { continue }
            let now = try connection.execute(
                """
                SELECT last_value, increment_by FROM pg_catalog.pg_sequences
                WHERE schemaname = $1 AND sequencename = $2
                """, [schema, name], subject: subject
            ).rows.first
            guard let now, now.count == 2 else { continue }
            let sequence = PostgresFacts.Sequence(
                lastValue: now[0] ?? PostgresFacts.unusedSequence, increment: now[1].flatMap { Int64($0) } ?? 1)
            let isNew = made.contains { "\($0.number)" == step[3] }
            guard isNew || !sequence.isNotBehind(Self.position(sql)) else { continue }
            try connection.run(script: sql, subject: subject)
        }
    }

    /// `5000` of `SELECT pg_catalog.setval('public.documents_id_seq', 5000, true);`, as the facts write it.
    static func position(_ sql: String) -> String {
        let words = sql.split(separator: "'").last?.split(whereSeparator: { ", );\n".contains($0) }) ?? []
        guard words.count == 2, words[1] == "true" else { return PostgresFacts.unusedSequence }
        return String(words[0])
    }

    // MARK: - Parts

    private func staged(_ table: RestoredTable) -> PostgresTableName {
        TablePlaces.table(table.number, in: places.staged)
    }

    private func aside(_ table: RestoredTable) -> PostgresTableName {
        TablePlaces.table(table.number, in: places.aside)
    }

    private func lock(_ tables: [RestoredTable]) throws {
        guard !tables.isEmpty else { return }
        let names = tables.map(\.name.sql).joined(separator: ", ONLY ")
        do {
            try execute("LOCK TABLE ONLY \(names) IN ACCESS EXCLUSIVE MODE")
        } catch let error as PostgresError where error.sqlState == SQLState.lockNotAvailable {
            throw LifeboatError(
                subject, causes: ["somebody else holds a lock on a table and does not let it go"],
                hint: "End the session that holds it (pg_stat_activity, pg_locks), then run the same command again.")
        }
    }

    /// Rows are exchanged by column names: a table that was altered meanwhile is left alone.
    private func checkColumns(_ table: RestoredTable) throws {
        let differences = TableCatalog.differences(
            snapshot: try catalog.columns(staged(table)), live: try catalog.columns(table.name))
        if differences.isEmpty { return }
        throw LifeboatError(subject, causes: ["table \(table.name.shown) was altered since"] + differences)
    }

    /// Columns that hold what was put into them.
    private func stored(_ name: PostgresTableName) throws -> [String] {
        try catalog.columns(name).filter { !$0.isGenerated }.map(\.name)
    }

    private func list(_ columns: [String]) -> String {
        columns.map { connection.identifier($0) }.joined(separator: ", ")
    }

    /// Copies all rows, with the numbers that identity columns had.
    private func fill(_ target: PostgresTableName, _ columns: [String], from source: PostgresTableName) throws {
        let names = list(columns)
        // For functions in generated columns, checks and indexes; the statement names everything with its schema.
        try path(target).set(connection, isLocal: true, subject)
        try execute(
            "INSERT INTO \(target.sql) \(columns.isEmpty ? "" : "(\(names)) ")OVERRIDING SYSTEM VALUE"
                + " SELECT \(names) FROM ONLY \(source.sql)")
        try execute("SET LOCAL search_path = ''")
    }
}
