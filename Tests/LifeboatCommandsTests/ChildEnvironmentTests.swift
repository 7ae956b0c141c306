// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// Secrets that a policy takes from the environment, and what child processes see of it.
struct ChildEnvironmentTests {
    private static let canary = "canary-in-the-environment-4KW"

    /// Writes the variables of a child below `seen`.
    private static func look(_ name: String, _ then: String = "true") -> String {
        "[sh, -c, \"env | sort > seen/\(name); \(then)\"]"
    }

    @Test("no child inherits a secret that the policy names; only what sets it for itself has it")
    func secretsStay() throws {
        let fixture = try CommandFixture(.binary)
        defer { try? fixture.folder.remove() }
        try FileTree.createFolders("\(fixture.path)/seen")
        // A docker that answers nothing, and a Compose that refuses: both leave their environment.
        try fixture.write(
            "#!/bin/sh\nenv | sort >> \(fixture.path)/seen/docker-$1\nexit 1\n", to: "bin/docker")
        _ = try ShellProof.run("chmod 755 \(fixture.path)/bin/docker")
        try fixture.write(
            """
            stack: canary
            repository: repository
            encryption: {passphrase: {command: \(Self.look("secret-command", "echo phrase"))}}
            services:
              freeze: pause
              commands:
                stop: [\(Self.look("stop"))]
                start: [\(Self.look("start"))]
                pause: [\(Self.look("pause"))]
                unpause: [\(Self.look("unpause"))]
                status: [\(Self.look("status"))]
            components:
              printed: {command: {capture: \(Self.look("capture", "echo data")), environment: {GIVEN: {env: DB_PASSWORD}}}}
              database: {postgres: {container: db, database: app, user: app, password: {env: DB_PASSWORD}}}
              queue: {redis: {container: db, password: {env: REDIS_PASSWORD}}}
            secrets: [JWT_SECRET_KEY]
            """, to: "lifeboat.yaml")
        try fixture.write("phrase\n", to: "phrase")
        _ = try ShellProof.run("chmod 600 \(fixture.path)/phrase")
        #expect(
            try fixture.run("repository", "init", "-r", fixture.repository, "--passphrase-file", "phrase").exit == 0)
        var environment = fixture.environment
        environment["PATH"] = "\(fixture.path)/bin:/usr/bin:/bin"
        environment["DOCKER_CONFIG"] = "\(fixture.path)/docker-config"
        environment["ORDINARY"] = "ordinary"
        for name in ["DB_PASSWORD", "REDIS_PASSWORD", "JWT_SECRET_KEY"] { environment[name] = Self.canary }
        let run = try fixture.runner.run(
            ["backup"], environment: environment, input: "", workingDirectory: fixture.path)
        // There is no such container.
        #expect([1, 3].contains(run.exit), "\(run)")
        #expect(!(run.output + run.error).contains(Self.canary))

        func seen(_ name: String) throws -> [Substring] { try fixture.text("seen/\(name)").split(separator: "\n") }
        let names = try FileTree.names(in: "\(fixture.path)/seen")
        for expected in ["capture", "docker-inspect", "pause", "secret-command", "status", "unpause"] {
            #expect(names.contains(expected), "\(names)")
        }
        for name in names {
            let lines = try seen(name)
            let holding = lines.filter { $0.contains(Self.canary) }
            #expect(holding == (name == "capture" ? ["GIVEN=\(Self.canary)"] : []), "\(name): \(holding)")
            #expect(lines.contains("PATH=\(fixture.path)/bin:/usr/bin:/bin"), "\(name)")
            // Programs of the policy get what else there is, other programs what they need.
            #expect(lines.contains("ORDINARY=ordinary") == !name.hasPrefix("docker"), "\(name)")
        }
        #expect(try seen("docker-inspect").contains("DOCKER_CONFIG=\(fixture.path)/docker-config"))
    }

    @Test("Compose gets the secrets its files name, and no others", arguments: [false, true])
    func compose(_ includesOthers: Bool) throws {
        let fixture = try CommandFixture(.binary)
        defer { try? fixture.folder.remove() }
        try FileTree.createFolders("\(fixture.path)/seen")
        try fixture.write(
            "#!/bin/sh\n[ \"$2\" = version ] && { echo 2.30.0; exit 0; }\n"
                + "env | sort >> \(fixture.path)/seen/$1\nexit 1\n", to: "bin/docker")
        _ = try ShellProof.run("chmod 755 \(fixture.path)/bin/docker")
        try fixture.write(
            """
            \(includesOthers ? "include: [other.yml]" : "")
            services: {web: {image: web, env_file: [./web.env], environment: {PASSWORD: "${NEEDED}"}}}
            """, to: "docker-compose.yml")
        try fixture.write("URL=http://u:${ALSO_NEEDED}@host\n", to: "web.env")
        try fixture.write(
            """
            stack: canary
            repository: repository
            encryption: none
            services: {compose: {file: docker-compose.yml}, freeze: pause}
            components: {docs: {volume: {path: docs}}}
            secrets: [NEEDED, ALSO_NEEDED, NOT_NEEDED]
            """, to: "lifeboat.yaml")
        try fixture.makeDocuments()
        #expect(try fixture.inRepository("repository", "init", "--encryption", "none").exit == 0)
        var environment = fixture.environment
        environment["PATH"] = "\(fixture.path)/bin:/usr/bin:/bin"
        environment["NEEDED"] = "needed"
        environment["ALSO_NEEDED"] = "also"
        environment["NOT_NEEDED"] = Self.canary
        _ = try fixture.runner.run(["backup"], environment: environment, input: "", workingDirectory: fixture.path)
        let seen = try fixture.text("seen/compose").split(separator: "\n")
        #expect(seen.contains("NEEDED=needed") && seen.contains("ALSO_NEEDED=also"), "\(seen)")
        #expect(seen.contains("NOT_NEEDED=\(Self.canary)") == includesOthers, "\(seen)")
    }

    @Test("{env} finds what is in the .env that Compose reads, as 'secrets' does")
    func environmentFile() throws {
        let fixture = try CommandFixture(.binary)
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        try fixture.write("PHRASE='from the file'\n", to: "project/.env")
        try fixture.write("services: {}\n", to: "project/docker-compose.yml")
        try fixture.write(
            """
            stack: filed
            repository: repository
            encryption: {passphrase: {env: PHRASE}}
            services: {compose: {file: project/docker-compose.yml}}
            components: {docs: {volume: {path: docs}}}
            """, to: "lifeboat.yaml")
        try fixture.write("from the file\n", to: "phrase")
        _ = try ShellProof.run("chmod 600 \(fixture.path)/phrase")
        #expect(
            try fixture.run("repository", "init", "-r", fixture.repository, "--passphrase-file", "phrase").exit == 0)
        let snapshots = try fixture.run("snapshots")
        #expect(snapshots.exit == 0, "\(snapshots)")
        // The environment comes first.
        let other = fixture.environment.merging(["PHRASE": "another"]) { $1 }
        let refused = try fixture.runner.run(
            ["snapshots"], environment: other, input: "", workingDirectory: fixture.path)
        #expect(refused.code == .wrongKey, "\(refused)")
        // In neither: both are named.
        try fixture.write("OTHER=1\n", to: "project/.env")
        let missing = try fixture.run("snapshots")
        #expect(missing.code == .failed && missing.error.contains("environment variable 'PHRASE' is not set"))
        #expect(missing.error.contains("it is not in '\(fixture.path)/project/.env' either"), "\(missing)")
    }
}
