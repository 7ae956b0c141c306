// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// What tests of tampering and damage share.
enum Tampering {
    /// A repository that is not encrypted, with so many snapshots of `docs`.
    static func repository(snapshots: Int) throws -> CommandFixture {
        let fixture = try CommandFixture()
        try fixture.makeDocuments()
        #expect(try fixture.inRepository("repository", "init", "--encryption", "none").code == .done)
        for number in 0..<snapshots { try backUp("text \(number)", fixture) }
        return fixture
    }

    static func backUp(_ text: String, _ fixture: CommandFixture) throws {
        try fixture.write(text, to: "docs/a.txt")
        let run = try fixture.inRepository("backup", "docs", "-q")
        #expect(run.code == .done && run.error.isEmpty, "\(run)")
        fixture.clock.advance(seconds: 60)
    }

    static func names(_ pattern: String, _ fixture: CommandFixture) throws -> [String] {
        try ShellProof.run("cd '\(fixture.repository)' && find . -type f -path '\(pattern)' | sort")
            .split(separator: "\n").map { "\(fixture.repository)/\($0)" }
    }

    static func removeNewest(_ fixture: CommandFixture) throws {
        let newest = try #require(try names("./snapshots/*.json", fixture).last)
        #expect(unlink(newest) == 0)
        #expect(unlink(newest + ".minisig") == 0)
    }

    /// Runs a command of another host, which knows nothing of the repository.
    static func elsewhere(_ arguments: [String], _ fixture: CommandFixture) throws -> LifeboatRun {
        var environment = fixture.environment
        environment["LIFEBOAT_STATE"] = "\(fixture.path)/other-state"
        environment["LIFEBOAT_CACHE"] = "\(fixture.path)/other-cache"
        return try fixture.runner.run(arguments, environment: environment, in: fixture.path)
    }

    static func id(_ run: LifeboatRun) throws -> String {
        String(try #require(run.output.firstMatch(of: #/"snapshot":"([0-9a-f]{64})"/#)).output.1)
    }

    /// Backs up, pins that snapshot, and gives its id.
    static func pinned(_ fixture: CommandFixture) throws -> String {
        let made = try fixture.inRepository("backup", "docs", "--json")
        #expect(made.code == .done, "\(made)")
        fixture.clock.advance(seconds: 60)
        let snapshot = try id(made)
        #expect(try fixture.inRepository("pin", snapshot, "-q").code == .done)
        return snapshot
    }

    static func removePin(_ fixture: CommandFixture) throws {
        for file in try names("./pins/*", fixture) { #expect(unlink(file) == 0) }
    }
}
