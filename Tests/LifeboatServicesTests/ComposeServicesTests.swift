// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatServices
import LifeboatTesting
import Testing

/// A real Docker Engine with real Compose projects.
@Suite(.enabled(if: DockerCompose.shouldRun, .init(rawValue: DockerCompose.skipReason)))
struct ComposeServicesTests {
    private static let silent = SilentProgress()

    @Test(arguments: ComposeFixture.Access.allCases) func `a compose project keeps the contract`(
        _ access: ComposeFixture.Access
    ) throws {
        let fixture = try ComposeFixture(try .shared(), access: access)
        defer { fixture.remove() }
        for contract in ServiceManagerContract.all {
            do {
                try contract.check(fixture)
            } catch {
                Issue.record("\(contract): \(error)")
            }
            try fixture.reset()
        }
    }

    @Test func `order, health and restart policies are kept, and no container is made anew`() throws {
        let fixture = try ComposeFixture(try .shared())
        defer { fixture.remove() }
        let before = try fixture.services.map { try fixture.inspect($0, "{{.Id}}") }
        func policies() throws -> [String] {
            try ["cache", "db", "api"].map {
                try fixture.inspect(
                    $0, "{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}")
            }
        }
        #expect(try policies() == ["unless-stopped:0", "always:0", "on-failure:4"])
        let journalled = fixture.compose.startCommands(try fixture.compose.running(nil))
        try fixture.clearLog()

        let stopped = try fixture.compose.stop(fixture.services, progress: Self.silent, cancellation: nil)
        #expect(stopped == fixture.services)
        #expect(try fixture.log().first == "stop api")
        #expect(try policies() == ["no:0", "no:0", "no:0"])
        // What was written down before the stop knows the containers' own policies.
        #expect(journalled.contains { $0.words.suffix(2) == ["--restart=on-failure:4", fixture.containerName("api")] })

        // Another process starts what this one stopped, while the database is not well yet.
        try fixture.clearLog()
        try fixture.setFlag("unhealthy")
        let notes = Notes()
        let start = BlockingThread<Void>(name: "start") {
            try fixture.anotherManager().start(stopped, progress: notes, cancellation: nil)
        }
        while !notes.all.contains(where: { $0.hasPrefix("'api' waits for 'db': running, ") }) {
            SystemClock().sleep(seconds: 0.05)
        }
        SystemClock().sleep(seconds: 0.5)
        #expect(try fixture.log(atLeast: 2).sorted() == ["start cache", "start db"])
        try fixture.setFlag("unhealthy", nil)
        try start.join()
        #expect(try fixture.observed() == fixture.services)
        #expect(try fixture.inspect("db", "{{.State.Health.Status}}") == "healthy")
        #expect(try policies() == ["unless-stopped:0", "always:0", "on-failure:4"])
        #expect(try fixture.services.map { try fixture.inspect($0, "{{.Id}}") } == before)
        #expect(try SmallFile.contents("\(fixture.folder)/lifeboat/compose/\(fixture.project).json") == nil)

        // A container that is gone is made again, and the others stay as they are.
        try fixture.docker(["rm", "--force", fixture.containerName("api")])
        #expect(try fixture.compose.running(nil) == ["cache", "db"])
        #expect(try fixture.compose.all(nil) == fixture.services)
        try fixture.compose.start(fixture.services, progress: Self.silent, cancellation: nil)
        #expect(try fixture.observed() == fixture.services)
        #expect(try ["cache", "db"].map { try fixture.inspect($0, "{{.Id}}") } == Array(before.prefix(2)))

        // What somebody runs by hand is told and left alone.
        try fixture.compose(["run", "--detach", "--no-deps", "--name", "\(fixture.project)-hand", "cache"])
        let told = Notes()
        _ = try fixture.compose.stop(["cache"], progress: told, cancellation: nil)
        #expect(told.warnings == ["container '\(fixture.project)-hand' was started by hand and is left running"])
        #expect(
            try fixture.docker(["inspect", "--format", "{{.State.Status}}", "\(fixture.project)-hand"]) == "running")
        try fixture.docker(["rm", "--force", "\(fixture.project)-hand"])
    }

    @Test
    func `a service that ignores its stop is an error unless it may be killed, and flapping health is waited out`()
        throws
    {
        let fixture = try ComposeFixture(
            try .shared(),
            stack: """
                services:
                  web: {<<: *service, command: [/bin/sh, /state/serve, web], healthcheck: *healthy}
                """, services: ["web"], grace: 1)
        defer { fixture.remove() }
        try fixture.makeStubborn("web")
        let error = #expect(throws: LifeboatError.self) {
            _ = try fixture.compose.stop(["web"], progress: Self.silent, cancellation: nil)
        }
        #expect(error?.message == "service 'web' did not stop by itself within 1.0 s")
        #expect(error?.causes == ["container '\(fixture.containerName("web"))' was killed: exit code 137"])
        try fixture.compose.start(["web"], progress: Self.silent, cancellation: nil)
        // A lifeboat that died has asked for a stop that is still going on: who starts it again waits for that.
        let journalled = fixture.compose.startCommands(try fixture.compose.running(nil))
        for usesJournal in [false, true] {
            let dying = fixture.anotherManager()
            let stop = BlockingThread<Void>(name: "stop") {
                #expect(throws: LifeboatError.self) {
                    _ = try dying.stop(["web"], progress: Self.silent, cancellation: nil)
                }
            }
            let held = "\(fixture.folder)/lifeboat/compose/\(fixture.project).json"
            while try SmallFile.contents(held) == nil { SystemClock().sleep(seconds: 0.02) }
            if usesJournal {
                for command in journalled { try fixture.run(command) }
            } else {
                try fixture.anotherManager().start(["web"], progress: Self.silent, cancellation: nil)
            }
            try stop.join()
            #expect(try fixture.observed() == ["web"], "journal: \(usesJournal)")
            try fixture.compose.start(["web"], progress: Self.silent, cancellation: nil)
        }
        let tolerant = fixture.anotherManager(mayKill: ["web"])
        #expect(try tolerant.stop(["web"], progress: Self.silent, cancellation: nil) == ["web"])
        try fixture.setFlag("stubborn-web", nil)

        // Well, ill, well: only as many passes in a row as were asked for count.
        try tolerant.start(["web"], progress: Self.silent, cancellation: nil)
        let check = HealthCheck(
            probe: ContainerHealthProbe(tolerant, service: "web"), within: 120, interval: 0.3, consecutive: 8)
        let notes = Notes()
        let waiting = BlockingThread(name: "health") {
            try HealthWaiter().wait(for: [check], progress: notes, cancellation: Cancellation())
        }
        SystemClock().sleep(seconds: 1)
        try fixture.setFlag("unhealthy")
        while !notes.all.contains(where: { $0.hasSuffix("is running, unhealthy") }) {
            SystemClock().sleep(seconds: 0.05)
        }
        try fixture.setFlag("unhealthy", nil)
        let result = try #require(try waiting.join().first)
        #expect(result.healthy && result.passes == 8 && result.attempts > 8)
        let name = fixture.containerName("web")
        #expect(notes.all.contains("waiting for 'service web': container '\(name)' is running, unhealthy"))
        try fixture.setOutside("web", running: false)
        let down = #expect(throws: LifeboatError.self) {
            try ContainerHealthProbe(tolerant, service: "web").ask(timeout: 5, cancellation: nil)
        }
        #expect(down?.message == "container '\(name)' is exited with 0")
    }

    @Test func `the project is found by name, by file, by labels, with profiles and variables`() throws {
        let fixture = try ComposeFixture(
            try .shared(),
            stack: """
                services:
                  db: {<<: *service, command: [/bin/sh, /state/serve, db]}
                  api: {<<: *service, command: [/bin/sh, /state/serve, api], depends_on: [db]}
                  extra: {<<: *service, command: [/bin/sh, /state/serve, extra], profiles: [more], depends_on: [api]}
                """, services: ["db", "api"])
        defer { fixture.remove() }
        // Compose would call it after its folder, and nothing is called so: what was made from the file counts.
        let unnamed = fixture.anotherManager(ComposeProject(files: [fixture.file]))
        #expect(unnamed.subject == "the services of compose file '\(fixture.file)'")
        #expect(try unnamed.running(nil) == ["db", "api"])
        #expect(unnamed.subject == "the services of compose project '\(fixture.project)'")
        // Without any file the labels tell who needs whom.
        let bare = fixture.anotherManager(ComposeProject(name: fixture.project))
        #expect(try bare.running(nil) == ["db", "api"])
        // Some of them only.
        let some = fixture.anotherManager(services: ["api"])
        #expect(try some.running(nil) == ["api"])
        #expect(try some.stop(["db", "api"], progress: Self.silent, cancellation: nil) == ["api"])
        #expect(try fixture.observed() == ["db"])
        try some.start(["api"], progress: Self.silent, cancellation: nil)
        let wrong = fixture.anotherManager(services: ["ap"])
        let error = #expect(throws: LifeboatError.self) { _ = try wrong.running(nil) }
        #expect(error?.message == "compose project '\(fixture.project)' has no service 'ap'")
        #expect(error?.causes == ["it has: api, db"])

        // A second file, a profile, and a name out of an env file; nothing of it exists yet.
        try AtomicFile.write("NAME=\(fixture.project)\n", to: "\(fixture.folder)/names.env")
        try AtomicFile.write(
            """
            name: ${NAME:?}-two
            services:
              last: {image: "services:test", depends_on: {extra: {condition: service_completed_successfully}}}
            """, to: "\(fixture.folder)/more.yaml")
        let second = fixture.anotherManager(
            ComposeProject(
                files: [fixture.file, "\(fixture.folder)/more.yaml"],
                environmentFiles: ["\(fixture.folder)/names.env"], profiles: ["more"]))
        #expect(try second.all(nil) == ["db", "api", "extra", "last"])
        #expect(second.subject == "the services of compose project '\(fixture.project)-two'")
        #expect(try second.running(nil).isEmpty)

        // Two projects of one file: somebody has to say which.
        try fixture.docker(["compose", "--project-name", "\(fixture.project)-b", "--file", fixture.file, "create"])
        defer { _ = try? fixture.docker(["compose", "--project-name", "\(fixture.project)-b", "down"]) }
        let two = #expect(throws: LifeboatError.self) {
            _ = try fixture.anotherManager(ComposeProject(files: [fixture.file])).running(nil)
        }
        #expect(two?.message == "2 compose projects were made from the same file")
        #expect(two?.causes == ["project '\(fixture.project)'", "project '\(fixture.project)-b'"])
        // A file that is wrong is told with what Compose says.
        try AtomicFile.write("services: {a: {imag: x}}\n", to: "\(fixture.folder)/wrong.yaml")
        let broken = #expect(throws: LifeboatError.self) {
            _ = try fixture.anotherManager(ComposeProject(files: ["\(fixture.folder)/wrong.yaml"])).running(nil)
        }
        #expect(broken?.causes.contains { $0.contains("imag") } == true)
    }

    @Test func `what has to run to its end does, before what needs it`() throws {
        let fixture = try ComposeFixture(
            try .shared(),
            stack: """
                services:
                  migrate: {<<: *service, command: [/bin/sh, /state/serve, migrate]}
                  api:
                    <<: *service
                    command: [/bin/sh, /state/serve, api]
                    depends_on: {migrate: {condition: service_completed_successfully}}
                """, services: ["migrate", "api"], up: ["create"])
        defer { fixture.remove() }
        #expect(try fixture.compose.running(nil).isEmpty)
        try fixture.setFlag("exit-migrate", "0")
        try fixture.compose.start(try fixture.compose.all(nil), progress: Self.silent, cancellation: nil)
        #expect(try fixture.log(atLeast: 2) == ["start migrate", "start api"])
        #expect(try fixture.compose.running(nil) == ["api"])
        // What ran is what comes back: the migration is not run again.
        let stopped = try fixture.compose.stop(["migrate", "api"], progress: Self.silent, cancellation: nil)
        #expect(stopped == ["api"])
        try fixture.compose.start(stopped, progress: Self.silent, cancellation: nil)
        #expect(try fixture.log(atLeast: 4) == ["start migrate", "start api", "stop api", "start api"])
        _ = try fixture.compose.stop(["api"], progress: Self.silent, cancellation: nil)
        try fixture.setFlag("exit-migrate", "3")
        let error = #expect(throws: LifeboatError.self) {
            try fixture.compose.start(["migrate", "api"], progress: Self.silent, cancellation: nil)
        }
        #expect(error?.message == "service 'migrate' ended while service 'api' waited for it")
        #expect(error?.causes == ["container '\(fixture.containerName("migrate"))' is exited with 3"])
        #expect(try fixture.observed().isEmpty)
    }

    @Test func `what cannot be frozen at an instant is asked again, as long as it runs`() throws {
        let fixture = try ComposeFixture(
            try .shared(),
            stack: """
                services:
                  web: {<<: *service, command: [/bin/sh, /state/serve, web]}
                """, services: ["web"])
        defer { fixture.remove() }
        let engine = HesitantEngine(EngineAPI(.socket(fixture.daemon.socket)))
        let manager = fixture.anotherManager(engine: engine)
        engine.refuse(times: 3) {}
        #expect(try manager.pause(["web"], progress: Self.silent, cancellation: nil) == ["web"])
        #expect(try fixture.observedPaused() == ["web"])
        try manager.unpause(["web"], progress: Self.silent)

        engine.refuse(times: .max) { try fixture.setOutside("web", running: false) }
        let ended = #expect(throws: LifeboatError.self) {
            try manager.pause(["web"], progress: Self.silent, cancellation: nil)
        }
        #expect(ended?.message == "unable to freeze")
        try fixture.setOutside("web", running: true)
        let cancellation = Cancellation()
        engine.refuse(times: .max) { cancellation.cancel() }
        #expect {
            try manager.pause(["web"], progress: Self.silent, cancellation: cancellation)
        } throws: { LifeboatError.converting($0).exitCode == .interrupted }
        #expect(try fixture.observed() == ["web"])
    }

    @Test func `an engine that starts again revives nothing that is held, and is waited for`() throws {
        let daemon = try DockerDaemon()
        defer { daemon.remove() }
        let fixture = try ComposeFixture(daemon)
        defer { fixture.remove() }
        // Another project, stopped by hand: this is what an engine does with it.
        let other = try ComposeFixture(
            daemon,
            stack: """
                services:
                  db: {<<: *service, command: [/bin/sh, /state/serve, db], restart: always}
                """, services: ["db"])
        defer { other.remove() }
        let stopped = try fixture.compose.stop(fixture.services, progress: Self.silent, cancellation: nil)
        #expect(try other.observed() == ["db"])
        try other.setOutside("db", running: false)
        let waiting = Monitor<BlockingThread<Void>?>(nil)
        try daemon.restart {
            // Asked while nobody answers.
            let start = BlockingThread<Void>(name: "look") {
                try fixture.compose.start([], progress: Self.silent, cancellation: nil)
                let found = try fixture.compose.stop(stopped, progress: Self.silent, cancellation: nil)
                #expect(found.isEmpty)
            }
            waiting.withLock { $0 = start }
            SystemClock().sleep(seconds: 0.5)
        }
        try waiting.withLock { $0 }?.join()
        while try other.observed() != ["db"] { SystemClock().sleep(seconds: 0.1) }
        #expect(try fixture.observed().isEmpty)

        try daemon.restart {
            let start = BlockingThread<Void>(name: "start") {
                try fixture.anotherManager().start(stopped, progress: Self.silent, cancellation: nil)
            }
            waiting.withLock { $0 = start }
            SystemClock().sleep(seconds: 0.5)
        }
        try waiting.withLock { $0 }?.join()
        #expect(try fixture.observed() == fixture.services)
        #expect(try fixture.inspect("db", "{{.HostConfig.RestartPolicy.Name}}") == "always")
    }
}

/// An engine that cannot pause containers when it is told not to.
private final class HesitantEngine: ContainerEngine {
    private let engine: EngineAPI
    private let refusals = Monitor<(left: Int, meanwhile: @Sendable () throws -> Void)>((0, {}))

    init(_ engine: EngineAPI) { self.engine = engine }

    /// From now on so many pauses fail; `meanwhile` runs before each of them is told.
    func refuse(times: Int, meanwhile: @escaping @Sendable () throws -> Void) {
        refusals.withLock { $0 = (times, meanwhile) }
    }

    func pause(_ container: EngineContainer, patience: Double, _ cancellation: Cancellation?) throws {
        let refusal = refusals.withLock { refusals in
            refusals.left -= 1
            return refusals.left >= 0 ? refusals.meanwhile : nil
        }
        guard let refusal else { return try engine.pause(container, patience: patience, cancellation) }
        try refusal()
        throw LifeboatError("unable to freeze")
    }

    func containers(of project: String?, patience: Double, _ cancellation: Cancellation?) throws -> [EngineContainer] {
        try engine.containers(of: project, patience: patience, cancellation)
    }
    func container(_ id: String, patience: Double, _ cancellation: Cancellation?) throws -> EngineContainer? {
        try engine.container(id, patience: patience, cancellation)
    }
    func stop(_ container: EngineContainer, patience: Double, _ cancellation: Cancellation?) throws {
        try engine.stop(container, patience: patience, cancellation)
    }
    func start(_ container: EngineContainer, patience: Double, _ cancellation: Cancellation?) throws {
        try engine.start(container, patience: patience, cancellation)
    }
    func unpause(_ container: EngineContainer, patience: Double, _ cancellation: Cancellation?) throws {
        try engine.unpause(container, patience: patience, cancellation)
    }
    func setRestartPolicy(
        _ policy: EngineContainer.RestartPolicy, of container: EngineContainer, patience: Double,
        _ cancellation: Cancellation?
    ) throws { try engine.setRestartPolicy(policy, of: container, patience: patience, cancellation) }
    var commandWords: [String] { engine.commandWords }
}

/// What was told.
final class Notes: ProgressSink {
    private let events = Monitor<[ProgressEvent]>([])
    var all: [String] {
        events.withLock { (events: inout [ProgressEvent]) in
            events.compactMap { if case .note(let text) = $0 { text } else { nil } }
        }
    }
    var warnings: [String] {
        events.withLock { (events: inout [ProgressEvent]) in
            events.compactMap { if case .warning(let error) = $0 { error.message } else { nil } }
        }
    }
    func report(_ event: ProgressEvent) {
        events.withLock { (events: inout [ProgressEvent]) in events.append(event) }
    }
}
