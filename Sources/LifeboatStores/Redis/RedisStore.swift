// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatHTTP
package import LifeboatIO

/// A Redis or Valkey server: its RDB file, fetched over the replication protocol, restored by exchanging the files in its
/// data folder while it is stopped.
package struct RedisStore: DataStore {
    /// How the RDB file is had.
    package enum Transfer: String, Sendable {
        /// As a replica has it: nothing is written on the server, no file of it is needed.
        case replication
        /// The server writes its file (BGSAVE), which is read from the data folder or out of the container.
        case bgsave
    }

    package struct Options: Sendable {
        /// Nil: replication; BGSAVE when the server refuses it and its file can be reached.
        package var transfer: Transfer?
        /// The server's data folder (`dir`) as this host sees it; nil: asked for.
        package var data: String?
        /// Keeps what comes before its reader: as large as the RDB file, for a while.
        package var spoolFolder: String
        /// Seconds a server may take to come up and load its data before `verify`.
        package var startDeadline: Double

        package init(
            transfer: Transfer? = nil, data: String? = nil, spoolFolder: String = "/var/tmp", startDeadline: Double = 60
        ) {
            self.transfer = transfer
            self.data = data
            self.spoolFolder = spoolFolder
            self.startDeadline = startDeadline
        }
    }

    static let partName = "rdb"

    private let fixedEndpoint: RedisEndpoint
    let container: ServerContainer?
    let options: Options
    let runner: any ProcessRunner

    /// With a container the server is where that is reached from this host, asked for at each connection, unless
    /// `endpoint` names a host. `runner` asks the container's engine.
    package init(
        _ endpoint: RedisEndpoint, container: ServerContainer? = nil, options: Options = Options(),
        runner: any ProcessRunner = SystemProcessRunner()
    ) {
        fixedEndpoint = endpoint
        self.container = container
        self.options = options
        self.runner = runner
    }

    package var kind: String { "redis" }
    package var subject: String {
        if usesContainerAddress, let container { return "Redis in \(container)" }
        return "Redis at \(fixedEndpoint.address.text)"
    }

    private var usesContainerAddress: Bool {
        container != nil && fixedEndpoint.address.host.isEmpty && fixedEndpoint.address.unixSocket == nil
    }

    /// Nil: the server's container does not run.
    func endpoint() throws -> RedisEndpoint? {
        guard usesContainerAddress, let container else { return fixedEndpoint }
        // Containers get a new address when they start.
        guard let id = try container.found(runner, running: true) else { return nil }
        var endpoint = fixedEndpoint
        (endpoint.address.host, endpoint.address.port) = try container.address(
            of: id, serverPort: fixedEndpoint.address.port, runner)
        return endpoint
    }

    func connect(_ cancellation: Cancellation? = nil) throws -> RedisConnection {
        guard let endpoint = try endpoint() else {
            throw LifeboatError(
                "cannot reach \(subject)", causes: ["the container does not run"],
                hint: "Start it, or correct the component in the policy.")
        }
        return try RedisConnection(endpoint, cancellation: cancellation)
    }

    /// Keys of a database of the live server, for a policy's check.
    package func keyCount(database: Int, cancellation: Cancellation? = nil) throws -> Int64 {
        try connect(cancellation).info().keys[database] ?? 0
    }

    package func probe() throws -> StoreProbe {
        let connection = try connect()
        let info = try connection.info()
        try checkReady(info)
        var warnings: [LifeboatError] = []
        if info["cluster_enabled"] == "1" {
            warnings.append(
                LifeboatError(
                    "\(subject) is one node of a cluster: the snapshot holds this node's slots alone",
                    hint: "Make a component of each primary; they share no point in time."))
        }
        return StoreProbe(
            // The store's name says Redis already.
            engineVersion: info.version.map { $0.flavor == .redis ? $0.dotted : $0.description },
            estimatedBytes: info.number("used_memory_dataset").flatMap { UInt64(exactly: $0) }, warnings: warnings)
    }

    private func checkReady(_ info: RedisInfo) throws {
        guard info.number("loading") != 1 else {
            throw LifeboatError(
                "cannot back up \(subject)", causes: ["it is still loading its data"],
                hint: "Run the same command again when it has started.")
        }
        if info["role"] == "slave", info["master_link_status"] != "up" {
            throw LifeboatError(
                "cannot back up \(subject)", causes: ["it is a replica, and its link to the primary is down"],
                hint: "Back up the primary, or a replica that is in step with it.")
        }
    }

    package func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
        let control = try connect(cancellation)
        let info = try control.info()
        try checkReady(info)
        let facts = try RedisFacts.texts(control, info)
        let subject = "cannot capture \(subject)"
        switch options.transfer {
        case .bgsave: return try saveInBackground(control, facts, subject, cancellation)
        case .replication: return try replicate(control, info, facts, subject, cancellation)
        case nil:
            do {
                return try replicate(control, info, facts, subject, cancellation)
            } catch let error as RedisError where error.isRefusalOfReplication {
                let refusal = error.lifeboatError
                do {
                    return try saveInBackground(control, facts, subject, cancellation)
                } catch {
                    let other = LifeboatError.converting(error)
                    if other.exitCode == .interrupted { throw other }
                    throw LifeboatError(
                        subject,
                        causes: [refusal.message] + refusal.causes + ["and not by BGSAVE either: \(other.message)"]
                            + other.causes,
                        hint: refusal.hint ?? other.hint)
                }
            }
        }
    }

    // MARK: Replication

    /// Asks for the data as a replica does. The point in time is the fork of the server, which its answer announces.
    private func replicate(
        _ control: RedisConnection, _ info: RedisInfo, _ facts: [String: String], _ subject: String,
        _ cancellation: Cancellation
    ) throws -> any CapturePoint {
        var info = info
        for _ in 0..<3 {
            let before = info.number("master_repl_offset") ?? 0
            let link = try connect(cancellation)
            let offset = try withoutDelay(control) { try RedisReplication.start(link, info.version) }
            if offset >= before {
                let source = SpooledSource(
                    ReplicationSource(link, subject), overflow: .file(folder: options.spoolFolder))
                return RedisCapturePoint(
                    source, subject, method: "RDB over the replication protocol", texts: facts, earliest: nil)
            }
            // The server gives us the file it is already writing for somebody else: that is of the past.
            try waitForChild(control, cancellation)
            info = try control.info()
        }
        throw LifeboatError(
            subject, causes: ["the server is writing its data for other replicas all the time"],
            hint: "Run the same command again when the replicas have caught up.")
    }

    /// A server waits some seconds (repl-diskless-sync-delay) for more replicas before it forks: too long while writers
    /// are held. Set to 0 for the moment it takes, where the user may.
    private func withoutDelay<Result>(_ control: RedisConnection, _ body: () throws -> Result) throws -> Result {
        let name = "repl-diskless-sync-delay"
        guard let delay = try control.setting(name), delay != "0" else { return try body() }
        do throws(RedisError) {
            try control.command("CONFIG", "SET", name, "0")
        } catch {
            guard error.code != nil else { throw error }
            return try body()
        }
        do {
            let result = try body()
            try control.command("CONFIG", "SET", name, delay)
            return result
        } catch {
            // The first failure counts; the setting is put back over a new connection if this one is gone.
            if (try? control.command("CONFIG", "SET", name, delay)) == nil {
                _ = try? connect().command("CONFIG", "SET", name, delay)
            }
            throw error
        }
    }

    // MARK: BGSAVE

    /// Has the server write its file. The point in time is the fork of the server, which its answer announces.
    private func saveInBackground(
        _ control: RedisConnection, _ facts: [String: String], _ subject: String, _ cancellation: Cancellation
    ) throws -> any CapturePoint {
        let files = RedisFiles(facts)
        let open = try fileReader(control, files, cancellation)
        var window: (Int64, Int64)?
        for _ in 0..<10 where window == nil {
            try waitForChild(control, cancellation)
            let before = try control.seconds()
            do throws(RedisError) {
                try control.command("BGSAVE")
            } catch {
                // The server began one by itself in between.
                guard error.code == "ERR" else { throw error }
                continue
            }
            window = (before, try control.seconds())
        }
        guard let window else {
            throw LifeboatError(subject, causes: ["the server writes its data all the time, on its own account"])
        }
        let source = SpooledSource(
            BackgroundSaveSource(control, subject, cancellation, open: open),
            overflow: .file(folder: options.spoolFolder))
        return RedisCapturePoint(
            source, subject, method: "RDB by BGSAVE", texts: facts, earliest: window)
    }

    /// How the server's file is read; throws when it cannot be reached.
    private func fileReader(
        _ control: RedisConnection, _ files: RedisFiles, _ cancellation: Cancellation
    ) throws -> @Sendable () throws -> any ByteSource {
        if let folder = try dataFolder(control) {
            let path = "\(folder)/\(files.databaseName)"
            return { try FileSource(path) }
        }
        guard let container, let folder = try control.setting("dir") else {
            throw LifeboatError(
                "cannot capture \(subject) by BGSAVE",
                causes: ["the file the server writes cannot be reached from here"],
                hint:
                    "Grant the user +psync, +sync and +replconf, or name the server's data folder with 'data' in the policy."
            )
        }
        let path = "\(folder)/\(files.databaseName)"
        return { [runner] in try container.open(path, runner, cancellation: cancellation) }
    }

    /// Until the server has no child that writes.
    private func waitForChild(_ control: RedisConnection, _ cancellation: Cancellation) throws {
        while true {
            let info = try control.info()
            if info.number("rdb_bgsave_in_progress") ?? 0 == 0, info.number("aof_rewrite_in_progress") ?? 0 == 0 {
                return
            }
            try cancellation.check()
            Pause.milliseconds(100)
        }
    }
}

extension RedisError {
    /// The server works, and does not let this user have its data as a replica (rights, renamed commands).
    var isRefusalOfReplication: Bool {
        guard let code else { return false }
        return !["LOADING", "NOMASTERLINK", "NOAUTH", "WRONGPASS", "DENIED"].contains(code)
    }
}

/// What a replica says and hears before the data.
enum RedisReplication {
    /// Returns the replication offset of the fork whose data follows on `link`.
    static func start(_ link: RedisConnection, _ version: RedisVersion?) throws -> Int64 {
        try link.command("REPLCONF", "capa", "eof")
        // Since 7.0: spares the server from keeping what is written from now on.
        try offer(link, "rdb-only", "1")
        // Valkey 9 writes the old RDB version 11 to those that do not say theirs, and fails on what that cannot hold.
        if let version, version.flavor == .valkey {
            try offer(link, "version", version.dotted)
        }
        try link.send(["PSYNC", "?", "-1"])
        while true {
            let line = try link.line()
            // The server keeps the connection alive while it waits for another child to end.
            if line.isEmpty { continue }
            if line.hasPrefix("-") {
                let code = line.dropFirst().prefix { $0 != " " }
                throw RedisError.refused(
                    address: link.address, command: "PSYNC", code: String(code),
                    message: String(line.dropFirst(code.count + 2)))
            }
            let words = line.split(separator: " ")
            guard words.count == 3, words[0] == "+FULLRESYNC", let offset = Int64(words[2]) else {
                throw link.violation("'\(RedisConnection.shown(line))' as an answer to PSYNC")
            }
            return offset
        }
    }
}

extension RedisReplication {
    /// What an older server does not know is no harm.
    private static func offer(_ link: RedisConnection, _ name: String, _ value: String) throws(RedisError) {
        do throws(RedisError) {
            try link.command("REPLCONF", name, value)
        } catch {
            guard error.code == "ERR" else { throw error }
        }
    }
}

extension RedisConnection {
    /// The server's clock.
    func seconds() throws(RedisError) -> Int64 {
        guard let text = try command("TIME").items.first?.text, let seconds = Int64(text) else {
            throw violation("no time as an answer to TIME")
        }
        return seconds
    }
}

/// The moment of the fork.
private final class RedisCapturePoint: CapturePoint {
    let method: String
    private let source: SpooledSource
    private let subject: String
    private let texts: [String: String]
    private let result = Monitor<RDBScanner?>(nil)
    /// Server's clock before and after the fork, where the file could be of another one.
    private let window: (Int64, Int64)?

    init(
        _ source: SpooledSource, _ subject: String, method: String, texts: [String: String],
        earliest window: (Int64, Int64)?
    ) {
        self.source = source
        self.subject = subject
        self.method = method
        self.texts = texts
        self.window = window
    }

    var parts: [CapturePart] {
        [
            .stream(name: RedisStore.partName) { [source, subject, result, window] in
                CheckedRDBSource(source, subject) { scanner in
                    if let window, let time = scanner.auxiliary["ctime"].flatMap({ Int64($0) }),
                        !(window.0...max(window.0, window.1)).contains(time)
                    {
                        throw LifeboatError(
                            subject, causes: ["the server replaced its file by one of another moment"],
                            hint: "Run the same command again.")
                    }
                    result.withLock { $0 = scanner }
                }
            }
        ]
    }

    /// Counted in the file itself, so known only when it has been read.
    func facts() throws -> StoreFacts {
        guard let scanner = result.withLock({ $0 }) else {
            throw LifeboatError(
                subject, causes: ["its facts are counted in the RDB file, which was not read to its end"])
        }
        return RedisFacts.facts(scanner, texts)
    }

    func release() { source.close() }
}
