// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// A validated policy: what one stack is, where its snapshots go, how it is stopped, started and proven healthy.
///
/// A pure value made by `PolicyParser`; relative paths were made absolute against the policy file's folder.
package struct Policy: Sendable, Equatable {
    /// 1...64 of `a-z 0-9 . _ -`, starting with a letter or digit: it names a folder in the repository.
    package var stack: String
    /// The absolute path of a local folder.
    package var repository: String
    package var encryption: EncryptionPolicy
    package var services: ServicesPolicy
    /// Components in the order of the file; names are unique and follow the rules of `stack`.
    package var components: [ComponentPolicy]
    package var health: [HealthProbePolicy]
    package var checks: [StackCheck]
    package var secrets: [SecretPolicy]
    package var retention: RetentionPolicy?
    package var objectives: ObjectivesPolicy
    package var drill: DrillPolicy
    /// When a component that lost most of what it had is taken for a mistake; nil: never.
    package var shrinkGuard: GuardPolicy?
    /// Bytes that plain copies of the last snapshot may take on a host that cannot read the repository, 0 for none; nil:
    /// a tenth of the free disk space.
    package var deltaCache: UInt64?
    /// Whether backups capture the policy, Compose files and env files as the component `project`.
    package var capturesProject: Bool
    /// The file it came from; nil for text.
    package var source: String?
    /// The folder relative paths were resolved against, absolute; commands of the policy run in it.
    package var folder: String
    /// The text it came from, kept in every manifest.
    package var text: String
    /// Variables of lifeboat's environment that it names as secrets: with `{env}` or under `secrets`. Child processes do
    /// not inherit them.
    package var secretVariables: Set<String>

    /// Name of the component that the project's files are.
    package static let projectComponent = "project"

    /// Names of what a whole backup captures.
    package var capturedComponents: Set<String> {
        Set(components.map(\.name)).union(capturesProject ? [Self.projectComponent] : [])
    }

    package init(
        stack: String, repository: String, encryption: EncryptionPolicy = .none,
        services: ServicesPolicy = ServicesPolicy(), components: [ComponentPolicy] = [],
        health: [HealthProbePolicy] = [], checks: [StackCheck] = [], secrets: [SecretPolicy] = [],
        retention: RetentionPolicy? = nil, objectives: ObjectivesPolicy = ObjectivesPolicy(),
        drill: DrillPolicy = DrillPolicy(), shrinkGuard: GuardPolicy? = GuardPolicy(), deltaCache: UInt64? = nil,
        capturesProject: Bool = true, source: String? = nil, folder: String = "/", text: String = "",
        secretVariables: Set<String> = []
    ) {
        self.stack = stack
        self.repository = repository
        self.encryption = encryption
        self.services = services
        self.components = components
        self.health = health
        self.checks = checks
        self.secrets = secrets
        self.retention = retention
        self.objectives = objectives
        self.drill = drill
        self.shrinkGuard = shrinkGuard
        self.deltaCache = deltaCache
        self.capturesProject = capturesProject
        self.source = source
        self.folder = folder
        self.text = text
        self.secretVariables = secretVariables
    }
}

/// What the stack's repository has to be: a backup into another one is refused.
package enum EncryptionPolicy: Sendable, Equatable {
    case none
    /// Encrypted for exactly these age recipients.
    case recipients([String])
    /// Encrypted; its identity is in it, wrapped with this passphrase.
    case passphrase(SecretReference)
}

package struct ServicesPolicy: Sendable, Equatable {
    /// How the services of the stack are stopped and started; nil: lifeboat touches no service.
    package var control: ServiceControlPolicy?
    package var freeze: FreezePolicy
    package init(control: ServiceControlPolicy? = nil, freeze: FreezePolicy = FreezePolicy()) {
        self.control = control
        self.freeze = freeze
    }
}

package struct ComponentPolicy: Sendable, Equatable {
    package var name: String
    package var store: StorePolicy
    package init(name: String, store: StorePolicy) {
        self.name = name
        self.store = store
    }
}

package enum StorePolicy: Sendable, Equatable {
    case volume(VolumePolicy)
    case postgres(PostgresPolicy)
    case redis(RedisPolicy)
    case command(CommandPolicy)
    case qdrant(QdrantPolicy)
    case chroma(ChromaPolicy)
    case sqlite(SQLitePolicy)
    case models(ModelsPolicy)

    /// The folder or file of this host that a restore exchanges; nil for what a server keeps.
    package var path: String? {
        switch self {
        case .volume(let volume): volume.path
        case .chroma(let chroma): chroma.path
        case .sqlite(let database): database.path
        case .models(let models): models.path
        case .postgres, .qdrant, .redis, .command: nil
        }
    }

    /// The container its server runs in, where the policy names one.
    package var container: ContainerPolicy? {
        switch self {
        case .postgres(let postgres): postgres.container
        case .redis(let redis): redis.container
        case .qdrant(let qdrant): qdrant.container
        case .chroma(let chroma): chroma.server?.container
        case .volume, .sqlite, .models, .command: nil
        }
    }

    /// The service that runs its server, where the policy names one.
    package var service: String? { container?.service }

    /// Whether a server answers for it, and nobody says which service runs that.
    var hasUnknownServer: Bool {
        switch self {
        case .postgres, .redis, .qdrant: service == nil
        case .chroma(let chroma): chroma.server != nil && service == nil
        case .volume, .sqlite, .models, .command: false
        }
    }

    /// The policy's word for it.
    package var kind: String {
        switch self {
        case .volume: "volume"
        case .postgres: "postgres"
        case .qdrant: "qdrant"
        case .chroma: "chroma"
        case .sqlite: "sqlite"
        case .models: "models"
        case .redis: "redis"
        case .command: "command"
        }
    }
}

package struct VolumePolicy: Sendable, Equatable {
    package var path: String
    /// Glob patterns: without a slash they match a name at any depth, with one a path below the root; `*` stops at a
    /// slash, `**` does not.
    package var exclude: [String]
    /// Skip folders that carry a CACHEDIR.TAG. Off by default: model caches carry one.
    package var excludeCaches: Bool
    /// Stay on the file system of the root.
    package var oneFileSystem: Bool
    /// Copy the files of databases as they are. Off by default: those of a running one are refused or told.
    package var allowLiveDatabases: Bool
    package init(
        path: String, exclude: [String] = [], excludeCaches: Bool = false, oneFileSystem: Bool = true,
        allowLiveDatabases: Bool = false
    ) {
        self.path = path
        self.exclude = exclude
        self.excludeCaches = excludeCaches
        self.oneFileSystem = oneFileSystem
        self.allowLiveDatabases = allowLiveDatabases
    }
}

/// One question whose answer tells whether the stack is up.
package struct HealthProbePolicy: Sendable, Equatable {
    package enum Question: Sendable, Equatable {
        /// GET answers with this status; `field` (dot-separated path into a JSON body), when given, equals the value.
        case http(url: String, status: Int, field: String?, equals: String?)
        case tcp(host: String, port: Int)
        /// All containers of a service of the Compose project run, and are healthy if they have a health check.
        case container(service: String)
        /// Exit status 0.
        case command([String])
        /// The query on that component's database gives one row whose first column equals the value; without a value
        /// anything but an error and an empty result will do.
        case postgres(component: String, sql: String, equals: String?)
    }

    package var name: String?
    package var question: Question
    /// Seconds until the stack counts as unhealthy.
    package var within: Double
    /// Seconds between two tries.
    package var interval: Double
    /// Passes in a row that are needed.
    package var consecutive: Int

    package init(
        name: String? = nil, question: Question, within: Double = 60, interval: Double = 1, consecutive: Int = 1
    ) {
        self.name = name
        self.question = question
        self.within = within
        self.interval = interval
        self.consecutive = consecutive
    }
}

/// How many snapshots are kept; nil: that rule is not used.
package struct RetentionPolicy: Sendable, Equatable {
    package var last: Int?
    package var hourly: Int?
    package var daily: Int?
    package var weekly: Int?
    package var monthly: Int?
    package var yearly: Int?
    /// Everything at most this many seconds older than the newest complete snapshot.
    package var within: Double?
    /// Name of the time zone whose hours, days, weeks, months and years count; nil: the host's.
    package var timezone: String?
    package init(
        last: Int? = nil, hourly: Int? = nil, daily: Int? = nil, weekly: Int? = nil, monthly: Int? = nil,
        yearly: Int? = nil, within: Double? = nil, timezone: String? = nil
    ) {
        self.last = last
        self.hourly = hourly
        self.daily = daily
        self.weekly = weekly
        self.monthly = monthly
        self.yearly = yearly
        self.within = within
        self.timezone = timezone
    }
}

/// Seconds.
package struct ObjectivesPolicy: Sendable, Equatable {
    package var rto: Double?
    package var rpo: Double?
    package init(rto: Double? = nil, rpo: Double? = nil) {
        self.rto = rto
        self.rpo = rpo
    }
}
