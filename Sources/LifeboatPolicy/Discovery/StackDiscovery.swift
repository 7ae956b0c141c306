// SPDX-License-Identifier: Apache-2.0

/// What `lifeboat init` proposes to protect, from what it sees of a stack. Pure.
package struct StackDiscovery {
    /// A component: its name and the lines of YAML below it, not indented; those that begin with `#` are remarks.
    package struct Component: Sendable, Equatable {
        package var name: String
        package var lines: [String]
    }

    /// In the order of the services, with unique names.
    package private(set) var components: [Component] = []
    /// Lines about what cannot be a component as it is.
    package private(set) var remarks: [String] = []

    /// The value of a variable that holds no secret; nil: not set.
    private let variable: (String) -> String?
    /// Whether a path, as the Compose file writes it, is a folder.
    private let isFolder: (String) -> Bool
    /// Sources of mounts that were seen.
    private var mounted: Set<String> = []

    /// `sqliteFiles`: paths relative to the policy.
    package init(
        _ services: [ComposeService], sqliteFiles: [String], variable: @escaping (String) -> String?,
        isFolder: @escaping (String) -> Bool
    ) {
        self.variable = variable
        self.isFolder = isFolder
        for service in services { add(service) }
        for file in sqliteFiles {
            let name = file.split(separator: "/").last.map(String.init) ?? file
            add(name, ["sqlite:", "  path: \(StarterPolicy.quoted(file))"])
        }
    }
    private mutating func add(_ name: String, _ lines: [String]) {
        let base = StarterPolicy.stackName(from: name)
        var unique = base
        var number = 2
        while components.contains(where: { $0.name == unique }) || unique == Policy.projectComponent {
            unique = "\(base.prefix(60))-\(number)"
            number += 1
        }
        components.append(Component(name: unique, lines: lines))
    }

    /// What an image stores. By the last words of its name, as forks keep them (`pgvector/pgvector`, `valkey/valkey`).
    private mutating func add(_ service: ComposeService) {
        let image = service.repository.split(separator: "/").last.map(String.init) ?? ""
        let server = "  service: \(StarterPolicy.quoted(service.name))"
        switch image {
        case _ where ["postgres", "postgresql", "pgvector", "postgis", "timescaledb", "timescaledb-ha"].contains(image):
            add(service.name, ["postgres:", server] + database(service))
        case "redis", "valkey", "redis-stack", "redis-stack-server":
            add(service.name, ["redis:", server] + secret("password", redisPassword(service)))
        case "qdrant":
            add(
                service.name,
                ["qdrant:", server] + secret("api_key", service.environment["QDRANT__SERVICE__API_KEY"]))
        case "chroma", "chromadb":
            add(
                service.name,
                ["chroma:", server] + secret("token", service.environment["CHROMA_SERVER_AUTHN_CREDENTIALS"]))
        case "ollama": addModels(service)
        default: addFolders(service)
        }
    }

    private func database(_ service: ComposeService) -> [String] {
        let user = value(service.environment["POSTGRES_USER"]) ?? "postgres"
        var name = value(service.environment["POSTGRES_DB"]) ?? user
        // The maintenance database cannot be exchanged by itself.
        if name == "postgres" { name = "*" }
        return ["  database: \(StarterPolicy.quoted(name))", "  user: \(StarterPolicy.quoted(user))"]
            + secret("password", service.environment["POSTGRES_PASSWORD"])
    }

    private func redisPassword(_ service: ComposeService) -> String? {
        guard let option = service.command.firstIndex(of: "--requirepass"), option + 1 < service.command.count else {
            return service.environment["REDIS_PASSWORD"]
        }
        return service.command[option + 1]
    }

    /// A secret is named and never copied.
    private func secret(_ key: String, _ written: String?) -> [String] {
        guard let written, !written.isEmpty else { return [] }
        if let variable = ComposeVariable(written) {
            return ["  \(key): {env: \(StarterPolicy.quoted(variable.name))}   # of the environment, or of '.env'"]
        }
        return [
            "  # The Compose file holds the secret itself: move it into a file of mode 0600, and name that here.",
            "  # \(key): {file: ./secrets/\(key)}",
        ]
    }

    private func value(_ written: String?) -> String? {
        guard let written, !written.isEmpty else { return nil }
        guard let variable = ComposeVariable(written) else { return written }
        return self.variable(variable.name) ?? variable.fallback
    }

    private mutating func addModels(_ service: ComposeService) {
        guard let mount = service.mounts.first(where: { $0.target.hasSuffix(".ollama") }) else { return }
        guard mount.isBind else { return addNamedVolume(service, mount, "models", ["  layout: ollama"]) }
        mounted.insert(mount.source)
        add(service.name, ["models:", "  path: \(StarterPolicy.quoted(mount.source))", "  layout: ollama"])
    }

    /// Folders of the host that the service writes to.
    private mutating func addFolders(_ service: ComposeService) {
        for mount in service.mounts where !mount.isReadOnly {
            guard mount.isBind else {
                addNamedVolume(service, mount, "volume", [])
                continue
            }
            guard isFolder(mount.source), mounted.insert(mount.source).inserted else { continue }
            let name = mount.source.split(separator: "/").last { $0 != "." && $0 != ".." }.map(String.init)
            add(name ?? service.name, ["volume:", "  path: \(StarterPolicy.quoted(mount.source))"])
        }
    }

    /// Where the engine keeps a named volume is for the engine to say: the component is a remark.
    private mutating func addNamedVolume(
        _ service: ComposeService, _ mount: ComposeService.Mount, _ store: String, _ more: [String]
    ) {
        guard mounted.insert(mount.source).inserted else { return }
        remarks.append(
            "# Volume '\(mount.source)' of service '\(service.name)' is where 'docker volume inspect' says:")
        let lines =
            [
                "\(StarterPolicy.stackName(from: mount.source)):", "  \(store):",
                "    path: /var/lib/docker/volumes/PROJECT_\(mount.source)/_data",
            ] + more.map { "  \($0)" }
        remarks += lines.map { "# \($0)" }
    }
}
