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
            content.facts, connection, isSuperuser: try isSuperuser(connection), user: endpoint.user,
            database: database, self.subject)
        let settings = try settings(content)
        let collation = PostgresCollation.difference(
            captured: content.facts.texts[PostgresFacts.collationVersion],
            here: try PostgresCollation.check(settings, connection, self.subject), self.subject)
        if let collation { warnings.append(collation) }
        try stagingRoom(content)?.check(self.subject)
        warnings += try checkReplication(content, connection, subject)
        warnings += try PostgresRights(store: self, connection: connection, subject: subject).check(settings, content)
        return warnings + (try checkRoles(content, settings, connection))
    }

    /// What the server refuses to rename, and what stands still after the restore.
    private func checkReplication(
        _ content: any RestoreContent, _ connection: PostgresConnection, _ subject: String
    ) throws -> [LifeboatError] {
        var warnings: [LifeboatError] = []
        if let id = try PostgresDatabases.id(database, connection) {
            let replication = PostgresReplication(connection: connection, database: database, id: id)
            warnings = try replication.check(subject, user: endpoint.user)
        }
        let prefix = PostgresFacts.subscriptionPrefix
        for name in content.facts.texts.keys.sorted() where name.hasPrefix(prefix) {
            let told = PostgresReplication.standsStill(String(name.dropFirst(prefix.count)))
            if !warnings.contains(told) { warnings.append(told) }
        }
        return warnings
    }

    private func checkRoles(
        _ content: any RestoreContent, _ settings: PostgresSettings, _ connection: PostgresConnection
    ) throws -> [LifeboatError] {
        let captured = try roles(content)
        let missing = try missingRoles(settings, captured, connection)
        if missing.isEmpty { return [] }
        let names = missing.sorted().map { "'\($0)'" }.joined(separator: ", ")
        guard captured != nil else {
            throw LifeboatError(
                "cannot restore \(subject)",
                causes: ["the server has no role \(names), and the snapshot holds no roles"],
                hint: "Create these roles on the server first.")
        }
        let mayCreate = try connection.execute(
            "SELECT rolsuper OR rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user"
        ).scalar
        guard mayCreate == "t" else {
            return [
                LifeboatError(
                    "roles cannot be created, and what they are granted is left out: \(names)",
                    causes: ["user '\(endpoint.user)' may not create roles"],
                    hint: "Create these roles on the server first, or restore as a superuser.")
            ]
        }
        return [LifeboatError("missing roles will be created: \(names)")]
    }

    func settings(_ content: any RestoreContent) throws -> PostgresSettings {
        let bytes = try content.openStream(PostgresParts.settings)
            .readAll(limit: Self.settingsLimit, "the settings of \(subject)")
        return try PostgresSettings.decoded(bytes)
    }

    /// The roles in the snapshot; nil: it holds none.
    private func roles(_ content: any RestoreContent) throws -> PostgresRoles? {
        guard content.streamSize(PostgresParts.globals) != nil else { return nil }
        let script = try content.openStream(PostgresParts.globals)
            .readAll(limit: PostgresGlobals.limit, "the roles in the snapshot")
        return PostgresRoles(script: String(decoding: script, as: UTF8.self))
    }

    /// The roles this database needs, with all that memberships join to them, that the server does not have.
    private func missingRoles(
        _ settings: PostgresSettings, _ captured: PostgresRoles?, _ connection: PostgresConnection
    ) throws -> Set<String> {
        let present = try connection.execute(
            "SELECT rolname FROM pg_catalog.pg_roles",
            subject: "cannot list the roles of PostgreSQL at \(endpoint.address)")
        let named = Set(settings.roles + settings.settings.compactMap(\.role))
        let needed = captured.map { named.union($0.closure(of: named).intersection($0.defined)) } ?? named
        return needed.filter { !PostgresRoles.isPredefined($0) }.subtracting(present.rows.compactMap { $0[0] })
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
        try createRoles(content, settings, maintenance, progress, cancellation)
        // What an earlier attempt of the same restore left.
        if let left = try databases.id(databases.staged), left != databases.liveID {
            try databases.drop(databases.staged, id: left) { try self.session($0, cancellation) }
        }
        try maintenance.execute(
            try settings.createStatement(databases.staged, on: maintenance),
            subject: "cannot create database '\(databases.staged)'", cancellation: cancellation)
        try databases.mark(databases.staged, comment: settings.comment)
        let load = PostgresLoad(
            store: self, client: PostgresClient(endpoint: endpoint, tools: tools, runner: runner),
            target: databases.staged, settings: settings, places: try places(state), progress: progress,
            cancellation: cancellation)
        let deferred = try load.run(content)
        let session = try session(databases.staged, cancellation)
        try PostgresStatistics(
            connection: session, database: databases.staged, progress: progress, cancellation: cancellation
        ).gather()
        let collation = PostgresCollation.difference(
            captured: content.facts.texts[PostgresFacts.collationVersion],
            here: try PostgresCollation.actualVersion(session), subject)
        if let collation { progress.report(.warning(collation)) }
        for missing in try settings.apply(to: databases.staged, on: maintenance) {
            progress.report(.incomplete(missing))
        }
        let later = deferred.map { PostgresFacts.extensionPrefix + $0 }
        let differences = try differences(session, content.facts, cancellation)
            .filter { $0.isLoss && !later.contains($0.name) }
        guard differences.isEmpty else {
            throw LifeboatError(
                "database '\(databases.staged)' is not what the snapshot holds",
                causes: differences.prefix(10).map {
                    "\($0.name): \($0.expected) in the snapshot, \($0.found ?? "nothing") restored"
                })
        }
    }

    private func createRoles(
        _ content: any RestoreContent, _ settings: PostgresSettings, _ connection: PostgresConnection,
        _ progress: any ProgressSink, _ cancellation: Cancellation
    ) throws {
        guard let captured = try roles(content) else { return }
        let missing = try missingRoles(settings, captured, connection)
        if missing.isEmpty { return }
        for failure in try captured.create(missing, on: connection, cancellation) {
            progress.report(.incomplete(failure))
        }
        guard settings.hasPasswords == false else { return }
        let logins = try connection.execute(
            "SELECT rolname FROM pg_catalog.pg_roles WHERE rolcanlogin ORDER BY 1",
            subject: "cannot list the roles of PostgreSQL at \(endpoint.address)"
        ).rows.compactMap { $0[0] }.filter { missing.contains($0) }
        if logins.isEmpty { return }
        progress.report(
            .incomplete(
                LifeboatError(
                    "roles were created without a password: \(logins.map { "'\($0)'" }.joined(separator: ", "))",
                    causes: ["the snapshot was made by a user who may not read passwords"],
                    hint: "Set them with ALTER ROLE … PASSWORD.")))
    }
}
