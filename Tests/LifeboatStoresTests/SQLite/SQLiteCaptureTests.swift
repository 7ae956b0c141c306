// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// Captures of databases that other processes write to, were killed in, or keep to themselves.
@Suite struct SQLiteCaptureTests {
    /// Bytes and place of a file, as far as anybody could have touched it.
    private func fingerprint(_ path: String) throws -> String {
        try SQLiteProgram.run(
            """
            import hashlib, os, sys
            path = sys.argv[1]
            if not os.path.exists(path):
                print("none")
            else:
                status = os.stat(path)
                print(status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode, status.st_uid,
                      hashlib.sha256(open(path, "rb").read()).hexdigest())
            """, path)
    }

    private func names(_ scratch: Scratch) throws -> [String] {
        try TreeCopy(of: scratch.path).paths.filter { !$0.isEmpty }
    }

    /// Writes a captured database to a file and asks it.
    private func ask(_ content: MemoryContent, _ scratch: Scratch, _ sql: String) throws -> String {
        try scratch.folder("out")
        defer { try? TreeRemoval.remove(scratch("out")) }
        try scratch.write("out/copy.db", try #require(content.streams["database"]))
        return try SQLiteProgram.sql(scratch("out/copy.db"), "PRAGMA integrity_check", sql)
    }

    @Test func `a database under constant writes is copied as one moment and its log left alone`() throws {
        let scratch = try Scratch()
        let path = scratch("app.db")
        try SQLiteProgram.createShop(path)
        // Nobody checkpoints: whatever moved from the log into the database would be our doing.
        let load = try SQLiteProgram.load(path, settings: ["wal_autocheckpoint=0"])
        defer { load.kill() }
        try load.awaitTransactions(20)
        let before = try fingerprint(path)
        let log = try FileStatus.at(AT_FDCWD, "\(path)-wal")
        let store = SQLiteStore(path: path, temporaryFolder: scratch.path)
        let point = try store.fixPoint(Cancellation())
        let atPoint = load.transactions
        // The copy is made long after the point, and writers went on meanwhile.
        try load.awaitTransactions(50)
        guard case .stream(let name, let open) = try #require(point.parts.first) else { return }
        let bytes = try MemoryContent.bytes(of: try open())
        let facts = try point.facts()
        point.release()
        let content = MemoryContent(facts, streams: [name: bytes])
        #expect(try ask(content, scratch, SQLiteProgram.wrongOrders) == "0")
        let orders = try #require(facts.counts["rows:orders"])
        #expect(facts.counts["rows:lines"] == 2 * orders)
        // Of the moment of the point, not of the copy: what was committed before it and little after.
        #expect(orders >= 2000 + 20 && orders < Int64(2000 + atPoint + 50))
        #expect(try ask(content, scratch, "SELECT count(*) FROM orders") == "\(orders)")
        #expect(facts.texts["user_version"] == "7" && facts.texts["application_id"] == "1279346757")
        #expect(facts.texts["journal"] == "wal" && facts.texts["integrity"] == "ok")
        // The copy is the database as it is, a write-ahead one.
        #expect(bytes[18] == 2 && bytes[19] == 2)
        try load.awaitTransactions(5)
        load.kill()
        #expect(try fingerprint(path) == before)
        let after = try FileStatus.at(AT_FDCWD, "\(path)-wal")
        #expect(after.inode == log.inode && after.size > log.size)
        #expect(try names(scratch) == ["app.db", "app.db-shm", "app.db-wal"])
    }

    @Test func `what a killed writer left in the log is in the copy and the log stays as it is`() throws {
        let scratch = try Scratch()
        let path = scratch("app.db")
        try SQLiteProgram.createShop(path, orders: 200)
        let load = try SQLiteProgram.load(path, settings: ["wal_autocheckpoint=0"])
        try load.awaitTransactions(30)
        load.kill()
        let before = try (fingerprint(path), fingerprint("\(path)-wal"))
        let content = try MemoryContent(capturing: SQLiteStore(path: path, temporaryFolder: scratch.path))
        #expect(try (fingerprint(path), fingerprint("\(path)-wal")) == before)
        #expect(try names(scratch) == ["app.db", "app.db-shm", "app.db-wal"])
        #expect(try #require(content.facts.counts["rows:orders"]) >= 230)
        #expect(try ask(content, scratch, SQLiteProgram.wrongOrders) == "0")
        let live = try SQLiteProgram.dump(path)
        try scratch.write("copy.db", try #require(content.streams["database"]))
        #expect(try SQLiteProgram.dump(scratch("copy.db")) == live)
    }

    @Test func `a database at rest is left without a trace`() throws {
        for journal in ["wal", "delete"] {
            let scratch = try Scratch()
            let path = scratch("app #1?.db")
            try SQLiteProgram.createShop(path, journal: journal, orders: 300)
            let before = try fingerprint(path)
            let content = try MemoryContent(capturing: SQLiteStore(path: path, temporaryFolder: scratch.path))
            #expect(try fingerprint(path) == before)
            #expect(try names(scratch) == ["app #1?.db"], "\(journal)")
            #expect(try ask(content, scratch, SQLiteProgram.wrongOrders) == "0")
            // Page for page but for the counters of changes and schema and the library's version, which every writer sets.
            let live = try OwnedDescriptor.open(path, O_RDONLY)
            var bytes = [UInt8](repeating: 0, count: 16 << 20)
            let count = try bytes.withUnsafeMutableBytes { try DescriptorIO.read(live.raw, into: $0, path) }
            let copy = try #require(content.streams["database"])
            #expect(copy.count == count)
            let differing = zip(copy, bytes).enumerated().filter { $0.element.0 != $0.element.1 }.map(\.offset)
            let counters = [24..<28, 40..<44, 92..<100]
            #expect(
                differing.allSatisfy { place in counters.contains { $0.contains(place) } }, "\(differing.prefix(20))")
        }
    }

    @Test func `a busy writer of a rollback journal starves no backup and loses no transaction`() throws {
        let scratch = try Scratch()
        let path = scratch("app.db")
        try SQLiteProgram.createShop(path, journal: "delete", orders: 20_000)
        let load = try SQLiteProgram.load(path, settings: ["synchronous=off"])
        defer { load.kill() }
        try load.awaitTransactions(5)
        let content = try MemoryContent(capturing: SQLiteStore(path: path, temporaryFolder: scratch.path))
        // The writer had no error: it goes on.
        try load.awaitTransactions(5)
        load.kill()
        #expect(content.facts.texts["journal"] == "rollback")
        #expect(try ask(content, scratch, SQLiteProgram.wrongOrders) == "0")
        #expect(try #require(content.facts.counts["rows:orders"]) >= 20_005)
    }

    @Test func `a transaction its program was killed in is undone on the copy alone`() throws {
        let scratch = try Scratch()
        let path = scratch("app.db")
        try SQLiteProgram.createShop(path, journal: "delete", orders: 3000)
        let good = try SQLiteProgram.dump(path)
        _ = try? SQLiteProgram.run(
            """
            import os, signal, sqlite3, sys
            database = sqlite3.connect(sys.argv[1], isolation_level=None)
            database.execute("PRAGMA cache_size=5")
            database.execute("BEGIN")
            database.execute("DELETE FROM lines WHERE orderid % 3 = 0")
            database.execute("UPDATE orders SET note = 'half'")
            os.kill(os.getpid(), signal.SIGKILL)
            """, path)
        let before = try (fingerprint(path), fingerprint("\(path)-journal"))
        try #require(before.1 != "none")
        let store = SQLiteStore(path: path, temporaryFolder: scratch.path)
        #expect(try store.probe().warnings.count == 1)
        let content = try MemoryContent(capturing: store)
        #expect(try (fingerprint(path), fingerprint("\(path)-journal")) == before)
        #expect(try names(scratch) == ["app.db", "app.db-journal"])
        try scratch.write("copy.db", try #require(content.streams["database"]))
        #expect(try SQLiteProgram.dump(scratch("copy.db")) == good)
    }

    @Test func `a database that is kept locked is an error that says so`() throws {
        let scratch = try Scratch()
        let path = scratch("app.db")
        try SQLiteProgram.createShop(path, orders: 10)
        let load = try SQLiteProgram.load(path, settings: ["locking_mode=exclusive"], pause: 0.01)
        defer { load.kill() }
        try load.awaitTransactions(2)
        let store = SQLiteStore(path: path, temporaryFolder: scratch.path, patience: 0.3)
        let error = #expect(throws: SQLiteError.self) { try store.probe() }
        #expect(error?.primaryCode == 5)
        let text = try #require(error).lifeboatError.description
        #expect(text.contains(path) && text.contains("locked") && text.contains("hint: "), "\(text)")
        let cancellation = Cancellation()
        cancellation.cancel()
        #expect(throws: LifeboatError.interrupted) { try store.fixPoint(cancellation) }
    }

    @Test func `what is no database is refused by name`() throws {
        let scratch = try Scratch()
        try scratch.write(
            "text.db",
            "hello, this is a text that is longer than one hundred bytes "
                + "and does not begin with the words a database begins with")
        try scratch.write("secret.db", SplitMix64.bytes(7, 8192))
        try scratch.write("short.db", "SQLite format 3\0")
        try scratch.folder("folder.db")
        for name in ["text.db", "secret.db", "short.db", "folder.db", "missing.db"] {
            let store = SQLiteStore(path: scratch(name), temporaryFolder: scratch.path)
            do {
                _ = try store.probe()
                Issue.record("\(name) was taken")
            } catch {
                let text = LifeboatError.converting(error).description
                #expect(text.contains(name), "\(text)")
                if name == "secret.db" { #expect(text.contains("encrypted"), "\(text)") }
            }
        }
    }

    @Test func `an empty file and one behind a link are databases`() throws {
        let scratch = try Scratch()
        try scratch.write("empty.db", "")
        let empty = try MemoryContent(capturing: SQLiteStore(path: scratch("empty.db"), temporaryFolder: scratch.path))
        // SQLite's own form of a database without content: its first page.
        let isSmall = try #require(empty.streams["database"]).count <= 4096
        #expect(isSmall)
        #expect(try ask(empty, scratch, "SELECT count(*) FROM sqlite_schema") == "0")
        try scratch.folder("data")
        try SQLiteProgram.createShop(scratch("data/app.db"), orders: 20)
        #expect(symlink("data/app.db", scratch("link.db")) == 0)
        let linked = try MemoryContent(capturing: SQLiteStore(path: scratch("link.db"), temporaryFolder: scratch.path))
        #expect(linked.facts.counts["rows:orders"] == 20)
        #expect(try names(scratch) == ["data", "data/app.db", "empty.db", "link.db"])
    }

    @Test func `virtual tables and foreign collations are no damage`() throws {
        let scratch = try Scratch()
        let path = scratch("app.db")
        _ = try SQLiteProgram.run(
            """
            import sqlite3, sys
            database = sqlite3.connect(sys.argv[1], isolation_level=None)
            database.create_collation("house", lambda a, b: (a > b) - (a < b))
            database.execute("CREATE VIRTUAL TABLE texts USING fts5(body)")
            database.execute("INSERT INTO texts VALUES ('one'), ('two')")
            database.execute('CREATE TABLE "odd ""name" (word TEXT COLLATE house)')
            database.execute('CREATE INDEX words ON "odd ""name" (word)')
            database.execute('INSERT INTO "odd ""name" VALUES (1), (2), (3)')
            """, path)
        let content = try MemoryContent(capturing: SQLiteStore(path: path, temporaryFolder: scratch.path))
        let rows = content.facts.counts.filter { $0.key.hasPrefix("rows:") }
        #expect(rows == ["rows:odd \"name": 3])
        #expect(content.facts.texts["integrity"]?.hasPrefix("not fully checked: ") == true, "\(content.facts)")
    }

    @Test(arguments: ["wal", "delete"])
    func `what this library does not understand is captured, restored, and not called damage`(_ journal: String) throws
    {
        let scratch = try Scratch()
        let path = scratch("app.db")
        _ = try SQLiteProgram.run(
            """
            import sqlite3, sys
            database = sqlite3.connect(sys.argv[1], isolation_level=None)
            database.create_collation("house", lambda a, b: (a > b) - (a < b))
            database.execute("PRAGMA journal_mode=\(journal)")
            database.execute("CREATE TABLE words (word TEXT COLLATE house PRIMARY KEY, page)")
            database.executemany("INSERT INTO words VALUES (?, ?)", [(str(n), n) for n in range(500)])
            database.execute("CREATE TABLE later (a)")
            database.executemany("INSERT INTO later VALUES (?)", [(n,) for n in range(700)])
            database.execute("CREATE TABLE plain (a)")
            database.execute("INSERT INTO plain VALUES (1)")
            database.execute("PRAGMA writable_schema=ON")
            database.execute("UPDATE sqlite_schema SET sql = 'CREATE TABLE later (a) FUTURE' WHERE name = 'later'")
            database.execute("PRAGMA schema_version=99")
            """, path)
        let store = SQLiteStore(path: path, temporaryFolder: scratch.path)
        let point = try store.fixPoint(Cancellation())
        let content: MemoryContent
        do {
            defer { point.release() }
            guard case .stream(let name, let open) = try #require(point.parts.first) else { return }
            let bytes = try MemoryContent.bytes(of: try open())
            content = MemoryContent(try point.facts(), streams: [name: bytes])
            #expect(point.problems.isEmpty && point.warnings.count == 1, "\(point.warnings)")
        }
        #expect(content.facts.texts["integrity"]?.hasPrefix("not fully checked: ") == true, "\(content.facts)")
        #expect(content.facts.counts["rows:words"] == 500 && content.facts.counts["rows:plain"] == 1)
        unlink(path)
        for ending in ["-wal", "-shm"] { unlink(path + ending) }
        let state = try store.planStaging("r1")
        try store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
        try store.swap(state)
        #expect(try store.verify(content).isEmpty)
        try store.discard(state)
    }

    @Test func `a damaged database is kept and named, and not called complete`() throws {
        let scratch = try Scratch()
        let path = scratch("app.db")
        try SQLiteProgram.createShop(path, journal: "delete", orders: 2000)
        let file = try OwnedDescriptor.open(path, O_RDWR)
        for page in [10, 20, 30] {
            try SplitMix64.bytes(3, 4096).withUnsafeBytes {
                try DescriptorIO.write(file.raw, at: UInt64(page * 4096), $0, path)
            }
        }
        let store = SQLiteStore(path: path, temporaryFolder: scratch.path)
        let point = try store.fixPoint(Cancellation())
        defer { point.release() }
        guard case .stream(_, let open) = try #require(point.parts.first) else { return }
        let bytes = try MemoryContent.bytes(of: try open())
        #expect(UInt64(bytes.count) == (try FileStatus.at(AT_FDCWD, path).size))
        let error = #expect(throws: LifeboatError.self) { try point.facts() }
        #expect(error?.message.contains("is damaged") == true)
        #expect(error?.causes.isEmpty == false)
    }

    @Test func `a database on a file system that is mounted read-only is copied`() throws {
        for journal in ["wal", "delete"] {
            let scratch = try Scratch()
            for name in ["data", "temporary"] { try scratch.folder(name) }
            guard geteuid() == 0, mount("none", scratch("data"), "tmpfs", 0, "size=4m") == 0 else {
                print("skipped: mounting needs root")
                return
            }
            defer { umount(scratch("data")) }
            let path = scratch("data/app.db")
            try SQLiteProgram.createShop(path, journal: journal, orders: 100)
            try #require(mount("none", scratch("data"), "tmpfs", UInt(MS_REMOUNT | MS_RDONLY), nil) == 0)
            let content = try MemoryContent(
                capturing: SQLiteStore(path: path, temporaryFolder: scratch("temporary")))
            #expect(content.facts.counts["rows:orders"] == 100)
            #expect(try ask(content, scratch, SQLiteProgram.wrongOrders) == "0")
            // What cannot be written to is not planned to be exchanged.
            #expect(throws: SystemCallError.self) {
                try SQLiteStore(path: path, temporaryFolder: scratch.path).preflightRestore(content)
            }
        }
    }

    @Test func `without room for the copy nothing is left anywhere`() throws {
        let scratch = try Scratch()
        for name in ["small", "data"] { try scratch.folder(name) }
        guard geteuid() == 0, mount("none", scratch("small"), "tmpfs", 0, "size=1m") == 0 else {
            print("skipped: mounting needs root")
            return
        }
        defer { umount(scratch("small")) }
        guard mount("none", scratch("data"), "tmpfs", 0, "size=12m") == 0 else { return }
        defer { umount(scratch("data")) }
        try SQLiteProgram.createShop(scratch("data/app.db"), journal: "off", orders: 20_000)
        try SQLiteProgram.sql(scratch("data/app.db"), "PRAGMA journal_mode=wal")
        let store = SQLiteStore(path: scratch("data/app.db"), temporaryFolder: scratch("small"))
        let error = #expect(throws: LifeboatError.self) {
            let point = try store.fixPoint(Cancellation())
            defer { point.release() }
            guard case .stream(_, let open) = point.parts[0] else { return }
            _ = try open()
        }
        let text = try #require(error).description
        #expect(text.contains(scratch("small")) && text.contains(scratch("data")) && text.contains("TMPDIR"), "\(text)")
        #expect(try TreeCopy(of: scratch("small")).paths == [""])
        #expect(try TreeCopy(of: scratch("data")).paths == ["", "app.db"])
    }
}
