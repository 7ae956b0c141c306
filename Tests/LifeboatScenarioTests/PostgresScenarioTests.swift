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
}
