// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// Planner statistics of a restored database: dumps carry none, and without them the first queries of the application
/// would crawl.
///
/// A bare ANALYZE reads foreign tables too: it connects to live servers, and fails where one is away. Here each table is
/// named, and those of other servers are not, nor what has one of them below it.
struct PostgresStatistics {
    let connection: PostgresConnection
    let database: String
    let progress: any ProgressSink
    let cancellation: Cancellation

    /// Tables in one statement; each is analysed in a transaction of its own.
    private static let batch = 200

    private var subject: String { "cannot analyse database '\(database)'" }

    /// What cannot be analysed (an index on an expression that fails) is a warning: statistics are no data.
    func gather() throws {
        let rows = try connection.execute(
            """
            WITH RECURSIVE child AS (SELECT inhrelid AS id, inhparent AS top FROM pg_catalog.pg_inherits
                UNION SELECT i.inhrelid, c.top FROM pg_catalog.pg_inherits i JOIN child c ON c.id = i.inhparent)
            SELECT n.nspname, c.relname, c.relkind, c.oid IN (SELECT top FROM child
                JOIN pg_catalog.pg_class f ON f.oid = child.id WHERE f.relkind = 'f')
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE (c.relkind IN ('r', 'p') OR c.relkind = 'm' AND c.relispopulated) AND NOT c.relisshared
            AND n.nspname !~ '^pg_(toast|temp)' ORDER BY c.oid
            """, subject: subject, cancellation: cancellation
        ).rows
        var tables: [String] = []
        for row in rows {
            guard row.count == 4, let schema = row[0], let name = row[1] else { continue }
            let table = "\(connection.identifier(schema)).\(connection.identifier(name))"
            if row[3] != "t" {
                tables.append(table)
            } else if row[2] == "r", connection.serverMajor >= 18 {
                tables.append("ONLY \(table)")
            } else {
                let shown = PostgresNames.shown(schema, name)
                progress.report(.note("table \(shown) is not analysed: a part of it is on another server"))
            }
        }
        var rest = tables[...]
        while !rest.isEmpty {
            let some = Array(rest.prefix(Self.batch))
            rest = rest.dropFirst(Self.batch)
            if try analyze(some) == nil { continue }
            for table in some {
                guard let failure = try analyze([table]) else { continue }
                progress.report(.warning(failure))
            }
        }
    }

    /// What the server says when it fails; throws when the session is lost or cancelled.
    private func analyze(_ tables: [String]) throws -> LifeboatError? {
        do {
            try connection.execute(
                "ANALYZE \(tables.joined(separator: ", "))",
                subject: "cannot analyse \(tables.count == 1 ? tables[0] : "tables") of database '\(database)'",
                cancellation: cancellation)
            return nil
        } catch let error as PostgresError {
            guard case .failed = error else { throw error }
            return error.lifeboatError
        }
    }
}
