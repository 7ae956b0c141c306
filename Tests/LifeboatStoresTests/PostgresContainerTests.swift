// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// A server in a container of a real Docker engine: the client programs run in there too.
@Suite(.enabled(if: DockerDaemon.shouldRun && PostgresCluster.shouldRun, .init(rawValue: DockerDaemon.skipReason)))
struct PostgresContainerTests {
    private static let canary = "canary: it's\\a secret"

    /// A container with a server that listens on a socket only, whose folder this host sees, and asks for a password.
    private struct Server {
        let daemon: DockerDaemon
        let name: String
        let sockets: String
        let runner = SystemProcessRunner(grace: 1)

        init(_ name: String, labels: [String] = []) throws {
            let daemon = try DockerDaemon.shared()
            self.daemon = daemon
            self.name = name
            sockets = "\(daemon.folder)/\(name)"
            let binaries = try #require(PostgresCluster.installedBinaries)
            try Self.image.withLock { made in
                if made { return }
                try daemon.makeHostImage("postgres:test", path: "\(binaries):/usr/bin")
                made = true
            }
            try FileTree.createFolders(sockets)
            guard chmod(sockets, 0o777) == 0 else { throw SystemCallError("open up", sockets) }
            var words = ["run", "-d", "--name", name, "--network", "none", "--user", "999:999"]
            for label in labels { words += ["--label", label] }
            words += [
                "-v", "/usr:/usr:ro", "-v", "\(sockets):/var/run/postgresql", "-e",
                "PASSWORD=\(PostgresContainerTests.canary)",
            ]
            words += ["postgres:test", "sh", "-c"]
            words.append(
                """
                printf %s "$PASSWORD" >/tmp/pw && unset PASSWORD
                initdb -D /tmp/data -U postgres --auth=scram-sha-256 --pwfile=/tmp/pw -E UTF8 --no-sync >/dev/null &&
                exec postgres -D /tmp/data -c fsync=off -c listen_addresses= -c shared_buffers=16MB
                """)
            let started = try runner.run(ProcessCommand(daemon.client, words), deadline: 120)
            guard started.termination.succeeded else { throw LifeboatError("no container: \(started.standardError)") }
            for _ in 0..<600 {
                if (try? sql("postgres", "SELECT 1")) != nil { return }
                usleep(100_000)
            }
            throw LifeboatError("the server in container '\(name)' does not answer")
        }

        private static let image = Monitor(false)

        func endpoint(_ selection: ServerContainer.Selection? = nil, password: String = PostgresContainerTests.canary)
            -> PostgresEndpoint
        {
            PostgresEndpoint(
                host: sockets, user: "postgres", password: Secret(password),
                container: ServerContainer(selection ?? .name(name), engine: daemon.client))
        }

        func store(_ database: String, _ selection: ServerContainer.Selection? = nil) -> PostgresStore {
            PostgresStore(endpoint: endpoint(selection), database: database, runner: runner)
        }

        @discardableResult
        func sql(_ database: String, _ sql: String) throws -> String? {
            try PostgresConnection(endpoint(), database: database).execute(sql).scalar
        }

        func fill(_ database: String, rows: Int) throws {
            try sql("postgres", "CREATE DATABASE \(database)")
            for statement in [
                "CREATE TABLE documents (id int PRIMARY KEY, title text)",
                "INSERT INTO documents SELECT i, 'document ' || i || repeat('x', 500) FROM generate_series(1, \(rows)) i",
                "CREATE INDEX ON documents (title)", "SELECT lo_from_bytea(0, 'large')",
            ] { try sql(database, statement) }
        }

        /// The server is the container's process 1, and takes orphans that die of a signal for crashed sessions.
        func expectNoCrash() throws {
            let log = try SystemProcessRunner().run(ProcessCommand(daemon.client, ["logs", name]))
            #expect(!(log.standardError + String(decoding: log.standardOutput, as: UTF8.self)).contains("terminating"))
        }

        func digest(_ database: String) throws -> String? {
            try sql(database, "SELECT count(*) || md5(string_agg(d::text, '|' ORDER BY id)) FROM documents d")
        }
    }

    @Test func dumpAndRestoreRunInsideAndThePasswordGoesThroughAPipe() throws {
        let server = try Server("named")
        try server.fill("app", rows: 5000)
        let store = server.store("app")
        let captured = try store.captureAll()
        #expect(captured.streams["dump"]?.starts(with: Array("PGDMP".utf8)) == true)
        #expect(captured.facts.counts["rows:public.documents"] == 5000)
        #expect(String(decoding: captured.streams["globals"] ?? [], as: UTF8.self).contains("CREATE ROLE postgres"))
        let before = try server.digest("app")
        try server.sql("app", "DELETE FROM documents WHERE id < 100")
        #expect(try store.preflightRestore(captured) == [])
        // Its data are on no mount.
        #expect(try store.stagesOnServer && store.stagingRoom(captured) == nil)
        let state = try store.stageAll(captured, "r1")
        try store.swap(state)
        #expect(try server.digest("app") == before)
        #expect(try store.verify(captured) == [])
        #expect(
            try server.sql("app", "SELECT count(*) FROM pg_indexes WHERE tablename = 'documents'") == "2")
        try store.discard(state)
        // Nothing of it on the way: not in an argument, not in the environment of a process on this host.
        let calls = try SystemProcessRunner().run(ProcessCommand("cat", [server.daemon.log]))
        let text = String(decoding: calls.standardOutput, as: UTF8.self)
        let own = text.split(separator: "PASSWORD=\(Self.canary)", omittingEmptySubsequences: false).joined()
        #expect(text.contains("pg_dump") && text.contains("pg_dumpall") && text.contains("--section=post-data"))
        #expect(!own.contains("canary"))
        try server.expectNoCrash()
        // And nothing stays behind in there.
        #expect(try server.daemon.docker("exec", "named", "sh", "-c", "ls /tmp/tmp.* 2>/dev/null; true") == "")
    }

    @Test func aServiceOfComposeIsFoundByItsLabels() throws {
        func labels(_ project: String) -> [String] {
            [
                "com.docker.compose.service=db", "com.docker.compose.project=\(project)",
                "com.docker.compose.oneoff=False",
            ]
        }
        let server = try Server("shop-db-1", labels: labels("shop"))
        try server.fill("app", rows: 50)
        let store = server.store("app", .service("db", project: nil))
        #expect(try store.captureAll().facts.counts["rows:public.documents"] == 50)
        let missing = #expect(throws: LifeboatError.self) {
            try server.store("app", .service("cache", project: "shop")).probe()
        }
        #expect(missing?.message == "no container of service 'cache' of project 'shop' runs")
        // The same service of another project: which one is meant?
        let id = try server.daemon.docker(
            "run", "-d", "--network", "none", "--label", labels("other")[0], "--label", labels("other")[1], "--label",
            labels("other")[2], "-v", "/usr:/usr:ro", "postgres:test", "sleep", "1000")
        let ambiguous = #expect(throws: LifeboatError.self) {
            try server.store("app", .service("db", project: nil)).probe()
        }
        #expect(ambiguous?.message == "2 containers of service 'db' run")
        #expect(ambiguous?.causes.sorted() == ["project other", "project shop"])
        #expect(try server.store("app", .service("db", project: "shop")).probe().engineVersion != nil)
        try server.daemon.docker("rm", "-f", id)
        // Without a network of its own it has no address either.
        var endpoint = server.endpoint()
        endpoint.host = ""
        let unreachable = #expect(throws: LifeboatError.self) {
            try PostgresStore(endpoint: endpoint, database: "app", runner: server.runner).probe()
        }
        #expect(unreachable?.message == "container 'shop-db-1' has no address that this host can reach")
    }

    @Test func aDumpThatIsGivenUpEndsInsideToo() throws {
        let server = try Server("given-up")
        try server.fill("app", rows: 60_000)
        func programs() throws -> Bool { try server.daemon.docker("top", "given-up").contains("pg_dump ") }
        let point = try server.store("app").fixPoint(Cancellation())
        defer { point.release() }
        let source = try openPart(point, "dump")
        var buffer = [UInt8](repeating: 0, count: 1000)
        #expect(try buffer.withUnsafeMutableBytes { try source.read(into: $0) } > 0)
        #expect(try programs())
        source.close()
        for _ in 0..<200 {
            guard try programs() else { break }
            usleep(100_000)
        }
        #expect(try !programs())
        try server.expectNoCrash()
    }

    @Test func whatTheEngineSaysIsTold() throws {
        let daemon = try DockerDaemon.shared()
        let endpoint = PostgresEndpoint(
            host: "", user: "postgres", container: ServerContainer(.name("nobody"), engine: daemon.client))
        let error = #expect(throws: LifeboatError.self) {
            try PostgresStore(endpoint: endpoint, database: "app", runner: SystemProcessRunner()).probe()
        }
        #expect(error?.message == "'\(daemon.client)' cannot find container 'nobody'")
        #expect(error?.causes.joined().contains("No such container") == true)
        let none = PostgresEndpoint(
            host: "", user: "postgres", container: ServerContainer(.name("x"), engine: "/nowhere/docker"))
        #expect(throws: (any Error).self) {
            try PostgresStore(endpoint: none, database: "app", runner: SystemProcessRunner()).probe()
        }
    }
}
