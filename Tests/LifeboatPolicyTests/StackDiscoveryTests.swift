// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatPolicy
import Testing

struct StackDiscoveryTests {
    private static let compose = """
        services:
          api:
            image: registry.example:5000/team/api:3
            volumes: ["./documents:/data", "./nginx.conf:/etc/nginx.conf:ro", "./static:/static:ro", "shared:/shared"]
          db:
            image: pgvector/pgvector:pg17
            environment:
              POSTGRES_DB: ${DB_NAME:-semantik}
              POSTGRES_USER: $DB_USER
              POSTGRES_PASSWORD: ${DB_PASSWORD:?set it}
            volumes: ["pg:/var/lib/postgresql/data"]
          other-db: {image: "postgres:18", environment: [POSTGRES_PASSWORD=hunter2]}
          cache: {image: "valkey/valkey:9", command: valkey-server --requirepass $CACHE_PASSWORD}
          vectors: {image: "qdrant/qdrant@sha256:0", environment: {QDRANT__SERVICE__API_KEY: "${QDRANT_KEY}"}}
          chroma: {image: "ghcr.io/chroma-core/chroma:1.3"}
          ollama: {image: ollama/ollama, volumes: [{type: bind, source: ./models, target: /models/.ollama}]}
          built: {build: .}
        """

    private func policy(_ compose: String, sqliteFiles: [String] = []) throws -> (text: String, policy: Policy) {
        let found = StackDiscovery(
            try #require(ComposeService.all(compose)), sqliteFiles: sqliteFiles,
            variable: { $0 == "DB_USER" ? "semantik_user" : nil },
            isFolder: { ["./documents", "./models", "./static"].contains($0) })
        let text = StarterPolicy.text(
            stack: "demo", repository: "/r", found: found, compose: "docker-compose.yml")
        return (text, try PolicyParser.parse(text, source: nil, folder: "/p"))
    }

    @Test func `the databases, models and folders of a Compose file become components of a valid policy`() throws {
        let (text, policy) = try policy(Self.compose, sqliteFiles: ["./state/app.db", "./documents/cache"])
        #expect(
            policy.components.map(\.name) == [
                "documents", "db", "other-db", "cache", "vectors", "chroma", "ollama", "app.db", "cache-2",
            ])
        #expect(
            policy.components.map(\.store.kind) == [
                "volume", "postgres", "postgres", "redis", "qdrant", "chroma", "models", "sqlite", "sqlite",
            ])
        guard case .postgres(let database) = policy.components[1].store,
            case .postgres(let other) = policy.components[2].store, case .redis(let cache) = policy.components[3].store,
            case .compose(let services)? = policy.services.control
        else {
            Issue.record("unexpected stores")
            return
        }
        #expect(database.database == "semantik" && database.user == "semantik_user")
        #expect(database.container == .service("db", project: nil))
        #expect(database.password == .environment("DB_PASSWORD"))
        #expect(other.databases == .all && other.user == "postgres" && other.password == nil)
        #expect(cache.password == .environment("CACHE_PASSWORD"))
        #expect(services.files == ["/p/docker-compose.yml"])
        // Secrets are named and not copied; volumes of the engine are remarks.
        #expect(!text.contains("hunter2"))
        #expect(text.contains("# Volume 'shared' of service 'api'"), "\(text)")
    }

    @Test func `where nothing is found the policy is the usual one`() throws {
        let (text, policy) = try policy("services: {api: {image: api}}\n")
        #expect(policy.components.map(\.name) == ["documents"])
        #expect(text.contains("file: docker-compose.yml"))
        #expect(ComposeService.all("- a\n") == nil)
    }
}
