// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

/// A probe with its times, in seconds.
package struct HealthCheck: Sendable {
    package var name: String
    package var probe: any HealthProbe
    package var within: Double
    package var interval: Double
    package var consecutive: Int

    /// `name` is the probe's subject when not given.
    package init(
        name: String? = nil, probe: any HealthProbe, within: Double = 60, interval: Double = 1, consecutive: Int = 1
    ) {
        self.name = name ?? probe.subject
        self.probe = probe
        self.within = within
        self.interval = interval
        self.consecutive = consecutive
    }
}

/// How one check went.
package struct HealthResult: Sendable, Equatable, Codable {
    package var name: String
    package var healthy: Bool
    /// In a row, at the end.
    package var passes: Int
    package var attempts: Int
    package var seconds: Double
    /// The last one, also when it passed later.
    package var lastFailure: String?

    package init(
        name: String, healthy: Bool, passes: Int, attempts: Int, seconds: Double, lastFailure: String? = nil
    ) {
        self.name = name
        self.healthy = healthy
        self.passes = passes
        self.attempts = attempts
        self.seconds = seconds
        self.lastFailure = lastFailure
    }

    /// Nil when healthy.
    package var error: LifeboatError? {
        if healthy { return nil }
        let tries = attempts == 1 ? "1 try" : "\(attempts) tries"
        let last = lastFailure ?? "it passed \(passes) times in a row, which is not enough"
        return LifeboatError(
            "'\(name)' is not healthy after \(HealthWaiter.shown(seconds)) s", causes: ["after \(tries): \(last)"],
            hint: "Look at the log of the service; raise 'within' in the policy if it only needs more time.")
    }
}

/// Waits until a stack is well.
package struct HealthWaiter: Sendable {
    /// How soon a cancellation is seen.
    private static let slice = 0.1
    private let clock: any Clock

    package init(clock: any Clock = SystemClock()) { self.clock = clock }

    /// Asks every check on a thread of its own until each is healthy or its time is over. The results are in the order of
    /// `checks`. Throws only when cancelled or when no thread can be made.
    package func wait(
        for checks: [HealthCheck], progress: any ProgressSink, cancellation: Cancellation
    ) throws -> [HealthResult] {
        let results = Monitor<[HealthResult?]>(Array(repeating: nil, count: checks.count))
        let tasks = checks.enumerated().map { index, check in
            (
                name: "health-\(index)",
                body: { @Sendable () throws -> Void in
                    let result = try self.wait(for: check, progress: progress, cancellation: cancellation)
                    results.withLock { (all: inout [HealthResult?]) in all[index] = result }
                }
            )
        }
        try runConcurrently(tasks)
        return results.withLock { (all: inout [HealthResult?]) in all.compactMap(\.self) }
    }

    private func wait(
        for check: HealthCheck, progress: any ProgressSink, cancellation: Cancellation
    ) throws -> HealthResult {
        let start = clock.monotonicSeconds()
        var schedule = HealthSchedule(
            now: start, within: check.within, interval: check.interval, consecutive: check.consecutive)
        var event = HealthSchedule.Event.ready
        var told: String?
        while true {
            try cancellation.check()
            switch schedule.handle(event, now: clock.monotonicSeconds()) {
            case .ask(let timeout):
                event = try ask(check.probe, timeout: timeout, cancellation)
                if case .failed(let text) = event, text != told {
                    told = text
                    progress.report(.note("waiting for '\(check.name)': \(text)"))
                }
            case .wait(let time):
                try sleep(until: time, cancellation)
                event = .ready
            case .healthy:
                let result = result(of: check, schedule, healthy: true, since: start)
                let tries = result.attempts == 1 ? "1 try" : "\(result.attempts) tries"
                progress.report(.note("'\(check.name)' is healthy after \(tries), \(Self.shown(result.seconds)) s"))
                return result
            case .unhealthy: return result(of: check, schedule, healthy: false, since: start)
            }
        }
    }

    private func ask(
        _ probe: any HealthProbe, timeout: Double, _ cancellation: Cancellation
    ) throws -> HealthSchedule.Event {
        do {
            try probe.ask(timeout: timeout, cancellation: cancellation)
            return .passed
        } catch {
            let converted = LifeboatError.converting(error)
            if converted.exitCode == .interrupted { throw converted }
            return .failed(([converted.message] + converted.causes.prefix(2)).joined(separator: ": "))
        }
    }

    private func sleep(until time: Double, _ cancellation: Cancellation) throws {
        while true {
            let left = time - clock.monotonicSeconds()
            guard left > 0 else { return }
            try cancellation.check()
            clock.sleep(seconds: min(left, Self.slice))
        }
    }

    private func result(
        of check: HealthCheck, _ schedule: HealthSchedule, healthy: Bool, since start: Double
    ) -> HealthResult {
        HealthResult(
            name: check.name, healthy: healthy, passes: schedule.passes, attempts: schedule.attempts,
            seconds: clock.monotonicSeconds() - start, lastFailure: schedule.lastFailure)
    }

    /// One decimal.
    static func shown(_ seconds: Double) -> String {
        let tenths = Int((max(0, min(seconds, 1e12)) * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}
