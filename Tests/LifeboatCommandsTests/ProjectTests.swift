// SPDX-License-Identifier: Apache-2.0

import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// The files that say what a stack is are in its snapshots.
struct ProjectTests {
    private func start(_ fixture: CommandFixture, encryption: String, rules: String = "") throws {
        try fixture.write("letter\n", to: "docs/a.txt")
        try fixture.write("services: {api: {image: api, env_file: api.env}}\n", to: "stack/compose.yaml")
        try fixture.write("KEY=hunter2\n", to: "stack/api.env")
        try fixture.write("TAG=3\n", to: "stack/.env")
        try fixture.write(
            """
            stack: demo
            repository: ./repository
            encryption: \(encryption)
            services: {compose: {project_directory: ./stack}}
            components:
              documents: {volume: {path: ./docs}}
            \(rules)

            """, to: "lifeboat.yaml")
    }

    @Test(arguments: [false, true])
    func `policy, Compose files and, encrypted, env files come back from the repository alone`(
        _ isEncrypted: Bool
    ) throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try AtomicFile.write("correct horse\n", to: "\(fixture.path)/passphrase", mode: 0o600)
        try start(fixture, encryption: isEncrypted ? "{passphrase: {file: ./passphrase}}" : "none")
        let kind = isEncrypted ? ["--passphrase-file", "passphrase"] : ["--encryption", "none"]
        #expect(try fixture.run(["repository", "init"] + kind).code == .done)
        let backup = try fixture.run("backup")
        #expect(backup.code == .done && backup.error.isEmpty, "\(backup)")
        let key = isEncrypted ? ["--passphrase-file", "passphrase"] : []
        let restored = try fixture.run(
            ["restore", "latest", "-r", fixture.repository, "--component", "project", "--to", "out", "--quiet"] + key)
        #expect(restored.code == .done, "\(restored)")
        #expect(try fixture.text("out/project/lifeboat.yaml") == fixture.text("lifeboat.yaml"))
        #expect(try fixture.text("out/project/stack/compose.yaml") == fixture.text("stack/compose.yaml"))
        let shown = try fixture.run("show", "latest")
        for name in [".env", "api.env"] {
            #expect(fixture.exists("out/project/stack/\(name)") == isEncrypted)
            // What an unencrypted repository does not get is named.
            #expect(shown.output.contains("stack/\(name)") == !isEncrypted, "\(shown)")
        }
    }

    @Test func `the project's files are no part of a restore into the stack, and can be left out`() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try start(fixture, encryption: "none")
        #expect(try fixture.run("repository", "init", "--encryption", "none").code == .done)
        #expect(try fixture.run("backup", "--quiet").code == .done)
        let refused = try fixture.run("restore", "latest", "--component", "project", "--yes")
        #expect(refused.code == .usage && refused.error.contains("--component project --to DIR"), "\(refused)")
        #expect(try fixture.run("backup", "documents", "--quiet").code == .done)
        #expect(try fixture.run("backup", "project", "--quiet").code == .done)
        let listed = try fixture.run("snapshots", "--json")
        #expect(listed.output.contains(#""components":["project"]"#), "\(listed)")
        #expect(try fixture.run("cat", "latest", "a.txt").output == "letter\n")
        #expect(try fixture.run("ls", "latest").output.contains("project:stack"))
        #expect(try fixture.run("cat", "latest", "project:stack/.env").code == .failed)

        try start(fixture, encryption: "none", rules: "project: false")
        #expect(try fixture.run("backup", "--quiet").code == .done)
        let shown = try fixture.run("show", "latest")
        #expect(shown.code == .done && !shown.output.contains("component project"), "\(shown)")
        #expect(try fixture.run("backup", "project").code == .usage)
    }

    @Test func `what belongs to the project and cannot be captured is named, and the snapshot is complete`() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try start(fixture, encryption: "none")
        try fixture.write(
            "include: [gone.yml, \"${WHERE}.yml\"]\nservices: {api: {image: api}}\n", to: "stack/compose.yaml")
        #expect(try fixture.run("repository", "init", "--encryption", "none").code == .done)
        let backup = try fixture.run("backup")
        #expect(backup.code == .done, "\(backup)")
        #expect(backup.error.contains("gone.yml' belongs to the project and is not captured"), "\(backup)")
        #expect(backup.error.contains("'${WHERE}.yml'") && backup.error.contains("depends on variables"), "\(backup)")
    }
}
