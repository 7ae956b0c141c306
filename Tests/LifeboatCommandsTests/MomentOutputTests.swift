// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// What a backup with a freeze, checks and secrets says, and a restore that finds another secret.
struct MomentOutputTests {
    private func policy(_ fixture: CommandFixture, least: Int) throws {
        try fixture.write(
            """
            stack: demo
            repository: ./repository
            encryption: none
            services:
              commands: {stop: "true", start: "true", pause: "true", unpause: "true"}
              freeze: pause
            components:
              documents: {volume: {path: ./docs}}
            checks:
              - {name: three texts, equal: [{component: documents, files: "*.txt"}, 3]}
              - {name: enough, at_least: [{component: documents, files: "*"}, \(least)]}
            secrets:
              - {name: JWT_SECRET_KEY, breaks: everybody has to log in again}
              - NOWHERE_TO_BE_FOUND
            """, to: "lifeboat.yaml")
    }

    private func expect(_ name: String, _ fixture: CommandFixture, _ run: LifeboatRun, _ code: ExitCode) throws {
        #expect(run.code == code, "\(run)")
        let text = fixture.normalized("\(run.output)--- standard error\n\(run.error)")
            .replacing(#/\d+\.\d s/#, with: "N s")
            .replacing(#/data: .* stored/#, with: "data: N read, N new, N stored")
            .replacing(#/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/#, with: "TIME")
            .replacing(#/"(seconds|bytes_stored|total_seconds|downtime_seconds)":[0-9.e-]+/#) { "\"\($0.output.1)\":N" }
            .replacing(#/"(time|snapshot_time)":"[^"]*"/#) { "\"\($0.output.1)\":\"TIME\"" }
        let difference = try GoldenFile("commands/\(name)").difference(from: text)
        #expect(difference == nil)
    }

    @Test func `freeze, checks and secrets are told as written down`() throws {
        let fixture = try CommandFixture(.binary)
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        func run(_ secret: String, _ words: String...) throws -> LifeboatRun {
            try fixture.runner.run(
                words, environment: fixture.environment.merging(["JWT_SECRET_KEY": secret]) { $1 }, input: "",
                workingDirectory: fixture.path)
        }
        #expect(try fixture.run("repository", "init", "-r", fixture.repository, "--encryption", "none").code == .done)
        try policy(fixture, least: 1)
        try expect("moment-backup.txt", fixture, try run("one-canary-8824", "backup"), .done)
        // Other secrets have other fingerprints, but for one in 65,536: these do not.
        let plans = try ["two", "three"].map { try run($0, "plan", "latest") }
        let plan = try #require(plans.first { $0.output.contains("is not the one") })
        try expect("moment-plan.txt", fixture, plan, .done)
        try expect("moment-restore.txt", fixture, try run("one-canary-8824", "restore", "latest", "--yes"), .done)
        try policy(fixture, least: 4)
        try expect("moment-failed.txt", fixture, try run("one-canary-8824", "backup"), .incomplete)
        let show = try run("one-canary-8824", "show", "latest")
        #expect(show.output.contains("check 'enough' DOES NOT HOLD: files '*' in 'documents' is 3, 4"), "\(show)")
        #expect(show.output.contains("fingerprints of secrets: JWT_SECRET_KEY"))
        let json = try run("one-canary-8824", "show", "latest", "--json")
        #expect(!json.output.contains("canary"))
        // The check that fails now was not in the snapshot that is restored, and does not undo it.
        try policy(fixture, least: 5)
        let restore = try run("one-canary-8824", "restore", "latest", "--yes", "--json")
        #expect(restore.code == .done && restore.output.contains(#""holds":false"#), "\(restore)")
    }

    @Test func `a check that held in the snapshot and not after the restore rolls it back`() throws {
        let fixture = try CommandFixture(.binary)
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        try policy(fixture, least: 1)
        #expect(try fixture.run("repository", "init", "-r", fixture.repository, "--encryption", "none").code == .done)
        let backup = try fixture.run("backup")
        #expect(backup.code == .done, "\(backup)")
        try fixture.write("changed\n", to: "docs/a.txt")
        // The services add a file as soon as they start.
        let text = try fixture.text("lifeboat.yaml")
        try fixture.write(
            text.replacing("start: \"true\"", with: "start: [[touch, docs/more.txt]]"), to: "lifeboat.yaml")
        let restore = try fixture.run("restore", "latest", "--yes")
        #expect(restore.code == .rolledBack, "\(restore)")
        #expect(
            restore.error.contains(
                "three texts: files '*.txt' in 'documents' is 4, 3"), "\(restore)")
        #expect(try fixture.text("docs/a.txt") == "changed\n")
    }
}
