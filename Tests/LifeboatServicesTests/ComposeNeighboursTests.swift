// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatServices
import Testing

/// Containers that keep a folder in use, as an engine tells of them: its program is played by a script.
struct ComposeNeighboursTests {
    private func container(
        _ name: String, project: String, service: String, status: String = "running", mounts: String = "",
        needs: String = ""
    ) -> String {
        """
        {"Id": "id-\(name)", "Name": "/\(name)", "State": {"Status": "\(status)"}, "Mounts": [\(mounts)],
         "Config": {"Labels": {"com.docker.compose.project": "\(project)", "com.docker.compose.service": "\(service)",
           "com.docker.compose.depends_on": "\(needs)"}},
         "HostConfig": {}}
        """
    }

    private func mount(_ source: String, writable: Bool = true) -> String {
        "{\"Type\": \"bind\", \"Source\": \"\(source)\", \"RW\": \(writable)}"
    }

    private func neighbours(_ containers: [String], services: [String]? = nil) throws -> [LifeboatError] {
        try asking(containers, services) { try $0.neighbours(using: ["/srv/data", "/srv/other"], nil) }
    }

    private func asking<Result>(
        _ containers: [String], _ services: [String]? = nil, _ body: (ComposeServices) throws -> Result
    ) throws -> Result {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        try AtomicFile.write("[\(containers.joined(separator: ",\n"))]", to: "\(folder.path)/containers.json")
        try AtomicFile.write(
            """
            #!/bin/sh
            if [ "$1" = ps ]; then echo one; else cat '\(folder.path)/containers.json'; fi

            """, to: "\(folder.path)/docker")
        #expect(chmod("\(folder.path)/docker", 0o755) == 0)
        let runner = SystemProcessRunner()
        let compose = ComposeServices(
            ComposeProject(name: "ours"), services: services,
            engine: EngineCommandLine(docker: ["\(folder.path)/docker"], runner: runner),
            compose: ComposeCommand(runner: runner, environment: [:], folder: folder.path),
            stateFolder: folder.path)
        return try body(compose)
    }

    @Test func onlyContainersThatRunAndWriteThereAndAreNotStoppedAreNamed() throws {
        let found = try neighbours([
            container("ours-api", project: "ours", service: "api", mounts: mount("/srv/data")),
            container("theirs-app", project: "theirs", service: "app", mounts: mount("/srv/data/inside")),
            container("theirs-above", project: "theirs", service: "above", mounts: mount("/srv")),
            container("theirs-reader", project: "theirs", service: "r", mounts: mount("/srv/data", writable: false)),
            container("theirs-down", project: "theirs", service: "d", status: "exited", mounts: mount("/srv/data")),
            container("theirs-near", project: "theirs", service: "n", mounts: mount("/srv/database")),
        ])
        #expect(
            found.map(\.message) == [
                "container 'theirs-above' uses '/srv/data', and is not stopped for the restore",
                "container 'theirs-above' uses '/srv/other', and is not stopped for the restore",
                "container 'theirs-app' uses '/srv/data', and is not stopped for the restore",
            ])
        #expect(found.first?.causes == ["it belongs to project 'theirs', not to 'ours'"])
    }

    @Test func `users of a component mount its directory, or depend on its server`() throws {
        let containers = [
            container("web", project: "ours", service: "web", needs: "api:service_started:false"),
            container("api", project: "ours", service: "api", needs: "db:service_healthy:false"),
            container("db", project: "ours", service: "db"),
            container("cache", project: "ours", service: "cache"),
            container("reader", project: "ours", service: "reader", mounts: mount("/srv", writable: false)),
            container("writer", project: "ours", service: "writer", mounts: mount("/srv/data/inside")),
            container("theirs", project: "theirs", service: "app", mounts: mount("/srv/data")),
        ]
        func users(_ folders: [String], _ servers: Set<String>) throws -> [String]? {
            try asking(containers) { try $0.users(of: folders, servers: servers, nil) }
        }
        #expect(try users(["/srv/data"], []).map(Set.init) == ["reader", "writer"])
        #expect(try users(["/srv/other"], []) == ["reader"])
        #expect(try users([], ["db"]) == ["db", "api", "web"])
        #expect(try users(["/srv/data"], ["db"]).map(Set.init) == ["db", "api", "web", "reader", "writer"])
        // Nobody says who uses these: any service may.
        #expect(try users(["/home"], []) == nil)
        #expect(try users([], ["cache"]) == nil)
        #expect(try users(["/home", "/srv/data"], ["db"]) == nil)
    }

    @Test func `a service whose container is gone uses what the files say it mounts`() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let model = """
            {"name": "ours", "services": {
              "api": {"volumes": [{"type": "bind", "source": "/srv/data", "target": "/d"}]},
              "web": {"volumes": [{"type": "volume", "source": "files", "target": "/f"}]},
              "db": {"volumes": [{"type": "volume", "source": "db", "target": "/v"}, {"type": "tmpfs", "target": "/t"}]}},
             "volumes": {"files": {"name": "ours_files"}, "db": null}}
            """
        try AtomicFile.write(model, to: "\(folder.path)/model.json")
        try AtomicFile.write(
            "[\(container("db", project: "ours", service: "db"))]", to: "\(folder.path)/containers.json")
        try AtomicFile.write(
            """
            #!/bin/sh
            case "$*" in
            *version*) echo 2.20.0 ;;
            *config*) cat '\(folder.path)/model.json' ;;
            ps*) echo one ;;
            *) cat '\(folder.path)/containers.json' ;;
            esac

            """, to: "\(folder.path)/docker")
        #expect(chmod("\(folder.path)/docker", 0o755) == 0)
        let runner = SystemProcessRunner()
        let compose = ComposeServices(
            ComposeProject(files: ["\(folder.path)/compose.yaml"]),
            engine: EngineCommandLine(docker: ["\(folder.path)/docker"], runner: runner),
            compose: ComposeCommand(
                runner: runner, environment: ["PATH": "\(folder.path):/usr/bin:/bin"], folder: folder.path),
            stateFolder: folder.path)
        func users(_ directory: String) throws -> [String]? { try compose.users(of: [directory], servers: [], nil) }
        #expect(try users("/srv/data/inside") == ["api"])
        #expect(try users("/var/lib/docker/volumes/ours_files/_data") == ["web"])
        // The container that is there says what it mounts: nothing.
        #expect(try users("/var/lib/docker/volumes/ours_db/_data") == nil)
        #expect(try users("/srv/other") == nil)
    }

    @Test func aServiceOfTheProjectThatThePolicyDoesNotNameIsOne() throws {
        let found = try neighbours(
            [
                container("ours-api", project: "ours", service: "api", mounts: mount("/srv/data")),
                container("ours-extra", project: "ours", service: "extra", mounts: mount("/srv/data")),
            ], services: ["api"])
        #expect(found.map(\.causes) == [["service 'extra' is not among services.compose.services"]])
    }
}
