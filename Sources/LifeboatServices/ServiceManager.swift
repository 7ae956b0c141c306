// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Stops and starts the services of one stack. All calls block.
///
/// Service names are the manager's own; lists of them are in start order, dependencies first. The order of a restore is
/// `running` → journal → `stop` → … → `start` of what `running` gave, on every path.
package protocol ServiceManager: Sendable {
    /// For people: `the services of compose project 'semantik'`.
    var subject: String { get }

    /// The services that run now. Throws when that cannot be told: nothing was touched then.
    func running(_ cancellation: Cancellation?) throws -> [String]

    /// All services, whether they run or not: what a stack that was lost is brought up with. Throws when that cannot be
    /// told.
    func all(_ cancellation: Cancellation?) throws -> [String]

    /// Those of all services that should run and do not; one that ran to its end as it should is not among them.
    func idle(_ cancellation: Cancellation?) throws -> [String]

    /// Those of the idle ones that ended by themselves and well, and that nothing restarts: they may be tasks that are
    /// over, or were stopped; nobody can tell.
    func ended(_ cancellation: Cancellation?) throws -> [String]

    /// Stops those of `services` that run, in reverse order, and returns when none of them runs any more; the result is
    /// what was stopped. Throws when one ignores it, or ends uncleanly: the caller then starts `services` again.
    func stop(_ services: [String], progress: any ProgressSink, cancellation: Cancellation?) throws -> [String]

    /// Starts `services` in order. One that runs is left alone, so it may be called again after it failed half-way. That
    /// they are well is for health probes to tell.
    func start(_ services: [String], progress: any ProgressSink, cancellation: Cancellation?) throws

    /// Holds those of `services` that run where they stand: they keep their memory and do nothing until `unpause`. The
    /// result is what was paused. Throws when the manager cannot pause, or one of them did not: the caller then calls
    /// `unpause` with `services`.
    func pause(_ services: [String], progress: any ProgressSink, cancellation: Cancellation?) throws -> [String]

    /// Lets `services` go on. One that is not paused is left alone, so it may be called again, and without `pause`.
    func unpause(_ services: [String], progress: any ProgressSink) throws

    /// What unpauses `services` without this manager and its policy: for the journal. Holds no secret.
    func unpauseCommands(_ services: [String]) -> [ServiceCommand]

    /// What starts `services` without this manager and its policy: for the journal. Holds no secret.
    func startCommands(_ services: [String]) -> [ServiceCommand]
}

extension ServiceManager {
    package func idle(_ cancellation: Cancellation?) throws -> [String] {
        let running = Set(try running(cancellation))
        return try all(cancellation).filter { !running.contains($0) }
    }

    package func ended(_ cancellation: Cancellation?) throws -> [String] { [] }

    /// A manager that can only stop and start.
    package func pause(
        _ services: [String], progress: any ProgressSink, cancellation: Cancellation?
    ) throws -> [String] {
        throw LifeboatError(
            "\(subject) cannot be paused", hint: "Write 'freeze: stop' in the policy.", exitCode: .usage)
    }
    package func unpause(_ services: [String], progress: any ProgressSink) throws {}
    package func unpauseCommands(_ services: [String]) -> [ServiceCommand] { [] }
}

/// A command the journal keeps.
package struct ServiceCommand: Sendable, Equatable, Codable {
    package var words: [String]
    package var folder: String?

    package init(_ words: [String], folder: String? = nil) {
        self.words = words
        self.folder = folder
    }
}

/// A stack whose policy names no services: nothing runs, nothing is stopped.
package struct NoServices: ServiceManager {
    package init() {}
    package var subject: String { "no services" }
    package func running(_ cancellation: Cancellation?) throws -> [String] { [] }
    package func all(_ cancellation: Cancellation?) throws -> [String] { [] }
    package func stop(
        _ services: [String], progress: any ProgressSink, cancellation: Cancellation?
    ) throws -> [String] { [] }
    package func start(_ services: [String], progress: any ProgressSink, cancellation: Cancellation?) throws {}
    package func startCommands(_ services: [String]) -> [ServiceCommand] { [] }
}
