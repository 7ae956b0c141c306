// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

@Suite(.enabled(if: ChromaServer.shouldRun, .init(rawValue: ChromaServer.skipReason)))
struct ChromaFolderTests {
    @Test func aRunningServersFolderComesBackWhole() throws {
        let folder = try TemporaryFolder(prefix: "lbchroma-", in: "/tmp")
        defer { try? folder.remove() }
        let state = try TemporaryFolder()
        defer { try? state.remove() }
        let path = "\(folder.path)/data"
        let chroma = try ChromaServer(data: path)
        defer { chroma.remove() }
        _ = try chroma.create("docs", space: "cosine", syncThreshold: 400)
        try chroma.fill("docs", 0..<1500)
        _ = try chroma.create("queued")
        try chroma.fill("queued", 0..<90)
        let expected = [try chroma.everything("docs"), try chroma.everything("queued")]
        let api = ChromaStore(url: chroma.server.url, stateFolder: state.path)
        let store = ChromaFolderStore(path: path, server: api, runner: SystemProcessRunner())
        #expect(try store.probe().warnings == [])

        // Captured while it runs and is written to.
        let isOver = Monitor(false)
        let writer = BlockingThread<Int>(name: "writer") {
            var number = 1500
            while !isOver.withLock({ $0 }), number < 6000 {
                try chroma.fill("docs", number..<number + 20)
                number += 20
                usleep(50_000)
            }
            return number
        }
        usleep(300_000)
        let content: CapturedContent
        do {
            content = try CapturedContent(store)
            isOver.update { $0 = true }
        } catch {
            isOver.update { $0 = true }
            throw error
        }
        let written = try writer.join()
        #expect(written > 1500)
        let counted = try #require(content.facts.counts["records:default_database/docs"])
        #expect((1500...Int64(written)).contains(counted))
        #expect(try children(folder.path) == ["data"])

        // Gone, restored, started.
        chroma.server.kill()
        try FileTree.remove(path)
        _ = try store.preflightRestore(content)
        let plan = try store.planStaging("r", of: content.facts)
        try store.stage(content, plan, progress: SilentProgress(), cancellation: Cancellation())
        try store.swap(plan)
        try store.discard(plan)
        for _ in 0..<2 {
            try chroma.server.start()
            // What was written between the count and the copy is more, never less; every vector finds itself.
            let losses = try store.verify(content).filter { difference in
                guard let found = difference.found.flatMap({ Int64($0) }), let wanted = Int64(difference.expected)
                else { return true }
                return found < wanted
            }
            #expect(losses == [])
            let restored = try chroma.everything("docs")
            #expect(Array(restored.prefix(1500)) == expected[0])
            #expect(try chroma.everything("queued") == expected[1])
            chroma.server.stop()
        }
        #expect(try children(folder.path) == ["data"])
    }

    @Test func whatIsNoChromaFolderOrInWriteAheadModeIsRefused() throws {
        let folder = try TemporaryFolder(prefix: "lbchroma-", in: "/tmp")
        defer { try? folder.remove() }
        let path = "\(folder.path)/data"
        let store = ChromaFolderStore(path: path, runner: SystemProcessRunner())
        #expect(failure { _ = try store.probe() } != nil)
        try FileTree.createFolders(path)
        #expect(failure { _ = try store.probe() }?.message.contains("chroma.sqlite3") == true)
        try AtomicFile.write("no database at all, but long enough", to: "\(path)/chroma.sqlite3")
        #expect(
            failure { _ = try store.fixPoint(Cancellation()) }?.message
                == "'\(path)/chroma.sqlite3' is no SQLite database")
        _ = try SystemProcessRunner().run(
            ProcessCommand(
                "python3",
                [
                    "-c",
                    "import os, sqlite3, sys; os.unlink(sys.argv[1]); d = sqlite3.connect(sys.argv[1]); "
                        + "d.execute('pragma journal_mode=wal'); d.execute('create table t (a)')",
                    "\(path)/chroma.sqlite3",
                ]))
        #expect(failure { _ = try store.fixPoint(Cancellation()) }?.hint?.contains("through the server") == true)
        #expect(try children(folder.path) == ["data"])
    }

    @Test func aWriterWithTheLockIsWaitedForAndOursHoldsItUp() throws {
        let folder = try TemporaryFolder(prefix: "lbchroma-", in: "/tmp")
        defer { try? folder.remove() }
        let path = "\(folder.path)/data"
        try FileTree.createFolders(path)
        // Writes for ever, a transaction at a time; both tables always have the same number of rows.
        let script = """
            import sqlite3, sys
            d = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
            d.execute('create table a (n)'); d.execute('create table b (n)')
            print('ready', flush=True)
            while True:
                d.execute('begin immediate')
                d.executemany('insert into a values (?)', [(i,) for i in range(500)])
                d.executemany('insert into b values (?)', [(i,) for i in range(500)])
                d.execute('commit')
            """
        let writer = try SystemProcessRunner().start(
            ProcessCommand("python3", ["-c", script, "\(path)/chroma.sqlite3"]), pipesInput: false, pipesOutput: true)
        defer { writer.terminate(grace: 0) }
        var buffer = [UInt8](repeating: 0, count: 16)
        _ = try buffer.withUnsafeMutableBytes { try writer.read(into: $0) }
        let store = ChromaFolderStore(path: path, runner: SystemProcessRunner())
        for _ in 0..<5 {
            let content = try CapturedContent(store)
            let target = try TemporaryFolder()
            defer { try? target.remove() }
            let copy = try #require(
                content.trees.values.first?.contents.first { $0.key == Array("chroma.sqlite3".utf8) })
            let file = try OwnedDescriptor.open("\(target.path)/c", O_WRONLY | O_CREAT)
            try copy.value.withUnsafeBytes { try DescriptorIO.write(file.raw, $0, "c") }
            let checked = try SystemProcessRunner().run(
                ProcessCommand(
                    "python3",
                    [
                        "-c",
                        "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); "
                            + "print(d.execute('pragma integrity_check').fetchone()[0], "
                            + "d.execute('select (select count(*) from a) - (select count(*) from b)').fetchone()[0])",
                        "\(target.path)/c",
                    ]))
            #expect(String(decoding: checked.standardOutput, as: UTF8.self) == "ok 0\n", "\(checked.standardError)")
        }
    }

    private func children(_ folder: String) throws -> [String] {
        let result = try SystemProcessRunner().run(ProcessCommand("ls", ["-A", folder]))
        return String(decoding: result.standardOutput, as: UTF8.self).split(separator: "\n").map(String.init)
    }
}
