// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// A host whose cache or state directory cannot be written.
struct WithoutCacheTests {
    /// Runs `body` with a small file system below the fixture's folder.
    private func withDisk(_ fixture: CommandFixture, _ name: String, _ body: (String) throws -> Void) throws {
        let disk = "\(fixture.path)/\(name)"
        try FileTree.createFolders(disk)
        try #require(mount("lifeboat-test", disk, "tmpfs", 0, "size=1m") == 0)
        defer { umount2(disk, Int32(MNT_DETACH)) }
        try body(disk)
    }

    private static let commands: [[String]] = [
        ["backup", "docs"], ["snapshots"], ["show", "latest"], ["ls", "latest"], ["check"], ["check", "--read-data"],
        ["check", "--read-data=50%"], ["find", "a.txt"], ["restore", "latest", "--to", "restored"],
        ["forget", "--keep-last", "1", "--yes", "--force"], ["prune", "--grace", "0s"], ["check", "--read-data"],
    ]

    @Test(
        "with a full cache every command does its work, and says that it went without",
        .enabled(if: geteuid() == 0, "mounts a file system"), arguments: [false, true])
    func fullCache(isEncrypted: Bool) throws {
        let fixture = try CommandFixture(.binary)
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        try fixture.write("phrase\n", to: "phrase")
        _ = try ShellProof.run("chmod 600 \(fixture.path)/phrase")
        let keys = isEncrypted ? ["--passphrase-file", "phrase"] : []
        #expect(
            try fixture.inRepository(
                "repository", "init", isEncrypted ? "--passphrase-file" : "--encryption",
                isEncrypted ? "phrase" : "none"
            ).exit == 0)
        let filled = try fixture.run(["backup", "docs", "-r", fixture.repository] + keys)
        #expect(filled.exit == 0, "\(filled)")
        try withDisk(fixture, "full") { disk in
            _ = try ShellProof.run("head -c 2M /dev/zero >\(disk)/filler; true")
            for command in Self.commands {
                let run = try fixture.run(command + ["-r", fixture.repository, "--cache", "\(disk)/cache"] + keys)
                #expect(run.exit == 0, "\(command): \(run)")
                #expect(run.error.contains("the local cache cannot be written; it goes on without"), "\(run)")
            }
            #expect(try fixture.text("restored\(fixture.path)/docs/a.txt") == "first\n")
        }
    }

    @Test(
        "a host that holds recipients only backs up with a full cache",
        .enabled(if: geteuid() == 0, "mounts a file system"))
    func recipientsOnly() throws {
        let fixture = try CommandFixture(.binary)
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        let key = try fixture.run("key", "generate", "identity")
        let recipient = try #require((key.output + key.error).firstMatch(of: #/age1[a-z0-9]{58}/#)).output
        #expect(try fixture.inRepository("repository", "init", "--recipient", String(recipient)).exit == 0)
        try withDisk(fixture, "full") { disk in
            _ = try ShellProof.run("head -c 2M /dev/zero >\(disk)/filler; true")
            for _ in 0..<2 {
                let run = try fixture.inRepository("backup", "docs", "--cache", "\(disk)/cache")
                #expect(run.exit == 0 && run.error.contains("cache cannot be written"), "\(run)")
            }
        }
        let checked = try fixture.inRepository("check", "--read-data", "--identity", "identity")
        #expect(checked.exit == 0 && checked.output.contains("checked 2 snapshots"), "\(checked)")
    }

    @Test(
        "a backup that committed its snapshot ends with 0 when this host cannot remember it, and says so",
        .enabled(if: geteuid() == 0, "mounts a file system"))
    func readOnlyState() throws {
        let fixture = try CommandFixture(.binary)
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        try withDisk(fixture, "host") { disk in
            let environment = fixture.environment.merging(["LIFEBOAT_STATE": "\(disk)/state"]) { $1 }
            func run(_ words: String...) throws -> LifeboatRun {
                try fixture.runner.run(
                    words + ["-r", fixture.repository], environment: environment, input: "",
                    workingDirectory: fixture.path)
            }
            #expect(try run("repository", "init", "--encryption", "none").exit == 0)
            #expect(try run("backup", "docs").exit == 0)
            try #require(mount("lifeboat-test", disk, nil, UInt(MS_REMOUNT | MS_RDONLY), nil) == 0)
            let second = try run("backup", "docs", "--quiet")
            #expect(second.exit == 0, "\(second)")
            #expect(second.error.contains("warning: this host cannot remember what it saw of the repository"))
            let shown = try run("snapshots", "--json").output
            #expect(shown.ranges(of: "\"message_type\":\"snapshot\"").count == 2, "\(shown)")
        }
    }

    @Test("reading needs neither state directory nor cache nor HOME", arguments: CommandFixture.Kind.allCases)
    func nothing(_ kind: CommandFixture.Kind) throws {
        var fixture = try CommandFixture(kind)
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        #expect(try fixture.inRepository("repository", "init", "--encryption", "none").exit == 0)
        #expect(try fixture.inRepository("backup", "docs").exit == 0)
        var environment: [String: String] = [:]
        if kind == .inProcess {
            // Another user's process without a home.
            fixture.runner = InProcessRunner(
                clock: fixture.clock, host: HostFacts(name: "testhost", userID: 1000, processors: 2))
        } else {
            environment = ["LIFEBOAT_STATE": "/dev/null/state", "LIFEBOAT_CACHE": "/dev/null/cache"]
        }
        for command in [
            ["snapshots"], ["show", "latest"], ["ls", "latest"], ["cat", "latest", "\(fixture.path)/docs/a.txt"],
            ["check", "--read-data"], ["find", "a.txt"], ["repository", "info"], ["key", "list"],
            ["restore", "latest", "--to", "restored"],
        ] {
            let run = try fixture.runner.run(
                command + ["-r", fixture.repository], environment: environment, input: "",
                workingDirectory: fixture.path)
            #expect(run.exit == 0, "\(command): \(run)")
        }
        #expect(try fixture.text("restored\(fixture.path)/docs/a.txt") == "first\n")
        // Writing needs the key this host signs with.
        let backup = try fixture.runner.run(
            ["backup", "docs", "-r", fixture.repository], environment: environment, input: "",
            workingDirectory: fixture.path)
        #expect(backup.code == .failed && !backup.error.isEmpty, "\(backup)")
    }
}
