// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// Drills of the shop in a Compose project of their own, beside the one that lives.
extension ShopScenarioTests {
    @Test func `a drill brings the whole project up under another name, and nothing that lives is touched`() throws {
        let stack = try ShopStack.shared()
        try stack.setWord("kept")
        try stack.succeed("backup")
        try stack.setWord("live")
        let before = try stack.engineState()
        // The api finds all data of all components in the sandbox.
        try stack.writePolicy("asking.yaml", asking: "/whole")
        let drill = try stack.lifeboat("drill", "--policy", "asking.yaml", "--sandbox", "compose", "--json")
        #expect(drill.exit == 0, "\(drill)")
        let summary = String(drill.output.split(separator: "\n").last ?? "")
        for expected in [
            #""sandbox":"compose""#, #""verdict":"passed""#, #""verified":true"#, #""untouched":"#,
            #""kind":"health""#, "service 'postgres' of project 'lifeboat-drill-",
        ] {
            #expect(summary.contains(expected), "\(expected) is not in \(summary)")
        }
        #expect(try stack.engineState() == before)
        #expect(try stack.problems() == [] && stack.word() == "live")
        #expect(try stack.secretsFound(in: [drill]) == "")

        // Of a share only the servers: what uses them would miss the rest.
        let sample = try stack.lifeboat("drill", "--sandbox", "compose", "--sample", "50%")
        #expect(sample.exit == 0 && sample.output.contains("(sample 50 %)"), "\(sample)")
        for expected in [
            "left out: services that would not find all their data: api, worker", "was not asked: its service was not",
        ] {
            #expect(sample.output.contains(expected), "\(expected): \(sample)")
        }
        #expect(try stack.engineState() == before)

        // Killed when its first container is there: the next that looks removes everything.
        let killed = try stack.folder.binary.start(
            ["drill", "--sandbox", "compose"],
            environment: stack.folder.environment.merging(stack.environment) { $1 }, in: stack.folder.path)
        for _ in 0..<600 {
            if try stack.engineState() != before { break }
            usleep(20_000)
        }
        #expect(killed.send(SIGKILL))
        _ = try killed.wait()
        #expect(try stack.engineState() != before)
        try stack.succeed("drill", "clean")
        #expect(try stack.engineState() == before)
        #expect(try stack.problems() == [] && stack.word() == "live")
        try stack.setWord("kept")
        try stack.succeed("backup")
    }

    @Test(.enabled(if: PostgresRelease.withVector.shouldRun, "\(PostgresRelease.withVector.skipReason)"))
    func `a snapshot of a newer PostgreSQL than the project's image has fails, naming both versions`() throws {
        let stack = try ShopStack.shared()
        let newer = try PostgresCluster.start(.withVector)
        defer { newer.remove() }
        try newer.psql("CREATE DATABASE shop")
        try newer.psql("CREATE TABLE notes AS SELECT n FROM generate_series(1, 50) n", database: "shop")
        // The same stack, as if its image had been a newer one when it was backed up.
        try AtomicFile.write(
            """
            stack: shop
            repository: ./newer
            encryption: none
            components:
              database: {postgres: {host: \(newer.folder), port: \(newer.port), database: shop, user: postgres,
                binaries: \(newer.binaries)}}

            """, to: "\(stack.folder.path)/newer.yaml")
        try stack.succeed("repository", "init", "--repository", "newer", "--encryption", "none")
        try stack.succeed("backup", "--policy", "newer.yaml")
        let before = try stack.engineState()
        let drill = try stack.lifeboat(
            "drill", "--sandbox", "compose", "--component", "database", "--repository", "newer")
        #expect(drill.exit == ExitCode.failed.rawValue, "\(drill)")
        let found = drill.output.split(separator: "\n").filter { $0.hasPrefix("found: ") }
        #expect(found.count == 1, "\(drill)")
        let server = try stack.sql("SHOW server_version").prefix { $0 != " " }
        for version in ["the snapshot is of PostgreSQL 18.", "the server is \(server)"] {
            #expect(found.first?.contains(version) == true, "\(drill)")
        }
        // What could not have come up without its data was not waited for.
        #expect(drill.output.contains("left out: services that would not find all their data: api"), "\(drill)")
        #expect(try stack.engineState() == before)
        #expect(try stack.succeed("drill", "history", "--repository", "newer").output.contains("failed"))
    }
}

extension ShopStack {
    /// Every container, volume and network of the engine, with when containers were started.
    fileprivate func engineState() throws -> String {
        try [
            docker("ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.State}} {{.CreatedAt}}"),
            docker("volume", "ls", "--format", "{{.Name}}"), docker("network", "ls", "--format", "{{.ID}} {{.Name}}"),
        ].joined(separator: "\n").split(separator: "\n").sorted().joined(separator: "\n")
    }
}
