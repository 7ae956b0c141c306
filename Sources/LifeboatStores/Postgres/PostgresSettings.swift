// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LifeboatCore

/// What belongs to a database and is in no dump of it: captured as the part `settings`, re-applied by a restore.
package struct PostgresSettings: Codable, Equatable {
    struct Grant: Codable, Equatable {
        /// Nil: PUBLIC.
        var grantee: String?
        var privilege: String
        var grantable: Bool
        /// Nil: the owner of the database, or not recorded.
        var grantor: String?
    }

    struct Label: Codable, Equatable {
        var provider: String
        var label: String
    }

    package struct Setting: Codable, Equatable {
        /// Nil: for all roles.
        var role: String?
        var name: String
        var value: String
    }

    var version = 1
    var database: String
    var owner: String
    var encoding: String
    var collate: String
    var ctype: String
    /// `c` libc, `i` ICU, `b` builtin: pg_database.datlocprovider.
    var provider: String
    var locale: String?
    var rules: String?
    var tablespace: String
    var connectionLimit: Int
    var comment: String?
    /// Nil: not recorded.
    var isTemplate: Bool?
    /// Security labels of the database itself; nil: none, or not recorded.
    var labels: [Label]?
    /// Nil: the default privileges.
    var grants: [Grant]?
    var settings: [Setting]
    /// The roles that own or are granted something here, have settings or default privileges here, and all that
    /// memberships join to them. Earlier versions list owners and grantees only.
    var roles: [String]
    /// Whether the passwords of roles were captured; nil: not recorded.
    var hasPasswords: Bool?

    func encoded() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
        return Array(try encoder.encode(self)) + [0x0A]
    }

    static func decoded(_ bytes: [UInt8]) throws -> PostgresSettings {
        do {
            let settings = try JSONDecoder().decode(PostgresSettings.self, from: Data(bytes))
            guard settings.version == 1 else {
                throw LifeboatError(
                    "the database settings in the snapshot have version \(settings.version)",
                    hint: "Use a newer lifeboat.")
            }
            return settings
        } catch let error as LifeboatError {
            throw error
        } catch {
            throw LifeboatError("cannot read the database settings in the snapshot", causes: ["\(error)"])
        }
    }

    /// Reads them of the session's own database.
    static func read(_ connection: PostgresConnection) throws -> PostgresSettings {
        let subject = "cannot read the settings of the database on \(connection.address)"
        let major = connection.serverMajor
        let locale = major >= 17 ? "datlocale" : major >= 15 ? "daticulocale" : "NULL"
        let main = try connection.execute(
            """
            SELECT datname, pg_catalog.pg_get_userbyid(datdba), pg_catalog.pg_encoding_to_char(encoding), datcollate,
            datctype, \(major >= 15 ? "datlocprovider" : "'c'"), \(locale), \(major >= 16 ? "daticurules" : "NULL"),
            (SELECT spcname FROM pg_catalog.pg_tablespace t WHERE t.oid = dattablespace), datconnlimit,
            pg_catalog.shobj_description(oid, 'pg_database'), datacl IS NULL, datistemplate
            FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
            """, subject: subject)
        guard let row = main.rows.first, row.count == 13, let name = row[0], let owner = row[1], let encoding = row[2],
            let collate = row[3], let ctype = row[4], let provider = row[5], let limit = row[9].flatMap({ Int($0) })
        else { throw LifeboatError(subject, causes: ["the catalog has no row for it"]) }
        let grants = try connection.execute(
            """
            SELECT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(a.grantee) END,
            a.privilege_type, a.is_grantable,
            CASE WHEN a.grantor <> datdba THEN pg_catalog.pg_get_userbyid(a.grantor) END
            FROM pg_catalog.pg_database, LATERAL pg_catalog.aclexplode(datacl) a
            WHERE datname = pg_catalog.current_database() ORDER BY a.grantor <> datdba, 1, 2
            """, subject: subject)
        let labels = try connection.execute(
            """
            SELECT l.provider, l.label FROM pg_catalog.pg_shseclabel l JOIN pg_catalog.pg_database d ON d.oid = l.objoid
            WHERE l.classoid = 'pg_catalog.pg_database'::regclass AND d.datname = pg_catalog.current_database()
            ORDER BY 1
            """, subject: subject)
        let settings = try connection.execute(
            """
            SELECT r.rolname, item FROM pg_catalog.pg_db_role_setting s
            JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
            LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, LATERAL unnest(s.setconfig) item
            WHERE d.datname = pg_catalog.current_database() AND (s.setrole = 0 OR r.rolname IS NOT NULL) ORDER BY 1, 2
            """, subject: subject)
        let roles = try connection.execute(
            """
            WITH RECURSIVE edge AS (SELECT roleid AS one, member AS other FROM pg_catalog.pg_auth_members
                UNION SELECT member, roleid FROM pg_catalog.pg_auth_members),
            here AS (SELECT oid, datdba FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
            joined AS (SELECT r.oid, r.rolname FROM pg_catalog.pg_roles r, here WHERE r.rolname !~ '^pg_' AND (
                    r.oid = here.datdba
                    OR EXISTS (SELECT 1 FROM pg_catalog.pg_shdepend s WHERE s.refobjid = r.oid
                        AND s.refclassid = 'pg_catalog.pg_authid'::regclass AND (s.dbid = here.oid
                        OR (s.classid = 'pg_catalog.pg_database'::regclass AND s.objid = here.oid)))
                    OR r.oid IN (SELECT setrole FROM pg_catalog.pg_db_role_setting WHERE setdatabase = here.oid)
                    OR r.oid IN (SELECT defaclrole FROM pg_catalog.pg_default_acl)
                    OR r.oid IN (SELECT a.grantee FROM pg_catalog.pg_default_acl,
                        LATERAL pg_catalog.aclexplode(defaclacl) a))
                UNION SELECT r.oid, r.rolname FROM joined JOIN edge ON edge.one = joined.oid
                JOIN pg_catalog.pg_roles r ON r.oid = edge.other AND r.rolname !~ '^pg_')
            SELECT rolname FROM joined ORDER BY 1
            """, subject: subject)
        return PostgresSettings(
            database: name, owner: owner, encoding: encoding, collate: collate, ctype: ctype, provider: provider,
            locale: row[6], rules: row[7], tablespace: row[8] ?? "pg_default", connectionLimit: limit,
            comment: PostgresMark.read(row[10]).comment, isTemplate: row[12] == "t",
            labels: labels.rows.isEmpty
                ? nil
                : labels.rows.compactMap { row in
                    row[0].flatMap { provider in row[1].map { Label(provider: provider, label: $0) } }
                },
            grants: row[11] == "t"
                ? nil
                : grants.rows.compactMap { row in
                    row[1].map {
                        Grant(grantee: row[0], privilege: $0, grantable: row[2] == "t", grantor: row[3])
                    }
                },
            settings: settings.rows.compactMap { row in
                guard let item = row[1], let equals = item.firstIndex(of: "=") else { return nil }
                let name = String(item[..<equals])
                // The mark of a restore by an earlier version is none of the database's settings.
                if name == PostgresDatabases.markName { return nil }
                return Setting(role: row[0], name: name, value: String(item[item.index(after: equals)...]))
            },
            roles: Set(roles.rows.compactMap { $0[0] } + [owner]).sorted())
    }

    /// CREATE DATABASE with all that cannot be changed afterwards, from the template that holds nothing.
    func createStatement(_ name: String, on connection: PostgresConnection) throws -> String {
        var parts = [
            "CREATE DATABASE \(connection.identifier(name)) TEMPLATE template0",
            "OWNER \(connection.identifier(owner))", "ENCODING \(try connection.literal(encoding))",
            "LC_COLLATE \(try connection.literal(collate))", "LC_CTYPE \(try connection.literal(ctype))",
        ]
        switch provider {
        case "i":
            parts.append("LOCALE_PROVIDER icu")
            if let locale { parts.append("ICU_LOCALE \(try connection.literal(locale))") }
            if let rules { parts.append("ICU_RULES \(try connection.literal(rules))") }
        case "b":
            parts.append("LOCALE_PROVIDER builtin")
            if let locale { parts.append("BUILTIN_LOCALE \(try connection.literal(locale))") }
        default:
            if connection.serverMajor >= 15 { parts.append("LOCALE_PROVIDER libc") }
        }
        if tablespace != "pg_default" {
            let exists = try connection.execute(
                "SELECT 1 FROM pg_catalog.pg_tablespace WHERE spcname = $1", [tablespace])
            if exists.scalar != nil { parts.append("TABLESPACE \(connection.identifier(tablespace))") }
        }
        return parts.joined(separator: " ")
    }

    /// Applies them to the database `name`, all but its comment. It may be another server with other roles, and a user
    /// with fewer rights: what cannot be applied is returned.
    func apply(to name: String, on connection: PostgresConnection) throws -> [LifeboatError] {
        var skipped: [LifeboatError] = []
        let subject = "cannot restore the settings of database '\(name)'"
        /// Runs what this user may not be allowed to do, or this server cannot.
        func attempt(_ what: String, _ sql: String) throws {
            do {
                try connection.execute(sql, subject: subject)
            } catch let error as PostgresError {
                guard case .failed(_, let message) = error else { throw error }
                skipped.append(
                    LifeboatError("\(what) of database '\(self.database)' is left out", causes: message.causes))
            }
        }
        let database = connection.identifier(name)
        let present = Set(
            try connection.execute("SELECT rolname FROM pg_catalog.pg_roles", subject: subject).rows
                .compactMap { $0[0] })
        if let grants {
            let everybody = [nil] + roles.filter { present.contains($0) }.map { Optional($0) }
            for role in everybody {
                let grantee = role.map { connection.identifier($0) } ?? "PUBLIC"
                try attempt(
                    "the withdrawal of default privileges", "REVOKE ALL ON DATABASE \(database) FROM \(grantee)")
            }
            for grant in grants {
                if let grantee = grant.grantee, !present.contains(grantee) {
                    skipped.append(
                        LifeboatError("privilege \(grant.privilege) of the missing role '\(grantee)' is left out"))
                    continue
                }
                guard Self.privileges.contains(grant.privilege) else {
                    skipped.append(LifeboatError("the unknown privilege '\(grant.privilege)' is left out"))
                    continue
                }
                let grantee = grant.grantee.map { connection.identifier($0) } ?? "PUBLIC"
                var grantor = ""
                if let name = grant.grantor, present.contains(name), connection.serverMajor >= 14 {
                    // Runs as that role for this one statement: the server takes no other grantor than the current role.
                    try attempt("the grantor '\(name)' of a privilege", "SET ROLE \(connection.identifier(name))")
                    grantor = " of grantor '\(name)'"
                }
                defer { if !grantor.isEmpty { _ = try? connection.execute("RESET ROLE") } }
                try attempt(
                    "privilege \(grant.privilege) of \(grant.grantee.map { "role '\($0)'" } ?? "PUBLIC")\(grantor)",
                    "GRANT \(grant.privilege) ON DATABASE \(database) TO \(grantee)"
                        + (grant.grantable ? " WITH GRANT OPTION" : ""))
            }
        }
        for setting in settings {
            var target = "DATABASE \(database)"
            if let role = setting.role {
                guard present.contains(role) else {
                    skipped.append(
                        LifeboatError("setting '\(setting.name)' of the missing role '\(role)' is left out"))
                    continue
                }
                target = "ROLE \(connection.identifier(role)) IN \(target)"
            }
            try attempt(
                "setting '\(setting.name)'\(setting.role.map { " of role '\($0)'" } ?? "")",
                "ALTER \(target) SET \(try setting.assignment(connection))")
        }
        if connectionLimit != -1 {
            try connection.execute("ALTER DATABASE \(database) CONNECTION LIMIT \(connectionLimit)", subject: subject)
        }
        for label in labels ?? [] {
            try attempt(
                "the security label of provider '\(label.provider)'",
                "SECURITY LABEL FOR \(connection.identifier(label.provider)) ON DATABASE \(database) IS"
                    + " \(try connection.literal(label.label))")
        }
        if isTemplate == true { try attempt("the mark as template", "ALTER DATABASE \(database) IS_TEMPLATE true") }
        return skipped
    }

    /// Privileges that exist for databases; they go into SQL as words.
    private static let privileges: Set<String> = ["CREATE", "CONNECT", "TEMPORARY"]
}

extension PostgresSettings.Setting {
    /// Settings whose value is a list of quoted names (GUC_LIST_QUOTE in the server's tables): quoted as one literal
    /// they would become a single odd name.
    private static let lists: Set<String> = [
        "local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries",
        "temp_tablespaces", "unix_socket_directories",
    ]

    fileprivate func assignment(_ connection: PostgresConnection) throws -> String {
        let parts = name.split(separator: ".").map { connection.identifier(String($0)) }
        let values = Self.lists.contains(name) ? Self.names(in: value) : [value]
        let literals = try values.map { try connection.literal($0) }
        return "\(parts.joined(separator: ".")) TO \(literals.isEmpty ? "''" : literals.joined(separator: ", "))"
    }

    /// `"$user", public` as its names.
    package static func names(in list: String) -> [String] {
        var names: [String] = []
        var rest = Substring(list)
        while true {
            rest = rest.drop { $0 == " " || $0 == "," }
            guard let first = rest.first else { return names }
            var name = ""
            if first == "\"" {
                rest.removeFirst()
                while let character = rest.first {
                    rest.removeFirst()
                    if character == "\"" {
                        if rest.first != "\"" { break }
                        rest.removeFirst()
                    }
                    name.append(character)
                }
            } else {
                name = String(rest.prefix { $0 != "," && $0 != " " })
                rest = rest.dropFirst(name.count)
            }
            names.append(name)
        }
    }
}
