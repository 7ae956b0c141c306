// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

struct CommandStoreTests {
    /// A folder with a file that the programs read and write.
    private struct Fixture {
        let folder: TemporaryFolder

        init() throws { folder = try TemporaryFolder() }

        var path: String { folder.path }

        func store(
            _ capture: String = "cat data", restore: String? = "cat >data", minimum: UInt64 = 1,
            environment: [String: Secret] = [:], keepsOld: Bool = true
        ) -> CommandStore {
            CommandStore(
                name: "thing", capture: ["sh", "-c", capture], restore: restore.map { ["sh", "-c", $0] },
                minimum: minimum, environment: environment, keepsOld: keepsOld, folder: path,
                stagingFolder: "\(path)/state/staged", runner: SystemProcessRunner(grace: 1))
        }

        func write(_ text: String) throws { try AtomicFile.write(text, to: "\(path)/data") }

        func read() throws -> String {
            let result = try SystemProcessRunner().run(ProcessCommand("cat", ["\(path)/data"]))
            return String(decoding: result.standardOutput, as: UTF8.self)
        }
    }

    @Test func `what a program gives comes back, and goes back again`() throws {
        let fixture = try Fixture()
        defer { try? fixture.folder.remove() }
        let store = fixture.store()
        try fixture.write("first")
        let captured = try store.captureStreams()
        #expect(captured.streams == ["output": Array("first".utf8)])
        try fixture.write("second")
        #expect(try store.preflightRestore(captured).isEmpty)
        let state = try store.stageStreams(captured, "id")
        #expect(try fixture.read() == "second")
        try store.swapBack(state)
        try store.swap(state)
        try store.swap(state)
        #expect(try fixture.read() == "first")
        #expect(try store.verify(captured).isEmpty)
        try store.swapBack(state)
        try store.swapBack(state)
        #expect(try fixture.read() == "second")
        try store.swap(state)
        #expect(try fixture.read() == "first")
        try store.discard(state)
        try store.discard(state)
        #expect(access("\(fixture.path)/state/staged/id-thing", F_OK) != 0)
    }

    @Test func `the program starts at the point in time, and waits for its reader`() throws {
        let fixture = try Fixture()
        defer { try? fixture.folder.remove() }
        try fixture.write("then")
        let store = fixture.store("exec 3<data; rm data; : >started; cat <&3; head -c 20000000 /dev/zero")
        let captured = try store.captureStreams(during: {
            for _ in 0..<600 {
                guard access("\(fixture.path)/started", F_OK) != 0 else { break }
                usleep(20_000)
            }
            try fixture.write("now")
        })
        #expect(captured.streams["output"]?.count == 20_000_004)
        #expect(captured.streams["output"]?.starts(with: Array("then".utf8)) == true)
    }

    @Test(arguments: [
        ("echo part; exit 3", "exit status 3"), ("echo part; kill -9 $$", "killed by signal 9"),
        ("printf abc", "gave 3 B, the least is 10 B"), (":", "gave 0 B"),
    ])
    func `a program that fails, or gives too little, gives no snapshot`(_ script: String, _ told: String) throws {
        let fixture = try Fixture()
        defer { try? fixture.folder.remove() }
        let store = fixture.store(script, minimum: 10)
        let error = #expect(throws: LifeboatError.self) { try store.captureStreams() }
        #expect(error?.message == "cannot capture the output of 'sh'")
        #expect(error?.causes.contains { $0.contains(told) } == true, "\(error?.causes ?? [])")
    }

    @Test func `secrets reach the program, and no message`() throws {
        let fixture = try Fixture()
        defer { try? fixture.folder.remove() }
        let secret = Secret("canary-99")
        let good = try fixture.store("printf %s \"$TOKEN\" | wc -c", environment: ["TOKEN": secret]).captureStreams()
        #expect(good.streams["output"] == Array("9\n".utf8))
        let store = fixture.store("echo \"login with $TOKEN failed\" >&2; exit 1", environment: ["TOKEN": secret])
        let error = #expect(throws: LifeboatError.self) { try store.captureStreams() }
        #expect(error?.description.contains("canary") == false)
        #expect(error?.causes.last == "login with <secret> failed")
    }

    @Test func `a capture that is given up ends the program`() throws {
        let fixture = try Fixture()
        defer { try? fixture.folder.remove() }
        let point = try fixture.store("trap ': >ended; exit' TERM; : >started; while :; do sleep 0.05; done")
            .fixPoint(Cancellation())
        for _ in 0..<600 {
            guard access("\(fixture.path)/started", F_OK) != 0 else { break }
            usleep(20_000)
        }
        point.release()
        #expect(access("\(fixture.path)/ended", F_OK) == 0)
    }

    @Test func `a restore program that fails is told, and what was there can come back`() throws {
        let fixture = try Fixture()
        defer { try? fixture.folder.remove() }
        try fixture.write("first")
        let captured = try fixture.store().captureStreams()
        try fixture.write("second")
        let store = fixture.store(restore: "cat >data; grep -q second data || { echo no room >&2; exit 7; }")
        let state = try store.stageStreams(captured, "id")
        let error = #expect(throws: LifeboatError.self) { try store.swap(state) }
        #expect(error?.causes == ["sh: exit status 7", "no room"])
        #expect(throws: LifeboatError.self, "what was there is only here") { try store.discard(state) }
        try store.swapBack(state)
        #expect(try fixture.read() == "second")
        try store.discard(state)
        // Exit status 0 is not enough when it did not take everything.
        var large = captured
        large.streams["output"] = [UInt8](repeating: 65, count: 4 << 20)
        let careless = fixture.store(restore: "head -c 10 >data")
        let other = try careless.stageStreams(large, "b")
        #expect(throws: LifeboatError.self) { try careless.swap(other) }
        try careless.swapBack(other)
    }

    @Test func `without something to keep there is a way, and no way back`() throws {
        let fixture = try Fixture()
        defer { try? fixture.folder.remove() }
        try fixture.write("first")
        let captured = try fixture.store().captureStreams()
        unlink("\(fixture.path)/data")
        var state = try fixture.store().stageStreams(captured, "a")
        let error = #expect(throws: LifeboatError.self) { try fixture.store().swap(state) }
        #expect(error?.hint?.contains("keep_old: false") == true)
        try fixture.store().discard(state)
        let store = fixture.store(keepsOld: false)
        #expect(try store.preflightRestore(captured).count == 1)
        state = try store.stageStreams(captured, "b")
        try store.swap(state)
        #expect(try fixture.read() == "first")
        #expect(throws: LifeboatError.self) { try store.swapBack(state) }
        try store.discard(state)
        #expect(throws: LifeboatError.self) { try fixture.store(restore: nil).preflightRestore(captured) }
    }
}
