// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
package import LifeboatServices

/// A manager with a way to look at its services, and to change them, from outside.
package protocol ServiceFixture: Sendable {
    var manager: any ServiceManager { get }
    /// All its services in start order; all run when the fixture is new.
    var services: [String] { get }
    /// What runs in fact.
    func observed() throws -> [String]
    /// What is paused in fact.
    func observedPaused() throws -> [String]
    func setOutside(_ service: String, running: Bool) throws
    /// From now on stopping this service has no effect.
    func makeStubborn(_ service: String) throws
    func run(_ command: ServiceCommand) throws
    /// Everything as it was when the fixture was new: for one that is too dear to be made for every check.
    func reset() throws
}

extension ServiceFixture {
    package func reset() throws {}
}

/// What every `ServiceManager` must do. Each check wants a new fixture.
package struct ServiceManagerContract: Sendable, CustomStringConvertible {
    package let description: String
    package let check: @Sendable (any ServiceFixture) throws -> Void

    /// All checks; a test runs each over a new fixture.
    package static let all: [ServiceManagerContract] = [
        ServiceManagerContract("running tells what runs, in start order", runningTellsWhatRuns),
        ServiceManagerContract("stop stops and says what", stopStops),
        ServiceManagerContract("stopping what is stopped does nothing", stopIsRepeatable),
        ServiceManagerContract("start brings back what was stopped", startStarts),
        ServiceManagerContract("starting what runs does nothing", startIsRepeatable),
        ServiceManagerContract("only what runs is stopped and started again", onlyWhatRuns),
        ServiceManagerContract("names of others are left alone", othersAreLeftAlone),
        ServiceManagerContract("a service that ignores its stop is an error", stubbornServiceIsAnError),
        ServiceManagerContract("the commands for the journal start the services", commandsStart),
        ServiceManagerContract("a cancelled call touches nothing", cancelledTouchesNothing),
        ServiceManagerContract("pause holds what runs, unpause lets it go on", pauseHolds),
        ServiceManagerContract("the commands for the journal unpause the services", commandsUnpause),
        ServiceManagerContract("what is paused can be stopped and started", pausedCanBeStopped),
    ]

    private init(_ description: String, _ check: @escaping @Sendable (any ServiceFixture) throws -> Void) {
        self.description = description
        self.check = check
    }

    private static func expect(_ condition: Bool, _ sentence: @autoclosure () -> String) throws {
        if !condition { throw ContractViolation(sentence()) }
    }

    private static let silent = SilentProgress()

    private static func stopAll(_ fixture: any ServiceFixture) throws -> [String] {
        let running = try fixture.manager.running(nil)
        return try fixture.manager.stop(running, progress: silent, cancellation: nil)
    }

    // MARK: Checks

    private static func runningTellsWhatRuns(_ fixture: any ServiceFixture) throws {
        try expect(try fixture.manager.running(nil) == fixture.services, "all services run")
        for service in fixture.services { try fixture.setOutside(service, running: false) }
        try expect(try fixture.manager.running(nil).isEmpty, "none runs")
    }

    private static func stopStops(_ fixture: any ServiceFixture) throws {
        let stopped = try stopAll(fixture)
        try expect(stopped == fixture.services, "stop returns \(fixture.services), got \(stopped)")
        try expect(try fixture.observed().isEmpty, "nothing runs after stop")
        try expect(try fixture.manager.running(nil).isEmpty, "the manager sees that nothing runs")
    }

    private static func stopIsRepeatable(_ fixture: any ServiceFixture) throws {
        _ = try stopAll(fixture)
        let again = try fixture.manager.stop(fixture.services, progress: silent, cancellation: nil)
        try expect(again.isEmpty, "nothing is stopped twice, got \(again)")
        try expect(try fixture.manager.stop([], progress: silent, cancellation: nil).isEmpty, "no names, no stop")
    }

    private static func startStarts(_ fixture: any ServiceFixture) throws {
        let stopped = try stopAll(fixture)
        try fixture.manager.start(stopped, progress: silent, cancellation: nil)
        try expect(try fixture.observed() == fixture.services, "all run again")
    }

    private static func startIsRepeatable(_ fixture: any ServiceFixture) throws {
        for _ in 0..<2 { try fixture.manager.start(fixture.services, progress: silent, cancellation: nil) }
        try expect(try fixture.observed() == fixture.services, "all still run")
    }

    private static func onlyWhatRuns(_ fixture: any ServiceFixture) throws {
        guard let last = fixture.services.last else { return }
        try fixture.setOutside(last, running: false)
        let stopped = try stopAll(fixture)
        try expect(!stopped.contains(last), "'\(last)' did not run, so it was not stopped")
        try fixture.manager.start(stopped, progress: silent, cancellation: nil)
        try expect(try !fixture.observed().contains(last), "'\(last)' did not run, so it was not started")
    }

    private static func othersAreLeftAlone(_ fixture: any ServiceFixture) throws {
        let stopped = try fixture.manager.stop(["somebody-else"], progress: silent, cancellation: nil)
        try expect(stopped.isEmpty, "nothing of ours was stopped")
        try fixture.manager.start(["somebody-else"], progress: silent, cancellation: nil)
        try expect(try fixture.observed() == fixture.services, "all run")
        try expect(fixture.manager.startCommands(["somebody-else"]).isEmpty, "no commands for others")
    }

    private static func stubbornServiceIsAnError(_ fixture: any ServiceFixture) throws {
        guard let first = fixture.services.first else { return }
        try fixture.makeStubborn(first)
        do {
            _ = try stopAll(fixture)
        } catch is LifeboatError {
            // What was stopped before is started again with the whole list.
            try fixture.manager.start(fixture.services, progress: silent, cancellation: nil)
            return try expect(try fixture.observed() == fixture.services, "all run again after the failure")
        }
        throw ContractViolation("stop throws when '\(first)' still runs")
    }

    private static func commandsStart(_ fixture: any ServiceFixture) throws {
        let stopped = try stopAll(fixture)
        for command in fixture.manager.startCommands(stopped) { try fixture.run(command) }
        try expect(try fixture.observed() == fixture.services, "all run again")
    }

    private static func cancelledTouchesNothing(_ fixture: any ServiceFixture) throws {
        let cancelled = Cancellation()
        cancelled.cancel()
        do {
            _ = try fixture.manager.stop(fixture.services, progress: silent, cancellation: cancelled)
        } catch let error as LifeboatError where error.exitCode == .interrupted {
            return try expect(try fixture.observed() == fixture.services, "all still run")
        }
        throw ContractViolation("stop throws when it was cancelled before")
    }

    /// Of sockets, timers and the like there is nothing to hold: what can be paused is what `pause` says.
    private static func pauseAll(_ fixture: any ServiceFixture) throws -> [String] {
        let paused = try fixture.manager.pause(
            try fixture.manager.running(nil), progress: silent, cancellation: nil)
        try expect(!paused.isEmpty, "something was paused")
        try expect(fixture.services.filter(paused.contains) == paused, "in start order, got \(paused)")
        try expect(try fixture.observedPaused() == paused, "\(paused) are paused")
        return paused
    }

    private static func pauseHolds(_ fixture: any ServiceFixture) throws {
        let all = try fixture.observed()
        try fixture.manager.unpause(fixture.services, progress: silent)
        try expect(try fixture.observed() == all, "unpausing what is not paused does nothing")
        try expect(
            try fixture.manager.pause(["somebody-else"], progress: silent, cancellation: nil).isEmpty,
            "names of others are left alone")
        let paused = try pauseAll(fixture)
        for _ in 0..<2 { try fixture.manager.unpause(paused, progress: silent) }
        try expect(try fixture.observedPaused().isEmpty, "none is paused any more")
        try expect(try fixture.observed() == all, "all go on")
    }

    private static func commandsUnpause(_ fixture: any ServiceFixture) throws {
        let all = try fixture.observed()
        try expect(fixture.manager.unpauseCommands(["somebody-else"]).isEmpty, "no commands for others")
        let running = try fixture.manager.running(nil)
        // As the journal does it: asked for before anything is paused, and run whatever became of it.
        let commands = fixture.manager.unpauseCommands(running)
        for command in commands { try fixture.run(command) }
        _ = try pauseAll(fixture)
        for command in commands { try fixture.run(command) }
        try expect(try fixture.observedPaused().isEmpty, "none is paused any more")
        try expect(try fixture.observed() == all, "all go on")
    }

    private static func pausedCanBeStopped(_ fixture: any ServiceFixture) throws {
        _ = try pauseAll(fixture)
        let stopped = try stopAll(fixture)
        try expect(stopped == fixture.services, "all were stopped, got \(stopped)")
        try expect(try fixture.observed().isEmpty && fixture.observedPaused().isEmpty, "nothing runs")
        try fixture.manager.start(stopped, progress: silent, cancellation: nil)
        try expect(try fixture.observed() == fixture.services, "all run again")
    }
}
