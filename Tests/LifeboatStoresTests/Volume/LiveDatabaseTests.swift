// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// Databases that lie in a volume: seen while it is walked, told or refused; those that have a component of their own
/// left where they are.
@Suite struct LiveDatabaseTests {
    private func capture(_ store: VolumeStore) throws -> (tree: TreeCopy, warnings: [String]) {
        let point = try store.fixPoint(Cancellation())
        defer { point.release() }
        guard case .tree(_, let source) = try #require(point.parts.first) else { throw LifeboatError("no tree") }
        return (try TreeCopy(walking: source), point.warnings.map(\.description))
    }

    /// One of each kind, the PostgreSQL one not running.
    private func makeDatabases(_ scratch: Scratch) throws {
        for name in [
            "data", "data/pg", "data/pg/global", "data/pg/base", "data/pg/base/1", "data/redis",
            "data/redis/appendonlydir", "data/chroma", "data/qdrant", "data/qdrant/collections", "data/plain",
        ] {
            try scratch.folder(name)
        }
        for name in ["data/pg/PG_VERSION", "data/pg/base/1/PG_VERSION"] { try scratch.write(name, "15\n") }
        try scratch.write("data/redis/dump.rdb", "REDIS0011")
        try scratch.write("data/chroma/chroma.sqlite3", "SQLite format 3")
        try scratch.write("data/qdrant/raft_state.json", "{}")
        try SQLiteProgram.createShop(scratch("data/shop.db"), orders: 5)
        // What only has the name.
        try scratch.write("data/plain/dump.rdb", "no database")
        try scratch.write("data/plain/raft_state.json", "{}")
        try scratch.write("data/plain/notes-wal", "no log")
        try scratch.write("data/plain/notes", "text")
        try scratch.write("data/plain/PG_VERSION", "15")
    }

    @Test func `each database of a volume is told with its store and the line that leaves it out`() throws {
        let scratch = try Scratch()
        try makeDatabases(scratch)
        let load = try SQLiteProgram.load(scratch("data/shop.db"), settings: ["wal_autocheckpoint=0"])
        try load.awaitTransactions(1)
        load.kill()
        let (tree, warnings) = try capture(VolumeStore(path: scratch("data")))
        #expect(tree["pg/PG_VERSION"] != nil)
        let text = warnings.joined(separator: "\n")
        for (path, store, pattern) in [
            ("pg", "postgres", "/pg"), ("redis", "redis", "/redis"), ("chroma", "chroma", "/chroma"),
            ("qdrant", "qdrant", "/qdrant"), ("shop.db", "sqlite", "/shop.db*"),
        ] {
            #expect(text.contains("'\(scratch("data"))/\(path)' is "), "\(path) in \(text)")
            #expect(text.contains("'\(store)' component and leave it out here, 'exclude: [\"\(pattern)\"]'"), "\(text)")
        }
        #expect(warnings.count == 5, "\(text)")
        // The advice is good.
        let excluded = VolumeStore(
            path: scratch("data"), exclude: ["/pg", "/redis", "/chroma", "/qdrant", "/shop.db*"])
        #expect(try capture(excluded).warnings.isEmpty)
        #expect(try capture(VolumeStore(path: scratch("data"), liveDatabases: .allow)).warnings.isEmpty)
        // The root itself.
        #expect(try capture(VolumeStore(path: scratch("data/redis"))).warnings.count == 1)
    }

    @Test func `the data of a running PostgreSQL server is refused before it is read`() throws {
        let scratch = try Scratch()
        try makeDatabases(scratch)
        try scratch.write("data/pg/postmaster.pid", "1\n")
        let error = #expect(throws: LifeboatError.self) { _ = try capture(VolumeStore(path: scratch("data"))) }
        let text = try #require(error).description
        #expect(text.contains("'\(scratch("data"))/pg'") && text.contains("'postgres'"), "\(text)")
        #expect(text.contains("exclude: [\"/pg\"]") && text.contains("allow_live_databases: true"), "\(text)")
        #expect(try capture(VolumeStore(path: scratch("data"), liveDatabases: .warn)).warnings.count == 4)
        #expect(try capture(VolumeStore(path: scratch("data"), liveDatabases: .allow)).warnings.isEmpty)
    }

    // MARK: - What belongs to others

    private struct Content: RestoreContent {
        var tree: TreeCopy
        var facts: StoreFacts { StoreFacts() }
        var engineVersion: String? { nil }
        func openStream(_ name: String) throws -> any ByteSource { throw LifeboatError("no stream '\(name)'") }
        func streamSize(_ name: String) -> UInt64? { nil }
        func extractTree(_ name: String, into target: any FileTreeTarget, cancellation: Cancellation) throws {
            try tree.extract(into: target)
        }
    }

    /// A volume with a database and models of other components, and what of it a restore stages.
    private func volume(_ scratch: Scratch) throws -> VolumeStore {
        for name in ["data", "data/app", "data/models"] { try scratch.folder(name) }
        for name in ["data/note", "data/models/weights", "data/app/config"] { try scratch.write(name, name) }
        try SQLiteProgram.createShop(scratch("data/app/shop [1].db"), orders: 5)
        try scratch.write("data/app/shop 1.db", "another file")
        return VolumeStore(path: scratch("data"), others: ["app/shop [1].db", "models"])
    }

    @Test func `what belongs to other components is not captured and stays live through every exchange`() throws {
        let scratch = try Scratch()
        let store = try volume(scratch)
        let (tree, warnings) = try capture(store)
        #expect(warnings.isEmpty)
        #expect(tree.paths == ["", "app", "app/config", "app/shop 1.db", "note"])
        let path = scratch("data/app/shop [1].db")
        let load = try SQLiteProgram.load(path, settings: ["wal_autocheckpoint=0"])
        try load.awaitTransactions(1)
        load.kill()
        let inodes = try ["", "-wal"].map { try FileStatus.at(AT_FDCWD, path + $0).inode }
        try scratch.write("data/note", "changed")
        let state = try store.planStaging("r1")
        // An older snapshot may hold the database and the models, and lack the folder of the database.
        var old = tree.without("app/config").without("app/shop 1.db").without("app")
        let whole = try TreeCopy(of: scratch("data"))
        old.entries += whole.entries.filter { String(decoding: $0.path, as: UTF8.self).hasPrefix("models") }
        old.contents.merge(whole.contents) { kept, _ in kept }
        old.entries.sort { treeOrder($0.path, $1.path) }
        try scratch.write("data/models/weights", "newer weights")
        try store.stage(Content(tree: old), state, progress: SilentProgress(), cancellation: Cancellation())
        func expectLive(_ note: String) throws {
            let live = try TreeCopy(of: scratch("data"))
            #expect(live.content("note") == Array(note.utf8))
            #expect(live.content("models/weights") == Array("newer weights".utf8))
            #expect(try ["", "-wal"].map { try FileStatus.at(AT_FDCWD, path + $0).inode } == inodes)
        }
        for _ in 0..<2 { try store.swap(state) }
        try expectLive("data/note")
        for _ in 0..<2 { try store.swapBack(state) }
        try expectLive("changed")
        // Cut off between the exchange and the move: what is done again finishes it, whichever way.
        for goesOn in [true, false] {
            try Rename.exchange(scratch("data"), scratch("data.lifeboat-r1"))
            if goesOn {
                try store.swap(state)
                try expectLive("data/note")
                try store.swapBack(state)
            } else {
                try store.swapBack(state)
            }
            try expectLive("changed")
        }
        try Rename.exchange(scratch("data"), scratch("data.lifeboat-r1"))
        try store.discard(state)
        try expectLive("data/note")
        #expect(access(scratch("data.lifeboat-r1"), F_OK) != 0)
    }
}
