// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatPolicy
import LifeboatRepository
import LifeboatRestore
import LifeboatServices
import LifeboatStores

/// How the data comes up in the sandbox.
extension DrillRun {
    func bringUp() throws {
        let components = chosen()
        let source = try timeline.measure(DrillPhase.verify, bytes: components.clampedSum(\.captured.bytes)) {
            try verifiedSource(components)
        }
        try timeline.measure(DrillPhase.prepare) { try makeSandbox(components) }
        for component in components { try seat(component, source) }
        try each(DrillPhase.prepare, of: seats.filter { $0.engine != nil }) { seat in
            try seat.engine?.prepare(cancellation)
            guard seat.place.startsEmpty else { return }
            try seat.engine?.start()
            try seat.engine?.awaitReady(cancellation)
        }
        try each(DrillPhase.preflight) { seat in
            for warning in try seat.engine?.check(seat.content.facts) ?? [] { warn(warning, seat) }
            for warning in try seat.store.preflightRestore(seat.content) { warn(warning, seat) }
            seat.staged = try seat.store.planStaging(result.drill, of: seat.content.facts)
        }
        for seat in seats where !seat.hasFailed { try load(seat) }
        try each(DrillPhase.exchange) { try exchange($0) }
        let stopped = seats.filter { $0.engine != nil && !$0.isServed }
        try each(DrillPhase.start, of: stopped) { try $0.engine?.start() }
        try each(DrillPhase.healthy, of: stopped) { try $0.engine?.awaitReady(cancellation) }
        if let compose {
            try timeline.measure(DrillPhase.start) { try bringUpServices(compose) }
        }
        try each(DrillPhase.discard) { try $0.store.discard($0.staged ?? StagedState([:])) }
    }

    /// All services, or only servers with their data where the others would not find all of it: they could not become
    /// healthy, and say nothing.
    func bringUpServices(_ compose: ComposeSandbox) throws {
        let working = seats.filter { !$0.hasFailed }
        let names = Set(working.map(\.name)).union((plan?.readOnly ?? [:]).keys)
        let lacking = request.policy.components.filter { !names.contains($0.name) }
        servicesRun = request.sample == nil && lacking.isEmpty
        guard !servicesRun else { return try compose.up() }
        var servers = working.compactMap { ($0.engine as? ComposeEngine)?.service }
        let runnable =
            request.sample != nil
            ? nil
            : compose.runnable(
                servers: Set(lacking.compactMap(\.store.service)), paths: lacking.compactMap(\.store.path))
        if let runnable {
            servers = runnable
            if !servers.isEmpty { try compose.up(servers, alone: false) }
        } else if !servers.isEmpty {
            try compose.up(servers)
        }
        let others = compose.project.services.filter { !servers.contains($0) }
        let told = "services that would not find all their data: \(others.joined(separator: ", "))"
        if !others.isEmpty, !result.leftOut.contains(told) { result.leftOut.append(told) }
    }

    private func chosen() -> [(policy: ComponentPolicy, captured: Manifest.Component)] {
        let policies = request.policy.components.filter {
            request.selected.isEmpty || request.selected.contains($0.name)
        }
        var chosen: [(policy: ComponentPolicy, captured: Manifest.Component)] = []
        for policy in policies {
            guard let captured = manifest.component(policy.name) else {
                find(
                    LifeboatError("the snapshot holds no component '\(policy.name)'"), DrillPhase.resolve, policy.name)
                continue
            }
            guard captured.store == policy.store.kind else {
                find(
                    LifeboatError(
                        "component '\(policy.name)' is a \(captured.store) in the snapshot, but a"
                            + " \(policy.store.kind) in the policy"), DrillPhase.resolve, policy.name)
                continue
            }
            for problem in captured.problems {
                find(
                    LifeboatError("component '\(policy.name)' is not complete in the snapshot", causes: [problem]),
                    DrillPhase.resolve, policy.name)
            }
            chosen.append((policy, captured))
        }
        let names = Set(chosen.map(\.policy.name))
        let left = manifest.components.filter { $0.store != ProjectStore.kind && !names.contains($0.name) }.map(\.name)
        if !left.isEmpty {
            result.isFull = false
            result.leftOut.append("components of the snapshot: \(left.joined(separator: ", "))")
        }
        return chosen
    }

    /// Every chunk is known to be there before anything is made.
    private func verifiedSource(
        _ components: [(policy: ComponentPolicy, captured: Manifest.Component)]
    ) throws -> RepositorySource {
        let options = RepositoryContent.Options(threads: request.threads)
        let source = try RepositorySource(
            request.repository, request.snapshot, components: components.map(\.captured.name), options: options,
            progress: request.progress, isPartial: request.sample != nil)
        for component in components {
            do {
                try source.verifyChunks(of: [component.captured.name], only: [:], cancellation)
            } catch {
                try findUnlessInterrupted(error, DrillPhase.verify, component.captured.name)
            }
        }
        return source
    }

    private func makeSandbox(_ components: [(policy: ComponentPolicy, captured: Manifest.Component)]) throws {
        if request.project != nil {
            try request.docker.requireEngine(
                hint: "Install and start Docker (DOCKER_HOST names another engine), or drill with --sandbox engines.")
        }
        let sandbox = try Sandbox(
            drill: result.drill, stack: result.stack, in: request.parent, hasProject: request.project != nil,
            journal: request.journal, docker: request.docker, clock: clock)
        self.sandbox = sandbox
        for name in ["state", "tmp", "cache"] { try FileTree.createFolders("\(sandbox.folder)/\(name)") }
        if let project = request.project {
            living = try ComposeSandbox.living(
                request.docker, without: SandboxRecord.project(of: result.drill))
            let compose = try ComposeSandbox(
                project, name: SandboxRecord.project(of: result.drill), root: sandbox.root,
                paths: request.policy.components.compactMap(\.store.path), request.docker, cancellation)
            result.leftOut += compose.project.leftOut
            self.compose = compose
        }
        let plan = SandboxPlan(
            request.policy, components, folder: sandbox.folder, root: sandbox.root, compose: compose,
            EnginePrograms(path: request.path, runner: request.runner), clock)
        try plan.makeFolders()
        result.leftOut += plan.leftOut
        self.plan = plan
    }

    private func seat(
        _ component: (policy: ComponentPolicy, captured: Manifest.Component), _ source: RepositorySource
    ) throws {
        guard let plan, let sandbox else { return }
        let name = component.captured.name
        if let problem = plan.problems[name] {
            find(problem, DrillPhase.prepare, name)
        } else if plan.readOnly[name] != nil {
            try readOnly(component.captured, source)
        } else if let place = plan.places[name] {
            do {
                let store = try request.makeStore(place.policy, plan.policy, sandbox.folder)
                let seat = DrillSeat(
                    component.captured, place, store, try source.content(of: name),
                    try sampled(component.captured, source))
                seat.hasFailed = result.findings.contains { $0.component == name }
                seats.append(seat)
                if let sample = seat.result.sample, !sample.isWhole {
                    result.leftOut.append(
                        "\(sample.all - sample.taken) of \(sample.all) \(sample.unit) of component '\(name)'"
                            + (sample.unit == "tables" ? ", and the foreign keys that name one of them" : ""))
                }
                return
            } catch {
                try findUnlessInterrupted(error, DrillPhase.prepare, name)
            }
        }
        guard plan.readOnly[name] == nil else { return }
        var failed = DrillResult.Component(
            name: name, store: component.captured.store, subject: component.captured.source,
            bytes: component.captured.bytes, files: component.captured.files)
        failed.capturedEngine = component.captured.engineVersion
        result.components.append(failed)
    }

    /// The share of a component that is drilled; nil: all of it.
    private func sampled(_ captured: Manifest.Component, _ source: RepositorySource) throws -> SampledContent? {
        guard let percent = request.sample else { return nil }
        return try timeline.measure(DrillPhase.sample, captured.name, isRecovery: false) {
            // Another snapshot, other files.
            let draw = SampleDraw(share: percent / 100, seed: "\(request.snapshot.id.hex)/\(captured.name)")
            return try SampledContent.drawn(
                from: source.content(of: captured.name), kind: captured.store, draw
            ) { takes in try source.content(of: captured.name, takes: takes) }
        }
    }

    /// Reads all of a component, which verifies it, and keeps nothing.
    private func readOnly(_ captured: Manifest.Component, _ source: RepositorySource) throws {
        var component = DrillResult.Component(
            name: captured.name, store: captured.store, subject: captured.source, bytes: captured.bytes,
            files: captured.files)
        do {
            try timeline.measure(DrillPhase.load, captured.name, bytes: captured.bytes) {
                let content = try source.content(of: captured.name)
                for part in captured.parts where part.kind == .stream {
                    let stream = try content.openStream(part.name)
                    defer { stream.close() }
                    try Self.drain(stream, cancellation)
                }
            }
            component.state = .readOnly
        } catch {
            try findUnlessInterrupted(error, DrillPhase.load, captured.name)
        }
        result.components.append(component)
    }

    private static func drain(_ stream: any ByteSource, _ cancellation: Cancellation) throws {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 16)
        defer { buffer.deallocate() }
        while try stream.read(into: buffer) > 0 { try cancellation.check() }
    }

    private func load(_ seat: DrillSeat) throws {
        let meter = LoadMeter(clock)
        let watched = IncompleteProgress(sink: request.progress)
        let begin = timeline.elapsed
        do {
            try timeline.measure(DrillPhase.load, seat.name, bytes: seat.result.bytes) {
                try seat.store.stage(
                    MeteredContent(content: seat.content, meter: meter), seat.staged ?? StagedState([:]),
                    progress: LoadProgress(sink: watched, meter: meter, timelineStart: start),
                    cancellation: cancellation)
            }
        } catch {
            try fail(
                seat, LifeboatError.converting(error, "component '\(seat.name)' cannot be restored"), DrillPhase.load)
        }
        for missing in watched.found {
            if missing.needsNetwork {
                seat.lacksNetwork = true
                warn(missing.error, seat)
            } else {
                find(missing.error, DrillPhase.load, seat.name)
            }
        }
        let figures = meter.figures
        if let sampled = seat.sampled, sampled.bytes == nil, !sampled.isWhole {
            seat.result.bytes = figures.allBytes
            timeline.moved(figures.allBytes)
        }
        if figures.fetch > 0 {
            timeline.add(
                DrillResult.Phase(
                    name: DrillPhase.fetch, component: seat.name, start: begin, seconds: figures.fetch,
                    bytes: seat.result.bytes, of: DrillPhase.load))
        }
        if let indexes = figures.indexes {
            timeline.add(
                DrillResult.Phase(
                    name: DrillPhase.indexes, component: seat.name, start: max(begin, figures.indexesEnd - indexes),
                    seconds: indexes, of: DrillPhase.load))
        }
    }

    /// Puts the staged data in its place: what a server has in its files needs it to be stopped.
    private func exchange(_ seat: DrillSeat) throws {
        if seat.engine != nil, !seat.isServed { try seat.engine?.stop() }
        try seat.store.swap(seat.staged ?? StagedState([:]))
    }
}
