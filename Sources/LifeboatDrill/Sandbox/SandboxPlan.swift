// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatPolicy
import LifeboatRepository
import LifeboatStores

/// The components of a policy moved into a sandbox: the same words, with addresses and paths inside of it.
struct SandboxPlan {
    /// One component in its new place.
    struct Place {
        var policy: ComponentPolicy
        var engine: (any ThrowawayEngine)?
        /// The engine runs, empty, while the data is loaded or checked.
        var startsEmpty = true
        /// What a probe's command finds it by: a connection string, a URL, a path.
        var address: String
        /// Host and port, where it has those.
        var hostAndPort: String?
    }

    /// Of the components that can be brought up.
    private(set) var places: [String: Place] = [:]
    /// Why a component cannot be.
    private(set) var problems: [String: LifeboatError] = [:]
    /// Components whose data is read and verified only, and why.
    private(set) var readOnly: [String: String] = [:]
    /// What is not drilled, for people.
    private(set) var leftOut: [String] = []
    /// The policy with every component that has a place, and no services.
    private(set) var policy: Policy

    private let folder: String
    private let root: String
    private let programs: EnginePrograms
    private let clock: any Clock
    private let compose: ComposeSandbox?

    /// With `compose` servers are services of that project, else throw-away engines. `components`: those of the policy to bring up, with what the snapshot holds of them.
    init(
        _ policy: Policy, _ components: [(policy: ComponentPolicy, captured: Manifest.Component)], folder: String,
        root: String, compose: ComposeSandbox?, _ programs: EnginePrograms, _ clock: any Clock
    ) {
        self.folder = folder
        self.root = root
        self.programs = programs
        self.clock = clock
        self.compose = compose
        self.policy = policy
        self.policy.services = ServicesPolicy()
        for (number, component) in components.enumerated() {
            do {
                try place(component.policy, component.captured, "\(folder)/e\(number)")
            } catch {
                problems[component.policy.name] = LifeboatError.converting(error)
            }
        }
        // Paths of all components move, so that a volume still knows what in it belongs to others.
        self.policy.components = policy.components.map { places[$0.name]?.policy ?? moved($0) }
    }

    private mutating func place(_ component: ComponentPolicy, _ captured: Manifest.Component, _ home: String) throws {
        let name = component.name
        if let compose, let place = try service(component, compose) {
            places[name] = place
            return
        }
        switch component.store {
        case .volume, .sqlite, .models:
            let moved = moved(component)
            places[name] = Place(policy: moved, engine: nil, address: moved.store.path ?? "")
        case .postgres(let postgres): places[name] = try self.postgres(postgres, name, captured, home)
        case .redis: places[name] = try redis(name, captured, home)
        case .chroma(let chroma): places[name] = try self.chroma(chroma, name, home)
        case .qdrant(let qdrant):
            guard let engine = try VectorEngine(.qdrant, folder: home, programs, clock) else {
                throw VectorEngine.missing(.qdrant)
            }
            let store = QdrantPolicy(url: engine.url, collections: qdrant.collections)
            places[name] = Place(
                policy: ComponentPolicy(name: name, store: .qdrant(store)), engine: engine, address: engine.url,
                hostAndPort: engine.address)
        case .command:
            readOnly[name] = "its restore command works on the live thing"
            leftOut.append(
                "component '\(name)' was read and verified, and not restored: its restore command works on the live"
                    + " thing")
        }
    }

    /// The component on its service in the sandbox's project; nil for one without a server.
    private func service(_ component: ComponentPolicy, _ compose: ComposeSandbox) throws -> Place? {
        var store = component.store
        switch store {
        case .volume, .sqlite, .models, .command: return nil
        case .chroma(let chroma) where chroma.server == nil: return nil
        case .postgres, .redis, .qdrant, .chroma: break
        }
        guard let service = store.service else {
            throw LifeboatError(
                "component '\(component.name)' does not say which service runs its server",
                hint: "Name it with 'service' in the component, or drill with 'sandbox: engines'.")
        }
        let container = ContainerPolicy.service(service, project: compose.name)
        switch store {
        case .postgres(var postgres):
            postgres.container = container
            // A socket's folder is one the service shares with the host; a port that is published is not any more.
            (postgres.host, postgres.port) = (postgres.host.flatMap { $0.hasPrefix("/") ? root + $0 : nil }, nil)
            store = .postgres(postgres)
        case .redis(var redis):
            redis.container = container
            (redis.host, redis.port) = (nil, nil)
            redis.socket = redis.socket.map { root + $0 }
            redis.data = redis.data.map { root + $0 }
            store = .redis(redis)
        case .qdrant(var qdrant):
            qdrant.container = container
            store = .qdrant(qdrant)
        case .chroma(var chroma):
            chroma.server?.container = container
            chroma.path = chroma.path.map { root + $0 }
            store = .chroma(chroma)
        case .volume, .sqlite, .models, .command: break
        }
        return Place(
            policy: ComponentPolicy(name: component.name, store: store),
            engine: ComposeEngine(compose, service: service), startsEmpty: store.path == nil,
            address: "service \(service) of project \(compose.name)")
    }

    private func postgres(
        _ postgres: PostgresPolicy, _ name: String, _ captured: Manifest.Component, _ home: String
    ) throws -> Place {
        guard let version = captured.engineVersion else {
            throw LifeboatError("the snapshot does not tell which PostgreSQL component '\(name)' is of")
        }
        let user = postgres.user ?? "postgres"
        let engine = try PostgresEngine(
            captured: version, settings: PostgresFacts.serverSettings(captured.texts), preferred: postgres.binaries,
            folder: home, user: user, programs, clock)
        let store = PostgresPolicy(
            host: home, port: PostgresEngine.port, databases: postgres.databases, user: user,
            binaries: engine.binaries, globals: postgres.globals, jobs: postgres.jobs)
        let database = postgres.database ?? "postgres"
        return Place(
            policy: ComponentPolicy(name: name, store: .postgres(store)), engine: engine,
            address: "host=\(home) port=\(PostgresEngine.port) user=\(user) dbname=\(database)")
    }

    private func redis(_ name: String, _ captured: Manifest.Component, _ home: String) throws -> Place {
        let highest = captured.counts.keys.filter { $0.hasPrefix("keys:db") }.compactMap { Int($0.dropFirst(7)) }.max()
        let engine = try RedisEngine(
            captured: captured.engineVersion ?? "", databases: (highest ?? 0) + 1, folder: home, programs, clock)
        let store = RedisPolicy(socket: engine.socket, data: engine.data)
        return Place(
            policy: ComponentPolicy(name: name, store: .redis(store)), engine: engine, address: engine.socket)
    }

    private mutating func chroma(_ chroma: ChromaPolicy, _ name: String, _ home: String) throws -> Place {
        let path = chroma.path.map { root + $0 }
        let engine = try VectorEngine(.chroma, data: path, folder: home, programs, clock)
        if engine == nil {
            guard path != nil else { throw VectorEngine.missing(.chroma) }
            leftOut.append(
                "the records of component '\(name)' were not counted and searched: there is no program 'chroma' on the"
                    + " PATH")
        }
        let server = engine.map {
            ChromaPolicy.Server(
                url: $0.url, tenant: chroma.server?.tenant ?? "default_tenant", database: chroma.server?.database)
        }
        return Place(
            policy: ComponentPolicy(name: name, store: .chroma(ChromaPolicy(path: path, server: server))),
            engine: engine, startsEmpty: path == nil, address: engine?.url ?? path ?? "",
            hostAndPort: engine?.address)
    }

    /// The component with its path below the sandbox; one without a path as it is.
    private func moved(_ component: ComponentPolicy) -> ComponentPolicy {
        var component = component
        switch component.store {
        case .volume(var volume):
            volume.path = root + volume.path
            component.store = .volume(volume)
        case .sqlite(var database):
            database.path = root + database.path
            component.store = .sqlite(database)
        case .models(var models):
            models.path = root + models.path
            component.store = .models(models)
        case .chroma(let chroma):
            component.store = .chroma(ChromaPolicy(path: chroma.path.map { root + $0 }, server: nil))
        case .postgres, .redis, .qdrant, .command: break
        }
        return component
    }

    /// Makes the folders that the paths of components lie in, as the host has them.
    func makeFolders() throws {
        for (_, place) in places {
            guard let path = place.policy.store.path, let slash = path.lastIndex(of: "/") else { continue }
            try FileTree.createFolders(String(path[..<slash]), mode: 0o755)
        }
    }
}
