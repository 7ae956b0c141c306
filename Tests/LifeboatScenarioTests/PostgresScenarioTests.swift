// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// What the policy's words for databases come to, from the command line to the server and back.
@Suite(.enabled(if: PostgresCluster.shouldRun, .init(rawValue: PostgresCluster.skipReason)))
struct PostgresScenarioTests {
    @Test(arguments: ["databases: [shop, \"odd name\"]", "database: \"*\", jobs: 1"])
    func severalDatabasesGoRoundByPolicy(selection: String) throws {
        let cluster = try PostgresCluster.start()
        defer { cluster.remove() }
        let folder = try TemporaryFolder(prefix: "lbsc-")
        defer { try? folder.remove() }
        let names = ["shop", "odd name"]
        for name in names {
            try cluster.psql("CREATE DATABASE \"\(name)\"")
            try cluster.psql(
                "CREATE TABLE t (id int PRIMARY KEY, word text); INSERT INTO t SELECT i, 'w' || i FROM generate_series(1, 500) i",
                database: name)
        }
        func contents() throws -> [String] {
            try names.map { try cluster.psql("SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM t", database: $0) }
        }
        try AtomicFile.write(
            """
            stack: demo
            repository: ./repository
            encryption: none
            components:
              base: {postgres: {host: 127.0.0.1, port: \(cluster.port), user: postgres, binaries: \(cluster.binaries), \(selection)}}
            \(selection.contains("*") ? "" : "health: [{postgres: base, sql: select count(*) from t, equals: \"500\", within: 20s}]")

            """, to: "\(folder.path)/lifeboat.yaml")
        func lifeboat(_ words: String..., exit: ExitCode = .done) throws -> LifeboatRun {
            let run = try InProcessRunner().run(
                words,
                environment: ["LIFEBOAT_STATE": "\(folder.path)/state", "LIFEBOAT_CACHE": "\(folder.path)/cache"],
                in: folder.path)
            try #require(run.code == exit, "\(run)")
            return run
        }
        _ = try lifeboat("repository", "init", "--encryption", "none")
        _ = try lifeboat("backup")
        let before = try contents()
        let shown = try lifeboat("show", "latest").output
        #expect(shown.contains("shop/rows:public.t") || shown.contains("shop.dump"), "\(shown)")
        // One is gone, the other one changed.
        try cluster.psql("DROP DATABASE \"odd name\"")
        try cluster.psql("DELETE FROM t WHERE id > 7", database: "shop")
        _ = try lifeboat("restore", "latest", "--yes")
        #expect(try contents() == before)
        let databases = "SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database WHERE NOT datistemplate"
        #expect(try cluster.psql(databases) == "odd name,postgres,shop")
        // And as files for pg_restore by hand.
        _ = try lifeboat("restore", "latest", "--to", "\(folder.path)/loose")
        let listed = try SystemProcessRunner().run(ProcessCommand("ls", ["\(folder.path)/loose/base"]))
        #expect(
            String(decoding: listed.standardOutput, as: UTF8.self).split(separator: "\n").sorted() == [
                "globals.sql", "odd%20name.pgdump", "odd%20name.settings", "shop.pgdump", "shop.settings",
            ])
        let restored = try SystemProcessRunner().run(
            ProcessCommand("\(cluster.binaries)/pg_restore", ["--list", "\(folder.path)/loose/base/odd%20name.pgdump"]))
        #expect(restored.termination.succeeded)
        #expect(try lifeboat("cat", "latest", "base:globals").output.contains("CREATE ROLE postgres"))
    }

    /// One table into the live database, and the database under another name, on one cluster.
    @Test func aTableComesBackByItselfAndTheDatabaseGoesElsewhere() throws {
        let cluster = try PostgresCluster.start()
        defer { cluster.remove() }
        let folder = try TemporaryFolder(prefix: "lbsc-")
        defer { try? folder.remove() }
        try cluster.psql("CREATE DATABASE shop")
        try cluster.psql(
            """
            CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items SELECT generate_series(1, 300);
            CREATE TABLE orders (id int PRIMARY KEY, item int REFERENCES items);
            INSERT INTO orders SELECT i, i FROM generate_series(1, 200) i
            """, database: "shop")
        try AtomicFile.write(
            """
            stack: demo
            repository: ./repository
            encryption: none
            components:
              base: {postgres: {host: 127.0.0.1, port: \(cluster.port), user: postgres, binaries: \(cluster.binaries), database: shop}}
            health: [{postgres: base, sql: select count(*) from items, equals: "250", within: 20s}]

            """, to: "\(folder.path)/lifeboat.yaml")
        func lifeboat(_ words: String..., exit: ExitCode = .done) throws -> LifeboatRun {
            let run = try InProcessRunner().run(
                words,
                environment: ["LIFEBOAT_STATE": "\(folder.path)/state", "LIFEBOAT_CACHE": "\(folder.path)/cache"],
                in: folder.path)
            try #require(run.code == exit, "\(run)")
            return run
        }
        func counts(_ database: String) throws -> String {
            try cluster.psql(
                "SELECT (SELECT count(*) FROM items) || ' ' || (SELECT count(*) FROM orders)", database: database)
        }
        _ = try lifeboat("repository", "init", "--encryption", "none")
        _ = try lifeboat("backup")
        try cluster.psql("TRUNCATE orders; DELETE FROM items WHERE id > 250", database: "shop")
        let plan = try lifeboat("plan", "latest", "--table", "orders").output
        #expect(plan.contains("\n  of 'base' only: orders\n"), "\(plan)")
        let restored = try lifeboat("restore", "latest", "--yes", "--keep-old", "--table", "base:public.orders")
        #expect(restored.output.contains("table 'public.orders' of database 'shop'"), "\(restored)")
        #expect(restored.output.contains("1 fact verified"), "\(restored)")
        #expect(try counts("shop") == "250 200")
        _ = try lifeboat("restore", "--rollback", "--yes")
        #expect(try counts("shop") == "250 0")
        let missing = try lifeboat("restore", "latest", "-n", "--table", "odrers", exit: .usage)
        #expect(missing.error.contains("odrers"), "\(missing)")

        // Its health is asked of the database of the policy: not here.
        let elsewhere = try lifeboat("restore", "latest", "--yes", "--target", "base.database=shop_copy")
        #expect(elsewhere.output.contains("instead of what the policy says: base.database=shop_copy"), "\(elsewhere)")
        #expect(try counts("shop_copy") == "300 200")
        #expect(try counts("shop") == "250 0")
    }
}
