// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// A component with the place it is written at, for findings that concern two of them.
struct LocatedComponent {
    var policy: ComponentPolicy
    var location: SourceLocation
}

extension PolicyReader {
    private static let stores = ["volume", "postgres", "qdrant", "chroma", "redis", "sqlite", "models", "command"]

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
        case "qdrant": store = qdrant(form.value, storePath).map { .qdrant($0) }
        case "chroma": store = chroma(form.value, storePath).map { .chroma($0) }
        case "sqlite": store = sqlite(form.value, storePath).map { .sqlite($0) }
        case "models": store = models(form.value, storePath).map { .models($0) }
        case "redis": store = redis(form.value, storePath).map { .redis($0) }
        case "command": store = commandStore(form.value, storePath).map { .command($0) }
        default:
            reportUnknown("store", form.key, in: path, at: form.location, among: Self.stores)
            store = nil
        }
        return store.map {
            LocatedComponent(policy: ComponentPolicy(name: entry.key, store: $0), location: entry.location)
        }
    }

    private mutating func volume(_ node: LocatedNode, _ path: String) -> VolumePolicy? {
        let known = ["path", "exclude", "exclude_caches", "one_file_system", "allow_live_databases"]
        guard let fields = fields(node, path, known: known) else { return nil }
        let folder = required("path", in: fields).flatMap { self.path($0, fields.path("path")) }
        let exclude = fields["exclude"].map { patterns($0, fields.path("exclude")) } ?? []
        let excludeCaches = bool("exclude_caches", in: fields, default: false)
        let oneFileSystem = bool("one_file_system", in: fields, default: true)
        let allowLiveDatabases = bool("allow_live_databases", in: fields, default: false)
        guard let folder else { return nil }
        return VolumePolicy(
            path: folder, exclude: exclude, excludeCaches: excludeCaches, oneFileSystem: oneFileSystem,
            allowLiveDatabases: allowLiveDatabases)
    }

    private mutating func patterns(_ node: LocatedNode, _ path: String) -> [String] {
        (list(node, path) ?? []).compactMap { text($0, path, "a list of patterns such as \"*.tmp\"") }
    }

    // MARK: Between components

    /// A restore swaps each component by itself: two that hold the same thing would undo each other.
    private mutating func checkOverlaps(_ components: [LocatedComponent], repository: String?) {
        let search = OverlapSearch(components.map(\.policy))
        for pair in search.pairs { check(components[pair.later], against: components[pair.earlier]) }
        if search.isCutShort, let last = components.last {
            report(
                "more than \(OverlapSearch.limit) pairs of components overlap: the others are not shown",
                at: last.location)
        }
        guard let repository else { return }
        for component in components { checkRepository(repository, component) }
    }

    private mutating func checkRepository(_ repository: String, _ component: LocatedComponent) {
        switch component.policy.store {
        case .volume(let volume) where volume.exclude.isEmpty && Self.contains(volume.path, repository):
            report(
                "the repository lies inside the volume '\(component.policy.name)': each backup would hold the ones before",
                at: component.location, hint: "Move the repository out of '\(volume.path)', or exclude its folder.")
        case .models(let models) where Self.contains(models.path, repository):
            report(
                "the repository lies inside the models '\(component.policy.name)': each backup would hold the ones before",
                at: component.location, hint: "Move the repository out of '\(models.path)'.")
        default: return
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
            guard left.overlaps(right) else { return }
            let areSame = left.database != nil && right.database != nil
            report(
                "the components '\(otherName)' and '\(name)' \(areSame ? "are the same" : "have a common") database",
                at: component.location, hint: areSame ? "Keep one of them." : "Keep it in one of them.")
        case (.qdrant(let left), .qdrant(let right)):
            guard left.overlaps(right) else { return }
            report(
                "the components '\(otherName)' and '\(name)' have a common collection", at: component.location,
                hint: "Keep it in one of them, by naming others under 'collections'.")
        case (.chroma(let left), .chroma(let right)) where left.overlaps(right):
            report(
                "the components '\(otherName)' and '\(name)' have a common database", at: component.location,
                hint: "Keep it in one of them, by naming others under 'database'.")
        case (.redis(let left), .redis(let right)):
            guard left.address == right.address else { return }
            report(
                "the components '\(otherName)' and '\(name)' are the same server", at: component.location,
                hint: "Keep one of them: a snapshot holds all databases of a server.")
        default:
            guard let left = component.policy.store.path, let right = other.policy.store.path else { return }
            checkInside(component, left, other, right)
        }
    }

    /// A volume leaves what lies inside of it to the component it belongs to. Anything else that lies in another would be
    /// exchanged twice.
    private mutating func checkInside(
        _ component: LocatedComponent, _ left: String, _ other: LocatedComponent, _ right: String
    ) {
        if left == right {
            report(
                "the components '\(other.policy.name)' and '\(component.policy.name)' have the same path",
                at: component.location, hint: "Keep one of them.")
            return
        }
        let (inner, outer) = Self.contains(left, right) ? (other, component) : (component, other)
        guard Self.contains(left, right) || Self.contains(right, left) else { return }
        if case .volume = outer.policy.store { return }
        report(
            "the component '\(inner.policy.name)' lies inside of '\(outer.policy.name)'", at: component.location,
            hint: "A restore would exchange one inside the other: keep one of them.")
    }

    static func contains(_ folder: String, _ path: String) -> Bool {
        path == folder || path.hasPrefix(folder == "/" ? "/" : folder + "/")
    }
}
