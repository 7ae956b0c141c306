// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatPolicy
import Testing

struct MomentPolicyTests {
    @Test func `freeze, checks and secrets are read`() throws {
        let policy = try PolicyParser.parse(
            """
            stack: demo
            repository: /r
            encryption: none
            services:
              systemd: {units: [api, worker]}
              freeze: stop
              writers: [worker]
              freeze_limit: 5s
            components:
              database: {postgres: {database: app}}
              vectors: {qdrant: {url: "http://127.0.0.1:6333"}}
              queue: {redis: {}}
              documents: {volume: {path: /d}}
            checks:
              - name: every chunk has its vector
                equal: [{component: database, sql: "select count(*) from chunks"}, {component: vectors, points: work}]
              - {name: files, at_least: [{component: documents, files: "*.pdf"}, 1, -2.5]}
              - name: near
                within: {percent: 0.5, of: [{component: queue, keys: 3}, {http: "http://a/stats", field: n.keys}]}
            secrets:
              - JWT_SECRET_KEY
              - {name: API_KEY, breaks: stored tokens, from: {file: key}}
              - {name: SALT, env_file: ./stack.env}
            """, source: nil, folder: "/etc/demo")
        #expect(policy.services.freeze == FreezePolicy(method: .stop, writers: ["worker"], limit: 5))
        #expect(
            policy.checks == [
                StackCheck(
                    name: "every chunk has its vector", rule: .equal,
                    values: [
                        .component("database", .sql("select count(*) from chunks")),
                        .component("vectors", .points("work")),
                    ]),
                StackCheck(
                    name: "files", rule: .atLeast,
                    values: [.component("documents", .files("*.pdf")), .number(1), .number(-2.5)]),
                StackCheck(
                    name: "near", rule: .within(percent: 0.5),
                    values: [.component("queue", .keys(3)), .http(url: "http://a/stats", field: "n.keys")]),
            ])
        #expect(
            policy.secrets == [
                SecretPolicy(name: "JWT_SECRET_KEY"),
                SecretPolicy(name: "API_KEY", source: .reference(.file("/etc/demo/key")), breaks: "stored tokens"),
                SecretPolicy(name: "SALT", source: .environmentFile("/etc/demo/stack.env")),
            ])
    }

    @Test func `without a word nothing is held`() throws {
        let policy = try PolicyParser.parse(
            "stack: a\nrepository: /r\nencryption: none\ncomponents: {docs: {volume: {path: /d}}}\n", source: nil,
            folder: "/")
        #expect(policy.services.freeze == FreezePolicy(method: .none, writers: nil, limit: 60))
        #expect(policy.checks.isEmpty && policy.secrets.isEmpty)
    }
}
