// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatHTTP
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

@Suite(.enabled(if: RedisServer.shouldRun(), "needs Redis and Valkey (scripts/setup)"))
struct RedisTransferTests {
    @Test(arguments: [RedisServer.Engine.redis7, .valkey9])
    func `a file sent with its length is the same as one with a mark`(_ engine: RedisServer.Engine) throws {
        let server = try RedisServer(engine)
        defer { server.remove() }
        try server.fill(seed: 2)
        let marked = try server.store().captureStreams()
        try server.command("CONFIG", "SET", "repl-diskless-sync", "no")
        let measured = try server.store().captureStreams()
        #expect(measured.facts == marked.facts)
        for captured in [marked, measured] {
            #expect(captured.rdb[captured.rdb.count - 9] == 0xFF, "nothing of the frame is left in the stream")
        }
    }

    @Test func `TLS with a client certificate, and a unix socket`() throws {
        let folder = try TemporaryFolder(prefix: "lbrd-tls-", in: "/tmp")
        defer { try? folder.remove() }
        let path = folder.path
        let script = """
            set -e; cd '\(path)'; chmod 755 .
            openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.crt 2>/dev/null
            for name in server client; do
                openssl req -newkey rsa:2048 -nodes -subj /CN=$name -keyout $name.key -out $name.csr 2>/dev/null
                echo subjectAltName=IP:127.0.0.1 >$name.ext
                openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile $name.ext \\
                    -out $name.crt 2>/dev/null
            done
            chmod 644 *
            """
        let made = try SystemProcessRunner().run(ProcessCommand("sh", ["-c", script]), deadline: 120)
        try #require(made.termination.succeeded, "\(made.standardError)")
        let server = try RedisServer(
            .redis7, password: "secret",
            settings: [
                "--tls-port", "0", "--tls-cert-file", "\(path)/server.crt", "--tls-key-file", "\(path)/server.key",
                "--tls-ca-cert-file", "\(path)/ca.crt",
            ])
        defer { server.remove() }
        try server.fill(seed: 9)
        // The unix socket stays; the port speaks TLS from now on.
        try server.command("CONFIG", "SET", "port", "0")
        try server.command("CONFIG", "SET", "tls-port", "\(server.port)")
        let tls = RawAddress.TLS(
            authority: "\(path)/ca.crt", certificate: "\(path)/client.crt", key: "\(path)/client.key")
        func store(_ tls: RawAddress.TLS, host: String = "127.0.0.1") -> RedisStore {
            RedisStore(
                RedisEndpoint(RawAddress(host: host, port: server.port, tls: tls), password: server.password))
        }
        let captured = try store(tls).captureStreams()
        #expect(captured.facts.keys == (try server.keys()))
        // Without our certificate, without their authority, under another name.
        #expect(throws: RedisError.self) { try store(RawAddress.TLS(authority: "\(path)/ca.crt")).probe() }
        #expect(throws: RedisError.self) {
            try store(RawAddress.TLS(certificate: tls.certificate, key: tls.key)).probe()
        }
        #expect(throws: RedisError.self) { try store(tls, host: "localhost").probe() }
        var endpoint = server.endpoint
        endpoint.address.unixSocket = server.socket
        let local = RedisStore(endpoint)
        #expect(local.subject == "Redis at \(server.socket)")
        #expect(try local.captureStreams().facts == captured.facts)
    }

    @Test func `a user with few rights is enough`() throws {
        let server = try RedisServer(.redis7, password: "root")
        defer { server.remove() }
        try server.fill(seed: 6)
        try server.command(
            "ACL", "SETUSER", "backup", "on", ">words and more", "resetkeys", "-@all", "+psync", "+replconf", "+info",
            "+config|get", "+module|list", "+ping")
        let store = server.store(user: "backup", password: Secret("words and more"))
        let captured = try store.captureStreams()
        #expect(captured.facts.keys == (try server.keys()))
        #expect(captured.facts.texts["appendonly"] == "no")
    }

    @Test func `where replication is refused the server's own file is read`() throws {
        let server = try RedisServer(.redis7, password: "root")
        defer { server.remove() }
        try server.fill(seed: 8)
        try server.command("ACL", "SETUSER", "backup", "on", ">pw", "allkeys", "+@all", "-psync", "-sync")
        var method = ""
        let store = server.store(user: "backup", password: Secret("pw"))
        let captured = try store.captureStreams(
            method: { method = $0 }, during: { try server.command("SET", "later", "x") })
        #expect(method == "RDB by BGSAVE")
        #expect(captured.facts.keys[0] == (try server.keys()[0] ?? 0) - 1)
        let state = try store.stageStreams(captured, "b")
        server.stop()
        try store.swap(state)
        try server.start()
        // The user was made by hand, and is gone.
        #expect(try server.store().verify(captured).isEmpty)
        try store.discard(state)
        // Without rights to either.
        try server.command("ACL", "SETUSER", "less", "on", ">pw", "-@all", "+info", "+config|get", "+ping")
        let less = server.store(user: "less", password: Secret("pw"))
        let error = #expect(throws: LifeboatError.self) { try less.captureStreams() }
        #expect(error?.causes.filter { $0.hasPrefix("NOPERM ") }.count == 2)
        // Told to: no detour.
        let strict = server.store(
            user: "backup", password: Secret("pw"), options: RedisStore.Options(transfer: .replication))
        #expect(throws: RedisError.self) { try strict.probe() }
    }

    @Test func `the server's own delay does not hold the writers, and is put back`() throws {
        let server = try RedisServer(.redis7, settings: ["--repl-diskless-sync-delay", "60"])
        defer { server.remove() }
        try server.command("SET", "a", "b")
        // With the delay this would take a minute.
        let captured = try server.store().captureStreams()
        #expect(captured.facts.keys == [0: 1])
        #expect(try server.connect().setting("repl-diskless-sync-delay") == "60")
    }

    @Test func `the moment is never one before it was asked for`() throws {
        let server = try RedisServer(.redis7, settings: ["--repl-diskless-sync", "no"])
        defer { server.remove() }
        try server.command("DEBUG", "POPULATE", "300", "key", "100")
        // Somebody else's copy is on its way, slowly: a late-comer would get the same one.
        try server.command("CONFIG", "SET", "rdb-key-save-delay", "5000")
        let other = try server.store().fixPoint(Cancellation())
        defer { other.release() }
        try server.command("SET", "written before the moment", "x")
        let captured = try server.store().captureStreams(during: {
            try server.command("SET", "written after the moment", "x")
        })
        #expect(captured.facts.keys == [0: 301])
    }
}
