// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// Single tables in databases where something watches, forbids or computes.
@Suite(.enabled(if: PostgresCluster.shouldRun, .init(rawValue: PostgresCluster.skipReason)))
struct PostgresTableServerTests {
    @Test(arguments: PostgresRelease.allCases.filter(\.shouldRun))
    func `event triggers stay silent; read-only defaults and unchecked constraints stop nothing`(
        release: PostgresRelease
    ) throws {
        let cluster = try PostgresCluster.shared(release)
        try cluster.psql("CREATE DATABASE tbw")
        func psql(_ sql: String) throws -> String {
            try cluster.psql("SET default_transaction_read_only = off; \(sql)", database: "tbw")
        }
        _ = try psql(
            """
            CREATE TABLE log (what text);
            CREATE FUNCTION three(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 3';
            CREATE FUNCTION plain(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN three($1); END';
            CREATE FUNCTION inlined(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT three($1)';
            CREATE TABLE words (id int PRIMARY KEY, w text, d int GENERATED ALWAYS AS (plain(id)) STORED,
                e int GENERATED ALWAYS AS (inlined(id)) STORED, CHECK (plain(id) > 0));
            INSERT INTO words SELECT i, 'w' || i FROM generate_series(1, 9) i;
            ALTER TABLE words ADD CONSTRAINT short CHECK (length(w) > 5) NOT VALID;
            COMMENT ON CONSTRAINT short ON words IS 'later';
            CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS
                $$BEGIN INSERT INTO public.log VALUES (tg_tag); END$$;
            CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no changes here'; END$$;
            CREATE EVENT TRIGGER a_watch ON ddl_command_end EXECUTE FUNCTION watch();
            CREATE EVENT TRIGGER b_watch ON sql_drop EXECUTE FUNCTION watch();
            CREATE EVENT TRIGGER c_forbid ON ddl_command_start EXECUTE FUNCTION forbid();
            ALTER EVENT TRIGGER b_watch ENABLE ALWAYS; TRUNCATE log;
            """)
        try cluster.psql("ALTER DATABASE tbw SET default_transaction_read_only = on")
        let state = """
            SELECT (SELECT string_agg(evtname || evtenabled::text, ',' ORDER BY evtname) FROM pg_event_trigger),
            pg_get_constraintdef(oid), convalidated, obj_description(oid), (SELECT count(*) FROM log),
            (SELECT md5(string_agg(words::text, '|' ORDER BY id)) FROM words)
            FROM pg_constraint WHERE conname = 'short'
            """
        let before = try psql(state)
        let store = PostgresTableStore(cluster.store("tbw", globals: false), tables: ["words"])
        let captured = try CapturedContent(store)
        _ = try psql("DELETE FROM words WHERE id > 3")
        #expect(try store.preflightRestore(captured) == [])
        let staged = try store.planStaging("r1")
        try store.stage(captured, staged, progress: SilentProgress(), cancellation: Cancellation())
        try store.swap(staged)
        #expect(try psql(state) == before)
        #expect(try store.verify(captured) == [])
        try store.swapBack(staged)
        #expect(try psql("SELECT count(*) FROM words") == "3")
        try store.swap(staged)
        try store.discard(staged)
        #expect(try psql(state) == before)
        // And where it was dropped.
        _ = try psql("ALTER EVENT TRIGGER c_forbid DISABLE")
        _ = try psql("DROP TABLE words; TRUNCATE log; ALTER EVENT TRIGGER c_forbid ENABLE")
        _ = try store.preflightRestore(captured)
        let again = try store.planStaging("r2")
        try store.stage(captured, again, progress: SilentProgress(), cancellation: Cancellation())
        try store.swap(again)
        try store.discard(again)
        #expect(try psql(state) == before)
        try cluster.psql("DROP DATABASE tbw")
    }

    @Test func `event triggers that fire are named to a user who cannot silence them`() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.makeDatabase("tbe", rows: 5, owner: "tbe_owner")
        try cluster.psql(
            """
            CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
            CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch()
            """, database: "tbe")
        let store = PostgresTableStore(
            cluster.store("tbe", globals: false, user: "tbe_owner"), tables: ["documents"])
        let captured = try CapturedContent(store)
        let warnings = try store.preflightRestore(captured)
        #expect(warnings.map(\.message) == ["event triggers fire while the tables are exchanged: 'watching'"])
        try cluster.psql("DROP DATABASE tbe")
    }

    @Test func `all that went with a dropped table is named`() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.psql("CREATE DATABASE tbd")
        try cluster.psql(
            """
            CREATE TABLE base (id serial PRIMARY KEY, w text);
            CREATE VIEW v1 AS SELECT * FROM base; CREATE VIEW v2 AS SELECT * FROM v1; CREATE VIEW v3 AS SELECT 1;
            CREATE MATERIALIZED VIEW v4 AS SELECT * FROM v2;
            CREATE TABLE child (extra int) INHERITS (base); INSERT INTO child VALUES (1, 'a', 2);
            CREATE TABLE other (n int DEFAULT nextval('base_id_seq'), b base, bs base[]);
            CREATE TABLE fk (b int REFERENCES base); CREATE FUNCTION f(base) RETURNS int LANGUAGE sql AS 'SELECT 1';
            CREATE POLICY p ON fk USING (EXISTS (SELECT 1 FROM base));
            SET client_min_messages = error; CREATE PUBLICATION pub FOR TABLE base
            """, database: "tbd")
        let store = PostgresTableStore(cluster.store("tbd", globals: false), tables: ["base"])
        let captured = try CapturedContent(store)
        // With children it is not restored by itself, and that is the reason given.
        let refused = #expect(throws: LifeboatError.self) { try store.preflightRestore(captured) }
        #expect(refused?.causes == ["public.base inherits, or is inherited from"])
        try cluster.psql("SET client_min_messages = error; DROP TABLE base CASCADE", database: "tbd")
        let warnings = try store.preflightRestore(captured).map(\.message)
        let lost = [
            "child table public.child and its rows", "columns of table public.other that have its row type",
            "defaults of table public.other on its sequence", "foreign key fk_b_fkey of table public.fk",
            "function public.f(public.base)", "materialized view public.v4", "policy p of table public.fk",
            "the table in publication pub", "view public.v1", "view public.v2",
        ]
        let prefix = "not made again with table public.base: "
        #expect(warnings.count == 2 && warnings.last?.hasPrefix(prefix) == true, "\(warnings)")
        #expect(warnings.last?.dropFirst(prefix.count).split(separator: ", ").map(String.init).sorted() == lost)
        // What is there again is not lost.
        try cluster.psql("CREATE VIEW v1 AS SELECT 1; DROP TABLE other", database: "tbd")
        let rest = try store.preflightRestore(captured).map(\.message)
        #expect(rest.last?.contains("v1") == false && rest.last?.contains("other") == false, "\(rest)")
        try cluster.psql("DROP DATABASE tbd")
    }
}
