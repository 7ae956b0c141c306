// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

/// The services of one Compose project.
///
/// Compose tells what the project is and makes containers that are missing; everything else is asked of the engine, by
/// container and by the project's label, so no container of another project is ever touched and none is recreated.
/// Thread-safe; one operation at a time.
package final class ComposeServices: ServiceManager {
    /// Seconds.
    package struct Deadlines: Sendable, Equatable {
        /// For an engine that is away when an operation begins.
        package var engine: Double
        /// For an engine that is away when services have to come back: it may be restarting.
        package var engineBack: Double
        /// Least time for a dependency to become healthy; its own health check may allow more.
        package var healthy: Double
        /// For a dependency that has to run to its end.
        package var completed: Double

        package init(engine: Double = 5, engineBack: Double = 90, healthy: Double = 120, completed: Double = 900) {
            self.engine = engine
            self.engineBack = engineBack
            self.healthy = healthy
            self.completed = completed
        }
    }

    let project: ComposeProject
    /// Nil: all of the project.
    let selected: Set<String>?
    let mayKill: Set<String>
    let engine: any ContainerEngine
    let compose: ComposeCommand
    let clock: any Clock
    let deadlines: Deadlines
    private let stateFolder: String

    struct Known {
        var name: String?
        var model: ComposeModel?
        /// As they were last seen up; what the journal's commands are made from.
        var lastUp: [EngineContainer] = []
        /// Containers that this very manager has stopped, and waited for.
        var stopped: Set<String> = []
        /// Containers that were unhealthy before this manager paused them.
        var illBeforePause: Set<String> = []
    }
    let known = Monitor(Known())

    /// `services`: the only ones lifeboat may touch; `mayKill`: those whose SIGKILL after the grace period is no error.
    /// Restart policies that are held off are kept below `stateFolder`.
    package init(
        _ project: ComposeProject, services: [String]? = nil, mayKill: [String] = [], engine: any ContainerEngine,
        compose: ComposeCommand, stateFolder: String, clock: any Clock = SystemClock(),
        deadlines: Deadlines = Deadlines()
    ) {
        self.project = project
        selected = services.map { Set($0) }
        self.mayKill = Set(mayKill)
        self.engine = engine
        self.compose = compose
        self.stateFolder = stateFolder
        self.clock = clock
        self.deadlines = deadlines
    }

    package var subject: String {
        if let name = project.name ?? known.withLock({ (known: inout Known) in known.name }) {
            return "the services of compose project '\(name)'"
        }
        if let file = project.files.first { return "the services of compose file '\(file)'" }
        return "the services of the compose project in '\(project.directory ?? ".")'"
    }

    // MARK: The project

    /// A look at the project: its containers but the one-off ones, and in which order its services go.
    struct View {
        var name: String
        var containers: [EngineContainer]
        var oneOffs: [EngineContainer]
        var dependencies: [String: [String: EngineContainer.Condition]]
        var graph: ServiceGraph

        func containers(of service: String) -> [EngineContainer] { containers.filter { $0.service == service } }

        /// Whether it is a one-shot container that did its work: it ended with 0, and another service waits for its end.
        func isFinished(_ container: EngineContainer) -> Bool {
            container.status == "exited" && container.exitCode == 0
                && dependencies.values.contains { $0[container.service] == .completed }
        }
    }

    func view(patience: Double, _ cancellation: Cancellation?) throws -> View {
        let name = try projectName(patience, cancellation)
        let found = try engine.containers(of: name, patience: patience, cancellation)
            .filter { $0.project == name && isOurs($0.service) }
            .sorted { ($0.service, $0.number, $0.name) < ($1.service, $1.number, $1.name) }
        let model = known.withLock { (known: inout Known) in known.model }
        // What runs may be older than the file: both say who needs whom.
        var dependencies = (model?.dependencies ?? [:]).filter { isOurs($0.key) }
        for container in found where !container.isOneOff {
            dependencies[container.service, default: [:]].merge(container.dependencies) { file, _ in file }
        }
        return View(
            name: name, containers: found.filter { !$0.isOneOff }, oneOffs: found.filter(\.isOneOff),
            dependencies: dependencies, graph: ServiceGraph(dependencies.mapValues { Set($0.keys) }))
    }

    private func isOurs(_ service: String) -> Bool { selected?.contains(service) ?? true }

    /// The name given; else what Compose makes of files, environment and folder; else, when nothing runs under that
    /// name, the one project whose containers were made from these files.
    private func projectName(_ patience: Double, _ cancellation: Cancellation?) throws -> String {
        if let name = known.withLock({ (known: inout Known) in known.name }) { return name }
        var model: ComposeModel?
        var problem: LifeboatError?
        if project.hasModel {
            do {
                model = try compose.model(project, cancellation)
            } catch {
                problem = LifeboatError.converting(error)
                if problem?.exitCode == .interrupted { throw error }
            }
        }
        if let model { try checkSelection(model) }
        let name = try resolvedName(model, problem, patience, cancellation)
        known.withLock { (known: inout Known) in
            known.name = name
            known.model = model
        }
        return name
    }

    private func resolvedName(
        _ model: ComposeModel?, _ problem: LifeboatError?, _ patience: Double, _ cancellation: Cancellation?
    ) throws -> String {
        if let name = project.name {
            // Containers that exist can be stopped and started without their files.
            if let problem, try engine.containers(of: name, patience: patience, cancellation).isEmpty { throw problem }
            return name
        }
        if let model, try !engine.containers(of: model.name, patience: patience, cancellation).isEmpty {
            return model.name
        }
        let files = Set(project.files)
        let made = try engine.containers(of: nil, patience: patience, cancellation)
            .filter { !files.isEmpty && files.isSubset(of: $0.configFiles) }
        let names = Set(made.map(\.project)).sorted()
        guard names.count <= 1 else {
            throw LifeboatError(
                "\(names.count) compose projects were made from the same file", causes: names.map { "project '\($0)'" },
                hint: "Say which one with services.compose.project in the policy.")
        }
        if let name = names.first ?? model?.name { return name }
        throw problem
            ?? LifeboatError("there is no compose project", hint: "Check services.compose in the policy.")
    }

    private func checkSelection(_ model: ComposeModel) throws {
        let names = model.dependencies.keys
        for service in (selected ?? []).union(mayKill).sorted() where !names.contains(service) {
            throw LifeboatError(
                "compose project '\(model.name)' has no service '\(service)'",
                causes: ["it has: \(names.sorted().joined(separator: ", "))"],
                hint: "Correct services.compose in the policy; a service of a profile needs 'profiles' there.",
                exitCode: .usage)
        }
    }

    func hold(_ name: String) -> RestartHold { RestartHold(stateFolder: stateFolder, project: name) }

    // MARK: ServiceManager

    package func running(_ cancellation: Cancellation?) throws -> [String] {
        let view = try view(patience: deadlines.engine, cancellation)
        let up = view.containers.filter(\.isUp)
        known.withLock { (known: inout Known) in known.lastUp = up }
        let services = Set(up.map(\.service))
        return view.graph.order.filter(services.contains)
    }

    /// All services of the project, in start order: those of the active profiles, and those that have containers.
    package func all(_ cancellation: Cancellation?) throws -> [String] {
        try view(patience: deadlines.engine, cancellation).graph.order
    }

    /// Services without a container that runs; a one-shot one that ended with 0 did what it should.
    package func idle(_ cancellation: Cancellation?) throws -> [String] {
        let view = try view(patience: deadlines.engine, cancellation)
        return view.graph.order.filter { service in
            let containers = view.containers(of: service)
            return !containers.contains(where: \.isUp)
                && (containers.isEmpty || !containers.allSatisfy { view.isFinished($0) })
        }
    }

    package func ended(_ cancellation: Cancellation?) throws -> [String] {
        let view = try view(patience: deadlines.engine, cancellation)
        return view.graph.order.filter { service in
            let containers = view.containers(of: service)
            return !containers.isEmpty
                && containers.allSatisfy {
                    $0.status == "exited" && $0.exitCode == 0 && !$0.restart.revives && $0.healthSeconds == 0
                }
        }
    }

    package func pause(
        _ services: [String], progress: any ProgressSink, cancellation: Cancellation?
    ) throws -> [String] {
        let view = try view(patience: deadlines.engine, cancellation)
        var paused: Set<String> = []
        for wave in view.graph.waves(of: Set(services)).reversed() {
            for container in view.containers where wave.contains(container.service) && container.status == "running" {
                try cancellation?.check()
                if container.health == "unhealthy" {
                    known.withLock { (known: inout Known) in _ = known.illBeforePause.insert(container.id) }
                }
                try pause(container, cancellation)
                paused.insert(container.service)
            }
        }
        let order = view.graph.order.filter(paused.contains)
        if !order.isEmpty { progress.report(.note("paused \(order.joined(separator: ", "))")) }
        return order
    }

    /// A container whose health is asked by a program in it cannot be frozen at an instant at which that begins (`runc`:
    /// "unable to freeze"): a moment later it can.
    private func pause(_ container: EngineContainer, _ cancellation: Cancellation?) throws {
        let end = clock.monotonicSeconds() + Self.freezePatience
        while true {
            do {
                return try engine.pause(container, patience: deadlines.engine, cancellation)
            } catch {
                let refusal = LifeboatError.converting(error)
                guard refusal.exitCode != .interrupted, clock.monotonicSeconds() < end,
                    let now = try engine.container(container.id, patience: deadlines.engine, cancellation),
                    now.status == "running"
                else { throw refusal }
            }
            try cancellation?.check()
            clock.sleep(seconds: 0.1)
        }
    }
    /// Seconds. On a busy machine health checks may begin at several attempts in a row.
    private static let freezePatience = 10.0

    /// Some engines run no health check in a paused container and count the missed ones as failures.
    private func noteUnhealthy(_ containers: [EngineContainer], _ progress: any ProgressSink) {
        let ill = known.withLock { (known: inout Known) in known.illBeforePause }
        let checked = containers.filter { $0.health != nil && !ill.contains($0.id) }
        let now = checked.compactMap { try? engine.container($0.id, patience: deadlines.engine, nil) }
        let names = now.filter { $0.health == "unhealthy" }.map { "'\($0.name)'" }
        guard !names.isEmpty else { return }
        progress.report(
            .note("unhealthy until their next health check, since they were paused: \(names.joined(separator: ", "))"))
    }

    package func unpause(_ services: [String], progress: any ProgressSink) throws {
        guard !services.isEmpty else { return }
        let view = try view(patience: deadlines.engineBack, nil)
        var failure: LifeboatError?
        var count = 0
        // One that fails must not keep the others waiting.
        for service in view.graph.waves(of: Set(services)).flatMap(\.self) {
            for container in view.containers(of: service) where container.isPaused {
                do {
                    try engine.unpause(container, patience: deadlines.engineBack, nil)
                    count += 1
                } catch {
                    failure = failure ?? LifeboatError.converting(error)
                }
            }
        }
        if let failure { throw failure }
        if count > 0 { progress.report(.note("unpaused \(services.joined(separator: ", "))")) }
        noteUnhealthy(view.containers.filter { services.contains($0.service) && $0.isPaused }, progress)
    }
}
