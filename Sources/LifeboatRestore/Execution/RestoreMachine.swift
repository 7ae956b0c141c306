// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Decides what a restore does next. Pure: told what happened, it gives the next action; the record it keeps is what
/// the journal holds, so a restore that was cut off goes on from there by the same rules.
package struct RestoreMachine: Sendable, Equatable {
    package enum Action: Sendable, Equatable {
        /// One step, or several that components take side by side.
        case perform([RestoreStep])
        case undo(RestoreRecord.UndoStep)
        /// Nothing is left that can be done.
        case end
    }

    package private(set) var record: RestoreRecord
    /// The action in hand: positions among the steps, or one among the undo steps.
    private var current: [Int] = []
    /// Components whose exchange had begun when the restore was cut off: it is taken back before it is done again.
    package private(set) var halfSwapped: Set<String> = []
    /// Components whose staging had begun: what is there is removed before it is staged again.
    package private(set) var halfStaged: Set<String> = []
    private var isDiscardingKept = false

    package init(_ record: RestoreRecord) { self.record = record }

    /// A restore that was cut off: what had begun may or may not have had its effect.
    package init(recovering record: RestoreRecord) {
        var record = record
        // A record that does not fit its plan cannot come from `RestoreJournal`; pending is the state that undoes most.
        if record.states.count != record.plan.steps.count {
            record.states = Array(repeating: .started, count: record.plan.steps.count)
        }
        record.troubles = []
        for position in record.undo.indices where record.undo[position].state != .done {
            record.undo[position].state = .pending
        }
        self.record = record
        switch record.course {
        case .forward:
            turnBack(LifeboatError("lifeboat ended before the restore was done"))
        case .finishing:
            for position in record.states.indices where record.states[position] != .done {
                self.record.states[position] = .pending
            }
        case .abandoning, .rollingBack, .halted, .kept, .done: break
        }
    }

    /// A restore that was cut off, to be carried on: what was staged whole is used, from the stop of the services on
    /// everything is done again. One that is being undone or finished goes on with that.
    package init(resuming record: RestoreRecord) {
        guard record.course == .forward || record.course == .halted,
            record.states.count == record.plan.steps.count
        else {
            self.init(recovering: record)
            return
        }
        self.init(record)
        self.record.course = .forward
        self.record.failure = nil
        self.record.troubles = []
        let begun = zip(record.plan.steps, record.states).filter { $0.1 != .pending }.map(\.0.id)
        self.record.begunBefore = Set(begun).union(record.begunBefore ?? []).sorted()
        for (position, step) in record.plan.steps.enumerated() where record.states[position] != .pending {
            let isCutOff = record.states[position] != .done
            switch step.action {
            case .swap, .writeInPlace:
                if isCutOff, step.action == .swap { halfSwapped.formUnion([step.component].compactMap(\.self)) }
                self.record.states[position] = .pending
            case .stage:
                guard isCutOff else { break }
                halfStaged.formUnion([step.component].compactMap(\.self))
                self.record.states[position] = .pending
            case .stopServices, .startServices, .awaitHealth, .verifyFacts, .askChecks:
                self.record.states[position] = .pending
            case .verifyChunks, .verifyData, .preflight, .discardOld, .keepOld:
                if isCutOff { self.record.states[position] = .pending }
            }
        }
    }

    /// A restore that is to be undone though it could be carried on or finished. Throws when there is nothing left to
    /// bring back.
    package static func turningBack(_ record: RestoreRecord) throws(LifeboatError) -> RestoreMachine {
        var machine = RestoreMachine(recovering: record)
        switch machine.record.course {
        case .halted:
            throw LifeboatError(
                "restore '\(record.plan.id)' writes in place and cannot be undone",
                causes: ["what it wrote over is nowhere else"],
                hint: "Run 'lifeboat restore --resume' with this policy.", exitCode: .usage)
        case .finishing:
            // As it was found: recovering, the machine takes what was begun for not begun.
            let isDiscarding = zip(record.plan.steps, record.states).contains {
                $0.0.action == .discardOld && $0.1 != .pending
            }
            guard !isDiscarding, !record.plan.isInPlace else {
                throw LifeboatError(
                    "restore '\(record.plan.id)' cannot be rolled back any more",
                    causes: ["it was verified, and what was there before is being removed"],
                    hint: "Run 'lifeboat restore --resume' with this policy: it is finished.", exitCode: .usage)
            }
            machine.record.course = .forward
            machine.turnBack(LifeboatError("a rollback was asked for"))
        case .forward, .abandoning, .rollingBack, .kept, .done: break
        }
        return machine
    }

    /// A restore whose old data was kept, to be rolled back after all. `running`: the services that run now.
    package static func rollingBack(
        kept record: RestoreRecord, running: [String]
    ) throws(LifeboatError) -> RestoreMachine {
        try requireKept(record)
        if record.failure != nil {
            throw LifeboatError(
                "restore '\(record.plan.id)' was undone already", causes: ["what it had staged could not be removed"],
                hint: "Remove it with 'lifeboat restore --discard-old'.", exitCode: .usage)
        }
        if record.isLeftOver == true {
            throw LifeboatError(
                "restore '\(record.plan.id)' cannot be rolled back any more",
                causes: ["it was verified, and what was there before could only be removed in part"],
                hint: "Remove the rest with 'lifeboat restore --discard-old'.", exitCode: .usage)
        }
        if let later = record.supersededBy {
            throw LifeboatError(
                "restore '\(record.plan.id)' cannot be rolled back any more",
                causes: ["restore '\(later)' replaced what it had restored, and kept nothing of it"],
                hint: "The old data is still there: remove it with 'lifeboat restore --discard-old'.",
                exitCode: .usage)
        }
        var machine = RestoreMachine(record)
        machine.record.course = .forward
        if record.plan.services != nil { machine.record.servicesFound = running }
        machine.turnBack(LifeboatError("a rollback was asked for"))
        return machine
    }

    /// A restore whose old data was kept, and is not needed any more.
    package static func discarding(kept record: RestoreRecord) throws(LifeboatError) -> RestoreMachine {
        try requireKept(record)
        var machine = RestoreMachine(record)
        machine.isDiscardingKept = true
        machine.record.course = .finishing
        machine.record.plan.oldData = .discard
        machine.record.troubles = []
        // What an earlier attempt could not remove.
        for position in record.states.indices where record.states[position] != .done {
            machine.record.states[position] = .pending
        }
        for (position, step) in record.plan.steps.enumerated() where step.action == .keepOld {
            machine.record.plan.steps[position] = RestoreStep(
                .discardOld, component: step.component, touches: step.touches,
                summary: "remove what '\(step.component ?? "")' was before")
            machine.record.states[position] = .pending
        }
        return machine
    }

    private static func requireKept(_ record: RestoreRecord) throws(LifeboatError) {
        guard record.course == .kept else {
            throw LifeboatError("the old data of restore '\(record.plan.id)' was not kept", exitCode: .usage)
        }
    }

    // MARK: - Events

    /// The next action, marked as begun: write the record before doing it.
    package mutating func begin() -> Action {
        current = []
        switch record.course {
        case .forward, .finishing:
            guard let position = record.states.firstIndex(of: .pending) else {
                if record.course == .finishing {
                    if record.states.contains(.failed) {
                        record.isLeftOver = true
                        record.course = .kept
                    } else {
                        record.isLeftOver = nil
                        record.course = record.plan.oldData == .keep ? .kept : .done
                    }
                }
                return .end
            }
            current = [position]
            let action = record.plan.steps[position].action
            if action.isSideBySide {
                current = record.states.indices.filter {
                    record.states[$0] == .pending && record.plan.steps[$0].action == action
                }
            }
            for position in current { record.states[position] = .started }
            return .perform(current.map { record.plan.steps[$0] })
        case .abandoning, .rollingBack:
            guard let position = nextUndo() else {
                let left = record.undo.filter { $0.state != .done }
                if left.isEmpty {
                    record.course = .done
                } else if left.allSatisfy({ $0.undo == .discardStaged && $0.state == .failed }) {
                    // The live data is as it was: what was staged is a left-over, and must not stop the next restore.
                    record.leaveStaged()
                }
                return .end
            }
            record.undo[position].state = .started
            current = [position]
            return .undo(record.undo[position])
        case .halted, .kept, .done:
            return .end
        }
    }

    /// Services are about to be stopped; `running` is what of them was found to run. What an earlier process found, and
    /// stopped, ran too.
    package mutating func foundServices(_ running: [String]) {
        let earlier = record.servicesFound ?? []
        record.servicesFound = earlier + running.filter { !earlier.contains($0) }
    }

    /// What a component's staging could not bring back; replaces what an earlier attempt left out.
    package mutating func leftOut(_ texts: [String], of component: String) {
        record.leftOut = record.leftOut ?? [:]
        record.leftOut?[component] = texts.isEmpty ? nil : texts
    }

    /// What was live is kept, and takes so many bytes; nil: its store cannot tell.
    package mutating func kept(bytes: UInt64?) {
        guard let bytes else { return }
        record.keptBytes = (record.keptBytes ?? 0) &+ bytes
    }

    /// The old data stays until this time.
    package mutating func kept(until end: Timestamp) { record.keptUntil = end }

    /// The action in hand had its effect.
    package mutating func succeeded() {
        guard !current.isEmpty else { return }
        switch record.course {
        case .forward, .finishing:
            for position in current { record.states[position] = .done }
            let rest = zip(record.plan.steps, record.states).filter { $0.1 == .pending }.map(\.0)
            if record.course == .forward, rest.allSatisfy({ Self.finishes($0.action) }) { record.course = .finishing }
        case .abandoning, .rollingBack:
            for position in current { record.undo[position].state = .done }
        case .halted, .kept, .done: break
        }
        current = []
    }

    /// The action in hand failed, or is not certain to have had its effect.
    package mutating func failed(_ error: LifeboatError) {
        switch record.course {
        case .forward:
            turnBack(error)
        case .finishing:
            record.troubles.append(RestoreRecord.Failure(error))
            for position in current { record.states[position] = .failed }
        case .abandoning, .rollingBack:
            record.troubles.append(RestoreRecord.Failure(error))
            // Whether the stack was healthy before the restore is not known: the old data is back all the same.
            for position in current {
                record.undo[position].state = record.undo[position].undo == .awaitHealth ? .done : .failed
            }
        case .halted, .kept, .done: break
        }
        current = []
    }

    /// The journal could not be written before an action: it was not begun. `self` is the machine from before `begin`.
    package mutating func couldNotRecord(_ error: LifeboatError) {
        current = []
        guard record.course == .finishing else {
            failed(error)
            return
        }
        let begun = zip(record.plan.steps, record.states).contains { Self.finishes($0.0.action) && $0.1 != .pending }
        if begun || isDiscardingKept {
            // The next process finishes it, or finds the old data kept as it was.
            record.troubles.append(RestoreRecord.Failure(error))
            for position in record.states.indices where record.states[position] == .pending {
                record.states[position] = .failed
            }
        } else {
            // That it was verified is written nowhere: a later process would roll it back, so this one does.
            record.course = .forward
            turnBack(error)
        }
    }

    // MARK: - Decisions

    private static func finishes(_ action: RestoreStep.Action) -> Bool { action == .discardOld || action == .keepOld }

    private func begun(_ action: RestoreStep.Action) -> [RestoreStep] {
        let before = Set(record.begunBefore ?? [])
        return zip(record.plan.steps, record.states)
            .filter { $0.0.action == action && ($0.1 != .pending || before.contains($0.0.id)) }.map(\.0)
    }

    /// From here on the restore is undone. Before the first swap the live data is as it was; from the first one on all
    /// that may have been exchanged is exchanged back. What was written in place has no way back.
    private mutating func turnBack(_ error: LifeboatError) {
        record.failure = RestoreRecord.Failure(error)
        guard begun(.writeInPlace).isEmpty else {
            record.course = .halted
            return
        }
        let swapped = begun(.swap).compactMap(\.component)
        let staged = begun(.stage).compactMap(\.component)
        let wereRunning = record.servicesFound?.isEmpty == false
        var undo: [RestoreRecord.UndoStep] = []
        if swapped.isEmpty {
            record.course = .abandoning
            if wereRunning { undo.append(RestoreRecord.UndoStep(.startServices)) }
        } else {
            record.course = .rollingBack
            if !begun(.startServices).isEmpty { undo.append(RestoreRecord.UndoStep(.stopServices)) }
            undo += swapped.reversed().map { RestoreRecord.UndoStep(.swapBack, component: $0) }
            if wereRunning { undo.append(RestoreRecord.UndoStep(.startServices)) }
            if record.plan.healthProbes > 0, wereRunning || record.plan.services == nil {
                undo.append(RestoreRecord.UndoStep(.awaitHealth))
            }
        }
        undo += staged.reversed().map { RestoreRecord.UndoStep(.discardStaged, component: $0) }
        record.undo = undo
    }

    /// The next thing to undo. After a failure only what is safe goes on: no exchange under services that run, no
    /// service on a mixture of old and new data, no discarding of what may be the only good copy.
    private func nextUndo() -> Int? {
        let failed = Set(record.undo.filter { $0.state == .failed }.map(\.undo))
        if failed.contains(.stopServices) { return nil }
        return record.undo.indices.first { position in
            guard record.undo[position].state == .pending else { return false }
            switch record.undo[position].undo {
            case .swapBack, .stopServices: return true
            case .startServices, .discardStaged: return !failed.contains(.swapBack)
            case .awaitHealth: return !failed.contains(.swapBack) && !failed.contains(.startServices)
            }
        }
    }
}
