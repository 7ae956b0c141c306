// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// The extensions of a snapshot against those a server offers, before anything is touched.
package enum PostgresExtensions {
    struct Offered {
        /// The default.
        var version: String
        /// All that can be created → whether only a superuser can.
        var versions: [String: Bool]

        /// The one that a restore creates of an extension that was captured at `version`.
        func chosen(_ captured: String) -> String { versions[captured] == nil ? version : captured }
    }

    /// What the server has, by name.
    static func offered(_ connection: PostgresConnection) throws -> [String: Offered] {
        let trusted = connection.serverMajor >= 13 ? "v.superuser AND NOT v.trusted" : "v.superuser"
        let available = try connection.execute(
            """
            SELECT e.name, e.default_version, v.version, \(trusted) FROM pg_catalog.pg_available_extensions e
            LEFT JOIN pg_catalog.pg_available_extension_versions v ON v.name = e.name
            """, subject: "cannot list the extensions of PostgreSQL at \(connection.address)")
        var offered: [String: Offered] = [:]
        for row in available.rows where row.count == 4 {
            guard let name = row[0], let version = row[1] else { continue }
            offered[name, default: Offered(version: version, versions: [:])].versions[row[2] ?? version] = row[3] == "t"
        }
        return offered
    }

    /// Returns warnings; throws what makes a restore impossible.
    static func check(
        _ facts: StoreFacts, _ connection: PostgresConnection, isSuperuser: Bool, user: String, database: String,
        _ subject: String
    ) throws -> [LifeboatError] {
        let offered = try offered(connection)
        let wanted = facts.texts.filter { $0.key.hasPrefix(PostgresFacts.extensionPrefix) }
            .map { (name: String($0.key.dropFirst(PostgresFacts.extensionPrefix.count)), version: $0.value) }
            .sorted { $0.name < $1.name }
        let missing = wanted.filter { offered[$0.name] == nil }
        guard missing.isEmpty else {
            let packages = missing.compactMap { package(of: $0.name, connection.serverMajor) }
            let hint =
                packages.count == missing.count
                ? "Install on the server's host, or in its image: " + Set(packages).sorted().joined(separator: ", ")
                    + "."
                : "Install the packages of these extensions on the server's host, or in its image."
            throw LifeboatError(
                "cannot restore \(subject)",
                causes: missing.map { "the server has no extension '\($0.name)' (version \($0.version) was captured)" },
                hint: hint)
        }
        var warnings: [LifeboatError] = []
        for (name, version) in wanted {
            guard let here = offered[name] else { continue }
            let chosen = here.chosen(version)
            // Every new database has this one.
            if here.versions[chosen] == true, !isSuperuser, name != "plpgsql" {
                throw LifeboatError(
                    "cannot restore \(subject)",
                    causes: ["only a superuser can create extension '\(name)', and '\(user)' is none"],
                    hint: "Restore as a superuser.")
            }
            if chosen == version { continue }
            var warning = LifeboatError(
                "extension '\(name)' will be version \(chosen), it was captured at version \(version)")
            if isOlder(chosen, than: version) {
                warning.causes = [
                    "objects that need the newer version cannot be created; without a table or its rows the"
                        + " restore ends before the live database is touched"
                ]
                warning.hint = "Install version \(version) or newer of this extension on the server."
            }
            warnings.append(warning)
        }
        try checkHome(wanted.map(\.name), connection, database, subject)
        return warnings
    }

    /// pg_cron can be created in one database of a server only, which a setting names.
    private static func checkHome(
        _ names: [String], _ connection: PostgresConnection, _ database: String, _ subject: String
    ) throws {
        guard names.contains("pg_cron") else { return }
        let home = try connection.execute(
            "SELECT pg_catalog.current_setting('cron.database_name', true)",
            subject: "cannot read the settings of PostgreSQL at \(connection.address)"
        ).scalar
        guard let home, !home.isEmpty, home != database else { return }
        throw LifeboatError(
            "cannot restore \(subject)",
            causes: [
                "extension 'pg_cron' can be created in database '\(home)' of this server only (cron.database_name)"
            ],
            hint: "Set cron.database_name = '\(database)' in the server's configuration and restart it, or restore to"
                + " database '\(home)'.")
    }

    /// Debian's package (of apt.postgresql.org, where Debian itself has none); nil when unknown.
    package static func package(of name: String, _ major: Int) -> String? {
        switch name {
        case "vector": "postgresql-\(major)-pgvector"
        case "postgis", "postgis_raster", "postgis_topology": "postgresql-\(major)-postgis-3"
        case "timescaledb": "timescaledb-2-postgresql-\(major)"
        case "pg_cron": "postgresql-\(major)-cron"
        case "age": "postgresql-\(major)-age"
        case _ where contrib.contains(name): "postgresql-contrib"
        default: nil
        }
    }

    /// Appendix F of the PostgreSQL manual: what applications create.
    private static let contrib: Set<String> = [
        "btree_gin", "btree_gist", "citext", "cube", "dblink", "earthdistance", "fuzzystrmatch", "hstore", "intarray",
        "isn", "lo", "ltree", "pg_buffercache", "pg_prewarm", "pg_stat_statements", "pg_trgm", "pgcrypto",
        "pgrowlocks", "pgstattuple", "postgres_fdw", "seg", "sslinfo", "tablefunc", "unaccent", "uuid-ossp", "xml2",
    ]

    /// Compares dotted numbers; false when either has something else in it.
    package static func isOlder(_ version: String, than other: String) -> Bool {
        let left = version.split(separator: ".").map { Int($0) }
        let right = other.split(separator: ".").map { Int($0) }
        for index in 0..<max(left.count, right.count) {
            guard let one = index < left.count ? left[index] : 0, let two = index < right.count ? right[index] : 0
            else { return false }
            if one != two { return one < two }
        }
        return false
    }
}
