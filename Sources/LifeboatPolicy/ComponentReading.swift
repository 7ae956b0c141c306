// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// A component with the place it is written at, for findings that concern two of them.
struct LocatedComponent {
    var policy: ComponentPolicy
    var location: SourceLocation
}

extension PolicyReader {
    private static let stores = ["volume", "postgres", "redis", "command"]
    private static let plannedStores = ["qdrant", "chroma", "sqlite", "models"]

    mutating func components(_ node: LocatedNode, repository: String?) -> [LocatedComponent] {
        guard let entries = entries(node, "components") else { return [] }
        if entries.isEmpty {
            report("'components' is empty", at: node.location, hint: "Name at least one thing to protect.")
        }
        let components = entries.compactMap { component($0) }
        checkOverlaps(components, repository: repository)
        return components
    }

    private mutating func component(_ entry: LocatedNode.Entry) -> LocatedComponent? {
        let path = "components.\(Self.shortened(entry.key))"
        if !Self.isName(entry.key) {
            report(
                "'\(Self.shortened(entry.key))' is no valid component name", at: entry.location, hint: Self.nameRule)
        }
        guard let forms = entries(entry.value, path) else { return nil }
        guard forms.count == 1, let form = forms.first else {
            report(
                "'\(path)' must have exactly one store", at: entry.location,
                hint: "Write one of \(Self.stores.joined(separator: ", ")): \(entry.key): {volume: {path: ./data}}.")
            return nil
        }
        let storePath = "\(path).\(form.key)"
        let store: StorePolicy?
        switch form.key {
        case "volume": store = volume(form.value, storePath).map { .volume($0) }
        case "postgres": store = postgres(form.value, storePath).map { .postgres($0) }
        case "redis": store = redis(form.value, storePath).map { .redis($0) }
        case "command": store = commandStore(form.value, storePath).map { .command($0) }
        case _ where Self.plannedStores.contains(form.key):
            let hint =
                form.key == "models"
                ? "A 'volume' with the same path keeps the files."
                : "Remove the component, or protect its files as a 'volume' while it is stopped."
            reportPlanned("the store '\(form.key)'", at: form.location, hint: hint)
            store = nil
        default:
            let planned = Dictionary(uniqueKeysWithValues: Self.plannedStores.map { ($0, "") })
            reportUnknown("store", form.key, in: path, at: form.location, among: Self.stores, planned: planned)
            store = nil
        }
        return store.map {
            LocatedComponent(policy: ComponentPolicy(name: entry.key, store: $0), location: entry.location)
        }
    }

    private mutating func volume(_ node: LocatedNode, _ path: String) -> VolumePolicy? {
        guard let fields = fields(node, path, known: ["path", "exclude", "exclude_caches", "one_file_system"])
        else { return nil }
        let folder = required("path", in: fields).flatMap { self.path($0, fields.path("path")) }
        let exclude = fields["exclude"].map { patterns($0, fields.path("exclude")) } ?? []
        let excludeCaches = bool("exclude_caches", in: fields, default: false)
        let oneFileSystem = bool("one_file_system", in: fields, default: true)
        guard let folder else { return nil }
        return VolumePolicy(
            path: folder, exclude: exclude, excludeCaches: excludeCaches, oneFileSystem: oneFileSystem)
    }

    private mutating func patterns(_ node: LocatedNode, _ path: String) -> [String] {
        (list(node, path) ?? []).compactMap { text($0, path, "a list of patterns such as \"*.tmp\"") }
    }

    private mutating func postgres(_ node: LocatedNode, _ path: String) -> PostgresPolicy? {
        let known = [
            "host", "port", "database", "user", "password", "sslmode", "binaries", "globals", "maintenance_database",
        ]
        let planned = ["service": "Name the server instead: host and port as they are reached from this host."]
        guard let fields = fields(node, path, known: known, planned: planned) else { return nil }
        let database = required("database", in: fields).flatMap { databaseName($0, fields.path("database")) }
        let host = text("host", in: fields)
        let port = integer("port", in: fields, 1...65_535)
        let user = text("user", in: fields)
        let password = secret("password", in: fields)
        let sslMode = choice(
            "sslmode", in: fields, among: ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])
        let binaries = self.path("binaries", in: fields)
        let globals = bool("globals", in: fields, default: true)
        let maintenance =
            fields["maintenance_database"].map { databaseName($0, fields.path("maintenance_database")) } ?? "postgres"
        guard let database, let maintenance else { return nil }
        if database == maintenance {
            report(
                "'\(fields.path("maintenance_database"))' must be another database than '\(Self.shortened(database))'",
                at: fields["maintenance_database"] == nil
                    ? fields.keyLocation("database") : fields.keyLocation("maintenance_database"),
                hint: "A restore renames the database, and cannot be connected to it: name another, such as template1.")
        }
        return PostgresPolicy(
            host: host, port: port, database: database, user: user, password: password, sslMode: sslMode,
            binaries: binaries, globals: globals, maintenanceDatabase: maintenance)
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

    // MARK: Between components

    /// A restore swaps each component by itself: two that hold the same thing would undo each other.
    private mutating func checkOverlaps(_ components: [LocatedComponent], repository: String?) {
        for (index, component) in components.enumerated() {
            for other in components[..<index] { check(component, against: other) }
            guard let repository, case .volume(let volume) = component.policy.store, volume.exclude.isEmpty,
                Self.contains(volume.path, repository)
            else { continue }
            report(
                "the repository lies inside the volume '\(component.policy.name)': each backup would hold the ones before",
                at: component.location, hint: "Move the repository out of '\(volume.path)', or exclude its folder.")
        }
    }

    private mutating func check(_ component: LocatedComponent, against other: LocatedComponent) {
        let name = component.policy.name
        let otherName = other.policy.name
        switch (component.policy.store, other.policy.store) {
        case (.volume(let left), .volume(let right)):
            guard Self.contains(left.path, right.path) || Self.contains(right.path, left.path) else { return }
            report(
                "the volumes '\(otherName)' and '\(name)' overlap", at: component.location,
                hint: "'\(right.path)' and '\(left.path)' would be swapped one inside the other: keep one of them.")
        case (.postgres(let left), .postgres(let right)):
            guard (left.host, left.port ?? 5432, left.database) == (right.host, right.port ?? 5432, right.database)
            else { return }
            report(
                "the components '\(otherName)' and '\(name)' are the same database", at: component.location,
                hint: "Keep one of them.")
        case (.redis(let left), .redis(let right)):
            guard left.address == right.address else { return }
            report(
                "the components '\(otherName)' and '\(name)' are the same server", at: component.location,
                hint: "Keep one of them: a snapshot holds all databases of a server.")
        default: return
        }
    }

    private static func contains(_ folder: String, _ path: String) -> Bool {
        path == folder || path.hasPrefix(folder == "/" ? "/" : folder + "/")
    }
}
