// SPDX-License-Identifier: Apache-2.0

/// When a probe is asked and when it has passed: a pure state machine, events in, actions out. Times are seconds on one
/// clock that never steps.
package struct HealthSchedule: Sendable, Equatable {
    package enum Event: Sendable, Equatable {
        /// Nobody is asking: at the beginning, and after a wait.
        case ready
        case passed
        /// With what is wrong.
        case failed(String)
    }

    package enum Action: Sendable, Equatable {
        /// Ask, and come back with `passed` or `failed`.
        case ask(timeout: Double)
        /// Come back with `ready` at that time.
        case wait(until: Double)
        /// Passed often enough in a row.
        case healthy
        /// The time is over.
        case unhealthy
    }

    /// One try may not take longer than this, so that a hanging answer leaves time for another.
    package static let longestTry = 10.0

    private let deadline: Double
    private let interval: Double
    private let consecutive: Int
    private var askedAt = 0.0

    /// Passes in a row up to now; a failure sets it back to 0.
    package private(set) var passes = 0
    package private(set) var attempts = 0
    package private(set) var lastFailure: String?

    /// Begins at `now`; at least one try is made.
    package init(now: Double, within: Double, interval: Double, consecutive: Int) {
        deadline = now + within
        self.interval = max(0, interval)
        self.consecutive = max(1, consecutive)
    }

    package mutating func handle(_ event: Event, now: Double) -> Action {
        switch event {
        case .ready:
            guard now < deadline || attempts == 0 else { return .unhealthy }
            askedAt = now
            // The last try may be short, never empty.
            return .ask(timeout: max(0.05, min(Self.longestTry, deadline - now)))
        case .passed:
            attempts += 1
            passes += 1
            if passes >= consecutive { return .healthy }
        case .failed(let text):
            attempts += 1
            passes = 0
            // A try that ran into the deadline was cut short: what was wrong before says more.
            if now < deadline || lastFailure == nil { lastFailure = text }
        }
        let next = max(now, askedAt + interval)
        return next < deadline ? .wait(until: next) : .unhealthy
    }
}
