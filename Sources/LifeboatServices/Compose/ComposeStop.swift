// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

extension ComposeServices {
    package func stop(
        _ services: [String], progress: any ProgressSink, cancellation: Cancellation?
    ) throws -> [String] {
        try cancellation?.check()
        let view = try view(patience: deadlines.engine, cancellation)
        let wanted = Set(services)
        let up = view.containers.filter { wanted.contains($0.service) && $0.isUp }
        guard !up.isEmpty else { return [] }
        for oneOff in view.oneOffs where oneOff.isUp {
            progress.report(
                .warning(
                    LifeboatError(
                        "container '\(oneOff.name)' was started by hand and is left running",
                        hint: "It may write into data that is being exchanged: end it if it does.")))
        }
        known.withLock { (known: inout Known) in
            known.lastUp = up
            known.stopped.formUnion(up.map(\.id))
        }
        try holdRestarts(of: up, view.name, cancellation)
        for wave in view.graph.waves(of: Set(up.map(\.service))).reversed() {
            try runConcurrently(
                up.filter { wave.contains($0.service) }.map { container in
                    (
                        name: "stop",
                        body: { @Sendable () throws -> Void in
                            try self.stop(container, progress, cancellation)
                        }
                    )
                })
        }
        try checkStopped(wanted, cancellation)
        let stopped = Set(up.map(\.service))
        return view.graph.order.filter(stopped.contains)
    }

    /// From now on no engine that starts again brings these containers back: it would do so in the middle of an exchange.
    private func holdRestarts(
        of containers: [EngineContainer], _ name: String, _ cancellation: Cancellation?
    ) throws {
        let hold = hold(name)
        let before = try hold.entries()
        let entries = containers.map { container in
            // What is held already, by a lifeboat that died, is the container's own policy.
            let held = before.first { $0.id == container.id && !container.restart.revives }
            return RestartHold.Entry(
                id: container.id, name: container.name, service: container.service,
                restart: held?.restart ?? container.restart)
        }
        let ids = Set(containers.map(\.id))
        try hold.write(before.filter { !ids.contains($0.id) } + entries)
        for container in containers where container.restart.revives {
            try engine.setRestartPolicy(.none, of: container, patience: deadlines.engine, cancellation)
        }
    }

    private func stop(
        _ container: EngineContainer, _ progress: any ProgressSink, _ cancellation: Cancellation?
    ) throws {
        try cancellation?.check()
        let start = clock.monotonicSeconds()
        // An older engine refuses to stop what is paused.
        if container.isPaused { try engine.unpause(container, patience: deadlines.engine, cancellation) }
        // Once asked for it is waited for, whatever else happens: who starts it again must find it stopped.
        try engine.stop(container, patience: deadlines.engineBack, nil)
        let ended = try engine.container(container.id, patience: deadlines.engineBack, nil)
        progress.report(
            .note("stopped '\(container.name)' in \(HealthWaiter.shown(clock.monotonicSeconds() - start)) s"))
        // 137: the engine killed it, since it did not end within its grace period.
        guard let ended, !ended.isUp, ended.exitCode == 137, !ended.stopsByKill, !mayKill.contains(ended.service) else {
            return
        }
        throw LifeboatError(
            "service '\(ended.service)' did not stop by itself within \(HealthWaiter.shown(ended.grace)) s",
            causes: ["container '\(ended.name)' was killed: exit code 137"],
            hint: """
                Raise its stop_grace_period, or set its stop_signal or 'init: true', in the compose file; a service that \
                loses nothing when it is killed may be named in services.compose.may_kill.
                """)
    }

    /// Somebody else may have started one meanwhile.
    private func checkStopped(_ services: Set<String>, _ cancellation: Cancellation?) throws {
        let view = try view(patience: deadlines.engineBack, cancellation)
        guard let up = view.containers.first(where: { services.contains($0.service) && $0.isUp }) else { return }
        throw LifeboatError(
            "service '\(up.service)' still runs after it was stopped",
            causes: ["container '\(up.name)' is \(up.status)"],
            hint: "Something starts it again: find out what, and stop that first.")
    }
}
