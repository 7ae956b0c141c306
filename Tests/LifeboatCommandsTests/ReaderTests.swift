// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

@Suite("Readers of a repository come and go")
struct ReaderTests {
    /// An encrypted repository for `first.txt`, with one snapshot by a host without a key. `second.txt` may become a
    /// reader.
    private func encrypted(_ kind: CommandFixture.Kind = .inProcess) throws -> (
        CommandFixture, first: String, second: String
    ) {
        let fixture = try CommandFixture(kind)
        try fixture.makeDocuments()
        let recipients = try ["first.txt", "second.txt"].map { name in
            let run = try fixture.run("key", "generate", name)
            return try #require(run.output.split(separator: "\n").first.map(String.init))
        }
        #expect(try fixture.inRepository("repository", "init", "--recipient", recipients[0]).exit == 0)
        #expect(try fixture.inRepository("backup", "docs").exit == 0)
        return (fixture, recipients[0], recipients[1])
    }

    /// Runs lifeboat on another host, with `identity`.
    private func read(
        _ fixture: CommandFixture, _ identity: String, _ arguments: String...
    ) throws -> LifeboatRun {
        try fixture.runner.run(
            arguments + ["-r", fixture.repository, "--identity", identity],
            environment: [
                "HOME": "\(fixture.path)/home", "LIFEBOAT_STATE": "\(fixture.path)/\(identity).state",
                "LIFEBOAT_CACHE": "\(fixture.path)/\(identity).cache",
            ], input: "", workingDirectory: fixture.path)
    }

    private func ids(_ run: LifeboatRun) -> [String] {
        run.output.matches(of: #/"message_type":"snapshot"/#).isEmpty
            ? [] : run.output.matches(of: #/"id":"([0-9a-f]{64})"/#).map { String($0.output.1) }
    }

    @Test("a new reader reads what is written for it, counts the rest, and deletes nothing that it cannot read")
    func newReader() throws {
        let (fixture, _, second) = try encrypted()
        defer { try? fixture.folder.remove() }
        let early = try read(fixture, "second.txt", "snapshots")
        #expect(early.code == .wrongKey, "\(early)")
        let added = try fixture.inRepository("key", "add", "--recipient", second)
        #expect(added.exit == 0 && added.error.contains("key rewrap"), "\(added)")
        let none = try read(fixture, "second.txt", "snapshots")
        #expect(none.code == .wrongKey && none.error.contains("key rewrap"), "\(none)")
        // All of it new, so that nothing of it is in packs for the first reader only.
        try FileTree.remove("\(fixture.path)/docs")
        try fixture.write("new\n", to: "docs/new.txt")
        #expect(try fixture.inRepository("backup", "docs").exit == 0)
        let listed = try read(fixture, "second.txt", "snapshots", "--json")
        #expect(listed.exit == 0 && listed.output.contains("\"unreadable_snapshots\":1"), "\(listed)")
        let own = ids(listed)
        #expect(own.count == 1, "\(listed)")
        for wanted in ["latest", own.first ?? ""] {
            let run = try read(fixture, "second.txt", "ls", wanted)
            #expect(run.exit == 0 && run.output.contains("new.txt"), "\(run)")
            #expect(run.error.contains("1 snapshot") && run.error.contains("key rewrap"), "\(run)")
            let restored = try read(fixture, "second.txt", "restore", wanted, "--to", "out-\(wanted)")
            #expect(restored.exit == 0, "\(restored)")
        }
        // Whoever deletes must know everything.
        for command in [["forget", "--keep-last", "1", "--yes", "--force"], ["prune", "--grace", "0"]] {
            let run = try fixture.runner.run(
                command + ["-r", fixture.repository, "--identity", "second.txt"], environment: fixture.environment,
                input: "", workingDirectory: fixture.path)
            #expect(run.code == .wrongKey, "\(run)")
        }
        let all = try read(fixture, "first.txt", "check", "--read-data")
        #expect(all.exit == 0 && all.output.contains("2 snapshots"), "\(all)")
    }

    @Test("a chunk that only an older index has is for other readers, and not lost")
    func sharedChunk() throws {
        let (fixture, _, second) = try encrypted()
        defer { try? fixture.folder.remove() }
        #expect(try fixture.inRepository("key", "add", "--recipient", second).exit == 0)
        try fixture.write("fourth\n", to: "docs/d.txt")
        #expect(try fixture.inRepository("backup", "docs").exit == 0)
        let restored = try read(fixture, "second.txt", "restore", "latest", "--to", "out")
        #expect(restored.code == .wrongKey && restored.error.contains("key rewrap"), "\(restored)")
    }

    @Test("a reader is rotated out: after rewrap and prune nothing opens with the old key")
    func rotation() throws {
        let (fixture, first, second) = try encrypted()
        defer { try? fixture.folder.remove() }
        for number in 1...3 {
            try fixture.write("state \(number)\n", to: "docs/a.txt")
            #expect(try fixture.inRepository("backup", "docs").exit == 0)
        }
        let before = ids(try read(fixture, "first.txt", "snapshots", "--json"))
        #expect(before.count == 4)
        #expect(try fixture.inRepository("pin", before[1], "--identity", "first.txt").exit == 0)
        let forgotten = try fixture.inRepository(
            "forget", "--keep-last", "3", "--yes", "--identity", "first.txt")
        #expect(forgotten.exit == 0, "\(forgotten)")
        #expect(try fixture.inRepository("key", "add", "--recipient", second).exit == 0)
        let added = try fixture.inRepository("key", "rewrap", "--identity", "first.txt", "--grace", "0")
        #expect(added.exit == 0, "\(added)")
        // The new reader has everything now, under the old names too.
        let restored = try read(fixture, "second.txt", "restore", before[1], "--to", "old")
        #expect(restored.exit == 0, "\(restored)")
        #expect(try ShellProof.run("cd \(fixture.path) && find old -name a.txt -exec cat {} +") == "state 1\n")
        #expect(ids(try read(fixture, "second.txt", "snapshots", "--json")).count == 3)
        for number in 4...5 {
            try fixture.write("state \(number)\n", to: "docs/a.txt")
            #expect(try fixture.inRepository("backup", "docs").exit == 0)
        }
        // The old one goes. A run that moves little at a time gets there too.
        #expect(try fixture.inRepository("key", "remove", "--recipient", first).exit == 0)
        var rounds = 0
        while rounds < 20 {
            rounds += 1
            let run = try fixture.inRepository(
                "key", "rewrap", "--limit", "1B", "--grace", "0", "--identity", "second.txt")
            #expect(run.exit == 0, "\(run)")
            if run.output.contains("; 0 B moved") { break }
        }
        #expect(rounds > 2 && rounds < 20)
        #expect(try fixture.inRepository("prune", "--grace", "0", "--identity", "second.txt").exit == 0)
        let opened = try ShellProof.run(
            """
            cd \(fixture.repository)
            for f in $(find . -name '*.age'); do
                age -d -i ../first.txt $f >/dev/null 2>&1 && echo "$f opens"
                age -d -i ../second.txt $f >/dev/null 2>&1 || echo "$f does not open"
            done; true
            """)
        #expect(opened.isEmpty, "\(opened)")
        // Everything else is as before: signatures, the chain, pins, and what was forgotten.
        let checked = try read(fixture, "second.txt", "check", "--read-data")
        #expect(checked.exit == 0, "\(checked)")
        #expect(try fixture.inRepository("backup", "docs").exit == 0)
        let kept = try fixture.inRepository(
            "forget", "--keep-last", "1", "--yes", "--force", "--identity", "second.txt")
        #expect(kept.exit == 0 && kept.output.contains("pinned"), "\(kept)")
        let again = try fixture.inRepository("check", "--read-data", "--identity", "second.txt")
        #expect(again.exit == 0, "\(again)")
        #expect(try fixture.inRepository("snapshots", "--identity", "first.txt").code == .wrongKey)
    }

    @Test("a rewrap that was ended between two manifests leaves no snapshot twice")
    func endedRewrap() throws {
        let (fixture, _, second) = try encrypted()
        defer { try? fixture.folder.remove() }
        #expect(try fixture.inRepository("backup", "docs").exit == 0)
        _ = try ShellProof.run("cp -r \(fixture.repository)/snapshots \(fixture.path)/kept")
        #expect(try fixture.inRepository("key", "add", "--recipient", second).exit == 0)
        #expect(try fixture.inRepository("key", "rewrap", "--identity", "first.txt", "--grace", "0").exit == 0)
        // As if it had ended before it removed the old ones.
        _ = try ShellProof.run("cp -rn \(fixture.path)/kept/. \(fixture.repository)/snapshots/")
        #expect(ids(try read(fixture, "first.txt", "snapshots", "--json")).count == 2)
        let checked = try read(fixture, "first.txt", "check")
        #expect(checked.exit == 0, "\(checked)")
        let again = try fixture.inRepository("key", "rewrap", "--identity", "first.txt", "--grace", "0")
        #expect(again.exit == 0, "\(again)")
        let manifests = try ShellProof.run("find \(fixture.repository)/snapshots -name '*.age' | wc -l")
        #expect(manifests.contains("2"), "\(manifests)")
        #expect(ids(try read(fixture, "second.txt", "snapshots", "--json")).count == 2)
    }

    @Test("a policy that names other recipients is a warning with the line to change, where the host is known")
    func otherRecipients() throws {
        let (fixture, first, second) = try encrypted()
        defer { try? fixture.folder.remove() }
        func policy(_ recipient: String) throws {
            try fixture.write(
                """
                stack: demo
                repository: ./repository
                encryption: {recipients: [\(recipient)]}
                components: {documents: {volume: {path: ./docs}}}

                """, to: "lifeboat.yaml")
        }
        // A host that never backed up there might write into somebody else's repository.
        try policy(second)
        let foreign = try fixture.run("backup", "--quiet")
        #expect(foreign.code == .usage, "\(foreign)")
        try policy(first)
        let known = try fixture.run("backup", "--quiet")
        #expect(known.exit == 0 && known.error.isEmpty, "\(known)")
        #expect(try fixture.inRepository("key", "add", "--recipient", second).exit == 0)
        let warned = try fixture.run("backup", "--quiet")
        #expect(warned.exit == 0, "\(warned)")
        #expect(
            warned.error.contains("lifeboat.yaml:3'")
                && warned.error.contains("encryption: {recipients: [\(first), \(second)]}"), "\(warned)")
        try policy("\(first), \(second)")
        let silent = try fixture.run("backup", "--quiet")
        #expect(silent.exit == 0 && silent.error.isEmpty, "\(silent)")
    }
}
