// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatServices
import LifeboatTesting
import Testing

/// The built program on a Compose project of a real engine: lifeboats that are killed leave nothing down.
@Suite(.enabled(if: DockerCompose.shouldRun, .init(rawValue: DockerCompose.skipReason)))
struct ComposeScenarioTests {
    private static let silent = SilentProgress()

    private static let stack = """
        services:
          db: {<<: *service, command: [/bin/sh, /state/serve, db], healthcheck: *healthy, restart: always}
          api:
            <<: *service
            command: [/bin/sh, /state/serve, api]
            depends_on: {db: {condition: service_healthy}}
        """

    /// A project, and a folder for lifeboat with a policy about it.
    private struct Stack {
        let project: ComposeFixture
        let folder: ScenarioFolder
        /// Lifeboat's environment, with the way to the engine.
        var environment: [String: String] { project.environment }

        init() throws {
            project = try ComposeFixture(try .shared(), stack: ComposeScenarioTests.stack, services: ["db", "api"])
            folder = try ScenarioFolder(inMemory: false)
            try folder.createRepository()
            try setWord("new")
            try AtomicFile.write(
                """
                stack: shop
                repository: ./repository
                encryption: none
                services: {compose: {file: \(project.file), project: \(project.project)}}
                components: {documents: {volume: {path: ./tree}}}
                health:
                  - {container: db, within: 2m, consecutive: 2}
                  - {container: api, within: 2m}
                """, to: "\(folder.path)/lifeboat.yaml")
        }

        func remove() {
            project.remove()
            folder.remove()
        }

        func setWord(_ word: String) throws {
            for number in 0..<5 { try folder.write(Array("\(word)\n".utf8), to: "\(folder.tree)/note-\(number)") }
        }

        func word() throws -> String { try folder.shell("cd '\(folder.tree)' && cat note-* | sort -u") }

        func lifeboat(_ words: String...) throws -> LifeboatRun {
            try folder.lifeboat(words, environment: environment)
        }
    }

    @Test func `a restore stops, exchanges and starts; one that is killed is undone or finished by resume`() throws {
        let stack = try Stack()
        defer { stack.remove() }
        let backup = try stack.lifeboat("backup")
        #expect(backup.exit == 0, "\(backup)")
        try stack.setWord("old")
        try stack.project.clearLog()
        let restore = ["restore", "latest", "--yes"]
        let report = "\(stack.folder.path)/fault-report"
        let counting = try ScenarioFault(.kill, at: 0, of: ["rename"]).environment(report: report)
        let whole = try stack.folder.lifeboat(restore, environment: stack.environment.merging(counting) { $1 })
        #expect(whole.exit == 0, "\(whole)")
        #expect(try stack.word() == "new")
        #expect(try stack.project.log(atLeast: 4) == ["stop api", "stop db", "start db", "start api"])
        let calls = try #require(Int(try stack.folder.shell("sed -n 's/counted //p' '\(report)'")))

        // Every entry of a journal and every exchange is a rename: some of them, after the services were stopped too.
        var downs = 0
        for part in [5, 7, 8] {
            try stack.setWord("old")
            unlink(report)
            let fault = try ScenarioFault(.killAfter, at: calls * part / 10, of: ["rename"]).environment(report: report)
            let killed = try stack.folder.lifeboat(restore, environment: stack.environment.merging(fault) { $1 })
            #expect(killed.exit == 128 + SIGKILL, "\(killed)")
            if try stack.project.observed() != stack.project.services { downs += 1 }
            let resume = try stack.lifeboat("resume", "--policy", "lifeboat.yaml")
            #expect(resume.exit == 0, "\(resume)")
            #expect(resume.output.contains("stack 'shop': restore '"), "\(resume)")
            #expect(try stack.project.observed() == stack.project.services, "\(resume)")
            #expect(["old", "new"].contains(try stack.word()))
            #expect(try stack.project.inspect("db", "{{.HostConfig.RestartPolicy.Name}}") == "always")
        }
        #expect(downs > 0)
        let again = try stack.lifeboat("resume", "--policy", "lifeboat.yaml")
        #expect(again.exit == 0 && again.output == "nothing was left undone\n", "\(again)")
        // Without the policy of the stack nothing can be decided, and that is a failure.
        try stack.setWord("old")
        let fault = try ScenarioFault(.killAfter, at: calls * 7 / 10, of: ["rename"]).environment(report: report)
        _ = try stack.folder.lifeboat(restore, environment: stack.environment.merging(fault) { $1 })
        try stack.folder.shell("mv '\(stack.folder.path)/lifeboat.yaml' '\(stack.folder.path)/moved.yaml'")
        let blind = try stack.lifeboat("resume")
        #expect(blind.exit == 1, "\(blind)")
        #expect(
            blind.error.contains("a restore of stack 'shop' was cut off, and there is no policy of that stack"),
            "\(blind)")
        let seeing = try stack.lifeboat("resume", "--policy", "moved.yaml")
        #expect(seeing.exit == 0, "\(seeing)")
        #expect(try stack.project.observed() == stack.project.services)
    }

    @Test func `a restore starts the application that was stopped before, or whose container is gone`() throws {
        let stack = try Stack()
        defer { stack.remove() }
        #expect(try stack.lifeboat("backup").exit == 0)
        for words in [["stop", "-t", "1"], ["rm", "-f"]] {
            _ = try stack.project.docker(words + [stack.project.containerName("api")])
            try stack.setWord("old")
            let plan = try stack.lifeboat("plan", "latest")
            #expect(plan.exit == 0, "\(plan)")
            #expect(plan.output.contains("services do not run, and are started by the restore: api"), "\(plan)")
            #expect(plan.output.contains("a health probe fails already, before the restore: 'service api'"), "\(plan)")
            let kept = try stack.lifeboat("restore", "latest", "--yes", "--only-running", "--keep-old")
            #expect(kept.exit == 0, "\(kept)")
            #expect(try stack.project.observed() == ["db"], "\(kept)")
            #expect(
                kept.error.contains("health probes that failed before the restore were not queried: 'service api'"),
                "\(kept)")
            let back = try stack.lifeboat("restore", "--rollback", "--yes")
            #expect(back.exit == 0 && back.output.contains("rolled back, downtime "), "\(back)")
            #expect(try stack.word() == "old")
            let restore = try stack.lifeboat("restore", "latest", "--yes", "--json")
            #expect(restore.exit == 0, "\(restore)")
            #expect(try stack.project.observed() == stack.project.services, "\(restore)")
            #expect(try stack.word() == "new")
            // Down from the begin of the command until the stack was healthy: only verifying came after it.
            let after = ["verify", "finish"].map { Self.seconds(of: $0, in: restore.output) }.reduce(0, +)
            let total = try #require(Self.number("total_seconds", in: restore.output))
            let down = try #require(Self.number("downtime_seconds", in: restore.output))
            #expect(down <= total && abs(total - down - after) < 0.1 * total, "\(restore)")
        }
    }

    /// A number of a line of JSON, by its key.
    private static func number(_ key: String, in text: String) -> Double? {
        guard let start = text.firstRange(of: "\"\(key)\":") else { return nil }
        return Double(text[start.upperBound...].prefix { $0.isNumber || ".eE-+".contains($0) })
    }

    private static func seconds(of phase: String, in text: String) -> Double {
        guard let start = text.firstRange(of: "{\"name\":\"\(phase)\",") else { return 0 }
        return number("seconds", in: String(text[start.lowerBound...])) ?? 0
    }

    @Test func `a second backup or a restore of a stack at work ends with 11`() throws {
        let folder = try ScenarioFolder()
        defer { folder.remove() }
        try folder.createRepository()
        try folder.growTree(seed: 3)
        try AtomicFile.write(
            """
            stack: shop
            repository: ./repository
            encryption: none
            components: {documents: {volume: {path: ./tree}}}
            """, to: "\(folder.path)/lifeboat.yaml")
        #expect(try folder.lifeboat("backup").exit == 0)
        try FileTree.createFolders("\(folder.state)/restores")
        let lock = try FileLock.tryLock("\(folder.state)/restores/shop.lock")
        for words in [["backup"], ["restore", "latest", "--yes"]] {
            let run = try folder.lifeboat(words)
            #expect(run.exit == 11, "\(run)")
            #expect(run.error.contains("another lifeboat is backing up or restoring stack 'shop'"), "\(run)")
        }
        _ = consume lock
        #expect(try folder.lifeboat("backup").exit == 0)
        #expect(try folder.succeed("snapshots", "-r", folder.repository).output.split(separator: "\n").count >= 2)
    }

    @Test func `resume needs no policy for what the journal of services holds`() throws {
        let stack = try Stack()
        defer { stack.remove() }
        let manager = stack.project.compose
        let journal = ServiceJournal(stateFolder: stack.folder.state)
        let all = try manager.running(nil)
        func begin(_ operation: String, paused: [String], stopped: [String]) throws -> any RunningProcess {
            let lifeboat = try SystemProcessRunner().start(
                ProcessCommand("sh", ["-c", "echo $$; exec sleep 600"]), pipesInput: false, pipesOutput: true)
            var buffer = [UInt8](repeating: 0, count: 16)
            let count = try buffer.withUnsafeMutableBytes { try lifeboat.read(into: $0) }
            let processID = try #require(
                Int32(String(decoding: buffer[..<count], as: UTF8.self).prefix { $0.isNumber }))
            try journal.begin(
                operation: operation, kind: "backup", stack: "shop", policy: nil, services: stopped,
                startCommands: manager.startCommands(stopped), paused: paused,
                unpauseCommands: manager.unpauseCommands(paused), owner: try ProcessIdentity.of(processID))
            return lifeboat
        }

        let pausing = try begin("pausing", paused: all, stopped: [])
        #expect(try manager.pause(all, progress: Self.silent, cancellation: nil) == all)
        let tooEarly = try stack.lifeboat("resume")
        #expect(tooEarly.exit == 0 && tooEarly.output == "nothing was left undone\n", "\(tooEarly)")
        #expect(try stack.project.observedPaused() == all)
        pausing.terminate(grace: 0)
        let unpaused = try stack.lifeboat("resume", "--json")
        #expect(unpaused.exit == 0, "\(unpaused)")
        #expect(unpaused.output.contains(#""unpaused":["db","api"]"#), "\(unpaused)")
        #expect(try stack.project.observed() == all)

        let stopping = try begin("stopping", paused: [], stopped: all)
        _ = try manager.stop(all, progress: Self.silent, cancellation: nil)
        stopping.terminate(grace: 0)
        // Nothing but what is written down: neither policy, nor environment, nor the project's files.
        try stack.folder.shell("rm '\(stack.project.file)' '\(stack.folder.path)/lifeboat.yaml'")
        let started = try stack.folder.lifeboat("resume")
        #expect(started.exit == 0, "\(started)")
        #expect(started.output == "stack 'shop': started db, api\n", "\(started)")
        #expect(try stack.project.observed() == all)
        #expect(try stack.project.inspect("db", "{{.HostConfig.RestartPolicy.Name}}") == "always")
        #expect(try journal.list().abandoned.isEmpty)
    }
}
