// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// Databases that come back by hand come back by a restore: functions that count on a search path, extensions of other
/// versions or bound to a name, methods of compression that the server lacks.
@Suite(.enabled(if: PostgresCluster.shouldRun, .init(rawValue: PostgresCluster.skipReason)))
struct PostgresToleranceTests {
    private static let releases = PostgresRelease.allCases.filter(\.shouldRun)

    /// Stages and swaps; what was reported on the way.
    private func restore(
        _ store: PostgresStore, _ captured: CapturedContent, _ id: String = "id"
    ) throws -> (state: StagedState, warnings: [LifeboatError], missing: [LifeboatError]) {
        let progress = RecordedProgress()
        let state = try store.planStaging(id)
        try store.stage(captured, state, progress: progress, cancellation: Cancellation())
        try store.swap(state)
        let warnings = progress.events.compactMap { if case .warning(let error) = $0 { error } else { nil } }
        let missing = progress.events.compactMap { if case .incomplete(let error, _) = $0 { error } else { nil } }
        return (state, warnings, missing)
    }

    @Test(arguments: releases)
    func `functions that name things without a schema compute columns, checks and keys again`(
        release: PostgresRelease
    ) throws {
        let cluster = try PostgresCluster.shared(release)
        try cluster.psql("CREATE ROLE fn_owner LOGIN; CREATE DATABASE fn OWNER fn_owner")
        try cluster.psql(
            "CREATE SCHEMA app AUTHORIZATION fn_owner; ALTER ROLE fn_owner IN DATABASE fn SET search_path = app",
            database: "fn")
        try cluster.psql(
            """
            SET ROLE fn_owner; SET search_path = app;
            CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2';
            CREATE FUNCTION plain(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN twice($1); END';
            CREATE FUNCTION inlined(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT twice($1)';
            CREATE TABLE generated (id int PRIMARY KEY, d int GENERATED ALWAYS AS (plain(id)) STORED);
            CREATE TABLE made (id int, d int GENERATED ALWAYS AS (inlined(id)) STORED);
            CREATE TABLE checked (id int CHECK (plain(id) > 0));
            CREATE DOMAIN even AS int CHECK (plain(VALUE) > 0); CREATE TABLE domained (v even);
            CREATE TABLE parted (k int) PARTITION BY RANGE (plain(k));
            CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
            CREATE VIEW seen AS SELECT d FROM generated;
            INSERT INTO generated VALUES (1), (2); INSERT INTO made VALUES (3); INSERT INTO checked VALUES (4);
            INSERT INTO domained VALUES (5); INSERT INTO parted VALUES (6)
            """, database: "fn")
        let store = cluster.store("fn", globals: false)
        let captured = try store.captureAll()
        let restored = try restore(store, captured)
        #expect(restored.missing.isEmpty, "\(restored.missing)")
        #expect(try store.verify(captured) == [])
        try store.discard(restored.state)
        let sums = "SELECT (SELECT sum(d) FROM app.seen), (SELECT d FROM app.made), (SELECT k FROM app.parted)"
        #expect(try cluster.psql(sums, database: "fn") == "6|6|6")
        let owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'app'"
        #expect(try cluster.psql(owners, database: "fn") == "fn_owner")
        try cluster.psql("DROP DATABASE fn")
        try cluster.psql("DROP ROLE fn_owner")
    }

    @Test(.enabled(if: PostgresRelease.withVector.shouldRun, .init(rawValue: PostgresRelease.withVector.skipReason)))
    func `columns compressed with lz4 come back on a server without it`() throws {
        let source = try PostgresCluster.shared()
        let target = try PostgresCluster.shared(.withVector)
        let methods = "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
        guard try source.psql(methods) == "t", try target.psql(methods) == "f" else { return }
        try source.psql("CREATE DATABASE lz")
        try source.psql(
            """
            CREATE TABLE docs (id int PRIMARY KEY, body text COMPRESSION lz4, other text COMPRESSION pglz);
            INSERT INTO docs SELECT i, repeat(md5(i::text), 200), 'x' FROM generate_series(1, 50) i
            """, database: "lz")
        let captured = try source.store("lz", globals: false).captureAll()
        let store = target.store("lz", globals: false)
        #expect(
            try store.preflightRestore(captured).map(\.message)
                == ["columns of public.docs are compressed with the server's default method, not with lz4"])
        let restored = try restore(store, captured)
        #expect(restored.missing.isEmpty, "\(restored.missing)")
        #expect(try store.verify(captured) == [])
        try store.discard(restored.state)
        let sum = "SELECT md5(string_agg(docs::text, '|' ORDER BY id)) FROM docs"
        #expect(try target.psql(sum, database: "lz") == source.psql(sum, database: "lz"))
        try target.psql("DROP DATABASE lz")
        try source.psql("DROP DATABASE lz")
    }

    /// Files of an extension in a copy of the server that is this process' own.
    private func write(_ cluster: PostgresCluster, _ name: String, _ text: String?) throws {
        let path = "\(cluster.binaries)/../share/extension/\(name)"
        if let text {
            try AtomicFile.write(text, to: path, mode: 0o644)
        } else if unlink(path) != 0 {
            throw SystemCallError("remove", path)
        }
    }

    @Test(.enabled(if: PostgresRelease.withVector.shouldRun, .init(rawValue: PostgresRelease.withVector.skipReason)))
    func `extensions come back at their version where the server has it, else at its default`() throws {
        let cluster = try PostgresCluster.shared(.withVector)
        func control(_ version: String) -> String { "default_version = '\(version)'\nrelocatable = true\n" }
        func script(_ value: Int) -> String { "CREATE FUNCTION ver() RETURNS int LANGUAGE sql AS 'SELECT \(value)';\n" }
        try write(cluster, "lbver.control", control("2.0"))
        for value in 1...2 { try write(cluster, "lbver--\(value).0.sql", script(value)) }
        try cluster.psql("CREATE DATABASE ver")
        try cluster.psql("CREATE EXTENSION lbver VERSION '1.0'; CREATE TABLE t AS SELECT ver()", database: "ver")
        let store = cluster.store("ver", globals: false)
        let captured = try store.captureAll()
        func version() throws -> String { try cluster.psql("SELECT ver()", database: "ver") }
        // Neither a remark nor the default of the server.
        #expect(try store.preflightRestore(captured) == [])
        var restored = try restore(store, captured, "same")
        #expect(try version() == "1")
        try store.discard(restored.state)
        // Listed, and its script fails.
        try write(cluster, "lbver--1.0.sql", "SELECT no_such_function();")
        restored = try restore(store, captured, "fails")
        #expect(
            restored.warnings.map(\.message) == [
                "extension 'lbver' has the default version of the server: the captured one cannot be created"
            ])
        #expect(try version() == "2" && store.verify(captured) == [])
        try store.discard(restored.state)
        // Not there any more; then an older one only.
        let told = "extension 'lbver' will be version 2.0, it was captured at version 1.0"
        try write(cluster, "lbver--1.0.sql", nil)
        #expect(try store.preflightRestore(captured) == [LifeboatError(told)])
        try write(cluster, "lbver--2.0.sql", nil)
        try write(cluster, "lbver--0.9.sql", script(0))
        try write(cluster, "lbver.control", control("0.9"))
        let older = try store.preflightRestore(captured)
        #expect(older.map(\.message) == ["extension 'lbver' will be version 0.9, it was captured at version 1.0"])
        #expect(older.first?.hint == "Install version 1.0 or newer of this extension on the server.")
        restored = try restore(store, captured, "older")
        #expect(try version() == "0" && restored.missing.isEmpty)
        try store.discard(restored.state)
        try cluster.psql("DROP DATABASE ver")
    }

    @Test(.enabled(if: PostgresRelease.withVector.shouldRun, .init(rawValue: PostgresRelease.withVector.skipReason)))
    func `an extension that is bound to the name of its database is created after the exchange`() throws {
        let cluster = try PostgresCluster.shared(.withVector)
        try write(cluster, "lbhome.control", "default_version = '1.0'\nrelocatable = false\nschema = pg_catalog\n")
        try write(
            cluster, "lbhome--1.0.sql",
            """
            DO $$ BEGIN IF current_database() <> 'home' THEN
                RAISE EXCEPTION 'can only create extension in database %', 'home'; END IF; END $$;
            CREATE SCHEMA lbhome; CREATE SEQUENCE lbhome.numbers;
            CREATE TABLE lbhome.job (id bigint PRIMARY KEY DEFAULT nextval('lbhome.numbers'), what text, words text[],
                at timestamptz DEFAULT now(), n int GENERATED ALWAYS AS IDENTITY);
            INSERT INTO lbhome.job (what) VALUES ('made by the script');
            SELECT pg_catalog.pg_extension_config_dump('lbhome.job', '');
            SELECT pg_catalog.pg_extension_config_dump('lbhome.numbers', '');

            """)
        try cluster.psql("CREATE DATABASE home; CREATE ROLE home_reader; CREATE ROLE home_gone")
        try cluster.psql(
            """
            CREATE EXTENSION lbhome; CREATE TABLE plain AS SELECT 1 AS n; CREATE VIEW jobs AS SELECT * FROM lbhome.job;
            INSERT INTO lbhome.job (what, words) SELECT E'tab\\t, \\\\ and \\n ' || i, ARRAY['a', NULL, 'b c']
                FROM generate_series(1, 4) i;
            INSERT INTO lbhome.job (what) VALUES (NULL), ('\\N'); COMMENT ON EXTENSION lbhome IS 'ours';
            GRANT USAGE ON SCHEMA lbhome TO home_reader; GRANT SELECT ON lbhome.job TO home_gone
            """, database: "home")
        let store = cluster.store("home", globals: false)
        let captured = try store.captureAll().changing(streams: { streams in
            let settings = String(decoding: streams["settings"] ?? [], as: UTF8.self)
            streams["settings"] = Array(settings.replacing(#""home_gone","#, with: "").utf8)
        })
        let rows = "SELECT count(*) || md5(string_agg(job::text, '|' ORDER BY id)) FROM lbhome.job"
        let before = try cluster.psql(rows, database: "home")
        try cluster.psql("DROP OWNED BY home_gone; DELETE FROM lbhome.job; DROP VIEW jobs", database: "home")
        try cluster.psql("DROP ROLE home_gone")
        #expect(try store.preflightRestore(captured) == [])
        let restored = try restore(store, captured)
        #expect(restored.missing.isEmpty, "\(restored.missing)")
        for _ in 0..<2 {
            #expect(try cluster.psql(rows, database: "home") == before)
            let differences = try store.verify(captured)
            #expect(differences.map(\.name) == ["acl lbhome.TABLE job"], "\(differences)")
            #expect(differences.allSatisfy { !$0.isLoss && $0.found?.contains("home_gone") == true })
            try store.swapBack(restored.state)
            #expect(try cluster.psql("SELECT count(*) FROM lbhome.job", database: "home") == "0")
            try store.swap(restored.state)
        }
        for _ in 0..<2 { try store.discard(restored.state) }
        #expect(try store.verify(captured) == [])
        #expect(
            try cluster.psql(
                """
                SELECT (SELECT count(*) FROM jobs), (SELECT nextval('lbhome.numbers')),
                has_schema_privilege('home_reader', 'lbhome', 'USAGE'), obj_description(oid, 'pg_extension'),
                (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'lifeboat%') FROM pg_extension
                WHERE extname = 'lbhome'
                """, database: "home") == "7|8|t|ours|0")
        // Where it cannot be there is an error, and the database stays as it was.
        let beside = cluster.store("elsewhere", globals: false)
        let state = try beside.stageAll(captured, "beside")
        let error = #expect(throws: PostgresError.self) { try beside.swap(state) }
        #expect(error?.lifeboatError.causes.first?.hasPrefix("can only create extension in database home") == true)
        try beside.swapBack(state)
        try beside.discard(state)
        #expect(try cluster.databases(like: "elsewhere%") == [])
        try cluster.psql("DROP DATABASE home")
        try cluster.psql("DROP ROLE home_reader")
    }

    @Test(arguments: releases)
    func `what belongs to the database itself comes back`(release: PostgresRelease) throws {
        let cluster = try PostgresCluster.shared(release)
        try cluster.psql(
            """
            CREATE ROLE own_owner LOGIN; CREATE ROLE own_a; CREATE ROLE own_b; CREATE DATABASE own OWNER own_owner;
            GRANT CONNECT ON DATABASE own TO own_a WITH GRANT OPTION; REVOKE TEMPORARY ON DATABASE own FROM PUBLIC;
            SET ROLE own_a; GRANT CONNECT ON DATABASE own TO own_b; RESET ROLE;
            ALTER DATABASE own CONNECTION LIMIT 7; ALTER DATABASE own SET work_mem = '5MB';
            ALTER DATABASE own SET search_path = app, public; ALTER ROLE own_b IN DATABASE own SET work_mem = '6MB';
            COMMENT ON DATABASE own IS 'mine'; ALTER DATABASE own IS_TEMPLATE true
            """)
        // As a provider that is loaded would have put it there.
        try cluster.psql(
            """
            SET allow_system_table_mods = on; INSERT INTO pg_shseclabel
            SELECT oid, 'pg_database'::regclass, 'lifeboat_test', 'classified' FROM pg_database WHERE datname = 'own'
            """)
        let row = """
            SELECT datistemplate, datconnlimit,
            (SELECT string_agg(item::text, ' ' ORDER BY item::text) FROM unnest(datacl) item), pg_get_userbyid(datdba), shobj_description(d.oid, 'pg_database'),
            (SELECT string_agg(setrole::regrole || ':' || item, ' ' ORDER BY setrole::regrole::text, item)
            FROM pg_db_role_setting, unnest(setconfig) item WHERE setdatabase = d.oid) FROM pg_database d WHERE datname = 'own'
            """
        let before = try cluster.psql(row)
        let store = cluster.store("own", globals: false)
        let captured = try store.captureAll()
        let restored = try restore(store, captured)
        #expect(
            restored.missing.map(\.message)
                == ["the security label of provider 'lifeboat_test' of database 'own' is left out"])
        #expect(restored.missing.first?.causes.first?.contains("is not loaded") == true, "\(restored.missing)")
        try store.discard(restored.state)
        #expect(try cluster.psql(row) == before)
        try cluster.psql("ALTER DATABASE own IS_TEMPLATE false")
        try cluster.psql("DROP DATABASE own")
        try cluster.psql("DROP ROLE own_owner; DROP ROLE own_a; DROP ROLE own_b")
    }
}
