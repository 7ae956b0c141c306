// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// Sort orders change with the C library or ICU of the server's host. A dump carries no order, so a restore builds every
/// index anew and is safe; the live database, whose indexes were built before, is not.
enum PostgresCollation {
    /// Warnings about the session's database: indexes that were built under another version of a sort order.
    static func warnings(_ connection: PostgresConnection, _ subject: String) throws -> [LifeboatError] {
        var warnings: [LifeboatError] = []
        let hint =
            "Rebuild the indexes on text (REINDEX DATABASE), then ALTER DATABASE … REFRESH COLLATION VERSION, or ALTER"
            + " COLLATION … REFRESH VERSION."
        if connection.serverMajor >= 15 {
            let row = try connection.execute(
                """
                SELECT datcollversion, pg_catalog.pg_database_collation_actual_version(oid)
                FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
                AND datcollversion <> pg_catalog.pg_database_collation_actual_version(oid)
                """, subject: "cannot look at the collation of \(subject)"
            ).rows.first
            if let row, row.count == 2, let recorded = row[0], let actual = row[1] {
                warnings.append(
                    LifeboatError(
                        "the indexes of \(subject) may be in a wrong order",
                        causes: ["they were built with collation version \(recorded), the host has \(actual)"],
                        hint: hint))
            }
        }
        let used = try connection.execute(
            """
            SELECT DISTINCT c.collname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_collation c ON c.oid = d.refobjid
            WHERE d.refclassid = 'pg_catalog.pg_collation'::regclass
            AND c.collversion <> pg_catalog.pg_collation_actual_version(c.oid) ORDER BY 1
            """, subject: "cannot look at the collations of \(subject)")
        let names = used.rows.compactMap { $0[0] }
        if !names.isEmpty {
            warnings.append(
                LifeboatError(
                    "indexes of \(subject) may be in a wrong order",
                    causes: ["the host has another version of: \(names.map { "'\($0)'" }.joined(separator: ", "))"],
                    hint: hint))
        }
        return warnings
    }

    /// Version of the default sort order of the session's database as the host has it; nil for those without one (C)
    /// and before PostgreSQL 15.
    static func actualVersion(_ connection: PostgresConnection) throws -> String? {
        guard connection.serverMajor >= 15 else { return nil }
        return try connection.execute(
            """
            SELECT pg_catalog.pg_database_collation_actual_version(oid)
            FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
            """, subject: "cannot look at the collation of PostgreSQL at \(connection.address)"
        ).scalar
    }

    /// Nil when text sorts as it did, or nobody can tell.
    static func difference(captured: String?, here: String?, _ subject: String) -> LifeboatError? {
        guard let captured, let here, captured != here else { return nil }
        return LifeboatError(
            "text in \(subject) may sort in another order than when it was captured",
            causes: ["collation version \(captured) was captured, the server's host has \(here)"],
            hint: "The restore builds every index anew, so they are right; look at what relies on an order, such as"
                + " partitions by ranges of text.")
    }

    /// What a database needs of its host: tried by making the sort order in a transaction that is rolled back. Returns
    /// its version there.
    static func check(
        _ settings: PostgresSettings, _ connection: PostgresConnection, _ subject: String
    ) throws -> String? {
        let definition: String
        let name: String
        switch settings.provider {
        case "c":
            name = settings.collate
            definition =
                "LC_COLLATE = \(try connection.literal(settings.collate)), "
                + "LC_CTYPE = \(try connection.literal(settings.ctype))"
        case "i":
            guard let locale = settings.locale else { return nil }
            name = locale
            definition = "PROVIDER = icu, LOCALE = \(try connection.literal(locale))"
        default: return nil
        }
        try connection.execute("BEGIN")
        defer { _ = try? connection.execute("ROLLBACK") }
        do {
            try connection.execute("CREATE COLLATION pg_temp.lifeboat_check (\(definition))")
            return try connection.execute(
                """
                SELECT pg_catalog.pg_collation_actual_version(oid) FROM pg_catalog.pg_collation
                WHERE collname = 'lifeboat_check' AND collnamespace = pg_catalog.pg_my_temp_schema()
                """
            ).scalar
        } catch let error as PostgresError where error.sqlState == SQLState.invalidParameterValue {
            throw LifeboatError(
                "cannot restore \(subject)",
                causes: ["the server's host has no locale '\(name)'"]
                    + (error.lifeboatError.causes.first.map { [$0] } ?? []),
                hint: settings.provider == "c"
                    ? "Generate that locale on the server's host (locale-gen) and restart the server."
                    : "Use a server whose ICU knows that locale.")
        } catch let error as PostgresError where error.sqlState == SQLState.featureNotSupported {
            throw LifeboatError(
                "cannot restore \(subject)",
                causes: ["it sorts by ICU locale '\(name)', and the server was built without ICU"],
                hint: "Use a server that was built with ICU.")
        } catch is PostgresError {
            // Not allowed to make one, or not in this database's encoding: CREATE DATABASE will tell.
            return nil
        }
    }
}
