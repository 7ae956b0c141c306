// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// What a restore by a user who is no superuser needs: found out before anything is touched, from the statements of the
/// archive.
struct PostgresRights {
    let store: PostgresStore
    let connection: PostgresConnection
    /// What could not be done, for errors.
    let subject: String

    /// Returns warnings; throws what makes the restore impossible.
    func check(_ settings: PostgresSettings, _ content: any RestoreContent) throws -> [LifeboatError] {
        let contents = try contents(content)
        let missing = try contents.map { try PostgresTablespaces.missing($0, connection) } ?? []
        var warnings = missing.isEmpty ? [] : [PostgresTablespaces.warning(missing, store.subject)]
        if let contents { warnings += try PostgresAdaptation(contents, content.facts, connection).remarks }
        if try store.isSuperuser(connection) { return warnings }
        try checkOwners(owners(settings, contents))
        if let contents { try checkSchemas(settings, contents) }
        try checkTablespace(settings.tablespace)
        return try warnings + sessions()
    }

    /// The table of contents of the archive; nil when it is too long to be looked at.
    private func contents(_ content: any RestoreContent) throws -> ArchiveContents? {
        let source = try content.openStream(PostgresParts.dump)
        defer { source.close() }
        let head = try PostgresLoad.head(of: source, Cancellation())
        guard let size = head.scanner.headSize else { return nil }
        do {
            return try ArchiveContents(Array(head.bytes[..<size]))
        } catch {
            throw error.lifeboatError.wrapped(subject)
        }
    }

    /// The owners of the database and of all that the archive makes.
    private func owners(_ settings: PostgresSettings, _ contents: ArchiveContents?) -> [String] {
        let owners = Set([settings.owner] + (contents?.entries.map(\.owner) ?? []))
        // Whoever owns the database is a member of this one.
        return owners.subtracting(["", "pg_database_owner"]).sorted()
    }

    /// Objects are given to their owners, which takes a member of each of them.
    private func checkOwners(_ owners: [String]) throws {
        // Since 16 a member may be kept from becoming the role.
        let right = connection.serverMajor >= 16 ? "SET" : "MEMBER"
        let found = try connection.execute(
            "SELECT rolname, pg_catalog.pg_has_role(oid, '\(right)') FROM pg_catalog.pg_roles", subject: subject)
        let may = Dictionary(found.rows.compactMap { row in row[0].map { ($0, row[1] == "t") } }) { first, _ in first }
        let missing = owners.filter { may[$0] == nil }
        let foreign = owners.filter { may[$0] == false }
        guard !missing.isEmpty || !foreign.isEmpty else { return }
        let user = store.endpoint.user
        let creations = missing.map { "CREATE ROLE \(PostgresNames.shown($0))" }
        let memberships = (missing + foreign).map {
            "GRANT \(PostgresNames.shown($0)) TO \(PostgresNames.shown(user))"
        }
        let grants = (creations + memberships).joined(separator: "; ")
        throw LifeboatError(
            subject,
            causes: missing.map { "the server has no role '\($0)', which owns objects in the snapshot" }
                + foreign.map { "objects in the snapshot belong to '\($0)', and user '\(user)' is no member of it" },
            hint: "Run \(grants) as a superuser, or restore as a superuser.")
    }

    /// Entries that give nothing to their owner.
    private static let kindsWithoutOwner: Set<String> = ["ACL", "COMMENT", "DEFAULT ACL", "SECURITY LABEL"]

    /// Who is given an object has to be allowed to create some in its schema, and grants come after all objects: that
    /// leaves members of the schema's owner. Only a superuser gives objects to others.
    private func checkSchemas(_ settings: PostgresSettings, _ contents: ArchiveContents) throws {
        var schemas: [String: String] = [:]
        for entry in contents.entries where entry.kind == "SCHEMA" {
            schemas[entry.tag] = entry.owner == "pg_database_owner" ? settings.owner : entry.owner
        }
        // Of the database's owner since 15, open to everybody before.
        if schemas["public"] == nil, connection.serverMajor >= 15 { schemas["public"] = settings.owner }
        var pairs: [String: Set<String>] = [:]
        for entry in contents.entries {
            guard let owner = schemas[entry.schema], !["", "pg_database_owner", owner].contains(entry.owner),
                !Self.kindsWithoutOwner.contains(entry.kind)
            else { continue }
            pairs[entry.owner, default: []].insert(entry.schema)
        }
        for (owner, places) in pairs.sorted(by: { $0.key < $1.key }) {
            for schema in places.sorted() {
                let isMember = try connection.execute(
                    "SELECT pg_catalog.pg_has_role($1::name, $2::name, 'USAGE')", [owner, schemas[schema]],
                    subject: subject)
                guard isMember.scalar != "t" else { continue }
                throw LifeboatError(
                    subject,
                    causes: [
                        "objects in schema '\(schema)' of '\(schemas[schema] ?? "")' belong to '\(owner)': only a"
                            + " superuser can give them to it"
                    ], hint: "Restore as a superuser.")
            }
        }
    }

    private func checkTablespace(_ name: String) throws {
        let allowed = try connection.execute(
            """
            SELECT pg_catalog.has_tablespace_privilege(oid, 'CREATE') FROM pg_catalog.pg_tablespace WHERE spcname = $1
            """, [name], subject: subject)
        // The default of the database is open to everybody; one that is not there is not used.
        guard allowed.scalar == "f", name != "pg_default" else { return }
        throw LifeboatError(
            subject, causes: ["user '\(store.endpoint.user)' may not create databases in tablespace '\(name)'"],
            hint: "Run GRANT CREATE ON TABLESPACE \(PostgresNames.shown(name)) TO"
                + " \(PostgresNames.shown(store.endpoint.user)), or restore as a superuser.")
    }

    /// Sessions of others end with the services that use the database, or are in the way of the exchange.
    private func sessions() throws -> [LifeboatError] {
        try PostgresDatabases.sessions(store.database, connection).compactMap { row in
            guard row.count == 3, row[2] != "t", let user = row[0] else { return nil }
            return LifeboatError(
                "database '\(store.database)' is in use by sessions of '\(user)', which user"
                    + " '\(store.endpoint.user)' may not end",
                causes: ["the exchange fails while they are open"],
                hint: "Stop what they belong to, or grant pg_signal_backend"
                    + " to \(PostgresNames.shown(store.endpoint.user)).")
        }
    }
}
