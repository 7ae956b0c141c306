// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatStorage

/// Reads the small objects that are no part of a snapshot: pins, records of those that were taken away, lists of
/// forgotten snapshots, and results of drills.
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
            RepositoryLayout.pinPrefix, RepositoryLayout.unpinnedPrefix, RepositoryLayout.forgottenPrefix,
            RepositoryLayout.drillPrefix,
        ] {
            for object in try repository.objects(prefix) {
                do {
                    switch prefix {
                    case RepositoryLayout.unpinnedPrefix: try Unpinning.verify(object.key, repository)
                    case RepositoryLayout.forgottenPrefix: _ = try ForgottenSnapshots.read(object.key, repository)
                    // Retention does nothing while it cannot read one.
                    case RepositoryLayout.drillPrefix: try DrillVerified.verify(object.key, repository)
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
        try tombstones(stack: stack).flatMap(\.snapshots)
    }

    /// The lists of forgotten snapshots that can be read; `stack`: those of that one only.
    func tombstones(stack: String? = nil) throws -> [Tombstone] {
        var tombstones: [Tombstone] = []
        let prefix = RepositoryLayout.forgottenPrefix + (stack.map { "\($0)/" } ?? "")
        for object in try repository.objects(prefix) {
            do {
                tombstones.append(try ForgottenSnapshots.read(object.key, repository))
            } catch let error as LifeboatError
                where error.exitCode == .damagedRepository || error.exitCode == .wrongKey
            {
                // Told by `problems`.
                continue
            }
        }
        return tombstones
    }

    /// Pins that are missing, of every stack that the catalog holds snapshots of or this host remembers pins of.
    func missingPins(_ catalog: SnapshotCatalog) throws -> [Problem] {
        let stacks = Set(catalog.snapshots.map(\.manifest.stack)).union(catalog.rememberedPins.keys)
        return try stacks.sorted().flatMap { stack in
            try PinLedger(repository, stack: stack, catalog, passingOverDamage: true).vanished.map { reference in
                Problem(
                    key: RepositoryLayout.pin(stack: stack, snapshot: reference.snapshot),
                    reason: "it is missing, and nobody took it away with 'lifeboat unpin'")
            }
        }
    }

    private func readPin(_ key: ObjectKey) throws {
        guard let name = RepositoryLayout.pinName(key) else {
            throw RepositoryError.damaged(key.text, "its name is not that of a pin")
        }
        _ = try Pins.read(repository, stack: name.stack, snapshot: name.snapshot)
    }
}
