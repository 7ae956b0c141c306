// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// What happens to the server while lifeboat works with it.
@Suite(.enabled(if: PostgresCluster.shouldRun, .init(rawValue: PostgresCluster.skipReason)))
struct PostgresServerFaultTests {
    @Test func aServerKilledInMidCaptureFailsTheCaptureAndTheNextOneWorks() throws {
        let cluster = try PostgresCluster.start()
        defer { cluster.remove() }
        try cluster.makeDatabase("app", rows: 60_000)
        // The test cluster commits without waiting for its disk.
        try cluster.psql("CHECKPOINT")
        let store = cluster.store("app")
        let point = try store.fixPoint(Cancellation())
        let source = try openPart(point, "dump")
        var buffer = [UInt8](repeating: 0, count: 1000)
        #expect(try buffer.withUnsafeMutableBytes { try source.read(into: $0) } > 0)
        try cluster.kill()
        let error = #expect(throws: LifeboatError.self) { _ = try CapturedContent.readAll(source) }
        #expect(error?.message == "cannot dump database 'app' on 127.0.0.1:\(cluster.port)")
        #expect(error?.causes.first?.hasPrefix("pg_dump: ") == true)
        #expect(throws: (any Error).self) { try point.facts() }
        for _ in 0..<2 { point.release() }
        #expect(throws: (any Error).self) { try store.fixPoint(Cancellation()) }
        try cluster.start()
        #expect(try store.captureAll().facts.counts["rows:public.documents"] == 60_000)
    }

    @Test func aServerKilledWhileStagingLeavesTheLiveDataAndWhatDiscardDrops() throws {
        let cluster = try PostgresCluster.start()
        defer { cluster.remove() }
        try cluster.makeDatabase("app", rows: 20_000)
        try cluster.psql("CHECKPOINT")
        let store = cluster.store("app")
        let captured = try store.captureAll()
        let state = try store.planStaging("id")
        let folder = try fakeTools(
            cluster, "pg_restore",
            """
            case "$*" in *--section=data*) touch "$(dirname "$0")/loading"; head -c 500000 | "$real" "$@" & sleep 1000;; esac
            exec "$real" "$@"
            """)
        defer { try? folder.remove() }
        let slow = cluster.store("app", binaries: folder.path)
        let cancellation = Cancellation()
        let staging = BlockingThread<Void>(name: "stage") {
            try slow.stage(captured, state, progress: SilentProgress(), cancellation: cancellation)
        }
        for _ in 0..<600 {
            guard access("\(folder.path)/loading", F_OK) != 0 else { break }
            usleep(50_000)
        }
        try cluster.kill()
        cancellation.cancel()
        #expect(throws: (any Error).self) { try staging.join() }
        try cluster.start()
        #expect(try store.verify(captured) == [])
        try store.swapBack(state)
        try store.discard(state)
        #expect(try cluster.databases(like: "app%") == ["app"])
    }

    @Test(.enabled(if: geteuid() == 0, "mounts a file system"))
    func aFullDiskOfTheServerIsToldAndLeavesRoomAgain() throws {
        let cluster = try PostgresCluster.start()
        defer { cluster.remove() }
        let place = "\(cluster.folder)/small"
        try FileTree.createFolders(place)
        func run(_ words: String...) throws {
            let result = try SystemProcessRunner().run(ProcessCommand(words[0], Array(words.dropFirst())))
            try #require(result.termination.succeeded, "\(result.standardError)")
        }
        // Room for the database of about 23 MB, and not for another one.
        try run("mount", "-t", "tmpfs", "-o", "size=36m", "tmpfs", place)
        defer { _ = umount2(place, Int32(MNT_DETACH)) }
        try run("chown", "--reference=\(cluster.folder)", place)
        try cluster.psql("CREATE TABLESPACE small LOCATION '\(place)'")
        try cluster.psql("CREATE DATABASE app TABLESPACE small")
        try cluster.psql(
            "CREATE TABLE documents AS SELECT i AS id, repeat(md5(i::text), 20) AS body FROM generate_series(1, 22000) i",
            database: "app")
        // What is only in the server's memory yet would need room of its own, and no database could be dropped.
        try cluster.psql("CHECKPOINT")
        let store = cluster.store("app")
        let captured = try store.captureAll()
        // Known beforehand; what comes after is for a disk that fills meanwhile.
        #expect(try store.stagingRoom(captured)?.place == place)
        let refused = #expect(throws: LifeboatError.self) { try store.preflightRestore(captured) }
        #expect(refused?.message == "there is no room to restore \(store.subject) beside the live data")
        let state = try store.planStaging("id")
        let error = #expect(throws: LifeboatError.self) {
            try store.stage(captured, state, progress: SilentProgress(), cancellation: Cancellation())
        }
        #expect(error?.message.contains("'app_lifeboat_id'") == true)
        #expect(error?.causes.joined().contains("No space left on device") == true, "\(String(describing: error))")
        try store.discard(state)
        #expect(try cluster.databases(like: "app%") == ["app"])
        #expect(try store.verify(captured) == [])
        try cluster.psql("INSERT INTO documents VALUES (0, 'room again')", database: "app")
    }

    @Test func anotherVersionOfTheSortOrderIsReported() throws {
        let cluster = try PostgresCluster.start()
        defer { cluster.remove() }
        try cluster.psql(
            """
            CREATE DATABASE app TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'
            LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'
            """)
        try cluster.psql("CREATE TABLE t (a text COLLATE \"de-x-icu\"); INSERT INTO t VALUES ('ä')", database: "app")
        let store = cluster.store("app", globals: false)
        #expect(try store.probe().warnings == [])
        let captured = try store.captureAll()
        let version = try #require(captured.facts.texts["collation-version"])
        #expect(try store.preflightRestore(captured) == [])
        // As after the host's library changed.
        try cluster.psql(
            """
            UPDATE pg_database SET datcollversion = '1.2' WHERE datname = 'app';
            UPDATE pg_collation SET collversion = '1.3' WHERE collname IN ('de-x-icu', 'fr-x-icu')
            """, database: "app")
        let warnings = try store.probe().warnings
        #expect(warnings.count == 2)
        #expect(
            warnings.first?.causes == ["they were built with collation version 1.2, the host has \(version)"])
        #expect(warnings.last?.causes == ["the host has another version of: 'de-x-icu'"])
        #expect(warnings.allSatisfy { $0.hint?.contains("REINDEX") == true })

        let other = captured.changing(facts: { $0.texts["collation-version"] = "1.2" })
        let told = "text in \(store.subject) may sort in another order than when it was captured"
        #expect(try store.preflightRestore(other).map(\.message) == [told])
        let progress = RecordedProgress()
        let state = try store.planStaging("id")
        try store.stage(other, state, progress: progress, cancellation: Cancellation())
        let reported = progress.events.compactMap {
            if case .warning(let warning) = $0 { warning.message } else { nil }
        }
        #expect(reported == [told])
        try store.swap(state)
        // Every index of the restored database was built by this host.
        #expect(try store.probe().warnings.map(\.causes) == [])
        try store.discard(state)
    }

    @Test func aDatabaseWithoutARowComesBackWithItsSequences() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.psql("CREATE DATABASE no_rows")
        let store = cluster.store("no_rows", globals: false)
        // Nothing at all, then a sequence, then an index without rows.
        for sql in ["SELECT 1", "CREATE SEQUENCE s; SELECT setval('s', 41)", "CREATE TABLE t (n int PRIMARY KEY)"] {
            try cluster.psql(sql, database: "no_rows")
            let captured = try store.captureAll()
            let state = try store.stageAll(captured, "id")
            try store.swap(state)
            #expect(try store.verify(captured) == [])
            try store.discard(state)
        }
        #expect(try cluster.psql("SELECT nextval('s')", database: "no_rows") == "42")
        // A stream that ends early is noticed here too.
        let captured = try store.captureAll()
        let cut = captured.changing(streams: { $0["dump"]?.removeLast(3) })
        #expect(throws: LifeboatError.self) { try store.stageAll(cut, "cut") }
        try store.discard(try store.planStaging("cut"))
        #expect(try cluster.databases(like: "no_rows%") == ["no_rows"])
    }
}
