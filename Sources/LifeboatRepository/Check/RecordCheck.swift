// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatStorage

/// Reads the small objects that are no part of a snapshot: pins, lists of forgotten snapshots, and results of drills.
struct RecordCheck {
    struct Problem {
        var key: ObjectKey
        var reason: String
    }

    private let repository: Repository

    init(_ repository: Repository) { self.repository = repository }

    /// Those that cannot be read or are not what their name says. Throws when the store cannot be read.
    func problems() throws -> [Problem] {
        var problems: [Problem] = []
        for prefix in [
            RepositoryLayout.pinPrefix, RepositoryLayout.forgottenPrefix, RepositoryLayout.drillPrefix,
        ] {
            for object in try repository.objects(prefix) {
                do {
                    switch prefix {
                    case RepositoryLayout.forgottenPrefix: _ = try ForgottenSnapshots.read(object.key, repository)
                    // Retention does nothing while it cannot read one.
                    case RepositoryLayout.drillPrefix: _ = try DrillRecords.read(object.key, repository)
                    default: try readPin(object.key)
                    }
                } catch let error as LifeboatError
                    where error.exitCode == .damagedRepository || error.exitCode == .wrongKey
                {
                    problems.append(Problem(key: object.key, reason: error.summary))
                }
            }
        }
        return problems
    }

    /// What retention removed, by the lists that can be read.
    func forgotten() throws -> Set<Digest> { Set(try forgottenEntries().map(\.snapshot)) }

    /// What stands in the lists of forgotten snapshots that can be read; `stack`: in those of that one only.
    func forgottenEntries(stack: String? = nil) throws -> [Tombstone.Entry] {
        var entries: [Tombstone.Entry] = []
        let prefix = RepositoryLayout.forgottenPrefix + (stack.map { "\($0)/" } ?? "")
        for object in try repository.objects(prefix) {
            do {
                entries += try ForgottenSnapshots.read(object.key, repository).snapshots
            } catch let error as LifeboatError
                where error.exitCode == .damagedRepository || error.exitCode == .wrongKey
            {
                // Told by `problems`.
                continue
            }
        }
        return entries
    }

    private func readPin(_ key: ObjectKey) throws {
        guard let name = RepositoryLayout.pinName(key) else {
            throw RepositoryError.damaged(key.text, "its name is not that of a pin")
        }
        _ = try Pins.read(repository, stack: name.stack, snapshot: name.snapshot)
    }
}
