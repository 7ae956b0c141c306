// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStorage

/// Carries out a repair plan. What is replaced is moved below `damaged/`, and only once its replacement is durable; a
/// run that is cut off at any point leaves a repository that gives back no less than before, and can be planned anew.
package struct RepairExecutor {
    private let repository: Repository
    private let cancellation: Cancellation

    package init(_ repository: Repository, cancellation: Cancellation) {
        self.repository = repository
        self.cancellation = cancellation
    }

    package func execute(_ plan: RepairPlan) throws -> RepairOutcome {
        guard plan.repositoryID == repository.config.repositoryID else {
            throw LifeboatError("the plan is for another repository")
        }
        var outcome = RepairOutcome()
        if plan.rewritesReadme {
            try Array(RepositoryReadme.text.utf8).withUnsafeBytes {
                try repository.store.put(RepositoryLayout.readme, [$0])
            }
        }
        try repairObjects(plan, &outcome)
        if plan.rewritesSnapshots { try rewriteSnapshots(plan, &outcome) }
        return outcome
    }

    /// New packs, then new indexes, then the old indexes go, then the damaged packs nothing names any more.
    private func repairObjects(_ plan: RepairPlan, _ outcome: inout RepairOutcome) throws {
        let stale = Set(plan.staleIndexes.map(\.name))
        var staying: [MappedIndex] = []
        var going: [MappedIndex] = []
        for object in try repository.store.listAll(prefix: RepositoryLayout.indexPrefix) {
            guard let name = RepositoryLayout.indexName(object.key) else { continue }
            guard stale.contains(name) else {
                staying.append(try repository.openStoredIndex(name))
                continue
            }
            if let index = try readableIndex(name) { going.append(index) }
        }
        let damaged = Set(plan.damagedPacks.map(\.name))
        let material = try RepairMaterial(
            repository, staying: staying, stale: going, packsToIndex: plan.packsToIndex, damaged: damaged,
            stores: true, cancellation)
        outcome.indexesWritten = material.newIndexes
        let endangered = material.endangered.values.reduce(into: Set<Digest>()) { $0.formUnion($1) }
        outcome.chunksCopied = try ChunkCopier(repository).copy(
            endangered.sorted(), from: material.reader, cancellation)
        if outcome.chunksCopied > 0 { outcome.indexesWritten += 1 }
        for index in plan.staleIndexes { try setAside(RepositoryLayout.index(index.name), &outcome) }
        for pack in plan.damagedPacks where pack.isPresent {
            try setAside(RepositoryLayout.pack(pack.name), &outcome)
        }
    }

    /// Nil when nothing in the index can be followed, which the plan says already.
    private func readableIndex(_ name: Digest) throws -> MappedIndex? {
        do {
            let index = try repository.openStoredIndex(name)
            return try index.structuralProblem() == nil ? index : nil
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            return nil
        }
    }

    /// Keeps an object under `damaged/` and takes it out of its place.
    private func setAside(_ key: ObjectKey, _ outcome: inout RepairOutcome) throws {
        try cancellation.check()
        guard let kept = RepositoryLayout.damaged(key) else {
            throw LifeboatError("the name of object '\(key)' is too long to keep it")
        }
        guard try repository.store.stat(key) != nil else { return }
        let bytes = try repository.store.get(key, limit: 1 << 36)
        try bytes.withUnsafeBytes { try repository.store.put(kept, [$0]) }
        guard try repository.store.get(kept, limit: UInt64(bytes.count)) == bytes else {
            throw RepositoryError.damaged(kept.text, "it does not read back as written")
        }
        _ = try repository.store.delete(key)
        outcome.setAside.append(key.text)
    }

    private struct Rewritten {
        var old: Snapshot
        var key: ObjectKey
        var manifest: Manifest
        var lost: UInt64
    }

    private func rewriteSnapshots(_ plan: RepairPlan, _ outcome: inout RepairOutcome) throws {
        guard !plan.damagedSnapshots.isEmpty else { return }
        let writer = try RepositoryWriter(repository, WriterSettings(workers: 1, contentWriters: 1))
        let rewritten: [Rewritten]
        do {
            rewritten = try rests(of: plan.damagedSnapshots, into: writer)
            _ = try writer.finish()
        } catch {
            writer.abandon()
            throw error
        }
        let fresh = ChunkAvailability(ChunkReader(repository, try repository.openIndexes()), suspects: [])
        for item in rewritten {
            let new = try SnapshotCatalog.commit(item.manifest, to: repository)
            // The old one goes only when all of the new one can be had.
            guard try SnapshotSalvage(fresh, cancellation).loss(of: new).count == 0 else {
                throw LifeboatError(
                    "snapshot '\(new.id.shortHex)' does not read back whole",
                    causes: ["it was to stand for snapshot '\(item.old.id.shortHex)', which stays"],
                    exitCode: .damagedRepository)
            }
            try setAside(item.key, &outcome)
            outcome.snapshots.append(
                RepairOutcome.RepairedSnapshot(old: item.old.id, new: new.id, lostCount: item.lost))
        }
    }

    private func rests(
        of snapshots: [RepairPlan.DamagedSnapshot], into writer: RepositoryWriter
    ) throws -> [Rewritten] {
        let availability = ChunkAvailability(ChunkReader(repository, try repository.openIndexes()), suspects: [])
        let salvage = SnapshotSalvage(availability, cancellation)
        var rewritten: [Rewritten] = []
        for damaged in snapshots {
            guard let key = ObjectKey(damaged.object) else { continue }
            let snapshot = try SnapshotCatalog.read(key, repository)
            let rest = try salvage.rest(of: snapshot, into: writer)
            guard rest.loss.count > 0 else { continue }
            rewritten.append(Rewritten(old: snapshot, key: key, manifest: rest.manifest, lost: rest.loss.count))
        }
        return rewritten
    }
}
