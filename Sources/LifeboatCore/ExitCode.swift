// SPDX-License-Identifier: Apache-2.0

/// What the process exit status means; part of the command-line contract (README, "Exit codes").
package enum ExitCode: Int32, Sendable, CaseIterable {
    case done = 0
    case failed = 1
    case usage = 2
    /// A component or file is missing from the snapshot or the restore.
    case incomplete = 3
    case objectiveMissed = 4
    case noRepository = 10
    case busy = 11
    case wrongKey = 12
    case damagedRepository = 13
    case rolledBack = 14
    case interrupted = 130

    /// One line for help and documentation.
    package var meaning: String {
        switch self {
        case .done: "done"
        case .failed: "failed"
        case .usage: "wrong usage or an invalid policy"
        case .incomplete:
            "incomplete: something is missing from the snapshot, the restore or the repository, a check does not hold, "
                + "or what was read is not trusted"
        case .objectiveMissed: "an objective (RTO or RPO) was missed"
        case .noRepository: "there is no repository at that place"
        case .busy: "another lifeboat is at work on the same thing"
        case .wrongKey: "wrong key or passphrase"
        case .damagedRepository: "the repository is damaged, or not the one this host trusts"
        case .rolledBack: "the restore failed and was rolled back to the state before it"
        case .interrupted: "interrupted by a signal"
        }
    }
}
