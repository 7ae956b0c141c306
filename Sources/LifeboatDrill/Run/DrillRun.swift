// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO
import LifeboatPolicy
import LifeboatRepository
import LifeboatRestore
import LifeboatServices
import LifeboatStores

/// One drill on throw-away engines: the data of a snapshot brought up beside everything that lives on this host.
///
/// What goes wrong with one component is a finding, and the others go on, so that one drill names all there is. The
/// sandbox is torn down on every path. Blocking, on the calling thread.
package final class DrillRun {
    private let request: DrillRequest
    private let timeline: DrillTimeline
    private let start: Double
    private(set) var result: DrillResult
    private var seats: [DrillSeat] = []
    private var plan: SandboxPlan?
    private var sandbox: Sandbox?
    private var compose: ComposeSandbox?
    /// What was on the container engine before.
    private var living: [String] = []

    private var clock: any Clock { request.clock }
    private var cancellation: Cancellation { request.cancellation }
    private var manifest: Manifest { request.snapshot.manifest }

    /// `timeline` has begun: what was measured before counts into the recovery. `started`: when that was.
    package init(_ request: DrillRequest, _ timeline: DrillTimeline, id: String, started: Timestamp) {
        self.request = request
        self.timeline = timeline
        start = request.clock.monotonicSeconds() - timeline.elapsed
        let manifest = request.snapshot.manifest
        var objectives = DrillResult.Objectives(
            rto: request.policy.objectives.rto, rpo: request.policy.objectives.rpo)
        let point = RecoveryPoint.figures(request.snapshots, now: started)
        objectives.age = point.age
        objectives.worstGap = point.worst?.seconds
        objectives.worstGapEnd = point.worst?.end
        result = DrillResult(
            drill: id, repositoryID: request.repository.config.repositoryID, stack: manifest.stack,
            host: request.host, lifeboat: request.lifeboat,
            sandbox: (request.project == nil ? DrillPolicy.Sandbox.engines : .compose).rawValue,
            snapshot: request.snapshot.id, snapshotTime: manifest.frozen, sequence: manifest.sequence,
            started: started, objectives: objectives, repeatCommand: request.repeatCommand)
    }

    /// Drills; the result, also when it failed. Throws only what is no result: interrupted, or the sandbox could not
    /// be torn down.
    package func run() throws -> DrillResult {
        do {
            try rehearse()
        } catch {
            let told = LifeboatError.converting(error)
            if told.exitCode == .interrupted {
                try tearDown()
                throw told
            }
            find(told, timeline.phases.last?.name ?? DrillPhase.prepare)
        }
        try tearDown()
        conclude()
        return result
    }

    private func rehearse() throws {
        compareSecrets()
        try bringUp()
        let working = seats.filter { !$0.hasFailed }
        try compareFacts(working, DrillPhase.facts) { seat, facts in seat.result.facts = facts }
        try askChecks()
        try askProbes()
        if result.findings.isEmpty { result.objectives.rta = timeline.elapsed }
        try restart()
    }

    // MARK: - Up

    private func bringUp() throws {
        let components = chosen()
        let source = try timeline.measure(DrillPhase.verify, bytes: components.reduce(0) { $0 + $1.captured.bytes }) {
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
            for warning in try seat.store.preflightRestore(seat.content) { warn(warning, seat) }
            seat.staged = try seat.store.planStaging(result.drill, of: seat.content.facts)
        }
        for seat in seats where !seat.hasFailed { try load(seat) }
        try each(DrillPhase.exchange) { try exchange($0) }
        let stopped = seats.filter { $0.engine != nil && !$0.isServed }
        try each(DrillPhase.start, of: stopped) { try $0.engine?.start() }
        try each(DrillPhase.healthy, of: stopped) { try $0.engine?.awaitReady(cancellation) }
        if let compose {
            try timeline.measure(DrillPhase.start) { try compose.up() }
        }
        try each(DrillPhase.discard) { try $0.store.discard($0.staged ?? StagedState([:])) }
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
        let left = manifest.components.map(\.name).filter { !names.contains($0) }
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
            progress: request.progress)
        for component in components {
            do {
                try source.verifyChunks(of: [component.captured.name], cancellation)
            } catch {
                try findUnlessInterrupted(error, DrillPhase.verify, component.captured.name)
            }
        }
        return source
    }

    private func makeSandbox(_ components: [(policy: ComponentPolicy, captured: Manifest.Component)]) throws {
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
                let seat = DrillSeat(component.captured, place, store, try source.content(of: name))
                seat.hasFailed = result.findings.contains { $0.component == name }
                seats.append(seat)
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
        let begin = timeline.elapsed
        do {
            try timeline.measure(DrillPhase.load, seat.name, bytes: seat.captured.bytes) {
                try seat.store.stage(
                    MeteredContent(content: seat.content, meter: meter), seat.staged ?? StagedState([:]),
                    progress: LoadProgress(sink: request.progress, meter: meter, timelineStart: start),
                    cancellation: cancellation)
            }
        } catch {
            try fail(
                seat, LifeboatError.converting(error, "component '\(seat.name)' cannot be restored"), DrillPhase.load)
        }
        let figures = meter.figures
        if figures.fetch > 0 {
            timeline.add(
                DrillResult.Phase(
                    name: DrillPhase.fetch, component: seat.name, start: begin, seconds: figures.fetch,
                    bytes: seat.captured.bytes, of: DrillPhase.load))
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

    // MARK: - Proof

    private func compareFacts(
        _ compared: [DrillSeat], _ phase: String, isRecovery: Bool = true,
        _ keep: (DrillSeat, [DrillResult.Fact]) -> Void
    ) throws {
        for seat in compared where !seat.hasFailed {
            do {
                let (found, absent) = try timeline.measure(phase, seat.name, isRecovery: isRecovery) {
                    try FactComparison.compare(seat.store, seat.content, cancellation)
                }
                let facts = compose == nil ? found : found.map(Self.grown)
                keep(seat, facts)
                for fact in facts where fact.state == .different {
                    find(Self.error(fact, seat), phase, seat.name)
                }
                if isRecovery { seat.result.warnings += absent }
                if isRecovery, !facts.contains(where: { $0.state == .different }) { seat.result.state = .verified }
            } catch {
                try fail(seat, error, phase)
            }
        }
    }

    /// Services run by now, and may have added to what was restored.
    private static func grown(_ fact: DrillResult.Fact) -> DrillResult.Fact {
        guard fact.state == .different, let expected = Int64(fact.expected),
            let found = fact.found.flatMap({ Int64($0) }), found > expected
        else { return fact }
        var told = fact
        told.state = .told
        return told
    }

    private static func error(_ fact: DrillResult.Fact, _ seat: DrillSeat) -> LifeboatError {
        LifeboatError(
            "'\(fact.name)' of component '\(seat.name)' is \(fact.found ?? "missing"), not \(fact.expected)",
            hint: "The snapshot says so; what was restored from it does not hold that.")
    }

    private func askChecks() throws {
        guard !request.policy.checks.isEmpty else { return }
        try timeline.measure(DrillPhase.checks) {
            for verdict in try verdicts() {
                let captured = manifest.checks?.first { $0.name == verdict.name }
                let isAsCaptured =
                    captured.map {
                        $0.holds == verdict.holds && $0.values.map(\.number) == verdict.values.map(\.number)
                    }
                    ?? true
                result.checks.append(
                    DrillResult.Check(
                        name: verdict.name, holds: verdict.holds, explanation: verdict.explanation,
                        captured: captured?.explanation, isAsCaptured: isAsCaptured))
                guard captured?.holds ?? true else { continue }
                if !verdict.holds {
                    find(
                        LifeboatError(
                            "check '\(verdict.name)' does not hold: \(verdict.explanation)",
                            causes: [verdict.requirement]), DrillPhase.checks)
                } else if !isAsCaptured {
                    find(
                        LifeboatError(
                            "check '\(verdict.name)' gives other values than in the snapshot: \(verdict.explanation)",
                            causes: ["in the snapshot \(captured?.explanation ?? "")"]), DrillPhase.checks)
                }
            }
        }
    }

    /// Of the checks that ask nothing but components in the sandbox.
    private func verdicts() throws -> [CheckResult] {
        let sources = Dictionary(uniqueKeysWithValues: seats.filter { !$0.hasFailed }.map { ($0.name, $0.store) })
        let asked = request.policy.checks.filter { check in
            check.values.allSatisfy { value in
                switch value {
                case .number: true
                case .component(let name, _): sources[name] != nil
                case .http: false
                }
            }
        }
        for check in request.policy.checks where !asked.contains(check) {
            let reason = "check '\(check.name)' was not asked: not all it asks is in the sandbox"
            if !result.leftOut.contains(reason) { result.leftOut.append(reason) }
        }
        let evaluation = CheckEvaluation(asked)
        try evaluation.askAll(sources.mapValues { $0 as? any NumberSource }, cancellation)
        return evaluation.results
    }

    private func askProbes() throws {
        let probes = DrillProbes(
            policy: request.policy, seats: seats.filter { !$0.hasFailed }, compose: compose, drill: result.drill,
            folder: sandbox?.folder ?? "/", request: request)
        let questions = probes.questions
        result.leftOut += questions.leftOut
        guard !questions.probes.isEmpty else { return }
        try timeline.measure(DrillPhase.probes) {
            for probe in questions.probes {
                try cancellation.check()
                let answer = probe.ask(clock, cancellation)
                result.probes.append(answer)
                guard !answer.passed else { continue }
                find(
                    LifeboatError("probe '\(answer.name)' did not pass", causes: [answer.detail]), DrillPhase.probes,
                    probe.component)
            }
        }
    }

    // MARK: - Once more

    private func restart() throws {
        let working = seats.filter { !$0.hasFailed }
        if let compose {
            try timeline.measure(DrillPhase.restart, isRecovery: false) { try compose.stop() }
            try timeline.measure(DrillPhase.again, isRecovery: false) { try compose.up() }
            // A container that is started again may get the address another one had.
            if let plan, let sandbox {
                for seat in working {
                    seat.store = try request.makeStore(seat.place.policy, plan.policy, sandbox.folder)
                }
            }
        }
        let engines = compose == nil ? working.filter { $0.engine != nil } : []
        try each(DrillPhase.restart, of: engines, isRecovery: false) { seat in
            try seat.engine?.stop()
            try seat.engine?.start()
        }
        try each(DrillPhase.again, of: engines, isRecovery: false) { try $0.engine?.awaitReady(cancellation) }
        let before = result.findings.count
        try compareFacts(working, DrillPhase.factsAgain, isRecovery: false) { seat, facts in
            seat.result.holdsAfterRestart = !facts.contains { $0.state == .different }
        }
        // What was wrong before is named already.
        let known = Set(result.findings[..<before].map(\.message))
        let new = result.findings[before...].filter { !known.contains($0.message) }
        result.findings = Array(result.findings[..<before]) + new
        guard !result.checks.isEmpty else { return }
        try timeline.measure(DrillPhase.checksAgain, isRecovery: false) {
            for verdict in try verdicts() {
                guard let index = result.checks.firstIndex(where: { $0.name == verdict.name }) else { continue }
                result.checks[index].holdsAfterRestart = verdict.holds
                guard result.checks[index].holds, !verdict.holds else { continue }
                find(
                    LifeboatError(
                        "check '\(verdict.name)' does not hold after the restart: \(verdict.explanation)"),
                    DrillPhase.checksAgain)
            }
        }
    }

    // MARK: - Down

    private func tearDown() throws {
        guard let sandbox else { return }
        self.sandbox = nil
        if request.isKept {
            try sandbox.keep()
            for seat in seats where seat.engine != nil { seat.engine?.letGo() }
            request.progress.report(.note("the sandbox is kept in '\(sandbox.folder)'"))
            return
        }
        try timeline.measure(DrillPhase.tearDown, isRecovery: false) {
            for seat in seats {
                // What does not go in order is ended with the rest of the sandbox.
                if compose == nil { do { try seat.engine?.stop() } catch { continue } }
            }
            try sandbox.remove()
            try compareLiving()
        }
    }

    /// That nothing on the container engine is another than before.
    private func compareLiving() throws {
        guard let compose else { return }
        let now = try ComposeSandbox.living(request.docker, without: compose.name)
        let changed = Set(living).symmetricDifference(now).sorted()
        result.untouched = living.count
        guard !changed.isEmpty else { return }
        result.untouched = nil
        result.warnings.append(
            "while it was drilled something on the container engine changed: \(changed.prefix(4).joined(separator: "; "))"
        )
    }

    private func conclude() {
        result.components += seats.map(\.result)
        let order = manifest.components.map(\.name)
        result.components.sort {
            (order.firstIndex(of: $0.name) ?? order.count) < (order.firstIndex(of: $1.name) ?? order.count)
        }
        result.phases = timeline.phases
        result.seconds = timeline.elapsed
        result.ended = clock.now()
        result.conclude()
    }

    // MARK: - Troubles

    /// Runs a step for every component that is still on its way, each measured.
    private func each(
        _ phase: String, of chosen: [DrillSeat]? = nil, isRecovery: Bool = true, _ step: (DrillSeat) throws -> Void
    ) throws {
        for seat in chosen ?? seats where !seat.hasFailed {
            try cancellation.check()
            do {
                try timeline.measure(phase, seat.name, isRecovery: isRecovery) { try step(seat) }
            } catch {
                try fail(seat, error, phase)
            }
        }
    }

    private func fail(_ seat: DrillSeat, _ error: any Error, _ phase: String) throws {
        try findUnlessInterrupted(error, phase, seat.name)
        seat.hasFailed = true
        seat.result.state = .failed
    }

    private func findUnlessInterrupted(_ error: any Error, _ phase: String, _ component: String?) throws {
        let told = LifeboatError.converting(error)
        if told.exitCode == .interrupted { throw told }
        find(told, phase, component)
    }

    private func find(_ error: LifeboatError, _ phase: String, _ component: String? = nil) {
        result.findings.append(DrillResult.Finding(error, phase: phase, component: component))
    }

    private func warn(_ warning: LifeboatError, _ seat: DrillSeat) {
        seat.result.warnings.append(([warning.message] + warning.causes).joined(separator: ": "))
    }

    /// A secret that is another one breaks what was encrypted or signed with it, on the day it counts.
    private func compareSecrets() {
        guard let kept = manifest.secrets else { return }
        do {
            for difference in try SecretComparison.differences(
                kept, breaks: { name in request.policy.secrets.first { $0.name == name }?.breaks },
                secret: request.secret)
            {
                if difference.isOther {
                    find(
                        LifeboatError(
                            difference.message,
                            hint: "Keep the value the snapshot was made with where a recovery finds it."),
                        DrillPhase.authenticate)
                } else {
                    result.warnings.append(difference.message)
                }
            }
        } catch {
            find(LifeboatError.converting(error), DrillPhase.authenticate)
        }
    }
}

extension DrillSeat {
    /// Its data goes through the server, which has to run for it: no stop, no start.
    var isServed: Bool { store.swapsWithServer }
}
