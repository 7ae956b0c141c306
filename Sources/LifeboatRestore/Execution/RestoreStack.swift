// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatServices
package import LifeboatStores

/// The health of a stack as a restore needs it.
package protocol RestoreHealth: Sendable {
    /// How many probes there are.
    var probeCount: Int { get }
    /// Returns when every probe passed often enough; throws when a deadline passed first. Blocks.
    func awaitHealth(_ progress: any ProgressSink, _ cancellation: Cancellation) throws
}

/// Health by the probes of a policy.
package struct ProbedHealth: RestoreHealth {
    private let checks: [HealthCheck]
    private let waiter: HealthWaiter

    package init(_ checks: [HealthCheck], clock: any Clock) {
        self.checks = checks
        waiter = HealthWaiter(clock: clock)
    }

    package var probeCount: Int { checks.count }

    package func awaitHealth(_ progress: any ProgressSink, _ cancellation: Cancellation) throws {
        let failures = try waiter.wait(for: checks, progress: progress, cancellation: cancellation).compactMap(\.error)
        guard let first = failures.first else { return }
        guard failures.count > 1 else { throw first }
        throw LifeboatError(
            "\(failures.count) health probes failed",
            causes: failures.map { ([$0.message] + $0.causes).joined(separator: ": ") }, hint: first.hint)
    }
}

/// The stack a plan is executed on: the live things behind the names in the plan.
package struct RestoreStack: Sendable {
    package struct Component: Sendable {
        package var name: String
        package var store: any DataStore

        package init(name: String, store: any DataStore) {
            self.name = name
            self.store = store
        }
    }

    package var name: String
    /// In the order of the policy.
    package var components: [Component]
    /// Nil: lifeboat touches no service.
    package var services: (any ServiceManager)?
    /// What is started after a restore that found no service running: a stack that was lost is brought up whole.
    package var allServices: [String]
    /// Nil: there is no probe.
    package var health: (any RestoreHealth)?

    package init(
        name: String, components: [Component], services: (any ServiceManager)?, allServices: [String],
        health: (any RestoreHealth)?
    ) {
        self.name = name
        self.components = components
        self.services = services
        self.allServices = allServices
        self.health = health
    }

    func store(_ component: String?) throws -> any DataStore {
        guard let component, let store = components.first(where: { $0.name == component })?.store else {
            throw LifeboatError(
                "the policy has no component '\(component ?? "")', which the restore is about",
                hint: "Use the policy the restore was started with.")
        }
        return store
    }
}

/// The snapshot a plan restores from.
package protocol RestoreSource: Sendable {
    /// Throws when chunks of these components are missing from the repository; reads no file data.
    func verifyChunks(of components: [String], _ cancellation: Cancellation) throws
    /// What the snapshot holds of a component.
    func content(of component: String) throws -> any RestoreContent
}
