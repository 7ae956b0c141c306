// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatServices
import LifeboatStores

extension RestoreRun {
    // MARK: - Forward

    mutating func perform(_ steps: [RestoreStep]) throws {
        guard let first = steps.first else { return }
        let isFinishing = machine.record.course == .finishing
        if !isFinishing { try cancellation.check() }
        timeline.enter(first.action.phase, detail: first.component)
        if first.action.isSideBySide { return try performSideBySide(steps) }
        for step in steps {
            let begin = clock.monotonicSeconds()
            try perform(step)
            timeline.took(step.id, clock.monotonicSeconds() - begin)
        }
    }

    private mutating func perform(_ step: RestoreStep) throws {
        switch step.action {
        case .verifyChunks:
            try snapshot().verifyChunks(of: names, only: selections(), cancellation)
        case .verifyData:
            try snapshot().readChunks(of: names, only: selections(), cancellation)
        case .preflight:
            try preflight(step)
        case .stage:
            let leftOut = try stage(step, cancellation)
            self.leftOut(leftOut, of: step.component ?? "")
        case .stopServices:
            try stopServices()
        case .swap:
            timeline.mark(isDown: true)
            try swap(step)
        case .writeInPlace:
            timeline.mark(isDown: true)
            try writeInPlace(step)
        case .startServices:
            try checkStillDown()
            try stack.services?.start(startedServices, progress: progress, cancellation: cancellation)
            if plan.healthProbes == 0 { timeline.mark(isDown: false) }
        case .awaitHealth:
            // Services that stay stopped by the user's word: a probe that needs them can never pass.
            let skipped = plan.onlyRunning == true && plan.servicesDown != nil ? failedBefore : []
            if !skipped.isEmpty {
                warn(
                    LifeboatError(
                        "health probes that failed before the restore were not queried: "
                            + skipped.sorted().map { "'\($0)'" }.joined(separator: ", "),
                        causes: [
                            "--only-running leaves stopped what did not run: "
                                + (plan.servicesDown ?? []).joined(separator: ", ")
                        ]))
            }
            try stack.health?.awaitHealth(skipping: skipped, progress, cancellation)
            timeline.mark(isDown: false)
        case .verifyFacts:
            timeline.mark(isDown: false)
            try verifyFacts(step)
        case .askChecks:
            timeline.mark(isDown: false)
            try askChecks()
        case .discardOld:
            try servers.ensure(step.component, undoCancellation)
            try stack.store(step.component).discard(staged(step.component))
        case .keepOld:
            try keepOld(step)
        }
    }

    /// Components are independent of each other: some at a time, in order. The first failure ends the others.
    private mutating func performSideBySide(_ steps: [RestoreStep]) throws {
        let run = self
        let shared = Cancellation(under: cancellation)
        let waiting = Monitor(Array(steps.reversed()))
        let took = Monitor<[String: Double]>([:])
        let leftOut = Monitor<[String: [LifeboatError]]>([:])
        let body: @Sendable () throws -> Void = {
            while let step = waiting.withLock({ $0.popLast() }) {
                try shared.check()
                let begin = run.clock.monotonicSeconds()
                let missing = try run.stage(step, shared)
                leftOut.withLock { $0[step.component ?? ""] = missing }
                let seconds = run.clock.monotonicSeconds() - begin
                took.withLock { $0[step.id] = seconds }
            }
        }
        let workers = (0..<min(lanes, steps.count)).map { (name: "restore-\($0)", body: body) }
        try runConcurrently(workers, onFailure: { shared.cancel() })
        let times = took.withLock { $0 }
        let missing = leftOut.withLock { $0 }
        for step in steps {
            timeline.took(step.id, times[step.id] ?? 0)
            self.leftOut(missing[step.component ?? ""] ?? [], of: step.component ?? "")
        }
    }

    /// Returns what could not be brought back.
    private func stage(_ step: RestoreStep, _ cancellation: Cancellation) throws -> [LifeboatError] {
        let store = try stack.store(step.component)
        let staged = try staged(step.component)
        if machine.halfStaged.contains(step.component ?? "") { try store.discard(staged) }
        let watched = IncompleteProgress(sink: progress)
        try store.stage(content(step), staged, progress: watched, cancellation: cancellation)
        return watched.found.map(\.error)
    }

    private func swap(_ step: RestoreStep) throws {
        let store = try stack.store(step.component)
        let staged = try staged(step.component)
        try servers.ensure(step.component, cancellation)
        if machine.halfSwapped.contains(step.component ?? "") { try store.swapBack(staged) }
        try store.swap(staged)
    }

    private func writeInPlace(_ step: RestoreStep) throws {
        guard let store = try stack.store(step.component) as? any InPlaceStore else {
            throw LifeboatError("component '\(step.component ?? "")' cannot be restored in place")
        }
        try store.writeInPlace(
            content(step), staged(step.component), progress: progress, cancellation: cancellation)
    }

    private mutating func preflight(_ step: RestoreStep) throws {
        let store = try stack.store(step.component)
        let content = try content(step)
        let isInPlace = plan.component(step.component ?? "")?.isInPlace ?? false
        let found: [LifeboatError]
        if isInPlace, let store = store as? any InPlaceStore {
            found = try store.preflightInPlace(content)
        } else {
            found = try store.preflightRestore(content)
        }
        // What the plan says was read already.
        for warning in found where !plan.warnings.contains(RestorePlanner.text(warning)) { warn(warning) }
    }

    private mutating func keepOld(_ step: RestoreStep) throws {
        do {
            machine.kept(bytes: try stack.store(step.component).asideBytes(staged(step.component)))
        } catch {
            warn(
                LifeboatError.converting(
                    error, "how much room the old data of '\(step.component ?? "")' takes is not known"))
        }
    }

    private var names: [String] { plan.components.map(\.name) }

    private func selections() throws -> [String: ContentSelection] {
        try stack.selections(of: names, in: snapshot())
    }

    private func snapshot() throws -> any RestoreSource {
        guard let source else { throw LifeboatError("a restore that was cut off does not go forward again") }
        return source
    }

    private func content(_ step: RestoreStep) throws -> any RestoreContent {
        try snapshot().content(of: step.component ?? "")
    }

    private func staged(_ component: String?) throws -> StagedState {
        guard let component, let planned = plan.component(component) else {
            throw LifeboatError("the plan has no component '\(component ?? "")'")
        }
        return planned.staged
    }

    /// Stops what runs, and writes down that it ran before it does not any more.
    private mutating func stopServices() throws {
        guard let services = stack.services else { return }
        let running = try services.running(cancellation)
        // A stack of which nothing ran but what this restore started was lost: it is brought up whole.
        let started = Set(plan.startedServers ?? [])
        let isLost = machine.record.servicesFound == [] || started.isSuperset(of: running)
        machine.foundServices(isLost ? [] : running)
        try journal.write(machine.record)
        timeline.mark(isDown: true)
        let stopping = try servers.stopped(affected(running), of: plan.components.map(\.name))
        guard !stopping.isEmpty else {
            progress.report(.note("the services do not run: nothing to stop"))
            return
        }
        _ = try services.stop(stopping, progress: progress, cancellation: cancellation)
        knownDown = Set(stopping).subtracting(try services.running(cancellation))
    }

    /// What runs in the middle of an exchange has the old data open, and may write anything anywhere.
    private func checkStillDown() throws {
        guard let services = stack.services, !knownDown.isEmpty else { return }
        let revived = knownDown.intersection(try services.running(cancellation))
        guard let service = revived.min() else { return }
        throw LifeboatError(
            "service '\(service)' was started while the data was exchanged",
            causes: ["it was stopped for that, and lifeboat did not start it"],
            hint: "Find out what starts it, stop that, and restore again.")
    }

    /// Those of `services` that use what is restored.
    private func affected(_ services: [String]) -> [String] {
        guard let users = plan.stopping.map(Set.init) else { return services }
        return services.filter(users.contains)
    }

    private var servers: RestoreServers { RestoreServers(stack, clock: clock, progress: progress) }

    /// What goes forward starts: the services that ran, and those that should have; all of a stack none of which did.
    private var startedServices: [String] {
        let found = machine.record.servicesFound ?? []
        if plan.onlyRunning == true { return found }
        if found.isEmpty { return stack.allServices }
        let wanted = Set(found + (plan.servicesDown ?? []))
        return stack.allServices.filter(wanted.contains) + found.filter { !stack.allServices.contains($0) }
    }

    /// Names of the probes that failed when the restore began.
    private var failedBefore: Set<String> { Set((plan.failingProbes ?? []).map(\.name)) }

    /// Facts that fell short are a failure. Services run again by now and may have added to what was restored: numbers
    /// that grew are told.
    private mutating func verifyFacts(_ step: RestoreStep) throws {
        let content = try content(step)
        let store = try stack.store(step.component)
        let differences = try store.verify(content)
        var losses: [FactDifference] = []
        for difference in differences {
            if !difference.isLoss {
                let missing =
                    "'\(difference.name)' of component '\(step.component ?? "")'"
                    + (difference.found.map { " is \($0)" } ?? " is missing")
                absent.append(missing)
                warn(LifeboatError(missing, causes: ["the snapshot names it: \(difference.expected)"]))
            } else if FactDifference.hasGrown(difference.expected, to: difference.found) {
                warn(
                    LifeboatError(
                        "'\(difference.name)' of component '\(step.component ?? "")' grew since the services started",
                        causes: [Self.text(difference)]))
            } else {
                losses.append(difference)
            }
        }
        guard losses.isEmpty else {
            throw LifeboatError(
                "component '\(step.component ?? "")' is not what the snapshot says after the restore",
                causes: losses.prefix(10).map(Self.text))
        }
        let facts = try (store as? any PartialStore)?.selection(of: content)?.facts ?? content.facts
        // What was reported as missing above is not verified.
        let unverified = differences.filter { difference in
            !difference.isLoss
                && (facts.counts[difference.name] != nil || facts.texts[difference.name] != nil)
        }
        factsVerified[step.component ?? ""] = facts.counts.count + facts.texts.count - unverified.count
    }

    /// A check the restore depends on that does not hold undoes it; any other is told.
    private mutating func askChecks() throws {
        let checks = RestoreChecks(stack: stack, plan: plan, clock: clock)
        checkResults = try checks.run(cancellation)
        let failures = checks.failures(checkResults)
        guard failures.isEmpty else {
            throw LifeboatError(
                failures.contains { Self.isAnswered($0) }
                    ? "a check of the policy held in the snapshot, and does not hold after the restore"
                    : "a check of the policy held in the snapshot, and could not be queried after the restore",
                causes: failures.map { "\($0.name): \($0.explanation)" })
        }
        for result in checkResults where !result.holds {
            warn(
                LifeboatError(
                    "check '\(result.name)' "
                        + (Self.isAnswered(result) ? "does not hold" : "could not be queried") + " after the restore",
                    causes: [result.explanation, result.requirement]))
        }
    }

    /// Whether every value of a check is known: only then it can fail to hold.
    private static func isAnswered(_ result: CheckResult) -> Bool { result.values.allSatisfy { $0.number != nil } }

    private static func text(_ difference: FactDifference) -> String {
        "\(difference.name) is \(difference.found ?? "missing"), not \(difference.expected)"
    }

    // MARK: - Back

    mutating func undo(_ step: RestoreRecord.UndoStep) throws {
        timeline.enter(machine.record.course == .rollingBack ? "roll back" : "clean up", detail: step.component)
        switch step.undo {
        case .stopServices:
            timeline.mark(isDown: true)
            let stopping = try servers.stopped(affected(startedServices), of: plan.components.map(\.name))
            _ = try stack.services?.stop(stopping, progress: progress, cancellation: undoCancellation)
        case .swapBack:
            timeline.mark(isDown: true)
            try servers.ensure(step.component, undoCancellation)
            try stack.store(step.component).swapBack(staged(step.component))
        case .startServices:
            try stack.services?.start(
                machine.record.servicesFound ?? [], progress: progress, cancellation: undoCancellation)
            if !machine.record.undo.contains(where: { $0.undo == .awaitHealth }) { timeline.mark(isDown: false) }
        case .awaitHealth:
            // What failed before the restore says nothing about the way back.
            try stack.health?.awaitHealth(skipping: failedBefore, progress, undoCancellation)
            timeline.mark(isDown: false)
        case .discardStaged:
            try servers.ensure(step.component, undoCancellation)
            try stack.store(step.component).discard(staged(step.component))
        }
    }
}
