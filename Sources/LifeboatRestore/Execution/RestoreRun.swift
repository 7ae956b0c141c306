// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatServices
import LifeboatStores

/// One machine on its way: does what it says and tells it what happened. What the steps do is in `RestoreSteps.swift`.
struct RestoreRun {
    var machine: RestoreMachine
    let stack: RestoreStack
    let journal: RestoreJournal
    /// Nil when recovering: what goes back or gets finished needs no snapshot.
    let source: (any RestoreSource)?
    /// Components that are staged at a time.
    let lanes: Int
    let clock: any Clock
    let progress: any ProgressSink
    let cancellation: Cancellation
    /// Undoing is not cancelled by what cancelled the restore.
    let undoCancellation = Cancellation()
    var timeline: RestoreTimeline
    private(set) var warnings: [LifeboatError] = []
    var factsVerified: [String: Int] = [:]
    var checkResults: [CheckResult] = []
    /// Services that were stopped, and of which can be told that they do not run.
    var knownDown: Set<String> = []
    /// What the snapshot names and does not hold, and is not there.
    var absent: [String] = []

    init(
        _ machine: RestoreMachine, stack: RestoreStack, journal: RestoreJournal, source: (any RestoreSource)?,
        lanes: Int = 1, begun: Double? = nil, clock: any Clock, progress: any ProgressSink,
        cancellation: Cancellation
    ) {
        self.machine = machine
        self.stack = stack
        self.journal = journal
        self.source = source
        self.lanes = lanes
        self.progress = progress
        self.cancellation = cancellation
        self.clock = clock
        timeline = RestoreTimeline(clock, progress, begun: begun)
        if begun != nil, machine.record.plan.wasDown == true { timeline.markDownFromStart() }
    }

    var plan: RestorePlan { machine.record.plan }

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
            attempt(action)
        }
        timeline.leave()
        conclude()
    }

    private mutating func attempt(_ action: RestoreMachine.Action) {
        do {
            switch action {
            case .perform(let steps): try perform(steps)
            case .undo(let undo): try self.undo(undo)
            case .end: break
            }
            machine.succeeded()
        } catch {
            let told = LifeboatError.converting(error)
            let isVerified = machine.record.course == .finishing
            machine.failed(told)
            if isVerified { progress.report(.warning(Self.leftOver(told))) }
            if case .perform(let steps) = action, machine.record.failure != nil {
                progress.report(.note("\(steps.map(\.title).joined(separator: ", ")) failed: \(told.message)"))
            }
        }
    }

    /// The last word in the journal: gone when nothing is left to do.
    private mutating func conclude() {
        let record = machine.record
        if record.isLeftOver == true {
            // Tried again by the next command of this stack.
            machine.kept(until: clock.now())
        } else if record.course == .kept, record.keptUntil == nil, let period = record.plan.keepSeconds {
            machine.kept(until: clock.now().adding(seconds: period))
        }
        do {
            if record.failure == nil, record.course == .done || record.course == .kept {
                try journal.endReplaced(by: record, clock.now())
            }
            if record.course == .done {
                // What it restored is final: earlier old data of the same components leads nowhere any more.
                if record.failure == nil { try journal.supersede(before: record) }
                try journal.remove(plan.id)
            } else {
                if record.failure == nil, record.isLeftOver == true { try journal.supersede(before: record) }
                try journal.write(machine.record)
            }
        } catch {
            warn(LifeboatError.converting(error))
        }
    }

    /// What was there before and could not be removed: the restored data is verified and stays.
    private static func leftOver(_ error: LifeboatError) -> LifeboatError {
        LifeboatError(
            error.message,
            causes: error.causes + [
                "the restored data is verified and in use; what is left of the old data goes with the next backup or"
                    + " restore once the cause is removed, or with 'lifeboat restore --discard-old'"
            ], hint: error.hint)
    }

    /// Notes what a component's staging reported as missing, which was printed as it happened.
    mutating func leftOut(_ found: [LifeboatError], of component: String) {
        warnings += found
        machine.leftOut(found.map(\.message), of: component)
    }

    mutating func warn(_ warning: LifeboatError) {
        warnings.append(warning)
        progress.report(.warning(warning))
    }

    // MARK: - Result

    var outcome: RestoreOutcome {
        let record = machine.record
        let isVerified = record.isLeftOver == true && record.failure == nil
        let troubles = record.troubles.map { isVerified ? Self.leftOver($0.error) : $0.error }
        return RestoreOutcome(
            id: plan.id, stack: plan.stack, snapshot: plan.snapshot, snapshotTime: plan.snapshotTime,
            components: plan.components.map {
                RestoreOutcome.Component(
                    name: $0.name, store: $0.store, subject: $0.subject, bytes: $0.bytes, files: $0.files,
                    parts: $0.parts, factsVerified: factsVerified[$0.name] ?? 0)
            },
            targets: plan.targets,
            phases: timeline.phases, steps: timeline.steps, downtimeSeconds: timeline.downtime,
            totalSeconds: timeline.total,
            kept: record.course == .kept && record.isLeftOver != true
                ? RestoreOutcome.Kept(until: record.keptUntil, bytes: record.keptBytes) : nil,
            absent: (record.leftOut ?? [:]).sorted { $0.key < $1.key }.flatMap(\.value) + absent, checks: checkResults,
            warnings: plan.warnings + (warnings + troubles).map { ([$0.message] + $0.causes).joined(separator: ": ") })
    }

    /// Why the restore did not happen; nil when it did.
    var failure: LifeboatError? {
        guard let reason = machine.record.failure?.error else { return nil }
        return RestoreFailure.error(for: machine.record, reason: reason)
    }

    /// What its steps took, for forecasts.
    func measurements(_ origin: PhaseMeasurement.Origin) -> [PhaseMeasurement] {
        let now = clock.now()
        return timeline.steps.compactMap { timed in
            guard let step = plan.steps.first(where: { $0.id == timed.id }) else { return nil }
            let component = step.component.flatMap(plan.component)
            return PhaseMeasurement(
                stack: plan.stack, phase: step.action.rawValue, component: component?.name, store: component?.store,
                bytes: plan.size(of: step), seconds: timed.seconds, time: now, origin: origin)
        }
    }
}
