// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatIO

/// What the journal keeps of one restore: the plan, how far it came, and what is being undone. Enough for a later
/// process to finish or undo it. Holds no secret.
package struct RestoreRecord: Codable, Sendable, Equatable {
    package static let currentFormat = 1

    package enum Course: String, Codable, Sendable, Equatable, CaseIterable {
        /// Steps of the plan are executed; nothing is decided yet.
        case forward
        /// It failed before any swap: staged data goes, services run again.
        case abandoning
        /// It failed from the first swap on: the old data comes back.
        case rollingBack = "rolling-back"
        /// Everything is verified: the restored data stays, the old data goes.
        case finishing
        /// It failed, or was cut off, when data had been written over in place: only forward is left, see
        /// `RestoreMachine(resuming:)`. Services stay as they are.
        case halted
        /// Over, with the old data kept for a later rollback.
        case kept
        case done
    }

    package enum StepState: String, Codable, Sendable, Equatable, CaseIterable {
        case pending
        /// Begun; whether it had its effect is not known.
        case started
        case done
        /// Tried, with an error; only steps that undo or finish come to this.
        case failed
    }

    package enum Undo: String, Codable, Sendable, Equatable, CaseIterable {
        case stopServices = "stop-services"
        case swapBack = "swap-back"
        case startServices = "start-services"
        case awaitHealth = "await-health"
        case discardStaged = "discard-staged"
    }

    package struct UndoStep: Codable, Sendable, Equatable {
        package var undo: Undo
        package var component: String?
        package var state = StepState.pending
        package init(_ undo: Undo, component: String? = nil) {
            self.undo = undo
            self.component = component
        }
    }

    /// A `LifeboatError` as the journal keeps it.
    package struct Failure: Codable, Sendable, Equatable {
        package var message: String
        package var causes: [String]
        package var hint: String?
        package var exitCode: Int32

        private enum CodingKeys: String, CodingKey {
            case message, causes, hint
            case exitCode = "exit_code"
        }

        package init(_ error: LifeboatError) {
            message = error.message
            causes = error.causes
            hint = error.hint
            exitCode = error.exitCode.rawValue
        }

        package var error: LifeboatError {
            LifeboatError(message, causes: causes, hint: hint, exitCode: ExitCode(rawValue: exitCode) ?? .failed)
        }
    }

    package var format: Int
    package var plan: RestorePlan
    package var owner: ProcessIdentity
    package var course: Course
    /// One for each step of the plan.
    package var states: [StepState]
    /// Ids of steps an earlier process had begun, of a restore that was cut off and is carried on.
    package var begunBefore: [String]?
    /// What `abandoning` and `rollingBack` do, in order.
    package var undo: [UndoStep]
    /// The services that ran, known from just before they are stopped on; nil: none was touched.
    package var servicesFound: [String]?
    /// Why it does not go forward any more.
    package var failure: Failure?
    /// Component name → objects that could not be restored; nil when everything was.
    package var leftOut: [String: [String]]?
    /// What went wrong while undoing or finishing.
    package var troubles: [Failure]
    /// When the old data that is kept may go; nil: it is not kept, or without a limit.
    package var keptUntil: Timestamp?
    /// Bytes the old data takes, as far as stores can tell.
    package var keptBytes: UInt64?
    /// Data that nobody needs could not be removed: of a restore that was verified what was there before, of one that
    /// was undone (`failure` is set) what it had staged. It is no way back.
    package var isLeftOver: Bool?
    /// The later restore that replaced what this one restored, and kept nothing: there is nothing to roll back to.
    package var supersededBy: String?

    private enum CodingKeys: String, CodingKey {
        case format, plan, owner, course, states, undo, failure, troubles
        case begunBefore = "begun_before"
        case servicesFound = "services_found"
        case leftOut = "left_out"
        case keptUntil = "kept_until"
        case keptBytes = "kept_bytes"
        case supersededBy = "superseded_by"
        case isLeftOver = "left_over"
    }

    package init(_ plan: RestorePlan, owner: ProcessIdentity) {
        format = Self.currentFormat
        self.plan = plan
        self.owner = owner
        course = .forward
        states = Array(repeating: .pending, count: plan.steps.count)
        undo = []
        troubles = []
    }

    /// Whether a later process has something to do.
    package var needsRecovery: Bool { course != .kept && course != .done }

    /// Whether it was cut off on its way forward: it can be carried on.
    package var canGoOn: Bool { course == .forward || course == .halted }

    /// Whether `later` puts right what this one left half-written in place: it restores all of the same components.
    func isReplaced(by later: RestoreRecord) -> Bool {
        course == .halted && plan.id != later.plan.id && plan.isReplaced(by: later.plan)
    }

    /// What was halted counts as done, by `later`; of what it put beside the live data nothing is wanted any more.
    mutating func leave(to later: RestoreRecord, _ now: Timestamp) {
        course = .kept
        keptUntil = now
        supersededBy = later.plan.id
        failure = nil
        troubles = []
        states = plan.steps.map { $0.action == .discardOld || $0.action == .keepOld ? .pending : .done }
    }

    /// It was undone, but for staged data that could not be removed: that is tried again, as for old data.
    mutating func leaveStaged() {
        course = .kept
        isLeftOver = true
        states = plan.steps.map { $0.action == .discardOld || $0.action == .keepOld ? .pending : .done }
    }

    /// What `--discard-old` removes of it, for messages.
    package var keptData: String {
        failure == nil ? "the old data of restore '\(plan.id)'" : "what the failed restore '\(plan.id)' had staged"
    }

    /// Why it goes, for messages: follows `keptData`.
    package var keptState: String { failure == nil ? "is past its time" : "is left over" }

    /// Whether the old data is kept longer than it was asked for.
    package func isExpired(_ now: Timestamp) -> Bool {
        guard course == .kept, let keptUntil else { return false }
        return keptUntil <= now
    }
}
