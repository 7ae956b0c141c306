// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// Single tables brought back into a live database.
@Suite(.enabled(if: PostgresCluster.shouldRun, .init(rawValue: PostgresCluster.skipReason)))
struct PostgresTableTests {
    /// Customers with orders with items, and all that could go off when rows come and go.
    private static let shop = """
        CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
        CREATE TABLE orders (id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES customers ON DELETE CASCADE,
            total numeric(10,2) NOT NULL CHECK (total >= 0), gross numeric GENERATED ALWAYS AS (total * 1.25) STORED,
            placed date DEFAULT current_date);
        CREATE TABLE items (id int GENERATED ALWAYS AS IDENTITY (INCREMENT 10) PRIMARY KEY,
            "order" bigint NOT NULL CONSTRAINT "item's order" REFERENCES orders ON DELETE CASCADE DEFERRABLE,
            what text UNIQUE DEFERRABLE INITIALLY DEFERRED);
        CREATE TABLE log (what text);
        COMMENT ON CONSTRAINT "item's order" ON items IS 'a ''comment''';
        COMMENT ON COLUMN orders.total IS 'net';
        CREATE INDEX orders_by_day ON orders (placed DESC) WHERE total > 0;
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO public.log VALUES (TG_OP); RETURN NULL; END $$;
        CREATE TRIGGER note_rows AFTER INSERT OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION note();
        CREATE TRIGGER note_all AFTER TRUNCATE ON orders FOR EACH STATEMENT EXECUTE FUNCTION note();
        CREATE TRIGGER note_off AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note();
        ALTER TABLE orders ENABLE ALWAYS TRIGGER note_all;
        ALTER TABLE orders DISABLE TRIGGER note_off;
        CREATE RULE note_rule AS ON INSERT TO customers DO ALSO (INSERT INTO log VALUES ('a'); INSERT INTO log VALUES ('b'));
        CREATE VIEW big AS SELECT id FROM orders WHERE total > 50;
        ALTER TABLE customers DISABLE RULE note_rule;
        INSERT INTO customers SELECT i, 'customer ' || i FROM generate_series(1, 20) i;
        ALTER TABLE customers ENABLE RULE note_rule;
        INSERT INTO orders (customer, total, placed) SELECT 1 + i % 20, i, '2026-01-01' FROM generate_series(0, 99) i;
        INSERT INTO items ("order", what) SELECT 1 + i % 100, E'item\\t' || i || '\\' FROM generate_series(1, 300) i;
        TRUNCATE log;
        """

    private struct Shop {
        let cluster: PostgresCluster
        let name: String
        let captured: CapturedContent

        init(_ name: String, _ release: PostgresRelease = .installed, also sql: String = "") throws {
            cluster = try PostgresCluster.shared(release)
            self.name = name
            try cluster.psql("CREATE DATABASE \(cluster.quoted(name))")
            try cluster.psql(PostgresTableTests.shop + sql, database: name)
            captured = try cluster.store(name, globals: false).captureAll()
        }

        /// A new one each time, as in another process.
        func store(_ tables: String..., user: String? = nil) -> PostgresTableStore {
            PostgresTableStore(cluster.store(name, globals: false, user: user), tables: tables)
        }

        @discardableResult
        func psql(_ sql: String) throws -> String { try cluster.psql(sql, database: name) }

        func rows(_ table: String) throws -> String {
            try psql("SELECT count(*) || ':' || md5(string_agg(t::text, '|' ORDER BY t::text)) FROM \(table) t")
        }

        func stage(_ tables: String..., id: String = "r1") throws -> StagedState {
            let store = PostgresTableStore(cluster.store(name, globals: false), tables: tables)
            let state = try store.planStaging(id, of: captured.facts)
            try store.stage(captured, state, progress: SilentProgress(), cancellation: Cancellation())
            return state
        }

        func refusal(_ tables: String..., user: String? = nil) -> LifeboatError? {
            do {
                _ = try PostgresTableStore(cluster.store(name, globals: false, user: user), tables: tables)
                    .preflightRestore(captured)
                return nil
            } catch { return LifeboatError.converting(error) }
        }

        func schemas() throws -> String {
            try psql("SELECT string_agg(nspname, ' ' ORDER BY 1) FROM pg_namespace WHERE nspname LIKE 'lifeboat%'")
        }

        /// Everything about the tables but their rows.
        func definitions() throws -> String {
            try psql(
                """
                SELECT conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated,
                    obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE connamespace = 'public'::regnamespace
                    ORDER BY 1::text, 2;
                SELECT tgrelid::regclass, tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger
                    WHERE NOT tgisinternal ORDER BY 1::text, 2;
                SELECT ev_class::regclass, rulename, ev_enabled FROM pg_rewrite WHERE rulename LIKE 'note%';
                SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1;
                SELECT relname, relkind, relowner::regrole, relacl, relrowsecurity, obj_description(oid, 'pg_class')
                    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S') ORDER BY 1;
                SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                    a.attgenerated, col_description(c.oid, a.attnum), pg_get_expr(d.adbin, d.adrelid)
                    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
                    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' ORDER BY 1, 2;
                SELECT relname, polname, pg_get_expr(polqual, polrelid) FROM pg_policy
                    JOIN pg_class c ON c.oid = polrelid ORDER BY 1, 2;
                """)
        }
    }

    @Test(arguments: PostgresRelease.allCases.filter(\.shouldRun))
    func rowsComeBackAndNothingIsSetOff(release: PostgresRelease) throws {
        let shop = try Shop(
            "tb_rows", release,
            also: """
                ; ALTER TABLE customers ADD COLUMN code int; UPDATE customers SET code = id * 7;
                CREATE UNIQUE INDEX customers_code ON customers (code) WITH (fillfactor = 60);
                CREATE TABLE codes (code int REFERENCES customers (code));
                INSERT INTO codes SELECT code FROM customers WHERE id < 9;
                CREATE INDEX customers_name ON customers (lower(name) DESC) WHERE id > 3;
                COMMENT ON INDEX customers_name IS 'kept'; CREATE INDEX ON customers USING hash (name);
                """)
        let (customers, orders) = (try shop.rows("customers"), try shop.rows("orders"))
        try shop.psql(
            """
            UPDATE customers SET name = 'overwritten'; ALTER TABLE customers DISABLE RULE note_rule;
            INSERT INTO customers VALUES (99, 'later'); ALTER TABLE customers ENABLE RULE note_rule;
            DELETE FROM items WHERE id < 1000; TRUNCATE log
            """)
        let (items, definitions) = (try shop.rows("items"), try shop.definitions())
        #expect(try shop.store("customers", "ORDERS").preflightRestore(shop.captured) == [])
        let state = try shop.stage("customers", "ORDERS")
        #expect(try shop.psql("SELECT count(*) FROM customers") == "21")
        try shop.store("customers", "orders").swap(state)
        #expect(try shop.rows("customers") == customers)
        #expect(try shop.rows("orders") == orders)
        // Neither a cascade nor a trigger nor a rule, and everything is as it was and at work again.
        #expect(try shop.rows("items") == items)
        #expect(try shop.psql("SELECT count(*) FROM log") == "0")
        #expect(try shop.definitions() == definitions)
        #expect(try shop.store("customers", "orders").verify(shop.captured) == [])
        try shop.psql("INSERT INTO orders (customer, total) VALUES (1, 1)")
        #expect(try shop.psql("SELECT string_agg(what, ',') FROM log") == "INSERT")
        #expect(try shop.psql("SELECT reltuples FROM pg_class WHERE relname = 'customers'") == "20")
        // A capture in between does not take along what is kept for a way back.
        let between = try shop.cluster.store(shop.name, globals: false).captureAll()
        #expect(!between.facts.counts.keys.contains { $0.contains("lifeboat") })
        #expect(!String(decoding: between.streams["dump"] ?? [], as: UTF8.self).contains("lifeboat_old"))
        #expect(try shop.store().asideBytes(state) ?? 0 > 0)
        try shop.store().discard(state)
        #expect(try shop.schemas() == "")
    }

    @Test func keysAndNumbersOfSequencesAreRight() throws {
        let shop = try Shop("tb_keys")
        let (orders, items) = (try shop.rows("orders"), try shop.rows("items"))
        try shop.psql(
            """
            DELETE FROM items; DELETE FROM orders WHERE id > 10;
            INSERT INTO items ("order", what) VALUES (1, 'x'); SELECT setval('orders_id_seq', 50)
            """)
        let given = try shop.psql("SELECT last_value FROM items_id_seq")
        let state = try shop.stage("public.orders", "items", "\"items\"")
        try shop.store().swap(state)
        #expect(try shop.rows("orders") == orders)
        #expect(try shop.rows("items") == items)
        // Never behind the rows, and never back to a number that was given out since.
        #expect(try shop.psql("SELECT last_value FROM orders_id_seq") == "100")
        #expect(try shop.psql("SELECT last_value FROM items_id_seq") == given)
        try shop.psql("INSERT INTO items (\"order\", what) SELECT id, 'new' FROM orders WHERE id = 100")
        #expect(try shop.psql("SELECT gross FROM orders WHERE id = 81") == "100.0000")
        #expect(try shop.psql("SELECT min(id), count(DISTINCT id) FROM items") == "1|301")
    }

    @Test(arguments: PostgresRelease.allCases.filter(\.shouldRun))
    func aDroppedTableIsMadeAgain(release: PostgresRelease) throws {
        let role = "tb_owner_\(release)".lowercased()
        try PostgresCluster.shared(release).psql("CREATE ROLE \(role)")
        let shop = try Shop(
            "tb_dropped", release,
            also: """
                ; ALTER TABLE orders OWNER TO \(role); GRANT SELECT, INSERT ON orders TO PUBLIC; GRANT USAGE ON SEQUENCE
                orders_id_seq TO PUBLIC; GRANT UPDATE (total) ON orders TO PUBLIC; ALTER TABLE orders ENABLE ROW LEVEL
                SECURITY; CREATE POLICY own ON orders USING (total > 0); ALTER TABLE items OWNER TO \(role);
                CREATE STATISTICS orders_stat ON customer, total FROM orders; COMMENT ON TABLE orders IS 'it''s';
                COMMENT ON INDEX orders_by_day IS 'by day'; ALTER TABLE orders ALTER COLUMN placed SET STATISTICS 7;
                GRANT CREATE ON SCHEMA public TO \(role);
                """)
        let (definitions, orders, items) = (try shop.definitions(), try shop.rows("orders"), try shop.rows("items"))
        try shop.psql("DROP TABLE orders, items CASCADE")
        let store = shop.store("orders", "items")
        let warnings = try store.preflightRestore(shop.captured).map(\.message)
        #expect(
            warnings == [
                "table public.orders is not there, and will be made as the snapshot has it",
                "not made again with table public.orders: view public.big",
                "table public.items is not there, and will be made as the snapshot has it",
            ])
        #expect(try store.verify(shop.captured).map(\.found) == [nil, nil])
        let state = try shop.stage("orders", "items")
        for _ in 0..<2 {
            for _ in 0..<2 { try shop.store().swap(state) }
            #expect(try shop.definitions() == definitions)
            #expect(try shop.rows("orders") == orders)
            #expect(try shop.rows("items") == items)
            #expect(try shop.psql("SELECT nextval('orders_id_seq') FROM log LIMIT 1; SELECT count(*) FROM log") == "0")
            #expect(try store.verify(shop.captured) == [])
            for _ in 0..<2 { try shop.store().swapBack(state) }
            #expect(try shop.psql("SELECT to_regclass('orders') IS NULL, to_regclass('items_id_seq') IS NULL") == "t|t")
        }
        try shop.store().swap(state)
        for _ in 0..<2 { try shop.store().discard(state) }
        // Kept for good.
        try shop.store().swapBack(state)
        #expect(try shop.rows("orders") == orders)
        #expect(try shop.schemas() == "")
        // Without its parent there is nothing a foreign key could point at.
        try shop.psql("DROP TABLE orders CASCADE; DROP TABLE items; DROP TABLE customers")
        #expect(
            shop.refusal("items")?.causes
                == ["a foreign key of public.items needs table public.orders, which is not there"])
        #expect(shop.refusal("items", "orders")?.hint == "Restore it too: --table public.customers.")
    }

    @Test func aForeignKeyThatWouldNotHoldChangesNothing() throws {
        let shop = try Shop("tb_missing")
        try shop.psql("DELETE FROM items; DELETE FROM customers WHERE id = 7; TRUNCATE log")
        let before = try ["customers", "orders", "items", "log"].map { try shop.rows($0) } + [shop.definitions()]
        let state = try shop.stage("orders")
        let error = #expect(throws: LifeboatError.self) { try shop.store("orders").swap(state) }
        #expect(error?.message.hasPrefix("cannot swap table 'orders' of database 'tb_missing'") == true)
        #expect(error?.causes.first == "foreign key orders_customer_fkey of table public.orders would not hold")
        #expect(error?.causes.contains { $0.contains("Key (customer)=(7) is not present") } == true)
        #expect(error?.hint?.hasPrefix("Nothing was changed.") == true)
        let after = try ["customers", "orders", "items", "log"].map { try shop.rows($0) } + [shop.definitions()]
        #expect(after == before)
        #expect(try shop.schemas() == "lifeboat_new_r1")
        try shop.store().swapBack(state)
        try shop.store().discard(state)
        // With the other end of it all is well.
        let both = try shop.stage("orders", "customers", id: "r2")
        try shop.store().swap(both)
        #expect(try shop.store("orders", "customers").verify(shop.captured) == [])
        #expect(try shop.psql("SELECT count(*) FROM orders") == "100")
        // Services ran and rely on a restored row: the way back would break that, and is not taken in part either.
        try shop.psql("INSERT INTO items (\"order\", what) SELECT id, 'new' FROM orders WHERE customer = 7 LIMIT 1")
        let restored = try shop.rows("customers")
        let back = #expect(throws: LifeboatError.self) { try shop.store("orders").swapBack(both) }
        #expect(back?.causes.first == "foreign key \"item's order\" of table public.items would not hold")
        #expect(try shop.rows("customers") == restored)
        try shop.psql("DELETE FROM items WHERE what = 'new'")
        try shop.store("orders").swapBack(both)
        #expect(try shop.psql("SELECT count(*) FROM customers WHERE id = 7") == "0")
    }

    @Test func everyStepIsTakenUpByAnotherProcess() throws {
        let shop = try Shop("tb_steps")
        let restored = try shop.rows("orders")
        try shop.psql("UPDATE orders SET total = 1; DELETE FROM orders WHERE id = 3")
        let live = try shop.rows("orders")
        let store = shop.store("orders")
        let state = try store.planStaging("r1", of: shop.captured.facts)
        // Nothing yet; then a staging that was cut off, which nobody may take for whole.
        try store.swapBack(state)
        try store.discard(state)
        let cut = shop.captured.changing(streams: { $0["dump"]?.removeLast(8000) })
        #expect(throws: LifeboatError.self) {
            try store.stage(cut, state, progress: SilentProgress(), cancellation: Cancellation())
        }
        let wrong = shop.captured.changing(facts: { $0.counts["rows:public.orders"] = 101 })
        #expect(throws: LifeboatError.self) {
            try store.stage(wrong, state, progress: SilentProgress(), cancellation: Cancellation())
        }
        let unfinished = #expect(throws: LifeboatError.self) { try shop.store().swap(state) }
        #expect(unfinished?.causes == ["not all of their rows were staged"])
        #expect(try shop.rows("orders") == live)
        for _ in 0..<2 { _ = try shop.stage("orders") }
        for _ in 0..<2 {
            for _ in 0..<2 { try shop.store().swap(state) }
            #expect(try shop.rows("orders") == restored)
            for _ in 0..<2 { try shop.store().swapBack(state) }
            #expect(try shop.rows("orders") == live)
        }
        for _ in 0..<2 { try shop.store().discard(state) }
        #expect(try shop.schemas() == "")
        #expect(throws: LifeboatError.self) { try shop.store().swap(state) }
        #expect(try shop.rows("orders") == live)
        // A schema of that name that is not ours is left alone.
        try shop.psql("CREATE SCHEMA lifeboat_new_r1")
        #expect(throws: LifeboatError.self) { _ = try shop.stage("orders") }
        #expect(throws: LifeboatError.self) { try shop.store().discard(state) }
        #expect(try shop.schemas() == "lifeboat_new_r1")
    }

    @Test func aForgottenSessionDoesNotHoldUpTheSwap() throws {
        let shop = try Shop("tb_open")
        let endpoint = PostgresEndpoint(host: shop.cluster.host, port: shop.cluster.port, user: shop.cluster.user)
        let session = try PostgresConnection(endpoint, database: shop.name)
        let state = try shop.stage("orders")
        try session.execute("BEGIN")
        try session.execute("LOCK TABLE items")
        try shop.store().swap(state)
        #expect(throws: PostgresError.self) { try session.execute("SELECT 1") }
    }

    @Test func whatCannotBeDoneIsToldBeforehand() throws {
        let shop = try Shop(
            "tb_refused",
            also: """
                ; CREATE TABLE parted (d date) PARTITION BY RANGE (d);
                CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
                CREATE TABLE parent (n int); CREATE TABLE child (m int) INHERITS (parent);
                CREATE TABLE files (id int, content oid); SELECT lo_from_bytea(0, 'large');
                CREATE SCHEMA app; CREATE TABLE app.settings (k text)
                """)
        #expect(shop.refusal("orders") == nil)
        #expect(shop.refusal("order")?.causes == ["the snapshot holds no table 'order'"])
        #expect(shop.refusal("order")?.hint == "Did you mean public.orders?")
        #expect(shop.refusal("settings")?.hint == "Did you mean app.settings?")
        #expect(shop.refusal("zzzzzzzz")?.hint?.contains("public.customers, public.files") == true)
        #expect(shop.refusal("big")?.causes == ["in the snapshot it is a view, not a table"])
        #expect(shop.refusal("a.b.c")?.exitCode == .usage)
        #expect(shop.refusal()?.exitCode == .usage)
        #expect(shop.refusal("parted")?.causes == ["it is partitioned"])
        #expect(shop.refusal("parted_1")?.causes == ["it is a partition of another table"])
        #expect(shop.refusal("child")?.causes == ["it inherits from another table"])
        #expect(shop.refusal("parent")?.causes == ["public.parent inherits, or is inherited from"])
        #expect(
            try shop.store("files").preflightRestore(shop.captured).map(\.message)
                == ["large objects that rows of public.files name are not restored with it"])
        try shop.cluster.psql("CREATE ROLE tb_weak LOGIN; GRANT CREATE ON DATABASE tb_refused TO tb_weak")
        #expect(
            shop.refusal("orders", user: "tb_weak")?.causes
                == ["public.orders belongs to 'postgres', and user 'tb_weak' may not alter it"])
        try shop.psql(
            """
            ALTER TABLE orders ADD COLUMN note text; ALTER TABLE orders ALTER COLUMN customer TYPE bigint;
            ALTER TABLE orders DROP COLUMN placed; ALTER TABLE customers OWNER TO tb_weak
            """)
        let altered = shop.refusal("orders")
        #expect(
            altered?.causes == [
                "table public.orders was altered since", "column customer is integer in the snapshot and bigint now",
                "column placed (date) is only in the snapshot", "column note (text) is not in the snapshot",
            ])
        #expect(altered?.hint?.contains("--target") == true)
        #expect(
            shop.refusal("customers", user: "tb_weak")?.causes == [
                "foreign key orders_customer_fkey of table public.orders has to be taken off and put back, and the table"
                    + " belongs to 'postgres'"
            ])
        try shop.psql("ALTER TABLE orders DISABLE TRIGGER ALL")
        #expect(
            shop.refusal("customers")?.causes
                == ["the checks of foreign key orders_customer_fkey of table public.orders are switched off"])
        #expect(try shop.schemas() == "")
        let gone = PostgresTableStore(shop.cluster.store("tb_nowhere"), tables: ["orders"])
        let nowhere = #expect(throws: LifeboatError.self) { try gone.preflightRestore(shop.captured) }
        #expect(nowhere?.causes == ["there is no database 'tb_nowhere'"])
    }

    @Test func theOwnerOfTheTablesNeedsNoMoreRights() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.psql("CREATE ROLE tb_plain LOGIN; CREATE DATABASE tb_plain OWNER tb_plain")
        let store = PostgresTableStore(
            cluster.store("tb_plain", globals: false, user: "tb_plain"), tables: ["parents", "children"])
        try cluster.psql("GRANT ALL ON SCHEMA public TO tb_plain", database: "tb_plain")
        try cluster.psql(
            """
            SET ROLE tb_plain; CREATE TABLE parents (id int PRIMARY KEY); INSERT INTO parents VALUES (1), (2);
            CREATE TABLE children (id serial PRIMARY KEY, parent int REFERENCES parents ON DELETE CASCADE);
            INSERT INTO children (parent) VALUES (1), (2), (2)
            """, database: "tb_plain")
        let captured = try CapturedContent(store)
        try cluster.psql("DELETE FROM parents WHERE id = 2; DROP TABLE children", database: "tb_plain")
        _ = try store.preflightRestore(captured)
        let state = try store.planStaging("r1")
        try store.stage(captured, state, progress: SilentProgress(), cancellation: Cancellation())
        try store.swap(state)
        #expect(try store.verify(captured) == [])
        let owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'children'"
        #expect(try cluster.psql(owner, database: "tb_plain") == "tb_plain")
        try store.discard(state)
    }

    @Test func oddNamesAndOtherEncodings() throws {
        let cluster = try PostgresCluster.shared()
        try cluster.psql(
            "CREATE DATABASE tb_odd TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
        let table = "\"odd \"\" schema\".\"It's, a.\n(table\""
        try cluster.psql(
            """
            CREATE SCHEMA "odd "" schema"; CREATE TABLE \(table) (id serial, "col ""x" text DEFAULT '), (',
            "SELECT" int, none numeric(5,2)[] CHECK (none <> '{1}')) WITH (fillfactor = 70);
            INSERT INTO \(table) ("col ""x", "SELECT")
            SELECT U&'gr\\00FC\\00DFe\\005C' || i, i FROM generate_series(1, 50) i;
            CREATE TABLE void ()
            """, database: "tb_odd")
        let rows = "SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM \(table) t"
        let before = try cluster.psql(rows, database: "tb_odd")
        let store = PostgresTableStore(cluster.store("tb_odd", globals: false), tables: [table, "void"])
        let captured = try CapturedContent(store)
        for sql in ["UPDATE \(table) SET \"col \"\"x\" = 'lost'", "DROP TABLE \(table), void"] {
            try cluster.psql(sql, database: "tb_odd")
            _ = try store.preflightRestore(captured)
            let state = try store.planStaging("r1")
            try store.stage(captured, state, progress: SilentProgress(), cancellation: Cancellation())
            try store.swap(state)
            #expect(try cluster.psql(rows, database: "tb_odd") == before)
            #expect(try store.verify(captured) == [])
            try store.discard(state)
        }
    }

    @Test func namesAreTakenAsTheServerWould() throws {
        func names(_ text: String) throws -> [String] { try PostgresTableName.candidates(text).map(\.shown) }
        #expect(try names("orders") == ["public.orders"])
        #expect(try names("App.Orders") == ["\"App\".\"Orders\"", "app.orders"])
        #expect(try names("app.\"Or\"\"ders.x\"") == ["app.\"Or\"\"ders.x\""])
        for wrong in ["", ".", "a.", ".b", "a.b.c", "\"a", "a\"b\"", "\"a\"b", "\"\""] {
            #expect(throws: LifeboatError.self, "\(wrong)") { try names(wrong) }
        }
    }
}
