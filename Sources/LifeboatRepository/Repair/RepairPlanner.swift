// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStorage

/// Reads a whole repository and finds what a repair would do. Writes nothing to the repository.
package struct RepairPlanner {
    private let repository: Repository
    private let threads: Int
    private let progress: any ProgressSink
    private let cancellation: Cancellation

    /// `threads` read packs at once.
    package init(_ repository: Repository, threads: Int, progress: any ProgressSink, cancellation: Cancellation) {
        self.repository = repository
        self.threads = threads
        self.progress = progress
        self.cancellation = cancellation
    }

    /// What reading the packs gave.
    private struct Survey: Sendable {
        var damaged: [Digest: String] = [:]
        var sound: [Digest: [IndexAudit.Finding]] = [:]
    }

    /// With `rewritesSnapshots` the plan replaces damaged snapshots by what is left of them.
    package func plan(rewritesSnapshots: Bool) throws -> RepairPlan {
        var plan = RepairPlan(
            repositoryID: repository.config.repositoryID, rewritesSnapshots: rewritesSnapshots)
        plan.rewritesReadme = try readmeIsWrong()
        var packs: [Digest: UInt64] = [:]
        for object in try repository.store.listAll(prefix: RepositoryLayout.packPrefix) {
            if let name = RepositoryLayout.packName(object.key) { packs[name] = object.size }
        }
        let indexes = try openIndexes(&plan)
        let survey = try readPacks(packs, indexes, &plan)
        var reasons: [Digest: String] = [:]
        for (pack, findings) in survey.sound {
            for finding in findings where finding.isWrong {
                reasons[finding.index] = "it says of pack '\(pack.shortHex)' what that pack does not have"
            }
        }
        var damaged = survey.damaged
        for index in indexes {
            for pack in (0..<index.packCount).map(index.pack) {
                if packs[pack.name] == nil { damaged[pack.name] = "it is missing" }
                guard damaged[pack.name] != nil, reasons[index.name] == nil else { continue }
                reasons[index.name] = "it names pack '\(pack.name.shortHex)', which is missing or damaged"
            }
        }
        let stale = Set(reasons.keys)
        plan.staleIndexes += reasons.map { RepairPlan.StaleIndex(name: $0.key, reason: $0.value) }
        plan.staleIndexes.sort { $0.name < $1.name }
        let condemned = try repository.condemnedPacks()
        plan.packsToIndex = survey.sound.filter { pack, findings in
            guard !findings.contains(where: { $0.isComplete && !stale.contains($0.index) }) else { return false }
            // A prune is about to delete it, and knows which index is to go with it.
            return !condemned.contains(pack)
        }.keys.sorted()
        let material = try RepairMaterial(
            repository, staying: indexes.filter { !stale.contains($0.name) },
            stale: indexes.filter { stale.contains($0.name) }, packsToIndex: plan.packsToIndex,
            damaged: Set(damaged.keys), stores: false, cancellation)
        let misindexed = survey.sound.filter { $0.value.contains(where: \.isWrong) }.keys
        let availability = ChunkAvailability(
            material.reader, suspects: Set(damaged.keys).union(misindexed))
        for (name, reason) in damaged.sorted(by: { $0.key < $1.key }) {
            var pack = RepairPlan.DamagedPack(
                name: name, reason: reason, isPresent: packs[name] != nil, chunksKept: 0, chunksLost: 0)
            for id in material.endangered[name] ?? [] {
                try cancellation.check()
                if try availability.canBeRead(id) { pack.chunksKept += 1 } else { pack.chunksLost += 1 }
            }
            plan.damagedPacks.append(pack)
        }
        try surveySnapshots(availability, &plan)
        return plan
    }

    private func readmeIsWrong() throws -> Bool {
        guard let object = try repository.store.stat(RepositoryLayout.readme), object.size <= 1 << 20 else {
            return true
        }
        return try repository.store.get(RepositoryLayout.readme, limit: 1 << 20)
            != Array(RepositoryReadme.text.utf8)
    }

    /// The indexes whose tables can be followed; the others are stale.
    private func openIndexes(_ plan: inout RepairPlan) throws -> [MappedIndex] {
        var indexes: [MappedIndex] = []
        for object in try repository.store.listAll(prefix: RepositoryLayout.indexPrefix) {
            try cancellation.check()
            guard let name = RepositoryLayout.indexName(object.key) else { continue }
            do {
                let index = try repository.openStoredIndex(name)
                if let problem = try index.structuralProblem() {
                    plan.staleIndexes.append(RepairPlan.StaleIndex(name: name, reason: problem))
                } else {
                    indexes.append(index)
                }
            } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                plan.staleIndexes.append(RepairPlan.StaleIndex(name: name, reason: error.summary))
            }
        }
        return indexes
    }

    private func readPacks(
        _ packs: [Digest: UInt64], _ indexes: [MappedIndex], _ plan: inout RepairPlan
    ) throws -> Survey {
        let audit = IndexAudit(indexes)
        let survey = Monitor(Survey())
        let reading = PackReading(
            repository: repository, threads: threads, progress: progress, cancellation: cancellation)
        plan.bytesRead = try reading.run(packs.keys.sorted(), packs) { name, verdict in
            switch verdict {
            case .damaged(let reason): survey.update { $0.damaged[name] = reason }
            case .sound(let contents):
                let findings = try audit.findings(on: contents)
                survey.update { $0.sound[name] = findings }
            }
        }
        plan.packsRead = UInt64(packs.count)
        return survey.withLock { $0 }
    }

    private func surveySnapshots(_ availability: ChunkAvailability, _ plan: inout RepairPlan) throws {
        for object in try repository.store.listAll(prefix: RepositoryLayout.snapshotPrefix) {
            guard RepositoryLayout.manifestName(object.key) != nil else { continue }
            try cancellation.check()
            let snapshot: Snapshot
            do {
                snapshot = try SnapshotCatalog.read(object.key, repository)
            } catch let error as LifeboatError where error.exitCode == .damagedRepository || error.exitCode == .failed {
                plan.unrepairable.append(RepairPlan.Unrepairable(object: object.key.text, reason: error.summary))
                continue
            }
            let salvage = SnapshotSalvage(availability, cancellation)
            let loss = try salvage.loss(of: snapshot)
            guard loss.count > 0 else { continue }
            plan.damagedSnapshots.append(
                RepairPlan.DamagedSnapshot(
                    id: snapshot.id, object: object.key.text, stack: snapshot.manifest.stack,
                    time: snapshot.manifest.frozen, lost: Array(loss.names.prefix(CheckReport.pathLimit)),
                    lostCount: loss.count))
        }
    }
}

extension ChunkAvailability {
    /// Whether the chunk reads back right, whatever its length.
    func canBeRead(_ id: Digest) throws -> Bool {
        do {
            try reader.withChunk(id) { _ in }
            return true
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            return false
        }
    }
}
