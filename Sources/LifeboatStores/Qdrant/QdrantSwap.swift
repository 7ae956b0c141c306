// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// Staging, exchange and removal of collections, provable at any moment, also by a later process: each step is in the
/// record before it is done, and each can be done again.
///
/// An alias moves in one call of the server. A collection that is used by its own name cannot move, for Qdrant cannot
/// rename: the live one is copied aside, deleted, and made anew from the staged one's archive, which the server kept.
struct QdrantSwap {
    private let store: QdrantStore
    private let path: String
    private let restore: String

    private var api: QdrantAPI { store.api }

    init(_ store: QdrantStore, _ state: StagedState) throws {
        guard let path = state.values["record"], let restore = state.values["restore"],
            state.values["url"] == store.endpoint.url
        else {
            throw LifeboatError(
                "the journal does not say where the staged collections of \(store.endpoint.subject) are")
        }
        self.store = store
        self.path = path
        self.restore = restore
    }

    // MARK: Staging

    /// Writes down what will be where. Removes what an interrupted staging of the same restore left.
    func begin(_ contents: QdrantContents) throws {
        if let left = try QdrantRestoreRecord.load(path) {
            for item in left.items { try removeStaged(item, left) }
        }
        let aliases = try api.aliases()
        let existing = Set(try api.collections())
        var record = QdrantRestoreRecord(url: store.endpoint.url, restore: restore, items: [])
        let places = QdrantNames.places(contents.collections.map(\.factName), restore)
        for collection in contents.collections {
            guard let place = places[collection.factName] else { continue }
            let moves =
                collection.usedByAlias
                ? collection.aliases
                : existing.contains(collection.name) || aliases[collection.name] == nil ? [] : [collection.name]
            record.items.append(
                QdrantRestoreRecord.Item(
                    name: collection.name, staged: place.staged, old: place.old,
                    moves: moves.map { QdrantRestoreRecord.Alias(name: $0, before: aliases[$0]) },
                    aliases: moves.isEmpty
                        ? collection.aliases.map { QdrantRestoreRecord.Alias(name: $0, before: aliases[$0]) } : [],
                    size: collection.snapshot.size, sha256: collection.snapshot.checksum))
        }
        try record.save(path)
    }

    /// Uploads one collection under its staged name, and checks it there.
    func stage(
        _ collection: QdrantContents.Collection, _ source: any ByteSource, _ cancellation: Cancellation
    ) throws {
        let item = try update(collection.name) { $0.phase = .uploading }
        try api.upload(
            source, size: item.size, sha256: item.sha256, as: file, to: item.staged, cancellation)
        let differences = try store.differences(collection, live: item.staged, cancellation)
        guard differences.isEmpty else {
            throw LifeboatError(
                "collection \(collection.shown), staged as '\(item.staged)', is not what the snapshot holds",
                causes: differences.prefix(10).map {
                    "\($0.name): \($0.expected) in the snapshot, \($0.found ?? "nothing") restored"
                }, hint: "The live collection was not touched.")
        }
        let points = try api.count(item.staged, cancellation)
        // A collection that is copied at the swap is made from this file once more.
        if !item.isByName { try api.deleteSnapshot(item.staged, file) }
        try update(collection.name) {
            $0.points = points
            $0.phase = .staged
        }
    }

    // MARK: Exchange

    func swap() throws {
        guard let record = try QdrantRestoreRecord.load(path) else {
            throw LifeboatError("cannot swap \(store.endpoint.subject)", causes: ["nothing was staged"])
        }
        for item in record.items where item.phase == .planned || item.phase == .uploading {
            throw LifeboatError(
                "cannot swap \(store.endpoint.subject)",
                causes: ["collection '\(item.staged)' is not staged as a whole"])
        }
        for item in record.items where item.isByName { try swapByName(item) }
        try moveAliases(record.items.flatMap { item in item.moves.map { ($0, item.staged) } })
    }

    func swapBack() throws {
        guard let record = try QdrantRestoreRecord.load(path) else { return }
        let aliases = try api.aliases()
        var changes: [QdrantAPI.AliasChange] = []
        for item in record.items {
            for move in item.moves where aliases[move.name] == item.staged {
                changes.append(QdrantAPI.AliasChange(alias: move.name, exists: true, target: move.before))
            }
        }
        try api.change(changes)
        for item in record.items where item.isByName { try swapBackByName(item) }
    }

    /// Moves aliases to the staged collections, all at once.
    private func moveAliases(_ moves: [(QdrantRestoreRecord.Alias, String)]) throws {
        let aliases = try api.aliases()
        var changes: [QdrantAPI.AliasChange] = []
        for (move, staged) in moves where aliases[move.name] != staged {
            guard aliases[move.name] == move.before else {
                throw LifeboatError(
                    "cannot swap alias '\(move.name)' of \(store.endpoint.subject)",
                    causes: ["it was moved to '\(aliases[move.name] ?? "nothing")' since the restore was staged"],
                    hint: "Run the restore again.")
            }
            changes.append(
                QdrantAPI.AliasChange(alias: move.name, exists: aliases[move.name] != nil, target: staged))
        }
        try api.change(changes)
    }

    private func swapByName(_ original: QdrantRestoreRecord.Item) throws {
        var item = original
        if item.phase == .swapped { return }
        if item.phase != .replacing {
            item = try keepLive(item)
            item = try update(item.name) { $0.phase = .replacing }
        }
        try fill(item.name, from: item.staged, expecting: item.points, sha256: item.sha256)
        try addAliases(item.liveAliases + item.aliases.map(\.name), to: item.name)
        try update(item.name) { $0.phase = .swapped }
    }

    /// Copies the live collection aside, when there is one, and counts the copy.
    private func keepLive(_ original: QdrantRestoreRecord.Item) throws -> QdrantRestoreRecord.Item {
        // What an earlier attempt left.
        if original.phase != .staged { try removeCollection(original.old) }
        let aliases = try api.aliases().filter { $0.value == original.name }.map(\.key).sorted()
        let hasLive = try api.collections().contains(original.name)
        let item = try update(original.name) {
            $0.phase = .keeping
            $0.hadLive = hasLive
            $0.liveAliases = aliases
        }
        guard hasLive else { return try update(item.name) { $0.phase = .kept } }
        let points = try api.count(item.name)
        try copy(item.name, to: item.old, sha256: nil)
        let copied = try api.count(item.old)
        guard copied == points else {
            throw LifeboatError(
                "collection '\(item.name)' of \(store.endpoint.subject) cannot be copied aside",
                causes: ["it has \(points) points, its copy \(copied)"],
                hint: "Stop what writes to it, then restore again. It was not touched.")
        }
        return try update(item.name) {
            $0.oldPoints = points
            $0.phase = .kept
        }
    }

    private func swapBackByName(_ item: QdrantRestoreRecord.Item) throws {
        switch item.phase {
        case .planned, .uploading, .staged, .keeping, .kept, .returned: return
        case .replacing, .swapped, .returning: break
        }
        try update(item.name) { $0.phase = .returning }
        let aliases = try api.aliases()
        try api.change(
            item.aliases.filter { $0.before != item.name && $0.before != aliases[$0.name] }.map {
                QdrantAPI.AliasChange(alias: $0.name, exists: aliases[$0.name] != nil, target: $0.before)
            })
        if item.hadLive == true {
            try fill(item.name, from: item.old, expecting: item.oldPoints, sha256: nil)
            try addAliases(item.liveAliases, to: item.name)
        } else {
            try removeCollection(item.name)
        }
        try update(item.name) { $0.phase = .returned }
    }

    /// Makes `name` a copy of another collection, whatever it was.
    private func fill(_ name: String, from source: String, expecting points: Int64?, sha256: String?) throws {
        // Deleted: a collection that exists keeps its own settings when a snapshot is loaded into it.
        try api.delete(name)
        try copy(source, to: name, sha256: sha256)
        let found = try api.count(name)
        guard points == nil || found == points else {
            throw LifeboatError(
                "collection '\(name)' of \(store.endpoint.subject) is not what was copied into it",
                causes: ["it has \(found) points, '\(source)' has \(points ?? 0)"])
        }
        try api.deleteSnapshot(name, file)
    }

    /// From the archive that was uploaded to make `source`, which the server keeps; where it does not, from a new one.
    private func copy(_ source: String, to target: String, sha256: String?) throws {
        let name = file
        var found = try api.snapshots(source).list.first { $0.name == name }
        var made: QdrantSnapshots?
        if found == nil {
            let snapshots = try QdrantSnapshots(api, folder: store.stateFolder)
            found = try snapshots.create(source, nil)
            made = snapshots
        } else if let sha256 {
            found?.checksum = sha256
        }
        defer { made?.deleteAll() }
        guard let snapshot = found else { return }
        let stream = try api.download(source, snapshot, nil)
        defer { stream.close() }
        try api.upload(stream, size: snapshot.size, sha256: snapshot.checksum, as: name, to: target, nil)
    }

    private func addAliases(_ names: [String], to collection: String) throws {
        let aliases = try api.aliases()
        try api.change(
            Set(names).sorted().filter { aliases[$0] != collection }.map {
                QdrantAPI.AliasChange(alias: $0, exists: aliases[$0] != nil, target: collection)
            })
    }

    // MARK: Clearing up

    func discard() throws {
        guard let record = try QdrantRestoreRecord.load(path) else { return }
        for item in record.items where item.phase == .replacing || item.phase == .returning {
            throw LifeboatError(
                "collection '\(item.name)' of \(store.endpoint.subject) is half exchanged",
                hint: "Its data is in '\(item.staged)' (restored) and '\(item.old)' (before): nothing is removed.")
        }
        for item in record.items where item.isByName {
            try removeStaged(item, record)
            if item.hadLive == true { try removeCollection(item.old) }
            if try api.collections().contains(item.name) { try api.deleteSnapshot(item.name, file) }
        }
        for item in record.items where !item.isByName {
            let aliases = try api.aliases()
            guard item.moves.contains(where: { aliases[$0.name] == item.staged }) else {
                try removeStaged(item, record)
                continue
            }
            for before in Set(item.moves.compactMap(\.before)) where before != item.staged {
                // Another alias, one that the snapshot does not know, may need it still.
                if !aliases.values.contains(before) { try api.delete(before) }
            }
        }
        try QdrantRestoreRecord.remove(path)
    }

    private func removeStaged(_ item: QdrantRestoreRecord.Item, _ record: QdrantRestoreRecord) throws {
        if item.phase != .planned { try removeCollection(item.staged) }
    }

    /// A collection that this restore made, with the file it was made from. A server keeps the file of a load that
    /// failed as well, and gives access to it only through a collection of that name.
    private func removeCollection(_ name: String) throws {
        if try !api.collections().contains(name) { try api.createEmpty(name) }
        try api.deleteSnapshot(name, file)
        try api.delete(name)
    }

    // MARK: Record

    /// What an upload is called; the server keeps it under that name.
    private var file: String { "lifeboat-\(restore).snapshot" }

    @discardableResult
    private func update(
        _ name: String, _ change: (inout QdrantRestoreRecord.Item) -> Void
    ) throws -> QdrantRestoreRecord.Item {
        guard var record = try QdrantRestoreRecord.load(path),
            let index = record.items.firstIndex(where: { $0.name == name })
        else { throw LifeboatError("the record of the restore in '\(path)' is gone") }
        change(&record.items[index])
        try record.save(path)
        return record.items[index]
    }
}
