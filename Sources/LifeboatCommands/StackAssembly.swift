// SPDX-License-Identifier: Apache-2.0

import LifeboatBackup
import LifeboatCore
import LifeboatHTTP
import LifeboatIO
import LifeboatPolicy
import LifeboatRestore
import LifeboatServices
import LifeboatStores

/// The one place where a policy's words become live things: stores, services, health probes.
struct StackAssembly {
    let policy: Policy
    let session: CommandSession
    /// Components whose data is at another target than the policy's, when its services and health probes are left alone.
    var onlyElsewhere: Set<String>?

    /// Of all components that have one, bytewise.
    private let paths: [String]

    init(_ policy: Policy, _ session: CommandSession) {
        self.policy = policy
        self.session = session
        paths = policy.components.compactMap(\.store.path).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// Runs the programs of this stack, without the secrets that its policy names.
    var runner: any ProcessRunner { Self.runner(policy, session) }

    static func runner(_ policy: Policy, _ session: CommandSession) -> any ProcessRunner {
        WithholdingProcessRunner(session.context.processRunner, withholding: policy.secretVariables)
    }

    /// What variables in the files of a Compose project are filled in from.
    func composeVariables(_ project: ComposeProject) -> [String: String] {
        ComposeVariables.environment(
            session.context.environment, without: policy.secretVariables, for: project)
    }

    // MARK: - Stores

    /// The components of a backup, in the order of the policy, the project's files last; `selected` empty: all.
    func backupComponents(_ selected: [String]) throws -> [BackupComponent] {
        let project =
            selected.isEmpty || selected.contains(Policy.projectComponent) ? projectComponent() : nil
        let others = selected.filter { $0 != project?.name }
        let stores = selected.isEmpty || !others.isEmpty ? try chosen(others) : []
        return try stores.map { component in
            BackupComponent(name: component.name, store: try store(component), source: Self.source(component))
        } + (project.map { [$0] } ?? [])
    }

    /// Components of the policy by name, in its order; `selected` empty: all.
    func chosen(_ selected: [String]) throws -> [ComponentPolicy] {
        try refuseProject(selected)
        for name in selected where !policy.components.contains(where: { $0.name == name }) {
            throw LifeboatError(
                "the policy has no component '\(name)'",
                causes: ["it has: \(policy.components.map(\.name).joined(separator: ", "))"],
                hint: "To back up a folder without a policy, add --repository and give its path.", exitCode: .usage)
        }
        return policy.components.filter { selected.isEmpty || selected.contains($0.name) }
    }

    func store(_ component: ComponentPolicy) throws -> any DataStore {
        switch component.store {
        case .volume(let volume): self.volume(volume)
        case .postgres(let postgres): try self.postgres(postgres, component.name)
        case .qdrant(let qdrant): try self.qdrant(qdrant, component.name)
        case .chroma(let chroma): try self.chroma(chroma, component.name)
        case .sqlite(let sqlite): self.sqlite(sqlite)
        case .models(let models): self.models(models)
        case .redis(let redis): try self.redis(redis, component.name)
        case .command(let command): try self.command(command, component.name)
        }
    }

    func volume(_ volume: VolumePolicy) -> VolumeStore {
        Self.volume(volume, volume.allowLiveDatabases ? .allow : .refuse, others: others(in: volume))
    }

    /// Without a policy nobody can allow a live database: there all of them are told, and none is refused.
    static func volume(
        _ volume: VolumePolicy, _ liveDatabases: LiveDatabaseRule = .warn, others: [String] = []
    ) -> VolumeStore {
        VolumeStore(
            path: volume.path, exclude: volume.exclude, excludeCaches: volume.excludeCaches,
            oneFileSystem: volume.oneFileSystem, liveDatabases: liveDatabases, others: others)
    }

    /// What inside of a volume belongs to other components, by paths below it.
    private func others(in volume: VolumePolicy) -> [String] {
        let prefix = volume.path == "/" ? "/" : "\(volume.path)/"
        var low = 0
        var high = paths.count
        while low < high {
            let middle = (low + high) / 2
            if paths[middle].utf8.lexicographicallyPrecedes(prefix.utf8) { low = middle + 1 } else { high = middle }
        }
        return paths[low...].prefix { $0.utf8.starts(with: prefix.utf8) }.map { String($0.dropFirst(prefix.count)) }
    }

    private func sqlite(_ sqlite: SQLitePolicy) -> SQLiteStore {
        SQLiteStore(path: sqlite.path, temporaryFolder: session.context.variable("TMPDIR") ?? "/tmp")
    }

    func models(_ models: ModelsPolicy) -> ModelsStore {
        let layout: ModelLayout? =
            switch models.layout {
            case .ollama: .ollama
            case .huggingface: .huggingFace
            case .files: .files
            case nil: nil
            }
        return ModelsStore(
            path: models.path, layout: layout, keep: models.keep == .bytes ? .bytes : .manifest,
            cacheFolder: Locations.cacheRoot(nil, session.context))
    }

    func postgres(_ postgres: PostgresPolicy, _ name: String) throws -> any DataStore {
        let context = session.context
        guard let user = postgres.user ?? context.variable("PGUSER") ?? context.variable("USER") else {
            throw LifeboatError(
                "component '\(name)' does not say which user it connects as",
                hint: "Add 'user: NAME' to it in the policy.", exitCode: .usage)
        }
        let container = postgres.container.map(serverContainer)
        let usual = container == nil ? context.variable("PGHOST") ?? "/var/run/postgresql" : ""
        let endpoint = PostgresEndpoint(
            host: postgres.host ?? usual, port: UInt16(exactly: postgres.port ?? 5432) ?? 5432, user: user,
            password: try password(postgres, name), sslMode: postgres.sslMode, container: container)
        func several(_ selection: PostgresServerStore.Selection) -> PostgresServerStore {
            PostgresServerStore(
                endpoint: endpoint, selection: selection, binaries: postgres.binaries, globals: postgres.globals,
                maintenanceDatabase: postgres.maintenanceDatabase, jobs: postgres.jobs ?? PostgresStore.defaultJobs,
                runner: runner)
        }
        switch postgres.databases {
        case .several(let names): return several(.named(names))
        case .all: return several(.all)
        case .one(let database):
            return PostgresStore(
                endpoint: endpoint, database: database, binaries: postgres.binaries, globals: postgres.globals,
                maintenanceDatabase: postgres.maintenanceDatabase, jobs: postgres.jobs ?? PostgresStore.defaultJobs,
                runner: runner)
        }
    }

    private func password(_ postgres: PostgresPolicy, _ name: String) throws -> Secret? {
        guard let reference = postgres.password else { return nil }
        do {
            return try secrets.resolve(
                reference, for: "password of \(postgres.database.map { "database '\($0)'" } ?? "component '\(name)'")",
                cancellation: session.context.cancellation)
        } catch {
            throw Self.passwordError(error, name)
        }
    }

    private static func passwordError(_ error: LifeboatError, _ name: String) -> LifeboatError {
        guard error.hint == nil, error.exitCode != .interrupted else { return error }
        return LifeboatError(
            error.message, causes: error.causes,
            hint: "Correct 'components.\(name).postgres.password' in the policy, or what it names.",
            exitCode: error.exitCode)
    }

    var secrets: SecretResolver { Self.secrets(policy, session) }

    /// Fetches secrets from where that policy says they are.
    static func secrets(_ policy: Policy, _ session: CommandSession) -> SecretResolver {
        let progress = session.progress
        return SecretResolver(
            environment: session.context.environment, environmentFiles: environmentFiles(policy),
            runner: runner(policy, session), workingDirectory: policy.folder
        ) { progress.report(.warning($0)) }
    }

    /// What a component's data is, for the manifest: the folder of a volume, the database.
    private static func source(_ component: ComponentPolicy) -> String {
        switch component.store {
        case .volume(let volume): volume.path
        case .postgres(let postgres):
            switch postgres.databases {
            case .one(let name): name
            case .several(let names): names.joined(separator: ", ")
            case .all: "*"
            }
        case .qdrant(let qdrant): qdrant.url
        case .chroma(let chroma): chroma.path ?? chroma.server?.url ?? ""
        case .sqlite(let sqlite): sqlite.path
        case .models(let models): models.path
        case .redis(let redis): redis.address
        case .command(let command): command.capture[0]
        }
    }

    // MARK: - Services and health

    /// The live stack a restore works on; `parts`: what is restored of a component, by its name.
    func restoreStack(_ parts: [String: [String]]) throws -> RestoreStack {
        var stores: [String: any DataStore] = [:]
        for component in policy.components { stores[component.name] = try store(component) }
        let services = onlyElsewhere == nil ? try serviceManager() : nil
        let checks = onlyElsewhere == nil ? try healthChecks(stores, services) : []
        var stack = RestoreStack(
            name: policy.stack, stores: stores, services: services,
            allServices: try services?.all(session.cancellation) ?? [],
            health: checks.isEmpty
                ? nil : StackHealth(checks: checks, waiter: HealthWaiter(clock: session.context.clock)),
            checks: restoredChecks, servers: onlyElsewhere == nil ? servers : [:])
        for component in policy.components {
            guard let parts = parts[component.name] else { continue }
            stack.wholes[component.name] = stack.stores[component.name]
            stack.stores[component.name] = try store(component, limitedTo: parts)
        }
        if let compose = services as? ComposeServices {
            let folders = Dictionary(
                uniqueKeysWithValues: policy.components.compactMap { component in
                    component.store.path.map { (component.name, $0) }
                })
            let servers = stack.servers
            let writers = policy.services.freeze.writers ?? []
            stack.users = { components, cancellation in
                guard components.allSatisfy({ folders[$0] != nil || servers[$0] != nil }) else { return nil }
                let needed = Set(components.compactMap { servers[$0] })
                guard
                    let users = try compose.users(
                        of: components.compactMap { folders[$0] }, servers: needed, cancellation)
                else { return nil }
                // What the policy says writes uses every server.
                return needed.isEmpty ? users : users + writers.filter { !users.contains($0) }
            }
            stack.neighbours = { components, cancellation in
                try compose.neighbours(using: components.compactMap { folders[$0] }, cancellation)
            }
        }
        return stack
    }

    /// Those that ask nothing but what is restored, where the rest is another stack.
    private var restoredChecks: [StackCheck] {
        guard let onlyElsewhere else { return policy.checks }
        return policy.checks.filter { check in
            check.values.allSatisfy { value in
                if case .number = value { return true }
                return value.component.map(onlyElsewhere.contains) ?? false
            }
        }
    }

    private func healthChecks(
        _ stores: [String: any DataStore], _ services: (any ServiceManager)?
    ) throws -> [HealthCheck] {
        try policy.health.map { probe in
            HealthCheck(
                name: probe.name, probe: try question(probe.question, stores, services), within: probe.within,
                interval: probe.interval, consecutive: probe.consecutive)
        }
    }

    private func question(
        _ question: HealthProbePolicy.Question, _ stores: [String: any DataStore],
        _ services: (any ServiceManager)?
    ) throws -> any HealthProbe {
        switch question {
        case .http(let url, let status, let field, let equals):
            return HTTPHealthProbe(client: HTTPClient(), url: url, status: status, field: field, equals: equals)
        case .tcp(let host, let port): return TCPHealthProbe(host: host, port: port)
        case .container(let service):
            guard let compose = services as? ComposeServices else {
                throw LifeboatError("service '\(service)' is of no Compose project", exitCode: .usage)
            }
            return ContainerHealthProbe(compose, service: service)
        case .command(let words):
            return CommandHealthProbe(words: words, folder: policy.folder, runner: runner)
        case .postgres(let component, let sql, let equals):
            let store = try database(component, stores)
            return ClosureHealthProbe(subject: "a query on \(store.subject)") { _, cancellation in
                let answer = try store.scalar(sql, cancellation: cancellation)
                guard let equals else {
                    guard answer != nil else { throw LifeboatError("the query gave no row, or NULL") }
                    return
                }
                guard answer == equals else {
                    throw LifeboatError("the query gave '\(answer ?? "NULL")' instead of '\(equals)'")
                }
            }
        }
    }
}

extension StackAssembly {
    /// Where a query on a component goes: of several databases to the first one named.
    private func database(_ component: String, _ stores: [String: any DataStore]) throws -> PostgresStore {
        if let store = stores[component] as? PostgresStore { return store }
        if let several = stores[component] as? PostgresServerStore, case .named(let names) = several.selection,
            let first = names.first
        {
            return several.store(first)
        }
        throw LifeboatError(
            "a health probe asks component '\(component)', which is not one database",
            hint: "Name its databases in the policy: the query goes to the first of them.", exitCode: .usage)
    }
}

/// The health probes of a policy as a restore needs them.
private struct StackHealth: RestoreHealth {
    let checks: [HealthCheck]
    let waiter: HealthWaiter

    func awaitHealth(
        skipping: Set<String>, _ progress: any ProgressSink, _ cancellation: Cancellation
    ) throws {
        let waited = checks.filter { !skipping.contains($0.name) }
        let failures = try waiter.wait(for: waited, progress: progress, cancellation: cancellation).compactMap(\.error)
        guard let first = failures.first else { return }
        throw LifeboatError(
            "the stack did not come up healthy",
            causes: failures.flatMap { [$0.message] + $0.causes }, hint: first.hint)
    }

    func failing(_ cancellation: Cancellation) throws -> [RestorePlan.FailingProbe] {
        let once = checks.map { check in
            HealthCheck(name: check.name, probe: check.probe, within: Self.glance, interval: Self.glance)
        }
        return try waiter.wait(for: once, progress: SilentProgress(), cancellation: cancellation)
            .filter { !$0.healthy }
            .map { RestorePlan.FailingProbe(name: $0.name, reason: $0.lastFailure ?? "no answer") }
    }

    /// Seconds a probe has to answer when it is queried once.
    private static let glance = 3.0
}
