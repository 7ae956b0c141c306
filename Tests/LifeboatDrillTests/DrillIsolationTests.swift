// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatDrill
import LifeboatIO
import LifeboatRepository
import LifeboatStorage
import LifeboatTesting
import Testing

/// Data that names live servers, in a drill.
@Suite(.enabled(if: PostgresCluster.shouldRun, .init(rawValue: PostgresCluster.skipReason)))
struct DrillIsolationTests {
    /// Users that engines of a sandbox run as have to enter it.
    private static func folder() throws -> TemporaryFolder {
        let folder = try TemporaryFolder(prefix: "lbalone-", in: "/tmp")
        guard chmod(folder.path, 0o755) == 0 else { throw SystemCallError("open up", folder.path) }
        for name in ["home", "sandboxes"] { try FileTree.createFolders("\(folder.path)/\(name)", mode: 0o755) }
        return folder
    }

    private static func writePolicy(
        _ live: PostgresCluster, _ database: String, _ folder: TemporaryFolder
    ) throws {
        try AtomicFile.write(
            """
            stack: demo
            repository: ./repository
            encryption: none
            components:
              database: {postgres: {host: 127.0.0.1, port: \(live.port), database: \(database), user: postgres,
                binaries: \(live.binaries)}}
            drill: {folder: ./sandboxes}

            """, to: "\(folder.path)/lifeboat.yaml")
    }

    private static func run(
        _ words: [String], _ folder: TemporaryFolder, _ exit: ExitCode = .done
    ) throws -> LifeboatRun {
        let run = try InProcessRunner().run(
            words,
            environment: [
                "HOME": "\(folder.path)/home", "LIFEBOAT_STATE": "\(folder.path)/state",
                "LIFEBOAT_CACHE": "\(folder.path)/cache", "PATH": "/usr/bin:/bin:/usr/sbin",
            ], in: folder.path)
        try #require(run.code == exit, "\(run)")
        return run
    }

    @Test func `a drill loads the libraries of the server that are installed, and names the others`() throws {
        let folder = try Self.folder()
        defer { try? folder.remove() }
        let binaries = try #require(PostgresCluster.installedBinaries)
        let libraries = "\(binaries)/../lib"
        guard access("\(libraries)/pg_stat_statements.so", R_OK) == 0 else { return }
        // A library that the host of the drill lacks.
        let copying = try SystemProcessRunner().run(
            ProcessCommand("cp", ["\(libraries)/auto_explain.so", "\(folder.path)/gone.so"]))
        #expect(copying.termination.succeeded)
        let live = try PostgresCluster.start(settings: [
            "shared_preload_libraries": "'pg_stat_statements, \"\(folder.path)/gone\"'"
        ])
        defer { live.remove() }
        try live.psql("CREATE DATABASE loaded")
        try live.psql(
            """
            CREATE EXTENSION pg_stat_statements; CREATE TABLE notes AS SELECT n FROM generate_series(1, 9) n;
            CREATE MATERIALIZED VIEW calls AS SELECT count(*) FROM pg_stat_statements
            """, database: "loaded")
        try Self.writePolicy(live, "loaded", folder)
        _ = try Self.run(["repository", "init", "--encryption", "none"], folder)
        _ = try Self.run(["backup"], folder)
        #expect(unlink("\(folder.path)/gone.so") == 0)
        // The view can be filled only by a server that loaded the library when it started.
        let drill = try Self.run(["drill"], folder)
        let told = "PostgreSQL of the sandbox runs without libraries of the captured server: '\(folder.path)/gone'"
        #expect((drill.output + drill.error).contains(told), "\(drill)")
    }

    @Test func `a drill of foreign tables, filled views and dblink connects to no live server`() throws {
        let folder = try Self.folder()
        defer { try? folder.remove() }
        let live = try PostgresCluster.shared()
        let remote = "alone_remote_\(UInt32.random(in: 0...UInt32.max))"
        let local = "alone_local_\(UInt32.random(in: 0...UInt32.max))"
        for name in [remote, local] { try live.psql("CREATE DATABASE \(name)") }
        defer { for name in [remote, local] { _ = try? live.psql("DROP DATABASE IF EXISTS \(name) WITH (FORCE)") } }
        try live.psql("CREATE TABLE far AS SELECT n FROM generate_series(1, 30) n", database: remote)
        try live.psql(
            """
            CREATE EXTENSION postgres_fdw; CREATE EXTENSION dblink;
            CREATE SERVER live FOREIGN DATA WRAPPER postgres_fdw
                OPTIONS (host '127.0.0.1', port '\(live.port)', dbname '\(remote)');
            CREATE USER MAPPING FOR PUBLIC SERVER live OPTIONS (user 'postgres');
            CREATE FOREIGN TABLE far (n int) SERVER live;
            CREATE TABLE near AS SELECT n FROM generate_series(1, 70) n;
            CREATE MATERIALIZED VIEW seen AS SELECT * FROM far;
            CREATE MATERIALIZED VIEW seen_again AS SELECT * FROM seen;
            CREATE FUNCTION ask() RETURNS bigint LANGUAGE sql AS
                $$SELECT n FROM public.dblink('host=127.0.0.1 port=\(live.port) user=postgres dbname=\(remote)',
                'SELECT count(*) FROM far') AS t(n bigint)$$;
            CREATE MATERIALIZED VIEW counted AS SELECT ask() AS n
            """, database: local)
        try Self.writePolicy(live, local, folder)
        func run(_ words: String..., exit: ExitCode = .done) throws -> LifeboatRun {
            try Self.run(words, folder, exit)
        }
        _ = try run("repository", "init", "--encryption", "none")
        _ = try run("backup")
        // Sessions are counted when they end; nobody but a drill would begin one here.
        try live.psql("ALTER DATABASE \(remote) ALLOW_CONNECTIONS false")
        try live.psql("SELECT pg_stat_clear_snapshot()")
        let log = "\(live.folder)/log"
        let before = try SmallText.lines(of: log, with: remote)
        _ = try run("drill")
        #expect(try SmallText.lines(of: log, with: remote) == before)
        let repository = try Repository.open(
            try LocalFolderStore(opening: "\(folder.path)/repository"), cacheRoot: "\(folder.path)/cache",
            trust: HostTrust(state: "\(folder.path)/state"))
        let result = try #require(try DrillHistory(repository, stack: "demo").entries.last?.result)
        #expect(result.verified && result.findings.isEmpty, "\(result.findings)")
        let warnings = result.components.flatMap(\.warnings)
        for view in ["seen", "seen_again", "counted"] {
            #expect(
                warnings.contains { $0.hasPrefix("materialized view public.\(view) cannot be filled") }, "\(warnings)")
        }
        // A restore where that server is away: named, incomplete, and all else is back.
        try live.psql("DELETE FROM near", database: local)
        let restored = try run("restore", "latest", "--yes", "--quiet", exit: .incomplete)
        #expect(restored.error.contains("materialized view public.seen cannot be filled"), "\(restored)")
        #expect(try live.psql("SELECT count(*) FROM near", database: local) == "70")
        // And where it is there.
        try live.psql("ALTER DATABASE \(remote) ALLOW_CONNECTIONS true")
        _ = try run("restore", "latest", "--yes")
        #expect(try live.psql("SELECT count(*) FROM seen_again", database: local) == "30")
    }
}

private enum SmallText {
    static func lines(of path: String, with word: String) throws -> Int {
        let result = try SystemProcessRunner().run(
            ProcessCommand("cat", [path]), input: [], outputLimit: 64 << 20, deadline: 60, cancellation: nil)
        return String(decoding: result.standardOutput, as: UTF8.self).split(separator: "\n")
            .count { $0.contains(word) }
    }
}
