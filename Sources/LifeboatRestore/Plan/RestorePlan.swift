// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatStores

/// What a restore will do: ordered steps, a pure value. An executor takes only a plan, a dry run prints it, the journal
/// keeps it, so that a later process can finish or undo what this one began. Holds no secret.
package struct RestorePlan: Codable, Sendable, Equatable {
    package struct Component: Codable, Sendable, Equatable {
        package var name: String
        /// `postgres`, `volume` …
        package var store: String
        /// The live thing, for people: `database 'semantik' on 127.0.0.1:5432`.
        package var subject: String
        /// Plain bytes and files of the snapshot.
        package var bytes: UInt64
        package var files: UInt64
        /// Where the store will put the restored data, in its own words.
        package var staged: StagedState
        /// Nil: staged, in plans of earlier versions.
        package var mode: Mode?
        /// The paths, collections or tables that are restored of it; nil: all it holds.
        package var parts: [String]?

        package init(
            name: String, store: String, subject: String, bytes: UInt64, files: UInt64, staged: StagedState,
            mode: Mode = .staged, parts: [String]? = nil
        ) {
            self.name = name
            self.store = store
            self.subject = subject
            self.bytes = bytes
            self.files = files
            self.staged = staged
            self.mode = mode
            self.parts = parts
        }

        package var isInPlace: Bool { mode == .inPlace }

        /// Whether both restore some of the same data of one component.
        package func overlaps(_ other: Component) -> Bool {
            guard name == other.name else { return false }
            guard let parts, let others = other.parts else { return true }
            return parts.contains { part in
                others.contains { $0 == part || $0.hasPrefix("\(part)/") || part.hasPrefix("\($0)/") }
            }
        }
    }

    /// A check of the policy that is asked again after the restore.
    package struct Check: Codable, Sendable, Equatable {
        package var name: String
        /// The restore is rolled back when it does not hold: it did in the snapshot, and all it asks is restored.
        package var isRequired: Bool

        private enum CodingKeys: String, CodingKey {
            case name
            case isRequired = "required"
        }

        package init(name: String, isRequired: Bool) {
            self.name = name
            self.isRequired = isRequired
        }
    }

    /// A value of the policy that is another one for this restore, so that it goes elsewhere.
    package struct Target: Codable, Sendable, Equatable {
        /// `database.host`
        package var key: String
        /// Empty: the policy's value does not count, and there is no other.
        package var value: String

        package init(key: String, value: String) {
            self.key = key
            self.value = value
        }

        package var text: String { "\(key)=\(value)" }
    }

    /// What becomes of the data that was live before, once the restored data is verified.
    package enum OldData: String, Codable, Sendable, Equatable {
        case discard, keep
    }

    package enum Mode: String, Codable, Sendable, Equatable, CaseIterable {
        /// Put beside the live data, then exchanged.
        case staged
        /// Written over the live data while services are stopped: there is no way back, only one forward.
        case inPlace = "in-place"
    }

    /// What the steps are expected to take together. Steps components take side by side count as long as they take together.
    package struct Forecast: Codable, Sendable, Equatable {
        /// From the first step to the last.
        package var totalSeconds: Double
        /// While services are stopped.
        package var downtimeSeconds: Double
        /// Steps whose time rests on assumptions, not on earlier recoveries of this host.
        package var assumedSteps: Int

        private enum CodingKeys: String, CodingKey {
            case totalSeconds = "total_seconds"
            case downtimeSeconds = "downtime_seconds"
            case assumedSteps = "assumed_steps"
        }

        package init(totalSeconds: Double, downtimeSeconds: Double, assumedSteps: Int) {
            self.totalSeconds = totalSeconds
            self.downtimeSeconds = downtimeSeconds
            self.assumedSteps = assumedSteps
        }
    }

    /// Names this restore: in the journal, and in the names stores give to staged data. `a-z`, `0-9` and `-`.
    package var id: String
    package var stack: String
    /// The snapshot, and the time its stores were frozen at.
    package var snapshot: Digest
    package var snapshotTime: Timestamp
    package var created: Timestamp
    package var components: [Component]
    /// Values that were given instead of the policy's; nil: none.
    package var targets: [Target]?
    /// How services are stopped and started, for people; nil: lifeboat touches no service.
    package var services: String?
    /// Services that did not run and were started to plan this restore, since they are servers of components.
    package var startedServers: [String]?
    /// Services that should run and did not when the restore began, in start order; nil: all ran. They are started.
    package var servicesDown: [String]?
    /// Only services that ran are started.
    package var onlyRunning: Bool?
    /// Health probes that failed when the restore began, and why; nil: none.
    package var failingProbes: [FailingProbe]?
    /// The stack did not work when the restore began: it counts as down from then.
    package var wasDown: Bool?
    /// The services that are stopped, those that use what is restored; nil: all that run.
    package var stopping: [String]?

    /// A health probe, by its name, and what was wrong.
    package struct FailingProbe: Codable, Sendable, Equatable {
        package var name: String
        package var reason: String

        package init(name: String, reason: String) {
            self.name = name
            self.reason = reason
        }
    }

    /// Health probes to pass after the start.
    package var healthProbes: Int
    /// Checks to ask after the start; nil in plans of earlier versions.
    package var checks: [Check]?
    package var oldData: OldData
    /// How long the old data is kept, counted from the end of the restore; nil: until it is discarded.
    package var keepSeconds: Int64?
    package var steps: [RestoreStep]
    /// Nil in plans of earlier versions.
    package var forecast: Forecast?
    /// The stack the snapshot is of, when that is another one than the one it is restored into.
    package var foreignStack: String?
    /// What the reader should know before he says yes.
    package var warnings: [String]
    /// Why it cannot be done: such a plan is never executed.
    package var problems: [RestoreRecord.Failure]?

    private enum CodingKeys: String, CodingKey {
        case id, stack, snapshot, created, components, targets, services, checks, steps, forecast, warnings, problems
        case snapshotTime = "snapshot_time"
        case startedServers = "started_servers"
        case servicesDown = "services_down"
        case onlyRunning = "only_running"
        case failingProbes = "failing_probes"
        case wasDown = "was_down"
        case stopping = "services_stopped"
        case healthProbes = "health_probes"
        case oldData = "old_data"
        case keepSeconds = "keep_seconds"
        case foreignStack = "foreign_stack"
    }

    package init(
        id: String, stack: String, snapshot: Digest, snapshotTime: Timestamp, created: Timestamp,
        components: [Component], services: String?, healthProbes: Int, checks: [Check] = [], oldData: OldData,
        steps: [RestoreStep], warnings: [String]
    ) {
        self.id = id
        self.stack = stack
        self.snapshot = snapshot
        self.snapshotTime = snapshotTime
        self.created = created
        self.components = components
        self.services = services
        self.healthProbes = healthProbes
        self.checks = checks
        self.oldData = oldData
        self.steps = steps
        self.warnings = warnings
    }

    package func component(_ name: String) -> Component? { components.first { $0.name == name } }

    /// Bytes that the time of a step may depend on.
    package func size(of step: RestoreStep) -> UInt64 {
        if let name = step.component { return component(name)?.bytes ?? 0 }
        return step.action == .verifyChunks || step.action == .verifyData ? bytes : 0
    }

    package var isInPlace: Bool { components.contains(where: \.isInPlace) }

    /// Whether `other` restores all that this one does.
    func isReplaced(by other: RestorePlan) -> Bool {
        guard stack == other.stack, targets == other.targets else { return false }
        return components.allSatisfy { mine in
            other.components.contains { $0.name == mine.name && ($0.parts == nil || $0.parts == mine.parts) }
        }
    }

    package var bytes: UInt64 { components.clampedSum(\.bytes) }
    package var files: UInt64 { components.clampedSum(\.files) }
}

/// One step of a restore.
package struct RestoreStep: Codable, Sendable, Equatable {
    package enum Action: String, Codable, Sendable, Equatable, CaseIterable {
        case verifyChunks = "verify-chunks"
        /// Reads everything the restore will need.
        case verifyData = "verify-data"
        case preflight
        case stage
        case stopServices = "stop-services"
        case swap
        case writeInPlace = "write-in-place"
        case startServices = "start-services"
        case awaitHealth = "await-health"
        case verifyFacts = "verify-facts"
        case askChecks = "ask-checks"
        case discardOld = "discard-old"
        case keepOld = "keep-old"

        /// The phase it belongs to, for progress and the time line.
        package var phase: String {
            switch self {
            case .verifyChunks, .verifyData, .preflight: "preflight"
            case .stage: "stage"
            case .stopServices: "stop"
            case .swap: "swap"
            case .writeInPlace: "write in place"
            case .startServices: "start"
            case .awaitHealth: "health"
            case .verifyFacts, .askChecks: "verify"
            case .discardOld, .keepOld: "finish"
            }
        }

        /// What is done, for messages: `swap`, `start of the services`.
        package var title: String {
            switch self {
            case .verifyChunks: "verification of the chunks"
            case .verifyData: "verification of the data"
            case .preflight: "preflight"
            case .stage: "staging"
            case .stopServices: "stop of the services"
            case .swap: "swap"
            case .writeInPlace: "write in place"
            case .startServices: "start of the services"
            case .awaitHealth: "wait for health"
            case .verifyFacts: "comparison of the facts"
            case .askChecks: "checks"
            case .discardOld: "removal of the old data"
            case .keepOld: "keeping of the old data"
            }
        }

        /// Whether components take this step side by side.
        package var isSideBySide: Bool { self == .stage }
    }

    /// `stage:documents`, `stop-services`.
    package var id: String
    package var action: Action
    /// Nil for steps that concern the whole stack.
    package var component: String?
    /// For messages: `swap of component 'queue'`.
    package var title: String { component.map { "\(action.title) of component '\($0)'" } ?? action.title }
    /// What it touches, for people; nil: it only reads the repository.
    package var touches: String?
    /// Bytes it reads from the snapshot.
    package var bytes: UInt64
    /// Whether the stack is down while it runs.
    package var isDowntime: Bool
    /// How long it will take; nil in plans of earlier versions.
    package var expected: PhaseEstimate?
    /// One line for people.
    package var summary: String

    private enum CodingKeys: String, CodingKey {
        case id, action, component, touches, bytes, expected, summary
        case isDowntime = "downtime"
    }

    package init(
        _ action: Action, component: String? = nil, touches: String?, bytes: UInt64 = 0, isDowntime: Bool = false,
        summary: String
    ) {
        id = component.map { "\(action.rawValue):\($0)" } ?? action.rawValue
        self.action = action
        self.component = component
        self.touches = touches
        self.bytes = bytes
        self.isDowntime = isDowntime
        self.summary = summary
    }
}
