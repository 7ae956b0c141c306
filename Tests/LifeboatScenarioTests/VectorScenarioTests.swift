// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// Qdrant (the real engine behind the stand-in of `fixtures/`) and Chroma, end to end with the built program.
@Suite(
    .enabled(
        if: QdrantStandIn.shouldRun && ChromaServer.shouldRun, "needs the Qdrant engine and Chroma (scripts/setup)"))
struct VectorScenarioTests {
    @Test func `collections come back as they were, whatever happens to a backup`() throws {
        let key = "canary-key-7719"
        let qdrant = try QdrantStandIn(key: Secret(key))
        defer { qdrant.remove() }
        let folder = try ScenarioFolder()
        defer { folder.remove() }
        try qdrant.create("docs")
        try qdrant.fill("docs", 0..<1100)
        try qdrant.create("chunks_v1")
        try qdrant.fill("chunks_v1", 0..<300, seed: 5)
        try qdrant.alias("chunks", to: "chunks_v1")
        let expected = [try qdrant.everything("docs"), try qdrant.everything("chunks")]
        try AtomicFile.write("\(key)\n", to: "\(folder.path)/key")
        try writePolicy(
            folder,
            "vectors: {qdrant: {url: \"\(qdrant.server.url)\", api_key: {file: ./key}, collections: [docs, chunks]}}")
        try folder.createRepository()
        try folder.succeed("backup")
        #expect(try qdrant.leftovers() == [])

        // Killed in the middle of a download: its snapshots lie about until the next backup.
        try qdrant.faults(#"{"download_pause":30}"#)
        let killed = try folder.binary.start(["backup"], environment: folder.environment, in: folder.path)
        for _ in 0..<2000 {
            // Both are made: nothing of them is in the works.
            let left = try qdrant.leftovers()
            if left.count == 4, !left.contains(where: { $0.hasPrefix("\(qdrant.server.data)/tmp/") }) { break }
            usleep(50_000)
        }
        #expect(killed.send(SIGKILL))
        _ = try killed.wait()
        try qdrant.faults("{}")
        #expect(try qdrant.leftovers().count == 4)
        try qdrant.fill("docs", 1100..<1150)
        try folder.succeed("backup")
        #expect(try qdrant.leftovers() == [])

        // The server is gone in the middle: incomplete, said so, and never the latest.
        try qdrant.faults(#"{"cut_download":20000}"#)
        let cut = try folder.lifeboat("backup")
        #expect(cut.exit == 3 && cut.error.contains("cannot download snapshot"), "\(cut)")
        try qdrant.faults("{}")
        #expect(try qdrant.leftovers() == [])

        for name in try qdrant.collections() { try qdrant.server.call("DELETE", "/collections/\(name)") }
        let first = try folder.lifeboat("snapshots", "--json").output.split(separator: "\n").first.map(String.init)
        let id = try #require(ScenarioFolder.field("id", of: first ?? ""))
        let restore = try folder.lifeboat("restore", id, "--yes")
        #expect(restore.exit == 0, "\(restore)")
        #expect(try [qdrant.everything("docs"), qdrant.everything("chunks")] == expected)
        try folder.succeed("restore", "latest", "--yes")
        #expect(try qdrant.count("docs") == 1150)
        #expect(try qdrant.leftovers() == [])
        #expect(try qdrant.collections().count == 2)
        let found = try folder.shell("cd '\(folder.path)' && grep -rl '\(key)' repository state cache || :")
        #expect(found.isEmpty, "the key lies in \(found)")
        #expect(!restore.description.contains(key) && !cut.description.contains(key))
    }

    @Test func `records and folders of Chroma come back as they were`() throws {
        let folder = try ScenarioFolder()
        defer { folder.remove() }
        let data = "\(folder.path)/chroma"
        let chroma = try ChromaServer(data: data)
        defer { chroma.remove() }
        _ = try chroma.create("docs", metadata: #"{"f":1.0,"i":1}"#)
        try chroma.fill("docs", 0..<1200)
        let expected = try chroma.everything("docs")
        try writePolicy(folder, "records: {chroma: {url: \"\(chroma.server.url)\"}}")
        try folder.createRepository()
        try folder.succeed("backup")
        try chroma.fill("docs", 1200..<1300)
        try chroma.deleteRecord("docs", 7)
        try folder.succeed("restore", "latest", "--yes")
        #expect(try chroma.everything("docs") == expected)
        #expect(try chroma.collections() == ["docs"])
        chroma.server.stop()
        try chroma.server.start()
        #expect(try chroma.everything("docs") == expected)

        // The same server by its folder, restored while it is down, as services would be.
        try writePolicy(folder, "files: {chroma: {path: ./chroma, url: \"\(chroma.server.url)\"}}")
        try folder.succeed("backup")
        chroma.server.kill()
        try FileTree.remove("\(data)/chroma.sqlite3")
        try AtomicFile.write(
            "services: {commands: {stop: [[\"true\"]], start: [[sh, ./start]]}}\n", to: "\(folder.path)/services")
        try folder.shell("cd '\(folder.path)' && cat services >>lifeboat.yaml")
        let go = "\(folder.path)/go"
        try AtomicFile.write("touch '\(go)'; while [ -e '\(go)' ]; do sleep 0.05; done\n", to: "\(folder.path)/start")
        let starter = BlockingThread<Void>(name: "starter") {
            for _ in 0..<1200 {
                guard access(go, F_OK) != 0 else { break }
                usleep(50_000)
            }
            try chroma.server.start()
            unlink(go)
        }
        try folder.succeed("restore", "latest", "--yes")
        try starter.join()
        #expect(try chroma.everything("docs") == expected)
        let left = try folder.shell("cd '\(folder.path)' && ls -d chroma?* || :")
        #expect(left.isEmpty)
    }

    private func writePolicy(_ folder: ScenarioFolder, _ component: String) throws {
        try AtomicFile.write(
            "stack: vectors\nrepository: ./repository\nencryption: none\ncomponents:\n  \(component)\n",
            to: "\(folder.path)/lifeboat.yaml")
    }
}
