// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatStorage

/// Marks what the manifests of a repository refer to, those that were announced and those that were committed.
///
/// Backups go on meanwhile: a manifest may need chunks of an index that was stored after the indexes had been opened.
/// Such a manifest is put aside, what is new is added, and it is tried again; so is one that was forgotten, and is gone.
struct PruneReferences {
    private let repository: Repository
    private let progress: any ProgressSink
    private let cancellation: Cancellation

    init(_ repository: Repository, progress: any ProgressSink, cancellation: Cancellation) {
        self.repository = repository
        self.progress = progress
        self.cancellation = cancellation
    }

    private struct Item {
        var manifest: Manifest
        /// Nil when it was announced only.
        var snapshot: Snapshot?
    }

    /// Gives the committed snapshots. Throws when what one of them needs cannot be found out.
    mutating func mark(_ survey: inout PruneSurvey, announced: [ObjectKey]) throws -> [Snapshot] {
        // Announced ones first: one that is committed meanwhile is found either here or there.
        var items = try announcedManifests(announced)
        let catalog = try SnapshotCatalog(repository)
        guard catalog.damaged.isEmpty else {
            throw LifeboatError(
                "\(catalog.damaged.count) snapshots cannot be read, so it is not known what they need",
                causes: catalog.damaged.map { ([$0.message] + $0.causes).joined(separator: ": ") },
                hint: "Run 'lifeboat check'; prune deletes nothing until the repository is sound.",
                exitCode: .damagedRepository)
        }
        items += catalog.snapshots.map { Item(manifest: $0.manifest, snapshot: $0) }
        var gone: Set<Digest> = []
        while true {
            let failed = try mark(items, survey.live)
            var left: [(item: Item, error: LifeboatError)] = []
            for failure in failed {
                if let snapshot = failure.item.snapshot, try !isPresent(snapshot) {
                    gone.insert(snapshot.id)
                } else {
                    left.append(failure)
                }
            }
            guard let first = left.first else { return catalog.snapshots.filter { !gone.contains($0.id) } }
            guard try addNewIndexes(&survey) else { throw first.error }
            items = left.map(\.item)
        }
    }

    private func announcedManifests(_ keys: [ObjectKey]) throws -> [Item] {
        try keys.compactMap { key in
            do {
                let bytes = try repository.load(key, limit: Repository.documentLimit)
                return Item(manifest: try Manifest(decoding: bytes))
            } catch let error as StorageError where error.kind == .notFound {
                return nil
            }
        }
    }

    private func isPresent(_ snapshot: Snapshot) throws -> Bool {
        try repository.exists(
            RepositoryLayout.manifest(
                stack: snapshot.manifest.stack, time: snapshot.manifest.frozen, id: snapshot.id))
    }

    /// Marks what they need; gives those of which that could not be found out, with the reason.
    private func mark(_ items: [Item], _ live: ChunkMarks) throws -> [(item: Item, error: LifeboatError)] {
        var marker = ReferenceMarker(live, repository, cancellation: cancellation)
        var failed: [(item: Item, error: LifeboatError)] = []
        for (number, item) in items.enumerated() {
            var counters = ProgressCounters()
            counters.filesDone = UInt64(number)
            counters.filesTotal = UInt64(items.count)
            counters.current = item.snapshot.map { "snapshot \($0.id.shortHex)" } ?? "a snapshot to come"
            progress.report(.counters(counters))
            do {
                try marker.mark(item.manifest)
            } catch {
                let failure = LifeboatError.converting(error)
                guard failure.exitCode == .damagedRepository || failure.exitCode == .failed else { throw failure }
                // A list or tree that was walked in part must not count as walked.
                marker = ReferenceMarker(live, repository, cancellation: cancellation)
                let name = item.snapshot.map { "snapshot '\($0.id.shortHex)'" } ?? "a snapshot that was announced"
                failed.append(
                    (
                        item,
                        failure.wrapped(
                            "\(name) cannot be read whole, so it is not known what it needs",
                            hint: "Run 'lifeboat check'; prune deletes nothing until the repository is sound.")
                    ))
            }
        }
        return failed
    }

    /// Opens indexes that were stored since; false when there is none.
    private func addNewIndexes(_ survey: inout PruneSurvey) throws -> Bool {
        let known = Set(survey.indexes.all.map(\.name))
        var added: [MappedIndex] = []
        for object in try repository.objects(RepositoryLayout.indexPrefix) {
            guard let name = RepositoryLayout.indexName(object.key), !known.contains(name) else { continue }
            do {
                added.append(try repository.openStoredIndex(name))
            } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                // Another prune may have put one in its place since it was listed.
                guard try !repository.exists(object.key) else { throw error }
            }
        }
        guard !added.isEmpty else { return false }
        // Only the packs they name: of others it is not known whether they belong to a backup that runs.
        let named = Set(added.flatMap { index in (0..<index.packCount).map { index.pack($0).name } })
        for object in try repository.objects(RepositoryLayout.packPrefix) {
            guard let name = RepositoryLayout.packName(object.key), named.contains(name),
                survey.numbers[name] == nil
            else { continue }
            survey.add(name, size: object.size)
        }
        for index in added {
            try survey.live.add(index)
            try survey.register(index, survey.indexes.all.count - 1)
        }
        return true
    }
}
