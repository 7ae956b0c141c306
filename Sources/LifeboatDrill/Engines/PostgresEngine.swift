// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatPolicy
import LifeboatStores

/// A PostgreSQL cluster of its own, reached by a unix socket only.
final class PostgresEngine: ThrowawayEngine {
    /// Folder of initdb, postgres and the client programs.
    let binaries: String
    let version: String
    /// Holds the socket and the data.
    let folder: String
    /// The superuser, who needs no password: nobody else reaches the socket.
    let user: String
    private let account: (user: UInt32, group: UInt32)?
    private let runner: any ProcessRunner
    private let process: EngineProcess
    /// Nil: this host cannot keep it off the network.
    private let isolation: NetworkIsolation?

    /// Settings of the captured server that extensions of the data need.
    private let settings: [String: String]
    /// Libraries that are loaded when the server starts.
    private var libraries: [String] = []
    /// Libraries of the captured server that are not.
    private var missingLibraries: [String] = []

    static let port = 5432

    private var data: String { "\(folder)/data" }
    var subject: String { "PostgreSQL \(version)" }

    /// `captured`: the version of the snapshot, whose major is needed. `settings`: of the captured server, see
    /// `PostgresFacts.serverSettings`. `preferred`: a folder of the policy to look into first.
    init(
        captured: String, settings: [String: String], preferred: String?, folder: String, user: String,
        _ programs: EnginePrograms,
        _ clock: any Clock
    ) throws {
        self.folder = folder
        self.user = user
        self.settings = settings
        runner = programs.runner
        (binaries, version) = try Self.find(major: Self.major(captured), captured, preferred, programs)
        process = EngineProcess("PostgreSQL", programs.runner, clock)
        isolation = try NetworkIsolation.find(programs)
        if geteuid() == 0 {
            // PostgreSQL refuses to run as root.
            guard let account = FileAccess.account("postgres") ?? FileAccess.account("nobody") else {
                throw LifeboatError(
                    "there is no user that PostgreSQL of the sandbox could run as", hint: "Create a user 'postgres'.")
            }
            self.account = account
        } else {
            account = nil
        }
    }

    private static func major(_ version: String) -> String { String(version.prefix { $0 != "." }) }

    private static func find(
        major: String, _ captured: String, _ preferred: String?, _ programs: EnginePrograms
    ) throws -> (folder: String, version: String) {
        let usual = programs.path.split(separator: ":").map(String.init)
        var others: [String] = []
        let folders = [preferred, "/usr/lib/postgresql/\(major)/bin", "/usr/local/pgsql/bin"].compactMap { $0 } + usual
        for folder in folders + otherMajors() where programs.isExecutable("\(folder)/initdb") {
            guard programs.isExecutable("\(folder)/postgres"),
                let version = try programs.version("\(folder)/postgres")
            else { continue }
            if Self.major(version) == major { return (folder, version) }
            let told = "'\(folder)' has version \(version)"
            if !others.contains(told) { others.append(told) }
        }
        throw LifeboatError(
            "this host has no PostgreSQL \(major) for the sandbox",
            causes: ["the snapshot is of PostgreSQL \(captured)"] + others,
            hint: "Install the package postgresql-\(major), drill in the stack's own containers with --sandbox compose,"
                + " or leave the component out with --component.")
    }

    private static func otherMajors() -> [String] { (10...40).reversed().map { "/usr/lib/postgresql/\($0)/bin" } }

    func prepare(_ cancellation: Cancellation) throws {
        try FileTree.createFolders(folder, mode: 0o700)
        if let account, chown(folder, account.user, account.group) != 0 {
            throw SystemCallError("change the owner of", folder)
        }
        let result = try runner.run(
            command(
                "initdb",
                [
                    "--pgdata", data, "--username", user, "--auth", "trust", "--encoding", "UTF8", "--locale", "C",
                    "--no-instructions",
                ]), deadline: 600, cancellation: cancellation)
        guard result.termination.succeeded else {
            throw LifeboatError(
                "cannot make a PostgreSQL for the sandbox: \(result.termination)",
                causes: ProcessResult.lastLines(of: result.standardError),
                hint: "Its user must be able to enter '\(folder)': name another place with 'drill.folder'.")
        }
        chooseLibraries()
    }

    private static let preload = "shared_preload_libraries"

    /// The libraries of the captured server that are installed here. None with the host's network: some connect.
    private func chooseLibraries() {
        let wanted = PostgresSettings.Setting.names(in: settings[Self.preload] ?? "")
        libraries = isolation == nil ? [] : wanted.filter { isInstalled($0) }
        missingLibraries = wanted.filter { !libraries.contains($0) }
    }

    /// Whether the server finds a library: by its path, or by its name where its own are.
    private func isInstalled(_ library: String) -> Bool {
        let folders = [
            "\(binaries)/../lib", "\(binaries)/../lib/postgresql",
            "/usr/lib/postgresql/\(Self.major(version))/lib",
        ]
        let name = library.replacing("$libdir/", with: "")
        let paths = name.hasPrefix("/") ? [name] : folders.map { "\($0)/\(name)" }
        return paths.contains { access($0, R_OK) == 0 || access("\($0).so", R_OK) == 0 }
    }

    /// Settings for extensions, of which none is to do anything by itself.
    private var extensionArguments: [String] {
        guard !libraries.isEmpty else { return [] }
        let quoted = libraries.map { "\"\($0.replacing("\"", with: "\"\""))\"" }.joined(separator: ",")
        var arguments = ["-c", "\(Self.preload)=\(quoted)", "-c", "cron.launch_active_jobs=off"]
        for (name, value) in settings.sorted(by: { $0.key < $1.key }) where name != Self.preload {
            arguments += ["-c", "\(name)=\(value)"]
        }
        return arguments
    }

    func start() throws {
        let server = command(
            "postgres",
            extensionArguments + [
                "-D", data, "-p", "\(Self.port)", "-c", "listen_addresses=", "-c",
                "unix_socket_directories=\(folder)",
                // Nothing outside of the folder that a crash would leave.
                "-c", "dynamic_shared_memory_type=mmap", "-c", "logging_collector=off",
            ])
        try process.start(isolation?.command(server) ?? server)
    }

    /// Extensions that connect to other servers, by themselves or for a query.
    private static let connecting: Set<String> = [
        "dblink", "http", "jdbc_fdw", "mongo_fdw", "mysql_fdw", "odbc_fdw", "oracle_fdw", "pg_net",
        "plproxy", "postgres_fdw", "redis_fdw", "tds_fdw",
    ]

    /// Data that could make it connect to a live server is not loaded into an engine with a network.
    func check(_ facts: StoreFacts) throws -> [LifeboatError] {
        var warnings: [LifeboatError] = []
        if !missingLibraries.isEmpty {
            let names = missingLibraries.map { "'\($0)'" }.joined(separator: ", ")
            warnings.append(
                LifeboatError(
                    "PostgreSQL of the sandbox runs without libraries of the captured server: \(names)",
                    causes: ["what needs them cannot be created or filled in the drill"],
                    hint: isolation == nil
                        ? "Run the drill where unshare(1) may make a network namespace."
                        : "Install them on this host (\(Self.preload)), or drill with --sandbox compose."))
        }
        guard isolation == nil else { return warnings }
        let prefix = "extension:"
        let extensions = facts.texts.keys.compactMap { key in
            key.firstRange(of: prefix).map { String(key[$0.upperBound...]) }
        }
        let connecting = Set(extensions).intersection(Self.connecting).sorted()
        guard connecting.isEmpty else {
            throw LifeboatError(
                "PostgreSQL of the sandbox cannot be kept off the network, and the snapshot can connect to live servers",
                causes: ["extensions in the snapshot: \(connecting.joined(separator: ", "))"],
                hint: "Run the drill where unshare(1) may make a network namespace (as root, outside of a container),"
                    + " or with --sandbox compose.")
        }
        return warnings + [
            LifeboatError(
                "PostgreSQL of the sandbox runs with the host's network: this host gives no network namespace")
        ]
    }

    func awaitReady(_ cancellation: Cancellation) throws {
        let store = PostgresStore(
            endpoint: PostgresEndpoint(host: folder, port: UInt16(Self.port), user: user), database: "postgres",
            binaries: binaries, runner: runner)
        let isReady = { _ = try store.scalar("SELECT 1", cancellation: cancellation) }
        do {
            try process.await(cancellation, isReady)
        } catch  where !libraries.isEmpty && process.hasEnded {
            // One of the libraries needs more than this host has.
            missingLibraries += libraries
            libraries = []
            try start()
            try process.await(cancellation, isReady)
        }
    }

    /// At once, also when sessions are open.
    func stop() throws {
        let stopping = command("pg_ctl", ["-D", data, "-m", "fast", "-w", "-t", "60", "stop"])
        _ = try runner.run(stopping, deadline: 90)
        try process.stop()
    }

    private func command(_ program: String, _ arguments: [String]) -> ProcessCommand {
        ProcessCommand(
            "\(binaries)/\(program)", arguments,
            environment: ["PGPASSWORD": nil, "PGHOST": nil, "PGSERVICE": nil, "PGDATA": nil, "LC_ALL": "C.UTF-8"],
            workingDirectory: folder, userID: account?.user, groupID: account?.group)
    }

    func letGo() { process.letGo() }
}
