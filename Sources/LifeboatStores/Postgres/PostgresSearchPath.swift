// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// The search path that sessions of a role get in a database: functions that name things without their schema were
/// written for it.
struct PostgresSearchPath {
    /// Schemas in their order; `$user` is the role's own name.
    let schemas: [String]

    /// That of `role` in the captured database, whose settings need not be applied to the session's database yet.
    init(of role: String, _ settings: PostgresSettings, _ connection: PostgresConnection) throws {
        try self.init(of: role, settings.settings, connection)
    }

    /// That of `role` in the session's database as it is.
    static func live(of role: String, _ connection: PostgresConnection) throws -> PostgresSearchPath {
        let rows = try connection.execute(
            """
            SELECT r.rolname, substr(item, length('search_path=') + 1) FROM pg_catalog.pg_db_role_setting s
            JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase AND d.datname = pg_catalog.current_database()
            LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, LATERAL unnest(s.setconfig) item
            WHERE item LIKE 'search_path=%'
            """, subject: "cannot read the search path of role '\(role)'")
        let settings = rows.rows.compactMap { row in
            row[1].map { PostgresSettings.Setting(role: row[0], name: "search_path", value: $0) }
        }
        return try PostgresSearchPath(of: role, settings, connection)
    }

    private init(of role: String, _ settings: [PostgresSettings.Setting], _ connection: PostgresConnection) throws {
        let subject = "cannot read the search path of role '\(role)'"
        func captured(_ role: String?) -> String? {
            settings.last { $0.role == role && $0.name == "search_path" }?.value
        }
        let own = try connection.execute(
            """
            SELECT substr(item, length('search_path=') + 1) FROM pg_catalog.pg_roles, LATERAL unnest(rolconfig) item
            WHERE rolname = $1 AND item LIKE 'search_path=%'
            """, [role], subject: subject
        ).scalar
        // Not what is set for the user of this session.
        let server = try connection.execute(
            """
            SELECT CASE WHEN source IN ('default', 'configuration file', 'command line', 'environment variable')
            THEN setting ELSE boot_val END FROM pg_catalog.pg_settings WHERE name = 'search_path'
            """, subject: subject
        ).scalar
        let text = captured(role) ?? own ?? captured(nil) ?? server ?? ""
        schemas = PostgresSettings.Setting.names(in: text).filter { !$0.isEmpty }.map { $0 == "$user" ? role : $0 }
    }

    /// As a value of `search_path`.
    var list: String { schemas.map(PostgresTableName.quoted).joined(separator: ", ") }

    /// Sets it for the session, in a transaction for the rest of that.
    func set(_ connection: PostgresConnection, isLocal: Bool = false, _ subject: String) throws {
        try connection.execute(
            "SET \(isLocal ? "LOCAL " : "")search_path = \(schemas.isEmpty ? "''" : list)", subject: subject)
    }

    /// The roles whose tables compute something for each row that is loaded (a generated column, a CHECK, a domain, the
    /// key of partitions) with functions that look things up by name: `LANGUAGE sql`, `plpgsql` …, without a search path
    /// of their own. The session's database.
    static func owners(_ connection: PostgresConnection) throws -> Set<String> {
        let found = try connection.execute(
            """
            WITH speaking AS (SELECT p.oid FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
                WHERE l.lanname NOT IN ('c', 'internal') AND p.oid >= \(PostgresFacts.firstOwnID) AND NOT EXISTS (
                    SELECT 1 FROM unnest(p.proconfig) item WHERE item LIKE 'search_path=%')),
            used AS (SELECT classid, objid FROM pg_catalog.pg_depend
                    WHERE refclassid = 'pg_catalog.pg_proc'::regclass AND refobjid IN (SELECT oid FROM speaking)
                UNION SELECT d.classid, d.objid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_operator o
                    ON d.refclassid = 'pg_catalog.pg_operator'::regclass AND d.refobjid = o.oid
                    WHERE o.oprcode IN (SELECT oid FROM speaking))
            SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM used
                JOIN pg_catalog.pg_constraint k ON classid = 'pg_catalog.pg_constraint'::regclass AND objid = k.oid
                JOIN pg_catalog.pg_class c ON c.oid = k.conrelid WHERE k.contype = 'c'
            UNION SELECT pg_catalog.pg_get_userbyid(t.typowner) FROM used
                JOIN pg_catalog.pg_constraint k ON classid = 'pg_catalog.pg_constraint'::regclass AND objid = k.oid
                JOIN pg_catalog.pg_type t ON t.oid = k.contypid
            UNION SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM used
                JOIN pg_catalog.pg_attrdef a ON classid = 'pg_catalog.pg_attrdef'::regclass AND objid = a.oid
                JOIN pg_catalog.pg_class c ON c.oid = a.adrelid
            UNION SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM used
                JOIN pg_catalog.pg_class c ON classid = 'pg_catalog.pg_class'::regclass AND objid = c.oid
                WHERE c.relkind = 'p'
            """, subject: "cannot look for functions in the tables of PostgreSQL at \(connection.address)")
        return Set(found.rows.compactMap { $0[0] })
    }
}
