// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
package import LifeboatServices

/// A Compose project on a Docker engine of the tests' own. Its containers run this host's shell; they can be told to
/// ignore their stop and to be unhealthy by files in `state`, and write down when they start and stop.
package final class ComposeFixture: ServiceFixture {
    package enum Access: Sendable, CaseIterable {
        /// The Engine API, and Compose as docker's plugin.
        case socket
        /// The `docker` program alone.
        case commandLine
    }

    package let daemon: DockerDaemon
    package let project: String
    /// With the Compose file, the configuration of docker and the services' folder `state`.
    package let folder: String
    package let services: [String]
    package let manager: any ServiceManager
    package let compose: ComposeServices
    package let environment: [String: String]
    private let temporary: TemporaryFolder
    private let runner = SystemProcessRunner(grace: 5)
    private static let image = Monitor<Set<String>>([])

    package var file: String { "\(folder)/compose.yaml" }
    package var state: String { "\(folder)/state" }

    /// What the stack of `webStack` starts in.
    package static let webServices = ["cache", "db", "api"]
    /// A database, a cache, and an api that waits for the one to be healthy and the other to run.
    package static let webStack = """
        services:
          db: {<<: *service, command: [/bin/sh, /state/serve, db], healthcheck: *healthy, restart: always}
          cache: {<<: *service, command: [/bin/sh, /state/serve, cache], restart: unless-stopped}
          api:
            <<: *service
            command: [/bin/sh, /state/serve, api]
            restart: on-failure:4
            depends_on: {db: {condition: service_healthy}, cache: {condition: service_started}}
        """

    /// Brings the project up and waits for it. `stack` is the file from `services:` on; `services` its names in start
    /// order; `grace` seconds until a service that ignores its stop is killed: enough for one that obeys on a busy machine.
    package init(
        _ daemon: DockerDaemon, stack: String = ComposeFixture.webStack,
        services: [String] = ComposeFixture.webServices, access: Access = .socket, mayKill: [String] = [],
        grace: Int = 8, name: String? = nil, up: [String] = ["up", "--detach", "--wait", "--wait-timeout", "120"],
        deadlines: ComposeServices.Deadlines = .init()
    ) throws {
        self.daemon = daemon
        self.services = services
        let temporary = try TemporaryFolder(prefix: "p", in: daemon.folder)
        self.temporary = temporary
        folder = temporary.path
        let project = name ?? "lb\(UInt32.random(in: 0...UInt32.max))"
        self.project = project
        let environment = [
            "DOCKER_HOST": "unix://\(daemon.socket)", "DOCKER_CONFIG": "\(folder)/docker", "DOCKER_CONTEXT": "",
        ]
        self.environment = environment
        try DockerCompose.installPlugin(in: "\(folder)/docker")
        try Self.image.withLock { (made: inout Set<String>) in
            if made.contains(daemon.folder) { return }
            try daemon.makeHostImage("services:test", path: "/bin")
            made.insert(daemon.folder)
        }
        try FileTree.createFolders("\(folder)/state")
        try AtomicFile.write(Self.serve, to: "\(folder)/state/serve")
        try AtomicFile.write(
            """
            x-service: &service
              image: services:test
              network_mode: none
              stop_grace_period: \(grace)s
              volumes: ["/usr:/usr:ro", "./state:/state"]
            x-healthy: &healthy {test: [CMD, /bin/sh, /state/serve, --check], interval: 300ms, timeout: 20s, retries: 2}
            \(stack)

            """, to: "\(folder)/compose.yaml")
        let engine: any ContainerEngine =
            switch access {
            case .socket: EngineAPI(.socket(daemon.socket))
            case .commandLine: EngineCommandLine(docker: [daemon.client], runner: runner)
            }
        compose = ComposeServices(
            ComposeProject(files: ["\(folder)/compose.yaml"], name: project), mayKill: mayKill, engine: engine,
            compose: ComposeCommand(runner: runner, environment: environment, folder: folder),
            stateFolder: "\(folder)/lifeboat", deadlines: deadlines)
        manager = compose
        if !up.isEmpty {
            try compose(up)
            try awaitListening()
        }
    }

    /// `serve NAME` runs until it is told to stop; `serve --check` is healthy unless a file says otherwise. While
    /// `listens-NAME` is there it hears that it shall stop.
    private static let serve = """
        if [ "$1" = --check ]; then test ! -e /state/unhealthy; exit; fi
        trap 'rm -f /state/listens-'$1'
            test -e /state/stubborn-'$1' || { echo "stop '$1'" >>/state/log; exit 0; }' TERM
        echo "start $1" >>/state/log
        touch "/state/listens-$1"
        if [ -e /state/exit-$1 ]; then exit "$(cat /state/exit-$1)"; fi
        while :; do sleep 1000 & wait $!; done

        """

    /// A manager as another process would make it.
    package func anotherManager(
        _ project: ComposeProject? = nil, services: [String]? = nil, mayKill: [String] = [],
        engine: (any ContainerEngine)? = nil
    ) -> ComposeServices {
        ComposeServices(
            project ?? ComposeProject(files: [file], name: self.project), services: services, mayKill: mayKill,
            engine: engine ?? EngineAPI(.socket(daemon.socket)),
            compose: ComposeCommand(runner: runner, environment: environment, folder: folder),
            stateFolder: "\(self.folder)/lifeboat")
    }

    /// `docker compose` on this project.
    @discardableResult
    package func compose(_ words: [String]) throws -> String {
        try call("docker", ["compose", "--project-name", project, "--file", file] + words)
    }

    /// `docker` on this engine.
    @discardableResult
    package func docker(_ words: [String]) throws -> String { try call("docker", words) }

    private func call(_ program: String, _ words: [String]) throws -> String {
        let result = try runner.run(
            ProcessCommand(program, words, environment: environment, workingDirectory: folder), deadline: 240)
        guard result.termination.succeeded else {
            throw LifeboatError(
                "'\(program) \(words.joined(separator: " "))' failed: \(result.termination)",
                causes: ProcessResult.lastLines(of: result.standardError))
        }
        return result.trimmed
    }

    package func containerName(_ service: String) -> String { "\(project)-\(service)-1" }

    /// What `docker inspect` says of the service's container.
    package func inspect(_ service: String, _ format: String) throws -> String {
        try docker(["inspect", "--format", format, containerName(service)])
    }

    private func states() throws -> [String: String] {
        let lines = try docker([
            "ps", "--all", "--filter", "label=com.docker.compose.project=\(project)", "--format",
            "{{.Label \"com.docker.compose.service\"}} {{.State}}",
        ]).split(separator: "\n")
        var states: [String: String] = [:]
        for line in lines {
            let words = line.split(separator: " ")
            if words.count == 2 { states[String(words[0])] = String(words[1]) }
        }
        return states
    }

    /// What the services wrote down, oldest first.
    package func log() throws -> [String] {
        let bytes = try SmallFile.contents("\(state)/log") ?? []
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    /// The same when it has at least so many lines: the engine calls a container started before it has done anything.
    package func log(atLeast count: Int) throws -> [String] {
        try eventually("\(count) lines in the services' log") { try log().count >= count }
        return try log()
    }

    /// Returns when all that runs would hear that it shall stop: before that the signal is lost on the first process of a
    /// container.
    private func awaitListening() throws {
        for service in try observed() {
            try eventually("'\(service)' at work") { access("\(state)/listens-\(service)", F_OK) == 0 }
        }
    }

    private func eventually(_ what: String, _ condition: () throws -> Bool) throws {
        let clock = SystemClock()
        let end = clock.monotonicSeconds() + 60
        while try !condition() {
            guard clock.monotonicSeconds() < end else { throw LifeboatError("there is no \(what) after 60 s") }
            clock.sleep(seconds: 0.02)
        }
    }

    package func clearLog() throws { try AtomicFile.write("", to: "\(state)/log") }

    package func setFlag(_ name: String, _ text: String? = "") throws {
        if let text {
            try AtomicFile.write(text, to: "\(state)/\(name)")
        } else if unlink("\(state)/\(name)") != 0, errno != ENOENT {
            throw SystemCallError("remove", name)
        }
    }

    // MARK: ServiceFixture

    package func observed() throws -> [String] {
        let states = try states()
        return services.filter { states[$0] == "running" }
    }

    package func observedPaused() throws -> [String] {
        let states = try states()
        return services.filter { states[$0] == "paused" }
    }

    package func setOutside(_ service: String, running: Bool) throws {
        try docker([running ? "start" : "stop", containerName(service)])
    }

    package func makeStubborn(_ service: String) throws { try setFlag("stubborn-\(service)") }

    package func run(_ command: ServiceCommand) throws {
        // Another environment than the manager's: what is journalled must find its engine by itself.
        let result = try runner.run(
            ProcessCommand(command.words[0], Array(command.words.dropFirst()), workingDirectory: command.folder))
        guard result.termination.succeeded else {
            throw LifeboatError(
                "'\(command.words)' failed", causes: ProcessResult.lastLines(of: result.standardError))
        }
    }

    package func reset() throws {
        for service in services { try setFlag("stubborn-\(service)", nil) }
        let states = try states()
        let paused = services.filter { states[$0] == "paused" }
        if !paused.isEmpty { try docker(["unpause"] + paused.map(containerName)) }
        let down = services.filter { states[$0] == "exited" }
        if !down.isEmpty { try docker(["start"] + down.map(containerName)) }
        try awaitListening()
    }

    /// Ends the project.
    package func remove() {
        let label = "label=com.docker.compose.project=\(project)"
        let ids = (try? docker(["ps", "--all", "--quiet", "--filter", label]))?.split(separator: "\n").map(String.init)
        if let ids, !ids.isEmpty { _ = try? docker(["rm", "--force", "--volumes"] + ids) }
        try? temporary.remove()
    }
}
