// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatPolicy
import LifeboatStores

/// Containers of the policy, and the servers of components that are services of the stack.
extension StackAssembly {
    /// A service without a project is one of the stack's own project, where the policy names that.
    func serverContainer(_ container: ContainerPolicy) -> ServerContainer {
        switch container {
        case .name(let name): ServerContainer(.name(name))
        case .service(let service, let project): ServerContainer(.service(service, project: project ?? composeProject))
        }
    }

    private var composeProject: String? {
        guard case .compose(let compose)? = policy.services.control else { return nil }
        return compose.project
    }

    /// The service of the stack that runs a component's server, by component.
    var servers: [String: String] {
        guard case .compose? = policy.services.control else { return [:] }
        var servers: [String: String] = [:]
        for component in policy.components {
            guard case .service(let service, let project)? = component.store.container else { continue }
            if project == nil || project == composeProject { servers[component.name] = service }
        }
        return servers
    }
}
