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
        for snapshot in snapshots {
            try check(snapshot, &report)
        }
        for problem in try SnapshotCatalog.chainProblems(snapshots, repository) {
            report.addProblem("snapshot \(problem.snapshot.shortHex)", problem.reason)
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

    private mutating func isAvailable(_ id: Digest) throws -> Bool {
        let locations = try indexes.locations(of: id)
        if locations.contains(where: { !suspects.contains($0.pack) }) { return true }
        guard !locations.isEmpty else { return false }
        if let known = tried[id] { return known }
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
        let packs = Set(try indexes.locations(of: id).map { RepositoryLayout.pack($0.pack).text })
        for object in packs.isEmpty ? ["chunk \(id.shortHex)"] : packs.sorted() {
            report.addAffected(
                object, reason ?? (packs.isEmpty ? "it is in no index" : "it cannot be read"),
                snapshot: snapshot.id.shortHex, path: place)
        }
        return false
    }
}
