// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

extension PostgresStore {
    /// Far more than any database's settings.
    private static let settingsLimit = 16 << 20

    package func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] {
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
        warnings += try checkExtensions(content.facts, connection)
        try checkLocale(content.facts, connection)
        return warnings + (try checkRoles(content, connection))
    }

    private func checkExtensions(
        _ facts: StoreFacts, _ connection: PostgresConnection
    ) throws -> [LifeboatError] {
        let available = try connection.execute(
            "SELECT name, default_version FROM pg_catalog.pg_available_extensions",
            subject: "cannot list the extensions of PostgreSQL at \(endpoint.address)")
        var versions: [String: String] = [:]
        for row in available.rows { if let name = row[0], let version = row[1] { versions[name] = version } }
        let wanted = facts.texts.filter { $0.key.hasPrefix(PostgresFacts.extensionPrefix) }
            .map { (name: String($0.key.dropFirst(PostgresFacts.extensionPrefix.count)), version: $0.value) }
            .sorted { $0.name < $1.name }
        let missing = wanted.filter { versions[$0.name] == nil }
        guard missing.isEmpty else {
            throw LifeboatError(
                "cannot restore \(subject)",
                causes: missing.map { "the server has no extension '\($0.name)' (version \($0.version) was captured)" },
                hint: "Install the packages of these extensions on the server.")
        }
        return try wanted.compactMap { name, version in
            guard let offered = versions[name], offered != version else { return nil }
            if Self.isOlder(offered, than: version) {
                throw LifeboatError(
                    "cannot restore \(subject)",
                    causes: ["extension '\(name)' was captured at version \(version), the server offers \(offered)"],
                    hint: "Install version \(version) or newer of this extension on the server.")
            }
            return LifeboatError(
                "extension '\(name)' will be version \(offered), it was captured at version \(version)")
        }
    }

    /// Compares dotted numbers; false when either has something else in it.
    static func isOlder(_ version: String, than other: String) -> Bool {
        let left = version.split(separator: ".").map { Int($0) }
        let right = other.split(separator: ".").map { Int($0) }
        for index in 0..<max(left.count, right.count) {
            guard let one = index < left.count ? left[index] : 0, let two = index < right.count ? right[index] : 0
            else { return false }
            if one != two { return one < two }
        }
        return false
    }

    /// A libc locale that the server's host does not have makes CREATE DATABASE fail: found out by making a collation
    /// of it in a transaction that is rolled back.
    private func checkLocale(_ facts: StoreFacts, _ connection: PostgresConnection) throws {
        guard facts.texts[PostgresFacts.localeProvider] ?? "c" == "c",
            let collate = facts.texts[PostgresFacts.collation], let ctype = facts.texts[PostgresFacts.characterType]
        else { return }
        try connection.execute("BEGIN")
        defer { _ = try? connection.execute("ROLLBACK") }
        do {
            try connection.execute(
                """
                CREATE COLLATION pg_temp.lifeboat_check (LC_COLLATE = \(try connection.literal(collate)),
                LC_CTYPE = \(try connection.literal(ctype)))
                """)
        } catch let error as PostgresError where error.sqlState == SQLState.invalidParameterValue {
            throw LifeboatError(
                "cannot restore \(subject)",
                causes: ["the server's host has no locale '\(collate)'"]
                    + (error.lifeboatError.causes.first.map { [$0] } ?? []),
                hint: "Generate that locale on the server's host (locale-gen) and restart the server.")
        } catch is PostgresError {
            // Not allowed to make one, or not in this database's encoding: CREATE DATABASE will tell.
        }
    }

    private func checkRoles(
        _ content: any RestoreContent, _ connection: PostgresConnection
    ) throws -> [LifeboatError] {
        let missing = try missingRoles(try settings(content), connection)
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

    private func settings(_ content: any RestoreContent) throws -> PostgresSettings {
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
            ["pg_restore"], server: connection.version, folder: binaries,
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
        try load(content, databases.staged, tools, progress, cancellation)
        let session = try session(databases.staged, cancellation)
        // Dumps carry no planner statistics; without them the first queries of the application would crawl.
        try session.execute(
            "ANALYZE", subject: "cannot analyse database '\(databases.staged)'", cancellation: cancellation)
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

    /// Streams the dump into pg_restore.
    private func load(
        _ content: any RestoreContent, _ target: String, _ tools: PostgresTools, _ progress: any ProgressSink,
        _ cancellation: Cancellation
    ) throws {
        let subject = "cannot restore the dump into database '\(target)'"
        let client = PostgresClient(endpoint: endpoint, tools: tools, runner: runner)
        let prepared = try client.prepare("pg_restore", ["--exit-on-error"], database: target)
        let source = try content.openStream(PostgresParts.dump)
        defer { source.close() }
        let process = try runner.start(
            prepared.command, pipesInput: true, pipesOutput: false, cancellation: cancellation)
        var counters = ProgressCounters()
        counters.bytesTotal = content.streamSize(PostgresParts.dump)
        counters.current = self.subject
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { buffer.deallocate() }
        do {
            while true {
                try cancellation.check()
                let count = try source.read(into: buffer)
                if count == 0 { break }
                try process.write(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                counters.bytesDone += UInt64(count)
                progress.report(.counters(counters))
            }
            try process.closeInput()
        } catch ProcessError.inputClosed {
            // It ended early; how and why is told by its end, below.
        } catch {
            process.terminate(grace: 2)
            throw error
        }
        let result: ProcessResult
        do {
            result = try process.finish()
        } catch {
            process.terminate(grace: 2)
            throw error
        }
        withExtendedLifetime(prepared.passwordFile) {}
        guard result.termination.succeeded, counters.bytesDone == counters.bytesTotal ?? counters.bytesDone else {
            throw LifeboatError(
                subject,
                causes: ["pg_restore: \(result.termination)"] + ProcessResult.lastLines(of: result.standardError),
                hint: "The live database was not touched.")
        }
        for line in ProcessResult.lastLines(of: result.standardError) {
            progress.report(.warning(LifeboatError("pg_restore says: \(line)")))
        }
    }
}
