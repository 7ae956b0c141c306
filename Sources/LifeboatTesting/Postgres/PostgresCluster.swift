// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatIO

/// A throw-away PostgreSQL cluster on a free port of 127.0.0.1, run by an unprivileged user and removed by `remove`.
///
/// `initdb` runs once per process; each cluster starts from a copy of its result. Durability is off (`fsync`).
package final class PostgresCluster: Sendable {
    /// How the server is stopped; `immediate` is a crash that leaves recovery to the next start.
    package enum StopMode: String, Sendable { case fast, immediate }

    package let binaries: String
    /// Holds the data folder, the unix socket and the log.
    package let folder: String
    package let host = "127.0.0.1"
    package let port: UInt16
    /// The superuser, with the password that `start` asked for or none.
    package let user = "postgres"
    package let password: Secret?
    private let runner = SystemProcessRunner()
    private let account: TestAccount
    private let temporary: TemporaryFolder

    /// Whether a suite that needs a server should run: true where one is installed, and in CI, where a missing one has
    /// to fail. For `.enabled(if:)` with `skipReason`.
    package static var shouldRun: Bool { installedBinaries != nil || getenv("CI") != nil }
    package static let skipReason = "needs PostgreSQL (apt-get install postgresql)"

    /// The folder of the server to test with: `LIFEBOAT_TEST_POSTGRES`, else the newest of the Debian packages.
    package static let installedBinaries: String? = {
        if let folder = getenv("LIFEBOAT_TEST_POSTGRES") { return String(cString: folder) }
        for major in (13...30).reversed() {
            let folder = "/usr/lib/postgresql/\(major)/bin"
            if access("\(folder)/initdb", X_OK) == 0 { return folder }
        }
        return nil
    }()

    /// Starts a new cluster. With a password, connections over TCP need it (SCRAM); without, everybody is trusted.
    package static func start(
        _ release: PostgresRelease = .installed, password: Secret? = nil, settings: [String: String] = [:]
    ) throws -> PostgresCluster {
        guard let binaries = try release.binaries() else {
            throw LifeboatError("no PostgreSQL server", hint: release.skipReason)
        }
        var last: (any Error)?
        // The port was free when it was looked for; another process may be quicker.
        for _ in 0..<4 {
            let cluster = try PostgresCluster(binaries, password, settings)
            do {
                try cluster.start()
                return cluster
            } catch {
                last = error
                cluster.remove()
            }
        }
        throw last ?? LifeboatError("no PostgreSQL server started")
    }

    private static let sharedSlots = Monitor<[PostgresRelease: PostgresCluster]>([:])

    /// One cluster for all tests of the process that only need databases of their own; trusts everybody.
    package static func shared(_ release: PostgresRelease = .installed) throws -> PostgresCluster {
        try sharedSlots.withLock { slots in
            if let cluster = slots[release] { return cluster }
            let cluster = try start(release)
            atExit { cluster.remove() }
            slots[release] = cluster
            return cluster
        }
    }

    private init(_ binaries: String, _ password: Secret?, _ settings: [String: String]) throws {
        self.binaries = binaries
        self.password = password
        account = try TestAccount.current()
        port = try freePort()
        let template = try PostgresTemplate.folder(binaries, account)
        // Short: a unix socket's path has 107 bytes at most.
        temporary = try TemporaryFolder(prefix: "lbpg-", in: "/tmp")
        folder = temporary.path
        try account.own(folder)
        try check(runner.run(account.command("cp", ["-a", template, "\(folder)/data"])))
        var lines = ["local all all trust", "host all all 127.0.0.1/32 \(password == nil ? "trust" : "scram-sha-256")"]
        try write(lines, to: "pg_hba.conf")
        lines = [
            "port = \(port)", "listen_addresses = '127.0.0.1'", "unix_socket_directories = '\(folder)'",
            "shared_buffers = 16MB", "max_connections = 40", "fsync = off", "full_page_writes = off",
            "synchronous_commit = off", "logging_collector = off", "autovacuum = off",
        ]
        lines += settings.sorted { $0.key < $1.key }.map { "\($0.key) = \($0.value)" }
        try write(lines, to: "lifeboat-test.conf")
        try write(["include 'lifeboat-test.conf'"], to: "postgresql.auto.conf")
        if let password {
            try start()
            try password.reveal { plain in
                _ = try psql("ALTER ROLE postgres PASSWORD '\(plain.replacing("'", with: "''"))'")
            }
            try stop()
        }
    }

    private func write(_ lines: [String], to name: String) throws {
        let path = "\(folder)/data/\(name)"
        let descriptor = try OwnedDescriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC)
        let bytes = Array((lines.joined(separator: "\n") + "\n").utf8)
        try bytes.withUnsafeBytes { try DescriptorIO.write(descriptor.raw, $0, path) }
        try account.own(path)
    }

    /// Starts the server and waits until it takes connections.
    package func start() throws {
        try check(
            runner.run(
                tool("pg_ctl", ["-D", "\(folder)/data", "-l", "\(folder)/log", "-w", "-t", "60", "start"]), deadline: 90
            ))
    }

    package func stop(_ mode: StopMode = .fast) throws {
        try check(
            runner.run(
                tool("pg_ctl", ["-D", "\(folder)/data", "-m", mode.rawValue, "-w", "-t", "60", "stop"]), deadline: 90))
    }

    /// kill -9 of the postmaster; its backends follow.
    package func kill() throws {
        let result = try check(runner.run(ProcessCommand("head", ["-n", "1", "\(folder)/data/postmaster.pid"])))
        guard let postmaster = pid_t(result.trimmed) else { throw LifeboatError("no postmaster runs in \(folder)") }
        Glibc.kill(postmaster, SIGKILL)
        // Bounded: where nobody reaps orphans it stays as a zombie.
        for _ in 0..<200 {
            guard Glibc.kill(postmaster, 0) == 0 else { break }
            usleep(10_000)
        }
    }

    /// Stops the server, if it runs, and removes everything.
    package func remove() {
        _ = try? runner.run(
            tool("pg_ctl", ["-D", "\(folder)/data", "-m", "immediate", "-w", "-t", "30", "stop"]), deadline: 60)
        try? temporary.remove()
    }

    /// Runs SQL as the superuser over the unix socket (no password) and gives unaligned rows without headers.
    @discardableResult
    package func psql(_ sql: String, database: String = "postgres") throws -> String {
        let quoted = database.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
        let command = tool(
            "psql",
            [
                "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--file=-",
                "--dbname=host='\(folder)' port=\(port) user=postgres dbname='\(quoted)'",
            ])
        let result = try runner.run(
            command, input: Array(sql.utf8), outputLimit: 16 << 20, deadline: 120, cancellation: nil)
        return try check(result).trimmed
    }

    private func tool(_ name: String, _ arguments: [String]) -> ProcessCommand {
        account.command("\(binaries)/\(name)", arguments)
    }

    @discardableResult
    private func check(_ result: ProcessResult) throws -> ProcessResult {
        guard result.termination.succeeded else {
            throw LifeboatError(
                "a command of the PostgreSQL test cluster failed: \(result.termination)",
                causes: ProcessResult.lastLines(of: result.standardError))
        }
        return result
    }
}

extension ProcessResult {
    /// Standard output as text without the newline at its end.
    var trimmed: String {
        var text = String(decoding: standardOutput, as: UTF8.self)
        while text.hasSuffix("\n") { text.removeLast() }
        return text
    }
}
