// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// How definitions of an archive are changed for the server they are made on: what it lacks and data does not need is
/// left out, and what the archive does not say is added.
struct PostgresAdaptation {
    /// Of entries that are changed, by number.
    let definitions: [Int64: String]
    /// What is different from the captured database, for people.
    let remarks: [LifeboatError]

    private static let lz4 = " SET COMPRESSION lz4"

    init(_ contents: ArchiveContents, _ facts: StoreFacts, _ connection: PostgresConnection) throws {
        var definitions: [Int64: String] = [:]
        let offered = try PostgresExtensions.offered(connection)
        for entry in contents.entries where entry.kind == "EXTENSION" {
            // pg_dump writes no version: the server would take its default.
            guard let captured = facts.texts[PostgresFacts.extensionPrefix + entry.tag],
                let here = offered[entry.tag], here.version != captured, here.versions[captured] != nil
            else { continue }
            let statements = SQLStatements.split(entry.definition)
            guard statements.count == 1 else { continue }
            definitions[entry.id] = "\(statements[0]) VERSION \(PostgresTableName.quoted(captured));\n"
        }
        var remarks: [LifeboatError] = []
        if try Self.lacksLZ4(connection) {
            var tables: [String] = []
            for entry in contents.entries where entry.definition.contains(Self.lz4) {
                // Its bytes cannot be written as they were.
                guard !entry.definition.contains("\u{FFFD}") else { continue }
                let statements = SQLStatements.split(entry.definition)
                let kept = statements.filter { !($0.hasPrefix("ALTER ") && $0.hasSuffix(Self.lz4)) }
                guard kept.count < statements.count else { continue }
                definitions[entry.id] = kept.map { "\($0);\n" }.joined()
                tables.append(PostgresNames.shown(entry.schema, entry.tag))
            }
            if !tables.isEmpty { remarks.append(Self.remark(tables)) }
        }
        self.definitions = definitions
        self.remarks = remarks
    }

    private static func remark(_ tables: [String]) -> LifeboatError {
        let some = tables.prefix(5).joined(separator: ", ")
        let more = tables.count > 5 ? " and \(tables.count - 5) more" : ""
        return LifeboatError(
            "columns of \(some)\(more) are compressed with the server's default method, not with lz4",
            causes: ["the server was built without lz4"])
    }

    /// Builds of the server choose whether they have it.
    private static func lacksLZ4(_ connection: PostgresConnection) throws -> Bool {
        guard connection.serverMajor >= 14 else { return false }
        return try connection.execute(
            "SELECT 'lz4' = ANY (enumvals) FROM pg_catalog.pg_settings WHERE name = 'default_toast_compression'",
            subject: "cannot read the settings of PostgreSQL at \(connection.address)"
        ).scalar != "t"
    }
}
