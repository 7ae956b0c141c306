// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// A stack with a real database whose restore is killed, does not become healthy, or whose server does not play along.
@Suite(.enabled(if: PostgresCluster.shouldRun, "\(PostgresCluster.skipReason)"))
struct StackFaultScenarioTests {
    /// A stack whose snapshot says `new` while `old` is live.
    private func stack(_ name: String, health: String? = nil) throws -> ScenarioStack {
        let stack = try ScenarioStack(try PostgresCluster.shared(), database: name, health: health)
        try stack.setWord("new")
        try stack.folder.succeed("backup")
        try stack.setWord("old")
        return stack
    }

    @Test func `a restore killed at any step of its journal is finished or undone by the next`() throws {
        let stack = try stack("fault_kill")
        defer { stack.remove() }
        let restore = ["restore", "latest", "--yes"]
        let journal = ["rename"]
        let (whole, calls) = try stack.folder.callsCounted(restore, of: journal)
        #expect(whole.exit == 0, "\(whole)")
        #expect(calls >= 12)
        let live = try stack.liveWord()
        #expect(live == "new")
        var words: [String] = []
        // Every journal entry and every exchange is a rename. Before one and after the next, in turns: each state once.
        var kills = stride(from: 1, through: calls, by: 2).map { position in
            ScenarioFault(position % 4 == 1 ? .kill : .killAfter, at: position, of: journal)
        }
        // And while the old folder is removed, file by file.
        kills += [5, 20].map { ScenarioFault(.kill, at: $0, of: ["unlink"]) }
        for kill in kills {
            try stack.setWord("old")
            let (run, hit) = try stack.folder.lifeboat(restore, fault: kill)
            let comment: Comment = "\(kill.kind) at '\(hit)' of \(calls): \(run)"
            #expect(run.exit == 128 + SIGKILL, comment)
            let isPending = !stack.servicesRun
            let list = try stack.folder.lifeboat("snapshots")
            #expect(list.exit == 0, "\(list)")
            if isPending { #expect(list.error.contains("lifeboat restore --resume"), "\(comment)\n\(list)") }
            let resume = try stack.folder.lifeboat("restore", "--resume")
            #expect(resume.exit == 0, "\(comment)\n\(resume)")
            #expect(stack.servicesRun, comment)
            let word = try stack.liveWord()
            #expect(word == "old" || word == "new", comment)
            let left = try stack.leftovers()
            #expect(left.isEmpty, comment)
            words.append(word)
        }
        #expect(words.contains("old") && words.contains("new"))
        // Without --resume: the next restore clears up first.
        try stack.setWord("old")
        let (killed, _) = try stack.folder.lifeboat(restore, fault: ScenarioFault(.kill, at: calls / 2, of: journal))
        #expect(killed.exit == 128 + SIGKILL, "\(killed)")
        let again = try stack.folder.lifeboat(restore)
        #expect(again.exit == 0, "\(again)")
        let last = try stack.liveWord()
        #expect(last == "new" && stack.servicesRun)
        print("stack restore: killed \(words.count) times over \(calls) renames: \(words.joined(separator: " "))")
    }

    @Test func `a restore that does not become healthy rolls itself back`() throws {
        let stack = try stack("fault_health")
        defer { stack.remove() }
        // The restored data can never pass: the old one does.
        try stack.writePolicy(
            health: "{name: words, postgres: database, sql: \"select min(word) from notes\", equals: old, within: 6s}")
        let run = try stack.folder.lifeboat("restore", "latest", "--yes")
        #expect(run.exit == 14, "\(run)")
        #expect(run.error.contains("rolled back") && run.error.contains("words"), "\(run)")
        let word = try stack.liveWord()
        #expect(word == "old" && stack.servicesRun, "\(run)")
        let left = try stack.leftovers()
        #expect(left.isEmpty, "\(run)")
    }

    @Test(arguments: [SIGINT, SIGTERM])
    func `a signal undoes a restore and starts the services`(_ signal: Int32) throws {
        let stack = try stack("fault_signal_\(signal)")
        defer { stack.remove() }
        for position in [2, 6, 9] {
            let (run, hit) = try stack.folder.lifeboat(
                ["restore", "latest", "--yes"], fault: ScenarioFault(.signal(signal), at: position, of: ["rename"]))
            let comment: Comment = "at '\(hit)': \(run)"
            let word = try stack.liveWord()
            switch run.exit {
            case 0: #expect(word == "new", comment)
            case 14, 130: #expect(word == "old", comment)
            default: Issue.record(comment)
            }
            #expect(stack.servicesRun, comment)
            let left = try stack.leftovers()
            #expect(left.isEmpty, comment)
            try stack.setWord("old")
        }
    }

    @Test(arguments: ["head -c 40000; exit 1", "head -c 40000; kill -9 $$", "head -c 40000"])
    func `a dump that is cut off makes the snapshot incomplete and never the latest`(_ end: String) throws {
        let stack = try stack("fault_dump_\(end.utf8.reduce(0) { $0 &* 31 &+ Int($1) } & 0xFFFF)")
        defer { stack.remove() }
        let binaries = "\(stack.folder.path)/binaries"
        try FileTree.createFolders(binaries)
        try stack.folder.shell("ln -s '\(stack.cluster.binaries)'/* '\(binaries)'; rm '\(binaries)/pg_dump'")
        // Versions are asked first and answered truly.
        try AtomicFile.write(
            """
            #!/bin/bash
            case "$*" in *--version*) exec '\(stack.cluster.binaries)/pg_dump' "$@" ;; esac
            '\(stack.cluster.binaries)/pg_dump' "$@" | \(end)

            """, to: "\(binaries)/pg_dump", mode: 0o755)
        try stack.writePolicy(binaries: binaries)
        let run = try stack.folder.lifeboat("backup")
        #expect(run.exit == 3, "\(run)")
        #expect(run.error.contains("database"), "\(run)")
        try stack.writePolicy()
        let list = try stack.folder.lifeboat("snapshots", "--json")
        #expect(list.output.contains(#""complete":false"#), "\(list)")
        let restore = try stack.folder.lifeboat("restore", "latest", "--yes")
        #expect(restore.exit == 0, "\(restore)")
        let word = try stack.liveWord()
        #expect(word == "new", "latest is the complete one: \(restore)")
    }

    @Test func `a wrong password or a server that is down names the component and no secret`() throws {
        let right = "right-canary-5101"
        let wrong = "wrong-canary-7707"
        let cluster = try PostgresCluster.start(password: Secret(right))
        defer { cluster.remove() }
        let stack = try ScenarioStack(cluster, database: "fault_password")
        defer { stack.remove() }
        try stack.folder.succeed("backup")
        let live = try stack.folder.fingerprint(stack.folder.tree)
        try AtomicFile.write("\(wrong)\n", to: "\(stack.folder.path)/wrong")
        for (password, port) in [("wrong", cluster.port), ("password", 1), ("absent", cluster.port)] {
            try stack.writePolicy(port: port, password: password)
            let backup = try stack.folder.lifeboat("backup")
            #expect(backup.exit == 3 || backup.exit == 1, "\(backup)")
            #expect(backup.error.contains("database") && backup.error.contains("hint: "), "\(backup)")
            let restore = try stack.folder.lifeboat("restore", "latest", "--yes")
            #expect(restore.exit == 1, "\(restore)")
            let subject = port == 1 ? "127.0.0.1:1" : "database"
            #expect(restore.error.contains(subject) && restore.error.contains("hint: "), "\(restore)")
            for run in [backup, restore] {
                #expect(!run.description.contains(right) && !run.description.contains(wrong), "\(run)")
                if password == "wrong" { #expect(run.error.contains("password"), "\(run)") }
            }
            #expect(stack.servicesRun)
            let after = try stack.folder.fingerprint(stack.folder.tree)
            #expect(after == live)
        }
        try stack.writePolicy()
        try stack.folder.succeed("backup")
        try stack.folder.succeed("restore", "latest", "--yes")
        let found = try stack.folder.shell(
            "cd '\(stack.folder.path)' && grep -rlE '\(right)|\(wrong)' repository state cache || :")
        #expect(found.isEmpty, "a secret lies in \(found)")
    }
}
