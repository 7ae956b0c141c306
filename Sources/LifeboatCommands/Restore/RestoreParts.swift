// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatPolicy

/// What a part of a component can be.
enum PartKind: String, CaseIterable {
    case path, collection, table

    var option: String { "--\(rawValue)" }

    func fits(_ store: StorePolicy) -> Bool {
        switch (self, store) {
        case (.path, .volume): true
        case (.path, .models(let models)): models.keep == .bytes
        case (.collection, .qdrant): true
        // Its folder is exchanged as one.
        case (.collection, .chroma(let chroma)): chroma.path == nil
        case (.table, .postgres(let postgres)): postgres.database != nil
        default: false
        }
    }

    static let fitting =
        "--path is for volumes and for model files whose bytes are kept, --collection for qdrant and for a chroma"
        + " server, --table for one database of postgres"

    /// A component that has no such parts.
    static func misfit(_ component: ComponentPolicy) -> LifeboatError {
        let own = allCases.filter { $0.fits(component.store) }
        return LifeboatError(
            own.isEmpty
                ? "component '\(component.name)' (\(component.store.kind)) is restored as a whole only"
                : "parts of component '\(component.name)' (\(component.store.kind)) are named with "
                    + own.map(\.option).joined(separator: ", "),
            causes: [fitting],
            hint: own.isEmpty ? "Name it with --component \(component.name)." : nil, exitCode: .usage)
    }
}

/// `[COMPONENT:]PART`, by component.
struct RestoreParts {
    private(set) var byComponent: [String: [String]] = [:]
    /// With the values of the targets, and as it is written: paths may be said as they are in either.
    private let policy: Policy
    private let written: Policy

    init(_ selection: RestoreSelection, _ policy: Policy, written: Policy) throws {
        self.policy = policy
        self.written = written
        for text in selection.path { try add(text, .path) }
        for text in selection.collection { try add(text, .collection) }
        for text in selection.table { try add(text, .table) }
    }

    private mutating func add(_ text: String, _ kind: PartKind) throws {
        let (component, rest) = try owner(of: text, kind)
        guard kind.fits(component.store) else { throw PartKind.misfit(component) }
        let part = kind == .path ? try path(rest, in: component, text) : rest
        guard !part.isEmpty else {
            throw LifeboatError(
                "\(kind.option) '\(text)' names no \(kind.rawValue)",
                hint: "Restore the whole component with --component \(component.name).", exitCode: .usage)
        }
        if byComponent[component.name, default: []].contains(part) { return }
        byComponent[component.name, default: []].append(part)
    }

    /// The component that is named, or the only one the part can be of.
    private func owner(of text: String, _ kind: PartKind) throws -> (ComponentPolicy, String) {
        if let colon = text.firstIndex(of: ":"),
            let component = policy.components.first(where: { $0.name == text[..<colon] })
        {
            return (component, String(text[text.index(after: colon)...]))
        }
        let fitting = policy.components.filter { kind.fits($0.store) }
        if kind == .path, text.hasPrefix("/") {
            let holding = fitting.filter { roots(of: $0).contains { Self.below($0, text) != nil } }
            guard let component = holding.max(by: { ($0.store.path ?? "").count < ($1.store.path ?? "").count }) else {
                throw LifeboatError(
                    "'\(text)' is in no volume of the policy",
                    causes: fitting.map { "'\($0.name)' is '\($0.store.path ?? "")'" },
                    hint: "Name the component: --path COMPONENT:PATH.", exitCode: .usage)
            }
            return (component, text)
        }
        guard let only = fitting.first else {
            throw LifeboatError(
                "the policy has no component that \(kind.option) is for",
                causes: [PartKind.fitting], exitCode: .usage)
        }
        guard fitting.count == 1 else {
            throw LifeboatError(
                "\(kind.option) '\(text)' does not say of which component",
                causes: ["it can be of \(fitting.map { "'\($0.name)'" }.joined(separator: ", "))"],
                hint: "Write \(kind.option) \(only.name):\(text).", exitCode: .usage)
        }
        return (only, text)
    }

    private func roots(of component: ComponentPolicy) -> [String] {
        let paths = [policy, written].map { policy in
            policy.components.first { $0.name == component.name }?.store.path
        }
        return paths.compactMap(\.self)
    }

    /// What follows the folder in the path; nil when it is not in it.
    private static func below(_ folder: String, _ path: String) -> String? {
        if path == folder { return "" }
        let prefix = folder == "/" ? "/" : "\(folder)/"
        return path.hasPrefix(prefix) ? String(path.dropFirst(prefix.count)) : nil
    }

    /// Below the root of the volume; a path that begins with a slash may be that of this host.
    private func path(_ text: String, in component: ComponentPolicy, _ whole: String) throws -> String {
        let inside = roots(of: component).compactMap { Self.below($0, text) }.first ?? text
        let names = inside.split(separator: "/").filter { $0 != "." }
        guard !names.contains("..") else {
            throw LifeboatError(
                "--path '\(whole)' leads upwards", hint: "Write it without '..', from the root of the volume on.",
                exitCode: .usage)
        }
        return names.joined(separator: "/")
    }
}
