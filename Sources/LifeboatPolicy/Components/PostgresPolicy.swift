// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

package struct PostgresPolicy: Sendable, Equatable {
    package enum Databases: Sendable, Equatable {
        /// `database: app`
        case one(String)
        /// `databases: [app, analytics]`
        case several([String])
        /// `database: "*"`: all but templates.
        case all
    }

    /// Host name, address or socket folder; nil: the container's address, or libpq's default.
    package var host: String?
    package var port: Int?
    package var databases: Databases
    /// Where the server and the client programs that fit it are, when it runs in a container.
    package var container: ContainerPolicy?
    package var user: String?
    package var password: SecretReference?
    /// libpq's sslmode.
    package var sslMode: String?
    /// Folder of pg_dump, pg_dumpall and pg_restore; nil: found by server version, then PATH.
    package var binaries: String?
    /// Also keep roles and tablespaces (pg_dumpall --globals-only). On by default.
    package var globals: Bool
    /// Database to connect to for CREATE and RENAME DATABASE.
    package var maintenanceDatabase: String
    /// Indexes and constraints a restore builds at once; nil: the store's own default.
    package var jobs: Int?

    package init(
        host: String? = nil, port: Int? = nil, databases: Databases, container: ContainerPolicy? = nil,
        user: String? = nil,
        password: SecretReference? = nil, sslMode: String? = nil, binaries: String? = nil, globals: Bool = true,
        maintenanceDatabase: String = "postgres", jobs: Int? = nil
    ) {
        self.host = host
        self.port = port
        self.databases = databases
        self.container = container
        self.user = user
        self.password = password
        self.sslMode = sslMode
        self.binaries = binaries
        self.globals = globals
        self.maintenanceDatabase = maintenanceDatabase
        self.jobs = jobs
    }

    /// The name when there is just one.
    package var database: String? {
        if case .one(let name) = databases { return name }
        return nil
    }

    /// Whether two components would capture and restore one database.
    func overlaps(_ other: PostgresPolicy) -> Bool {
        guard (host, port ?? 5432, container) == (other.host, other.port ?? 5432, other.container) else { return false }
        guard let names, let others = other.names else { return true }
        return !names.isDisjoint(with: others)
    }

    /// Nil: all.
    var names: Set<String>? {
        switch databases {
        case .one(let name): [name]
        case .several(let names): Set(names)
        case .all: nil
        }
    }
}

/// What libpq takes as `sslmode`.
private let sslModes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

extension PolicyReader {
    mutating func postgres(_ node: LocatedNode, _ path: String) -> PostgresPolicy? {
        let known = [
            "host", "port", "database", "databases", "container", "service", "project", "user", "password", "sslmode",
            "binaries", "globals", "maintenance_database", "jobs",
        ]
        guard let fields = fields(node, path, known: known) else { return nil }
        let databases = databases(fields)
        let host = host("host", in: fields)
        let port = integer("port", in: fields, 1...65_535)
        let container = container(fields)
        let user = text("user", in: fields)
        let password = secret("password", in: fields)
        let sslMode = choice("sslmode", in: fields, among: sslModes)
        let binaries = self.path("binaries", in: fields)
        let globals = bool("globals", in: fields, default: true)
        let jobs = integer("jobs", in: fields, 1...64)
        let maintenance =
            fields["maintenance_database"].map { databaseName($0, fields.path("maintenance_database")) } ?? "postgres"
        guard let databases, let maintenance else { return nil }
        if case .one(maintenance) = databases {
            report(
                "'\(fields.path("maintenance_database"))' must be another database than '\(Self.shortened(maintenance))'",
                at: fields["maintenance_database"] == nil
                    ? fields.keyLocation("database") : fields.keyLocation("maintenance_database"),
                hint: "A restore renames the database, and cannot be connected to it: name another, such as template1.")
        }
        return PostgresPolicy(
            host: host, port: port, databases: databases, container: container, user: user, password: password,
            sslMode: sslMode, binaries: binaries, globals: globals, maintenanceDatabase: maintenance, jobs: jobs)
    }

    /// `database: NAME`, `database: "*"` or `databases: [NAME, …]`.
    private mutating func databases(_ fields: PolicyFields) -> PostgresPolicy.Databases? {
        guard let list = fields["databases"] else {
            return required("database", in: fields, hint: "Or 'databases' with a list of names.")
                .flatMap { databaseName($0, fields.path("database")) }
                .map { $0 == "*" ? .all : .one($0) }
        }
        let path = fields.path("databases")
        if fields["database"] != nil {
            report(
                "'\(fields.path("database"))' and '\(path)' exclude each other", at: fields.keyLocation("databases"),
                hint: "Keep one of them.")
        }
        guard let items = self.list(list, path) else { return nil }
        var names: [String] = []
        for (index, item) in items.enumerated() {
            guard let name = databaseName(item, "\(path)[\(index)]") else { continue }
            if name == "*" {
                report(
                    "'\(path)[\(index)]' is no name of a database", at: item.location,
                    hint: "Write database: \"*\" for all.")
            } else if names.contains(name) {
                report("'\(path)' names '\(Self.shortened(name))' twice", at: item.location)
            }
            names.append(name)
        }
        if items.isEmpty {
            report("'\(path)' is empty", at: list.location, hint: "Name at least one database.")
        }
        return names.isEmpty ? nil : .several(names)
    }

    /// PostgreSQL cuts names at 63 bytes (NAMEDATALEN).
    private mutating func databaseName(_ node: LocatedNode, _ path: String) -> String? {
        guard let name = text(node, path, "the name of a database") else { return nil }
        guard name.utf8.count <= 63 else {
            report("'\(path)' is longer than the 63 bytes PostgreSQL allows", at: node.location)
            return nil
        }
        return name
    }
}
