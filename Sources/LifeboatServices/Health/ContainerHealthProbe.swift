// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// All containers of a Compose service run, and are healthy if they have a health check. One-shot containers may
/// have ended with 0 instead: those for whose end another service waits (`service_completed_successfully`).
package struct ContainerHealthProbe: HealthProbe {
    private let compose: ComposeServices
    private let service: String

    package init(_ compose: ComposeServices, service: String) {
        self.compose = compose
        self.service = service
    }

    package var subject: String { "service \(service)" }

    /// Asks the engine, whose own health check has its own times: `timeout` bounds only how long an engine that is away
    /// is waited for.
    package func ask(timeout: Double, cancellation: Cancellation?) throws {
        let view = try compose.view(patience: min(timeout, 2), cancellation)
        let containers = view.containers(of: service)
        guard !containers.isEmpty else { throw LifeboatError("service '\(service)' has no container") }
        for container in containers {
            let isWell = container.status == "running" && (container.health ?? "healthy") == "healthy"
            guard isWell || view.isFinished(container) else {
                throw LifeboatError("container '\(container.name)' is \(ComposeServices.state(of: container))")
            }
        }
    }
}
