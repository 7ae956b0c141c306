// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Decides what a restore does next. Pure: told what happened, it gives the next action; the record it keeps is what
/// the journal holds, so a restore that was cut off goes on from there by the same rules.
package struct RestoreMachine: Sendable, Equatable {
    package enum Action: Sendable, Equatable {
        case perform(RestoreStep)
        case undo(RestoreRecord.UndoStep)
        /// Nothing is left that can be done.
        case end
    }

    package private(set) var record: RestoreRecord
    /// The action in hand: position among the steps, or among the undo steps.
    private var current: Int?

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
        case .abandoning, .rollingBack, .kept, .done: break
        }
    }

    /// A restore whose old data was kept, to be rolled back after all.
    package static func rollingBack(kept record: RestoreRecord) throws(LifeboatError) -> RestoreMachine {
        guard record.course == .kept else {
            throw LifeboatError("the old data of restore '\(record.plan.id)' was not kept", exitCode: .usage)
        }
        var machine = RestoreMachine(record)
        machine.record.course = .forward
        machine.turnBack(LifeboatError("a rollback was asked for"))
        return machine
    }

    // MARK: - Events

    /// The next action, marked as begun: write the record before doing it.
    package mutating func begin() -> Action {
        current = nil
        switch record.course {
        case .forward, .finishing:
            guard let position = record.states.firstIndex(of: .pending) else {
                if record.course == .finishing, !record.states.contains(.failed) {
                    record.course = record.plan.oldData == .keep ? .kept : .done
                }
                return .end
            }
            record.states[position] = .started
            current = position
            return .perform(record.plan.steps[position])
        case .abandoning, .rollingBack:
            guard let position = nextUndo() else {
                if record.undo.allSatisfy({ $0.state == .done }) { record.course = .done }
                return .end
            }
            record.undo[position].state = .started
            current = position
            return .undo(record.undo[position])
        case .kept, .done:
            return .end
        }
    }

    /// Services are about to be stopped; `running` is what of them was found to run.
    package mutating func foundServices(_ running: [String]) { record.servicesFound = running }

    /// The action in hand had its effect.
    package mutating func succeeded() {
        guard let current else { return }
        switch record.course {
        case .forward, .finishing:
            record.states[current] = .done
            let rest = zip(record.plan.steps, record.states).filter { $0.1 == .pending }.map(\.0)
            if record.course == .forward, rest.allSatisfy({ Self.finishes($0.action) }) { record.course = .finishing }
        case .abandoning, .rollingBack:
            record.undo[current].state = .done
        case .kept, .done: break
        }
        self.current = nil
    }

    /// The action in hand failed, or is not certain to have had its effect.
    package mutating func failed(_ error: LifeboatError) {
        switch record.course {
        case .forward:
            turnBack(error)
        case .finishing:
            record.troubles.append(RestoreRecord.Failure(error))
            if let current { record.states[current] = .failed }
        case .abandoning, .rollingBack:
            record.troubles.append(RestoreRecord.Failure(error))
            guard let current else { break }
            // Whether the stack was healthy before the restore is not known: the old data is back all the same.
            record.undo[current].state = record.undo[current].undo == .awaitHealth ? .done : .failed
        case .kept, .done: break
        }
        current = nil
    }

    /// The journal could not be written before an action: it was not begun. `self` is the machine from before `begin`.
    package mutating func couldNotRecord(_ error: LifeboatError) {
        current = nil
        guard record.course == .finishing else {
            failed(error)
            return
        }
        let begun = zip(record.plan.steps, record.states).contains { Self.finishes($0.0.action) && $0.1 != .pending }
        if begun {
            // The next process finishes it.
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
        zip(record.plan.steps, record.states).filter { $0.0.action == action && $0.1 != .pending }.map(\.0)
    }

    /// From here on the restore is undone. Before the first swap the live data is as it was; from the first one on all
    /// that may have been exchanged is exchanged back.
    private mutating func turnBack(_ error: LifeboatError) {
        record.failure = RestoreRecord.Failure(error)
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
