// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// The printed form of a restore that did not happen.
enum RestoreFailure {
    static func error(for record: RestoreRecord, reason: LifeboatError) -> LifeboatError {
        let why = [reason.message] + reason.causes
        let troubles = record.troubles.map { ([$0.error.message] + $0.error.causes).joined(separator: ": ") }
        let isOver = record.course == .done || record.isLeftOver == true
        if record.course == .halted { return halted(record, why) }
        let cleanUp =
            record.isLeftOver == true
            ? " What it had staged goes with the next backup or restore once the cause is removed, or with"
                + " 'lifeboat restore --discard-old'." : ""
        switch (record.undo.contains { $0.undo == .swapBack }, isOver) {
        case (true, true):
            return LifeboatError(
                "the restore of stack '\(record.plan.stack)' failed and was rolled back", causes: why + troubles,
                hint: "The stack has the data it had before. \(reason.hint ?? "Remove the cause and restore again.")"
                    + cleanUp, exitCode: .rolledBack)
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
            if isOver {
                return LifeboatError(
                    reason.message, causes: reason.causes + troubles, hint: "The data was not touched.\(cleanUp)",
                    exitCode: reason.exitCode)
            }
            return LifeboatError(
                reason.message, causes: reason.causes + troubles,
                hint: "The data was not touched. Run 'lifeboat restore --resume' with this policy: it cleans up.",
                exitCode: reason.exitCode)
        }
    }

    /// An earlier restore comes first.
    static func pending(_ record: RestoreRecord) -> LifeboatError {
        let names = record.plan.components.map { "'\($0.name)'" }.joined(separator: ", ")
        return LifeboatError(
            "restore '\(record.plan.id)' of stack '\(record.plan.stack)' was cut off and has to be finished first",
            hint: "Run 'lifeboat restore --resume' with this policy: "
                + (record.course == .halted
                    ? "it goes on. Or restore all of \(names): from any snapshot that puts it right too."
                    : "it is finished or undone."),
            exitCode: .busy)
    }

    /// Data was written over: neither the old state is there any more, nor the new one yet.
    static func halted(_ record: RestoreRecord, _ why: [String]) -> LifeboatError {
        let subjects = record.plan.components.filter(\.isInPlace).map(\.subject).joined(separator: ", ")
        return LifeboatError(
            "the restore of stack '\(record.plan.stack)' in place was cut off", causes: why,
            hint: "Do not use \(subjects) as it is. Remove the cause, then run 'lifeboat restore --resume' with this "
                + "policy: it goes on, and writes only what is not there yet.")
    }
}
