// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatPolicy
import Testing

/// Values that count instead of a policy's.
struct PolicyTargetTests {
    private static let text = """
        stack: semantik
        repository: /r
        encryption: none
        services:
          compose: {file: docker-compose.yml, project: semantik}
        components:
          database: {postgres: {service: postgres, database: app, user: u, password: {env: P}}}
          queue: {redis: {host: h, port: 7000, data: ./redis}}
          vectors: {qdrant: {url: "http://127.0.0.1:6333"}}
          documents: {volume: {path: ./docs}}
        health:
          - {http: "http://127.0.0.1:8080/ready", within: 90s}
        """

    private func policy() throws -> Policy { try PolicyParser.parse(Self.text, source: "lifeboat.yaml", folder: "/p") }

    private func aimed(_ targets: String...) throws -> Policy {
        try policy().aimed(at: targets.map { try PolicyTarget($0) })
    }

    private func store(_ name: String, _ policy: Policy) throws -> StorePolicy {
        try #require(policy.components.first { $0.name == name }).store
    }

    @Test func valuesReplaceThoseOfThePolicyAndNothingElse() throws {
        var expected = try policy()
        expected.components[3].store = .volume(VolumePolicy(path: "/srv/new"))
        #expect(try aimed("documents.path=/srv/new") == expected)
        #expect(try aimed() == policy())
        guard case .postgres(let database) = try store("database", aimed("database.database=app_copy")) else {
            throw LifeboatError("no database")
        }
        #expect(database.databases == .one("app_copy") && database.container == .service("postgres", project: nil))
        guard case .compose(let compose)? = try aimed("services.compose.project=other").services.control else {
            throw LifeboatError("no services")
        }
        #expect(compose.project == "other" && compose.files == ["/p/docker-compose.yml"])
        #expect(
            try aimed("health.0.http=http://127.0.0.1:9/ready").health[0].question
                == .http(url: "http://127.0.0.1:9/ready", status: 200, field: nil, equals: nil))
    }

    @Test func anotherServerReplacesTheWayToTheOne() throws {
        guard
            case .postgres(let database) = try store("database", aimed("database.host=10.0.0.5", "database.port=5433"))
        else { throw LifeboatError("no database") }
        #expect(database.host == "10.0.0.5" && database.port == 5433 && database.container == nil)
        #expect(database.user == "u" && database.password == .environment("P"))
        guard case .redis(let queue) = try store("queue", aimed("queue.socket=/run/other.sock")) else {
            throw LifeboatError("no queue")
        }
        #expect(queue.socket == "/run/other.sock" && queue.host == nil && queue.port == nil && queue.data == nil)
        // Unless it is given as well, or taken away by hand.
        guard case .redis(let other) = try store("queue", aimed("queue.host=o", "queue.data=/d", "queue.port=")) else {
            throw LifeboatError("no queue")
        }
        #expect(other.host == "o" && other.data == "/d" && other.port == nil)
        guard
            case .postgres(let several) = try store(
                "database", aimed("database.databases=[a, b]", "database.password.file=/run/p"))
        else { throw LifeboatError("no database") }
        #expect(several.databases == .several(["a", "b"]) && several.password == .file("/run/p"))
    }

    @Test func whatGoesElsewhereIsKnown() throws {
        let base = try policy()
        #expect(try aimed("database.port=5433").componentsElsewhere(than: base) == ["database"])
        #expect(try aimed("documents.exclude=[\"*.tmp\"]").componentsElsewhere(than: base) == [])
        #expect(try aimed("database.jobs=2").componentsElsewhere(than: base) == [])
        // A server that is a service of the stack goes with its project.
        #expect(try aimed("services.compose.project=other").componentsElsewhere(than: base) == ["database"])
        #expect(Policy.concernsServices([try PolicyTarget("services.compose.project=other")]))
        #expect(!Policy.concernsServices([try PolicyTarget("documents.path=/x")]))
    }

    @Test(
        arguments: [
            (
                ["databse.host=x"], "--target databse.host: the policy has no component 'databse'",
                "Did you mean 'database'?"
            ),
            (
                ["database.hots=x"], "--target database.hots: unknown key 'hots' in 'components.database.postgres'",
                "Did you mean 'host'?"
            ),
            (
                ["database.port=many"],
                "--target database.port: 'components.database.postgres.port' must be a whole number from 1 to 65535,"
                    + " not 'many'", nil
            ),
            (
                ["health.3.http=x"], "--target health.3.http: there is no item '3' in that list",
                "It has the items 0 to 0."
            ),
            (
                ["vectors.url=http://u:canary@h"],
                "--target vectors.url: 'components.vectors.qdrant.url' holds a user or password, which a policy must not hold",
                "Name the key under 'api_key'."
            ),
        ] as [([String], String, String?)])
    func whatIsWrongIsToldAsOfThePolicy(targets: [String], cause: String, hint: String?) throws {
        let error = try #require(throws: PolicyDiagnostics.self) {
            _ = try policy().aimed(at: targets.map { try PolicyTarget($0) })
        }.lifeboatError
        #expect(error.message == "the policy 'lifeboat.yaml' with --target is not valid")
        #expect(error.causes == [cause] && error.hint == hint && error.exitCode == .usage, "\(error)")
    }

    @Test(arguments: ["database.password=canary", "vectors.api_key=canary", "x.environment.TOKEN=canary"])
    func noSecretStandsOnACommandLine(text: String) throws {
        let error = try #require(throws: LifeboatError.self) { _ = try PolicyTarget(text) }
        #expect(error.message.contains("must not be on a command line") && error.exitCode == .usage)
        #expect(!"\(error)".contains("canary"))
    }

    @Test(arguments: ["database", "=x", "database=x", ".host=x", "database..host=x"])
    func whatIsNoTargetIsRefused(text: String) {
        #expect(throws: LifeboatError.self) { _ = try PolicyTarget(text) }
    }
}
