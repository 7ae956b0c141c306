// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatIO

/// Services behind commands of the policy. To lifeboat they are one service, `services`: the commands stop and start all
/// of it, and must be safe to repeat.
package struct CommandServices: ServiceManager {
    /// The one name.
    package static let service = "services"

    /// Seconds a single command may take, then it is ended.
    package struct Deadlines: Sendable, Equatable {
        package var stop: Double
        package var start: Double
        package var status: Double
        /// For the services to be gone after the stop commands have ended.
        package var settle: Double

        package init(stop: Double = 300, start: Double = 300, status: Double = 30, settle: Double = 30) {
            self.stop = stop
            self.start = start
            self.status = status
            self.settle = settle
        }
    }

    private let stopCommands: [[String]]
    private let startVectors: [[String]]
    private let statusCommands: [[String]]
    private let pauseCommands: [[String]]
    private let unpauseVectors: [[String]]
    private let folder: String?
    private let runner: any ProcessRunner
    private let clock: any Clock
    private let deadlines: Deadlines

    /// Argument vectors, run in order in `folder`. The services run while any of `status` ends with exit 0; without
    /// `status` they are taken to run. Without `pause` and `unpause` they cannot be paused.
    package init(
        stop: [[String]], start: [[String]], status: [[String]] = [], pause: [[String]] = [],
        unpause: [[String]] = [], folder: String?, runner: any ProcessRunner, clock: any Clock = SystemClock(),
        deadlines: Deadlines = Deadlines()
    ) {
        stopCommands = stop
        startVectors = start
        statusCommands = status
        pauseCommands = pause
        unpauseVectors = unpause
        self.folder = folder
        self.runner = runner
        self.clock = clock
        self.deadlines = deadlines
    }

    package var subject: String { "the services" }

    package func all(_ cancellation: Cancellation?) throws -> [String] { [Self.service] }

    package func running(_ cancellation: Cancellation?) throws -> [String] {
        guard !statusCommands.isEmpty else { return [Self.service] }
        for words in statusCommands where try isRunning(words, cancellation) { return [Self.service] }
        return []
    }

    private func isRunning(_ words: [String], _ cancellation: Cancellation?) throws -> Bool {
        let result = try ServiceCommandRun.result(
            ServiceCommand(words, folder: folder), runner, deadline: deadlines.status, cancellation)
        switch result.termination {
        case .exited(0): return true
        case .exited: return false
        case .signalled:
            throw ServiceCommandRun.failure(words, result).wrapped("cannot tell whether the services run")
        }
    }

    package func stop(
        _ services: [String], progress: any ProgressSink, cancellation: Cancellation?
    ) throws -> [String] {
        guard services.contains(Self.service), try running(cancellation) == [Self.service] else { return [] }
        for words in stopCommands {
            try run(words, "stop", deadlines.stop, progress, cancellation)
        }
        try waitUntilStopped(cancellation)
        return [Self.service]
    }

    /// A service that ignores its stop would write into data that is being exchanged.
    private func waitUntilStopped(_ cancellation: Cancellation?) throws {
        guard !statusCommands.isEmpty else { return }
        let end = clock.monotonicSeconds() + deadlines.settle
        while try running(cancellation) == [Self.service] {
            guard clock.monotonicSeconds() < end else {
                throw LifeboatError(
                    "the services still run after they were stopped",
                    causes: ["a status command of the policy still ends with exit 0"],
                    hint: "Check services.commands.stop and status in the policy.")
            }
            clock.sleep(seconds: 0.2)
        }
    }

    package func start(_ services: [String], progress: any ProgressSink, cancellation: Cancellation?) throws {
        guard services.contains(Self.service) else { return }
        for words in startVectors { try run(words, "start", deadlines.start, progress, cancellation) }
    }

    package func startCommands(_ services: [String]) -> [ServiceCommand] {
        guard services.contains(Self.service) else { return [] }
        return startVectors.map { ServiceCommand($0, folder: folder) }
    }

    package func pause(
        _ services: [String], progress: any ProgressSink, cancellation: Cancellation?
    ) throws -> [String] {
        guard !pauseCommands.isEmpty, !unpauseVectors.isEmpty else {
            throw LifeboatError(
                "the services cannot be paused", causes: ["the policy names no commands for it"],
                hint: "Add 'pause' and 'unpause' to services.commands in the policy, or write 'freeze: stop'.",
                exitCode: .usage)
        }
        guard services.contains(Self.service), try running(cancellation) == [Self.service] else { return [] }
        for words in pauseCommands { try run(words, "pause", deadlines.stop, progress, cancellation) }
        return [Self.service]
    }

    package func unpause(_ services: [String], progress: any ProgressSink) throws {
        guard services.contains(Self.service) else { return }
        for words in unpauseVectors { try run(words, "unpause", deadlines.start, progress, nil) }
    }

    package func unpauseCommands(_ services: [String]) -> [ServiceCommand] {
        guard services.contains(Self.service) else { return [] }
        return unpauseVectors.map { ServiceCommand($0, folder: folder) }
    }

    private func run(
        _ words: [String], _ verb: String, _ deadline: Double, _ progress: any ProgressSink,
        _ cancellation: Cancellation?
    ) throws {
        do {
            try ServiceCommandRun.run(ServiceCommand(words, folder: folder), runner, deadline: deadline, cancellation)
        } catch {
            let converted = LifeboatError.converting(error)
            throw converted.exitCode == .interrupted ? converted : converted.wrapped("cannot \(verb) the services")
        }
        progress.report(.note("\(verb) services: \(ServiceCommandRun.shown(words))"))
    }
}

/// Running one command of a policy or journal: a program of the operator's, which inherits everything.
enum ServiceCommandRun {
    /// Most that is kept of what a command prints.
    private static let outputLimit = 1 << 20

    static func result(
        _ command: ServiceCommand, _ runner: any ProcessRunner, environment: [String: String] = [:],
        inherits: InheritedEnvironment = .everything, deadline: Double, _ cancellation: Cancellation?
    ) throws -> ProcessResult {
        guard let program = command.words.first else { throw LifeboatError("the command is empty") }
        return try runner.run(
            ProcessCommand(
                program, Array(command.words.dropFirst()), environment: environment, inherits: inherits,
                workingDirectory: command.folder),
            input: [], outputLimit: outputLimit, deadline: deadline, cancellation: cancellation)
    }

    /// Throws unless it ends with exit 0.
    static func run(
        _ command: ServiceCommand, _ runner: any ProcessRunner, deadline: Double, _ cancellation: Cancellation?
    ) throws {
        let result = try result(command, runner, deadline: deadline, cancellation)
        guard result.termination.succeeded else { throw failure(command.words, result) }
    }

    /// With the last lines of what the command printed.
    static func failure(_ words: [String], _ result: ProcessResult) -> LifeboatError {
        let output = String(decoding: result.standardOutput.suffix(16 << 10), as: UTF8.self)
        let said = ProcessResult.lastLines(of: result.standardError) + ProcessResult.lastLines(of: output)
        return LifeboatError("'\(shown(words))' failed: \(result.termination)", causes: said.map { "it said: \($0)" })
    }

    static func shown(_ words: [String]) -> String {
        let line = words.map { $0.contains(where: \.isWhitespace) || $0.isEmpty ? "\"\($0)\"" : $0 }
            .joined(separator: " ")
        return line.count <= 120 ? line : "\(line.prefix(117))…"
    }
}
