// SPDX-License-Identifier: Apache-2.0

import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// What must not happen without a word: a source that fell to nothing displaces what was there, and a backup of one
/// component stands for the whole stack.
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

    @Test(arguments: CommandFixture.Kind.allCases)
    func `latest is of all components of the policy`(_ kind: CommandFixture.Kind) throws {
        let fixture = try CommandFixture(kind)
        defer { try? fixture.folder.remove() }
        try start(fixture, rules: "")
        #expect(try fixture.run("backup", "--quiet").code == .done)
        let whole = try #require(try ids(fixture).first)
        try fixture.write("newer\n", to: "docs/7.txt")
        fixture.clock.advance(seconds: 60)
        #expect(try fixture.run("backup", "documents", "--quiet").code == .done)
        let part = try #require(try ids(fixture).first { $0 != whole })

        // With the policy, and without it by what its snapshots hold.
        #expect(try fixture.run("cat", "latest", "notes:/a.txt").output == "note\n")
        #expect(try fixture.inRepository("cat", "latest", "notes:/a.txt").output == "note\n")
        #expect(try fixture.run("cat", "latest", "documents:/7.txt").output == "letter 7\n")
        for arguments in [["latest"], ["--at", "2099-01-01"]] {
            let plan = try fixture.run(["plan"] + arguments)
            #expect(plan.code == .done && plan.output.contains(whole.prefix(12)), "\(plan)")
        }
        // Of one component the newest that holds it.
        let plan = try fixture.run("plan", "latest", "--component", "documents")
        #expect(plan.code == .done && plan.output.contains(part.prefix(12)), "\(plan)")
        let parts = try fixture.run("plan", "latest", "--path", "documents:7.txt")
        #expect(parts.code == .done && parts.output.contains(part.prefix(12)), "\(parts)")
        let run = try fixture.run("restore", "latest", "--to", "out", "--quiet")
        #expect(run.code == .done, "\(run)")

        // A component that no complete snapshot holds is named, and the most complete one is taken.
        try fixture.write(
            fixture.text("lifeboat.yaml") + "  more: {volume: {path: ./more}}\n", to: "lifeboat.yaml")
        let told = try fixture.run("cat", "latest", "documents:/7.txt")
        #expect(told.output == "letter 7\n")
        #expect(told.error.contains("no complete snapshot contains all components"), "\(told)")
    }
}
