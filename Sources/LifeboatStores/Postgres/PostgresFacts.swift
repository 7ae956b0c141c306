// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// What is counted and told of a database.
package enum PostgresFacts {
    /// Keys of `StoreFacts.texts`.
    static let serverVersion = "server-version"
    static let clientVersion = "client-version"
    static let encoding = "encoding"
    static let collation = "collation"
    static let characterType = "ctype"
    static let localeProvider = "locale-provider"
    static let collationVersion = "collation-version"
    static let size = "size"
    static let extensionPrefix = "extension:"
    static let sequencePrefix = "sequence:"
    /// `membership:web in staff` → `member`, or `admin` with ADMIN OPTION.
    static let membershipPrefix = "membership:"
    /// `matview:public.totals` → `populated`.
    static let viewPrefix = "matview:"
    /// `subscription:orders` → `enabled`: a restore brings it back disabled.
    static let subscriptionPrefix = "subscription:"
    /// `server-setting:shared_preload_libraries` and what else extensions of the database need of a server.
    private static let serverSettingPrefix = "server-setting:"
    /// Key of `StoreFacts.counts`.
    static let largeObjects = "large-objects"
    /// FirstNormalObjectId of the server's access/transam.h: what initdb makes is below.
    static let firstOwnID = 16_384
    /// Text of a sequence that was never used.
    static let unusedSequence = "unused"

    /// pg_dump's own rule: not the system's schemas, and nothing that an extension brings along. Nor what a restore of
    /// tables keeps beside them, which dumps leave out.
    private static func userRelations(_ kinds: String) -> String {
        """
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN (\(kinds)) AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        AND n.nspname !~ '\(TablePlaces.expression)'
        AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
        """
    }

    /// Rows of every ordinary table and partition, without its children. Foreign tables, views and materialised views
    /// (filled anew by a restore) are not counted.
    static func rows(_ connection: PostgresConnection, _ cancellation: Cancellation?) throws -> [String: Int64] {
        let subject = "cannot count the rows of PostgreSQL at \(connection.address)"
        // As pg_dump does it: an error rather than a part of the rows.
        try connection.execute("SET row_security = off", subject: subject)
        let tables = try connection.execute(
            "SELECT n.nspname, c.relname \(userRelations("'r'")) ORDER BY 1, 2", subject: subject,
            cancellation: cancellation)
        var counts: [String: Int64] = [:]
        for table in tables.rows {
            guard table.count == 2, let schema = table[0], let name = table[1] else { continue }
            let shown = PostgresNames.shown(schema, name)
            let result = try connection.execute(
                "SELECT count(*) FROM ONLY \(connection.identifier(schema)).\(connection.identifier(name))",
                subject: "cannot count the rows of table \(shown)", cancellation: cancellation)
            counts["rows:\(shown)"] = result.scalar.flatMap { Int64($0) }
        }
        counts[largeObjects] = try connection.execute(
            "SELECT count(*) FROM pg_catalog.pg_largeobject_metadata", subject: subject, cancellation: cancellation
        ).scalar.flatMap { Int64($0) }
        return counts
    }

    /// Where a sequence stands.
    package struct Sequence {
        /// A number, or `unused`.
        var lastValue: String
        var increment: Int64

        package init(lastValue: String, increment: Int64) {
            self.lastValue = lastValue
            self.increment = increment
        }

        /// True when it stands where `expected` says or further on in its direction.
        package func isNotBehind(_ expected: String) -> Bool {
            if lastValue == expected || expected == PostgresFacts.unusedSequence { return true }
            guard let found = Int64(lastValue), let expected = Int64(expected) else { return false }
            return increment < 0 ? found <= expected : found >= expected
        }
    }

    /// The sequences by name of fact. They know no snapshot: taken before a dump begins, their values are what the
    /// dump at least holds.
    static func sequences(_ connection: PostgresConnection) throws -> [String: Sequence] {
        let result = try connection.execute(
            """
            SELECT s.schemaname, s.sequencename, s.last_value, s.increment_by FROM pg_catalog.pg_sequences s
            JOIN (SELECT n.nspname, c.relname \(userRelations("'S'"))) own
            ON own.nspname = s.schemaname AND own.relname = s.sequencename
            """, subject: "cannot read the sequences of PostgreSQL at \(connection.address)")
        var sequences: [String: Sequence] = [:]
        for row in result.rows {
            guard row.count == 4, let schema = row[0], let name = row[1] else { continue }
            sequences[sequencePrefix + PostgresNames.shown(schema, name)] = Sequence(
                lastValue: row[2] ?? unusedSequence, increment: row[3].flatMap { Int64($0) } ?? 1)
        }
        return sequences
    }

    /// The memberships of roles, by name of fact; `roles`: those of these roles, and nil all.
    static func memberships(_ connection: PostgresConnection, of roles: Set<String>?) throws -> [String: String] {
        let result = try connection.execute(
            """
            SELECT m.rolname, g.rolname, CASE WHEN bool_or(a.admin_option) THEN 'admin' ELSE 'member' END
            FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles m ON m.oid = a.member
            JOIN pg_catalog.pg_roles g ON g.oid = a.roleid GROUP BY 1, 2
            """, subject: "cannot read the memberships of roles of PostgreSQL at \(connection.address)")
        var memberships: [String: String] = [:]
        for row in result.rows {
            guard row.count == 3, let member = row[0], let group = row[1], roles?.contains(member) ?? true else {
                continue
            }
            memberships[
                "\(membershipPrefix)\(PostgresNames.shown(member)) in \(PostgresNames.shown(group))"] = row[2]
        }
        return memberships
    }

    static func texts(_ connection: PostgresConnection) throws -> [String: String] {
        let subject = "cannot read the catalog of PostgreSQL at \(connection.address)"
        var texts = [serverVersion: connection.serverVersionText]
        let extensions = try connection.execute(
            "SELECT extname, extversion FROM pg_catalog.pg_extension", subject: subject)
        for row in extensions.rows {
            if row.count == 2, let name = row[0], let version = row[1] { texts[extensionPrefix + name] = version }
        }
        let views = try connection.execute(
            "SELECT n.nspname, c.relname, c.relispopulated \(userRelations("'m'"))", subject: subject)
        for row in views.rows {
            guard row.count == 3, let schema = row[0], let name = row[1] else { continue }
            texts[viewPrefix + PostgresNames.shown(schema, name)] = row[2] == "t" ? "populated" : "unpopulated"
        }
        let subscriptions = try connection.execute(
            """
            SELECT subname, subenabled FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d
            ON d.oid = s.subdbid WHERE d.datname = pg_catalog.current_database()
            """, subject: subject)
        for row in subscriptions.rows {
            if let name = row[0] { texts[subscriptionPrefix + name] = row[1] == "t" ? "enabled" : "disabled" }
        }
        // Not shown to everybody.
        let settings = try connection.execute(
            """
            SELECT name, setting FROM pg_catalog.pg_settings WHERE name = 'shared_preload_libraries' AND setting <> ''
            OR name LIKE '%.database\\_name' AND setting = pg_catalog.current_database()
            """, subject: subject)
        for row in settings.rows where row.count == 2 {
            if let name = row[0] { texts[serverSettingPrefix + name] = row[1] }
        }
        let provider = connection.serverMajor >= 15 ? "datlocprovider" : "'c'"
        let database = try connection.execute(
            """
            SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype, \(provider),
            pg_catalog.pg_database_size(oid) FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
            """, subject: subject)
        for (key, value) in zip([encoding, collation, characterType, localeProvider, size], database.rows.first ?? []) {
            texts[key] = value
        }
        texts[collationVersion] = try PostgresCollation.actualVersion(connection)
        return texts
    }
}

extension PostgresFacts {
    /// The settings of the captured server that its extensions need, of a component of one database or several: libraries
    /// in `shared_preload_libraries`, databases that extensions are bound to.
    package static func serverSettings(_ texts: [String: String]) -> [String: String] {
        var settings: [String: String] = [:]
        for (key, value) in texts {
            guard let range = key.firstRange(of: serverSettingPrefix),
                range.lowerBound == key.startIndex || key[..<range.lowerBound].hasSuffix("/")
            else { continue }
            settings[String(key[range.upperBound...])] = value
        }
        return settings
    }
}

/// Names of database objects.
package enum PostgresNames {
    /// NAMEDATALEN - 1 of every stock server.
    static let maximumBytes = 63

    /// `schema.table`, each quoted only when a bare word would not mean it.
    package static func shown(_ schema: String, _ name: String) -> String { "\(shown(schema)).\(shown(name))" }

    package static func shown(_ name: String) -> String {
        let isPlain =
            !name.isEmpty
            && name.utf8.enumerated().allSatisfy { index, byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || byte == UInt8(ascii: "_")
                    || (index > 0 && ((UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == 0x24))
            }
        return isPlain ? name : "\"\(name.replacing("\"", with: "\"\""))\""
    }

    /// `name` with `suffix`, or its beginning and a digest of it where that is too long for an identifier.
    package static func fitted(_ name: String, _ suffix: String) -> String {
        DerivedName.fitted(name, of: name, suffix: suffix, limit: maximumBytes)
    }
}
