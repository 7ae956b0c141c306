// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// What a drill found: kept in the repository, printed in every form. Holds no secret.
package struct DrillResult: Codable, Sendable, Equatable {
    package static let currentFormat = 1

    package enum Verdict: String, Codable, Sendable {
        /// Recovered, everything as the snapshot says, objectives met.
        case passed
        /// Recovered, everything as the snapshot says, but not within an objective.
        case missed
        /// Not recovered, or not as the snapshot says.
        case failed
    }

    /// A stretch of the drill. Those with `of` are a part of the phase and component of that name.
    package struct Phase: Codable, Sendable, Equatable {
        package var name: String
        package var component: String?
        /// Seconds from the start of the drill.
        package var start: Double
        package var seconds: Double
        /// Plain bytes it moved; nil where that means nothing.
        package var bytes: UInt64?
        package var of: String?
        /// Whether it counts into the recovery time: not what only a drill does.
        package var isRecovery: Bool

        private enum CodingKeys: String, CodingKey {
            case name, component, start, seconds, bytes, of
            case isRecovery = "recovery"
        }

        package init(
            name: String, component: String? = nil, start: Double, seconds: Double, bytes: UInt64? = nil,
            of: String? = nil, isRecovery: Bool = true
        ) {
            self.name = name
            self.component = component
            self.start = start
            self.seconds = seconds
            self.bytes = bytes
            self.of = of
            self.isRecovery = isRecovery
        }

        /// Bytes a second; nil without bytes or time.
        package var rate: Double? {
            guard let bytes, bytes > 0, seconds > 0 else { return nil }
            return Double(bytes) / seconds
        }
    }

    /// One value of the snapshot, held against what was found.
    package struct Fact: Codable, Sendable, Equatable {
        package enum State: String, Codable, Sendable {
            case equal
            case different
            /// Nothing here to compare it with (versions, sizes on disk): told.
            case told
            /// Its data is not in the sample that was drilled.
            case leftOut = "left_out"
        }

        package var name: String
        package var expected: String
        package var found: String?
        package var state: State

        package init(name: String, expected: String, found: String?, state: State) {
            self.name = name
            self.expected = expected
            self.found = found
            self.state = state
        }
    }

    /// What a drill of a share took of a component.
    package struct ComponentSample: Codable, Sendable, Equatable {
        /// `files`, `tables`, `collections`
        package var unit: String
        package var taken: Int
        package var all: Int
        /// Plain bytes of the whole component.
        package var bytes: UInt64

        package init(unit: String, taken: Int, all: Int, bytes: UInt64) {
            self.unit = unit
            self.taken = taken
            self.all = all
            self.bytes = bytes
        }

        package var isWhole: Bool { taken == all }
    }

    package struct Component: Codable, Sendable, Equatable {
        package enum State: String, Codable, Sendable {
            case verified
            case failed
            /// Its data was read and verified, but nothing could take it.
            case readOnly = "read_only"
        }

        package var name: String
        package var store: String
        /// Where it was restored to.
        package var subject: String
        /// Of what was restored.
        package var bytes: UInt64
        package var files: UInt64
        /// Nil: it was taken whole.
        package var sample: ComponentSample?
        /// Engine of the snapshot and of the sandbox.
        package var capturedEngine: String?
        package var drillEngine: String?
        package var state: State
        package var facts: [Fact]
        /// Whether the facts held once more after the restart; nil: it did not come to that.
        package var holdsAfterRestart: Bool?
        package var warnings: [String]

        private enum CodingKeys: String, CodingKey {
            case name, store, subject, bytes, files, sample, state, facts, warnings
            case capturedEngine = "captured_engine"
            case drillEngine = "drill_engine"
            case holdsAfterRestart = "holds_after_restart"
        }

        package init(name: String, store: String, subject: String, bytes: UInt64, files: UInt64) {
            self.name = name
            self.store = store
            self.subject = subject
            self.bytes = bytes
            self.files = files
            state = .failed
            facts = []
            warnings = []
        }

        package var comparedFacts: Int { facts.count { $0.state == .equal || $0.state == .different } }
    }

    package struct Check: Codable, Sendable, Equatable {
        package var name: String
        package var holds: Bool
        /// `sql of 'database' is 120, points of 'docs' in 'vectors' is 120`
        package var explanation: String
        /// The same in the snapshot; nil: it has no such check.
        package var captured: String?
        /// Verdict and values are those of the snapshot.
        package var isAsCaptured: Bool
        package var holdsAfterRestart: Bool?

        private enum CodingKeys: String, CodingKey {
            case name, holds, explanation, captured
            case isAsCaptured = "as_captured"
            case holdsAfterRestart = "holds_after_restart"
        }

        package init(name: String, holds: Bool, explanation: String, captured: String?, isAsCaptured: Bool) {
            self.name = name
            self.holds = holds
            self.explanation = explanation
            self.captured = captured
            self.isAsCaptured = isAsCaptured
        }
    }

    package struct Probe: Codable, Sendable, Equatable {
        package var name: String
        /// `http`, `sql`, `redis`, `neighbours`, `command`, `health`
        package var kind: String
        package var passed: Bool
        /// What was answered, or why it did not pass.
        package var detail: String
        package var seconds: Double

        package init(name: String, kind: String, passed: Bool, detail: String, seconds: Double) {
            self.name = name
            self.kind = kind
            self.passed = passed
            self.detail = detail
            self.seconds = seconds
        }
    }

    /// Something that makes the drill fail.
    package struct Finding: Codable, Sendable, Equatable {
        package var phase: String
        package var component: String?
        /// `rows:public.notes of component 'database' is 1999, not 2000`
        package var message: String
        package var causes: [String]
        package var hint: String?

        package init(
            phase: String, component: String? = nil, message: String, causes: [String] = [], hint: String? = nil
        ) {
            self.phase = phase
            self.component = component
            self.message = message
            self.causes = causes
            self.hint = hint
        }

        package init(_ error: LifeboatError, phase: String, component: String? = nil) {
            self.init(
                phase: phase, component: component, message: error.message, causes: error.causes, hint: error.hint)
        }
    }

    /// What was wanted, and what was achieved; seconds.
    package struct Objectives: Codable, Sendable, Equatable {
        package var rto: Double?
        /// From the first step until the last probe had passed; nil: it did not recover.
        package var rta: Double?
        package var rpo: Double?
        /// Age of the newest good snapshot when the drill began: what a loss at that moment would have cost.
        package var age: Double?
        /// The longest stretch without a good snapshot of late, and when it ended; nil: there is only one.
        package var worstGap: Double?
        package var worstGapEnd: Timestamp?
        /// The same of each component; nil in results of earlier versions. Above stands the worst of them.
        package var components: [RecoveryPointOfComponent]?

        private enum CodingKeys: String, CodingKey {
            case rto, rta, rpo, age, components
            case worstGap = "worst_gap"
            case worstGapEnd = "worst_gap_end"
        }

        package init(rto: Double?, rpo: Double?) {
            self.rto = rto
            self.rpo = rpo
        }

        /// The recovery point achieved: the worse of the two.
        package var rpa: Double? { [age, worstGap].compactMap { $0 }.max() }
        package var missesRTO: Bool { rto.map { (rta ?? 0) > $0 } ?? false }
        package var missesRPO: Bool {
            guard let rpo else { return false }
            if (rpa ?? 0) > rpo { return true }
            // Nothing could be recovered of a component that no complete snapshot holds.
            return components?.contains { $0.age == nil } ?? false
        }
        /// The components with the oldest newest snapshot, unless all have the same.
        package var oldest: [String] {
            let others = (components ?? []).filter { $0.age != nil && $0.age != age }
            return others.isEmpty ? [] : (components ?? []).filter { $0.age == age }.map(\.name)
        }
        /// Components that no complete snapshot holds.
        package var uncovered: [String] { (components ?? []).filter { $0.age == nil }.map(\.name) }
    }

    /// What a loss of one component would cost; seconds.
    package struct RecoveryPointOfComponent: Codable, Sendable, Equatable {
        package var name: String
        /// Of the newest complete snapshot that holds it; nil: there is none.
        package var age: Double?
        package var worstGap: Double?
        package var worstGapEnd: Timestamp?

        private enum CodingKeys: String, CodingKey {
            case name, age
            case worstGap = "worst_gap"
            case worstGapEnd = "worst_gap_end"
        }

        package init(name: String, age: Double?, worstGap: Double?, worstGapEnd: Timestamp?) {
            self.name = name
            self.age = age
            self.worstGap = worstGap
            self.worstGapEnd = worstGapEnd
        }
    }

    package var format: Int
    /// Of the drill: its time, and chance.
    package var drill: String
    package var repositoryID: Digest
    package var stack: String
    package var host: String
    package var lifeboat: String
    /// `engines`, `compose`
    package var sandbox: String
    /// Whether all components of the snapshot took part, whole.
    package var isFull: Bool
    /// Percent of the files, tables and collections that were drilled; nil: all.
    package var samplePercent: Double?
    package var snapshot: Digest
    package var snapshotTime: Timestamp
    package var sequence: UInt64
    package var started: Timestamp
    package var ended: Timestamp
    package var verdict: Verdict
    /// Recovered, and everything as the snapshot says, of the whole snapshot: what retention asks.
    package var verified: Bool
    package var objectives: Objectives
    package var seconds: Double
    package var phases: [Phase]
    package var components: [Component]
    package var checks: [Check]
    package var probes: [Probe]
    package var findings: [Finding]
    package var warnings: [String]
    /// What was not drilled, and why.
    package var leftOut: [String]
    /// Containers, volumes and networks besides the sandbox's that were found after it as they had been before it; nil: not
    /// compared, or some were not.
    package var untouched: Int?
    /// The phase of the recovery that took longest, and what would make it shorter.
    package var costliest: String?
    package var advice: String?
    /// The command line that repeats it.
    package var repeatCommand: String

    private enum CodingKeys: String, CodingKey {
        case format, drill, stack, host, lifeboat, sandbox, snapshot, sequence, started, ended, verdict, verified
        case objectives, seconds, phases, components, checks, probes, findings, warnings, costliest, advice, untouched
        case repositoryID = "repository_id"
        case isFull = "full"
        case samplePercent = "sample_percent"
        case snapshotTime = "snapshot_time"
        case leftOut = "left_out"
        case repeatCommand = "repeat_command"
    }

    package init(
        drill: String, repositoryID: Digest, stack: String, host: String, lifeboat: String, sandbox: String,
        snapshot: Digest, snapshotTime: Timestamp, sequence: UInt64, started: Timestamp, objectives: Objectives,
        repeatCommand: String
    ) {
        format = Self.currentFormat
        self.drill = drill
        self.repositoryID = repositoryID
        self.stack = stack
        self.host = host
        self.lifeboat = lifeboat
        self.sandbox = sandbox
        isFull = true
        self.snapshot = snapshot
        self.snapshotTime = snapshotTime
        self.sequence = sequence
        self.started = started
        ended = started
        verdict = .failed
        verified = false
        self.objectives = objectives
        seconds = 0
        phases = []
        components = []
        checks = []
        probes = []
        findings = []
        warnings = []
        leftOut = []
        self.repeatCommand = repeatCommand
    }

    /// Plain bytes of what was restored.
    package var bytes: UInt64 { components.clampedSum(\.bytes) }

    /// What the program ends with.
    package var exitCode: ExitCode {
        switch verdict {
        case .passed: .done
        case .missed: .objectiveMissed
        case .failed: .failed
        }
    }
}
