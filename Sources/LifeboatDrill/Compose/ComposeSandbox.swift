// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import LifeboatCore
package import LifeboatIO
import LifeboatRepository
import LifeboatServices

/// The stack's own Compose project under another name, for one drill. Blocking.
final class ComposeSandbox {
    let name: String
    let project: SandboxProject
    let docker: DockerProgram
    /// The host's paths are below it.
    private let root: String
    private let cancellation: Cancellation
    /// With secrets in it: handed to Compose through its standard input, never written down.
    private let text: [UInt8]

    /// Seconds for services to become healthy, or to stop.
    private static let upLimit = 900
    /// Larger folders are not copied, but read where they are.
    private static let copyLimit = 64 << 20

    /// `paths`: of components whose data is moved below `root`.
    init(
        _ live: ComposeProject, name: String, root: String, paths: [String], _ docker: DockerProgram,
        _ cancellation: Cancellation
    ) throws {
        self.name = name
        self.docker = docker
        self.root = root
        self.cancellation = cancellation
        let model = try docker.model(live, cancellation)
        let mountpoints = try docker.mountpoints()
        project = try SandboxProject(
            model, name: name, bind: { try Self.bind($0, $1, root, paths, docker) },
            folder: { volume in Self.place(of: volume, mountpoints, paths).map { root + $0 } })
        text = try CanonicalJSON.encode(project.model)
    }

    private static func bind(
        _ source: String, _ isReadOnly: Bool, _ root: String, _ paths: [String], _ docker: DockerProgram
    ) throws -> SandboxProject.Bind {
        if source.hasSuffix("/docker.sock") { return .dropped("it would reach the container engine") }
        let moved = "\(root)\(source)"
        if holds(source, paths) { return .moved(moved) }
        if isReadOnly { return .readOnly }
        guard try docker.size(of: source) <= copyLimit else { return .readOnly }
        let parent = String(moved[..<(moved.lastIndex(of: "/") ?? moved.endIndex)])
        try FileTree.createFolders(parent, mode: 0o755)
        try docker.copy(source, to: moved)
        return .moved(moved)
    }

    /// Whether a folder holds one of these paths, or lies in it.
    private static func holds(_ folder: String, _ paths: [String]) -> Bool {
        func isBelow(_ path: String, _ other: String) -> Bool { path == other || path.hasPrefix("\(other)/") }
        return paths.contains { isBelow(folder, $0) || isBelow($0, folder) }
    }

    /// The folder on this host that a volume is, when one of these paths is of it. One that does not exist is where an
    /// engine would make it.
    private static func place(of volume: String, _ mountpoints: [String: String], _ paths: [String]) -> String? {
        if let mountpoint = mountpoints[volume] { return holds(mountpoint, paths) ? mountpoint : nil }
        return paths.lazy.compactMap { path in
            path.firstRange(of: "/volumes/\(volume)/_data").map { String(path[..<$0.upperBound]) }
        }
        .first { holds($0, paths) }
    }

    /// Starts these services, or all, and waits until they are healthy. `alone`: without those they depend on.
    func up(_ services: [String] = [], alone: Bool = true) throws {
        var words = ["up", "--detach", "--no-build", "--wait", "--wait-timeout", "\(Self.upLimit)"]
        // A server comes up alone: what uses it comes when its data is there.
        if !services.isEmpty, alone { words.append("--no-deps") }
        do {
            try compose(words + services)
        } catch {
            let told = LifeboatError.converting(error)
            if told.exitCode == .interrupted { throw told }
            throw LifeboatError(told.message, causes: told.causes + failedContainers(), hint: told.hint)
        }
    }

    /// The last lines that containers printed which ended with a failure, or are not healthy.
    private func failedContainers() -> [String] {
        let filter = ["ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project=\(name)"]
        // `.ID`, not `.Id`: with a name the client does not know it takes another way, on which a container without a
        // health check is an error.
        let format =
            "{{.ID}} {{index .Config.Labels \"com.docker.compose.service\"}} {{.State.Status}} {{.State.ExitCode}}"
            + " {{if .State.Health}}{{.State.Health.Status}}{{end}}"
        // What was wrong is reported all the same when the engine does not answer any more.
        guard let ids = try? docker.lines(filter), !ids.isEmpty,
            let states = try? docker.lines(["inspect", "--format", format] + ids)
        else { return [] }
        var causes: [String] = []
        for state in states {
            let words = state.split(separator: " ").map(String.init)
            guard words.count >= 4 else { continue }
            let isIll = words[2] == "running" && words.count > 4 && words[4] == "unhealthy"
            guard isIll || (words[2] != "running" && words[2] != "created" && words[3] != "0") else { continue }
            let ending = isIll ? "is unhealthy" : "ended with \(words[3])"
            let lines = docker.log(of: words[0], lines: Self.logLines)
            causes.append(
                "the container of service '\(words[1])' \(ending)"
                    + (lines.isEmpty ? ", and printed nothing" : "; the last lines of its log:"))
            causes += lines.map { "  \($0)" }
            if causes.count > 4 * Self.logLines { break }
        }
        return causes
    }

    private static let logLines = 5

    /// The services that can run when these components' data is not there: neither their servers, nor what mounts their
    /// paths, nor what depends on one of these. Nil when that is unknown: nothing is known to need one of the servers.
    func runnable(servers: Set<String>, paths: [String]) -> [String]? {
        var lacking = servers
        for (service, mounts) in project.mounts
        where mounts.contains(where: { Self.holds($0, paths.map { root + $0 }) }) {
            lacking.insert(service)
        }
        for server in servers where !project.dependencies.values.contains(where: { $0.contains(server) }) { return nil }
        while let next = project.dependencies.first(where: {
            !lacking.contains($0.key) && !$0.value.isDisjoint(with: lacking)
        }) {
            lacking.insert(next.key)
        }
        return project.services.filter { !lacking.contains($0) }
    }

    func stop(_ services: [String] = []) throws { try compose(["stop"] + services) }

    private func compose(_ words: [String]) throws {
        let program = try docker.composeWords(cancellation)
        _ = try docker.run(
            program + ["--project-name", name, "--file", "-"] + words, input: text,
            deadline: Double(Self.upLimit) + 60, cancellation)
    }

    /// Address and port of what the project publishes as `port`.
    func address(published port: Int) throws -> String? {
        guard let target = project.published[port] else { return nil }
        let format = "{{range .NetworkSettings.Networks}}{{println .IPAddress}}{{end}}"
        let ids = try docker.lines(
            [
                "ps", "-q", "--filter", "label=com.docker.compose.project=\(name)", "--filter",
                "label=com.docker.compose.service=\(target.service)",
            ])
        guard let id = ids.first,
            let address = try docker.lines(["inspect", "--format", format, id]).first(where: { !$0.isEmpty })
        else { return nil }
        return "\(address):\(target.port)"
    }

    /// Removes every container, volume and network of a sandbox, and makes sure that none is left.
    static func remove(_ name: String, _ docker: DockerProgram) throws {
        guard name.hasPrefix(namePrefix) else { throw LifeboatError("'\(name)' is not the project of a sandbox") }
        let filter = ["--filter", "label=com.docker.compose.project=\(name)"]
        for (list, remove) in [
            (["ps", "--all", "--quiet"], ["rm", "--force", "--volumes"]),
            (["volume", "ls", "--quiet"], ["volume", "rm", "--force"]),
            (["network", "ls", "--quiet"], ["network", "rm"]),
        ] {
            let found = try docker.lines(list + filter)
            if found.isEmpty { continue }
            _ = try docker.run(["docker"] + remove + found, deadline: 300, nil)
            let left = try docker.lines(list + filter)
            guard left.isEmpty else {
                throw LifeboatError("\(left.count) things of the sandbox '\(name)' cannot be removed", causes: left)
            }
        }
    }

    static let namePrefix = "lifeboat-drill-"

    /// Everything on the engine that is not the sandbox's: containers with their state and when they were started,
    /// volumes, networks.
    static func living(_ docker: DockerProgram, without name: String) throws -> [String] {
        let ids = try docker.lines([
            "ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Label \"com.docker.compose.project\"}}",
        ]).filter { !$0.hasSuffix(" \(name)") }.compactMap { $0.split(separator: " ").first.map(String.init) }
        var lines: [String] = []
        if !ids.isEmpty {
            let format = "container {{.Name}} {{.Id}} {{.State.Status}} {{.State.StartedAt}} {{.State.Pid}}"
            lines += try docker.lines(["inspect", "--format", format] + ids)
        }
        lines += try docker.lines(["volume", "ls", "--format", "volume {{.Name}}"]).filter { !$0.contains(" \(name)_") }
        lines += try docker.lines(["network", "ls", "--no-trunc", "--format", "network {{.Name}} {{.ID}}"])
            .filter { !$0.contains(" \(name)_") }
        return lines.sorted()
    }
}

/// The command line of the container engine.
package struct DockerProgram: Sendable {
    private let runner: any ProcessRunner
    /// Where the engine is, as the user has it.
    private let environment: [String: String]
    /// What variables in Compose files come from.
    private let projectVariables: [String: String]

    /// `projectVariables`: see `ComposeVariables`.
    package init(
        runner: any ProcessRunner, environment: [String: String], projectVariables: [String: String] = [:]
    ) {
        self.runner = runner
        self.environment = InheritedEnvironment.containerEngine.filtered(environment)
        self.projectVariables = projectVariables
    }

    func run(
        _ words: [String], input: [UInt8] = [], isForProject: Bool = false, deadline: Double,
        _ cancellation: Cancellation?
    ) throws -> [UInt8] {
        var variables: [String: String?] = environment.mapValues { $0 }
        if isForProject { variables.merge(projectVariables.mapValues { $0 }) { $1 } }
        variables["COMPOSE_ANSI"] = "never"
        variables["COMPOSE_PROGRESS"] = "quiet"
        let result = try runner.run(
            ProcessCommand(
                words[0], Array(words.dropFirst()), environment: variables, inherits: .containerEngine,
                workingDirectory: "/"),
            input: input, outputLimit: 64 << 20, deadline: deadline, cancellation: cancellation)
        guard result.termination.succeeded else {
            throw LifeboatError(
                "'\(words.prefix(6).joined(separator: " "))' failed: \(result.termination)",
                causes: ProcessResult.lastLines(of: result.standardError))
        }
        return result.standardOutput
    }

    /// Lines that `docker` prints.
    func lines(_ words: [String]) throws -> [String] {
        let output = try run(["docker"] + words, deadline: 120, nil)
        return String(decoding: output, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    /// The last lines a container printed; none when they cannot be had.
    func log(of container: String, lines: Int) -> [String] {
        let command = ProcessCommand(
            "docker", ["logs", "--tail", "\(lines)", container], environment: environment.mapValues { $0 },
            inherits: .containerEngine, workingDirectory: "/")
        guard
            let result = try? runner.run(
                command, input: [], outputLimit: 1 << 20, deadline: 30, cancellation: nil),
            result.termination.succeeded
        else { return [] }
        let text = String(decoding: result.standardOutput, as: UTF8.self) + result.standardError
        return text.split(separator: "\n").suffix(lines).map { String($0.prefix(300)) }
    }

    /// Throws when no container engine answers; `hint`: what to do then.
    func requireEngine(hint: String) throws {
        do {
            _ = try run(["docker", "version", "--format", "{{.Server.Version}}"], deadline: 60, nil)
        } catch {
            let told = LifeboatError.converting(error)
            if told.exitCode == .interrupted { throw told }
            throw LifeboatError(
                "the Compose sandbox needs a Docker engine, and none answers", causes: [told.message] + told.causes,
                hint: hint)
        }
    }

    /// The folders of volumes that exist, by name.
    func mountpoints() throws -> [String: String] {
        let pairs = try lines(["volume", "ls", "--format", "{{.Name}} {{.Mountpoint}}"]).compactMap { line in
            line.firstIndex(of: " ").map { (String(line[..<$0]), String(line[line.index(after: $0)...])) }
        }
        return Dictionary(pairs) { first, _ in first }
    }

    func composeWords(_ cancellation: Cancellation) throws -> [String] {
        do {
            _ = try run(["docker", "compose", "version"], deadline: 60, cancellation)
            return ["docker", "compose"]
        } catch let error as LifeboatError where error.exitCode == .interrupted {
            throw error
        } catch {
            return ["docker-compose"]
        }
    }

    /// The project as Compose understands it, with everything in it.
    func model(_ project: ComposeProject, _ cancellation: Cancellation) throws -> JSONValue {
        let words = try composeWords(cancellation) + project.options(project: project.name)
        let output = try run(
            words + ["config", "--format", "json"], isForProject: true, deadline: 60, cancellation)
        do {
            return try JSONDecoder().decode(JSONValue.self, from: Data(output))
        } catch {
            throw LifeboatError("'docker compose config' gives a model that cannot be read")
        }
    }

    /// Bytes below a path; none when there is nothing.
    func size(of path: String) throws -> Int {
        guard access(path, F_OK) == 0 else { return 0 }
        let output = try run(["du", "--summarize", "--bytes", "--one-file-system", path], deadline: 120, nil)
        return Int(String(decoding: output, as: UTF8.self).prefix { $0.isNumber }) ?? Int.max
    }

    func copy(_ source: String, to target: String) throws {
        guard access(source, F_OK) == 0 else { return try FileTree.createFolders(target, mode: 0o755) }
        if access(target, F_OK) == 0 { return }
        _ = try run(["cp", "--archive", source, target], deadline: 600, nil)
    }
}

/// A server of the sandbox's project, as the engine of a component.
final class ComposeEngine: ThrowawayEngine {
    private let sandbox: ComposeSandbox
    let service: String

    init(_ sandbox: ComposeSandbox, service: String) {
        self.sandbox = sandbox
        self.service = service
    }

    var subject: String { "service '\(service)' of project '\(sandbox.name)'" }
    func prepare(_ cancellation: Cancellation) throws {}
    /// Compose waits for its health.
    func start() throws { try sandbox.up([service]) }
    func awaitReady(_ cancellation: Cancellation) throws {}
    func stop() throws { try sandbox.stop([service]) }
    func letGo() {}
}
