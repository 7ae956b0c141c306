// SPDX-License-Identifier: Apache-2.0

import CSQLite
import LifeboatCore

/// What a database is and holds, asked through one connection.
enum SQLiteFacts {
    static let integrity = "integrity"
    /// Texts that say what the content is: they are the same after a restore, or something was lost.
    static let compared = ["user_version", "application_id", "encoding"]

    /// Rows by table (`rows:documents`). Views, virtual tables and SQLite's own tables have none of their own, and what
    /// needs a collation or module of its own program is not counted.
    static func rows(_ connection: SQLiteConnection, _ cancellation: Cancellation?) throws -> [String: Int64] {
        var counts: [String: Int64] = [:]
        for row in try connection.query("PRAGMA main.table_list") where row.count > 2 {
            guard row[2] == "table", let name = row[1], !name.hasPrefix("sqlite_") else { continue }
            counts["rows:\(name)"] = try count(quoted(name), connection, cancellation)
        }
        return counts
    }

    /// Nil when the library cannot tell. By an index where there is one, which may need what only its program has.
    private static func count(
        _ table: String, _ connection: SQLiteConnection, _ cancellation: Cancellation?
    ) throws -> Int64? {
        for way in ["", " NOT INDEXED"] {
            do {
                return try connection.number("SELECT count(*) FROM main.\(table)\(way)", cancellation: cancellation)
            } catch let error as SQLiteError where error.primaryCode == SQLITE_ERROR {
                continue
            }
        }
        return nil
    }

    static func texts(_ connection: SQLiteConnection) throws -> [String: String] {
        var texts: [String: String] = [:]
        for name in compared + ["page_size"] { texts[name] = try connection.text("PRAGMA main.\(name)") }
        return texts
    }

    private static func quoted(_ name: String) -> String {
        "\"\(name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\""))\""
    }

    enum Integrity: Equatable {
        case ok
        /// What SQLite found, first lines.
        case damaged([String])
        /// The schema needs what only its own program has: a collation, a function, a module.
        case unverified(String)

        var text: String {
            switch self {
            case .ok: "ok"
            case .damaged(let findings): "damaged: \(findings.joined(separator: "; "))"
            case .unverified(let reason): "not fully checked: \(reason)"
            }
        }
    }

    private static let findingsLimit = 10

    /// `PRAGMA integrity_check`; where the schema needs what is not there, `quick_check`. A schema that this library does
    /// not understand leaves pages nobody seems to use: then nothing it finds is damage for sure.
    static func integrity(_ connection: SQLiteConnection, _ cancellation: Cancellation?) throws -> Integrity {
        let unknown: String?
        do {
            unknown = try connection.readSchema()
        } catch let error as SQLiteError where [SQLITE_CORRUPT, SQLITE_NOTADB].contains(error.primaryCode) {
            return .damaged([error.message])
        }
        if let unknown { return .unverified("\(unknown) (SQLite \(SQLiteConnection.libraryVersion))") }
        do {
            return try check("integrity_check", connection, cancellation)
        } catch let error as SQLiteError where error.primaryCode == SQLITE_ERROR {
            do {
                let quick = try check("quick_check", connection, cancellation)
                return quick == .ok ? .unverified(error.message) : quick
            } catch let error as SQLiteError where error.primaryCode == SQLITE_ERROR {
                return .unverified(error.message)
            }
        }
    }

    private static func check(
        _ pragma: String, _ connection: SQLiteConnection, _ cancellation: Cancellation?
    ) throws -> Integrity {
        do {
            try connection.query("PRAGMA cell_size_check=ON")
            let findings = try connection.query(
                "PRAGMA main.\(pragma)(\(findingsLimit))", "check database", cancellation: cancellation
            ).compactMap { $0.first ?? nil }
            return findings == ["ok"] ? .ok : .damaged(findings.flatMap { $0.split(separator: "\n").map(String.init) })
        } catch let error as SQLiteError where [SQLITE_CORRUPT, SQLITE_NOTADB].contains(error.primaryCode) {
            return .damaged([error.message])
        }
    }
}
