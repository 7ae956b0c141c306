// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO
import LifeboatServices
import LifeboatStores

/// Executes restore plans, and only plans. Every step is journalled before and after; a failure before the first swap
/// leaves the live data as it was, a failure after it brings the old data back.
///
/// Blocking; one restore per stack and host at a time.
package struct RestoreExecutor: Sendable {
    private let stack: RestoreStack
    private let journal: RestoreJournal
    private let clock: any Clock
    private let progress: any ProgressSink

    package init(stack: RestoreStack, journal: RestoreJournal, clock: any Clock, progress: any ProgressSink) {
        self.stack = stack
        self.journal = journal
        self.clock = clock
        self.progress = progress
    }

    /// Throws the reason when the restore did not happen: with exit code `rolledBack` when the old data was brought
    /// back after a swap, with the code of the failure itself when nothing had been swapped yet.
    package func execute(
        _ plan: RestorePlan, from source: any RestoreSource, cancellation: Cancellation
    ) throws -> RestoreOutcome {
        guard plan.stack == stack.name else {
            throw LifeboatError("the plan is for stack '\(plan.stack)', not '\(stack.name)'", exitCode: .usage)
        }
        let lock = try journal.lock(stack: plan.stack)
        let outcome = try executeLocked(plan, from: source, cancellation)
        _ = consume lock
        return outcome
    }

    private func executeLocked(
        _ plan: RestorePlan, from source: any RestoreSource, _ cancellation: Cancellation
    ) throws -> RestoreOutcome {
        if let other = try journal.records().records.first(where: { $0.plan.stack == plan.stack && $0.needsRecovery }) {
            throw LifeboatError(
                "restore '\(other.plan.id)' of stack '\(plan.stack)' was cut off and has to be finished first",
                hint: "Run 'lifeboat restore --resume' with this policy: it is finished or undone.", exitCode: .busy)
        }
        let record = RestoreRecord(plan, owner: try .current())
        var run = RestoreRun(
            RestoreMachine(record), stack: stack, journal: journal, source: source, clock: clock, progress: progress,
            cancellation: cancellation)
        run.run()
        if let failure = run.failure { throw failure }
        return run.outcome
    }
}

/// One machine on its way: does what it says and tells it what happened.
struct RestoreRun {
    private(set) var machine: RestoreMachine
    private let stack: RestoreStack
    private let journal: RestoreJournal
    /// Nil when recovering: what goes back or gets finished needs no snapshot.
    private let source: (any RestoreSource)?
    private let progress: any ProgressSink
    private let cancellation: Cancellation
    /// Undoing is not cancelled by what cancelled the restore.
    private let undoCancellation = Cancellation()
    private var timeline: RestoreTimeline
    private(set) var warnings: [LifeboatError] = []
    private var factsVerified: [String: Int] = [:]
    private var checkResults: [CheckResult] = []
    private let clock: any Clock
    /// Services that were stopped, and of which can be told that they do not run.
    private var knownDown: Set<String> = []
    /// What the snapshot names and does not hold, and is not there.
    private var absent: [String] = []

    init(
        _ machine: RestoreMachine, stack: RestoreStack, journal: RestoreJournal, source: (any RestoreSource)?,
        clock: any Clock, progress: any ProgressSink, cancellation: Cancellation
    ) {
        self.machine = machine
        self.stack = stack
        self.journal = journal
        self.source = source
        self.progress = progress
        self.cancellation = cancellation
        self.clock = clock
        timeline = RestoreTimeline(clock, progress)
    }

    private var plan: RestorePlan { machine.record.plan }

    /// Runs the machine to its end.
    mutating func run() {
        while true {
            var next = machine
            let action = next.begin()
            if action == .end {
                machine = next
                break
            }
            do {
                try journal.write(next.record)
            } catch {
                let told = LifeboatError.converting(error)
                // What is being undone is undone all the same: each of these steps can be done again.
                if case .perform = action {
                    machine.couldNotRecord(told)
                    continue
                }
                warn(told)
            }
            machine = next
            do {
                switch action {
                case .perform(let step): try perform(step)
                case .undo(let undo): try self.undo(undo)
                case .end: break
                }
                machine.succeeded()
            } catch {
                machine.failed(LifeboatError.converting(error))
                if case .perform(let step) = action, machine.record.failure != nil {
                    progress.report(.note("\(step.id) failed: \(LifeboatError.converting(error).message)"))
                }
            }
        }
        timeline.leave()
        conclude()
    }

    /// The last word in the journal: gone when nothing is left to do.
    private mutating func conclude() {
        do {
            if machine.record.course == .done {
                try journal.remove(plan.id)
            } else {
                try journal.write(machine.record)
            }
        } catch {
            warn(LifeboatError.converting(error))
        }
    }

    private mutating func warn(_ warning: LifeboatError) {
        warnings.append(warning)
        progress.report(.warning(warning))
    }

    // MARK: - Forward

    private mutating func perform(_ step: RestoreStep) throws {
        let isFinishing = machine.record.course == .finishing
        if !isFinishing { try cancellation.check() }
        timeline.enter(step.action.phase, detail: step.component)
        switch step.action {
        case .verifyChunks:
            try snapshot().verifyChunks(of: plan.components.map(\.name), cancellation)
        case .preflight:
            for warning in try stack.store(step.component).preflightRestore(content(step)) { warn(warning) }
        case .stage:
            try stack.store(step.component).stage(
                content(step), staged(step.component), progress: progress, cancellation: cancellation)
        case .stopServices:
            try stopServices()
        case .swap:
            timeline.mark(isDown: true)
            try servers.ensure(step.component, cancellation)
            try stack.store(step.component).swap(staged(step.component))
        case .startServices:
            try checkStillDown()
            try stack.services?.start(startedServices, progress: progress, cancellation: cancellation)
            if plan.healthProbes == 0 { timeline.mark(isDown: false) }
        case .awaitHealth:
            try stack.health?.awaitHealth(progress, cancellation)
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
            break
        }
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
        machine.foundServices(stack.startedServers.isSuperset(of: running) ? [] : running)
        try journal.write(machine.record)
        timeline.mark(isDown: true)
        let stopping = try servers.stopped(running, of: plan.components.map(\.name))
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

    private var servers: RestoreServers { RestoreServers(stack, clock: clock, progress: progress) }

    /// What goes forward starts: the services that ran, or all of a stack none of which did.
    private var startedServices: [String] {
        let found = machine.record.servicesFound ?? []
        return found.isEmpty ? stack.allServices : found
    }

    /// Facts that fell short are a failure. Services run again by now and may have added to what was restored: numbers
    /// that grew are told.
    private mutating func verifyFacts(_ step: RestoreStep) throws {
        let content = try content(step)
        let differences = try stack.store(step.component).verify(content)
        var losses: [FactDifference] = []
        for difference in differences {
            if !difference.isLoss {
                let missing =
                    "'\(difference.name)' of component '\(step.component ?? "")'"
                    + (difference.found.map { " is \($0)" } ?? " is missing")
                absent.append(missing)
                warn(LifeboatError(missing, causes: ["the snapshot names it: \(difference.expected)"]))
            } else if Self.grew(difference) {
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
        factsVerified[step.component ?? ""] = content.facts.counts.count + content.facts.texts.count
    }

    /// A check the restore depends on that does not hold undoes it; any other is told.
    private mutating func askChecks() throws {
        let checks = RestoreChecks(stack: stack, plan: plan, clock: clock)
        checkResults = try checks.run(cancellation)
        let failures = checks.failures(checkResults)
        guard failures.isEmpty else {
            throw LifeboatError(
                "a check of the policy held in the snapshot, and does not hold after the restore",
                causes: failures.map { "\($0.name): \($0.explanation)" })
        }
        for result in checkResults where !result.holds {
            warn(
                LifeboatError(
                    "check '\(result.name)' does not hold after the restore",
                    causes: [result.explanation, result.requirement]))
        }
    }

    private static func grew(_ difference: FactDifference) -> Bool {
        guard let expected = Int64(difference.expected), let found = difference.found.flatMap({ Int64($0) }) else {
            return false
        }
        return found > expected
    }

    private static func text(_ difference: FactDifference) -> String {
        "\(difference.name) is \(difference.found ?? "missing"), not \(difference.expected)"
    }

    // MARK: - Back

    private mutating func undo(_ step: RestoreRecord.UndoStep) throws {
        timeline.enter(machine.record.course == .rollingBack ? "roll back" : "clean up", detail: step.component)
        switch step.undo {
        case .stopServices:
            let stopping = try servers.stopped(startedServices, of: plan.components.map(\.name))
            _ = try stack.services?.stop(stopping, progress: progress, cancellation: undoCancellation)
        case .swapBack:
            try servers.ensure(step.component, undoCancellation)
            try stack.store(step.component).swapBack(staged(step.component))
        case .startServices:
            try stack.services?.start(
                machine.record.servicesFound ?? [], progress: progress, cancellation: undoCancellation)
        case .awaitHealth:
            try stack.health?.awaitHealth(progress, undoCancellation)
        case .discardStaged:
            try servers.ensure(step.component, undoCancellation)
            try stack.store(step.component).discard(staged(step.component))
        }
    }

    // MARK: - Result

    var outcome: RestoreOutcome {
        let troubles = machine.record.troubles.map(\.error)
        return RestoreOutcome(
            id: plan.id, stack: plan.stack, snapshot: plan.snapshot, snapshotTime: plan.snapshotTime,
            components: plan.components.map {
                RestoreOutcome.Component(
                    name: $0.name, store: $0.store, subject: $0.subject, bytes: $0.bytes, files: $0.files,
                    factsVerified: factsVerified[$0.name] ?? 0)
            },
            phases: timeline.phases, downtimeSeconds: timeline.downtime, totalSeconds: timeline.total,
            absent: absent, checks: checkResults,
            warnings: plan.warnings + (warnings + troubles).map { ([$0.message] + $0.causes).joined(separator: ": ") })
    }

    /// Why the restore did not happen; nil when it did.
    var failure: LifeboatError? {
        guard let reason = machine.record.failure?.error else { return nil }
        return RestoreFailure.error(for: machine.record, reason: reason)
    }
}

/// The printed form of a restore that did not happen.
enum RestoreFailure {
    static func error(for record: RestoreRecord, reason: LifeboatError) -> LifeboatError {
        let why = [reason.message] + reason.causes
        let troubles = record.troubles.map { ([$0.error.message] + $0.error.causes).joined(separator: ": ") }
        let isOver = record.course == .done
        switch (record.undo.contains { $0.undo == .swapBack }, isOver) {
        case (true, true):
            return LifeboatError(
                "the restore of stack '\(record.plan.stack)' failed and was rolled back", causes: why + troubles,
                hint: "The stack has the data it had before. \(reason.hint ?? "Remove the cause and restore again.")",
                exitCode: .rolledBack)
        case (true, false):
            let swapsFailed = record.undo.contains { $0.undo == .swapBack && $0.state != .done }
            let subjects = record.plan.components.map(\.subject).joined(separator: ", ")
            return LifeboatError(
                "the restore of stack '\(record.plan.stack)' failed and is not wholly rolled back",
                causes: troubles + why,
                hint: (swapsFailed ? "Both copies are kept of \(subjects). " : "")
                    + "Remove the cause, then run 'lifeboat restore --resume' with this policy: the rollback goes on.")
        case (false, _):
            guard !troubles.isEmpty else { return reason }
            return LifeboatError(
                reason.message, causes: reason.causes + troubles,
                hint: "The data was not touched. Run 'lifeboat restore --resume' with this policy: it cleans up.",
                exitCode: reason.exitCode)
        }
    }
}
