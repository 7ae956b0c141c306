// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatHTTP
import LifeboatIO

extension RedisStore {
    /// The server's data folder as this host sees it; nil: it cannot be reached from here. `connection` nil: the server
    /// does not run.
    func dataFolder(_ connection: RedisConnection?) throws -> String? {
        if let data = options.data { return try VolumePlace.resolved(data) }
        let folder = try connection?.setting("dir")
        if let container {
            // What the official images use.
            return try container.hostPath(folder ?? "/data", runner).map { try VolumePlace.resolved($0) }
        }
        guard let connection, let folder, let process = try connection.info().number("process_id") else { return nil }
        // The server works in its data folder: when the process of that number here does so too, this is the host it
        // runs on. In a container the number would be another one's.
        guard (try? VolumePlace.resolved("/proc/\(process)/cwd")) == folder,
            let name = try? Self.commandName(process), name.contains("redis") || name.contains("valkey")
        else { return nil }
        return try VolumePlace.resolved(folder)
    }

    private static func commandName(_ process: Int64) throws -> String {
        let path = "/proc/\(process)/comm"
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = try buffer.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, path) }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }

    /// A session, or nil when no server answers at the address: it may be what is to be restored.
    private func connectIfRunning(_ cancellation: Cancellation? = nil) throws -> RedisConnection? {
        guard let endpoint = try endpoint() else { return nil }
        do throws(RedisError) {
            return try RedisConnection(endpoint, cancellation: cancellation)
        } catch {
            if case .connection(let connection) = error, connection.isNobodyThere { return nil }
            throw error
        }
    }

    private func requiredFolder(_ connection: RedisConnection?) throws -> String {
        guard let folder = try dataFolder(connection) else {
            throw LifeboatError(
                "cannot restore \(subject)",
                causes: [
                    connection == nil
                        ? "it does not run, so it cannot say where its data folder is"
                        : "its data folder cannot be reached from this host"
                ],
                hint: "Name the folder with 'data' of the component in the policy; a server on another host is restored"
                    + " there, with a lifeboat of its own.")
        }
        return folder
    }

    package func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] {
        let subject = "cannot restore \(subject)"
        guard content.streamSize(Self.partName) != nil else {
            throw LifeboatError(subject, causes: ["the snapshot holds no RDB file of it"])
        }
        var warnings: [LifeboatError] = []
        let connection = try connectIfRunning()
        if let connection {
            try check(content.facts, connection, subject)
        } else {
            warnings.append(
                LifeboatError(
                    "\(self.subject) does not run: its version cannot be compared with that of the snapshot",
                    causes: ["the snapshot is of \(content.facts.texts[RedisFacts.engine] ?? "an unknown version")"]))
        }
        let folder = try requiredFolder(connection)
        try checkFolder(folder, connection, subject)
        try room(content, connection, folder)?.check(self.subject)
        return warnings
    }

    package var stagesOnServer: Bool { true }

    package func stagingRoom(_ content: any RestoreContent) throws -> StagingRoom? {
        let connection = try connectIfRunning()
        guard let folder = try dataFolder(connection) else { return nil }
        return try room(content, connection, folder)
    }

    private func room(
        _ content: any RestoreContent, _ connection: RedisConnection?, _ folder: String
    ) throws -> StagingRoom? {
        guard let size = content.streamSize(Self.partName) else { return nil }
        let copies: UInt64 = try appendOnlyForm(content.facts, connection, folder) == .single ? 2 : 1
        let (needed, overflow) = size.multipliedReportingOverflow(by: copies)
        return try StagingRoom.inside(folder, needed: overflow ? .max : needed)
    }

    private func check(_ facts: StoreFacts, _ connection: RedisConnection, _ subject: String) throws {
        let info = try connection.info()
        guard let version = info.version else {
            throw LifeboatError(subject, causes: ["the server does not tell its version"])
        }
        let writer = facts.texts[RedisFacts.engine].flatMap { RedisVersion($0) }
        if let header = facts.texts[RedisFacts.format].flatMap({ RDBHeader($0) }),
            let refusal = version.refusal(of: header, writer: writer)
        {
            throw LifeboatError(
                subject, causes: [refusal],
                hint: "Restore into the version it was captured from, or a newer one of the same kind.")
        }
        if info["role"] == "slave" {
            throw LifeboatError(
                subject, causes: ["it is a replica, and would take the data of its primary again"],
                hint: "Restore its primary.")
        }
        let loaded = try RedisFacts.modules(connection)
        let missing = facts.texts.keys.filter { $0.hasPrefix(RedisFacts.modulePrefix) }
            .map { String($0.dropFirst(RedisFacts.modulePrefix.count)) }
            .filter { loaded[$0] == nil }.sorted()
        guard missing.isEmpty else {
            throw LifeboatError(
                subject, causes: missing.map { "the server has not loaded the module '\($0)'" },
                hint: "Load these modules: the server does not start on data it cannot read.")
        }
        if let databases = try connection.setting(RedisFacts.databases).flatMap({ Int($0) }),
            let highest = RedisFacts.keys(facts)?.keys.max(), highest >= databases
        {
            throw LifeboatError(
                subject,
                causes: ["the snapshot has keys in database \(highest), the server has \(databases) databases"],
                hint: "Raise 'databases' in its configuration.")
        }
    }

    private func checkFolder(_ folder: String, _ connection: RedisConnection?, _ subject: String) throws {
        guard access(folder, W_OK | X_OK) == 0 else { throw SystemCallError("write to", folder) }
        guard let connection else { return }
        let files = try currentFiles(connection)
        // The one thing that must be there: a server that appends to a file elsewhere works in another folder.
        let form = try appendOnlyForm(StoreFacts(), connection, folder)
        guard files.isAppendOnly, let form else { return }
        let live = form == .parts ? "\(folder)/\(files.appendFolder)" : "\(folder)/\(files.appendName)"
        guard access(live, F_OK) == 0 else {
            throw LifeboatError(
                subject,
                causes: [
                    "'\(folder)' is not its data folder: it keeps an append-only file, and '\(live)' is not there"
                ],
                hint: "Correct 'data' of the component in the policy.")
        }
    }

    private func currentFiles(_ connection: RedisConnection) throws -> RedisFiles {
        var texts: [String: String] = [:]
        for name in RedisFacts.settings { texts[name] = try connection.setting(name) }
        return RedisFiles(texts)
    }

    /// The names the server will look for: its own, or when it does not run those at the capture.
    private func files(_ facts: StoreFacts, _ connection: RedisConnection?) throws -> RedisFiles {
        try connection.map { try currentFiles($0) } ?? RedisFiles(facts.texts)
    }

    /// Nil: the server keeps no append-only file, and left none.
    private func appendOnlyForm(
        _ facts: StoreFacts, _ connection: RedisConnection?, _ folder: String
    ) throws -> AppendOnlyForm? {
        let files = try files(facts, connection)
        let hasFolder = access("\(folder)/\(files.appendFolder)", F_OK) == 0
        guard files.isAppendOnly || hasFolder || access("\(folder)/\(files.appendName)", F_OK) == 0 else { return nil }
        let version = try connection?.info().version ?? facts.texts[RedisFacts.engine].flatMap { RedisVersion($0) }
        return version?.isAtLeast(7, 0) ?? hasFolder ? .parts : .single
    }

    package func planStaging(_ restoreID: String) throws -> StagedState {
        try RedisFolder.plan(try requiredFolder(try connectIfRunning()), restoreID).state
    }

    package func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        let folder = try RedisFolder(state)
        let connection = try connectIfRunning(cancellation)
        var counters = ProgressCounters()
        counters.bytesTotal = content.streamSize(Self.partName)
        counters.current = subject
        let source = CheckedRDBSource(
            try content.openStream(Self.partName), "cannot stage the data of \(subject)"
        ) { scanner in
            if let connection, let header = scanner.header, let version = try connection.info().version,
                let refusal = version.refusal(of: header, writer: nil)
            {
                throw LifeboatError("cannot restore \(subject)", causes: [refusal])
            }
        }
        try folder.stage(
            source, try files(content.facts, connection),
            appendOnly: try appendOnlyForm(content.facts, connection, folder.data)
        ) { count in
            try cancellation.check()
            counters.bytesDone += UInt64(count)
            progress.report(.counters(counters))
        }
    }

    package func swap(_ state: StagedState) throws {
        let folder = try RedisFolder(state)
        guard try folder.needsSwap() else { return }
        try checkStopped()
        try folder.swap()
    }

    package func swapBack(_ state: StagedState) throws {
        let folder = try RedisFolder(state)
        guard try folder.needsSwapBack() else { return }
        try checkStopped()
        try folder.swapBack()
    }

    package func discard(_ state: StagedState) throws { try RedisFolder(state).discard() }

    /// A server that runs would write its memory over the exchanged files.
    private func checkStopped() throws {
        let isRunning: Bool
        do {
            isRunning = try connectIfRunning() != nil
        } catch let error as RedisError where error.code != nil {
            // It refuses us: it runs. A time-out proves nothing, and is thrown on.
            isRunning = true
        }
        if isRunning {
            throw LifeboatError(
                "cannot exchange the data of \(subject)", causes: ["the server still runs"],
                hint: "Have 'services' of the policy stop and start the server: it reads its data only when it starts.")
        }
    }
}
