// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// What the live database's catalog says of tables. The session's search path is empty, so that the server writes every
/// name with its schema.
struct TableCatalog {
    let connection: PostgresConnection
    /// For messages: what cannot be done.
    let subject: String

    struct Table {
        /// Object id.
        var id: String
        /// `r` for an ordinary table: pg_class.relkind.
        var kind: String
        var isPartition: Bool
        /// Has parents or children by inheritance.
        var isInherited: Bool
        var owner: String
        /// Whether this user may alter it.
        var isOurs: Bool
        /// Whether row security hides rows of it from this user.
        var hidesRows: Bool
    }

    struct Column: Equatable {
        var name: String
        var type: String
        var isGenerated: Bool

        var told: String { isGenerated ? "\(type), generated" : type }
    }

    /// A foreign key, or another constraint that is taken off and put back.
    struct ForeignKey {
        /// As SQL names it.
        var table: String
        var name: String
        /// FOREIGN KEY … REFERENCES …
        var definition: String
        var comment: String?
        var owner: String
        var isOurs: Bool
        /// Its checks are switched off (ALTER TABLE … DISABLE TRIGGER ALL).
        var isOff: Bool

        var told: String { "foreign key \(PostgresNames.shown(name)) of table \(table)" }
    }

    /// Something that runs by itself when rows are written, with the words that switch it off and on as it was.
    struct Reaction {
        var disable: String
        var enable: String
    }

    func table(_ name: PostgresTableName) throws -> Table? {
        let row = try connection.execute(
            """
            SELECT c.oid, c.relkind, c.relispartition, EXISTS (SELECT 1 FROM pg_catalog.pg_inherits i
                WHERE i.inhrelid = c.oid OR i.inhparent = c.oid),
            pg_catalog.pg_get_userbyid(c.relowner), pg_catalog.pg_has_role(c.relowner, 'USAGE'),
            c.relkind = 'r' AND pg_catalog.row_security_active(c.oid)
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = $1 AND c.relname = $2
            """, [name.schema, name.name], subject: subject
        ).rows.first
        guard let row, row.count == 7, let id = row[0] else { return nil }
        return Table(
            id: id, kind: row[1] ?? "", isPartition: row[2] == "t", isInherited: row[3] == "t", owner: row[4] ?? "",
            isOurs: row[5] == "t", hidesRows: row[6] == "t")
    }

    /// Columns in their order.
    func columns(_ name: PostgresTableName) throws -> [Column] {
        let generated = connection.serverMajor >= 12 ? "a.attgenerated <> ''" : "false"
        return try connection.execute(
            """
            SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), \(generated)
            FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
            """, [name.schema, name.name], subject: subject
        ).rows.compactMap { row in
            guard row.count == 3, let name = row[0], let type = row[1] else { return nil }
            return Column(name: name, type: type, isGenerated: row[2] == "t")
        }
    }

    /// Foreign keys from and to the tables. Those of partitions go with their partitioned table's.
    func foreignKeys(_ tables: [Table]) throws -> [ForeignKey] {
        try connection.execute(
            """
            SELECT c.conrelid::regclass, c.conname, pg_catalog.pg_get_constraintdef(c.oid),
            pg_catalog.obj_description(c.oid, 'pg_constraint'), pg_catalog.pg_get_userbyid(r.relowner),
            pg_catalog.pg_has_role(r.relowner, 'USAGE'),
            EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t WHERE t.tgconstraint = c.oid AND t.tgenabled <> 'O')
            FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
            WHERE c.contype = 'f' AND c.conparentid = 0
            AND (c.conrelid = ANY ($1::oid[]) OR c.confrelid = ANY ($1::oid[])) ORDER BY 1, 2
            """, ["{\(tables.map(\.id).joined(separator: ","))}"], subject: subject
        ).rows.compactMap { row in
            guard row.count == 7, let table = row[0], let name = row[1], let definition = row[2] else { return nil }
            return ForeignKey(
                table: table, name: name, definition: definition, comment: row[3], owner: row[4] ?? "",
                isOurs: row[5] == "t", isOff: row[6] == "t")
        }
    }

    /// Constraints that were never checked against all rows (NOT VALID): the rows that are put back need not fulfil them.
    func unchecked(_ name: PostgresTableName) throws -> [ForeignKey] {
        try connection.execute(
            """
            SELECT c.conrelid::regclass, c.conname, pg_catalog.pg_get_constraintdef(c.oid),
            pg_catalog.obj_description(c.oid, 'pg_constraint') FROM pg_catalog.pg_constraint c
            WHERE c.conrelid = $1::regclass AND c.contype IN ('c', 'n') AND NOT c.convalidated ORDER BY 2
            """, [name.sql], subject: subject
        ).rows.compactMap { row in
            guard row.count == 4, let table = row[0], let name = row[1], let definition = row[2] else { return nil }
            return ForeignKey(
                table: table, name: name, definition: definition, comment: row[3], owner: "", isOurs: true, isOff: false
            )
        }
    }

    /// Triggers and rules of a table that are switched on. Those that keep constraints are not among them.
    func reactions(_ name: PostgresTableName) throws -> [Reaction] {
        let rows = try connection.execute(
            """
            SELECT 'TRIGGER', t.tgname, t.tgenabled FROM pg_catalog.pg_trigger t
            WHERE t.tgrelid = $1::regclass AND NOT t.tgisinternal AND t.tgenabled <> 'D'
            UNION ALL SELECT 'RULE', r.rulename, r.ev_enabled FROM pg_catalog.pg_rewrite r
            WHERE r.ev_class = $1::regclass AND r.rulename <> '_RETURN' AND r.ev_enabled <> 'D' ORDER BY 1, 2
            """, [name.sql], subject: subject
        ).rows
        return rows.compactMap { row in
            guard row.count == 3, let kind = row[0], let reaction = row[1] else { return nil }
            let modes = ["R": "REPLICA ", "A": "ALWAYS "]
            let what = "\(kind) \(connection.identifier(reaction))"
            return Reaction(
                disable: "ALTER TABLE \(name.sql) DISABLE \(what)",
                enable: "ALTER TABLE \(name.sql) ENABLE \(modes[row[2] ?? ""] ?? "")\(what)")
        }
    }

    /// Indexes that can be dropped and made again just as they were: statements for both. Not those behind a constraint,
    /// nor any that carries more than its definition (a comment, a place of its own, a mark for replication or CLUSTER),
    /// nor those with functions that look things up by name, which the session's empty search path would not find.
    func indexes(_ name: PostgresTableName) throws -> [(drop: String, make: String)] {
        try connection.execute(
            """
            SELECT i.indexrelid::regclass, pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_index i
            JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
            WHERE i.indrelid = $1::regclass AND i.indisvalid AND NOT i.indisreplident AND NOT i.indisclustered
            AND c.reltablespace = 0
            AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.conindid = c.oid AND k.contype <> 'f')
            AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_description d
                WHERE d.classoid = 'pg_catalog.pg_class'::regclass AND d.objoid = c.oid)
            AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'x'))
            AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid
                JOIN pg_catalog.pg_language l ON l.oid = p.prolang AND l.lanname NOT IN ('c', 'internal')
                WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                AND d.refclassid = 'pg_catalog.pg_proc'::regclass)
            AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = c.oid AND COALESCE(a.attstattarget, -1) <> -1)
            ORDER BY 1
            """, [name.sql], subject: subject
        ).rows.compactMap { row in
            guard row.count == 2, let index = row[0], let definition = row[1] else { return nil }
            return ("DROP INDEX \(index)", definition)
        }
    }

    /// Sequences that columns of the table own, by name of fact.
    func sequences(_ name: PostgresTableName) throws -> Set<String> {
        let rows = try connection.execute(
            """
            SELECT n.nspname, s.relname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid
            JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
            JOIN pg_catalog.pg_class c ON c.oid = d.refobjid JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
            WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
            AND s.relkind = 'S' AND d.deptype IN ('a', 'i') AND cn.nspname = $1 AND c.relname = $2
            """, [name.schema, name.name], subject: subject
        ).rows
        return Set(
            rows.compactMap { row in
                guard row.count == 2, let schema = row[0], let name = row[1] else { return nil }
                return PostgresFacts.sequencePrefix + PostgresNames.shown(schema, name)
            })
    }

    func count(_ name: PostgresTableName, _ cancellation: Cancellation? = nil) throws -> Int64? {
        try connection.execute(
            "SELECT count(*) FROM ONLY \(name.sql)", subject: "cannot count the rows of table \(name.shown)",
            cancellation: cancellation
        ).scalar.flatMap { Int64($0) }
    }

    /// How the columns of a table differ from those of the snapshot; empty when they do not, in whatever order.
    static func differences(snapshot: [Column], live: [Column]) -> [String] {
        var told: [String] = []
        for column in snapshot {
            guard let found = live.first(where: { $0.name == column.name }) else {
                told.append("column \(PostgresNames.shown(column.name)) (\(column.told)) is only in the snapshot")
                continue
            }
            if found != column {
                let name = PostgresNames.shown(column.name)
                told.append("column \(name) is \(column.told) in the snapshot and \(found.told) now")
            }
        }
        for column in live where !snapshot.contains(where: { $0.name == column.name }) {
            told.append("column \(PostgresNames.shown(column.name)) (\(column.told)) is not in the snapshot")
        }
        return told
    }
}
