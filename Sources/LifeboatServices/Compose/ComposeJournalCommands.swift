// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// What brings containers back when neither lifeboat's policy nor its memory is at hand: plain `docker` with their names.
extension ComposeServices {
    /// Seconds a service is waited for that others need healthy; after that they are started all the same.
    private static let healthPatience = 120
    /// Seconds beyond the grace period in which an engine has ended a container.
    static let stoppingMargin = 2

    package func startCommands(_ services: [String]) -> [ServiceCommand] {
        guard let (view, up) = remembered() else {
            return services.isEmpty ? [] : [fallback("start", services)]
        }
        let held = (try? hold(view.name).entries()) ?? []
        let waves = view.graph.waves(of: Set(services))
        var commands: [ServiceCommand] = []
        for (index, wave) in waves.enumerated() {
            var targets: [(container: EngineContainer, restart: EngineContainer.RestartPolicy)] = []
            for service in wave {
                let all = view.containers(of: service)
                let ran = all.filter { container in
                    up.contains { $0.id == container.id } || held.contains { $0.id == container.id }
                }
                for container in ran.isEmpty ? all : ran {
                    let own = held.first { $0.id == container.id }?.restart
                    targets.append((container, own.flatMap { $0.revives ? $0 : nil } ?? container.restart))
                }
            }
            for (container, restart) in targets where restart.revives {
                commands.append(words(["update", "--restart=\(restart.word)", container.name]))
            }
            if !targets.isEmpty { commands.append(start(targets.map(\.container))) }
            let later = waves[(index + 1)...].flatMap(\.self)
            for (container, _) in targets
            where later.contains(where: { view.dependencies[$0]?[container.service] == .healthy }) {
                commands.append(awaitHealth(container))
            }
        }
        return commands
    }

    package func unpauseCommands(_ services: [String]) -> [ServiceCommand] {
        guard let (view, up) = remembered() else {
            return services.isEmpty ? [] : [fallback("unpause", services)]
        }
        return view.graph.waves(of: Set(services)).flatMap(\.self).flatMap { service in
            let all = view.containers(of: service)
            let running = all.filter { container in up.contains { $0.id == container.id } }
            return (running.isEmpty ? all : running).map { unpause($0) }
        }
    }

    /// The containers as they are, and those that were up when they were last looked at. Nil: the engine does not answer;
    /// the journal then gets what a person would type.
    private func remembered() -> (view: View, up: [EngineContainer])? {
        guard let view = try? view(patience: 0, nil) else { return nil }
        return (view, known.withLock { (known: inout Known) in known.lastUp })
    }

    private func fallback(_ verb: String, _ services: [String]) -> ServiceCommand {
        let name = project.name ?? known.withLock { (known: inout Known) in known.name }
        return ServiceCommand(
            engine.commandWords + ["compose"] + project.options(project: name) + [verb] + services,
            folder: project.directory)
    }

    private func words(_ words: [String]) -> ServiceCommand { ServiceCommand(engine.commandWords + words) }

    /// The engine's command line for a shell; names of containers need no quotes.
    private var shellWords: String {
        engine.commandWords.map {
            "'\($0.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''"))'"
        }
        .joined(separator: " ")
    }

    /// When lifeboat dies while the engine stops a container, that still runs for a while, and starting it does nothing:
    /// it is given its time first.
    private func start(_ containers: [EngineContainer]) -> ServiceCommand {
        let names = containers.map(\.name).joined(separator: " ")
        let grace = Int(min(3600, containers.map(\.grace).max() ?? 0)) + Self.stoppingMargin
        let script = """
            for try in $(seq \(grace)); do \
            states=$(\(shellWords) inspect --format '{{.State.Running}}' \(names)) || exit 1; \
            case $states in *true*) sleep 1;; *) break;; esac; done; exec \(shellWords) start \(names)
            """
        return ServiceCommand(["sh", "-c", script])
    }

    /// Unpausing what is not paused is an error to docker, and none here.
    private func unpause(_ container: EngineContainer) -> ServiceCommand {
        let name = container.name
        let script = """
            state=$(\(shellWords) inspect --format '{{.State.Paused}}' \(name)) || exit 1; \
            [ "$state" != true ] || exec \(shellWords) unpause \(name)
            """
        return ServiceCommand(["sh", "-c", script])
    }

    private func awaitHealth(_ container: EngineContainer) -> ServiceCommand {
        let format = "{{if .State.Health}}{{.State.Health.Status}}{{end}}"
        let script = """
            for try in $(seq \(Self.healthPatience)); do \
            state=$(\(shellWords) inspect --format '\(format)' \(container.name)) || exit 1; \
            case $state in healthy|'') exit 0;; esac; sleep 1; done
            """
        return ServiceCommand(["sh", "-c", script])
    }
}
