// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStorage

/// Carries out a repair plan. What is replaced is moved below `damaged/`, and only once its replacement is durable; a
/// run that is cut off at any point leaves a repository that gives back no less than before, and can be planned anew.
///
/// **Beside backups and restores.** They hold the indexes they opened when they began, and may read any chunk through
/// them until they end. An index that goes away does them no harm: they have their own copy, and its successor, which
/// names every chunk that can be read, is there before it goes. A pack does: so a damaged one is moved only when no
/// lease of a backup or a reader is left that was there after the new indexes were durable; whoever begins later
/// finds it in no index. Until then it stays where it is, and the next repair moves it. What a backup refers to is
/// not taken from it by that either: each chunk of the pack that can be read was copied first. A chunk that was lost
/// before the repair, and that such a backup believes to be there, is as lost as it was: `check` names its snapshot,
/// and the next backup stores the chunk, because no index has it any more.
///
/// **Beside prunes.** `RepairLease`. Before every step that takes something away the lease is looked at again: a
/// process that was stopped so long that others counted it as dead takes nothing away any more.
package struct RepairExecutor {
    private let repository: Repository
    private let lease: RepairLease
    private let clock: any Clock
    private let cancellation: Cancellation

    package init(_ repository: Repository, _ lease: RepairLease, clock: any Clock, cancellation: Cancellation) {
        self.repository = repository
        self.lease = lease
        self.clock = clock
        self.cancellation = cancellation
    }

    /// The plan must have been made while the lease was held.
    package func execute(_ plan: RepairPlan) throws -> RepairOutcome {
        guard plan.repositoryID == repository.config.repositoryID else {
            throw LifeboatError("the plan is for another repository")
        }
        var outcome = RepairOutcome()
        if plan.rewritesReadme { try rewriteReadme(&outcome) }
        if plan.resignsConfig != nil {
            let key = try repository.configSignatureKey()
            if try keep(stored: key) { outcome.setAside.append(key.text) }
            try repository.signConfig()
        }
        try repairRecords(plan, &outcome)
        try repairObjects(plan, &outcome)
        try signSnapshots(plan, &outcome)
        try renameSnapshots(plan, &outcome)
        if plan.rewritesSnapshots {
            try rewriteSnapshots(plan, &outcome)
            try noteGone(plan, &outcome)
            for manifest in plan.unreadableSnapshots {
                if let key = ObjectKey(manifest.object) { try setAside(key, &outcome) }
            }
        }
        return outcome
    }

    private func rewriteReadme(_ outcome: inout RepairOutcome) throws {
        if try keep(stored: RepositoryLayout.readme) { outcome.setAside.append(RepositoryLayout.readme.text) }
        try Array(RepositoryReadme.text.utf8).withUnsafeBytes {
            try repository.store.put(RepositoryLayout.readme, [$0])
        }
    }

    /// A pin counts by its name: it is written anew in place. Everything else goes.
    private func repairRecords(_ plan: RepairPlan, _ outcome: inout RepairOutcome) throws {
        for record in plan.damagedRecords {
            guard let key = ObjectKey(record.object) else { continue }
            guard let pin = RepositoryLayout.pinName(key) else {
                try setAside(key, &outcome)
                continue
            }
            let stored = repository.sealing.storedKey(key)
            for kept in [stored, RepositoryLayout.signature(of: stored)] where try keep(stored: kept) {
                outcome.setAside.append(kept.text)
            }
            let new = Pin(
                repositoryID: repository.config.repositoryID, stack: pin.stack, snapshot: pin.snapshot,
                host: lease.lease.record.host, created: clock.now(),
                note: "it was damaged or missing; a repair wrote it anew")
            try repository.saveSigned(
                try CanonicalJSON.encode(new, pretty: true) + [UInt8(ascii: "\n")], as: key)
        }
    }

    /// New packs, then new indexes, then the old indexes go, then the damaged packs nothing names any more.
    private func repairObjects(_ plan: RepairPlan, _ outcome: inout RepairOutcome) throws {
        guard !(plan.staleIndexes.isEmpty && plan.packsToIndex.isEmpty && plan.damagedPacks.isEmpty) else { return }
        var parts = RepairMaterial.Parts()
        let stale = Dictionary(uniqueKeysWithValues: plan.staleIndexes.map { ($0.name, $0) })
        for object in try repository.objects(RepositoryLayout.indexPrefix) {
            guard let name = RepositoryLayout.indexName(object.key) else { continue }
            guard let planned = stale[name] else {
                parts.staying.append(try repository.openStoredIndex(name))
                continue
            }
            guard planned.isReadable else { continue }
            parts.stale.append(
                StaleSource(index: try repository.openStoredIndex(name), wrongPacks: Set(planned.wrongPacks)))
        }
        parts.packsToIndex = plan.packsToIndex
        parts.damaged = Set(plan.damagedPacks.map(\.name))
        parts.condemned = try repository.condemnedPacks()
        let material = try RepairMaterial(repository, parts, stores: true, cancellation)
        outcome.indexesWritten = material.newIndexes
        let endangered = material.endangered.values.reduce(into: Set<Digest>()) { $0.formUnion($1) }
        outcome.chunksCopied = try ChunkCopier(repository).copy(
            endangered.sorted(), from: material.reader, cancellation)
        if outcome.chunksCopied > 0 { outcome.indexesWritten += 1 }
        for index in plan.staleIndexes { try setAside(RepositoryLayout.index(index.name), &outcome) }
        try setPacksAside(plan.damagedPacks.filter(\.isPresent).map(\.name), material, &outcome)
        repository.forgetIndexes(
            except: Set(
                try repository.objects(RepositoryLayout.indexPrefix).compactMap {
                    RepositoryLayout.indexName($0.key)
                }))
    }

    private func setPacksAside(
        _ packs: [Digest], _ material: RepairMaterial, _ outcome: inout RepairOutcome
    ) throws {
        guard !packs.isEmpty else { return }
        let others = try lease.others().filter { !$0.excludesPrune }
        guard others.isEmpty else {
            outcome.postponed = packs.map { repository.packName($0) }
            outcome.waitsFor = Set(others.map(\.described)).sorted()
            return
        }
        let examiner = try PackExaminer(repository)
        for pack in packs {
            let key = RepositoryLayout.pack(pack)
            // Somebody may have brought the whole pack back meanwhile: that one stays.
            if case .sound(let contents) = try examiner.verdict(on: pack),
                PackExaminer.deltaProblem(in: contents, material.reader) == nil
            {
                outcome.sound.append(repository.packName(pack))
                continue
            }
            try setAside(key, &outcome)
        }
    }

    /// Keeps a copy of a stored object, as it is, below `damaged/`. False when there is no such object.
    private func keep(stored key: ObjectKey) throws -> Bool {
        try cancellation.check()
        try lease.lease.checkAlive()
        guard let kept = RepositoryLayout.damaged(key) else {
            throw LifeboatError("the name of object '\(key)' is too long to keep it")
        }
        guard try repository.store.stat(key) != nil else { return false }
        let bytes = try repository.store.get(key, limit: 1 << 36)
        try bytes.withUnsafeBytes { try repository.store.put(kept, [$0]) }
        guard try repository.store.get(kept, limit: UInt64(bytes.count)) == bytes else {
            throw RepositoryError.damaged(kept.text, "it does not read back as written")
        }
        return true
    }

    /// Keeps an object below `damaged/` and takes it out of its place, then its signature.
    private func setAside(_ key: ObjectKey, _ outcome: inout RepairOutcome) throws {
        let stored = repository.sealing.storedKey(key)
        for key in [stored, RepositoryLayout.signature(of: stored)] {
            guard try keep(stored: key) else { continue }
            _ = try repository.store.delete(key)
            outcome.setAside.append(key.text)
        }
    }

    // MARK: - Snapshots

    /// Signs manifests that something signed vouches for.
    private func signSnapshots(_ plan: RepairPlan, _ outcome: inout RepairOutcome) throws {
        for object in plan.unsignedSnapshots {
            guard let key = ObjectKey(object.object), try repository.exists(key) else { continue }
            let (bytes, id) = try SnapshotCatalog.storedManifest(key, repository)
            let stored = repository.sealing.storedKey(key)
            let signature = RepositoryLayout.signature(of: stored)
            if try keep(stored: signature) { outcome.setAside.append(signature.text) }
            try Signing.storeSignature(
                of: bytes, stored, repository, comment: "lifeboat snapshot \(id.shortHex), signed anew by a repair")
            try Signing.verify(bytes, stored, repository)
        }
    }

    /// Stores misnamed manifests, byte by byte as they are, under their own names.
    private func renameSnapshots(_ plan: RepairPlan, _ outcome: inout RepairOutcome) throws {
        for object in plan.misnamedSnapshots {
            guard let key = ObjectKey(object.object), try repository.exists(key),
                case .misnamed(let snapshot, _) = try SnapshotCatalog.examine(key, repository)
            else { continue }
            try lease.lease.announce(snapshot.manifest)
            let own = RepositoryLayout.manifest(
                stack: snapshot.manifest.stack, time: snapshot.manifest.frozen, id: snapshot.id)
            let stored = repository.sealing.storedKey(own)
            let (bytes, _) = try SnapshotCatalog.storedManifest(key, repository)
            if try keep(stored: RepositoryLayout.signature(of: stored)) {
                outcome.setAside.append(RepositoryLayout.signature(of: stored).text)
            }
            try Signing.storeSignature(
                of: bytes, stored, repository,
                comment: "lifeboat snapshot \(snapshot.id.shortHex) sequence \(snapshot.manifest.sequence)")
            _ = try bytes.withUnsafeBytes { try repository.store.putIfAbsent(stored, [$0]) }
            guard try SnapshotCatalog.read(own, repository) == snapshot else {
                throw RepositoryError.damaged(own.text, "it does not read back as written")
            }
            try setAside(key, &outcome)
        }
    }

    /// A signed note that snapshots were lost, and that somebody knows it.
    private func noteGone(_ plan: RepairPlan, _ outcome: inout RepairOutcome) throws {
        for (stack, lost) in Dictionary(grouping: plan.goneSnapshots, by: \.stack).sorted(by: { $0.key < $1.key }) {
            try lease.lease.checkAlive()
            _ = try ForgottenSnapshots.write(
                Tombstone(
                    lost: lost, stack: stack, repositoryID: repository.config.repositoryID, time: clock.now(),
                    host: lease.lease.record.host), to: repository)
        }
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
            try lease.lease.announce(item.manifest)
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
            // Forgotten since the plan was made: there is nothing to keep.
            guard let key = ObjectKey(damaged.object), try repository.exists(key) else { continue }
            let snapshot = try SnapshotCatalog.read(key, repository)
            let rest = try salvage.rest(of: snapshot, into: writer)
            guard rest.loss.count > 0 else { continue }
            rewritten.append(Rewritten(old: snapshot, key: key, manifest: rest.manifest, lost: rest.loss.count))
        }
        return rewritten
    }
}
