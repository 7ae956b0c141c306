// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatStorage

/// Walks every snapshot and asks of each content whether all its chunks can be had. What cannot is told with the
/// objects that are to blame and the paths they take with them.
struct SnapshotCheck {
    private let repository: Repository
    private let indexes: IndexSet
    /// Packs that are missing or damaged: a chunk in one counts only when it reads back right.
    private let suspects: Set<Digest>
    private let reader: ChunkReader
    private let progress: any ProgressSink
    private let cancellation: Cancellation
    /// Chunks of suspect packs, tried once.
    private var tried: [Digest: Bool] = [:]
    /// Lists and trees without a missing chunk.
    private var soundLists: Set<Digest> = []

    init(
        _ repository: Repository, indexes: IndexSet, suspects: Set<Digest>, progress: any ProgressSink,
        cancellation: Cancellation
    ) {
        self.repository = repository
        self.indexes = indexes
        self.suspects = suspects
        self.progress = progress
        self.cancellation = cancellation
        reader = ChunkReader(repository, indexes)
    }

    mutating func run(_ report: inout CheckReport) throws {
        var snapshots: [Snapshot] = []
        for object in try repository.objects(RepositoryLayout.snapshotPrefix) {
            try cancellation.check()
            guard RepositoryLayout.manifestName(object.key) != nil else {
                report.notes.append("'\(object.key)' is not the name of a manifest")
                continue
            }
            report.snapshots += 1
            do {
                let snapshot = try SnapshotCatalog.read(object.key, repository)
                snapshots.append(snapshot)
            } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                report.addProblem(object.key.text, error.summary)
            }
        }
        let forgotten = try forgottenSnapshots(&report)
        for snapshot in snapshots {
            try check(snapshot, &report)
        }
        for problem in try SnapshotCatalog.chainProblems(snapshots, forgotten: forgotten, repository) {
            if problem.isNote {
                report.notes.append("snapshot \(problem.snapshot.shortHex): \(problem.reason)")
            } else {
                report.addProblem("snapshot \(problem.snapshot.shortHex)", problem.reason)
            }
        }
    }

    /// What retention removed. A damaged list of it is a problem, and says nothing.
    private func forgottenSnapshots(_ report: inout CheckReport) throws -> Set<Digest> {
        do {
            return Set(try ForgottenSnapshots.read(repository).flatMap(\.snapshots).map(\.snapshot))
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            report.addProblem(RepositoryLayout.forgottenPrefix, error.summary)
            return []
        }
    }

    private mutating func check(_ snapshot: Snapshot, _ report: inout CheckReport) throws {
        var counters = ProgressCounters()
        counters.current = "snapshot \(snapshot.id.shortHex)"
        progress.report(.counters(counters))
        for component in snapshot.manifest.components {
            for part in component.parts {
                let place = "\(component.name):\(part.name)"
                let isSound = try check(part.content, snapshot, place, &report)
                // A tree that is sound was walked for another snapshot already, unless it is new.
                guard part.kind == .tree, isSound, soundLists.insert(Self.treeKey(part.content)).inserted else {
                    continue
                }
                if try !checkTree(part.content, snapshot, component.name, &report) {
                    soundLists.remove(Self.treeKey(part.content))
                }
            }
        }
    }

    /// Trees share a set with lists, whose ids they can never have: the key is the id with its words turned.
    private static func treeKey(_ content: ContentReference) -> Digest {
        Digest(bigEndianWords: ~content.id.prefix, UInt64(content.depth), content.size, content.id.prefix)
    }

    private mutating func checkTree(
        _ content: ContentReference, _ snapshot: Snapshot, _ component: String, _ report: inout CheckReport
    ) throws -> Bool {
        var isSound = true
        do {
            let entries = MtreeReader(try ContentSource(reader, content))
            while let entry = try entries.next() {
                guard let file = entry.content else { continue }
                try cancellation.check()
                let place = "\(component):\(String(decoding: entry.path, as: UTF8.self))"
                if try !check(file, snapshot, place, &report) { isSound = false }
            }
        } catch let error as MtreeError {
            report.addProblem(
                "snapshot \(snapshot.id.shortHex)", "the tree of '\(component)': \(error.lifeboatError.message)")
            isSound = false
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            report.addProblem("snapshot \(snapshot.id.shortHex)", "the tree of '\(component)': \(error.summary)")
            isSound = false
        }
        return isSound
    }

    /// Whether all chunks of a content can be had; blames what is missing.
    private mutating func check(
        _ content: ContentReference, _ snapshot: Snapshot, _ place: String, _ report: inout CheckReport
    ) throws -> Bool {
        guard content.size > 0 else { return true }
        guard content.depth > 0 else {
            return try isAvailable(content.id) || blame(content.id, snapshot, place, &report)
        }
        if soundLists.contains(content.id) { return true }
        var isSound = true
        do {
            let chunks = try ChunkSequence(reader, content)
            while let chunk = try chunks.next() {
                if try !isAvailable(chunk.id) { isSound = try blame(chunk.id, snapshot, place, &report) }
            }
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            isSound = try blame(content.id, snapshot, place, &report, reason: error.summary)
        }
        if isSound { soundLists.insert(content.id) }
        return isSound
    }

    private mutating func isAvailable(_ id: Digest, depthLeft: Int = IndexSet.depthLimit) throws -> Bool {
        let locations = try indexes.locations(of: id)
        if locations.contains(where: { !$0.isDelta && !suspects.contains($0.pack) }) { return true }
        guard !locations.isEmpty else { return false }
        if let known = tried[id] { return known }
        // A delta that is in place is as good as its bases.
        for location in locations where location.isDelta && !suspects.contains(location.pack) && depthLeft > 0 {
            if try location.bases.allSatisfy({ try isAvailable($0, depthLeft: depthLeft - 1) }) {
                tried[id] = true
                return true
            }
        }
        do {
            try reader.withChunk(id) { _ in }
            tried[id] = true
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            tried[id] = false
        }
        return tried[id] ?? false
    }

    /// Adds the path to the problems of the packs the chunk was in. Always false: for the caller to return.
    private func blame(
        _ id: Digest, _ snapshot: Snapshot, _ place: String, _ report: inout CheckReport, reason: String? = nil
    ) throws -> Bool {
        let packs = try lostPacks(of: id, depthLeft: IndexSet.depthLimit)
        for object in packs.isEmpty ? ["chunk \(id.shortHex)"] : packs.sorted() {
            report.addAffected(
                object, reason ?? (packs.isEmpty ? "it is in no index" : "it cannot be read"),
                snapshot: snapshot.id.shortHex, path: place)
        }
        return false
    }

    /// Names of the packs that a chunk which cannot be had was in; with a delta in a sound pack, those of its bases.
    private func lostPacks(of id: Digest, depthLeft: Int) throws -> Set<String> {
        var packs: Set<String> = []
        for location in try indexes.locations(of: id) {
            guard location.isDelta, !suspects.contains(location.pack), depthLeft > 0 else {
                packs.insert(RepositoryLayout.pack(location.pack).text)
                continue
            }
            for base in location.bases where !indexes.contains(base) || tried[base] == false {
                let found = try lostPacks(of: base, depthLeft: depthLeft - 1)
                packs.formUnion(found.isEmpty ? ["chunk \(base.shortHex)"] : found)
            }
        }
        return packs
    }
}
