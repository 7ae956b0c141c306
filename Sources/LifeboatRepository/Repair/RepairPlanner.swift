// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStorage

/// Reads a repository and finds what a repair would do. Writes nothing to the repository.
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

    /// What reading packs gave.
    private struct Survey: Sendable {
        var damaged: [Digest: String] = [:]
        var findings: [Digest: [IndexAudit.Finding]] = [:]
    }

    /// What the objects are and say, before anything is concluded.
    private struct Found {
        /// Size of every pack there is.
        var packs: [Digest: UInt64] = [:]
        var condemned: Set<Digest> = []
        /// Indexes whose tables can be followed.
        var indexes: [MappedIndex] = []
        var survey = Survey()
        /// Packs that are missing or damaged, and why.
        var damaged: [Digest: String] = [:]
        /// Packs of which some index says what is not so.
        var misindexed: Set<Digest> = []
        /// Packs that a prune deleted, and whose index it is about to drop.
        var dropped: Set<Digest> = []
        var material = RepairMaterial.Parts()

        /// A chunk in one of these counts only when it reads back right.
        var suspects: Set<Digest> { Set(damaged.keys).union(misindexed).union(dropped) }
    }

    /// With `rewritesSnapshots` the plan replaces damaged snapshots by what is left of them. With `trustsData` only
    /// packs are read that no sound index describes, or not with their size: the rest counts as sound.
    package func plan(rewritesSnapshots: Bool, trustsData: Bool = false) throws -> RepairPlan {
        var plan = RepairPlan(
            repositoryID: repository.config.repositoryID, rewritesSnapshots: rewritesSnapshots)
        plan.rewritesReadme = try readmeIsWrong()
        plan.resignsConfig = try repository.distrust == nil ? repository.configSignatureProblem() : nil
        var found = Found()
        found.condemned = try repository.condemnedPacks()
        for object in try repository.objects(RepositoryLayout.packPrefix) {
            if let name = RepositoryLayout.packName(object.key) { found.packs[name] = object.size }
        }
        found.indexes = try openIndexes(&plan)
        try readPacks(&found, trustsData: trustsData, &plan)
        judgeIndexes(&found, &plan)
        try findRecords(&plan)
        let material = try chooseMaterial(&found, &plan)
        try judgePacks(found, material, &plan)
        // The indexes that were made for looking only.
        repository.forgetIndexes(
            except: Set(
                try repository.objects(RepositoryLayout.indexPrefix).compactMap {
                    RepositoryLayout.indexName($0.key)
                }))
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
        for object in try repository.objects(RepositoryLayout.indexPrefix) {
            try cancellation.check()
            guard let name = RepositoryLayout.indexName(object.key) else { continue }
            let problem: String?
            do {
                let index = try repository.openStoredIndex(name)
                problem = try index.structuralProblem()
                if problem == nil { indexes.append(index) }
            } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                problem = error.summary
            }
            guard let problem else { continue }
            plan.staleIndexes.append(
                RepairPlan.StaleIndex(name: name, reason: problem, isReadable: false, wrongPacks: []))
        }
        return indexes
    }

    private func readPacks(_ found: inout Found, trustsData: Bool, _ plan: inout RepairPlan) throws {
        let audit = IndexAudit(found.indexes)
        let names = found.packs.filter { !trustsData || !audit.isNamed($0.key, size: $0.value) }.keys.sorted()
        let reader = ChunkReader(repository, IndexSet(found.indexes))
        let survey = Monitor(Survey())
        let reading = PackReading(
            repository: repository, threads: threads, progress: progress, cancellation: cancellation)
        plan.bytesRead = try reading.run(names, found.packs) { name, verdict in
            switch verdict {
            case .damaged(let reason): survey.update { $0.damaged[name] = reason }
            case .sound(let contents):
                if let reason = PackExaminer.deltaProblem(in: contents, reader) {
                    survey.update { $0.damaged[name] = reason }
                } else {
                    let findings = try audit.findings(on: contents)
                    survey.update { $0.findings[name] = findings }
                }
            }
        }
        plan.packsRead = UInt64(names.count)
        found.survey = survey.withLock { $0 }
    }

    /// Which indexes stay, and which packs have to be read to know what is in them.
    private func judgeIndexes(_ found: inout Found, _ plan: inout RepairPlan) {
        found.damaged = found.survey.damaged
        var wrong: [Digest: (packs: Set<Digest>, reason: String)] = [:]
        for (pack, findings) in found.survey.findings {
            for finding in findings where finding.isWrong {
                wrong[finding.index, default: ([], "")].packs.insert(pack)
                wrong[finding.index]?.reason = "it says of pack '\(pack.shortHex)' what that pack does not have"
                found.misindexed.insert(pack)
            }
        }
        for index in found.indexes {
            for pack in (0..<index.packCount).map({ index.pack($0).name }) {
                if found.packs[pack] == nil {
                    if found.condemned.contains(pack) {
                        found.dropped.insert(pack)
                        continue
                    }
                    found.damaged[pack] = "it is missing"
                }
                guard found.damaged[pack] != nil else { continue }
                if wrong[index.name] == nil {
                    wrong[index.name] = ([], "it names pack '\(pack.shortHex)', which is missing or damaged")
                }
                wrong[index.name]?.packs.insert(pack)
            }
        }
        for index in found.indexes {
            guard let (packs, reason) = wrong[index.name] else {
                found.material.staying.append(index)
                continue
            }
            found.material.stale.append(StaleSource(index: index, wrongPacks: packs))
            plan.staleIndexes.append(
                RepairPlan.StaleIndex(
                    name: index.name, reason: reason, isReadable: true, wrongPacks: packs.sorted()))
        }
        plan.staleIndexes.sort { $0.name < $1.name }
        found.material.packsToIndex = found.survey.findings
            .filter { !$0.value.contains(where: \.isRight) }.keys.sorted()
        found.material.damaged = Set(found.damaged.keys)
        found.material.condemned = found.condemned
    }

    /// Indexes packs that are in no index only when a snapshot needs them; surveys the snapshots either way.
    private func chooseMaterial(_ found: inout Found, _ plan: inout RepairPlan) throws -> RepairMaterial {
        let unindexed = found.material.packsToIndex
        found.material.packsToIndex = []
        let without = try RepairMaterial(repository, found.material, stores: false, cancellation)
        let before = try surveySnapshots(availability(without, found))
        // Packs that an index names wrongly are indexed anew whatever they are good for.
        let orphans = unindexed.filter { !found.misindexed.contains($0) }
        if !unindexed.isEmpty {
            found.material.packsToIndex = unindexed
            let with = try RepairMaterial(repository, found.material, stores: false, cancellation)
            let after = try surveySnapshots(availability(with, found))
            if after.lostCount < before.lostCount || orphans.count < unindexed.count {
                after.record(in: &plan)
                plan.packsToIndex = unindexed
                return with
            }
        }
        plan.orphanPacks = UInt64(orphans.count)
        before.record(in: &plan)
        found.material.packsToIndex = []
        return without
    }

    private func availability(_ material: RepairMaterial, _ found: Found) -> ChunkAvailability {
        ChunkAvailability(material.reader, suspects: found.suspects)
    }

    private func judgePacks(_ found: Found, _ material: RepairMaterial, _ plan: inout RepairPlan) throws {
        let availability = availability(material, found)
        for (name, reason) in found.damaged.sorted(by: { $0.key < $1.key }) {
            var pack = RepairPlan.DamagedPack(
                name: name, reason: reason, isPresent: found.packs[name] != nil, chunksKept: 0, chunksLost: 0)
            for id in material.endangered[name] ?? [] {
                try cancellation.check()
                if try availability.canBeRead(id) { pack.chunksKept += 1 } else { pack.chunksLost += 1 }
            }
            plan.damagedPacks.append(pack)
        }
    }

    /// Pins and lists of forgotten snapshots that cannot be read.
    private func findRecords(_ plan: inout RepairPlan) throws {
        let records = RecordCheck(repository)
        for problem in try records.problems() + records.missingPins(SnapshotCatalog(repository))
        where !plan.damagedRecords.contains(where: { $0.object == problem.key.text }) {
            plan.damagedRecords.append(RepairPlan.BadObject(object: problem.key.text, reason: problem.reason))
        }
    }

    /// What is lost of which snapshot.
    private struct Losses {
        var damaged: [RepairPlan.DamagedSnapshot] = []
        var manifests = ManifestSurvey()

        var lostCount: UInt64 { damaged.clampedSum { $0.lostCount } }

        func record(in plan: inout RepairPlan) {
            plan.damagedSnapshots = damaged
            plan.misnamedSnapshots = manifests.misnamed
            plan.unsignedSnapshots = manifests.unsigned
            plan.unreadableSnapshots = manifests.unreadable
            plan.goneSnapshots = manifests.gone
            plan.unrepairable = manifests.unrepairable
        }
    }

    private func surveySnapshots(_ availability: ChunkAvailability) throws -> Losses {
        var losses = Losses()
        losses.manifests = try ManifestSurvey(repository, cancellation)
        for snapshot in losses.manifests.snapshots {
            try cancellation.check()
            let loss = try SnapshotSalvage(availability, cancellation).loss(of: snapshot)
            guard loss.count > 0 else { continue }
            let manifest = snapshot.manifest
            losses.damaged.append(
                RepairPlan.DamagedSnapshot(
                    id: snapshot.id,
                    object: RepositoryLayout.manifest(stack: manifest.stack, time: manifest.frozen, id: snapshot.id)
                        .text, stack: manifest.stack, time: manifest.frozen,
                    lost: Array(loss.names.prefix(CheckReport.pathLimit)), lostCount: loss.count))
        }
        return losses
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
