// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// The built program on SQLite databases and models that lie inside of a volume.
@Suite struct FileStoreScenarioTests {
    private static let policy = """
        stack: desk
        repository: ./repository
        encryption: none
        components:
          documents: {volume: {path: ./tree}}
          shop: {sqlite: {path: ./tree/app/shop.db}}
        """

    private func field(_ name: String, in text: String) -> Int? {
        text.firstRange(of: "\"\(name)\":").flatMap { Int(text[$0.upperBound...].prefix { $0.isNumber }) }
    }

    @Test func `a database that is written to is backed up, lost and restored beside the volume it lies in`() throws {
        let folder = try ScenarioFolder(inMemory: false)
        defer { folder.remove() }
        try folder.growTree(seed: 4)
        try FileTree.createFolders("\(folder.tree)/app")
        let shop = "\(folder.tree)/app/shop.db"
        try SQLiteProgram.createShop(shop, orders: 1000)
        try AtomicFile.write(Self.policy, to: "\(folder.path)/lifeboat.yaml")
        try folder.createRepository()
        let documents = try folder.fingerprint("\(folder.tree)/nested")

        let load = try SQLiteProgram.load(shop)
        defer { load.kill() }
        try load.awaitTransactions(10)
        let backup = try folder.lifeboat("backup")
        #expect(backup.exit == 0 && backup.error.isEmpty, "\(backup)")
        try load.awaitTransactions(10)
        let show = try folder.lifeboat("show", "latest", "--json")
        let orders = try #require(field("rows:orders", in: show.output), "\(show)")
        #expect(orders >= 1010 && field("rows:lines", in: show.output) == 2 * orders, "\(show)")

        // While its program runs it is not exchanged, and nothing else is either.
        let live = try FileStatus.at(AT_FDCWD, folder.tree).inode
        let refused = try folder.lifeboat("restore", "latest", "--yes")
        #expect(refused.exit != 0 && refused.error.contains("in use"), "\(refused)")
        #expect(try FileStatus.at(AT_FDCWD, folder.tree).inode == live)
        try load.awaitTransactions(3)
        load.kill()

        // The database alone, with a log of its own beside it; then the volume alone; then all, from nothing.
        let one = try folder.lifeboat("restore", "latest", "--component", "shop", "--yes")
        #expect(one.exit == 0, "\(one)")
        #expect(try SQLiteProgram.sql(shop, "SELECT count(*) FROM orders") == "\(orders)")
        #expect(try SQLiteProgram.sql(shop, SQLiteProgram.wrongOrders) == "0")
        try SQLiteProgram.sql(
            shop, "INSERT INTO orders VALUES (-1, 'kept')", "INSERT INTO lines VALUES (-1, -1, 'a'), (-2, -1, 'b')")
        try folder.change(seed: 5)
        let two = try folder.lifeboat("restore", "latest", "--component", "documents", "--yes")
        #expect(two.exit == 0, "\(two)")
        #expect(try SQLiteProgram.sql(shop, "SELECT note FROM orders WHERE id = -1") == "kept")
        #expect(try folder.fingerprint("\(folder.tree)/nested") == documents)
        try folder.shell("rm -rf '\(folder.tree)'")
        try FileTree.createFolders("\(folder.tree)/app")
        let all = try folder.lifeboat("restore", "latest", "--yes")
        #expect(all.exit == 0, "\(all)")
        #expect(try SQLiteProgram.sql(shop, "SELECT count(*) FROM orders") == "\(orders)")
        #expect(try SQLiteProgram.sql(shop, SQLiteProgram.wrongOrders, "PRAGMA integrity_check") == "ok")
        #expect(try folder.fingerprint("\(folder.tree)/nested") == documents)
        let left = try folder.shell("cd '\(folder.path)' && find . -name '*.lifeboat-*'")
        #expect(left.isEmpty)

        // Without a policy: the database as a file.
        let loose = try folder.lifeboat(
            "restore", "latest", "--repository", folder.repository, "--to", "\(folder.path)/out")
        #expect(loose.exit == 0, "\(loose)")
        #expect(try SQLiteProgram.sql("\(folder.path)/out/shop/shop.db", SQLiteProgram.wrongOrders) == "0")
    }

    @Test func `a copy that cannot be written or is cut off leaves nothing, and no complete snapshot`() throws {
        let folder = try ScenarioFolder()
        defer { folder.remove() }
        try FileTree.createFolders("\(folder.tree)/app")
        try FileTree.createFolders("\(folder.path)/temporary")
        try SQLiteProgram.createShop("\(folder.tree)/app/shop.db", orders: 2000)
        try AtomicFile.write(Self.policy, to: "\(folder.path)/lifeboat.yaml")
        try folder.createRepository()
        func state(_ names: String) throws -> String {
            try folder.shell("cd '\(folder.tree)/app' && sha256sum \(names)")
        }
        let before = try state("*")
        var told = 0
        for (kind, position) in [
            (ScenarioFault.Kind.error(ENOSPC), 20),
            (.error(ENOSPC), 60), (.error(ENOSPC), 90), (.errorFromThere(ENOSPC), 3), (.kill, 20), (.kill, 60),
            (.kill, 90),
        ] {
            let fault = ScenarioFault(kind, at: position, of: ["write"])
            let report = "\(folder.path)/fault-report"
            let environment = try fault.environment(report: report).merging(["TMPDIR": "\(folder.path)/temporary"]) {
                $1
            }
            let run = try folder.lifeboat(["backup", "shop"], environment: environment)
            #expect(run.exit != 0, "\(kind) at \(position): \(run)")
            if run.error.contains("SQLITE_FULL") || run.error.contains("SQLITE_IOERR") {
                told += 1
                #expect(run.error.contains("shop.db' cannot be copied to") && run.error.contains("hint: "), "\(run)")
            }
            let left = try folder.shell("find '\(folder.path)/temporary' '\(folder.tree)' -size +0 -name 'database*'")
            #expect(left.isEmpty, "\(kind) at \(position)")
            // What was killed, or has no room at all, may leave an empty log, as any reader does.
            let isOrderly = kind == .error(ENOSPC)
            #expect(try state(isOrderly ? "*" : "shop.db") == before, "\(kind) at \(position)")
            let latest = try folder.lifeboat("show", "latest", "--json")
            #expect(latest.exit != 0, "\(latest)")
        }
        #expect(told > 0)
        #expect(try folder.lifeboat("backup").exit == 0)
        #expect(try state("*") == before, "and the next run takes it away")
    }

    @Test(.enabled(if: ModelFixture.isThere))
    func `models kept whole come back, and those kept as a list are asked for`() throws {
        let folder = try ScenarioFolder(inMemory: false)
        defer { folder.remove() }
        try folder.growTree(seed: 4)
        let models = "\(folder.tree)/ollama"
        try ModelFixture.makeOllama(models)
        func writePolicy(_ keep: String) throws {
            try AtomicFile.write(
                """
                stack: desk
                repository: ./repository
                encryption: none
                components:
                  documents: {volume: {path: ./tree}}
                  models: {models: {path: ./tree/ollama, layout: ollama, keep: \(keep)}}
                """, to: "\(folder.path)/lifeboat.yaml")
        }
        try writePolicy("bytes")
        try folder.createRepository()
        try folder.shell("rm '\(models)'/blobs/*partial*")
        let before = try folder.fingerprint(models)
        let backup = try folder.lifeboat("backup")
        #expect(backup.exit == 0 && backup.error.isEmpty, "\(backup)")
        let show = try folder.lifeboat("show", "latest", "--json")
        #expect(show.output.contains("\"model:minilm:latest\":\"sha256:"), "\(show)")

        // One bit of the weights.
        let weights = try folder.shell("cd '\(models)' && ls -S blobs/* | head -n 1")
        try ModelFixture.flip("\(models)/\(weights)", at: 2_000_000)
        let damaged = try folder.lifeboat("backup")
        #expect(damaged.exit == 3 && damaged.error.contains(weights), "\(damaged)")
        #expect(damaged.error.contains("its content is sha256:"), "\(damaged)")
        let restore = try folder.lifeboat("restore", "latest", "--yes")
        #expect(restore.exit == 0, "\(restore)")
        #expect(try folder.fingerprint(models) == before)

        try writePolicy("manifest")
        let list = try folder.lifeboat("backup")
        #expect(list.exit == 0, "\(list)")
        let there = try folder.lifeboat("restore", "latest", "--yes")
        #expect(there.exit == 0, "\(there)")
        #expect(try folder.fingerprint(models) == before)
        try folder.shell("rm '\(models)/\(weights)'")
        try folder.change(seed: 6)
        let absent = try folder.lifeboat("restore", "latest", "--yes")
        #expect(absent.exit == 3, "\(absent)")
        #expect(absent.error.contains("fetch it with: ollama pull minilm:latest"), "\(absent)")
        // The rest was restored all the same.
        #expect(access("\(folder.tree)/nested/changing", F_OK) != 0)
    }
}
