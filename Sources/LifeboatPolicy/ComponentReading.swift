// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// A component with the place it is written at, for findings that concern two of them.
struct LocatedComponent {
    var policy: ComponentPolicy
    var location: SourceLocation
}

extension PolicyReader {
    private static let stores = ["volume", "postgres"]
    private static let plannedStores = ["qdrant", "chroma", "redis", "sqlite", "models", "command"]

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
            guard left.overlaps(right) else { return }
            let areSame = left.database != nil && right.database != nil
            report(
                "the components '\(otherName)' and '\(name)' \(areSame ? "are the same" : "have a common") database",
                at: component.location, hint: areSame ? "Keep one of them." : "Keep it in one of them.")
        default: return
        }
    }

    private static func contains(_ folder: String, _ path: String) -> Bool {
        path == folder || path.hasPrefix(folder == "/" ? "/" : folder + "/")
    }
}
