// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

@Suite(.enabled(if: PostgresCluster.shouldRun, .init(rawValue: PostgresCluster.skipReason)))
struct PostgresRoundTripTests {
    /// Everything a dump can get wrong: names, owners, sequences, large objects, extensions, settings, privileges.
    static let rich = """
        CREATE EXTENSION pgcrypto; CREATE EXTENSION pg_trgm;
        CREATE SCHEMA "odd "" schema";
        CREATE TABLE "odd "" schema"."it's a
        table" (id int, "col ""x" text);
        INSERT INTO "odd "" schema"."it's a
        table" SELECT i, E'tab\\tquote''back\\\\slash ' || i FROM generate_series(1, 321) i;
        CREATE TABLE documents (id bigserial PRIMARY KEY, title text NOT NULL, checksum bytea);
        INSERT INTO documents (title, checksum) SELECT 'd' || i, digest(i::text, 'sha256') FROM generate_series(1, 5000) i;
        CREATE INDEX ON documents USING gin (title gin_trgm_ops);
        CREATE TABLE parted (d date NOT NULL, v int) PARTITION BY RANGE (d);
        CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
        CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
        INSERT INTO parted SELECT '2026-01-01'::date + i, i FROM generate_series(0, 300) i;
        CREATE TABLE empty (n int);
        CREATE VIEW titles AS SELECT title FROM documents;
        CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM documents;
        CREATE SEQUENCE down INCREMENT -5 START -10; SELECT nextval('down'), nextval('down');
        CREATE SEQUENCE unused;
        SELECT lo_from_bytea(0, decode(repeat('ab', 100000), 'hex')), lo_from_bytea(0, 'second');
        ALTER TABLE empty OWNER TO "rt owner";
        GRANT SELECT ON documents TO rt_reader;
        """

    @Test func everythingComesBackIntoANewServer() throws {
        let source = try PostgresCluster.start()
        defer { source.remove() }
        let name = "app \"odd\" 'name' = 5432"
        try source.psql(
            """
            CREATE ROLE "rt owner" LOGIN PASSWORD 'canary-role-password'; CREATE ROLE rt_reader;
            GRANT rt_reader TO "rt owner";
            CREATE DATABASE \(source.quoted(name)) OWNER "rt owner" TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'
            """)
        try source.psql(
            """
            ALTER DATABASE \(source.quoted(name)) SET search_path TO "$user", public, "odd "" schema";
            ALTER DATABASE \(source.quoted(name)) SET work_mem TO '7MB';
            ALTER DATABASE \(source.quoted(name)) SET app.tenant TO 'it''s "x"';
            ALTER ROLE rt_reader IN DATABASE \(source.quoted(name)) SET statement_timeout TO '9s';
            ALTER DATABASE \(source.quoted(name)) CONNECTION LIMIT 17;
            COMMENT ON DATABASE \(source.quoted(name)) IS 'a ''comment''';
            REVOKE ALL ON DATABASE \(source.quoted(name)) FROM PUBLIC;
            GRANT CONNECT ON DATABASE \(source.quoted(name)) TO rt_reader WITH GRANT OPTION;
            """)
        try source.psql(Self.rich, database: name)
        let captured = try source.store(name).captureAll()

        #expect(captured.facts.counts["rows:public.documents"] == 5000)
        #expect(captured.facts.counts["rows:\"odd \"\" schema\".\"it's a\ntable\""] == 321)
        #expect(captured.facts.counts["rows:public.parted_1"] == 181)
        #expect(captured.facts.counts["rows:public.parted"] == nil)
        #expect(captured.facts.counts["rows:public.empty"] == 0)
        #expect(captured.facts.counts["large-objects"] == 2)
        #expect(captured.facts.texts["extension:pgcrypto"] != nil)
        #expect(captured.facts.texts["sequence:public.documents_id_seq"] == "5000")
        #expect(captured.facts.texts["sequence:public.down"] == "-15")
        #expect(captured.facts.texts["sequence:public.unused"] == "unused")
        #expect(captured.facts.texts["collation"] == "C")
        #expect(captured.streams["dump"]?.starts(with: Array("PGDMP".utf8)) == true)

        let target = try PostgresCluster.start()
        defer { target.remove() }
        let store = target.store(name)
        let warnings = try store.preflightRestore(captured)
        #expect(warnings.map(\.message) == ["missing roles will be created: 'rt owner', 'rt_reader'"])
        let progress = RecordedProgress()
        let state = try store.planStaging("r1")
        try store.stage(captured, state, progress: progress, cancellation: Cancellation())
        #expect(try target.databases(like: "app%").count == 1)
        try store.swap(state)
        #expect(try store.verify(captured) == [])
        try store.discard(state)
        #expect(try target.databases(like: "app%") == [name])
        #expect(
            !progress.events.contains { event in
                if case .note = event { return true }
                if case .warning = event { return true }
                return false
            })

        // The same again from the restored database: equal facts, equal settings, equal roles.
        let again = try store.captureAll()
        #expect(again.facts.counts == captured.facts.counts)
        let changing = ["size"]
        #expect(
            again.facts.texts.filter { !changing.contains($0.key) }
                == captured.facts.texts.filter { !changing.contains($0.key) })
        #expect(again.streams["settings"] == captured.streams["settings"])
        #expect(again.streams["globals"] == captured.streams["globals"])
        let contents = """
            SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM documents t;
            SELECT md5(string_agg(lo_get(oid)::text, '|' ORDER BY oid)) FROM pg_largeobject_metadata;
            SELECT tableowner FROM pg_tables WHERE tablename = 'empty'; SHOW search_path; SHOW app.tenant;
            SELECT nextval('documents_id_seq'), nextval('down');
            SELECT has_database_privilege('rt_reader', current_database(), 'CONNECT WITH GRANT OPTION'),
            has_table_privilege('rt_reader', 'documents', 'SELECT');
            """
        #expect(try target.psql(contents, database: name) == source.psql(contents, database: name))
    }

    @Test func anICUDatabaseKeepsItsLocale() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.psql(
            """
            CREATE DATABASE rt_icu TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'
            LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8' CONNECTION LIMIT 5
            """)
        try cluster.psql("CREATE TABLE t AS SELECT 'ä' AS a", database: "rt_icu")
        let store = cluster.store("rt_icu", globals: false)
        let captured = try store.captureAll()
        let state = try store.stageAll(captured, "id")
        try store.swap(state)
        try store.discard(state)
        #expect(try store.captureAll().streams["settings"] == captured.streams["settings"])
        #expect(try store.verify(captured) == [])
        #expect(String(decoding: captured.streams["settings"] ?? [], as: UTF8.self).contains("de-DE"))
    }

    @Test func equalDatabasesGiveEqualStreams() throws {
        // Roles belong to the whole server: on the shared one other tests make theirs between the two captures.
        let cluster = try PostgresCluster.start()
        defer { cluster.remove() }
        try cluster.makeDatabase("equal_streams")
        let store = cluster.store("equal_streams")
        let one = try store.captureAll()
        let two = try store.captureAll()
        #expect(one.streams["settings"] == two.streams["settings"])
        #expect(one.streams["globals"] == two.streams["globals"])
        // The header holds the time of the dump; nothing else may differ.
        let dumps = try (#require(one.streams["dump"]), #require(two.streams["dump"]))
        #expect(dumps.0.count == dumps.1.count)
        #expect(zip(dumps.0, dumps.1).dropFirst(64).allSatisfy { $0 == $1 })
    }

    @Test func writesAfterThePointAreInNeitherDumpNorFacts() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.makeDatabase("moving", rows: 500)
        let store = cluster.store("moving")
        let captured = try store.captureAll {
            try cluster.psql(
                """
                INSERT INTO documents (title) SELECT 'late' FROM generate_series(1, 300);
                DELETE FROM documents WHERE id <= 10; CREATE TABLE late (n int); INSERT INTO late VALUES (1)
                """, database: "moving")
        }
        #expect(captured.facts.counts["rows:public.documents"] == 500)
        #expect(captured.facts.counts["rows:public.late"] == nil)
        let state = try store.stageAll(captured, "moving")
        try store.swap(state)
        #expect(try store.verify(captured) == [])
        #expect(try cluster.psql("SELECT count(*), min(id) FROM documents", database: "moving") == "500|1")
        try cluster.psql("DELETE FROM documents WHERE id = 7; SELECT setval('documents_id_seq', 3)", database: "moving")
        #expect(
            try store.verify(captured) == [
                FactDifference(name: "rows:public.documents", expected: "500", found: "499"),
                FactDifference(name: "sequence:public.documents_id_seq", expected: "500", found: "3"),
            ])
        try cluster.psql("DROP TABLE documents", database: "moving")
        #expect(try store.verify(captured).first?.found == nil)
        try store.discard(state)
    }

    @Test func aReleasedPointGivesNoFactsAndNoHungTransaction() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.makeDatabase("released")
        let store = cluster.store("released")
        let point = try store.fixPoint(Cancellation())
        #expect(point.parts.map(\.name) == ["settings", "globals", "dump"])
        point.release()
        point.release()
        #expect(throws: LifeboatError.self) { try point.facts() }
        // The snapshot went with its transaction: a dump that starts now fails instead of taking another moment.
        #expect(throws: LifeboatError.self) { try CapturedContent.readAll(try openPart(point, "dump")) }
    }

    @Test func aReadOnlyUserCanCaptureAndIsToldWhatItCannotRead() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.makeDatabase("limited")
        try cluster.psql("CREATE ROLE limited_user LOGIN", database: "limited")
        let store = cluster.store("limited", user: "limited_user")
        let error = #expect(throws: LifeboatError.self) { try store.probe() }
        #expect(error?.message.hasPrefix("user 'limited_user' cannot read all of database 'limited'") == true)
        #expect(error?.hint?.contains("pg_read_all_data") == true)
        try cluster.psql("GRANT pg_read_all_data TO limited_user", database: "limited")
        #expect(try store.probe().warnings.map(\.message) == ["passwords of roles are not captured"])
        let captured = try store.captureAll()
        #expect(captured.facts.counts["rows:public.documents"] == 1000)
        #expect(!String(decoding: captured.streams["globals"] ?? [], as: UTF8.self).contains("PASSWORD"))
        try cluster.psql("ALTER TABLE documents ENABLE ROW LEVEL SECURITY", database: "limited")
        #expect(throws: LifeboatError.self) { try store.probe() }
    }
}
