// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

extension PostgresStore {
    /// Far more than any database's settings.
    private static let settingsLimit = 16 << 20

    package func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] {
        let content = PostgresContent(content, database)
        let connection = try connectMaintenance()
        let subject = "cannot restore \(subject)"
        var warnings: [LifeboatError] = []
        guard content.streamSize(PostgresParts.dump) != nil else {
            throw LifeboatError(subject, causes: ["the snapshot holds no dump of it"])
        }
        let captured = content.engineVersion.flatMap { PostgresVersion($0) }
        if let captured, captured.major > connection.serverMajor {
            throw LifeboatError(
                subject,
                causes: ["the snapshot is of PostgreSQL \(captured), the server is \(connection.version)"],
                hint: "Restore into a server of version \(captured.major) or newer.")
        }
        _ = try restoreTools(connection, content)
        guard
            try connection.execute(
                "SELECT rolsuper OR rolcreatedb FROM pg_catalog.pg_roles WHERE rolname = current_user",
                subject: subject
            ).scalar == "t"
        else {
            throw LifeboatError(
                subject, causes: ["user '\(endpoint.user)' may not create databases"],
                hint: "Run ALTER ROLE … CREATEDB for it, or use a superuser.")
        }
        if let owner = try connection.execute(
            """
            SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database WHERE datname = $1
            AND NOT pg_catalog.pg_has_role(datdba, 'USAGE')
            """, [database], subject: subject
        ).scalar {
            throw LifeboatError(
                subject, causes: ["it belongs to '\(owner)', and user '\(endpoint.user)' may not rename it"],
                hint: "Use the owner of the database, or a superuser.")
        }
        guard database.utf8.count <= PostgresNames.maximumBytes else {
            throw LifeboatError(subject, causes: ["its name is longer than \(PostgresNames.maximumBytes) bytes"])
        }
        warnings += try PostgresExtensions.check(
            content.facts, connection, isSuperuser: try isSuperuser(connection), user: endpoint.user, self.subject)
        let settings = try settings(content)
        let collation = PostgresCollation.difference(
            captured: content.facts.texts[PostgresFacts.collationVersion],
            here: try PostgresCollation.check(settings, connection, self.subject), self.subject)
        if let collation { warnings.append(collation) }
        try stagingRoom(content)?.check(self.subject)
        return warnings + (try checkRoles(content, settings, connection))
    }

    private func checkRoles(
        _ content: any RestoreContent, _ settings: PostgresSettings, _ connection: PostgresConnection
    ) throws -> [LifeboatError] {
        let missing = try missingRoles(settings, connection)
        if missing.isEmpty { return [] }
        let names = missing.sorted().map { "'\($0)'" }.joined(separator: ", ")
        guard content.streamSize(PostgresParts.globals) != nil else {
            throw LifeboatError(
                "cannot restore \(subject)",
                causes: ["the server has no role \(names), and the snapshot holds no roles"],
                hint: "Create these roles on the server first.")
        }
        return [LifeboatError("missing roles will be created: \(names)")]
    }

    func settings(_ content: any RestoreContent) throws -> PostgresSettings {
        let bytes = try content.openStream(PostgresParts.settings)
            .readAll(limit: Self.settingsLimit, "the settings of \(subject)")
        return try PostgresSettings.decoded(bytes)
    }

    private func missingRoles(
        _ settings: PostgresSettings, _ connection: PostgresConnection
    ) throws -> Set<String> {
        let present = try connection.execute(
            "SELECT rolname FROM pg_catalog.pg_roles",
            subject: "cannot list the roles of PostgreSQL at \(endpoint.address)")
        return Set(settings.roles).subtracting(present.rows.compactMap { $0[0] })
    }

    private func restoreTools(
        _ connection: PostgresConnection, _ content: any RestoreContent
    ) throws -> PostgresTools {
        try PostgresTools.find(
            ["pg_restore"], server: connection.version, folder: binaries, container: endpoint.container,
            atLeast: content.facts.texts[PostgresFacts.clientVersion].flatMap { PostgresVersion($0) }, runner: runner)
    }

    package func planStaging(_ restoreID: String) throws -> StagedState {
        let connection = try connectMaintenance()
        // Room for at least a letter of the database's own name.
        guard restoreID.utf8.count <= 40, !restoreID.isEmpty else {
            throw LifeboatError("the restore's identifier '\(restoreID)' is too long for a database name")
        }
        return StagedState([
            "restore": restoreID, "database": database,
            "staged": PostgresNames.fitted(database, "_lifeboat_\(restoreID)"),
            "old": PostgresNames.fitted(database, "_old_\(restoreID)"),
            "live-oid": try PostgresDatabases.id(database, connection) ?? "",
        ])
    }

    package func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        let content = PostgresContent(content, database)
        let maintenance = try connectMaintenance(cancellation)
        let databases = try PostgresDatabases(maintenance, state)
        let tools = try restoreTools(maintenance, content)
        let settings = try settings(content)
        let missing = try missingRoles(settings, maintenance)
        if !missing.isEmpty, content.streamSize(PostgresParts.globals) != nil {
            let script = try content.openStream(PostgresParts.globals)
                .readAll(limit: PostgresGlobals.limit, "the roles in the snapshot")
            let remarks = try PostgresGlobals.createMissingRoles(
                String(decoding: script, as: UTF8.self), missing: missing, on: maintenance, cancellation)
            for remark in remarks { progress.report(.note("left out: \(remark)")) }
        }
        // What an earlier attempt of the same restore left.
        if let left = try databases.id(databases.staged), left != databases.liveID {
            try databases.drop(databases.staged, id: left)
        }
        try maintenance.execute(
            try settings.createStatement(databases.staged, on: maintenance),
            subject: "cannot create database '\(databases.staged)'", cancellation: cancellation)
        try databases.mark(databases.staged)
        let load = PostgresLoad(
            store: self, client: PostgresClient(endpoint: endpoint, tools: tools, runner: runner),
            target: databases.staged, progress: progress, cancellation: cancellation)
        try load.run(content)
        let session = try session(databases.staged, cancellation)
        // Dumps carry no planner statistics; without them the first queries of the application would crawl.
        try session.execute(
            "ANALYZE", subject: "cannot analyse database '\(databases.staged)'", cancellation: cancellation)
        let collation = PostgresCollation.difference(
            captured: content.facts.texts[PostgresFacts.collationVersion],
            here: try PostgresCollation.actualVersion(session), subject)
        if let collation { progress.report(.warning(collation)) }
        for remark in try settings.apply(to: databases.staged, on: maintenance) {
            progress.report(.note("left out: \(remark)"))
        }
        let differences = try differences(session, content.facts, cancellation)
        guard differences.isEmpty else {
            throw LifeboatError(
                "database '\(databases.staged)' is not what the snapshot holds",
                causes: differences.prefix(10).map {
                    "\($0.name): \($0.expected) in the snapshot, \($0.found ?? "nothing") restored"
                })
        }
    }
}
