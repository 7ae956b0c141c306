// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

@Suite("A repository whose hosts are lost")
struct RecoveryKeyTests {
    /// How the repository of a test is opened.
    enum Access: String, CaseIterable, Sendable {
        case identity, passphrase, none

        var initOptions: [String] {
            switch self {
            case .identity: []
            case .passphrase: ["--passphrase-file", "passphrase"]
            case .none: ["--encryption", "none"]
            }
        }
        var keyOptions: [String] {
            switch self {
            case .identity: ["--identity", "identity.txt"]
            case .passphrase: ["--passphrase-file", "passphrase"]
            case .none: []
            }
        }
    }

    /// A stack with a folder of documents and one snapshot, made by a host whose state is below `state`.
    private func stack(_ access: Access) throws -> CommandFixture {
        let fixture = try CommandFixture(.binary)
        try fixture.makeDocuments()
        try FileTree.createFolders("\(fixture.path)/sandboxes")
        try fixture.write("correct horse\n", to: "passphrase")
        _ = try ShellProof.run("chmod 600 \(fixture.path)/passphrase")
        var options = access.initOptions
        var encryption = "none"
        switch access {
        case .identity:
            let run = try fixture.run("key", "generate", "identity.txt")
            let recipient = try #require(run.output.split(separator: "\n").first.map(String.init))
            options = ["--recipient", recipient]
            encryption = "{recipients: [\(recipient)]}"
        case .passphrase: encryption = "{passphrase: {file: \(fixture.path)/passphrase}}"
        case .none: break
        }
        try fixture.write(
            """
            stack: demo
            repository: \(fixture.repository)
            encryption: \(encryption)
            components: {documents: {volume: {path: \(fixture.path)/docs}}}
            drill: {folder: \(fixture.path)/sandboxes}

            """, to: "old/lifeboat.yaml")
        #expect(try fixture.run(["repository", "init", "-r", fixture.repository] + options).exit == 0)
        let backup = try fixture.run("backup", "--policy", "old/lifeboat.yaml")
        #expect(backup.exit == 0, "\(backup)")
        return fixture
    }

    /// Runs lifeboat as another host: with a home, state and cache of its own.
    private func run(
        _ fixture: CommandFixture, as host: String, _ arguments: [String]
    ) throws -> LifeboatRun {
        try FileTree.createFolders("\(fixture.path)/\(host)/home")
        return try fixture.runner.run(
            arguments,
            environment: [
                "HOME": "\(fixture.path)/\(host)/home", "LIFEBOAT_STATE": "\(fixture.path)/\(host)/state",
                "LIFEBOAT_CACHE": "\(fixture.path)/\(host)/cache",
            ], input: "", workingDirectory: fixture.path)
    }

    @Test(
        "the steps of the recovery sheet lead from an empty host to the next backup and a drill",
        arguments: Access.allCases)
    func recoverySheet(_ access: Access) throws {
        let fixture = try stack(access)
        defer { try? fixture.folder.remove() }
        let sheet = try fixture.run(["key", "export-recovery-sheet", "-r", fixture.repository]).output
        #expect(sheet.split(separator: "\n", omittingEmptySubsequences: false).count <= 60)
        // The host is lost: its state, its cache, its policy, its data.
        for lost in ["home", "state", "cache", "old", "docs"] { try FileTree.remove("\(fixture.path)/\(lost)") }
        let commands = sheet.split(separator: "\n").filter { $0.hasPrefix("  lifeboat ") }
        #expect(commands.count == 7, "\(sheet)")
        let program = try BinaryRunner().path
        let script =
            """
            set -e
            mkdir -p \(fixture.path)/new/home
            cd \(fixture.path)/new
            export HOME=\(fixture.path)/new/home
            unset XDG_CACHE_HOME XDG_STATE_HOME
            export LIFEBOAT_STATE=\(fixture.path)/new/state
            lifeboat() { \(program) "$@"; }
            exec 2>&1

            """ + commands.joined(separator: "\n")
        let output = try ShellProof.run(
            script.replacing("IDENTITY", with: "../identity.txt").replacing("PASSPHRASE", with: "../passphrase"))
        #expect(output.contains("verdict") || output.contains("PASSED") || output.contains("passed"), "\(output)")
        #expect(try fixture.text("docs/sub/c.txt") == "third\n")
        let again = try run(fixture, as: "new", ["backup", "--policy", "new/lifeboat.yaml"])
        #expect(again.exit == 0, "\(again)")
        let checked = try run(
            fixture, as: "new", ["check", "--read-data", "-r", fixture.repository] + access.keyOptions)
        #expect(checked.exit == 0, "\(checked)")
    }

    @Test("a new host that a reader lets in is accepted by hosts that know the repository")
    func accepted() throws {
        let fixture = try stack(.identity)
        defer { try? fixture.folder.remove() }
        let untrusted = try run(fixture, as: "new", ["backup", "docs", "-r", fixture.repository])
        #expect(untrusted.code == .wrongKey && untrusted.error.contains("key adopt"), "\(untrusted)")
        let keyless = try run(fixture, as: "new", ["key", "adopt", "-r", fixture.repository])
        #expect(keyless.code == .wrongKey, "\(keyless)")
        _ = try fixture.run("key", "generate", "other.txt")
        let wrong = try run(
            fixture, as: "new", ["key", "adopt", "-r", fixture.repository, "--identity", "other.txt"])
        #expect(wrong.code == .wrongKey, "\(wrong)")
        let adopt = ["key", "adopt", "-r", fixture.repository, "--identity", "identity.txt"]
        let foreign = try run(fixture, as: "stranger", ["key", "list", "-r", fixture.repository])
        let strange = try #require(foreign.output.firstMatch(of: #/untrusted +(RW\S+)/#)).output.1
        let printed = try run(fixture, as: "new", adopt + ["--signed-by", String(strange)])
        #expect(printed.code == .damagedRepository, "\(printed)")
        #expect(try run(fixture, as: "new", adopt).exit == 0)
        #expect(try run(fixture, as: "new", ["backup", "docs", "-r", fixture.repository]).exit == 0)
        // The old host accepts the change and the snapshot without being asked.
        let old = try fixture.inRepository("check", "--identity", "identity.txt")
        #expect(old.exit == 0, "\(old)")
        #expect(try fixture.run("backup", "--policy", "old/lifeboat.yaml").exit == 0)
        let keys = try fixture.inRepository("key", "list", "--json")
        #expect(keys.output.contains(#""role":"recovery""#), "\(keys)")
    }

    @Test("a removed reader's recovery key is worth nothing; a new reader gets one")
    func rotated() throws {
        let fixture = try stack(.identity)
        defer { try? fixture.folder.remove() }
        let added = try fixture.run("key", "generate", "second.txt")
        let recipient = try #require(added.output.split(separator: "\n").first.map(String.init))
        let kept = try ShellProof.run("cp \(fixture.repository)/keys/recovery-* \(fixture.path)/; ls \(fixture.path)")
        let old = try #require(kept.split(separator: "\n").first { $0.hasPrefix("recovery-") })
        #expect(try fixture.inRepository("key", "add", "--recipient", recipient).exit == 0)
        // Both open the new one, and there is but one.
        let objects = try ShellProof.run("ls \(fixture.repository)/keys | grep recovery")
        #expect(objects.split(separator: "\n").count == 1 && !objects.contains(old), "\(objects)")
        for (host, identity) in [("new", "identity.txt"), ("newer", "second.txt")] {
            let adopted = try run(
                fixture, as: host, ["key", "adopt", "-r", fixture.repository, "--identity", identity])
            #expect(adopted.exit == 0, "\(adopted)")
        }
        // Put back by whoever owns the storage, and opened by the reader that was removed meanwhile.
        let first = try ShellProof.run("grep -o 'age1[a-z0-9]*' \(fixture.path)/identity.txt | head -1")
        let removed = try fixture.inRepository("key", "remove", "--recipient", String(first.dropLast()))
        #expect(removed.exit == 0, "\(removed)")
        _ = try ShellProof.run("cp \(fixture.path)/\(old) \(fixture.repository)/keys/")
        let late = try run(
            fixture, as: "late", ["key", "adopt", "-r", fixture.repository, "--identity", "identity.txt"])
        #expect(late.code == .wrongKey, "\(late)")
    }

    @Test("a repository without a recovery key lets a host in by hand, and gets a key from a trusted host")
    func olderRepository() throws {
        let fixture = try stack(.none)
        defer { try? fixture.folder.remove() }
        let refused = try run(fixture, as: "new", ["key", "adopt", "-r", fixture.repository])
        #expect(refused.code == .failed && refused.error.contains("--yes"), "\(refused)")
        #expect(try fixture.inRepository("key", "add", "--recovery-key").code == .failed)
        #expect(try run(fixture, as: "new", ["key", "adopt", "--yes", "-r", fixture.repository]).exit == 0)
        // Anybody could have done that: who knows the repository asks first.
        let asked = try fixture.run("backup", "--policy", "old/lifeboat.yaml")
        #expect(asked.code == .damagedRepository, "\(asked)")
        #expect(try fixture.inRepository("repository", "trust", "--yes").exit == 0)
        #expect(try fixture.run("backup", "--policy", "old/lifeboat.yaml").exit == 0)
        #expect(try run(fixture, as: "new", ["backup", "docs", "-r", fixture.repository]).exit == 0)
    }

    @Test("a recovery key that rots or is taken away is found by check, and replaced by a trusted host")
    func damagedRecoveryKey() throws {
        let fixture = try stack(.identity)
        defer { try? fixture.folder.remove() }
        let sound = try ShellProof.run("ls \(fixture.repository)/keys/recovery-*").dropLast()
        _ = try ShellProof.run("cp \(sound) \(fixture.path)/kept; printf x >>\(sound)")
        for command in [["check", "--identity", "identity.txt"], ["scrub"]] {
            let found = try fixture.run(command + ["-r", fixture.repository])
            #expect(found.exit != 0 && (found.output + found.error).contains("keys/recovery-"), "\(found)")
        }
        _ = try ShellProof.run("rm \(sound)")
        let gone = try fixture.inRepository("check", "--identity", "identity.txt")
        #expect(gone.exit != 0 && (gone.output + gone.error).contains("--recovery-key"), "\(gone)")
        let renewed = try fixture.inRepository("key", "add", "--recovery-key")
        #expect(renewed.exit == 0, "\(renewed)")
        #expect(try fixture.inRepository("check", "--identity", "identity.txt").exit == 0)
        let adopted = try run(
            fixture, as: "new", ["key", "adopt", "-r", fixture.repository, "--identity", "identity.txt"])
        #expect(adopted.exit == 0, "\(adopted)")
    }
}
