// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

@Suite("Encrypted repositories")
struct EncryptionTests {
    /// The recipient of a fresh identity in `name`.
    private static func identity(_ fixture: CommandFixture, _ name: String = "identity.txt") throws -> String {
        let run = try fixture.run("key", "generate", name)
        #expect(run.exit == 0, "\(run)")
        return run.output.split(separator: "\n").map(String.init).first ?? ""
    }

    private static func encrypted(_ kind: CommandFixture.Kind = .inProcess) throws -> (
        CommandFixture, recipient: String
    ) {
        let fixture = try CommandFixture(kind)
        try fixture.makeDocuments()
        let recipient = try identity(fixture)
        let created = try fixture.inRepository("repository", "init", "--recipient", recipient)
        #expect(created.exit == 0, "\(created)")
        return (fixture, recipient)
    }

    private static func files(_ folder: String) throws -> [String] {
        try ShellProof.run("find \(folder) -type f | sort").split(separator: "\n").map(String.init)
    }

    @Test(
        "a host with recipients only backs up incrementally and can read nothing back",
        arguments: CommandFixture.Kind.allCases)
    func writeOnlyHost(_ kind: CommandFixture.Kind) throws {
        let (fixture, _) = try Self.encrypted(kind)
        defer { try? fixture.folder.remove() }
        // A file that changed just now may change again unnoticed: it would be read again.
        usleep(50_000)
        let first = try fixture.inRepository("backup", "docs", "--json")
        #expect(first.exit == 0, "\(first)")
        let second = try fixture.inRepository("backup", "docs", "--json")
        #expect(second.exit == 0, "\(second)")
        #expect(second.output.contains("\"files_unchanged\":"), "\(second)")
        #expect(second.output.contains("\"bytes_new\":0"), "\(second)")
        for command in [["snapshots"], ["ls", "latest"], ["restore", "latest", "--to", "none"], ["check"], ["prune"]] {
            let run = try fixture.run(command + ["-r", fixture.repository])
            #expect(run.code == .wrongKey, "\(command): \(run)")
            #expect(run.error.contains("--identity"), "\(run)")
        }
        #expect(!fixture.exists("none/docs"))
        // Without the local copies: one full upload, no error, no loss.
        try FileTree.remove("\(fixture.path)/cache")
        let third = try fixture.inRepository("backup", "docs", "--json")
        #expect(third.exit == 0, "\(third)")
        #expect(!third.output.contains("\"bytes_new\":0"), "\(third)")
        let checked = try fixture.inRepository("check", "--read-data", "--identity", "identity.txt")
        #expect(checked.exit == 0, "\(checked)")
        let restored = try fixture.inRepository("restore", "latest", "--to", "out", "--identity", "identity.txt")
        #expect(restored.exit == 0, "\(restored)")
        #expect(try ShellProof.run("cd \(fixture.path) && find out -name c.txt -exec cat {} +") == "third\n")
    }

    @Test("Debian's age, zstd, tar and minisign read what is stored")
    func outsideTools() throws {
        let (fixture, _) = try Self.encrypted()
        defer { try? fixture.folder.remove() }
        #expect(try fixture.inRepository("backup", "docs").exit == 0)
        let stored = try Self.files(fixture.repository)
        for file in stored {
            let name = file.dropFirst(fixture.repository.count + 1)
            #expect(
                ["README.txt", "config.json"].contains(name) || name.hasSuffix(".age") || name.hasSuffix(".minisig"),
                "\(name) is not encrypted")
        }
        let pack = try #require(stored.first { $0.hasSuffix(".tar.zst.age") })
        let members = try ShellProof.run("age -d -i \(fixture.path)/identity.txt \(pack) | zstd -dc | tar -t")
        #expect(!members.isEmpty)
        let keys = try fixture.inRepository("key", "list", "--json")
        let signer = try #require(keys.output.firstMatch(of: #/"key":"(RW[^"]+)"/#)).output.1
        let manifest = try #require(stored.first { $0.hasSuffix(".json.age") && $0.contains("/snapshots/") })
        let verified = try ShellProof.run("minisign -Vm \(manifest) -P \(signer)")
        #expect(verified.contains("verified"), "\(verified)")
        let configSignature = try #require(stored.first { $0.contains("/keys/config-") })
        let config = try ShellProof.run(
            "minisign -Vm \(fixture.repository)/config.json -x \(configSignature) -P \(signer)")
        #expect(config.contains("verified"), "\(config)")
    }

    @Test func `a pack that is damaged or missing is named as the storage names it`() throws {
        let (fixture, _) = try Self.encrypted()
        defer { try? fixture.folder.remove() }
        #expect(try fixture.inRepository("backup", "docs").exit == 0)
        let pack = try #require(try Self.files(fixture.repository).first { $0.hasSuffix(".tar.zst.age") })
        let name = String(pack.dropFirst(fixture.repository.count + 1))
        func expectNamed(_ arguments: String...) throws {
            let key = ["-r", fixture.repository, "--identity", "identity.txt"]
            let run = try fixture.run(arguments + key)
            #expect(run.code == .damagedRepository && (run.output + run.error).contains(name), "\(run)")
        }
        #expect(truncate(pack, 300) == 0)
        try expectNamed("check", "--read-data")
        try expectNamed("cat", "latest", "a.txt")
        #expect(unlink(pack) == 0)
        try expectNamed("check")
        try expectNamed("cat", "latest", "a.txt")
    }

    @Test("the wrong identity and the wrong passphrase are told by exit code 12, and write nothing")
    func wrongKeys() throws {
        let (fixture, _) = try Self.encrypted()
        defer { try? fixture.folder.remove() }
        #expect(try fixture.inRepository("backup", "docs").exit == 0)
        _ = try Self.identity(fixture, "other.txt")
        let before = try Self.files(fixture.repository)
        for command in [["snapshots"], ["backup", "docs"]] {
            let run = try fixture.run(command + ["-r", fixture.repository, "--identity", "other.txt"])
            #expect(run.code == .wrongKey, "\(run)")
        }
        #expect(try Self.files(fixture.repository) == before)
    }

    @Test("a passphrase opens what it wraps; another does not")
    func passphrase() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        try fixture.write("correct horse battery staple\n", to: "right")
        try fixture.write("wrong horse\n", to: "wrong")
        #expect(try ShellProof.run("chmod 600 \(fixture.path)/right \(fixture.path)/wrong") == "")
        let created = try fixture.inRepository("repository", "init", "--passphrase-file", "right")
        #expect(created.exit == 0, "\(created)")
        #expect(try fixture.inRepository("backup", "docs").exit == 0)
        #expect(try fixture.inRepository("snapshots", "--passphrase-file", "wrong").code == .wrongKey)
        let listed = try fixture.inRepository("restore", "latest", "--to", "out", "--passphrase-file", "right")
        #expect(listed.exit == 0, "\(listed)")
        #expect(try ShellProof.run("cd \(fixture.path) && find out -name a.txt -exec cat {} +") == "first\n")
        let sheet = try fixture.inRepository("key", "export-recovery-sheet")
        #expect(sheet.exit == 0)
        #expect(!sheet.output.contains("correct horse"))
        #expect(sheet.output.split(separator: "\n", omittingEmptySubsequences: false).count <= 60)
    }

    @Test("a passphrase is added and taken away; the last way in stays")
    func changedPassphrase() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        for name in ["old", "new"] { try fixture.write("\(name) horse\n", to: name) }
        #expect(try ShellProof.run("chmod 600 \(fixture.path)/old \(fixture.path)/new") == "")
        #expect(try fixture.inRepository("repository", "init", "--passphrase-file", "old").exit == 0)
        #expect(try fixture.inRepository("backup", "docs").exit == 0)
        let keyless = try fixture.inRepository("key", "add", "--new-passphrase-file", "new")
        #expect(keyless.code == .wrongKey, "\(keyless)")
        let last = try fixture.inRepository(
            "key", "remove", "--old-passphrase-file", "old", "--passphrase-file", "old")
        #expect(last.code == .failed && last.error.contains("--new-passphrase-file"), "\(last)")
        let added = try fixture.inRepository(
            "key", "add", "--new-passphrase-file", "new", "--passphrase-file", "old")
        #expect(added.exit == 0, "\(added)")
        #expect(try fixture.inRepository("ls", "latest", "--passphrase-file", "old").exit == 0)
        let removed = try fixture.inRepository(
            "key", "remove", "--old-passphrase-file", "old", "--passphrase-file", "new")
        #expect(removed.exit == 0, "\(removed)")
        #expect(try fixture.inRepository("ls", "latest", "--passphrase-file", "old").code == .wrongKey)
        // What was written before it was added.
        #expect(try fixture.inRepository("ls", "latest", "--passphrase-file", "new").exit == 0)
        // A key that rots is found while another way in may still be left.
        let key = try #require(try Self.files("\(fixture.repository)/keys").first { $0.hasSuffix(".age") })
        _ = try ShellProof.run("printf x >> \(key)")
        for command in [["check", "--passphrase-file", "new"], ["scrub"]] {
            let found = try fixture.run(command + ["-r", fixture.repository])
            #expect(found.exit != 0 && (found.output + found.error).contains("keys/"), "\(found)")
        }
    }

    @Test("who owns the storage cannot add a reader or replace the repository")
    func changedConfig() throws {
        let (fixture, recipient) = try Self.encrypted()
        defer { try? fixture.folder.remove() }
        #expect(try fixture.inRepository("backup", "docs").exit == 0)
        // A second repository of the owner's own making: its config is sound and signed by his key.
        let owner = try CommandFixture()
        defer { try? owner.folder.remove() }
        let intruder = try Self.identity(owner)
        #expect(
            try owner.inRepository("repository", "init", "--recipient", recipient, "--recipient", intruder).exit == 0)
        let before = try Self.files(fixture.repository)
        #expect(try ShellProof.run("cp -r \(owner.repository)/. \(fixture.repository)/") == "")
        let replaced = try fixture.inRepository("backup", "docs")
        #expect(replaced.code == .damagedRepository, "\(replaced)")
        #expect(replaced.error.contains("trust"), "\(replaced)")
        #expect(
            try Self.files(fixture.repository).filter { $0.contains("/packs/") }.count
                == before.filter { $0.contains("/packs/") }.count)
        // Nothing is trusted by looking at it.
        #expect(try fixture.inRepository("repository", "trust").exit == 1)
        #expect(try fixture.inRepository("backup", "docs").code == .damagedRepository)
    }

    @Test("a change of readers by a trusted host is followed, and names the new reader")
    func addedReader() throws {
        let (fixture, recipient) = try Self.encrypted()
        defer { try? fixture.folder.remove() }
        let second = try Self.identity(fixture, "second.txt")
        let added = try fixture.inRepository("key", "add", "--recipient", second)
        #expect(added.exit == 0, "\(added)")
        #expect(try fixture.inRepository("backup", "docs").exit == 0)
        for identity in ["identity.txt", "second.txt"] {
            let run = try fixture.inRepository("ls", "latest", "--identity", identity)
            #expect(run.exit == 0, "\(run)")
        }
        #expect(try fixture.inRepository("key", "remove", "--recipient", recipient).exit == 0)
        #expect(try fixture.inRepository("key", "remove", "--recipient", second).exit == 1)
        #expect(try fixture.inRepository("backup", "docs").exit == 0)
        // The reader that was removed still has what was written for it, and a count of the rest.
        let removed = try fixture.inRepository("snapshots", "--json", "--identity", "identity.txt")
        #expect(removed.exit == 0 && removed.output.contains("\"unreadable_snapshots\":1"), "\(removed)")
    }

    @Test("a host the repository does not trust cannot back up until its key is added")
    func foreignHost() throws {
        let (fixture, _) = try Self.encrypted()
        defer { try? fixture.folder.remove() }
        var other = fixture.environment
        other["LIFEBOAT_STATE"] = "\(fixture.path)/other-state"
        let arguments = ["backup", "docs", "-r", fixture.repository]
        let refused = try fixture.runner.run(arguments, environment: other, input: "", workingDirectory: fixture.path)
        #expect(refused.code == .wrongKey, "\(refused)")
        let key = try #require(refused.error.firstMatch(of: #/--signer (RW[A-Za-z0-9+\/=]+)/#)).output.1
        #expect(try fixture.inRepository("key", "add", "--signer", String(key), "--host", "other").exit == 0)
        let done = try fixture.runner.run(arguments, environment: other, input: "", workingDirectory: fixture.path)
        #expect(done.exit == 0, "\(done)")
    }

    @Test("unsigned, forged, replayed, removed and reordered manifests are told by name")
    func manifests() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        #expect(try fixture.inRepository("repository", "init", "--encryption", "none").exit == 0)
        for text in ["one", "two", "three"] {
            try fixture.write(text, to: "docs/a.txt")
            #expect(try fixture.inRepository("backup", "docs").exit == 0)
        }
        #expect(try fixture.inRepository("check").exit == 0)
        let manifests = try ShellProof.run(
            "cd /; for m in \(fixture.repository)/snapshots/*/*.json; do echo \"$(jq .sequence $m) $m\"; done | sort -n | cut -d' ' -f2"
        ).split(separator: "\n").map(String.init)
        #expect(manifests.count == 3)
        let sound = "\(fixture.path)/sound"
        _ = try ShellProof.run("cp -r \(fixture.repository) \(sound)")
        func verdict(_ change: String) throws -> LifeboatRun {
            _ = try ShellProof.run("rm -rf \(fixture.repository); cp -r \(sound) \(fixture.repository)")
            _ = try ShellProof.run(change)
            return try fixture.inRepository("check")
        }
        let middle = manifests[1]
        let unsigned = try verdict("rm \(middle).minisig")
        #expect(unsigned.code == .damagedRepository && "\(unsigned)".contains("not signed"), "\(unsigned)")
        let forged = try verdict("cp \(manifests[0]).minisig \(middle).minisig")
        #expect(forged.code == .damagedRepository && "\(forged)".contains("not signed by a host"), "\(forged)")
        let removed = try verdict("rm \(middle) \(middle).minisig")
        #expect(removed.code == .damagedRepository && "\(removed)".contains("is gone"), "\(removed)")
        let last = try verdict("rm \(manifests[2]) \(manifests[2]).minisig")
        #expect(last.code == .damagedRepository && "\(last)".contains("this host has seen it"), "\(last)")
        let replayed = try verdict(
            "d=$(dirname \(middle)); id=$(basename \(middle) | sed 's/.*-//'); "
                + "cp \(middle) $d/20300101T000000Z-$id; cp \(middle).minisig $d/20300101T000000Z-$id.minisig")
        #expect(replayed.code == .damagedRepository && "\(replayed)".contains("20300101T000000Z"), "\(replayed)")
        let restored = try fixture.inRepository("snapshots")
        #expect(restored.code == .damagedRepository || restored.error.contains("20300101T000000Z"), "\(restored)")
        let swapped = try verdict(
            "a=\(manifests[0]); b=\(middle); mv $a \(fixture.path)/t; mv $b $a; mv \(fixture.path)/t $b; "
                + "mv $a.minisig \(fixture.path)/t; mv $b.minisig $a.minisig; mv \(fixture.path)/t $b.minisig")
        for name in [manifests[0], middle].map({ $0.split(separator: "/").last.map(String.init) ?? "" }) {
            #expect(swapped.code == .damagedRepository && "\(swapped)".contains(name), "\(swapped)")
        }
        #expect(try verdict("true").exit == 0)
    }

    @Test("no secret is in an argument or environment while lifeboat works, and no core is dumped")
    func processList() throws {
        let fixture = try CommandFixture(.binary)
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        let canary = "canary-5ecret-passphrase-8RY"
        try fixture.write(canary + "\n", to: "phrase")
        _ = try ShellProof.run("chmod 600 \(fixture.path)/phrase")
        // The second secret is asked for once the first is in memory; that is when everybody's arguments, environments
        // and limits are written down.
        try fixture.write(
            """
            for p in /proc/[0-9]*; do cat $p/cmdline $p/environ; done > seen 2> errors
            cat /proc/$PPID/limits > limits
            cat phrase
            """, to: "look.sh")
        try fixture.write(
            """
            stack: canary
            repository: repository
            encryption: {passphrase: {command: [/bin/sh, look.sh]}}
            components: {docs: {volume: {path: docs}}}
            """, to: "lifeboat.yaml")
        for command in [["repository", "init"], ["backup"], ["snapshots"], ["check", "--read-data"]] {
            let run = try fixture.run(command + (command == ["backup"] ? ["--passphrase-file", "phrase"] : []))
            #expect(run.exit == 0, "\(command): \(run)")
        }
        let seen = try ShellProof.run("grep -caF -e \(canary) -e AGE-SECRET-KEY-1 \(fixture.path)/seen || true")
        #expect(seen == "0\n")
        #expect(try fixture.text("seen").contains("lifeboat"))
        #expect(try fixture.text("limits").contains(#/Max core file size +1 +1 /#))
    }

    @Test("no secret is in any output, process list, or stored object", arguments: CommandFixture.Kind.allCases)
    func canary(_ kind: CommandFixture.Kind) throws {
        let fixture = try CommandFixture(kind)
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        let canary = "canary-5ecret-passphrase-7QX"
        try fixture.write(canary + "\n", to: "phrase")
        _ = try ShellProof.run("chmod 600 \(fixture.path)/phrase")
        var said = ""
        for arguments in [
            ["repository", "init", "--passphrase-file", "phrase"], ["backup", "docs"],
            ["backup", "docs", "--json"], ["snapshots", "--passphrase-file", "phrase"],
            ["snapshots", "--passphrase-file", "phrase", "--json"], ["key", "list"],
            ["key", "export-recovery-sheet"], ["repository", "info", "--passphrase-file", "phrase"],
            ["check", "--passphrase-file", "phrase"], ["snapshots", "--identity", "phrase"],
        ] {
            let run = try fixture.run(arguments + ["-r", fixture.repository])
            said += run.output + run.error
        }
        #expect(!said.contains(canary) && !said.contains("AGE-SECRET-KEY-1Q"), "\(said)")
        let found = try ShellProof.run(
            "grep -rlaF -e \(canary) -e AGE-SECRET-KEY \(fixture.repository) \(fixture.path)/cache \(fixture.path)/state || true"
        )
        #expect(found.isEmpty, "\(found)")
    }
}

/// Debian's tools, run by a shell.
enum ShellProof {
    static func run(_ script: String) throws -> String {
        let result = try SystemProcessRunner().run(
            ProcessCommand("/bin/sh", ["-c", script]), input: [], outputLimit: 1 << 20, deadline: 60, cancellation: nil)
        guard result.termination.succeeded else {
            throw LifeboatError("'\(script)' failed", causes: ["\(result.standardError)"])
        }
        return String(decoding: result.standardOutput, as: UTF8.self)
    }
}
