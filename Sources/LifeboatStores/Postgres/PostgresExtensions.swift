// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// The extensions of a snapshot against those a server offers, before anything is touched.
package enum PostgresExtensions {
    private struct Offered {
        var version: String
        /// Only a superuser can create it.
        var needsSuperuser: Bool
    }

    /// Returns warnings; throws what makes a restore impossible.
    static func check(
        _ facts: StoreFacts, _ connection: PostgresConnection, isSuperuser: Bool, user: String, _ subject: String
    ) throws -> [LifeboatError] {
        let trusted = connection.serverMajor >= 13 ? "v.superuser AND NOT v.trusted" : "v.superuser"
        let available = try connection.execute(
            """
            SELECT e.name, e.default_version, coalesce(bool_or(\(trusted)), false)
            FROM pg_catalog.pg_available_extensions e
            LEFT JOIN pg_catalog.pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version
            GROUP BY 1, 2
            """, subject: "cannot list the extensions of PostgreSQL at \(connection.address)")
        var offered: [String: Offered] = [:]
        for row in available.rows where row.count == 3 {
            if let name = row[0], let version = row[1] {
                offered[name] = Offered(version: version, needsSuperuser: row[2] == "t")
            }
        }
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
            // Every new database has this one.
            if here.needsSuperuser, !isSuperuser, name != "plpgsql" {
                throw LifeboatError(
                    "cannot restore \(subject)",
                    causes: ["only a superuser can create extension '\(name)', and '\(user)' is none"],
                    hint: "Restore as a superuser.")
            }
            if here.version == version { continue }
            if isOlder(here.version, than: version) {
                throw LifeboatError(
                    "cannot restore \(subject)",
                    causes: [
                        "extension '\(name)' was captured at version \(version), the server offers \(here.version)"
                    ],
                    hint: "Install version \(version) or newer of this extension on the server.")
            }
            warnings.append(
                LifeboatError(
                    "extension '\(name)' will be version \(here.version), it was captured at version \(version)"))
        }
        return warnings
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
