// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatStorage

/// Which manifests of a repository can be used, and what is wrong with the others.
struct ManifestSurvey {
    /// Those that can be used, once what is wrong with their names and signatures is mended.
    private(set) var snapshots: [Snapshot] = []
    private(set) var misnamed: [RepairPlan.BadObject] = []
    /// Whole, but their signature is missing or damaged; a signed snapshot, or this host's memory, names them.
    private(set) var unsigned: [RepairPlan.BadObject] = []
    private(set) var unreadable: [RepairPlan.BadObject] = []
    private(set) var unrepairable: [RepairPlan.BadObject] = []
    private(set) var gone: [RepairPlan.GoneSnapshot] = []

    init() {}

    init(_ repository: Repository, _ cancellation: Cancellation) throws {
        var failed: [(key: ObjectKey, error: LifeboatError)] = []
        let seen = try SnapshotCatalog.seen(repository)
        for object in try repository.objects(RepositoryLayout.snapshotPrefix) {
            try cancellation.check()
            do {
                take(try SnapshotCatalog.examine(object.key, repository), object.key)
            } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                // Forgotten since it was listed: that is no damage.
                if try repository.exists(object.key) { failed.append((object.key, error)) }
            }
        }
        try takeVouched(&failed, repository)
        unreadable = failed.map { RepairPlan.BadObject(object: $0.key.text, reason: $0.error.summary) }
        let problems = try SnapshotCatalog.chainProblems(
            snapshots, forgotten: RecordCheck(repository).tombstones(), repository, seen: seen)
        unrepairable += problems.filter { $0.gone == nil && !$0.isNote }.map {
            RepairPlan.BadObject(object: "snapshot \($0.snapshot.shortHex)", reason: $0.reason)
        }
        gone = problems.compactMap { problem in
            problem.gone.map {
                RepairPlan.GoneSnapshot(
                    id: problem.snapshot, stack: $0.stack, host: $0.host, sequence: $0.sequence, reason: problem.reason)
            }
        }
    }

    private mutating func take(_ examined: SnapshotCatalog.Examined, _ key: ObjectKey) {
        switch examined {
        case .snapshot(let snapshot): snapshots.append(snapshot)
        case .misnamed(let snapshot, let error):
            snapshots.append(snapshot)
            misnamed.append(RepairPlan.BadObject(object: key.text, reason: error.summary))
        case .tooNew(let error):
            unrepairable.append(RepairPlan.BadObject(object: key.text, reason: error.summary))
        }
    }

    /// A signed manifest names the one before it by the digest of all its bytes: that is as good as a signature.
    private mutating func takeVouched(
        _ failed: inout [(key: ObjectKey, error: LifeboatError)], _ repository: Repository
    ) throws {
        let remembered = try repository.trust?.pin(repository.config.repositoryID)?.newest.values.map(\.snapshot) ?? []
        while true {
            let vouched = Set(snapshots.compactMap(\.manifest.previous) + remembered)
            var rest: [(key: ObjectKey, error: LifeboatError)] = []
            for (key, error) in failed {
                do {
                    take(try SnapshotCatalog.examine(key, repository, vouched: vouched), key)
                    unsigned.append(RepairPlan.BadObject(object: key.text, reason: error.summary))
                } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                    rest.append((key, error))
                }
            }
            guard rest.count < failed.count else { return }
            failed = rest
        }
    }
}
