// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatIO

/// An engine that only the `docker` program reaches: over ssh, with TLS, behind a context of its own.
package struct EngineCommandLine: ContainerEngine {
    private let docker: [String]
    private let runner: any ProcessRunner
    private let environment: [String: String]
    private let clock: any Clock
    /// Seconds for an answer, beside what the call itself waits for.
    private static let answerTime = 60.0
    private static let outputLimit = 64 << 20

    /// `docker` is the program with the options that choose the engine.
    package init(
        docker: [String] = ["docker"], runner: any ProcessRunner, environment: [String: String] = [:],
        clock: any Clock = SystemClock()
    ) {
        self.docker = docker
        self.runner = runner
        self.environment = InheritedEnvironment.containerEngine.filtered(environment)
        self.clock = clock
    }

    package var commandWords: [String] { docker }

    package func containers(
        of project: String?, patience: Double, _ cancellation: Cancellation?
    ) throws -> [EngineContainer] {
        let label = "com.docker.compose.project" + (project.map { "=\($0)" } ?? "")
        var attempt = 1
        while true {
            let ids = try run(
                ["ps", "--all", "--quiet", "--no-trunc", "--filter", "label=\(label)"], patience: patience, cancellation
            ).split(separator: "\n").map(String.init)
            do {
                return try inspect(ids, patience: patience, cancellation)
                    .filter { project == nil || $0.project == project }
            } catch {
                // One may have gone since the list was made.
                let converted = LifeboatError.converting(error)
                if attempt == 3 || converted.exitCode == .interrupted { throw converted }
                attempt += 1
            }
        }
    }

    package func container(
        _ id: String, patience: Double, _ cancellation: Cancellation?
    ) throws -> EngineContainer? {
        let ids = try run(
            ["ps", "--all", "--quiet", "--no-trunc", "--filter", "id=\(id)"], patience: patience, cancellation)
        guard !ids.isEmpty else { return nil }
        return try inspect([id], patience: patience, cancellation).first
    }

    private func inspect(
        _ ids: [String], patience: Double, _ cancellation: Cancellation?
    ) throws -> [EngineContainer] {
        guard !ids.isEmpty else { return [] }
        let text = try run(["inspect", "--type=container"] + ids, patience: patience, cancellation)
        do {
            return try EngineJSON.decode([EngineInspection].self, Array(text.utf8)).compactMap(\.container)
        } catch {
            throw LifeboatError("'\(docker[0]) inspect' gives containers in a form that cannot be read")
        }
    }

    package func stop(_ container: EngineContainer, patience: Double, _ cancellation: Cancellation?) throws {
        try act(["stop"], container, time: container.grace, patience: patience, cancellation)
    }

    package func start(_ container: EngineContainer, patience: Double, _ cancellation: Cancellation?) throws {
        try act(["start"], container, patience: patience, cancellation)
    }

    package func pause(_ container: EngineContainer, patience: Double, _ cancellation: Cancellation?) throws {
        try act(["pause"], container, already: \.isPaused, patience: patience, cancellation)
    }

    package func unpause(_ container: EngineContainer, patience: Double, _ cancellation: Cancellation?) throws {
        try act(["unpause"], container, already: { !$0.isPaused }, patience: patience, cancellation)
    }

    package func setRestartPolicy(
        _ policy: EngineContainer.RestartPolicy, of container: EngineContainer, patience: Double,
        _ cancellation: Cancellation?
    ) throws {
        try act(["update", "--restart=\(policy.word)"], container, patience: patience, cancellation)
    }

    private func act(
        _ words: [String], _ container: EngineContainer, time: Double = 0,
        already: ((EngineContainer) -> Bool)? = nil, patience: Double, _ cancellation: Cancellation?
    ) throws {
        do {
            _ = try run(words + [container.id], time: time, patience: patience, cancellation)
        } catch {
            if let already, let now = try self.container(container.id, patience: patience, cancellation), already(now) {
                return
            }
            let converted = LifeboatError.converting(error)
            if converted.exitCode == .interrupted { throw converted }
            throw converted.wrapped("cannot \(words[0]) container '\(container.name)'")
        }
    }

    /// What the program printed. Its exit status says only that something failed; whether the engine was away is asked
    /// with `version`, which needs nothing but the engine.
    private func run(
        _ words: [String], time: Double = 0, patience: Double, _ cancellation: Cancellation?
    ) throws -> String {
        let end = clock.monotonicSeconds() + patience
        while true {
            let result = try once(words, time: time, cancellation)
            if result.termination.succeeded { return String(decoding: result.standardOutput, as: UTF8.self) }
            let failure = ServiceCommandRun.failure(docker + words, result)
            let isAway = try !once(["version"], time: 0, cancellation).termination.succeeded
            guard isAway, clock.monotonicSeconds() < end else { throw failure }
            clock.sleep(seconds: 0.2)
        }
    }

    private func once(_ words: [String], time: Double, _ cancellation: Cancellation?) throws -> ProcessResult {
        try cancellation?.check()
        return try runner.run(
            ProcessCommand(
                docker[0], Array(docker.dropFirst()) + words, environment: environment,
                inherits: .containerEngine), input: [],
            outputLimit: Self.outputLimit, deadline: time + Self.answerTime, cancellation: cancellation)
    }
}
