// SPDX-License-Identifier: Apache-2.0

import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// What must not happen without a word: a source that fell to nothing displaces what was there.
struct LossTests {
    private func start(_ fixture: CommandFixture, rules: String) throws {
        for number in 0..<20 { try fixture.write("letter \(number)\n", to: "docs/\(number).txt") }
        try fixture.write("note\n", to: "notes/a.txt")
        try policy(fixture, rules)
        #expect(try fixture.run("repository", "init", "--encryption", "none").code == .done)
    }

    private func policy(_ fixture: CommandFixture, _ rules: String) throws {
        try fixture.write(
            """
            stack: demo
            repository: ./repository
            encryption: none
            components:
              documents: {volume: {path: ./docs}}
              notes: {volume: {path: ./notes}}
            \(rules)

            """, to: "lifeboat.yaml")
    }

    private func night(_ fixture: CommandFixture, _ arguments: String...) throws -> LifeboatRun {
        fixture.clock.advance(seconds: 86_400)
        return try fixture.run(["backup", "--quiet"] + arguments)
    }

    private func ids(_ fixture: CommandFixture) throws -> [String] {
        try fixture.run("snapshots", "--json").output.matches(of: #/"id":"([0-9a-f]{64})"/#)
            .map { String($0.output.1) }
    }

    private func empty(_ fixture: CommandFixture, keeping kept: Int = 0) throws {
        for number in kept..<20 where fixture.exists("docs/\(number).txt") {
            try FileTree.remove("\(fixture.path)/docs/\(number).txt")
        }
    }

    @Test func `a source that fell to nothing displaces no snapshot until somebody confirms it`() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try start(fixture, rules: "retention: {last: 1}")
        #expect(try night(fixture).code == .done)
        let real = try ids(fixture)
        try empty(fixture)
        for _ in 0..<2 {
            let run = try night(fixture)
            #expect(run.code == .incomplete, "\(run)")
            #expect(run.error.contains("component 'documents' lost most of what it had"), "\(run)")
            #expect(run.error.contains("0 files instead of 20 files"), "\(run)")
            #expect(run.error.contains("backup --accept-shrink"), "\(run)")
        }
        // Nothing was removed, and the real one is still what a restore takes.
        #expect(try ids(fixture).count == 3 && ids(fixture).contains(real[0]))
        #expect(try fixture.run("cat", "latest", "documents:/7.txt").output == "letter 7\n")
        let shown = try fixture.run("show", ids(fixture).first { $0 != real[0] } ?? "")
        #expect(shown.output.contains("lost most of what it had"), "\(shown)")
        // Once confirmed it is the state of things.
        let accepted = try night(fixture, "--accept-shrink")
        #expect(accepted.code == .done, "\(accepted)")
        #expect(try night(fixture).code == .done)
        #expect(try fixture.run("cat", "latest", "documents:/7.txt").code != .done)
        #expect(
            try fixture.run("backup", "-r", "./repository", "--stack", "x", "--accept-shrink", "docs").code == .usage)
    }

    @Test func `how much may go is the policy's to say, component by component`() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try start(fixture, rules: "")
        #expect(try night(fixture).code == .done)
        // 4 of 20 are as many as the 20 % that have to be left; 3 are not.
        try empty(fixture, keeping: 4)
        try policy(fixture, "guard: {least: 25%, except: [documents]}")
        #expect(try night(fixture).code == .done)
        for number in 0..<20 { try fixture.write("letter \(number)\n", to: "docs/\(number).txt") }
        try policy(fixture, "guard: 20%")
        #expect(try night(fixture).code == .done)
        try empty(fixture, keeping: 4)
        #expect(try night(fixture).code == .done)
        for number in 0..<20 { try fixture.write("letter \(number)\n", to: "docs/\(number).txt") }
        #expect(try night(fixture).code == .done)
        try empty(fixture, keeping: 3)
        #expect(try night(fixture).code == .incomplete)
        try policy(fixture, "guard: off")
        #expect(try night(fixture).code == .done)
    }
}
