// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

@Suite(.enabled(if: QdrantStandIn.shouldRun, .init(rawValue: QdrantStandIn.skipReason)))
struct QdrantFaultTests {
    @Test func wrongKeysVersionsAndClustersAreTold() throws {
        let key = Secret("right-canary-4410")
        let qdrant = try QdrantStandIn(key: key)
        defer { qdrant.remove() }
        let state = try TemporaryFolder()
        defer { try? state.remove() }
        try qdrant.create("docs")
        try qdrant.fill("docs", 0..<30)
        let url = qdrant.server.url
        let store = QdrantStore(url: url, key: key, stateFolder: state.path)
        let captured = try capture(store)

        let wrong = failure {
            _ = try QdrantStore(url: url, key: Secret("wrong-canary-5521"), stateFolder: state.path).probe()
        }
        #expect(wrong?.message == "Qdrant at '\(url)' does not let us list the collections")
        #expect(wrong?.hint == "Check the key in the policy: is it right, and may it do this?")
        #expect(wrong?.description.contains("canary") == false)
        let none = failure { _ = try QdrantStore(url: url, stateFolder: state.path).probe() }
        #expect(none?.hint == "The service wants a key: name it in the policy.")

        // The same data under servers that say they are other versions.
        qdrant.server.stop()
        for (version, cause) in [
            ("1.20.3", nil), ("1.19.4", nil),
            ("1.18.0", "the snapshot is of Qdrant 1.19.0, the server is 1.18.0"),
            ("1.21.0", "the snapshot is of Qdrant 1.19.0, the server is 1.21.0"),
            ("2.0.0", "the snapshot is of Qdrant 1.19.0, the server is 2.0.0"),
        ] {
            try qdrant.server.start(adding: ["--version", version])
            #expect(failure { _ = try store.preflightRestore(captured) }?.causes.first == cause)
            qdrant.server.kill()
        }
        try qdrant.server.start(adding: ["--version", "1.16.1"])
        #expect(try store.probe().warnings.count == 1)
        qdrant.server.kill()
        try qdrant.server.start(adding: ["--version", "1.7.4"])
        #expect(failure { _ = try store.probe() }?.message == "Qdrant at '\(url)' is too old to be captured")
        qdrant.server.kill()
        try qdrant.server.start(adding: ["--peers", "2"])
        #expect(failure { _ = try store.probe() }?.causes == ["1 of its shards are on other servers of the cluster"])
        #expect(failure { _ = try store.preflightRestore(captured) }?.causes == ["it is one of 2 servers of a cluster"])
        qdrant.server.kill()
        let down = failure { _ = try store.probe() }
        #expect(down?.hint == "Is the service running, and does it listen on this address?")
    }

    @Test func whatIsCutOffOrDamagedIsNoCaptureAndLeavesNothing() throws {
        let qdrant = try QdrantStandIn()
        defer { qdrant.remove() }
        let state = try TemporaryFolder()
        defer { try? state.remove() }
        for name in ["docs", "more"] {
            try qdrant.create(name)
            try qdrant.fill(name, 0..<400)
        }
        let store = QdrantStore(url: qdrant.server.url, stateFolder: state.path)
        let captured = try capture(store)
        func expectClean(_ comment: Comment) throws {
            #expect(try qdrant.leftovers() == [], comment)
            #expect(try files(in: state.path) == [], comment)
            #expect(try qdrant.collections() == ["docs", "more"], comment)
        }

        try qdrant.faults(#"{"cut_download":50000}"#)
        let cut = failure { _ = try capture(store) }
        #expect(cut?.message.hasPrefix("cannot download snapshot 'docs-4711-") == true)
        try expectClean("cut off")
        try qdrant.faults(#"{"flip_download":70000}"#)
        let flipped = failure { _ = try capture(store) }
        #expect(flipped?.message.hasSuffix("was damaged on its way") == true)
        try expectClean("damaged")
        try qdrant.faults(#"{"create_fails":true}"#)
        let full = failure { _ = try capture(store) }
        #expect(full?.causes.last?.contains("No space left on device") == true)
        try expectClean("disk full")
        // The server makes it, and nobody hears of it.
        try qdrant.faults(#"{"drop_create_answer":true}"#)
        #expect(failure { _ = try store.fixPoint(Cancellation()) } != nil)
        try expectClean("no answer")
        // Cancelled while the server is at it.
        try qdrant.faults(#"{"create_delay":5}"#)
        let cancellation = Cancellation()
        let canceller = BlockingThread<Void>(name: "canceller") {
            usleep(500_000)
            cancellation.cancel()
        }
        let cancelled = failure { _ = try store.fixPoint(cancellation) }
        try canceller.join()
        #expect(cancelled?.exitCode == .interrupted)
        try expectClean("cancelled")
        try qdrant.faults("{}")

        // A point that nobody reads, and one that is let go half-way.
        let unread = try store.fixPoint(Cancellation())
        #expect(try qdrant.leftovers().count == 4)
        unread.release()
        unread.release()
        try expectClean("unread")
        let half = try store.fixPoint(Cancellation())
        let source = try openPart(half, "docs.snapshot")
        var buffer = [UInt8](repeating: 0, count: 100)
        #expect(try buffer.withUnsafeMutableBytes { try source.read(into: $0) } == 100)
        source.close()
        half.release()
        try expectClean("half read")

        // Snapshots that are not what they were: refused before the upload by their length, by the server else.
        let short = captured.changing(streams: { $0["docs.snapshot", default: []].removeLast(512) })
        #expect(failure { _ = try store.preflightRestore(short) }?.exitCode == .incomplete)
        for number in [0, 60_000] {
            let damaged = captured.changing(streams: { $0["docs.snapshot", default: []][number] ^= 1 })
            let plan = try store.planStaging("damaged", of: damaged.facts)
            let refused = failure {
                try store.stage(damaged, plan, progress: SilentProgress(), cancellation: Cancellation())
            }
            #expect(refused?.causes.last?.contains("checksum mismatch") == true)
            try store.swapBack(plan)
            try store.discard(plan)
            try expectClean("damaged snapshot")
        }
    }

    @Test func whatADeadRunLeftIsDeletedByTheNext() throws {
        let qdrant = try QdrantStandIn()
        defer { qdrant.remove() }
        let state = try TemporaryFolder()
        defer { try? state.remove() }
        for name in ["docs", "more"] {
            try qdrant.create(name)
            try qdrant.fill(name, 0..<100)
        }
        // Somebody else's.
        try qdrant.server.call("POST", "/collections/docs/snapshots")
        let foreign = try qdrant.leftovers().sorted()
        sleep(1)
        let store = QdrantStore(url: qdrant.server.url, stateFolder: state.path)
        let point = try store.fixPoint(Cancellation())
        // The server dies while it is read: nothing can be deleted.
        qdrant.server.kill()
        #expect(failure { _ = try CapturedContent.readAll(try openPart(point, "docs.snapshot")) } != nil)
        point.release()
        try qdrant.server.start()
        #expect(try qdrant.leftovers().count == foreign.count + 4)

        // A run that lives is left alone; as soon as it is dead, its snapshots go: the one whose name it knew, and the
        // one it had asked for and never heard of.
        #expect(try store.probe().warnings == [])
        #expect(try qdrant.leftovers().count == foreign.count + 4)
        let record = try #require(try files(in: state.path).first)
        _ = try SystemProcessRunner().run(
            ProcessCommand(
                "python3",
                [
                    "-c",
                    """
                    import json, sys
                    path = sys.argv[1]
                    record = json.load(open(path))
                    record["owner"]["startTicks"] += 1
                    del record["entries"][1]["name"]
                    json.dump(record, open(path, "w"))
                    """, record,
                ]))
        let other = QdrantStore(url: "http://127.0.0.1:1", stateFolder: state.path)
        #expect(failure { _ = try other.probe() } != nil)
        #expect(try store.probe().warnings == [])
        #expect(try qdrant.leftovers().sorted() == foreign)
        #expect(try files(in: state.path) == [])
    }

    @Test(.enabled(if: geteuid() == 0, "needs root, to mount a small file system"))
    func aFullDiskOfTheServerIsTold() throws {
        let folder = try TemporaryFolder(prefix: "lbfull-")
        defer { try? folder.remove() }
        let runner = SystemProcessRunner()
        let mount = try runner.run(
            ProcessCommand("mount", ["-t", "tmpfs", "-o", "size=256m", "tmpfs", folder.path]))
        guard mount.termination.succeeded else { return }
        defer { _ = try? runner.run(ProcessCommand("umount", ["-l", folder.path])) }
        let state = try TemporaryFolder()
        defer { try? state.remove() }
        let qdrant = try QdrantStandIn(data: "\(folder.path)/data")
        defer { qdrant.remove() }
        try qdrant.create("docs", size: 32)
        try qdrant.fill("docs", 0..<500, size: 32)
        let expected = try qdrant.everything("docs")
        let store = QdrantStore(url: qdrant.server.url, stateFolder: state.path)
        let captured = try capture(store)
        func fillDisk(leaving: Int) throws {
            let result = try runner.run(
                ProcessCommand(
                    "sh",
                    [
                        "-c",
                        "free=$(df --output=avail -B1 \"$1\" | tail -n 1); head -c $((free - $2)) /dev/zero >\"$1/filler\"",
                        "sh", folder.path, "\(leaving)",
                    ]))
            #expect(result.termination.succeeded)
        }
        try fillDisk(leaving: 50_000)
        let capturing = failure { _ = try capture(store) }
        #expect(capturing?.causes.first == "the server answered with status 500")
        #expect(try qdrant.leftovers() == [])
        // The upload fits, what is made of it does not.
        let size = captured.streams["docs.snapshot"]?.count ?? 0
        for room in [50_000, size + 100_000, 2 * size + 200_000] {
            unlink("\(folder.path)/filler")
            try fillDisk(leaving: room)
            let plan = try store.planStaging("full", of: captured.facts)
            let staging = failure {
                try store.stage(captured, plan, progress: SilentProgress(), cancellation: Cancellation())
            }
            unlink("\(folder.path)/filler")
            // The engine maps its files: a full disk kills it, as it kills a server.
            if (try? qdrant.collections()) == nil {
                qdrant.server.kill()
                try qdrant.server.start()
            }
            try store.swapBack(plan)
            try store.discard(plan)
            #expect(try qdrant.collections() == ["docs"], "\(room)")
            #expect(try qdrant.leftovers() == [], "\(room)")
            if room == 50_000 { #expect(staging != nil) }
        }
        #expect(try qdrant.everything("docs") == expected)
        #expect(try restore(store, captured, "fits") == [])
        #expect(try qdrant.everything("docs") == expected)
    }
}
