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

        package init(
            name: String, store: String, subject: String, bytes: UInt64, files: UInt64, staged: StagedState
        ) {
            self.name = name
            self.store = store
            self.subject = subject
            self.bytes = bytes
            self.files = files
            self.staged = staged
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

    /// What becomes of the data that was live before, once the restored data is verified.
    package enum OldData: String, Codable, Sendable, Equatable {
        case discard, keep
    }

    /// Names this restore: in the journal, and in the names stores give to staged data. `a-z`, `0-9` and `-`.
    package var id: String
    package var stack: String
    /// The snapshot, and the time its stores were frozen at.
    package var snapshot: Digest
    package var snapshotTime: Timestamp
    package var created: Timestamp
    package var components: [Component]
    /// How services are stopped and started, for people; nil: lifeboat touches no service.
    package var services: String?
    /// Health probes to pass after the start.
    package var healthProbes: Int
    /// Checks to ask after the start; nil in plans of earlier versions.
    package var checks: [Check]?
    package var oldData: OldData
    package var steps: [RestoreStep]
    /// What the reader should know before he says yes.
    package var warnings: [String]

    private enum CodingKeys: String, CodingKey {
        case id, stack, snapshot, created, components, services, checks, steps, warnings
        case snapshotTime = "snapshot_time"
        case healthProbes = "health_probes"
        case oldData = "old_data"
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

    package var bytes: UInt64 { components.reduce(0) { $0 + $1.bytes } }
    package var files: UInt64 { components.reduce(0) { $0 + $1.files } }
}

/// One step of a restore.
package struct RestoreStep: Codable, Sendable, Equatable {
    package enum Action: String, Codable, Sendable, Equatable, CaseIterable {
        case verifyChunks = "verify-chunks"
        case preflight
        case stage
        case stopServices = "stop-services"
        case swap
        case startServices = "start-services"
        case awaitHealth = "await-health"
        case verifyFacts = "verify-facts"
        case askChecks = "ask-checks"
        case discardOld = "discard-old"
        case keepOld = "keep-old"

        /// The phase it belongs to, for progress and the time line.
        package var phase: String {
            switch self {
            case .verifyChunks, .preflight: "preflight"
            case .stage: "stage"
            case .stopServices: "stop"
            case .swap: "swap"
            case .startServices: "start"
            case .awaitHealth: "health"
            case .verifyFacts, .askChecks: "verify"
            case .discardOld, .keepOld: "finish"
            }
        }
    }

    /// `stage:documents`, `stop-services`.
    package var id: String
    package var action: Action
    /// Nil for steps that concern the whole stack.
    package var component: String?
    /// What it touches, for people; nil: it only reads the repository.
    package var touches: String?
    /// Bytes it reads from the snapshot.
    package var bytes: UInt64
    /// Whether the stack is down while it runs.
    package var isDowntime: Bool
    /// One line for people.
    package var summary: String

    private enum CodingKeys: String, CodingKey {
        case id, action, component, touches, bytes, summary
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
