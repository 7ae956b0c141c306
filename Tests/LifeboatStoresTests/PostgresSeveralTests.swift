// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// Components of several databases.
@Suite(.enabled(if: PostgresCluster.shouldRun, .init(rawValue: PostgresCluster.skipReason)))
struct PostgresSeveralTests {
    private func several(
        _ cluster: PostgresCluster, _ selection: PostgresServerStore.Selection, globals: Bool = true,
        user: String? = nil
    ) -> PostgresServerStore {
        PostgresServerStore(
            endpoint: PostgresEndpoint(
                host: cluster.host, port: cluster.port, user: user ?? cluster.user, password: cluster.password),
            selection: selection, binaries: cluster.binaries, globals: globals, runner: SystemProcessRunner(grace: 1))
    }

    private struct Fixture: DataStoreFixture {
        let cluster: PostgresCluster
        let names: [String]
        let several: PostgresServerStore

        var store: any DataStore { several }

        func contents() throws -> String? {
            let there = try names.filter { try cluster.databases(like: $0) == [$0] }
            if there.isEmpty { return nil }
            return try there.map {
                try cluster.psql(
                    "SELECT count(*), md5(string_agg(d::text, '|' ORDER BY id)) FROM documents d", database: $0)
            }.joined(separator: "\n")
        }

        func change() throws {
            for name in names {
                try cluster.psql("INSERT INTO documents (title) VALUES ('late')", database: name)
            }
        }
        func destroy() throws { for name in names { try cluster.psql("DROP DATABASE \(name) WITH (FORCE)") } }
        func leftovers() throws -> [String] { try names.flatMap { try cluster.databases(like: "\($0)\\_%") } }
    }

    @Test(arguments: DataStoreContract.all.enumerated().map { ($0, $1) })
    func holdTheContract(number: Int, contract: DataStoreContract) throws {
        let cluster = try PostgresCluster.shared()
        let names = ["several\(number)a", "several\(number)b"]
        for name in names { try cluster.makeDatabase(name, rows: 100) }
        try contract.check(
            Fixture(cluster: cluster, names: names, several: several(cluster, .named(names), globals: false)))
    }

    @Test(arguments: DataStoreContract.all.enumerated().map { ($0, $1) })
    func holdTheContractByTheirOwner(number: Int, contract: DataStoreContract) throws {
        let cluster = try PostgresCluster.shared()
        let owner = "several_owner_\(number)"
        let names = ["severalo\(number)a", "severalo\(number)b"]
        try cluster.makeDatabase(names[0], rows: 100, owner: owner)
        try cluster.psql("CREATE DATABASE \(names[1]) OWNER \(owner) TEMPLATE \(names[0])")
        try contract.check(
            Fixture(
                cluster: cluster, names: names,
                several: several(cluster, .named(names), globals: false, user: owner)))
    }

    @Test func allDatabasesAreCapturedAndComeBackOntoANewServer() throws {
        let source = try PostgresCluster.start()
        defer { source.remove() }
        try source.psql("CREATE ROLE app_owner LOGIN; CREATE ROLE reader")
        let odd = "odd/na me.x"
        for name in ["app", odd] { try source.makeDatabase(name, rows: 300) }
        try source.psql("ALTER DATABASE app OWNER TO app_owner; GRANT CONNECT ON DATABASE app TO reader")
        try source.psql("DROP TABLE documents; CREATE TABLE only_here AS SELECT 7 AS n", database: odd)
        try source.psql("CREATE DATABASE a_template IS_TEMPLATE true; CREATE DATABASE closed ALLOW_CONNECTIONS false")
        let all = several(source, .all)
        #expect(try all.databases() == ["app", odd])
        try source.psql("CREATE TABLE notes AS SELECT 1 AS n")
        #expect(try all.databases() == ["app", odd, "postgres"])
        try source.psql("DROP TABLE notes")
        #expect(try all.databases() == ["app", odd])
        for (made, dropped) in [
            ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION f"),
            ("CREATE SCHEMA s", "DROP SCHEMA s"), ("CREATE TYPE e AS ENUM ()", "DROP TYPE e"),
        ] {
            try source.psql(made)
            #expect(try all.databases() == ["app", odd, "postgres"], "\(made)")
            try source.psql(dropped)
        }

        let captured = try CapturedContent(all) {
            // Later than every point: in no dump.
            try source.psql("INSERT INTO documents (title) VALUES ('late')", database: "app")
            try source.psql("INSERT INTO only_here VALUES (8)", database: odd)
        }
        #expect(
            captured.streams.keys.sorted() == [
                "app.dump", "app.settings", "globals", "odd%2Fna%20me.x.dump", "odd%2Fna%20me.x.settings",
            ])
        #expect(captured.facts.texts["databases"] == "app odd%2Fna%20me.x")
        #expect(captured.facts.counts["app/rows:public.documents"] == 300)
        #expect(captured.facts.counts["odd%2Fna%20me.x/rows:public.only_here"] == 1)

        let target = try PostgresCluster.start()
        defer { target.remove() }
        let store = several(target, .all)
        #expect(
            try store.preflightRestore(captured).map(\.message)
                == ["missing roles will be created: 'app_owner', 'reader'"])
        let state = try store.planStaging("r1", of: captured.facts)
        try store.stage(captured, state, progress: SilentProgress(), cancellation: Cancellation())
        // What is staged is nobody's database yet.
        #expect(throws: LifeboatError.self) { try store.databases() }
        try store.swap(state)
        #expect(try store.databases() == ["app", odd])
        #expect(try store.verify(captured) == [])
        try store.discard(state)
        #expect(try target.psql("SELECT n FROM only_here", database: odd) == "7")
        #expect(try target.psql("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'app'") == "app_owner")
        #expect(try target.psql("SELECT has_database_privilege('reader', 'app', 'CONNECT')") == "t")

        // While the old ones are kept they are not captured.
        let again = try store.planStaging("r2", of: captured.facts)
        try store.stage(captured, again, progress: SilentProgress(), cancellation: Cancellation())
        try store.swap(again)
        #expect(try target.databases(like: "%r2").count == 2)
        #expect(try store.databases() == ["app", odd])
        try target.psql("DELETE FROM documents WHERE id = 1", database: "app")
        #expect(
            try store.verify(captured)
                == [FactDifference(name: "app/rows:public.documents", expected: "300", found: "299")])
        try store.swapBack(again)
        #expect(try store.verify(captured) == [])
        try store.discard(again)
    }

    @Test func aPolicyThatChangedRestoresWhatBothKnow() throws {
        let cluster = try PostgresCluster.shared()
        for name in ["chg_a", "chg_b", "chg_c"] { try cluster.makeDatabase(name, rows: 10) }
        let two = several(cluster, .named(["chg_a", "chg_b"]), globals: false)
        let captured = try CapturedContent(two)
        let narrower = several(cluster, .named(["chg_b", "chg_c"]), globals: false)
        #expect(
            try narrower.preflightRestore(captured).map(\.message) == [
                "database 'chg_a' of the snapshot is not in the policy and stays as it is",
                "the snapshot does not hold database 'chg_c', which stays as it is",
            ])
        for name in ["chg_a", "chg_b", "chg_c"] { try cluster.psql("DELETE FROM documents", database: name) }
        func restore(_ store: any DataStore, _ content: CapturedContent, _ id: String) throws {
            let state = try store.planStaging(id, of: content.facts)
            try store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
            try store.swap(state)
            #expect(try store.verify(content) == [])
            try store.discard(state)
        }
        func counts() throws -> [String] {
            try ["chg_a", "chg_b", "chg_c"].map { try cluster.psql("SELECT count(*) FROM documents", database: $0) }
        }
        try restore(narrower, captured, "n")
        #expect(try counts() == ["0", "10", "0"])
        // One of several into a component of one database, and the other way round.
        try restore(cluster.store("chg_a", globals: false), captured, "o")
        #expect(try counts() == ["10", "10", "0"])
        let single = try cluster.store("chg_a", globals: false).captureAll()
        try cluster.psql("DELETE FROM documents", database: "chg_a")
        try restore(two, single, "s")
        #expect(try counts() == ["10", "10", "0"])
        #expect(throws: LifeboatError.self) {
            try several(cluster, .named(["chg_c"])).preflightRestore(captured)
        }
        #expect(throws: LifeboatError.self) {
            try two.preflightRestore(single.changing(facts: { $0.texts["databases"] = nil }))
        }
        #expect(throws: LifeboatError.self) { try cluster.store("chg_c").preflightRestore(captured) }
    }

    @Test func aMissingDatabaseIsNamed() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.makeDatabase("there", rows: 1)
        let store = several(cluster, .named(["there", "nowhere"]))
        let error = #expect(throws: PostgresError.self) { try store.probe() }
        #expect(error?.lifeboatError.message.hasSuffix("for database 'nowhere'") == true)
        #expect(throws: PostgresError.self) { try store.fixPoint(Cancellation()) }
    }

    @Test func namesOfDatabasesSurviveInPartNames() {
        for name in ["app", "odd/na me.x", "ü%2F", ".", "..", "a\u{1}b"] {
            let encoded = PostgresParts.encoded(name)
            #expect(PostgresParts.decoded(encoded[...]) == name)
            #expect(!encoded.contains("/") && !encoded.contains(" "))
        }
        #expect(PostgresParts.decoded("a%2") == nil)
        #expect(PostgresParts.decoded("a%zz") == nil)
    }
}
