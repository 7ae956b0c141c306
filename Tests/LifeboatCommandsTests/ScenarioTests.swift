// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// Command lines one after the other, in this process and as the built program.
struct ScenarioTests {
    @Test(arguments: CommandFixture.Kind.allCases)
    func filesGoInAndComeOut(_ kind: CommandFixture.Kind) throws {
        let fixture = try CommandFixture(kind)
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        #expect(try fixture.inRepository("repository", "init", "--encryption", "none").code == .done)
        let again = try fixture.inRepository("repository", "init", "--encryption", "none")
        #expect(again.code == .failed)
        #expect(again.error.contains("there is a repository at"))

        #expect(try fixture.inRepository("snapshots").error == "there are no snapshots\n")
        let first = try fixture.inRepository("backup", "docs")
        #expect(first.code == .done, "\(first)")
        #expect(first.error.isEmpty)
        try fixture.write("changed\n", to: "docs/b.txt")
        try fixture.write("new\n", to: "docs/d.txt")
        fixture.clock.advance(seconds: 60)
        #expect(unlink("\(fixture.path)/docs/a.txt") == 0)
        #expect(try fixture.inRepository("backup", "docs").code == .done)

        let listed = try fixture.inRepository("snapshots", "--json").output.split(separator: "\n")
        #expect(listed.count == 3)
        let ids = listed.compactMap { line in
            line.firstMatch(of: #/"id":"([0-9a-f]{64})"/#).map { String($0.output.1) }
        }
        #expect(ids.count == 2)
        guard ids.count == 2 else { return }

        let docs = "\(fixture.path)/docs"
        #expect(try fixture.inRepository("ls", ids[0]).output == "\(docs)/a.txt\n\(docs)/b.txt\n\(docs)/sub\n")
        #expect(try fixture.inRepository("ls", ids[0], "sub").output == "\(docs)/sub/c.txt\n")
        #expect(try fixture.inRepository("ls", "latest", "\(docs)/sub", "-R").output == "\(docs)/sub/c.txt\n")
        let difference = try fixture.inRepository("diff", ids[0], ids[1])
        #expect(difference.output.contains("- \(docs)/a.txt\nM \(docs)/b.txt\n+ \(docs)/d.txt\n"), "\(difference)")
        #expect(try fixture.inRepository("cat", ids[0], "\(docs)/b.txt").output == "second\n")
        #expect(try fixture.inRepository("cat", "latest", "b.txt").output == "changed\n")
        let found = try fixture.inRepository("find", "a.*")
        #expect(found.output == "\(ids[0].prefix(12))  \(docs)/a.txt\n")
        #expect(try fixture.inRepository("find", "nosuch").code == .failed)

        let restored = try fixture.inRepository("restore", ids[0], "--to", "out")
        #expect(restored.code == .done, "\(restored)")
        #expect(try fixture.text("out\(docs)/a.txt") == "first\n")
        #expect(try fixture.text("out\(docs)/sub/c.txt") == "third\n")
        #expect(try fixture.inRepository("restore", ids[0], "--to", "out").code == .failed)
        #expect(try fixture.inRepository("restore", "latest", "--to", "part", "--path", "sub").code == .done)
        #expect(fixture.exists("part\(docs)/sub/c.txt"))
        #expect(!fixture.exists("part\(docs)/b.txt"))

        let check = try fixture.inRepository("check", "--read-data")
        #expect(check.code == .done, "\(check)")
        #expect(check.output.hasSuffix("no problems were found\n"))
    }

    @Test(arguments: CommandFixture.Kind.allCases)
    func aStackComesBackAndIsRolledBackWhenItStaysIll(_ kind: CommandFixture.Kind) throws {
        let fixture = try CommandFixture(kind)
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        func policy(health: String) -> String {
            """
            stack: demo
            repository: ./repository
            encryption: none
            components: {documents: {volume: {path: ./docs}}}
            services:
              commands:
                stop: [["rm", "-f", "running"]]
                start: [["touch", "running"]]
                status: [["test", "-e", "running"]]
            health:
              - {command: ["\(health)"], within: \(health == "false" ? "300ms" : "20s"), interval: 100ms}

            """
        }
        try fixture.write(policy(health: "true"), to: "lifeboat.yaml")
        try fixture.write("", to: "running")
        #expect(try fixture.run("repository", "init", "--encryption", "none").code == .done)
        let backup = try fixture.run("backup")
        #expect(backup.code == .done, "\(backup)")
        let plan = try fixture.run("plan", "latest")
        #expect(plan.output.contains("stop the services"), "\(plan)")
        try fixture.write("spoiled\n", to: "docs/a.txt")

        let unasked = try fixture.run("restore", "latest")
        #expect(unasked.code == .usage)
        #expect(
            unasked.error
                == "error: a restore replaces live data, and there is no terminal to ask on\nhint: Add --yes.\n")
        #expect(try fixture.text("docs/a.txt") == "spoiled\n")

        let restored = try fixture.run("restore", "latest", "--yes", "--keep-old")
        #expect(restored.code == .done, "\(restored)")
        #expect(restored.output.contains("recovery time: "))
        #expect(try fixture.text("docs/a.txt") == "first\n")
        #expect(fixture.exists("running"))

        let back = try fixture.run("restore", "--rollback", "--yes")
        #expect(back.code == .done, "\(back)")
        #expect(try fixture.text("docs/a.txt") == "spoiled\n")
        #expect(fixture.exists("running"))
        #expect(try fixture.run("restore", "--resume").output == "there is nothing to resume\n")

        try fixture.write(policy(health: "false"), to: "lifeboat.yaml")
        let ill = try fixture.run("restore", "latest", "--yes")
        #expect(ill.code == .rolledBack, "\(ill)")
        #expect(try fixture.text("docs/a.txt") == "spoiled\n")
        #expect(fixture.exists("running"))
    }

    @Test func anUnreadablePartMakesTheSnapshotIncompleteAndIsNamed() throws {
        // Not as root: root reads everything, so a component that is gone stands in for it.
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        try fixture.write(
            """
            stack: demo
            repository: ./repository
            encryption: none
            components: {documents: {volume: {path: ./docs}}, gone: {volume: {path: ./nosuch}}}

            """, to: "lifeboat.yaml")
        #expect(try fixture.run("repository", "init", "--encryption", "none").code == .done)
        let run = try fixture.run("backup")
        #expect(run.code == .incomplete, "\(run)")
        #expect(run.error.contains("error: component 'gone' could not be captured\n"))
        #expect(run.output.contains("INCOMPLETE: 1 problem;"))
        #expect(try fixture.run("snapshots").output.contains("gone (incomplete)"))
        // `latest` is the newest complete one: there is none.
        #expect(try fixture.run("ls", "latest").code == .failed)
        let quiet = try fixture.run("backup", "documents", "--quiet")
        #expect(quiet == LifeboatRun(exit: 0, standardOutput: [], standardError: []))
    }

    @Test func theTypedNameOfTheStackIsAsked() throws {
        let terminal = TerminalFacts(inputIsTerminal: true, outputIsTerminal: true, errorIsTerminal: true, columns: 100)
        let fixture = try CommandFixture(terminal: terminal)
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        try fixture.write(
            "stack: demo\nrepository: ./repository\nencryption: none\n"
                + "components: {documents: {volume: {path: ./docs}}}\n", to: "lifeboat.yaml")
        #expect(try fixture.run("repository", "init", "--encryption", "none").code == .done)
        #expect(try fixture.run("backup").code == .done)
        try fixture.write("spoiled\n", to: "docs/a.txt")
        for answer in ["yes\n", "", "demo2\n"] {
            let refused = try fixture.run(["restore", "latest"], input: answer)
            #expect(refused.code == .usage)
            #expect(refused.error.contains("Type its name to go on: "))
            #expect(try fixture.text("docs/a.txt") == "spoiled\n")
        }
        let run = try fixture.run(["restore", "latest"], input: "demo\n")
        #expect(run.code == .done, "\(run)")
        #expect(try fixture.text("docs/a.txt") == "first\n")
    }

    @Test func damageIsNamedWithTheExitCodeForIt() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        #expect(try fixture.inRepository("repository", "init", "--encryption", "none").code == .done)
        #expect(try fixture.inRepository("backup", "docs").code == .done)
        let packs = try Self.files(below: "\(fixture.repository)/packs")
        #expect(packs.count == 1)
        for pack in packs { #expect(unlink(pack) == 0) }
        let check = try fixture.inRepository("check")
        #expect(check.code == .damagedRepository)
        #expect(check.error.contains("is damaged\ncause: "))
        #expect(check.error.contains("it affects 1 snapshot: "))
        #expect(try fixture.inRepository("cat", "latest", "a.txt").code == .damagedRepository)
        #expect(try fixture.inRepository("snapshots").code == .done)
    }

    @Test func anArchiveIsWholeOrNotThere() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        #expect(try fixture.inRepository("repository", "init", "--encryption", "none").code == .done)
        #expect(try fixture.inRepository("backup", "docs").code == .done)
        let run = try fixture.inRepository("export", "latest", "-o", "all.tar")
        #expect(run.code == .done, "\(run)")
        #expect(try fixture.inRepository("export", "latest", "-o", "all.tar").code == .failed)
        let piped = try fixture.inRepository("export", "latest", "-o", "-", "--format", "tar")
        #expect(piped.standardOutput == (try TextFile.read("\(fixture.path)/all.tar")))
        #expect(piped.error.contains("exported 5 objects"))

        for pack in try Self.files(below: "\(fixture.repository)/packs") { #expect(unlink(pack) == 0) }
        let broken = try fixture.inRepository("export", "latest", "-o", "broken.zip")
        #expect(broken.code == .damagedRepository)
        #expect(try Self.files(below: fixture.path).filter { $0.contains("broken") }.isEmpty)
    }

    @Test(arguments: [(EPIPE, true), (ENOSPC, false)])
    func listingsEndQuietlyWhenTheirReaderGoesAndLoudlyWhenTheDiskIsFull(errorNumber: Int32, isQuiet: Bool) throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        #expect(try fixture.inRepository("repository", "init", "--encryption", "none").code == .done)
        #expect(try fixture.inRepository("backup", "docs").code == .done)
        let error = CollectedStream()
        let context = CommandContext(
            clock: fixture.clock, environment: fixture.environment, workingDirectory: fixture.path,
            terminal: TerminalFacts(),
            output: CommandOutput(standard: FailingStream(errorNumber: errorNumber), error: error),
            input: GivenLines(""), processRunner: SystemProcessRunner(), cancellation: Cancellation(),
            host: HostFacts(name: "testhost", userID: geteuid(), processors: 1))
        let listing = LifeboatProgram.run(["ls", "latest", "-r", fixture.repository], context)
        #expect(listing == (isQuiet ? .done : .failed))
        #expect(error.bytes.isEmpty == isQuiet)
        // Data that did not arrive is a failure in both cases.
        #expect(LifeboatProgram.run(["cat", "latest", "a.txt", "-r", fixture.repository], context) == .failed)
    }

    @Test func aCancelledRunSaysSo() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        #expect(try fixture.inRepository("repository", "init", "--encryption", "none").code == .done)
        let cancellation = Cancellation()
        cancellation.cancel()
        let runner = InProcessRunner(clock: fixture.clock, cancellation: cancellation)
        let run = try runner.run(
            ["backup", "-r", fixture.repository, "docs"], environment: fixture.environment, in: fixture.path)
        #expect(run.code == .interrupted, "\(run)")
        #expect(run.error == "error: interrupted\n")
        #expect(try fixture.inRepository("snapshots").error == "there are no snapshots\n")
    }

    @Test func aSignalEndsARestoreInOrder() throws {
        let fixture = try CommandFixture(.binary)
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        try fixture.write(
            """
            stack: demo
            repository: ./repository
            encryption: none
            components: {documents: {volume: {path: ./docs}}}
            services:
              commands: {stop: [["sleep", "60"]], start: [["touch", "started"]], status: [["true"]]}

            """, to: "lifeboat.yaml")
        #expect(try fixture.run("repository", "init", "--encryption", "none").code == .done)
        #expect(try fixture.run("backup").code == .done)
        try fixture.write("spoiled\n", to: "docs/a.txt")
        let running = try BinaryRunner().start(
            ["restore", "latest", "--yes", "--json"], environment: fixture.environment, in: fixture.path)
        for _ in 0..<600 {
            if String(decoding: try running.outputSoFar(), as: UTF8.self).contains(#""phase":"stop""#) { break }
            SystemClock().sleep(seconds: 0.05)
        }
        running.send(SIGTERM)
        let run = try running.wait()
        #expect(run.code == .interrupted, "\(run)")
        #expect(run.output.contains(#""exit_code":130"#), "\(run)")
        #expect(try fixture.text("docs/a.txt") == "spoiled\n")
        #expect(fixture.exists("started"))
    }

    @Test func theStarterPolicyIsValidAndNeverReplacesAnything() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        let run = try fixture.run("init", "--stack", "demo", "--repository", "./repository")
        #expect(run.code == .done, "\(run)")
        let text = try fixture.text("lifeboat.yaml")
        #expect(text.contains("stack: demo\n"))
        let again = try fixture.run("init")
        #expect(again.code == .failed)
        #expect(again.error.hasPrefix("error: 'lifeboat.yaml' exists already\n"))
        #expect(try fixture.text("lifeboat.yaml") == text)
        try fixture.write("x", to: "data/x")
        #expect(try fixture.run("repository", "init", "--encryption", "none").code == .done)
        #expect(try fixture.run("backup").code == .done)
    }

    @Test func `a starter policy beside a Compose file has what it sees`() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try fixture.write("DB_NAME=semantik\nDB_PASSWORD=hunter2\n", to: ".env")
        try fixture.write("x", to: "documents/x")
        try fixture.write(
            """
            services:
              api: {image: api, volumes: ["./documents:/data"]}
              db: {image: "postgres:17", environment: {POSTGRES_DB: $DB_NAME, POSTGRES_PASSWORD: $DB_PASSWORD}}

            """, to: "compose.yaml")
        let run = try fixture.run("init", "--stack", "demo", "--repository", "./repository")
        #expect(run.code == .done && run.output.contains("components: documents, db\n"), "\(run)")
        let text = try fixture.text("lifeboat.yaml")
        #expect(text.contains("database: semantik") && text.contains("{env: DB_PASSWORD}"), "\(text)")
        #expect(!text.contains("hunter2"))
        #expect(try fixture.run("repository", "init", "--encryption", "none").code == .done)
        #expect(try fixture.run("backup", "documents").code == .done)

        try fixture.write("- no project\n", to: "compose.yaml")
        let broken = try fixture.run("init", "--policy", "other.yaml")
        #expect(broken.code == .failed && !fixture.exists("other.yaml"), "\(broken)")
        #expect(try fixture.run("init", "--policy", "other.yaml", "--volume", "documents").code == .done)
    }

    /// Regular files below a folder.
    private static func files(below path: String) throws -> [String] {
        guard let stream = opendir(path) else { throw SystemCallError("open", path) }
        defer { closedir(stream) }
        var files: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name == "." || name == ".." { continue }
            if Int32(entry.pointee.d_type) == Int32(DT_DIR) {
                files += try Self.files(below: "\(path)/\(name)")
            } else {
                files.append("\(path)/\(name)")
            }
        }
        return files
    }
}
