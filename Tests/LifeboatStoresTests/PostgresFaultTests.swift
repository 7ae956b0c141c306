// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

@Suite(.enabled(if: PostgresCluster.shouldRun, .init(rawValue: PostgresCluster.skipReason)))
struct PostgresFaultTests {
    private func failure(_ body: () throws -> Void) -> LifeboatError? {
        do {
            try body()
            return nil
        } catch { return LifeboatError.converting(error) }
    }

    @Test func serverDownWrongPasswordAndMissingDatabaseAreTold() throws {
        let cluster = try PostgresCluster.start(password: Secret("canary-5f1e-password"))
        defer { cluster.remove() }
        try cluster.makeDatabase("app")
        #expect(try cluster.store("app").probe().engineVersion?.contains(".") == true)

        let missing = failure { _ = try cluster.store("nowhere").probe() }
        #expect(
            missing?.message
                == "PostgreSQL at 127.0.0.1:\(cluster.port) refuses user 'postgres' for database 'nowhere'")
        #expect(missing?.causes == ["database \"nowhere\" does not exist (SQLSTATE 3D000)"])

        let wrong = failure { _ = try cluster.store("app", password: Secret("canary-wrong-password")).probe() }
        #expect(wrong?.causes == ["password authentication failed for user \"postgres\" (SQLSTATE 28P01)"])
        #expect(wrong?.hint?.contains("'password'") == true)
        #expect(wrong?.description.contains("canary") == false)

        try cluster.stop()
        let down = failure { _ = try cluster.store("app").probe() }
        #expect(down?.message == "cannot reach PostgreSQL at 127.0.0.1:\(cluster.port)")
        #expect(down?.causes.first?.contains("Connection refused") == true)
        #expect(down?.description.contains("canary") == false)
    }

    @Test func thePasswordIsInNoArgumentAndNoEnvironment() throws {
        let canary = "canary:8c2b\\pass'word"
        let cluster = try PostgresCluster.start(password: Secret(canary))
        defer { cluster.remove() }
        try cluster.makeDatabase("app", rows: 40_000)
        // Both real programs are looked at by a wrapper while they run, with the eyes of root.
        let look = "for p in /proc/$$ /proc/$child; do tr '\\0' '\\n' < $p/cmdline; tr '\\0' '\\n' < $p/environ; done"
        let folder = try fakeTools(
            cluster, "pg_dump",
            """
            if [ "$1" = --version ]; then exec "$real" --version; fi
            "$real" "$@" & child=$!
            sleep 0.1; { \(look); } >> "$(dirname "$0")/seen" 2>&1
            wait $child
            """)
        defer { try? folder.remove() }
        let captured = try cluster.store("app", binaries: folder.path).captureAll()
        #expect(captured.facts.counts["rows:public.documents"] == 40_000)
        let runner = SystemProcessRunner()
        let seen = try runner.run(ProcessCommand("cat", ["\(folder.path)/seen"]))
        let text = String(decoding: seen.standardOutput, as: UTF8.self)
        #expect(text.contains("--format=custom"))
        #expect(text.contains("PGPASSFILE="))
        #expect(!text.contains("canary"))
        for (name, bytes) in captured.streams where name != "dump" {
            #expect(!String(decoding: bytes, as: UTF8.self).contains("canary"))
        }
    }

    @Test func aDumpKilledInMidStreamThrows() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.makeDatabase("killed", rows: 60_000)
        let folder = try fakeTools(
            cluster, "pg_dump",
            """
            [ "$1" = --version ] || echo $$ > "$(dirname "$0")/pid"
            exec "$real" "$@"
            """)
        defer { try? folder.remove() }
        let point = try cluster.store("killed", binaries: folder.path).fixPoint(Cancellation())
        defer { point.release() }
        let source = try openPart(point, "dump")
        defer { source.close() }
        var buffer = [UInt8](repeating: 0, count: 1000)
        #expect(try buffer.withUnsafeMutableBytes { try source.read(into: $0) } > 0)
        let printed = try SystemProcessRunner().run(ProcessCommand("cat", ["\(folder.path)/pid"]))
        let line = String(decoding: printed.standardOutput, as: UTF8.self).split(separator: "\n").first ?? ""
        #expect(kill(try #require(pid_t(line)), SIGKILL) == 0)
        let error = failure { _ = try CapturedContent.readAll(source) }
        #expect(error?.message == "cannot dump database 'killed' on 127.0.0.1:\(cluster.port)")
        #expect(error?.causes.first == "pg_dump: killed by signal 9")
    }

    @Test(arguments: [
        ("exec head -c 0 /dev/null", "the pg_dump archive is truncated"),
        ("\"$real\" \"$@\" | head -c 20000; exit 0", "the pg_dump archive is truncated"),
        ("echo '-- plain text'; exit 0", "the stream is not a pg_dump archive in custom format"),
        ("\"$real\" \"$@\"; echo trailing; exit 0", "the pg_dump archive is damaged"),
        ("\"$real\" \"$@\"; echo 'out of luck' >&2; exit 1", "pg_dump: exit status 1"),
    ])
    func aDumpThatIsNotWholeThrowsWhateverItsStatus(script: String, cause: String) throws {
        let cluster = try PostgresCluster.shared()
        let name = "broken_\(script.utf8.count)"
        try cluster.makeDatabase(name)
        let folder = try fakeTools(
            cluster, "pg_dump", "if [ \"$1\" = --version ]; then exec \"$real\" --version; fi\n\(script)")
        defer { try? folder.remove() }
        let error = failure { _ = try cluster.store(name, binaries: folder.path).captureAll() }
        #expect(error?.message == "cannot dump database '\(name)' on 127.0.0.1:\(cluster.port)")
        #expect(error?.causes.first == cause)
    }

    @Test func truncatedRolesThrow() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.makeDatabase("broken_roles")
        let folder = try fakeTools(cluster, "pg_dumpall", "\"$real\" \"$@\" | head -n 5; exit 0")
        defer { try? folder.remove() }
        let error = failure { _ = try cluster.store("broken_roles", binaries: folder.path).captureAll() }
        #expect(error?.causes == ["its output is truncated"])
    }

    @Test func aClientOlderThanTheServerIsRefusedBeforeAnythingStarts() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.makeDatabase("old_client")
        let folder = try fakeTools(cluster, "pg_dump", "echo 'pg_dump (PostgreSQL) 12.22 (Debian 12.22-1)'")
        defer { try? folder.remove() }
        let store = cluster.store("old_client", binaries: folder.path)
        let server = try #require(try cluster.store("old_client").probe().engineVersion)
        let major = server.split(separator: ".")[0]
        for error in [failure { _ = try store.probe() }, failure { _ = try store.fixPoint(Cancellation()) }] {
            #expect(error?.message == "pg_dump is too old: it is version 12.22")
            #expect(error?.causes == ["version \(major) or newer is needed for server version \(server)"])
            #expect(error?.hint?.contains("postgresql-client-\(major)") == true)
        }
        let missing = failure { _ = try cluster.store("old_client", binaries: "/nowhere").probe() }
        #expect(missing?.message == "cannot run '/nowhere/pg_dump'")
    }

    @Test func cancellingADumpEndsItAndTheTransaction() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.makeDatabase("cancelled")
        let folder = try fakeTools(
            cluster, "pg_dump", "if [ \"$1\" = --version ]; then exec \"$real\" --version; fi\nexec sleep 1000")
        defer { try? folder.remove() }
        let cancellation = Cancellation()
        let point = try cluster.store("cancelled", binaries: folder.path).fixPoint(cancellation)
        let reading = BlockingThread<Int>(name: "dump") {
            try CapturedContent.readAll(try openPart(point, "dump")).count
        }
        usleep(100_000)
        cancellation.cancel()
        #expect(throws: LifeboatError.interrupted) { try reading.join() }
        #expect(throws: LifeboatError.interrupted) { try point.facts() }
        point.release()
        for _ in 0..<100 {
            guard try sessions(cluster, "cancelled") != "0" else { break }
            usleep(20_000)
        }
        #expect(try sessions(cluster, "cancelled") == "0")
    }

    private func sessions(_ cluster: PostgresCluster, _ database: String) throws -> String {
        try cluster.psql("SELECT count(*) FROM pg_stat_activity WHERE datname LIKE '\(database)%'")
    }

    @Test func cancellingARestoreLeavesOnlyWhatDiscardDrops() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.makeDatabase("stopped", rows: 100)
        let store = cluster.store("stopped")
        let captured = try store.captureAll()
        let folder = try fakeTools(
            cluster, "pg_restore", "if [ \"$1\" = --version ]; then exec \"$real\" --version; fi\nexec sleep 1000")
        defer { try? folder.remove() }
        let slow = cluster.store("stopped", binaries: folder.path)
        let state = try slow.planStaging("id")
        let cancellation = Cancellation()
        let staging = BlockingThread<Void>(name: "stage") {
            try slow.stage(captured, state, progress: SilentProgress(), cancellation: cancellation)
        }
        for _ in 0..<250 {
            guard try cluster.databases(like: "stopped%").count < 2 else { break }
            usleep(20_000)
        }
        cancellation.cancel()
        #expect(throws: LifeboatError.interrupted) { try staging.join() }
        #expect(try cluster.databases(like: "stopped%") == ["stopped", "stopped_lifeboat_id"])
        try store.discard(state)
        #expect(try cluster.databases(like: "stopped%") == ["stopped"])
        #expect(try store.verify(captured) == [])
    }

    @Test func aLongQueryIsCancelledOnTheServer() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.makeDatabase("long_query")
        let store = cluster.store("long_query")
        let cancellation = Cancellation()
        let query = BlockingThread<String?>(name: "query") {
            try store.scalar("SELECT pg_sleep(600)", cancellation: cancellation)
        }
        usleep(100_000)
        cancellation.cancel()
        #expect(throws: LifeboatError.interrupted) { try query.join() }
        #expect(try store.scalar("SELECT 40 + 2") == "42")
        let error = failure { _ = try store.scalar("SELECT nonsense") }
        #expect(error?.causes.first == "column \"nonsense\" does not exist (SQLSTATE 42703)")
    }

    @Test func aDamagedDumpFailsTheRestoreAndKeepsTheLiveData() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.makeDatabase("damaged", rows: 2000)
        let store = cluster.store("damaged")
        let captured = try store.captureAll()
        let cut = captured.changing(streams: { $0["dump"]?.removeLast(100_000) })
        let state = try store.planStaging("id")
        let error = failure {
            try store.stage(cut, state, progress: SilentProgress(), cancellation: Cancellation())
        }
        #expect(error?.message == "cannot restore the dump into database 'damaged_lifeboat_id'")
        #expect(error?.causes.first == "pg_restore: exit status 1")
        try store.discard(state)
        #expect(try cluster.databases(like: "damaged%") == ["damaged"])
        #expect(try store.verify(captured) == [])
    }

    @Test func everyCutOfARealArchiveIsFound() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.makeDatabase("cuts", rows: 20)
        try cluster.psql("SELECT lo_from_bytea(0, 'large'), lo_from_bytea(0, 'object')", database: "cuts")
        let dump = try #require(try cluster.store("cuts").captureAll().streams["dump"])
        func scan(_ bytes: ArraySlice<UInt8>, pieces: Int) throws {
            var scanner = CustomArchiveScanner()
            var rest = bytes
            while !rest.isEmpty {
                let piece = rest.prefix(pieces)
                try Array(piece).withUnsafeBytes { try scanner.consume($0) }
                rest = rest.dropFirst(pieces)
            }
            try scanner.finish()
        }
        for pieces in [1, 7, 1 << 20] { try scan(dump[...], pieces: pieces) }
        for cut in 0..<dump.count {
            #expect(throws: CustomArchiveError.self, "cut at \(cut)") { try scan(dump[..<cut], pieces: 1 << 20) }
        }
        // Damage anywhere may go unnoticed (there is no checksum) but must never trap.
        var random = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            var damaged = dump
            damaged[Int.random(in: 0..<dump.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            try? scan(damaged[...], pieces: 4096)
        }
    }
}
