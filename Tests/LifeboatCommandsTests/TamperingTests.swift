// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// What the owner of the storage can do to a repository, and what every command says of it.
@Suite struct TamperingTests {
    @Test func `a removed newest snapshot is reported until it is recorded as lost`() throws {
        let fixture = try Tampering.repository(snapshots: 3)
        defer { try? fixture.folder.remove() }
        try Tampering.removeNewest(fixture)
        for arguments in [["snapshots", "-q"], ["restore", "latest", "--to", "out", "-q"], ["ls", "latest", "-q"]] {
            let run = try fixture.run(arguments + ["-r", fixture.repository])
            #expect(run.code == (arguments[0] == "snapshots" ? .damagedRepository : .incomplete), "\(run)")
            #expect(run.error.contains("a newer snapshot of stack 'files' is missing"), "\(run)")
        }
        try fixture.write("after the loss", to: "docs/a.txt")
        let backup = try fixture.inRepository("backup", "docs", "-q")
        #expect(backup.code == .incomplete, "\(backup)")
        #expect(backup.error.contains("number 3 of host 'testhost'"), "\(backup)")
        // The new snapshot names the lost one: the gap shows on every host, for ever.
        let listed = try fixture.inRepository("snapshots", "--json")
        #expect(listed.output.contains("\"sequence\":4"), "\(listed)")
        #expect(listed.code == .damagedRepository, "\(listed)")
        fixture.clock.advance(seconds: 60)
        let next = try fixture.inRepository("backup", "docs", "-q")
        #expect(next.code == .done, "\(next)")
        for run in [
            try fixture.inRepository("check", "-q"), try fixture.inRepository("prune", "--grace", "0", "-q"),
            try fixture.inRepository("snapshots", "-q"),
            try Tampering.elsewhere(["check", "-q", "-r", fixture.repository], fixture),
            try Tampering.elsewhere(["snapshots", "-q", "-r", fixture.repository], fixture),
        ] {
            #expect(run.code == .damagedRepository, "\(run)")
        }
        // Neither is `latest` any more, which is whole.
        #expect(try fixture.inRepository("restore", "latest", "--to", "out2", "-q").code == .done)
        #expect(try fixture.inRepository("repair", "--snapshots", "--yes", "-q").code == .incomplete)
        for arguments in [["check", "-q"], ["prune", "--grace", "0", "-q"], ["snapshots", "-q"]] {
            let run = try fixture.run(arguments + ["-r", fixture.repository])
            #expect(run.code == .done, "\(run)")
        }
    }

    @Test func `without its state a host goes on after what signed lists name`() throws {
        let fixture = try Tampering.repository(snapshots: 3)
        defer { try? fixture.folder.remove() }
        try Tampering.removeNewest(fixture)
        #expect(try fixture.inRepository("repair", "--snapshots", "--yes", "-q").code == .incomplete)
        let key = try TextFile.read("\(fixture.path)/state/signing.key")
        try FileTree.remove("\(fixture.path)/state")
        try fixture.write(String(decoding: key, as: UTF8.self), to: "state/signing.key")
        #expect(chmod("\(fixture.path)/state/signing.key", 0o600) == 0)
        try Tampering.backUp("after both losses", fixture)
        let listed = try fixture.inRepository("snapshots", "--json")
        #expect(listed.output.contains("\"sequence\":4"), "\(listed)")
        #expect(try fixture.inRepository("check", "-q").code == .done)
    }

    // MARK: - A repository in the place of another

    private static let policy = """
        stack: shop
        repository: repository
        encryption: none
        components: {docs: {volume: {path: docs}}}
        """

    @Test func `a repository in the place of another is obeyed by nothing that acts`() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        try fixture.write(Self.policy, to: "lifeboat.yaml")
        #expect(try fixture.run("repository", "init").code == .done)
        #expect(try fixture.run("backup", "-q").code == .done)
        try FileTree.remove(fixture.repository)
        try fixture.write("forged", to: "docs/a.txt")
        for arguments in [["repository", "init"], ["backup", "-q"]] {
            let run = try Tampering.elsewhere(arguments, fixture)
            #expect(run.code == .done, "\(run)")
        }
        try fixture.write("good", to: "docs/a.txt")
        let acting = [
            ["restore", "latest", "--yes"], ["restore", "latest", "--dry-run"], ["plan", "latest"], ["backup"],
            ["drill", "run"], ["forget", "--keep-last", "1", "--yes"], ["prune"], ["prune", "--force"],
            ["pin", "latest"], ["unpin", "latest"], ["repair"], ["repair", "--yes"], ["check"],
            ["key", "add", "--recipient", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
            ["key", "export-recovery-sheet"],
        ]
        for arguments in acting {
            let run = try fixture.run(arguments + ["-q"].filter { _ in arguments[0] != "key" })
            #expect(run.code == .damagedRepository, "\(arguments): \(run)")
            #expect(run.error.contains("lifeboat repository trust"), "\(arguments): \(run)")
        }
        #expect(try fixture.run("check", "-q", "-r", fixture.repository).code == .damagedRepository)
        #expect(try fixture.text("docs/a.txt") == "good")
        let reading = [
            ["restore", "latest", "--to", "out"], ["snapshots"], ["show", "latest"], ["ls", "latest"],
            ["cat", "latest", "a.txt"], ["find", "a.txt"], ["export", "latest", "-o", "out.tar"],
            ["repository", "info"], ["pin"], ["drill", "history"], ["key", "list"],
        ]
        for arguments in reading {
            let run = try fixture.run(arguments + ["-q"])
            #expect(run.code == .incomplete, "\(arguments): \(run)")
            #expect(run.error.contains("not the one this host trusts"), "\(arguments): \(run)")
        }
        // A link to the place is the same place.
        #expect(symlink(fixture.repository, "\(fixture.path)/link") == 0)
        #expect(try fixture.run("forget", "--keep-last", "1", "--yes", "-r", "link").code == .damagedRepository)
        #expect(try fixture.run("repository", "trust", "--yes").code == .done)
        #expect(try fixture.run("restore", "latest", "--to", "trusted", "-q").code == .done)
    }

    @Test func `every command that takes a policy requires its encryption`() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        try fixture.write(Self.policy, to: "lifeboat.yaml")
        #expect(try fixture.run("repository", "init").code == .done)
        #expect(try fixture.run("backup", "-q").code == .done)
        let encrypted = Self.policy.replacing("encryption: none", with: "encryption: {passphrase: {file: phrase}}")
        try fixture.write(encrypted, to: "lifeboat.yaml")
        try fixture.write("a passphrase\n", to: "phrase")
        #expect(chmod("\(fixture.path)/phrase", 0o600) == 0)
        for arguments in [
            ["restore", "latest", "--yes"], ["restore", "latest", "--yes", "-r", fixture.repository],
            ["plan", "latest"], ["drill", "run"], ["forget", "--keep-last", "1", "--yes"], ["prune"], ["check"],
            ["backup"], ["restore", "latest", "--to", "out"],
        ] {
            let run = try fixture.run(arguments)
            #expect(run.exit != 0, "\(arguments): \(run)")
        }
        #expect(!fixture.exists("out"))
    }

    // MARK: - Signatures

    @Test func `a flipped or missing signature of the configuration is found and made anew`() throws {
        let fixture = try Tampering.repository(snapshots: 1)
        defer { try? fixture.folder.remove() }
        let signature = try #require(try Tampering.names("./keys/config-*.minisig", fixture).first)
        let sound = try TextFile.read(signature)
        var flipped = sound
        let line = try #require(flipped.firstIndex(of: 0x0A))
        flipped[line + 20] ^= 4
        try AtomicFile.write(String(decoding: flipped, as: UTF8.self), to: signature)
        let check = try fixture.inRepository("check", "-q")
        #expect(check.code == .damagedRepository && check.error.contains("config-"), "\(check)")
        #expect(try fixture.inRepository("repair", "--yes", "-q").code == .done)
        #expect(try fixture.inRepository("check", "-q").code == .done)
        #expect(unlink(signature) == 0)
        #expect(try fixture.inRepository("check", "-q").code == .damagedRepository)
        #expect(try fixture.inRepository("repair", "--yes", "-q").code == .done)
        #expect(try fixture.inRepository("check", "-q").code == .done)
    }

    // MARK: - A reader that goes away

    @Test func `a verdict survives a reader that goes away`() throws {
        let fixture = try Tampering.repository(snapshots: 1)
        defer { try? fixture.folder.remove() }
        func run(_ arguments: [String]) -> (code: ExitCode, error: String) {
            let error = CollectedStream()
            let context = CommandContext(
                clock: fixture.clock, environment: fixture.environment, workingDirectory: fixture.path,
                terminal: TerminalFacts(),
                output: CommandOutput(standard: FailingStream(errorNumber: EPIPE), error: error),
                input: GivenLines(""), processRunner: SystemProcessRunner(), cancellation: Cancellation(),
                host: HostFacts(name: "testhost", userID: geteuid(), processors: 1))
            let code = LifeboatProgram.run(arguments + ["-r", fixture.repository], context)
            return (code, String(decoding: error.bytes, as: UTF8.self))
        }
        #expect(run(["check"]).code == .done)
        #expect(run(["check", "--json"]).code == .done)
        let backup = run(["backup", "docs", "--json"])
        #expect(backup.code == .done)
        // The backup was made, whoever read of it.
        #expect(try fixture.inRepository("snapshots", "--json").output.contains("\"snapshots\":2"))
        for pack in try Tampering.names("./packs/*", fixture) { #expect(unlink(pack) == 0) }
        for arguments in [["check"], ["check", "--json"], ["check", "--read-data"], ["repair"]] {
            let result = run(arguments)
            #expect(result.code == .damagedRepository, "\(arguments)")
            if !arguments.contains("--json") { #expect(result.error.contains("error:"), "\(arguments)") }
        }
        #expect(run(["restore", "latest", "--to", "out"]).code != .done)
    }

    // MARK: - Clocks

    @Test func `a snapshot dated after now is named and chosen by its id only`() throws {
        let fixture = try Tampering.repository(snapshots: 0)
        defer { try? fixture.folder.remove() }
        try fixture.write("ahead", to: "docs/a.txt")
        let ahead = FixedClock(Timestamp(year: 2031, month: 11, day: 21, hour: 2))
        let made = try InProcessRunner(clock: ahead).run(
            ["backup", "docs", "--json", "-r", fixture.repository], environment: fixture.environment, in: fixture.path)
        #expect(made.code == .done, "\(made)")
        let id = try #require(made.output.firstMatch(of: #/"snapshot":"([0-9a-f]{64})"/#)).output.1
        // Nothing else is there: it is not chosen even then.
        let alone = try fixture.inRepository("restore", "latest", "--to", "alone", "-q")
        #expect(alone.code == .failed && alone.error.contains(id.prefix(12)), "\(alone)")
        try Tampering.backUp("now", fixture)
        for arguments in [["latest"], ["--at", "2032-01-01"]] {
            let run = try fixture.run(
                ["restore"] + arguments + ["--to", "out\(arguments.count)", "-q", "-r", fixture.repository])
            #expect(run.code == .done, "\(run)")
            #expect(run.error.contains(id.prefix(12)) && run.error.contains("2031-11-21"), "\(run)")
            #expect(try fixture.text("out\(arguments.count)\(fixture.path)/docs/a.txt") == "now")
        }
        let named = try fixture.inRepository("restore", String(id), "--to", "named", "-q")
        #expect(named.code == .done && named.error.isEmpty, "\(named)")
        #expect(try fixture.text("named\(fixture.path)/docs/a.txt") == "ahead")
        // The number goes on, and nothing is wrong with the repository.
        let listed = try fixture.inRepository("snapshots", "--json")
        #expect(listed.output.contains("\"sequence\":2"), "\(listed)")
        #expect(try fixture.inRepository("check", "-q").code == .done)
    }
}
