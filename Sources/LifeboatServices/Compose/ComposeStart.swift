// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

extension ComposeServices {
    package func start(_ services: [String], progress: any ProgressSink, cancellation: Cancellation?) throws {
        try cancellation?.check()
        var view = try view(patience: deadlines.engineBack, cancellation)
        let wanted = Set(services).intersection(view.graph.order)
        guard !wanted.isEmpty else { return }
        let missing = wanted.filter { view.containers(of: $0).isEmpty }.sorted()
        if !missing.isEmpty {
            guard project.hasModel else {
                throw LifeboatError(
                    "service '\(missing[0])' has no container, and the policy names no compose file to make one from",
                    hint: "Add 'file' to services.compose in the policy.")
            }
            progress.report(.note("creating containers of \(missing.joined(separator: ", "))"))
            try compose.create(missing, project, name: view.name, cancellation)
            view = try self.view(patience: deadlines.engineBack, cancellation)
        }
        let hold = hold(view.name)
        let held = try hold.entries()
        let current = view
        let begun = wanted.filter { service in
            missing.contains(service) || held.contains { $0.service == service }
                || view.containers(of: service).contains { !$0.isUp || $0.isPaused }
        }
        for wave in view.graph.waves(of: wanted) {
            try runConcurrently(
                wave.map { service in
                    (
                        name: "start",
                        body: { @Sendable () throws -> Void in
                            try self.awaitDependencies(of: service, wanted, current, progress, cancellation)
                            try self.start(service, held, current, cancellation)
                        }
                    )
                })
        }
        // Those of containers that are gone for good are over too.
        let existing = Set(view.containers.map(\.id))
        try hold.write(held.filter { !wanted.contains($0.service) && existing.contains($0.id) })
        let names = view.graph.order.filter(begun.contains)
        if !names.isEmpty { progress.report(.note("started \(names.joined(separator: ", "))")) }
    }

    /// Those of its containers that ran when it was stopped; all of them when that is not known.
    private func start(
        _ service: String, _ held: [RestartHold.Entry], _ view: View, _ cancellation: Cancellation?
    ) throws {
        let containers = view.containers(of: service)
        let ran = containers.filter { container in held.contains { $0.id == container.id } }
        for container in ran.isEmpty ? containers : ran {
            try cancellation?.check()
            if let own = held.first(where: { $0.id == container.id })?.restart, own.revives,
                !container.restart.revives
            {
                try engine.setRestartPolicy(own, of: container, patience: deadlines.engineBack, cancellation)
            }
            if container.isPaused { try engine.unpause(container, patience: deadlines.engineBack, cancellation) }
            let isStopping = held.contains { $0.id == container.id }
            let isDown = try !container.isUp || (isStopping && goesDown(container, cancellation))
            if isDown { try engine.start(container, patience: deadlines.engineBack, cancellation) }
        }
    }

    /// Whether a container that runs ends after all: a lifeboat that died may have asked the engine to stop it, and the
    /// engine goes on with that for as long as the grace period. Not asked of what this manager stopped itself.
    private func goesDown(_ container: EngineContainer, _ cancellation: Cancellation?) throws -> Bool {
        if known.withLock({ (known: inout Known) in known.stopped.contains(container.id) }) { return false }
        let end = clock.monotonicSeconds() + container.grace + Double(Self.stoppingMargin)
        while clock.monotonicSeconds() < end {
            try cancellation?.check()
            let now = try engine.container(container.id, patience: deadlines.engineBack, cancellation)
            guard let now, now.isUp else { return now != nil }
            clock.sleep(seconds: 0.2)
        }
        return false
    }

    /// Waits as Compose does: for what the service needs, if that is started too or runs.
    private func awaitDependencies(
        of service: String, _ wanted: Set<String>, _ view: View, _ progress: any ProgressSink,
        _ cancellation: Cancellation?
    ) throws {
        for (name, condition) in (view.dependencies[service] ?? [:]).sorted(by: { $0.key < $1.key })
        where condition != .started {
            let containers = view.containers(of: name)
            guard wanted.contains(name) || containers.contains(where: \.isUp) else { continue }
            for container in containers {
                try wait(for: container, condition, service, progress, cancellation)
            }
        }
    }

    private func wait(
        for container: EngineContainer, _ condition: EngineContainer.Condition, _ service: String,
        _ progress: any ProgressSink, _ cancellation: Cancellation?
    ) throws {
        let least = condition == .completed ? deadlines.completed : deadlines.healthy
        let end = clock.monotonicSeconds() + max(least, container.healthSeconds)
        var told: String?
        while true {
            try cancellation?.check()
            guard let now = try engine.container(container.id, patience: deadlines.engineBack, cancellation) else {
                throw LifeboatError(
                    "container '\(container.name)' has gone while service '\(service)' waited for it")
            }
            let state = Self.state(of: now)
            switch condition {
            case .started: return
            case .healthy:
                // Without a health check there is nothing to wait for.
                if now.status == "running", now.health == nil || now.health == "healthy" { return }
            case .completed:
                if !now.isUp, now.status == "exited", now.exitCode == 0 { return }
            }
            if now.status == "exited" || now.status == "dead" {
                throw LifeboatError(
                    "service '\(now.service)' ended while service '\(service)' waited for it",
                    causes: ["container '\(now.name)' is \(state)"], hint: "Look at its log: docker logs \(now.name).")
            }
            guard clock.monotonicSeconds() < end else {
                throw LifeboatError(
                    "service '\(service)' waits for '\(now.service)' in vain",
                    causes: ["container '\(now.name)' is \(state)"], hint: "Look at its log: docker logs \(now.name).")
            }
            if told != state {
                told = state
                progress.report(.note("'\(service)' waits for '\(now.service)': \(state)"))
            }
            clock.sleep(seconds: 0.2)
        }
    }

    /// `running, unhealthy`, `exited with 3`
    static func state(of container: EngineContainer) -> String {
        if container.status == "exited" || container.status == "dead" {
            return "\(container.status) with \(container.exitCode)"
        }
        return container.health.map { "\(container.status), \($0)" } ?? container.status
    }
}
