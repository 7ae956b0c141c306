// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatStorage

/// Walks every snapshot and asks of each content whether all its chunks can be had. What cannot is told with the
/// objects that are to blame and the paths they take with them.
struct SnapshotCheck {
    private let repository: Repository
    private let indexes: IndexSet
    private let suspects: Set<Digest>
    private let availability: ChunkAvailability
    private let progress: any ProgressSink
    private let cancellation: Cancellation
    /// Trees all of whose files can be had.
    private var soundTrees: Set<ContentReference> = []

    /// `suspects`: packs that are missing, damaged or wrongly indexed.
    init(
        _ repository: Repository, indexes: IndexSet, suspects: Set<Digest>, progress: any ProgressSink,
        cancellation: Cancellation
    ) {
        self.repository = repository
        self.indexes = indexes
        self.suspects = suspects
        self.progress = progress
        self.cancellation = cancellation
        availability = ChunkAvailability(ChunkReader(repository, indexes, cacheLimit: 16 << 20), suspects: suspects)
    }

    /// `manifests` were listed before the indexes were opened; `seen` is what this host remembered before that.
    mutating func run(
        _ manifests: [ObjectKey], seen: [String: HostTrust.Pin.Seen], _ report: inout CheckReport
    ) throws {
        var snapshots: [Snapshot] = []
        for key in manifests {
            try cancellation.check()
            do {
                switch try SnapshotCatalog.examine(key, repository) {
                case .snapshot(let snapshot): snapshots.append(snapshot)
                case .misnamed(_, let error), .tooNew(let error): lose(key, error, &report)
                }
            } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                // Forgotten since it was listed: that is no damage.
                guard try repository.exists(key) else { continue }
                lose(key, error, &report)
            }
            report.snapshots += 1
        }
        let unusable = Set(report.problems.flatMap(\.snapshots))
        if snapshots.isEmpty, report.problems.isEmpty, report.packs > 0 {
            report.notes.append("there is no snapshot, though there are packs")
        }
        let forgotten = try RecordCheck(repository).tombstones()
        for snapshot in snapshots {
            try check(snapshot, &report)
        }
        for problem in try SnapshotCatalog.chainProblems(snapshots, forgotten: forgotten, repository, seen: seen) {
            // One that is damaged was told as such.
            if unusable.contains(problem.snapshot.shortHex) { continue }
            if problem.isNote {
                report.notes.append("snapshot \(problem.snapshot.shortHex): \(problem.reason)")
            } else {
                report.addProblem("snapshot \(problem.snapshot.shortHex)", problem.reason)
            }
        }
        // Other hosts' snapshots too: this host notices when one of them is gone the next time.
        if repository.distrust == nil { repository.remember(snapshots) }
    }

    /// A manifest that cannot be used takes all of its snapshot with it.
    private func lose(_ key: ObjectKey, _ error: LifeboatError, _ report: inout CheckReport) {
        let name = RepositoryLayout.manifestName(key)?.shortID ?? "unknown"
        report.addAffected(key.text, error.summary, snapshot: name, path: "all of it")
    }

    private mutating func check(_ snapshot: Snapshot, _ report: inout CheckReport) throws {
        var counters = ProgressCounters()
        counters.current = "snapshot \(snapshot.id.shortHex)"
        progress.report(.counters(counters))
        for component in snapshot.manifest.components {
            for part in component.parts {
                let place = "\(component.name):\(part.name)"
                let isSound = try check(part.content, snapshot, place, &report)
                // A tree that is sound and was walked for another snapshot needs no second look.
                guard part.kind == .tree, isSound, !soundTrees.contains(part.content) else { continue }
                if try checkTree(part.content, snapshot, component.name, &report) { soundTrees.insert(part.content) }
            }
        }
    }

    private func checkTree(
        _ content: ContentReference, _ snapshot: Snapshot, _ component: String, _ report: inout CheckReport
    ) throws -> Bool {
        var isSound = true
        do {
            let entries = MtreeReader(try ContentSource(availability.reader, content))
            var audit = TreeAudit()
            while let entry = try entries.next() {
                if let reason = audit.problem(of: entry) {
                    let path = String(decoding: entry.path, as: UTF8.self)
                    report.addAffected(
                        "snapshot \(snapshot.id.shortHex)", "'\(path)' of '\(component)' cannot be restored: \(reason)",
                        snapshot: snapshot.id.shortHex, path: "\(component):\(path)")
                    isSound = false
                }
                guard let file = entry.content else { continue }
                try cancellation.check()
                let place = "\(component):\(String(decoding: entry.path, as: UTF8.self))"
                if try !check(file, snapshot, place, &report) { isSound = false }
            }
            if audit.hasHardLinks {
                for problem in try hardLinkProblems(content) {
                    let path = String(decoding: problem.path, as: UTF8.self)
                    report.addAffected(
                        "snapshot \(snapshot.id.shortHex)",
                        "'\(path)' of '\(component)' cannot be restored: it is a hard link to "
                            + "'\(String(decoding: problem.target, as: UTF8.self))', and the tree has no such file",
                        snapshot: snapshot.id.shortHex, path: "\(component):\(path)")
                    isSound = false
                }
            }
        } catch let error as MtreeError {
            blameTree(snapshot, component, error.lifeboatError.summary, &report)
            isSound = false
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            blameTree(snapshot, component, error.summary, &report)
            isSound = false
        }
        return isSound
    }

    private func hardLinkProblems(_ content: ContentReference) throws -> [HardLinkAudit.Problem] {
        try HardLinkAudit().problems { body in
            let entries = MtreeReader(try ContentSource(availability.reader, content))
            while let entry = try entries.next() {
                try cancellation.check()
                try body(entry)
            }
        }
    }

    private func blameTree(
        _ snapshot: Snapshot, _ component: String, _ reason: String, _ report: inout CheckReport
    ) {
        report.addAffected(
            "snapshot \(snapshot.id.shortHex)", "the tree of '\(component)': \(reason)",
            snapshot: snapshot.id.shortHex, path: "\(component):")
    }

    /// Whether all chunks of a content can be had; blames what is missing.
    private func check(
        _ content: ContentReference, _ snapshot: Snapshot, _ place: String, _ report: inout CheckReport
    ) throws -> Bool {
        let missing = try availability.missing(of: content)
        for lost in missing {
            // Packs nothing is wrong with are not to blame for a list that does not add up.
            let packs = try blamedPacks(for: lost.id)
            for pack in packs.sorted() {
                report.addAffected(
                    repository.packName(pack), lost.reason ?? "it cannot be read",
                    snapshot: snapshot.id.shortHex, path: place)
            }
            guard packs.isEmpty else { continue }
            let isKnown = indexes.contains(lost.id)
            report.addAffected(
                isKnown ? "content \(lost.id.shortHex)" : "chunk \(lost.id.shortHex)",
                lost.reason ?? (isKnown ? "it does not have the length it is said to have" : "it is in no index"),
                snapshot: snapshot.id.shortHex, path: place)
        }
        return missing.isEmpty
    }

    /// The packs to blame for a chunk that cannot be had: those it is in, or, of a delta in a sound one, those of its
    /// bases.
    private func blamedPacks(for id: Digest, depthLeft: Int = IndexSet.depthLimit) throws -> Set<Digest> {
        var packs: Set<Digest> = []
        for location in try indexes.locations(of: id) {
            if suspects.contains(location.pack) {
                packs.insert(location.pack)
            } else if depthLeft > 0 {
                for base in location.bases { packs.formUnion(try blamedPacks(for: base, depthLeft: depthLeft - 1)) }
            }
        }
        return packs
    }
}
