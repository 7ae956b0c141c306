// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

@Suite(.enabled(if: PostgresCluster.shouldRun, .init(rawValue: PostgresCluster.skipReason)))
struct PostgresSwapTests {
    /// A database of 10 rows captured, and 3 rows more in it since.
    private func changed(_ name: String) throws -> (PostgresCluster, PostgresStore, CapturedContent) {
        let cluster = try PostgresCluster.shared()
        try cluster.makeDatabase(name, rows: 10)
        let store = cluster.store(name, globals: false)
        let captured = try store.captureAll()
        try cluster.psql("INSERT INTO documents (title) VALUES ('a'), ('b'), ('c')", database: name)
        return (cluster, store, captured)
    }

    private func count(_ cluster: PostgresCluster, _ name: String) throws -> String {
        try cluster.psql("SELECT count(*) FROM documents", database: name)
    }

    @Test func eachStepCanBeRepeatedAndUndone() throws {
        let (cluster, store, captured) = try changed("sw_steps")
        let state = try store.planStaging("id1")
        // Nothing was staged yet: undoing does nothing.
        try store.swapBack(state)
        try store.discard(state)
        #expect(try count(cluster, "sw_steps") == "13")
        for _ in 0..<2 {
            try store.stage(captured, state, progress: SilentProgress(), cancellation: Cancellation())
        }
        #expect(try cluster.databases(like: "sw_steps%") == ["sw_steps", "sw_steps_lifeboat_id1"])
        for _ in 0..<2 {
            try store.swap(state)
            #expect(try count(cluster, "sw_steps") == "10")
            #expect(try cluster.databases(like: "sw_steps%") == ["sw_steps", "sw_steps_old_id1"])
        }
        for _ in 0..<2 {
            try store.swapBack(state)
            #expect(try count(cluster, "sw_steps") == "13")
            #expect(try cluster.databases(like: "sw_steps%") == ["sw_steps", "sw_steps_lifeboat_id1"])
        }
        try store.swap(state)
        #expect(try count(cluster, "sw_steps") == "10")
        for _ in 0..<2 {
            try store.discard(state)
            #expect(try cluster.databases(like: "sw_steps%") == ["sw_steps"])
            #expect(try count(cluster, "sw_steps") == "10")
        }
        // Kept for good: the restore can no longer be undone, and its mark is gone.
        try store.swapBack(state)
        #expect(try count(cluster, "sw_steps") == "10")
        #expect(
            try cluster.psql(
                "SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE datname = 'sw_steps'"
            ) == "0")
    }

    @Test func discardAfterSwapBackDropsTheRestoredDatabase() throws {
        let (cluster, store, captured) = try changed("sw_back")
        let state = try store.stageAll(captured, "id")
        try store.swap(state)
        try store.swapBack(state)
        for _ in 0..<2 {
            try store.discard(state)
            #expect(try cluster.databases(like: "sw_back%") == ["sw_back"])
            #expect(try count(cluster, "sw_back") == "13")
        }
    }

    @Test func everyHalfWayStateCanBeFinishedOrUndone() throws {
        let (cluster, store, captured) = try changed("sw_half")
        // What a crash in the middle of a swap or swapBack can leave behind.
        let crashes: [(name: String, sql: [String])] = [
            ("live closed, not renamed", ["ALTER DATABASE sw_half ALLOW_CONNECTIONS false"]),
            (
                "renamed, still closed",
                [
                    "ALTER DATABASE sw_half ALLOW_CONNECTIONS false",
                    "BEGIN; ALTER DATABASE sw_half RENAME TO sw_half_old_ID; "
                        + "ALTER DATABASE sw_half_lifeboat_ID RENAME TO sw_half; COMMIT",
                    "ALTER DATABASE sw_half ALLOW_CONNECTIONS false",
                ]
            ),
        ]
        for (index, crash) in crashes.enumerated() {
            for finishes in [true, false] {
                let id = "h\(index)\(finishes ? "f" : "u")"
                let state = try store.stageAll(captured, id)
                for sql in crash.sql { try cluster.psql(sql.replacing("ID", with: id)) }
                if finishes {
                    try store.swap(state)
                    #expect(try count(cluster, "sw_half") == "10", "\(crash.name)")
                }
                try store.swapBack(state)
                #expect(try count(cluster, "sw_half") == "13", "\(crash.name)")
                try store.discard(state)
                #expect(try cluster.databases(like: "sw_half%") == ["sw_half"])
            }
        }
    }

    @Test func aDroppedDatabaseIsRestored() throws {
        let (cluster, store, captured) = try changed("sw_dropped")
        try cluster.psql("DROP DATABASE sw_dropped")
        #expect(try store.preflightRestore(captured) == [])
        let state = try store.stageAll(captured, "id")
        for _ in 0..<2 { try store.swap(state) }
        #expect(try count(cluster, "sw_dropped") == "10")
        for _ in 0..<2 { try store.swapBack(state) }
        #expect(try cluster.databases(like: "sw_dropped%") == ["sw_dropped_lifeboat_id"])
        try store.swap(state)
        for _ in 0..<2 { try store.discard(state) }
        #expect(try store.verify(captured) == [])
    }

    @Test func aDatabaseMadeMeanwhileIsNeverTouched() throws {
        let (cluster, store, captured) = try changed("sw_foreign")
        try cluster.psql("DROP DATABASE sw_foreign")
        let state = try store.stageAll(captured, "id")
        try cluster.makeDatabase("sw_foreign", rows: 77)
        let error = #expect(throws: LifeboatError.self) { try store.swap(state) }
        #expect(error?.causes == ["it was created or replaced since the restore was planned"])
        try store.swapBack(state)
        try store.discard(state)
        #expect(try cluster.databases(like: "sw_foreign%") == ["sw_foreign"])
        #expect(try count(cluster, "sw_foreign") == "77")
    }

    @Test func openConnectionsDoNotHoldUpTheSwap() throws {
        let (cluster, store, captured) = try changed("sw_open")
        let endpoint = PostgresEndpoint(host: cluster.host, port: cluster.port, user: cluster.user)
        let state = try store.stageAll(captured, "id")
        let session = try PostgresConnection(endpoint, database: "sw_open")
        try session.execute("BEGIN")
        try session.execute("LOCK TABLE documents")
        try store.swap(state)
        #expect(throws: PostgresError.self) { try session.execute("SELECT 1") }
        #expect(try count(cluster, "sw_open") == "10")
        #expect(throws: PostgresError.self) { try PostgresConnection(endpoint, database: "sw_open_old_id") }
        try store.discard(state)
    }

    @Test func longNamesAreFittedIntoAnIdentifier() throws {
        let name = String(repeating: "ü", count: 31)
        let (cluster, store, captured) = try changed(name)
        let state = try store.stageAll(captured, "20261121-020000-ab12")
        #expect(state.values.values.allSatisfy { $0.utf8.count <= 63 })
        try store.swap(state)
        #expect(try count(cluster, name) == "10")
        try store.discard(state)
        #expect(throws: LifeboatError.self) { try store.planStaging(String(repeating: "x", count: 41)) }
    }

    @Test func preflightRefusesWhatTheServerCannotHold() throws {
        let (cluster, store, captured) = try changed("sw_preflight")
        func refusal(_ content: CapturedContent, _ store: PostgresStore) -> LifeboatError? {
            do {
                _ = try store.preflightRestore(content)
                return nil
            } catch { return LifeboatError.converting(error) }
        }
        #expect(refusal(captured, store) == nil)
        #expect(
            refusal(captured.changing(engineVersion: "99.1"), store)?.hint
                == "Restore into a server of version 99 or newer.")
        let missing = captured.changing(facts: { $0.texts["extension:no_such_one"] = "0.8.0" })
        #expect(
            refusal(missing, store)?.causes
                == ["the server has no extension 'no_such_one' (version 0.8.0 was captured)"])
        let newer = captured.changing(facts: { $0.texts["extension:plpgsql"] = "99.0" })
        // Whether anything needs the newer version shows when it is made: nothing live is touched by then.
        #expect(
            try store.preflightRestore(newer).map(\.message)
                == ["extension 'plpgsql' will be version 1.0, it was captured at version 99.0"])
        let locale = captured.changing(streams: { streams in
            let settings = String(decoding: streams["settings"] ?? [], as: UTF8.self)
            streams["settings"] = Array(settings.replacing("\"C.UTF-8\"", with: "\"xx_YY.UTF-8\"").utf8)
        })
        #expect(refusal(locale, store)?.causes.first == "the server's host has no locale 'xx_YY.UTF-8'")
        #expect(
            refusal(captured.changing(streams: { $0["dump"] = nil }), store)?.causes == [
                "the snapshot holds no dump of it"
            ])
        let client = captured.changing(facts: { $0.texts["client-version"] = "99.0" })
        #expect(refusal(client, store)?.message.hasPrefix("pg_restore is too old") == true)
        try cluster.psql("CREATE ROLE sw_weak LOGIN")
        #expect(
            refusal(captured, cluster.store("sw_preflight", user: "sw_weak"))?.causes
                == ["user 'sw_weak' may not create databases"])
    }

    @Test func aDumpThatDoesNotFitItsFactsIsNotSwappedIn() throws {
        let (cluster, store, captured) = try changed("sw_facts")
        let state = try store.planStaging("id")
        let wrong = captured.changing(facts: { $0.counts["rows:public.documents"] = 11 })
        let error = #expect(throws: LifeboatError.self) {
            try store.stage(wrong, state, progress: SilentProgress(), cancellation: Cancellation())
        }
        #expect(error?.causes == ["rows:public.documents: 11 in the snapshot, 10 restored"])
        try store.discard(state)
        #expect(try cluster.databases(like: "sw_facts%") == ["sw_facts"])
    }
}
