// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

@Suite(.enabled(if: RedisServer.shouldRun(), "needs Redis and Valkey (scripts/setup)"))
struct RedisRoundTripTests {
    @Test(arguments: RedisServer.Engine.allCases, [true, false])
    func `everything comes back, with and without an append-only file`(
        _ engine: RedisServer.Engine, _ appendOnly: Bool
    ) throws {
        let server = try RedisServer(
            engine, password: "p@ss word", settings: ["--appendonly", appendOnly ? "yes" : "no"])
        defer { server.remove() }
        try server.fill(seed: 7)
        let before = try server.contents()
        let keysBefore = try server.keys()
        let store = server.store()
        var method = ""
        let captured = try store.captureStreams(
            method: { method = $0 },
            during: {
                try server.command("SET", "written after the moment", "x")
                try server.command("DEL", "big")
            })
        #expect(method == "RDB over the replication protocol")
        #expect(captured.facts.keys == keysBefore)
        #expect(captured.facts.counts["expires:db3"] == 200)
        #expect(captured.facts.counts["functions"] == (engine == .redis6 ? nil : 1))
        #expect(captured.facts.texts["rdb-checksum"] == "verified")
        #expect(captured.facts.texts["appendonly"] == (appendOnly ? "yes" : "no"))

        // Destroyed.
        try server.command("FLUSHALL")
        if engine != .redis6 { try server.command("FUNCTION", "FLUSH") }
        try server.command("SET", "ruin", "y")
        try server.save()
        let ruin = try server.contents()
        #expect(try store.preflightRestore(captured).isEmpty)
        let state = try store.stageStreams(captured, "r1")
        #expect(try server.contents() == ruin, "staging touches nothing live")
        server.stop()
        try store.swap(state)
        try store.swap(state)
        try server.start()
        #expect(try store.verify(captured).isEmpty)
        #expect(try server.contents() == before)
        #expect(try server.connect().setting("appendonly") == (appendOnly ? "yes" : "no"))
        if engine != .redis6 { #expect(try server.command("FCALL", "f", "0") == .integer(7)) }

        // It goes on as it was set up: with an append-only file, what is written now survives a crash.
        try server.command("SET", "after", "z")
        let after = try server.contents()
        if appendOnly { server.kill() } else { try server.save() }
        server.stop()
        try server.start()
        #expect(try server.contents() == after)

        // And back.
        server.stop()
        try store.swapBack(state)
        try store.swapBack(state)
        try server.start()
        #expect(try server.contents() == ruin)
        server.stop()
        try store.discard(state)
        try store.discard(state)
        #expect(access("\(server.data)/lifeboat-r1", F_OK) != 0)
    }

    @Test func `a server that is told to append at its next start loads the restored data too`() throws {
        let server = try RedisServer(.redis7, settings: ["--appendonly", "no"])
        defer { server.remove() }
        try server.fill(seed: 3)
        let before = try server.contents()
        let captured = try server.store().captureStreams()
        // Switched on by hand: the command line still says no.
        try server.command("CONFIG", "SET", "appendonly", "yes")
        try server.command("FLUSHALL")
        while try server.connect().info().number("aof_rewrite_in_progress") != 0 { usleep(20_000) }
        let store = server.store()
        for (id, appendOnly) in [("a", "yes"), ("b", "no")] {
            let state = try store.stageStreams(captured, id)
            server.stop()
            try store.swap(state)
            try server.start(settings: ["--appendonly", appendOnly])
            #expect(try store.verify(captured).isEmpty)
            #expect(try server.contents() == before)
            try store.discard(state)
            try server.command("CONFIG", "SET", "appendonly", "yes")
        }
    }

    @Test func `a server that was lost with all its data comes back`() throws {
        let server = try RedisServer(.redis7, password: "secret", settings: ["--appendonly", "yes"])
        defer { server.remove() }
        try server.fill(seed: 5)
        let before = try server.contents()
        let captured = try server.store().captureStreams()
        server.kill()
        try FileTree.remove(server.data)
        try FileTree.createFolders(server.data)
        #expect(chown(server.data, try owner().0, try owner().1) == 0)
        #expect(throws: LifeboatError.self, "nobody says where its folder is") { try server.store().planStaging("x") }
        let store = server.store(options: RedisStore.Options(data: server.data))
        let warnings = try store.preflightRestore(captured)
        #expect(warnings.count == 1)
        let state = try store.stageStreams(captured, "lost")
        try store.swap(state)
        try server.start()
        #expect(try store.verify(captured).isEmpty)
        #expect(try server.contents() == before)
        try store.discard(state)
    }

    /// The user the server runs as.
    private func owner() throws -> (UInt32, UInt32) {
        guard geteuid() == 0 else { return (geteuid(), getegid()) }
        let entry = try #require(getpwnam("lifeboat-test"))
        return (entry.pointee.pw_uid, entry.pointee.pw_gid)
    }

    @Test(arguments: [true, false])
    func `an exchange that stopped anywhere goes forward and back`(_ appendOnly: Bool) throws {
        let server = try RedisServer(.redis7, settings: ["--appendonly", appendOnly ? "yes" : "no"])
        defer { server.remove() }
        try server.command("SET", "new", "data")
        let captured = try server.store().captureStreams()
        let restored = try server.contents()
        try server.command("FLUSHALL")
        try server.command("SET", "old", "data")
        try server.save()
        let old = try server.contents()
        let store = server.store()
        // The exchange of a name is two renames: of all names together, stop after so many.
        let names = appendOnly ? ["dump.rdb", "appendonlydir"] : ["dump.rdb"]
        for stop in 0...(names.count * 2) {
            for goesOn in [true, false] {
                let state = try store.stageStreams(captured, "s\(stop)\(goesOn)")
                let staged = try #require(state.values["staged"])
                server.stop()
                for step in 0..<stop {
                    let name = names[step / 2]
                    let live = "\(server.data)/\(name)"
                    let (from, to) =
                        step % 2 == 0 ? (live, "\(staged)/old/\(name)") : ("\(staged)/new/\(name)", live)
                    #expect(rename(from, to) == 0)
                }
                if goesOn {
                    try store.swap(state)
                    try server.start()
                    #expect(try server.contents() == restored, "stopped after \(stop)")
                    server.stop()
                }
                try store.swapBack(state)
                try server.start()
                #expect(try server.contents() == old, "stopped after \(stop), \(goesOn)")
                try store.discard(state)
            }
        }
    }

    @Test func `nothing is exchanged under a server that runs`() throws {
        let server = try RedisServer(.redis7)
        defer { server.remove() }
        try server.command("SET", "a", "b")
        let store = server.store()
        let captured = try store.captureStreams()
        let state = try store.stageStreams(captured, "live")
        let error = #expect(throws: LifeboatError.self) { try store.swap(state) }
        #expect(error?.causes == ["the server still runs"])
        // As one that refuses our password.
        let other = server.store(password: Secret("wrong"))
        #expect(throws: LifeboatError.self) { try other.swap(state) }
        try store.swapBack(state)
        try store.discard(state)
        #expect(try server.contents().count == 1)
    }

    @Test func `keys whose time has passed are no loss, and missing ones are`() throws {
        for appendOnly in ["yes", "no"] {
            let server = try RedisServer(.redis7, settings: ["--appendonly", appendOnly])
            defer { server.remove() }
            let clock = SystemClock()
            let begin = clock.monotonicSeconds()
            for number in 0..<50 {
                try server.command("SET", "short \(number)", "x", "PX", "8000")
                try server.command("SET", "long \(number)", "x")
            }
            let store = server.store()
            let captured = try store.captureStreams()
            #expect(captured.facts.keys == [0: 100])
            let state = try store.stageStreams(captured, "e")
            server.stop()
            try store.swap(state)
            clock.sleep(seconds: begin + 9 - clock.monotonicSeconds())
            try server.start()
            #expect(try store.verify(captured).isEmpty)
            // A worker took one: the server had loaded it.
            try server.command("DEL", "long 1")
            #expect(try store.verify(captured).isEmpty)
            // Grew: told, for the executor to judge.
            for number in 0..<60 { try server.command("SET", "new \(number)", "x") }
            let grown = try store.verify(captured)
            #expect(grown.count == 1 && grown[0].name == "keys:db0" && grown[0].expected == "100")
            // The pitfall: a server that started empty.
            server.stop()
            try FileTree.remove("\(server.data)/appendonlydir")
            try FileTree.remove("\(server.data)/dump.rdb")
            try server.start()
            let lost = try store.verify(captured)
            #expect(lost == [FactDifference(name: "keys:db0", expected: "100", found: "0")])
        }
    }
}
