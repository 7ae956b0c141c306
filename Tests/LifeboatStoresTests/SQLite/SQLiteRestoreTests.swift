// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// Restores beside a database whose log still holds what the database itself does not.
@Suite struct SQLiteRestoreTests {
    private struct Shop {
        let scratch: Scratch
        let store: SQLiteStore
        let content: MemoryContent
        /// All the database held when it was captured, and all it holds now, much of it in the log alone.
        let saved: String
        let changed: String

        var path: String { scratch("app.db") }

        init() throws {
            scratch = try Scratch()
            let path = scratch("app.db")
            try SQLiteProgram.createShop(path, orders: 300)
            if geteuid() == 0 { #expect(chown(path, 12345, 54321) == 0) }
            #expect(chmod(path, 0o640) == 0)
            store = SQLiteStore(path: path, temporaryFolder: scratch.path)
            saved = try SQLiteProgram.dump(path)
            content = try MemoryContent(capturing: store)
            let load = try SQLiteProgram.load(path, settings: ["wal_autocheckpoint=0"])
            try load.awaitTransactions(10)
            load.kill()
            // On a copy: reading the live one would move its log into it.
            changed = try SQLiteProgram.run(
                """
                import os, shutil, sqlite3, sys, tempfile
                with tempfile.TemporaryDirectory() as folder:
                    for suffix in ["", "-wal"]:
                        shutil.copy(sys.argv[1] + suffix, folder + "/x" + suffix)
                    print("\\n".join(sqlite3.connect(folder + "/x").iterdump()))
                """, path)
            #expect(changed != saved)
        }

        func names() throws -> [String] { try TreeCopy(of: scratch.path).paths.filter { !$0.isEmpty } }

        func stage() throws -> StagedState {
            #expect(try store.preflightRestore(content).isEmpty)
            let state = try store.planStaging("r1")
            try store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
            return state
        }
    }

    @Test func `a restored database is whole, and has neither log nor owner of another`() throws {
        let shop = try Shop()
        let log = try FileStatus.at(AT_FDCWD, "\(shop.path)-wal")
        let state = try shop.stage()
        #expect(try FileStatus.at(AT_FDCWD, "\(shop.path)-wal") == log)
        for _ in 0..<2 { try shop.store.swap(state) }
        #expect(access("\(shop.path)-wal", F_OK) != 0)
        #expect(try shop.store.verify(shop.content).isEmpty)
        let status = try FileStatus.at(AT_FDCWD, shop.path)
        #expect(status.mode & 0o777 == 0o640)
        if geteuid() == 0 { #expect(status.userID == 12345 && status.groupID == 54321) }
        #expect(try SQLiteProgram.dump(shop.path) == shop.saved)
        for _ in 0..<2 { try shop.store.discard(state) }
        #expect(try shop.names() == ["app.db"])
        #expect(try SQLiteProgram.sql(shop.path, "PRAGMA journal_mode") == "wal")
    }

    @Test func `access list, extended attributes and file flags come back, and nobody gains access`() throws {
        let scratch = try Scratch()
        let path = scratch("app.db")
        try SQLiteProgram.createShop(path, orders: 3)
        #expect(chmod(path, 0o640) == 0)
        // Version 2: owner rw, user 12345 rw, group nothing, mask rw, others nothing.
        let none: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF]
        let accessList: [UInt8] =
            [2, 0, 0, 0] + [1, 0, 6, 0] + none + [2, 0, 6, 0, 0x39, 0x30, 0, 0] + [4, 0, 0, 0] + none
            + [0x10, 0, 6, 0] + none + [0x20, 0, 0, 0] + none
        // Of this scope: a descriptor that is closed later would take SQLite's locks along.
        do {
            let file = try OwnedDescriptor.open(path, O_RDONLY)
            let attributes = ExtendedAttributes.Subject.descriptor(file.raw)
            try ExtendedAttributes.set(attributes, name: Array("user.note".utf8), value: [1, 0, 255])
            try ExtendedAttributes.set(attributes, name: Array("system.posix_acl_access".utf8), value: accessList)
            if geteuid() == 0 { try FileFlags.set(file.raw, 0x40) }
        }
        let before = try Self.kept(path)
        let store = SQLiteStore(path: path, temporaryFolder: scratch.path)
        let content = try MemoryContent(capturing: store)
        unlink(path)
        try SQLiteProgram.createShop(path, orders: 1)
        let state = try store.planStaging("r1")
        try store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
        try store.swap(state)
        try store.discard(state)
        #expect(try Self.kept(path) == before)
        #expect(before.mode == 0o660 && before.attributes.count >= 2)
    }

    private struct Kept: Equatable {
        var mode: UInt32
        var attributes: [[UInt8]]
        var flags: UInt32
    }

    private static func kept(_ path: String) throws -> Kept {
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        return Kept(
            mode: try FileStatus.of(file.raw).mode & 0o7777,
            attributes: try ExtendedAttributes.all(.descriptor(file.raw)).map { $0.name + [0] + $0.value },
            flags: try FileFlags.get(file.raw))
    }

    @Test(.enabled(if: geteuid() == 0, "needs root"))
    func `a database that is immutable is refused before anything is changed`() throws {
        let shop = try Shop()
        try Self.setFlags(shop.path, FileFlags.immutable)
        defer { try? Self.setFlags(shop.path, 0) }
        let error = #expect(throws: LifeboatError.self) { try shop.store.preflightRestore(shop.content) }
        #expect(error?.causes == ["it is immutable (chattr +i)"])
    }

    private static func setFlags(_ path: String, _ flags: UInt32) throws {
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        try FileFlags.set(file.raw, flags)
    }

    @Test func `what is exchanged back has its log again, whatever the restored one wrote meanwhile`() throws {
        let shop = try Shop()
        let state = try shop.stage()
        try shop.store.swap(state)
        let load = try SQLiteProgram.load(shop.path, settings: ["wal_autocheckpoint=0"])
        try load.awaitTransactions(5)
        // Its program still runs: exchanging now would let it write into the wrong file.
        #expect(throws: LifeboatError.self) { try shop.store.swapBack(state) }
        load.kill()
        for _ in 0..<2 { try shop.store.swapBack(state) }
        #expect(try FileStatus.at(AT_FDCWD, "\(shop.path)-wal").size > 0)
        // And forth again, with what was written in between.
        try shop.store.swap(state)
        #expect(
            Int(try SQLiteProgram.sql(shop.path, "SELECT count(*) FROM orders")) ?? 0 >= 305)
        #expect(try SQLiteProgram.sql(shop.path, SQLiteProgram.wrongOrders) == "0")
        try shop.store.swapBack(state)
        try shop.store.discard(state)
        #expect(try SQLiteProgram.dump(shop.path) == shop.changed)
        #expect(try shop.names() == ["app.db"])
    }

    /// Every state that a crash between two renames leaves: sidecars moved one by one, the exchange done or not.
    @Test(arguments: 0..<4) func `a swap that was cut off goes on and goes back`(_ moved: Int) throws {
        for goesOn in [true, false] {
            let shop = try Shop()
            let state = try shop.stage()
            let staged = "\(shop.path).lifeboat-r1"
            if moved > 0 { #expect(rename("\(shop.path)-wal", "\(staged)-wal") == 0) }
            if moved > 1 { #expect(rename("\(shop.path)-shm", "\(staged)-shm") == 0) }
            if moved > 2 { try Rename.exchange(shop.path, staged) }
            if goesOn {
                try shop.store.swap(state)
                #expect(try SQLiteProgram.dump(shop.path) == shop.saved)
            } else {
                try shop.store.swapBack(state)
                #expect(try SQLiteProgram.dump(shop.path) == shop.changed)
            }
            try shop.store.discard(state)
            #expect(try shop.names() == ["app.db"])
        }
    }

    @Test func `a database that is gone comes back, and not with the log of another`() throws {
        let shop = try Shop()
        unlink(shop.path)
        #expect(try shop.store.verify(shop.content).map(\.name) == ["database"])
        let state = try shop.stage()
        try shop.store.swap(state)
        #expect(try SQLiteProgram.dump(shop.path) == shop.saved)
        try shop.store.discard(state)
        #expect(try shop.names() == ["app.db"])
    }

    @Test func `a database in use is not exchanged`() throws {
        let shop = try Shop()
        let state = try shop.stage()
        let load = try SQLiteProgram.load(shop.path, pause: 0.01)
        try load.awaitTransactions(1)
        let error = #expect(throws: LifeboatError.self) { try shop.store.swap(state) }
        #expect(error?.message.contains("in use") == true)
        try load.awaitTransactions(1)
        load.kill()
        try shop.store.discard(state)
        #expect(try SQLiteProgram.sql(shop.path, SQLiteProgram.wrongOrders) == "0")
    }

    @Test func `a cut or spoilt copy is never exchanged`() throws {
        let shop = try Shop()
        var content = shop.content
        let bytes = try #require(content.streams["database"])
        let state = try shop.store.planStaging("r1")
        for spoilt in [Array(bytes.dropLast(4096 * 20)), bytes.replacing(9000..<13000, with: 0xA5), [1, 2, 3]] {
            content.streams["database"] = spoilt
            #expect(throws: (any Error).self) {
                try shop.store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
            }
            #expect(throws: LifeboatError.self) { try shop.store.swap(state) }
        }
        content = shop.content
        content.facts.counts["rows:orders"] = 299
        #expect(throws: LifeboatError.self) {
            try shop.store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
        }
        try shop.store.discard(state)
        #expect(try shop.names() == ["app.db", "app.db-shm", "app.db-wal"])
    }

    @Test func `rows that are missing or different are told`() throws {
        let shop = try Shop()
        var content = shop.content
        content.facts.counts["rows:orders"] = 1_000_000
        content.facts.counts["rows:gone"] = 5
        content.facts.texts["user_version"] = "8"
        let differences = try shop.store.verify(content)
        #expect(differences.map(\.name) == ["rows:gone", "rows:lines", "rows:orders", "user_version"])
        #expect(differences[0].found == nil && differences[3].found == "7")
    }
}

extension [UInt8] {
    fileprivate func replacing(_ range: Range<Int>, with byte: UInt8) -> [UInt8] {
        var copy = self
        for index in range where copy.indices.contains(index) { copy[index] = byte }
        return copy
    }
}
