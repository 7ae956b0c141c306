// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Staging, exchange and removal of collections, provable at any moment, also by a later process: a collection keeps
/// its id when it is renamed, so ids tell which is which, and names where each of them is.
struct ChromaSwap {
    /// What a restore does to one server, kept on this host from before its first step until nothing of it is left.
    private struct Record: Codable {
        struct Item: Codable {
            var database: String
            var name: String
            var staged: String
            /// Where the live collection goes.
            var old: String
            /// Ids; nil: there is none, or not yet.
            var liveID: String?
            var stagedID: String?
            var isStaged = false
        }
        var version = 1
        var items: [Item]
        /// Databases that the restore creates.
        var databases: [String]
    }

    private let store: ChromaStore
    private let path: String
    private let restore: String

    private var api: ChromaAPI { store.api }

    init(_ store: ChromaStore, _ state: StagedState) throws {
        guard let path = state.values["record"], let restore = state.values["restore"],
            state.values["url"] == store.endpoint.url, state.values["tenant"] == store.tenant
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
    func begin(_ contents: ChromaContents) throws {
        if let left = try load() { try removeStaged(left) }
        try api.createTenant()
        let existing = try api.databases()
        var record = Record(items: [], databases: contents.databases.filter { !existing.contains($0) })
        let places = ChromaNames.places(contents.collections.map(\.place), restore)
        for collection in contents.collections {
            guard let place = places[collection.place] else { continue }
            let live =
                existing.contains(collection.database)
                ? try api.collection(collection.database, named: collection.name) : nil
            record.items.append(
                Record.Item(
                    database: collection.database, name: collection.name, staged: place.staged, old: place.old,
                    liveID: live?.id))
        }
        try save(record)
        for database in record.databases { try api.createDatabase(database) }
    }

    /// An empty collection with the settings of the captured one: its id, and whether it has its schema too.
    func createStaged(
        _ number: Int, _ collection: ChromaContents.Collection
    ) throws -> (id: String, hasSchema: Bool) {
        guard var record = try load(), record.items.indices.contains(number) else { throw lost() }
        let (id, hasSchema) = try create(collection, as: record.items[number].staged)
        record.items[number].stagedID = id
        try save(record)
        return (id, hasSchema)
    }

    /// Servers take configuration and schema together only when one of them is what they would choose by themselves,
    /// and either may say what the other does not: tried one after the other until the collection is what it was.
    private func create(
        _ collection: ChromaContents.Collection, as name: String
    ) throws -> (id: String, hasSchema: Bool) {
        let metadata = collection.metadata.map { Array($0.utf8) }
        let configuration = collection.configuration.map { Array($0.utf8) }
        func create(_ configuration: [UInt8]?, _ schema: [UInt8]?) throws -> String {
            try api.create(
                collection.database, name, metadata: metadata, configuration: configuration, schema: schema)
        }
        guard let schema = collection.schema.map({ Array($0.utf8) }) else {
            return (try create(configuration, nil), true)
        }
        for way in [(configuration, nil), (nil, schema), (configuration, schema)] {
            let id: String
            do {
                id = try create(way.0, way.1)
            } catch let error as RESTError where way.1 != nil && (400..<500).contains(error.status ?? 0) {
                continue
            }
            let made = try api.collection(collection.database, named: name)
            if made?.schema == schema, made?.configuration == configuration { return (id, true) }
            try api.delete(collection.database, named: name)
        }
        return (try create(configuration, nil), false)
    }

    /// The collection is whole.
    func isStaged(_ number: Int) throws {
        guard var record = try load(), record.items.indices.contains(number) else { throw lost() }
        record.items[number].isStaged = true
        try save(record)
    }

    // MARK: Exchange

    func swap() throws {
        guard let record = try load() else {
            throw LifeboatError("cannot swap \(store.endpoint.subject)", causes: ["nothing was staged"])
        }
        for item in record.items where !item.isStaged {
            throw LifeboatError(
                "cannot swap \(store.endpoint.subject)",
                causes: ["collection '\(item.staged)' is not staged as a whole"])
        }
        for (database, items) in Dictionary(grouping: record.items, by: \.database).sorted(by: { $0.key < $1.key }) {
            var names = try names(database)
            for item in items {
                guard let stagedID = item.stagedID, names[stagedID] != nil else {
                    throw LifeboatError(
                        "cannot swap collection '\(item.name)' of \(store.endpoint.subject)",
                        causes: ["the restored collection '\(item.staged)' does not exist"])
                }
                if names[stagedID] == item.name { continue }
                if let live = names.first(where: { $0.value == item.name })?.key {
                    guard live == item.liveID else {
                        throw LifeboatError(
                            "cannot swap collection '\(item.name)' of \(store.endpoint.subject)",
                            causes: ["it was created or replaced since the restore was staged"],
                            hint: "Run the restore again; this one's data is in collection '\(item.staged)'.")
                    }
                    try api.rename(database, live, to: item.old)
                    names[live] = item.old
                }
                try api.rename(database, stagedID, to: item.name)
                names[stagedID] = item.name
            }
        }
    }

    func swapBack() throws {
        guard let record = try load() else { return }
        for (database, items) in Dictionary(grouping: record.items, by: \.database).sorted(by: { $0.key < $1.key }) {
            let names = try names(database)
            for item in items.reversed() {
                if let stagedID = item.stagedID, names[stagedID] == item.name {
                    try api.rename(database, stagedID, to: item.staged)
                }
                guard let liveID = item.liveID, names[liveID] == item.old else { continue }
                try api.rename(database, liveID, to: item.name)
            }
        }
    }

    // MARK: Clearing up

    func discard() throws {
        guard let record = try load() else { return }
        try removeStaged(record)
        for (database, items) in Dictionary(grouping: record.items, by: \.database) {
            let names = try names(database)
            for item in items {
                // The old data go only when the restored ones are live.
                guard let stagedID = item.stagedID, names[stagedID] == item.name, let liveID = item.liveID,
                    names[liveID] == item.old
                else { continue }
                try api.delete(database, named: item.old)
            }
        }
        guard unlink(path) == 0 || errno == ENOENT else { throw SystemCallError("remove", path) }
    }

    /// What was staged and is not live, and databases that were made for nothing else.
    private func removeStaged(_ record: Record) throws {
        guard try api.hasTenant() else { return }
        let existing = try api.databases()
        for item in record.items where existing.contains(item.database) {
            // Nothing but this restore makes a collection of that name.
            try api.delete(item.database, named: item.staged)
        }
        for database in record.databases where existing.contains(database) {
            if try api.collections(database).isEmpty { try api.deleteDatabase(database) }
        }
    }

    /// Names by ids; none for a database that does not exist.
    private func names(_ database: String) throws -> [String: String] {
        guard try api.hasDatabase(database) else { return [:] }
        return Dictionary(try api.collections(database).map { ($0.id, $0.name) }) { first, _ in first }
    }

    // MARK: Record

    private func lost() -> LifeboatError { LifeboatError("the record of the restore in '\(path)' is gone") }

    private func load() throws -> Record? {
        if access(path, F_OK) != 0, errno == ENOENT { return nil }
        return try JSONText.decode(Record.self, try SmallFile.read(path), "record '\(path)'")
    }

    private func save(_ record: Record) throws {
        try FileTree.createFolders(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
        try AtomicFile.write(String(decoding: try JSONText.encode(record, pretty: true), as: UTF8.self), to: path)
    }
}
