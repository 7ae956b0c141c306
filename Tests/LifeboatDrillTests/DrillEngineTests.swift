// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatDrill
import LifeboatIO
import LifeboatRepository
import LifeboatStorage
import LifeboatTesting
import Testing

/// Engines of this host that do not fit the snapshot.
struct DrillEngineTests {
    /// Where a drill looks for one of the newer server's major version.
    private static let hasNewer = access("/usr/lib/postgresql/18/bin/initdb", X_OK) == 0

    @Test(
        .enabled(if: PostgresRelease.withVector.shouldRun, "\(PostgresRelease.withVector.skipReason)"),
        .enabled(if: PostgresCluster.shouldRun, "\(PostgresCluster.skipReason)"),
        .disabled(if: hasNewer, "needs a host without PostgreSQL 18"))
    func `a snapshot of a newer PostgreSQL than this host has fails, naming both versions`() throws {
        let folder = try TemporaryFolder(prefix: "lbengine-", in: "/tmp")
        defer { try? folder.remove() }
        guard chmod(folder.path, 0o755) == 0 else { throw SystemCallError("open up", folder.path) }
        for name in ["home", "sandboxes"] { try FileTree.createFolders("\(folder.path)/\(name)", mode: 0o755) }
        let newer = try PostgresCluster.shared(.withVector)
        let older = try PostgresCluster.shared()
        let database = "newer_\(UInt32.random(in: 0...UInt32.max))"
        try newer.psql("CREATE DATABASE \(database)")
        defer { _ = try? newer.psql("DROP DATABASE IF EXISTS \(database) WITH (FORCE)") }
        try newer.psql("CREATE TABLE notes AS SELECT n FROM generate_series(1, 50) n", database: database)
        func writePolicy(binaries: String) throws {
            try AtomicFile.write(
                """
                stack: demo
                repository: ./repository
                encryption: none
                components:
                  database: {postgres: {host: 127.0.0.1, port: \(newer.port), database: \(database), user: postgres,
                    binaries: \(binaries)}}
                drill: {folder: ./sandboxes}

                """, to: "\(folder.path)/lifeboat.yaml")
        }
        func run(_ words: String...) throws -> LifeboatRun {
            try InProcessRunner().run(
                words,
                environment: [
                    "HOME": "\(folder.path)/home", "LIFEBOAT_STATE": "\(folder.path)/state",
                    "LIFEBOAT_CACHE": "\(folder.path)/cache", "PATH": "/usr/bin:/bin",
                ], in: folder.path)
        }
        try writePolicy(binaries: newer.binaries)
        for made in [try run("repository", "init", "--encryption", "none"), try run("backup")] {
            #expect(made.exit == 0, "\(made)")
        }
        // With the programs it was made with it comes back.
        let fitting = try run("drill")
        #expect(fitting.exit == 0, "\(fitting)")
        try writePolicy(binaries: older.binaries)
        let drill = try run("drill")
        #expect(drill.exit == ExitCode.failed.rawValue, "\(drill)")
        let repository = try Repository.open(
            try LocalFolderStore(opening: "\(folder.path)/repository"), cacheRoot: "\(folder.path)/cache",
            trust: HostTrust(state: "\(folder.path)/state"))
        let result = try #require(try DrillHistory(repository, stack: "demo").entries.last?.result)
        #expect(result.findings.count == 1 && !result.verified && result.objectives.rta == nil, "\(result.findings)")
        let finding = try #require(result.findings.first)
        #expect(finding.message == "this host has no PostgreSQL 18 for the sandbox" && finding.component == "database")
        #expect(finding.causes.first?.hasPrefix("the snapshot is of PostgreSQL 18.") == true, "\(finding)")
        let installed = try older.psql("SHOW server_version").prefix { $0 != " " }
        #expect(finding.causes.contains("'\(older.binaries)' has version \(installed)"), "\(finding)")
        #expect(finding.hint?.contains("postgresql-18") == true)
        let left = try FileTree.names(in: "\(folder.path)/sandboxes")
        #expect(left.isEmpty)
    }
}
