// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatHTTP
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

@Suite(.enabled(if: RedisServer.shouldRun(), "needs Redis and Valkey (scripts/setup)"))
struct RedisFaultTests {
    @Test func `a wrong password is told, and never shown`() throws {
        let server = try RedisServer(.redis7, password: "right-canary")
        defer { server.remove() }
        let store = server.store(password: Secret("wrong-canary"))
        let error = #expect(throws: RedisError.self) { try store.probe() }
        #expect(error?.code == "WRONGPASS")
        let text = "\(try #require(error).lifeboatError) \(String(describing: store)) \(String(reflecting: store))"
        #expect(!text.contains("canary") && text.contains("'password'"))
        var endpoint = server.endpoint
        endpoint.password = nil
        #expect(throws: RedisError.self) { try RedisStore(endpoint).probe() }
    }

    @Test func `nobody there, or somebody else`() throws {
        let nobody = RedisStore(RedisEndpoint(RawAddress(host: "127.0.0.1", port: 1)))
        let error = #expect(throws: RedisError.self) { try nobody.probe() }
        #expect(error?.lifeboatError.message == "cannot reach the server at 127.0.0.1:1")
        let socket = RedisStore(RedisEndpoint(RawAddress(host: "", port: 6379, unixSocket: "/nonexistent")))
        #expect(throws: RedisError.self) { try socket.probe() }
        // TLS to a server that speaks none.
        let server = try RedisServer(.redis7)
        defer { server.remove() }
        let tls = RawAddress(host: "127.0.0.1", port: server.port, tls: RawAddress.TLS())
        #expect(throws: RedisError.self) { try RedisStore(RedisEndpoint(tls, connectTimeout: 0.5)).probe() }
    }

    @Test(arguments: [true, false])
    func `a server that dies in the middle gives no snapshot`(_ diskless: Bool) throws {
        let server = try RedisServer(
            .redis7, settings: ["--repl-diskless-sync", diskless ? "yes" : "no", "--rdbcompression", "no"])
        defer { server.remove() }
        // More than what is kept before the reader comes and what sockets and pipes hold.
        for number in 0..<40 { try server.command("DEBUG", "POPULATE", "64", "p\(number)", "16384") }
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let store = server.store(options: RedisStore.Options(spoolFolder: folder.path))
        // Each key takes the server a moment.
        try server.command("CONFIG", "SET", "rdb-key-save-delay", "3000")
        let point = try store.fixPoint(Cancellation())
        defer { point.release() }
        usleep(300_000)
        server.kill()
        let error = #expect(throws: LifeboatError.self) { try CapturedContent.readAll(try openPart(point, "rdb")) }
        #expect(error?.message == "cannot capture Redis at 127.0.0.1:\(server.port)")
        #expect(throws: LifeboatError.self) { try point.facts() }
    }

    @Test func `what was captured is safe when the server dies before it is read`() throws {
        let server = try RedisServer(.redis7, settings: ["--rdbcompression", "no"])
        defer { server.remove() }
        try server.command("DEBUG", "POPULATE", "1500", "key", "16384")
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let store = server.store(options: RedisStore.Options(spoolFolder: folder.path))
        let captured = try store.captureStreams(during: {
            while try server.connect().info().number("rdb_bgsave_in_progress") != 0 { usleep(50_000) }
            // Drained: 24 MB, most of it to a file that has no name.
            while try server.connect().info().number("connected_slaves") != 0 { usleep(50_000) }
            server.kill()
        })
        #expect(captured.rdb.count > 20 << 20 && captured.facts.keys == [0: 1500])
        let left = try SystemProcessRunner().run(ProcessCommand("ls", ["-A", folder.path]))
        #expect(left.standardOutput.isEmpty)
    }

    @Test func `a capture that is given up lets the server go`() throws {
        let server = try RedisServer(.redis7)
        defer { server.remove() }
        try server.command("DEBUG", "POPULATE", "2000", "key", "16384")
        try server.command("CONFIG", "SET", "rdb-key-save-delay", "2000")
        let cancellation = Cancellation()
        for isCancelled in [false, true] {
            let point = try server.store().fixPoint(cancellation)
            let source = try openPart(point, "rdb")
            var buffer = [UInt8](repeating: 0, count: 100)
            #expect(try buffer.withUnsafeMutableBytes { try source.read(into: $0) } > 0)
            if isCancelled {
                cancellation.cancel()
                let error = #expect(throws: LifeboatError.self) { try CapturedContent.readAll(source) }
                #expect(error?.exitCode == .interrupted)
            }
            point.release()
            point.release()
        }
        for _ in 0..<400 {
            guard try server.connect().info().number("connected_slaves") != 0 else { break }
            usleep(50_000)
        }
        #expect(try server.connect().info().number("connected_slaves") == 0)
    }

    @Test func `data of a newer server is refused before anything is touched`() throws {
        let old = try RedisServer(.redis6)
        defer { old.remove() }
        let middle = try RedisServer(.redis7)
        defer { middle.remove() }
        let new = try RedisServer(.valkey9)
        defer { new.remove() }
        for server in [old, middle, new] { try server.command("SET", "a", "b") }
        let captures = try [old, middle, new].map { try $0.store().captureStreams() }
        for (index, server) in [old, middle, new].enumerated() {
            for (from, captured) in captures.enumerated() {
                let store = server.store()
                guard from > index else {
                    #expect(try store.preflightRestore(captured).isEmpty)
                    continue
                }
                let error = #expect(throws: LifeboatError.self) { try store.preflightRestore(captured) }
                #expect(error?.causes.first?.contains("RDB version") == true)
                // Facts that lie do not help.
                var lying = captured
                lying.facts.texts["rdb"] = nil
                let state = try store.planStaging("v")
                #expect(throws: LifeboatError.self) {
                    try store.stage(lying, state, progress: SilentProgress(), cancellation: Cancellation())
                }
                try store.discard(state)
            }
        }
    }

    @Test func `databases, modules and replicas are looked at before anything is touched`() throws {
        let server = try RedisServer(.redis7, settings: ["--databases", "2"])
        defer { server.remove() }
        var captured = try server.store().captureStreams()
        captured.facts.counts["keys:db5"] = 1
        var error = #expect(throws: LifeboatError.self) { try server.store().preflightRestore(captured) }
        #expect(error?.causes.first?.contains("database 5") == true)
        captured.facts.counts = [:]
        captured.facts.texts["module:search"] = "20000"
        error = #expect(throws: LifeboatError.self) { try server.store().preflightRestore(captured) }
        #expect(error?.causes == ["the server has not loaded the module 'search'"])
        captured.facts.texts["module:search"] = nil
        let elsewhere = try TemporaryFolder()
        defer { try? elsewhere.remove() }
        try server.command("CONFIG", "SET", "appendonly", "yes")
        let wrong = server.store(options: RedisStore.Options(data: elsewhere.path))
        error = #expect(throws: LifeboatError.self) { try wrong.preflightRestore(captured) }
        #expect(error?.causes.first?.contains("is not its data folder") == true)
        try server.command("REPLICAOF", "127.0.0.1", "1")
        error = #expect(throws: LifeboatError.self) { try server.store().preflightRestore(captured) }
        #expect(error?.hint == "Restore its primary.")
        error = #expect(throws: LifeboatError.self) { try server.store().captureStreams() }
        #expect(error?.causes.first?.contains("link to the primary is down") == true)
    }

    @Test(.enabled(if: geteuid() == 0, "needs root, to mount a small file system"))
    func `a full disk of the server spoils no capture over the wire, and is told by the others`() throws {
        let folder = try TemporaryFolder(prefix: "lbrd-full-", in: "/tmp")
        defer { try? folder.remove() }
        try #require(chmod(folder.path, 0o755) == 0)
        try #require(mount("lifeboat-test", folder.path, "tmpfs", 0, "size=2m,mode=755") == 0)
        defer { umount2(folder.path, Int32(MNT_DETACH)) }
        let server = try RedisServer(.redis7, data: folder.path, settings: ["--rdbcompression", "no"])
        defer { server.remove() }
        try server.command("DEBUG", "POPULATE", "300", "key", "16384")
        let captured = try server.store().captureStreams()
        #expect(captured.facts.keys == [0: 300])
        // No room beside the live data either.
        #expect(throws: LifeboatError.self) { try server.store().preflightRestore(captured) }
        let room = try #require(try server.store().stagingRoom(captured))
        #expect(room.needed >= room.free && room.place == folder.path)
        let store = server.store(options: RedisStore.Options(transfer: .bgsave))
        var error = #expect(throws: LifeboatError.self) { try store.captureStreams() }
        #expect(error?.causes.first == "the server could not write its RDB file (rdb_last_bgsave_status is err)")
        try server.command("CONFIG", "SET", "repl-diskless-sync", "no")
        error = #expect(throws: LifeboatError.self) { try server.store().captureStreams() }
        #expect(error?.message.hasPrefix("cannot capture") == true)
    }
}
