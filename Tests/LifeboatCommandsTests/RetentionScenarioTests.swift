// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// Snapshots come, are pinned, and go.
struct RetentionScenarioTests {
    private static let terminal = TerminalFacts(
        inputIsTerminal: true, outputIsTerminal: true, errorIsTerminal: true, columns: 100)

    /// A policy stack with `rules` as its retention; nil: none.
    private func start(_ fixture: CommandFixture, retention rules: String?) throws {
        try fixture.makeDocuments()
        try write(fixture, retention: rules)
        #expect(try fixture.run("repository", "init", "--encryption", "none").code == .done)
    }

    private func write(_ fixture: CommandFixture, retention rules: String?, more: String = "") throws {
        try fixture.write(
            """
            stack: demo
            repository: ./repository
            encryption: none
            components: {documents: {volume: {path: ./docs}}\(more)}
            \(rules.map { "retention: {\($0)}" } ?? "")

            """, to: "lifeboat.yaml")
    }

    private func backUp(_ fixture: CommandFixture, days: Int) throws {
        for _ in 0..<days {
            fixture.clock.advance(seconds: 86_400)
            let run = try fixture.run("backup", "--quiet")
            #expect(run.code == .done, "\(run)")
        }
    }

    private func ids(_ fixture: CommandFixture) throws -> [String] {
        try fixture.run("snapshots", "--json").output.matches(of: #/"id":"([0-9a-f]{64})"/#)
            .map { String($0.output.1) }
    }

    @Test func theLastOfSeveralSnapshotsOfOneSecondIsTheLatest() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try start(fixture, retention: nil)
        for number in 1...6 {
            try fixture.write(String(repeating: "x", count: number), to: "docs/a.txt")
            #expect(try fixture.run("backup", "--quiet").code == .done)
        }
        func latest() throws -> LifeboatRun { try fixture.run("cat", "latest", "documents:/a.txt") }
        #expect(try latest().output == "xxxxxx")
        #expect(try fixture.run("forget", "--keep-last", "1", "--yes", "--force").code == .done)
        #expect(try ids(fixture).count == 1)
        #expect(try latest().output == "xxxxxx")
    }

    @Test(arguments: CommandFixture.Kind.allCases)
    func snapshotsAreForgottenPinnedAndUnpinned(_ kind: CommandFixture.Kind) throws {
        let fixture = try CommandFixture(kind)
        defer { try? fixture.folder.remove() }
        try start(fixture, retention: nil)
        try backUp(fixture, days: 6)
        let all = try ids(fixture)
        #expect(all.count == 6)

        let silent = try fixture.run("forget", "--keep-last", "4")
        #expect(silent.code == .usage)
        #expect(
            silent.error == "error: forget removes snapshots, and there is no terminal to show them on first\n"
                + "hint: Add --yes to remove them, or --dry-run to see which.\n")
        let dry = try fixture.run("forget", "--keep-last", "4", "--dry-run")
        #expect(dry.code == .done, "\(dry)")
        #expect(dry.output.contains("would remove 2 snapshots and keep 4 (last 4; time zone "))
        #expect(try ids(fixture) == all)

        let pinned = try fixture.run("pin", all[0], "--note", "before the move")
        #expect(
            pinned.output
                == "snapshot \(all[0].prefix(12)) of stack 'demo' is pinned: it stays until it is unpinned\n")
        #expect(try fixture.run("pin", all[0]).output.hasSuffix(" was pinned already\n"))
        #expect(try fixture.run("pin").output.contains("before the move"))

        let run = try fixture.run("forget", "--keep-last", "4", "--yes", "--json", "--timezone", "Europe/Berlin")
        #expect(run.code == .done, "\(run)")
        let lines = run.output.split(separator: "\n")
        #expect(lines.count == 7)
        #expect(lines.first?.contains(#""action":"keep""#) ?? false)
        #expect(lines.first?.contains(#""reasons":["pinned"]"#) ?? false)
        #expect(lines.dropFirst().first?.contains(#""action":"remove""#) ?? false)
        #expect(lines.last?.contains(#""dry_run":false,"kept":5,"message_type":"summary","removed":1"#) ?? false)
        #expect(lines.last?.contains(#""time_zone":"Europe/Berlin""#) ?? false)
        #expect(try ids(fixture) == [all[0]] + all[2...])

        #expect(try fixture.run("unpin", String(all[0].prefix(8))).output.hasSuffix(" is no longer pinned\n"))
        #expect(try fixture.run("unpin", all[0]).output.hasSuffix(" was not pinned\n"))
        #expect(try fixture.run("pin").error == "no snapshot is pinned\n")
        #expect(try fixture.run("forget", "--keep-last", "4", "-y", "-q").output.isEmpty)
        #expect(try ids(fixture) == Array(all[2...]))

        // What is left is whole, and the numbers go on.
        #expect(try fixture.run("check", "--read-data").code == .done)
        try backUp(fixture, days: 1)
        #expect(try fixture.run("snapshots", "--json").output.contains(#""sequence":7"#))
    }

    @Test func atATerminalNothingGoesWithoutYes() throws {
        let fixture = try CommandFixture(terminal: Self.terminal)
        defer { try? fixture.folder.remove() }
        try start(fixture, retention: nil)
        try backUp(fixture, days: 4)
        let all = try ids(fixture)
        let run = try fixture.run("forget", "--keep-daily", "3")
        #expect(run.code == .done, "\(run)")
        #expect(run.output.contains("remove  no rule keeps it\n"), "\(run)")
        #expect(run.output.hasSuffix("this was a dry run: add --yes to remove\n"))
        #expect(try ids(fixture) == all)
        #expect(
            try fixture.run("forget", "--keep-daily", "3", "--yes").output.contains(
                "removed 1 snapshot and kept 3 (daily 3;"))
        #expect(try ids(fixture) == Array(all[1...]))
    }

    @Test func moreThanHalfNeedsForce() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try start(fixture, retention: nil)
        try backUp(fixture, days: 5)
        let all = try ids(fixture)
        let dry = try fixture.run("forget", "--keep-last", "1", "--dry-run")
        #expect(dry.code == .done)
        #expect(dry.error.contains("warning: the rules would remove 4 of the 5 complete snapshots of stack 'demo'"))
        let refused = try fixture.run("forget", "--keep-last", "1", "--yes")
        #expect(refused.code == .failed)
        #expect(refused.error.contains("error: the rules would remove 4 of the 5 complete snapshots"))
        #expect(try ids(fixture) == all)
        #expect(try fixture.run("forget", "--keep-last", "1", "--yes", "--force").code == .done)
        #expect(try ids(fixture) == [all[4]])
        // What retention removed is no gap, and its list is part of the repository.
        let check = try fixture.inRepository("check")
        #expect(check.code == .done && !check.error.contains("note:"), "\(check)")
    }

    @Test func backupAppliesThePolicyAndNeverAsks() throws {
        let fixture = try CommandFixture(terminal: Self.terminal)
        defer { try? fixture.folder.remove() }
        try start(fixture, retention: "last: 3, timezone: Europe/Berlin")
        try backUp(fixture, days: 3)
        let first = try ids(fixture)
        fixture.clock.advance(seconds: 86_400)
        let run = try fixture.run("backup")
        #expect(run.code == .done, "\(run)")
        #expect(run.output.hasSuffix("retention: 1 old snapshot removed, 3 kept\n"), "\(run)")
        #expect(try ids(fixture).dropLast() == first[1...])
        fixture.clock.advance(seconds: 86_400)
        let json = try fixture.run("backup", "--json")
        #expect(json.output.contains(#""retention":{"kept":3,"removed":1}"#), "\(json)")
        // The same rules by hand have nothing left to do.
        #expect(try fixture.run("forget", "--dry-run").output.contains("nothing to remove, 3 kept (last 3;"))
    }

    @Test func anIncompleteBackupRemovesNothing() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try start(fixture, retention: nil)
        try backUp(fixture, days: 3)
        try write(fixture, retention: "last: 2", more: ", gone: {volume: {path: ./nosuch}}")
        fixture.clock.advance(seconds: 86_400)
        let run = try fixture.run("backup")
        #expect(run.code == .incomplete, "\(run)")
        #expect(run.error.contains("retention was left out, because the snapshot is incomplete\n"))
        #expect(try ids(fixture).count == 4)
    }

    @Test(arguments: [
        ("last: 1", "which is more than half"),
        ("last: 4, timezone: Nowhere/Land", "knows no time zone 'Nowhere/Land'"),
    ])
    func aRetentionThatFailsIsAWarningAndTheBackupIsGood(rules: String, reason: String) throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try start(fixture, retention: nil)
        try backUp(fixture, days: 5)
        try write(fixture, retention: rules)
        fixture.clock.advance(seconds: 86_400)
        let run = try fixture.run("backup", "--quiet")
        #expect(run.code == .done, "\(run)")
        #expect(run.error.contains("warning: the snapshot is good, but old ones were not removed as the policy says\n"))
        #expect(run.error.contains(reason), "\(run)")
        #expect(try ids(fixture).count == 6)
    }

    @Test func damageStopsRetentionUntilForced() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try start(fixture, retention: nil)
        try backUp(fixture, days: 5)
        let all = try ids(fixture)
        func manifests() throws -> [String] {
            try OutsideFiles.names(in: "\(fixture.repository)/snapshots/demo").filter { $0.hasSuffix(".json") }
        }
        let listing = try manifests()
        #expect(listing.count == 5)
        try AtomicFile.write("{}", to: "\(fixture.repository)/snapshots/demo/\(listing[4])", mode: 0o600)
        let run = try fixture.run("forget", "--keep-last", "3", "--yes")
        #expect(run.code == .damagedRepository, "\(run)")
        #expect(run.error.contains("cannot be read, so nothing was removed"))
        #expect(try ids(fixture) == Array(all[..<4]))
        let forced = try fixture.run("forget", "--keep-last", "3", "--yes", "--force")
        #expect(forced.code == .damagedRepository, "\(forced)")
        #expect(try ids(fixture) == Array(all[1..<4]))
        #expect(try manifests().count == 4)
    }

    @Test func theStackIsThePolicysOrTheOnlyOne() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        #expect(try fixture.inRepository("repository", "init", "--encryption", "none").code == .done)
        let none = try fixture.inRepository("forget", "--keep-last", "1", "--dry-run")
        #expect(none.error == "error: there are no snapshots\n")
        #expect(try fixture.inRepository("backup", "docs", "--stack", "one").code == .done)
        let one = try fixture.inRepository("forget", "--keep-last", "1", "--dry-run")
        #expect(one.output.contains("stack 'one': nothing to remove, 1 kept"), "\(one)")
        let unruly = try fixture.inRepository("forget", "--dry-run")
        #expect(unruly.code == .usage)
        #expect(unruly.error.hasPrefix("error: no rule says what to keep of stack 'one'\n"))
        let zero = try fixture.inRepository("forget", "--keep-last", "0", "--dry-run")
        #expect(zero.code == .usage)
        #expect(zero.error.hasPrefix("error: the retention rules would keep nothing\n"))
        #expect(try fixture.inRepository("backup", "docs", "--stack", "two").code == .done)
        let two = try fixture.inRepository("forget", "--keep-last", "1", "--dry-run")
        #expect(two.code == .usage)
        #expect(two.error.contains("cause: one, two\nhint: Say which one with --stack NAME.\n"))
        #expect(try fixture.inRepository("forget", "--keep-last", "1", "-n", "--stack", "two").code == .done)
        let both = try fixture.inRepository("forget", "--keep-last", "1", "-n", "-y")
        #expect(both.code == .usage)
    }
}

/// Looks at a folder past the program.
private enum OutsideFiles {
    static func names(in path: String) throws -> [String] {
        guard let folder = opendir(path) else { throw SystemCallError("open", path) }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }
}
