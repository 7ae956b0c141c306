// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// One table of an archive, with all that belongs to it alone.
struct ArchivedTable {
    /// When a statement runs in the transaction that makes the table, where it was dropped.
    enum Phase: String, CaseIterable {
        /// The table, its sequences and defaults: before its rows.
        case definition
        /// Where a sequence stands, whether the table is made anew or not.
        case sequence
        /// Indexes, constraints, triggers, rules, policies, comments, grants: behind its rows.
        case rest
        /// Foreign keys, when all rows are there.
        case key
    }

    struct Step {
        var phase: Phase
        var sql: String
        /// For `sequence`: which.
        var sequence: PostgresTableName?
    }

    /// What DROP TABLE … CASCADE takes along.
    struct Dependent {
        var told: String
        /// The table whose foreign key it is.
        var table: PostgresTableName?
        /// The view or child table that it is: not lost when it is there.
        var relation: PostgresTableName?
        /// The table that it is a part of, which stays: not lost when that is gone.
        var part: PostgresTableName?
    }

    let name: PostgresTableName
    let owner: String
    let definition: TableDefinition
    /// Columns whose values are in the archive: all but generated ones.
    let columns: [String]
    /// Number under which its rows are filed.
    let rows: Int64
    let steps: [Step]
    /// What in the archive rests on the table and is not made anew with it.
    let dependents: [Dependent]
    /// Tables that its foreign keys point at, without itself.
    let parents: [PostgresTableName]

    init(_ name: PostgresTableName, in contents: ArchiveContents) throws {
        let subject = "cannot restore table \(name.shown) by itself"
        func refusal(_ cause: String) -> LifeboatError {
            LifeboatError(subject, causes: [cause], hint: Self.beside)
        }
        guard let table = contents.entries.first(where: { $0.kind == "TABLE" && Self.name(of: $0) == name }) else {
            throw LifeboatError(subject, causes: [Self.absence(name, in: contents)])
        }
        guard let definition = TableDefinition(table.definition) else {
            throw refusal("it is defined in a way that only a whole restore can follow")
        }
        if definition.isPartitioned { throw refusal("it is partitioned") }
        if definition.inherits { throw refusal("it inherits from another table") }
        if contents.entries.contains(where: { $0.kind == "TABLE ATTACH" && Self.name(of: $0) == name }) {
            throw refusal("it is a partition of another table")
        }
        guard
            let rows = contents.entries.first(where: {
                $0.kind == "TABLE DATA" && $0.dependencies.contains(table.id)
            }), let columns = TableDefinition.columns(ofCopy: rows.copyStatement)
        else { throw refusal("the snapshot holds no rows of it") }
        self.name = name
        owner = table.owner
        self.definition = definition
        self.columns = columns
        self.rows = rows.id
        let own = Self.own(of: table, in: contents)
        guard !own.contains(where: { $0.definition.contains("\u{FFFD}") }) else {
            throw refusal("its definition is in encoding \(contents.encoding ?? "unknown"), not in UTF-8")
        }
        let ids = Set(own.map(\.id))
        let keys = Set(own.filter { $0.kind == "FK CONSTRAINT" }.map(\.id))
        // A foreign key's comment comes behind it.
        steps = own.flatMap { Self.steps($0, isOfKey: $0.dependencies.contains(where: keys.contains)) }
        dependents = Self.dependents(on: ids, in: contents)
        parents = Self.parents(of: own, ids, in: contents).filter { $0 != name }
    }

    static let beside =
        "Restore the database beside the live one, for example with --target COMPONENT.database=NAME, and copy what is"
        + " needed."

    private static func name(of entry: ArchiveContents.Entry) -> PostgresTableName {
        PostgresTableName(entry.schema, entry.tag)
    }

    /// What can be taken for a table.
    static let otherKinds: Set = ["VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE"]

    /// Why there is no such table, as near to what was meant as can be told.
    private static func absence(_ name: PostgresTableName, in contents: ArchiveContents) -> String {
        if let other = contents.entries.first(where: { otherKinds.contains($0.kind) && Self.name(of: $0) == name }) {
            return "in the snapshot it is a \(other.kind.lowercased()), not a table"
        }
        return "the snapshot does not hold it"
    }

    /// The entries that go with a table: what rests on it and is a part of it.
    private static func own(
        of table: ArchiveContents.Entry, in contents: ArchiveContents
    ) -> [ArchiveContents.Entry] {
        var ids: Set<Int64> = [table.id]
        var own = [table]
        // pg_dump writes what others rest on before them.
        for entry in contents.entries where entry.dependencies.contains(where: ids.contains) {
            let isOwn =
                switch entry.kind {
                // A sequence rests on a table only when a column of that owns it.
                case "SEQUENCE", "SEQUENCE OWNED BY", "SEQUENCE SET", "INDEX", "STATISTICS", "COMMENT", "ACL",
                    "SECURITY LABEL":
                    true
                case "DEFAULT", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT", "TRIGGER", "RULE", "POLICY":
                    entry.schema == table.schema && entry.tag.hasPrefix(table.tag + " ")
                case "ROW SECURITY": entry.schema == table.schema && entry.tag == table.tag
                default: false
                }
            guard isOwn, ids.insert(entry.id).inserted else { continue }
            own.append(entry)
        }
        return own
    }

    private static func steps(_ entry: ArchiveContents.Entry, isOfKey: Bool) -> [Step] {
        switch entry.kind {
        case "TABLE", "SEQUENCE":
            // An identity's sequence is made by ALTER TABLE, and belongs to whom the table belongs to.
            let isOwned = !entry.owner.isEmpty && entry.definition.hasPrefix("CREATE ")
            let owner = "ALTER TABLE \(name(of: entry).sql) OWNER TO \(PostgresTableName.quoted(entry.owner))"
            return [Step(phase: .definition, sql: placed(entry))]
                + (isOwned ? [Step(phase: .definition, sql: owner)] : [])
        case "SEQUENCE OWNED BY", "DEFAULT": return [Step(phase: .definition, sql: entry.definition)]
        case "SEQUENCE SET": return [Step(phase: .sequence, sql: entry.definition, sequence: name(of: entry))]
        case "FK CONSTRAINT": return [Step(phase: .key, sql: entry.definition)]
        default: return [Step(phase: isOfKey ? .key : .rest, sql: placed(entry))]
        }
    }

    /// Made where it lay. A tablespace that the server does not have is told by the attempt.
    private static func placed(_ entry: ArchiveContents.Entry) -> String {
        guard ["TABLE", "INDEX", "CONSTRAINT"].contains(entry.kind) else { return entry.definition }
        var sql = "SET LOCAL default_tablespace = \(PostgresTableName.quoted(entry.tablespace));\n"
        if entry.tablespace.isEmpty { sql = "SET LOCAL default_tablespace = '';\n" }
        if !entry.accessMethod.isEmpty {
            sql += "SET LOCAL default_table_access_method = \(PostgresTableName.quoted(entry.accessMethod));\n"
        }
        return sql + entry.definition
    }

    /// What rests on the entries, over any number of steps: pg_dump writes what others rest on before them.
    private static func dependents(on ids: Set<Int64>, in contents: ArchiveContents) -> [Dependent] {
        var lost: Set<Int64> = []
        var dependents: [Dependent] = []
        let sequences = Set(contents.entries.filter { ids.contains($0.id) && $0.kind == "SEQUENCE" }.map(\.id))
        for entry in contents.entries where !ids.contains(entry.id) {
            let reasons = Set(entry.dependencies.filter { ids.contains($0) || lost.contains($0) })
            guard !reasons.isEmpty else { continue }
            let name = name(of: entry)
            let isPartOfLost = entry.dependencies.contains { lost.contains($0) && contents.entry($0)?.kind == "TABLE" }
            switch entry.kind {
            case "VIEW", "MATERIALIZED VIEW":
                lost.insert(entry.id)
                dependents.append(Dependent(told: "\(entry.kind.lowercased()) \(name.shown)", relation: name))
            case "AGGREGATE", "DOMAIN", "FUNCTION", "PROCEDURE", "TYPE":
                lost.insert(entry.id)
                dependents.append(Dependent(told: "\(entry.kind.lowercased()) \(entry.schema).\(entry.tag)"))
            case "TABLE" where TableDefinition(entry.definition)?.inherits == true:
                lost.insert(entry.id)
                dependents.append(Dependent(told: "child table \(name.shown) and its rows", relation: name))
            case "TABLE":
                if !reasons.isDisjoint(with: sequences) {
                    dependents.append(
                        Dependent(told: "defaults of table \(name.shown) on its sequence", part: name))
                }
                if !reasons.isSubset(of: sequences) {
                    dependents.append(
                        Dependent(told: "columns of table \(name.shown) that have its row type", part: name))
                }
            case "DEFAULT", "FK CONSTRAINT", "POLICY", "RULE":
                guard !isPartOfLost else { continue }
                let parts = entry.tag.split(separator: " ", maxSplits: 1).map(String.init)
                guard parts.count == 2 else { continue }
                let table = PostgresTableName(entry.schema, parts[0])
                let words = ["DEFAULT": "default of column", "FK CONSTRAINT": "foreign key"]
                let what = words[entry.kind] ?? entry.kind.lowercased()
                dependents.append(
                    Dependent(
                        told: "\(what) \(parts[1]) of table \(table.shown)",
                        table: entry.kind == "FK CONSTRAINT" ? table : nil, part: table))
            case "PUBLICATION TABLE":
                guard !isPartOfLost, let publication = entry.tag.split(separator: " ").first else { continue }
                dependents.append(Dependent(told: "the table in publication \(publication)"))
            default: break
            }
        }
        return dependents
    }

    /// The tables whose keys the foreign keys among `own` rest on.
    private static func parents(
        of own: [ArchiveContents.Entry], _ ids: Set<Int64>, in contents: ArchiveContents
    ) -> [PostgresTableName] {
        let foreign = own.filter { $0.kind == "FK CONSTRAINT" }.flatMap(\.dependencies).filter { !ids.contains($0) }
        let tables = foreign.compactMap { contents.entry($0) }.flatMap { entry in
            entry.kind == "TABLE" ? [entry] : entry.dependencies.compactMap { contents.entry($0) }
        }
        return Set(tables.filter { $0.kind == "TABLE" }.map { name(of: $0) }).sorted { $0.shown < $1.shown }
    }
}
