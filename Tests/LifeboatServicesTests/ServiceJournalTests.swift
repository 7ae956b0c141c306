// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatServices
import LifeboatTesting
import Testing

@Suite struct ServiceJournalTests {
    /// A real process that stands for another lifeboat.
    private final class Helper: Sendable {
        let identity: ProcessIdentity
        private let process: any RunningProcess

        init() throws {
            let child = try SystemProcessRunner().start(
                ProcessCommand("sh", ["-c", "echo $$; exec sleep 60"]), pipesInput: false, pipesOutput: true)
            process = child
            var buffer = [UInt8](repeating: 0, count: 16)
            let count = try buffer.withUnsafeMutableBytes { try child.read(into: $0) }
            let text = String(decoding: buffer[..<count], as: UTF8.self).prefix { $0.isNumber }
            let processID = try #require(Int32(text))
            let found = try ProcessIdentity.of(processID)
            identity = try #require(found)
        }

        /// The child stays a zombie until `deinit`.
        func killHard() {
            kill(identity.processID, SIGKILL)
            while (try? identity.isAlive()) == true { SystemClock().sleep(seconds: 0.01) }
        }

        deinit { process.terminate(grace: 0) }
    }

    private static func begin(
        _ journal: ServiceJournal, _ fixture: ScriptServices, operation: String = "op-1", stack: String = "demo",
        owner: ProcessIdentity? = nil
    ) throws {
        let running = try fixture.manager.running(nil)
        try journal.begin(
            operation: operation, kind: "restore", stack: stack, policy: "/etc/x.yaml", services: running,
            startCommands: fixture.manager.startCommands(running), owner: owner)
    }

    @Test func `services that a killed process left stopped are started again`() throws {
        let fixture = try ScriptServices()
        defer { try? fixture.folder.remove() }
        let journal = ServiceJournal(stateFolder: "\(fixture.folder.path)/state")
        let helper = try Helper()
        try Self.begin(journal, fixture, owner: helper.identity)
        _ = try fixture.manager.stop(fixture.services, progress: SilentProgress(), cancellation: nil)
        #expect(try journal.pending().isEmpty)
        let live = try #require(try journal.list().live.first)
        #expect {
            try journal.resume(live, runner: SystemProcessRunner(), progress: SilentProgress())
        } throws: { LifeboatError.converting($0).exitCode == .busy }
        #expect(try fixture.observed().isEmpty)

        helper.killHard()
        let pending = try journal.pending()
        #expect(pending.map(\.operation) == ["op-1"])
        #expect(try journal.list().live.isEmpty)
        try journal.resume(pending[0], runner: SystemProcessRunner(), progress: SilentProgress())
        #expect(try fixture.observed() == fixture.services)
        #expect(try journal.list().abandoned.isEmpty)
        // Again: somebody else was faster.
        try journal.resume(pending[0], runner: SystemProcessRunner(), progress: SilentProgress())
    }

    @Test func `an entry of this process is live, and gone after its end`() throws {
        let fixture = try ScriptServices()
        defer { try? fixture.folder.remove() }
        let journal = ServiceJournal(stateFolder: "\(fixture.folder.path)/a/b/state")
        #expect(try journal.list().live.isEmpty)
        try Self.begin(journal, fixture)
        let entry = try #require(try journal.list().live.first)
        #expect(entry.owner.processID == getpid())
        #expect(entry.services == fixture.services)
        #expect(entry.startCommands == fixture.manager.startCommands(fixture.services))
        try Self.begin(journal, fixture)
        try journal.end(operation: "op-1")
        try journal.end(operation: "op-1")
        #expect(try journal.list().live.isEmpty)
    }

    @Test func `a process id that was given out again is another process`() throws {
        var other = try ProcessIdentity.current()
        #expect(try other.isAlive())
        other.startTicks += 1
        #expect(try !other.isAlive())
        other.startTicks -= 1
        other.bootID = "another boot"
        #expect(try !other.isAlive())
        #expect(try ProcessIdentity.of(0x3FFF_FFFF) == nil)
    }

    @Test func `two operations on one stack do not mix`() throws {
        let fixture = try ScriptServices()
        defer { try? fixture.folder.remove() }
        let journal = ServiceJournal(stateFolder: "\(fixture.folder.path)/state")
        let helper = try Helper()
        try Self.begin(journal, fixture, operation: "theirs", owner: helper.identity)
        for operation in ["ours", "theirs"] {
            #expect {
                try Self.begin(journal, fixture, operation: operation)
            } throws: { LifeboatError.converting($0).exitCode == .busy }
        }
        try Self.begin(journal, fixture, operation: "elsewhere", stack: "other")
        helper.killHard()
        #expect {
            try Self.begin(journal, fixture, operation: "ours")
        } throws: { error in
            let error = LifeboatError.converting(error)
            return error.exitCode == .failed && error.hint == "Run 'lifeboat resume' to start them again."
        }
        // The same operation, continued by this process.
        try Self.begin(journal, fixture, operation: "theirs")
        #expect(try journal.list().live.map(\.operation) == ["elsewhere", "theirs"])
    }

    @Test func `a start that fails keeps the entry`() throws {
        let fixture = try ScriptServices()
        defer { try? fixture.folder.remove() }
        let journal = ServiceJournal(stateFolder: "\(fixture.folder.path)/state")
        let helper = try Helper()
        try journal.begin(
            operation: "op", kind: "backup", stack: "demo", policy: nil, services: ["services"],
            startCommands: [ServiceCommand(["sh", "-c", "echo broken >&2; exit 3"])], owner: helper.identity)
        helper.killHard()
        let entry = try #require(try journal.pending().first)
        #expect {
            try journal.resume(entry, runner: SystemProcessRunner(), progress: SilentProgress())
        } throws: { LifeboatError.converting($0).causes.contains("it said: broken") }
        #expect(try journal.pending() == [entry])
    }

    @Test func `whoever comes second is told that it is busy`() throws {
        let fixture = try ScriptServices()
        defer { try? fixture.folder.remove() }
        let state = "\(fixture.folder.path)/state"
        let journal = ServiceJournal(stateFolder: state)
        let helper = try Helper()
        try journal.begin(
            operation: "op", kind: "backup", stack: "demo", policy: nil, services: ["services"],
            startCommands: [ServiceCommand(["sh", "-c", "echo x >> started; sleep 0.5"], folder: fixture.folder.path)],
            owner: helper.identity)
        helper.killHard()
        let entry = try #require(try journal.pending().first)
        let outcomes = Monitor<[ExitCode]>([])
        try runConcurrently(
            (0..<4).map { _ in
                (
                    name: "resume",
                    body: { @Sendable () throws -> Void in
                        var code = ExitCode.done
                        do {
                            try journal.resume(entry, runner: SystemProcessRunner(), progress: SilentProgress())
                        } catch {
                            code = LifeboatError.converting(error).exitCode
                        }
                        outcomes.withLock { (all: inout [ExitCode]) in all.append(code) }
                    }
                )
            })
        let codes = outcomes.withLock { (all: inout [ExitCode]) in all }
        #expect(codes.contains(.done))
        #expect(codes.allSatisfy { $0 == .done || $0 == .busy })
        let size = try SystemProcessRunner().run(ProcessCommand("cat", ["\(fixture.folder.path)/started"]))
        #expect(size.standardOutput == Array("x\n".utf8))
    }

    @Test(arguments: ["", "{", "{}", "[1]"]) func `an entry that cannot be read is told, not skipped`(
        _ text: String
    ) throws {
        let fixture = try ScriptServices()
        defer { try? fixture.folder.remove() }
        let journal = ServiceJournal(stateFolder: fixture.folder.path)
        try Self.begin(journal, fixture)
        try AtomicFile.write(text, to: "\(fixture.folder.path)/services/bad.json")
        let listing = try journal.list()
        #expect(listing.live.count == 1)
        #expect(listing.damaged.count == 1)
        #expect(listing.damaged.first?.causes == ["it is not what lifeboat wrote"])
    }

    @Test func `operation names cannot leave the folder`() throws {
        let fixture = try ScriptServices()
        defer { try? fixture.folder.remove() }
        let journal = ServiceJournal(stateFolder: fixture.folder.path)
        for name in ["", "../x", "a/b", ".hidden", String(repeating: "a", count: 300), "ä"] {
            #expect(throws: LifeboatError.self) { try Self.begin(journal, fixture, operation: name) }
            #expect(throws: LifeboatError.self) { try journal.end(operation: name) }
        }
    }

    @Test func `the state folder follows the environment and the user`() throws {
        #expect(try StateFolder.path(environment: ["LIFEBOAT_STATE": "/x"], userID: 0) == "/x")
        #expect(try StateFolder.path(environment: ["HOME": "/root"], userID: 0) == "/var/lib/lifeboat")
        #expect(try StateFolder.path(environment: ["HOME": "/people"], userID: 7) == "/people/.local/state/lifeboat")
        #expect(
            try StateFolder.path(environment: ["HOME": "/h", "XDG_STATE_HOME": "/s"], userID: 7) == "/s/lifeboat")
        #expect(throws: LifeboatError.self) { try StateFolder.path(environment: [:], userID: 7) }
        #expect(throws: LifeboatError.self) { try StateFolder.path(environment: ["LIFEBOAT_STATE": "x"], userID: 0) }
    }
}
