// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatServices
package import LifeboatStores

/// The health of a stack as a restore needs it.
package protocol RestoreHealth: Sendable {
    /// Returns when every probe passed often enough, but for those with the names `skipping`; throws when a deadline
    /// passed first. Blocks.
    func awaitHealth(skipping: Set<String>, _ progress: any ProgressSink, _ cancellation: Cancellation) throws
    /// The probes that fail now, each queried once. Throws only when cancelled. Blocks.
    func failing(_ cancellation: Cancellation) throws -> [RestorePlan.FailingProbe]
}

extension RestoreHealth {
    package func failing(_ cancellation: Cancellation) throws -> [RestorePlan.FailingProbe] { [] }
}

/// The stack a plan is executed on: the live things behind the names in the plan.
package struct RestoreStack: Sendable {
    package var name: String
    package var stores: [String: any DataStore]
    /// Nil: lifeboat touches no service.
    package var services: (any ServiceManager)?
    /// All services that the project or the policy declares, in start order: what runs after a restore.
    package var allServices: [String]
    /// Nil: there is no probe.
    package var health: (any RestoreHealth)?
    /// The stores of components that are restored in part, for the whole of them: checks are about that.
    package var wholes: [String: any DataStore] = [:]
    /// Checks of the policy.
    package var checks: [StackCheck]
    /// The service that runs a component's server, by component.
    package var servers: [String: String]
    /// The services that use the data of these components, when that is known; nil: any service may. Nil as a function:
    /// nobody can tell.
    package var users: (@Sendable (_ components: [String], _ cancellation: Cancellation) throws -> [String]?)?
    /// What else keeps the data of these components in use while the services are stopped; nil: nobody can tell.
    package var neighbours:
        (@Sendable (_ components: [String], _ cancellation: Cancellation) throws -> [LifeboatError])?

    /// `stores` by component name.
    package init(
        name: String, stores: [String: any DataStore], services: (any ServiceManager)?, allServices: [String],
        health: (any RestoreHealth)?, checks: [StackCheck] = [], servers: [String: String] = [:]
    ) {
        self.name = name
        self.stores = stores
        self.services = services
        self.allServices = allServices
        self.health = health
        self.checks = checks
        self.servers = servers
    }

    func store(_ component: String?) throws -> any DataStore {
        guard let component, let store = stores[component] else {
            throw LifeboatError(
                "the policy has no component '\(component ?? "")', which the restore is about",
                hint: "Use the policy the restore was started with.")
        }
        return store
    }

    /// What is read of components that are restored in part.
    package func selections(
        of components: [String], in source: any RestoreSource
    ) throws -> [String: ContentSelection] {
        var selections: [String: ContentSelection] = [:]
        for name in components {
            guard let partial = stores[name] as? any PartialStore else { continue }
            selections[name] = try partial.selection(of: source.content(of: name))
        }
        return selections
    }
}

/// The snapshot a plan restores from.
package protocol RestoreSource: Sendable {
    /// Throws when chunks of these components are missing from the repository; reads no file data. `selections`: what of
    /// a component counts, by its name; all of one that is not among them.
    func verifyChunks(
        of components: [String], only selections: [String: ContentSelection], _ cancellation: Cancellation) throws
    /// Reads all data of these components and compares it with its digests; throws when any of it is lost.
    func readChunks(
        of components: [String], only selections: [String: ContentSelection], _ cancellation: Cancellation) throws
    /// What the snapshot holds of a component.
    func content(of component: String) throws -> any RestoreContent
}
