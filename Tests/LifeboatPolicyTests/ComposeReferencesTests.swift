// SPDX-License-Identifier: Apache-2.0

import LifeboatPolicy
import Testing

struct ComposeReferencesTests {
    private func paths(_ text: String) throws -> [String] {
        try #require(ComposeReferences(text)).files.map { file in
            "\(file.kind) \(file.path)\(file.isRequired ? "" : " optional")"
        }
    }

    @Test func `all files that a Compose file refers to are found, with what they are`() throws {
        let text = """
            x-common: &common
              env_file: common.env
            include:
              - shared/compose.yml
              - {path: [other.yml, more.yml], env_file: other.env}
            services:
              api:
                <<: *common
                image: api
                extends: {file: base.yml, service: api}
              worker:
                env_file: [worker.env, {path: local.env, required: false}]
              db:
                image: postgres
                extends: {service: api}
            configs:
              nginx: {file: ./nginx.conf}
              inline: {content: "text"}
            secrets:
              key: {file: ./key.txt}
              token: {environment: TOKEN}
            """
        #expect(
            try paths(text) == [
                "compose shared/compose.yml", "compose other.yml", "compose more.yml", "secret other.env",
                "compose base.yml", "secret common.env", "secret worker.env", "secret local.env optional",
                "configuration ./nginx.conf", "secret ./key.txt",
            ])
    }

    @Test func `a project that refers to nothing has no references, and text that is no project is none`() throws {
        #expect(try paths("services: {api: {image: api}}\n").isEmpty)
        #expect(try paths("include: one.yml\nservices:\n") == ["compose one.yml"])
        for text in ["", "- a\n", "services: [\n", "text"] { #expect(ComposeReferences(text) == nil) }
        // Tags that Compose has of its own.
        #expect(try paths("services: {api: {env_file: !override [a.env], ports: !reset []}}\n") == ["secret a.env"])
    }
}
