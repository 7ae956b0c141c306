// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// A restore that succeeded, with its time line.
package struct RestoreOutcome: Codable, Sendable, Equatable {
    package struct Component: Codable, Sendable, Equatable {
        package var name: String
        package var store: String
        package var subject: String
        package var bytes: UInt64
        package var files: UInt64
        /// What was restored of it; nil: all of it.
        package var parts: [String]?
        /// Facts of the snapshot that were compared with the live store.
        package var factsVerified: Int

        private enum CodingKeys: String, CodingKey {
            case name, store, subject, bytes, files, parts
            case factsVerified = "facts_verified"
        }
    }

    package struct Phase: Codable, Sendable, Equatable {
        package var name: String
        package var seconds: Double
    }

    /// What one step of the plan took.
    package struct Step: Codable, Sendable, Equatable {
        package var id: String
        package var seconds: Double
    }

    /// The old data, kept for a rollback.
    package struct Kept: Codable, Sendable, Equatable {
        /// Nil: until it is discarded.
        package var until: Timestamp?
        /// Nil: unknown.
        package var bytes: UInt64?

        package init(until: Timestamp?, bytes: UInt64?) {
            self.until = until
            self.bytes = bytes
        }
    }

    package var id: String
    package var stack: String
    package var snapshot: Digest
    package var snapshotTime: Timestamp
    package var components: [Component]
    /// Values that were given instead of the policy's; nil: none.
    package var targets: [RestorePlan.Target]?
    /// In the order they were entered.
    package var phases: [Phase]
    /// In the order they ended.
    package var steps: [Step]
    /// From the stop of the services until the stack was healthy; without services from the first exchange on. A stack
    /// that was down already, whole or in part, is down from the begin of the command.
    package var downtimeSeconds: Double
    /// From the begin of the command to the last step: the recovery time.
    package var totalSeconds: Double
    /// Nil: the old data is gone.
    package var kept: Kept?
    /// What the snapshot names without holding it (models to fetch), and the stack does not have.
    package var absent: [String]
    /// The policy's checks, asked of the live stack.
    package var checks: [CheckResult]
    package var warnings: [String]

    private enum CodingKeys: String, CodingKey {
        case id, stack, snapshot, components, targets, phases, steps, kept, absent, checks, warnings
        case snapshotTime = "snapshot_time"
        case downtimeSeconds = "downtime_seconds"
        case totalSeconds = "total_seconds"
    }
}

/// Measures the phases of a restore and tells them to the progress channel as they pass.
struct RestoreTimeline {
    private let clock: any Clock
    private let progress: any ProgressSink
    private let start: Double
    private var current: (name: String, begin: Double)?
    private(set) var phases: [RestoreOutcome.Phase] = []
    private(set) var steps: [RestoreOutcome.Step] = []
    private var downSince: Double?
    private(set) var downtime: Double = 0

    /// `begun`: when the command began, on this clock; the time since then is the phase `prepare`. Nil: now.
    init(_ clock: any Clock, _ progress: any ProgressSink, begun: Double? = nil) {
        self.clock = clock
        self.progress = progress
        let now = clock.monotonicSeconds()
        start = begun ?? now
        if let begun { phases.append(RestoreOutcome.Phase(name: "prepare", seconds: max(0, now - begun))) }
    }

    /// The stack did not work when the command began.
    mutating func markDownFromStart() { downSince = start }

    /// Downtime so far, with what is not over yet.
    var downtimeSoFar: Double { downtime + (downSince.map { clock.monotonicSeconds() - $0 } ?? 0) }

    var total: Double { clock.monotonicSeconds() - start }

    /// A step of this phase begins; steps of one phase in a row count as one.
    mutating func enter(_ phase: String, detail: String?) {
        if let current {
            if current.name == phase { return }
            leave()
        }
        current = (phase, clock.monotonicSeconds())
        progress.report(.phaseStarted(name: phase, detail: detail))
    }

    /// A step of the phase in progress ended.
    mutating func took(_ step: String, _ seconds: Double) {
        steps.append(RestoreOutcome.Step(id: step, seconds: seconds))
    }

    /// The phase in progress ends.
    mutating func leave() {
        guard let current else { return }
        let seconds = clock.monotonicSeconds() - current.begin
        phases.append(RestoreOutcome.Phase(name: current.name, seconds: seconds))
        progress.report(.phaseEnded(name: current.name, seconds: seconds))
        self.current = nil
    }

    /// The stack is down from now on, or up again.
    mutating func mark(isDown: Bool) {
        let now = clock.monotonicSeconds()
        if isDown {
            if downSince == nil { downSince = now }
        } else if let since = downSince {
            downtime += now - since
            downSince = nil
        }
    }
}
