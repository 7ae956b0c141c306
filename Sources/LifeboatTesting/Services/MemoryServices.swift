// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO
package import LifeboatServices

/// Services that exist only as names; keeps a log of what was done to them.
package final class MemoryServices: ServiceManager {
    private struct State {
        var running: Set<String>
        var stubborn: Set<String> = []
        var paused: Set<String> = []
        var log: [String] = []
    }

    private let names: [String]
    private let state: Monitor<State>

    /// `names` in start order; all run.
    package init(_ names: [String]) {
        self.names = names
        state = Monitor(State(running: Set(names)))
    }

    package var subject: String { "services in memory" }

    /// What is paused, in start order.
    package var paused: [String] {
        state.withLock { (state: inout State) in names.filter { state.paused.contains($0) } }
    }

    /// `stop api`, `start api`, `pause api`, `unpause api` …, in order.
    package var log: [String] { state.withLock { (state: inout State) in state.log } }

    /// Changes a service behind the manager's back.
    package func set(_ name: String, running: Bool) {
        state.withLock { (state: inout State) in
            if running { state.running.insert(name) } else { state.running.remove(name) }
        }
    }

    /// From now on the service ignores being stopped.
    package func makeStubborn(_ name: String) {
        state.withLock { (state: inout State) in _ = state.stubborn.insert(name) }
    }

    package func all(_ cancellation: Cancellation?) throws -> [String] { names }

    package func running(_ cancellation: Cancellation?) throws -> [String] {
        try cancellation?.check()
        return state.withLock { (state: inout State) in names.filter { state.running.contains($0) } }
    }

    package func stop(
        _ services: [String], progress: any ProgressSink, cancellation: Cancellation?
    ) throws -> [String] {
        var stopped: [String] = []
        for name in names.reversed() where services.contains(name) {
            try cancellation?.check()
            let outcome = state.withLock { (state: inout State) -> Bool? in
                guard state.running.contains(name) else { return nil }
                if state.stubborn.contains(name) { return false }
                state.running.remove(name)
                state.paused.remove(name)
                state.log.append("stop \(name)")
                return true
            }
            if outcome == false { throw LifeboatError("service '\(name)' still runs after it was stopped") }
            if outcome == true { stopped.insert(name, at: 0) }
        }
        return stopped
    }

    package func start(_ services: [String], progress: any ProgressSink, cancellation: Cancellation?) throws {
        for name in names where services.contains(name) {
            try cancellation?.check()
            state.withLock { (state: inout State) in
                if state.running.insert(name).inserted { state.log.append("start \(name)") }
            }
        }
    }

    package func startCommands(_ services: [String]) -> [ServiceCommand] {
        names.filter { services.contains($0) }.map { ServiceCommand(["start", $0]) }
    }

    package func pause(
        _ services: [String], progress: any ProgressSink, cancellation: Cancellation?
    ) throws -> [String] {
        var paused: [String] = []
        for name in names.reversed() where services.contains(name) {
            try cancellation?.check()
            state.withLock { (state: inout State) in
                guard state.running.contains(name), state.paused.insert(name).inserted else { return }
                state.log.append("pause \(name)")
                paused.insert(name, at: 0)
            }
        }
        return paused
    }

    package func unpause(_ services: [String], progress: any ProgressSink) throws {
        for name in names where services.contains(name) {
            state.withLock { (state: inout State) in
                if state.paused.remove(name) != nil { state.log.append("unpause \(name)") }
            }
        }
    }

    package func unpauseCommands(_ services: [String]) -> [ServiceCommand] {
        names.filter { services.contains($0) }.map { ServiceCommand(["unpause", $0]) }
    }
}
