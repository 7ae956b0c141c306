// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// The stack of `fixtures/shop` on a Docker engine of its own, with a policy for it, for the built program: PostgreSQL,
/// Redis with an append-only file and a password, Chroma, a worker and an api that wait for them. All its data says one
/// word, so that a look tells whose data is live, and whether it is all of it.
package final class ShopStack: Sendable {
    package static var shouldRun: Bool {
        DockerCompose.shouldRun && PostgresCluster.shouldRun && ChromaServer.shouldRun
            && RedisServer.shouldRun([.redis7])
    }
    package static let skipReason = "needs root, a Docker engine, Compose, PostgreSQL, Redis and Chroma (scripts/setup)"

    package static let services = ["api", "chroma", "postgres", "redis", "worker"]
    private static let password = "shop-canary-4711"

    package let daemon: DockerDaemon
    /// lifeboat's: its state, its repository, its policies.
    package let folder: ScenarioFolder
    /// The Compose file and what its services share with the host.
    package let project: String
    /// A volume of Docker, where the engine keeps it.
    package let documents: String
    /// Of lifeboat and Compose: the way to the engine.
    package let environment: [String: String]
    private let runner = SystemProcessRunner(grace: 5)

    /// One for all tests of the process: it takes long to start.
    package static func shared() throws -> ShopStack {
        try sharedSlot.withLock { (slot: inout ShopStack?) in
            if let slot { return slot }
            let stack = try ShopStack()
            slot = stack
            return stack
        }
    }
    private static let sharedSlot = Monitor<ShopStack?>(nil)

    /// Starts everything, with the word `empty`.
    private init() throws {
        let daemon = try DockerDaemon(networked: true)
        atExit { daemon.remove() }
        self.daemon = daemon
        let folder = try ScenarioFolder(inMemory: false, prefix: daemon.networkWords)
        atExit { folder.remove() }
        self.folder = folder
        project = "\(daemon.folder)/shop"
        documents = "\(daemon.folder)/data/volumes/shop_documents/_data"
        environment = [
            "DOCKER_HOST": "unix://\(daemon.socket)", "DOCKER_CONFIG": "\(daemon.folder)/config", "DOCKER_CONTEXT": "",
        ]
        guard let binaries = PostgresCluster.installedBinaries, let wheel = WheelServer.wheel(ChromaServer.wheel) else {
            throw LifeboatError("a server of the shop is missing", hint: Self.skipReason)
        }
        try DockerCompose.installPlugin(in: "\(daemon.folder)/config")
        try daemon.makeHostImage("shop:test", path: "\(binaries):/usr/bin")
        for name in ["state", "programs"] { try FileTree.createFolders("\(project)/\(name)", mode: 0o755) }
        let redis = try RedisServer.installed(.redis7)
        try copyFixture()
        try AtomicFile.write(
            """
            POSTGRES_PASSWORD=\(Self.password)
            REDIS_PASSWORD=\(Self.password)
            PROGRAMS=\(project)/programs
            REDIS_PROGRAMS=\(redis.prefix(upTo: redis.lastIndex(of: "/") ?? redis.endIndex))
            CHROMA_WHEEL=\(wheel)

            """, to: "\(project)/.env")
        try AtomicFile.write("\(Self.password)\n", to: "\(folder.path)/password")
        try writePolicy()
        try compose("up", "--detach", "--wait", "--wait-timeout", "400")
        try folder.createRepository()
    }

    private func copyFixture() throws {
        let root = #filePath.split(separator: "/").dropLast(4).joined(separator: "/")
        let result = try runner.run(
            ProcessCommand(
                "sh",
                [
                    "-c",
                    "cd \"$1\" && cp compose.yaml \"$2\" && cp postgres.sh *.py \"$2/programs\" && chmod -R a+rX \"$2\"",
                    "sh", "/\(root)/fixtures/shop", project,
                ]))
        guard result.termination.succeeded else { throw LifeboatError("no shop", causes: [result.standardError]) }
    }

    /// Writes a policy; `within` is how long its health may take, `asking` the path it asks the api for.
    package func writePolicy(
        _ name: String = "lifeboat.yaml", within: String = "4m", asking: String = "/health", consecutive: Int = 2,
        asksWorker: Bool = true, mayKill: [String] = []
    ) throws {
        let killed = mayKill.isEmpty ? "" : ", may_kill: [\(mayKill.joined(separator: ", "))]"
        try AtomicFile.write(
            """
            stack: shop
            repository: ./repository
            encryption: none
            services:
              compose: {file: \(project)/compose.yaml, project: shop\(killed)}
              freeze: pause
            components:
              database: {postgres: {service: postgres, database: shop, user: shop, password: {file: ./password}}}
              queue: {redis: {service: redis, password: {file: ./password}}}
              vectors: {chroma: {service: chroma}}
              documents: {volume: {path: \(documents)}}
            health:
              - {http: "http://127.0.0.1:8080\(asking)", within: \(within), consecutive: \(consecutive), interval: 300ms}
              \(asksWorker ? "- {container: worker, within: \(within)}" : "")

            """, to: "\(folder.path)/\(name)")
    }

    // MARK: Running things

    package func lifeboat(_ words: String...) throws -> LifeboatRun {
        try folder.lifeboat(words, environment: environment)
    }

    /// A run that has to end with exit code 0.
    @discardableResult
    package func succeed(_ words: String...) throws -> LifeboatRun {
        let run = try folder.lifeboat(words, environment: environment)
        guard run.exit == 0 else {
            throw LifeboatError("'lifeboat \(words.joined(separator: " "))' failed", causes: [run.description])
        }
        return run
    }

    /// A run with a fault; `hit` is empty when it never came there.
    package func lifeboat(_ words: [String], fault: ScenarioFault) throws -> (run: LifeboatRun, hit: String) {
        let report = "\(folder.path)/fault-report"
        unlink(report)
        let run = try folder.lifeboat(
            words, environment: environment.merging(try fault.environment(report: report)) { $1 })
        let lines = access(report, F_OK) == 0 ? try folder.shell("cat '\(report)'").split(separator: "\n") : []
        return (run, lines.first { !$0.hasPrefix("counted") }.map(String.init) ?? "")
    }

    /// A run that is not disturbed, and how many calls that count it makes.
    package func counted(
        _ words: [String], of calls: [String], path: String = ""
    ) throws -> (run: LifeboatRun, calls: Int) {
        let report = "\(folder.path)/fault-report"
        unlink(report)
        let fault = ScenarioFault(.kill, at: 0, of: calls, path: path)
        let run = try folder.lifeboat(
            words, environment: environment.merging(try fault.environment(report: report)) { $1 })
        return (run, Int(try folder.shell("sed -n 's/counted //p' '\(report)'")) ?? 0)
    }

    /// `docker compose` on the project.
    @discardableResult
    package func compose(_ words: String...) throws -> String {
        try call("docker", ["compose", "--project-name", "shop", "--file", "\(project)/compose.yaml"] + words)
    }

    @discardableResult
    package func docker(_ words: String...) throws -> String { try call("docker", words) }

    private func call(_ program: String, _ words: [String], deadline: Double = 500) throws -> String {
        let result = try runner.run(
            ProcessCommand(program, words, environment: environment, workingDirectory: project), deadline: deadline)
        guard result.termination.succeeded else {
            throw LifeboatError(
                "'\(program) \(words.joined(separator: " "))' failed: \(result.termination)",
                causes: ProcessResult.lastLines(of: result.standardError) + [result.trimmed])
        }
        return result.trimmed
    }

    // MARK: What it is

    /// An answer of the api, in the network of the containers.
    package func api(_ path: String, post: Bool = false) throws -> String {
        let words = daemon.networkWords + ["curl", "-sS", "--fail-with-body", "--max-time", "60"]
        return try call(
            words[0], words.dropFirst() + (post ? ["-X", "POST"] : []) + ["http://127.0.0.1:8080\(path)"])
    }

    /// Makes all data say this word. Tried again: on a busy machine a server may answer late.
    package func setWord(_ word: String) throws {
        for _ in 0..<2 {
            if (try? api("/words/\(word)", post: true)) != nil { return }
            usleep(500_000)
        }
        _ = try api("/words/\(word)", post: true)
    }

    /// The word all data says; else what it is a mixture of.
    package func word() throws -> String { try api("/word") }

    /// What is wrong with the stack besides its data: services that are down or not well, restart policies that are not
    /// their own, things a restore left. Waits for health, as anything else in front of a stack does.
    package func problems() throws -> [String] {
        var problems: [String] = []
        var states: [String] = []
        for _ in 0..<300 {
            states = try docker(
                "ps", "--all", "--filter", "label=com.docker.compose.project=shop", "--format",
                "{{.Label \"com.docker.compose.service\"}} {{.State}} {{.Status}}"
            ).split(separator: "\n").map(String.init).sorted()
            if states.count == Self.services.count, states.allSatisfy({ $0.contains("(healthy)") }) { break }
            usleep(300_000)
        }
        if states.count != Self.services.count { problems.append("there are: \(states)") }
        problems += states.filter { !$0.contains("(healthy)") || !$0.contains(" running ") }
        let policies = try docker(
            "inspect", "--format", "{{.Name}} {{.HostConfig.RestartPolicy.Name}}", "shop-redis-1", "shop-worker-1")
        if policies != "/shop-redis-1 always\n/shop-worker-1 unless-stopped" { problems.append(policies) }
        let names = try api("/names")
        if names != "postgres shop template0 template1 notes" { problems.append("databases, collections: \(names)") }
        let left = try folder.shell(
            """
            ls -d '\(documents)'?* '\(daemon.folder)'/data/volumes/shop_redis-data/_data/lifeboat-* \
            '\(folder.state)'/restores/*.json '\(folder.state)'/compose/* 2>/dev/null || :
            """)
        if !left.isEmpty { problems.append("left: \(left)") }
        return problems
    }

    /// A file that the services look at; nil removes it.
    package func setFlag(_ name: String, _ text: String?) throws {
        let path = "\(project)/state/\(name)"
        if let text {
            try AtomicFile.write(text, to: path, mode: 0o644)
        } else if unlink(path) != 0, errno != ENOENT {
            throw SystemCallError("remove", path)
        }
    }

    /// SQL on the shop's database.
    @discardableResult
    package func sql(_ text: String) throws -> String {
        try compose(
            "exec", "-T", "postgres", "env", "PGPASSWORD=\(Self.password)", "psql", "-XAtqU", "shop", "-c", text)
    }

    /// Whether a secret of the stack stands anywhere in what lifeboat wrote.
    package func secretsFound(in runs: [LifeboatRun]) throws -> String {
        let told = runs.filter { $0.description.contains(Self.password) }.map(\.description)
        return try told.joined()
            + folder.shell("cd '\(folder.path)' && grep -rl \(Self.password) repository state cache || :")
    }
}
