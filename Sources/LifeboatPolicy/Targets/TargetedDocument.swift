// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// A policy's document with the values of targets in it, before it is read: what is wrong with them is found as in the
/// policy itself, at places of their own.
struct TargetedDocument {
    private(set) var root: LocatedNode
    private(set) var diagnostics: [PolicyDiagnostic] = []

    /// The place of the target with that number: before the first line.
    static func location(_ number: Int) -> SourceLocation { SourceLocation(line: -number - 1, column: 1) }

    /// The number of the target at a place; nil: it is in the file.
    static func number(_ location: SourceLocation) -> Int? { location.line < 0 ? -location.line - 1 : nil }

    init(_ root: LocatedNode, _ targets: [PolicyTarget]) {
        self.root = root
        var given: [[String]] = []
        for (number, target) in targets.enumerated() {
            let location = Self.location(number)
            guard let path = self.path(of: target, location), let value = self.value(target, location),
                let changed = setting(value, path, 0, in: self.root, location)
            else { continue }
            self.root = changed
            given.append(path)
        }
        for path in given { dropAlternatives(to: path, given: given) }
    }

    // MARK: - Where a target goes

    /// Keys from the top of the document on.
    private mutating func path(of target: PolicyTarget, _ location: SourceLocation) -> [String]? {
        let words = target.words
        guard let first = words.first else { return nil }
        if Policy.targetSections.contains(first) { return words }
        let components = root["components"]?.entries ?? []
        // A name may hold dots.
        let named = components.filter { target.key.hasPrefix("\($0.key).") }
        if let component = named.max(by: { $0.key.count < $1.key.count }), let store = component.value.entries?.first {
            let rest = target.key.dropFirst(component.key.count + 1).split(separator: ".")
            return ["components", component.key, store.key] + rest.map(String.init)
        }
        let known = components.map(\.key) + Policy.targetSections
        let hint =
            NearestWord.nearest(to: first, among: known).map { "Did you mean '\($0)'?" }
            ?? "Known here: \(known.joined(separator: ", "))."
        diagnostics.append(
            PolicyDiagnostic("the policy has no component '\(PolicyReader.shortened(first))'", at: location, hint: hint)
        )
        return nil
    }

    // MARK: - Values

    private enum Value {
        case none
        case content(LocatedNode.Content)
    }

    /// Lists are written as in YAML: `[a, b]`. Nothing: the key goes.
    private mutating func value(_ target: PolicyTarget, _ location: SourceLocation) -> Value? {
        if target.value.isEmpty { return Value.none }
        guard target.value.hasPrefix("["), target.value.hasSuffix("]") else {
            let plain = ["true", "false"].contains(target.value)
            return .content(.scalar(target.value, plain: plain))
        }
        let document = PolicyDocument(target.value)
        guard document.diagnostics.isEmpty, let root = document.root else {
            diagnostics += document.diagnostics.map { PolicyDiagnostic($0.message, at: location, hint: $0.hint) }
            return nil
        }
        return .content(root.moved(to: location).content)
    }

    /// The node, which is at so many words of the path, with a value at the end of it; nil after it was reported why there
    /// is no such place.
    private mutating func setting(
        _ value: Value, _ path: [String], _ depth: Int, in node: LocatedNode, _ location: SourceLocation
    ) -> LocatedNode? {
        guard depth < path.count else {
            guard case .content(let content) = value else { return node }
            return LocatedNode(location: location, content: content)
        }
        if case .sequence(let items) = node.content {
            return setting(value, path, depth, among: items, node.location, location)
        }
        let key = path[depth]
        // What says where a secret is has one word only.
        let isSource = depth > 0 && PolicyTarget.isSecret(path[depth - 1])
        var entries = isSource ? [] : node.entries ?? []
        let position = entries.firstIndex { $0.key == key }
        if case .none = value, depth == path.count - 1 {
            if let position { entries.remove(at: position) }
            return LocatedNode(location: node.location, content: .mapping(entries))
        }
        let before =
            position.map { entries[$0].value } ?? LocatedNode(location: location, content: .mapping([]))
        guard let changed = setting(value, path, depth + 1, in: before, location) else { return nil }
        let entry = LocatedNode.Entry(key: key, location: location, value: changed)
        if let position { entries[position] = entry } else { entries.append(entry) }
        return LocatedNode(location: node.location, content: .mapping(entries))
    }

    private mutating func setting(
        _ value: Value, _ path: [String], _ depth: Int, among items: [LocatedNode], _ place: SourceLocation,
        _ location: SourceLocation
    ) -> LocatedNode? {
        guard let index = Int(path[depth]), items.indices.contains(index) else {
            diagnostics.append(
                PolicyDiagnostic(
                    "there is no item '\(PolicyReader.shortened(path[depth]))' in that list", at: location,
                    hint: items.isEmpty ? "It is empty." : "It has the items 0 to \(items.count - 1)."))
            return nil
        }
        guard let changed = setting(value, path, depth + 1, in: items[index], location) else { return nil }
        var items = items
        items[index] = changed
        return LocatedNode(location: place, content: .sequence(items))
    }

    // MARK: - What excludes each other

    /// Ways to reach a server: who names one means that one.
    private static let ways = ["url", "host", "socket", "service", "container"]
    private static let others = [
        "database": ["databases"], "databases": ["database"], "file": ["files"], "files": ["file"],
    ]

    /// Takes away what the policy says instead of what a target says, unless a target says it too.
    private mutating func dropAlternatives(to path: [String], given: [[String]]) {
        guard let key = path.last, path.count > 1 else { return }
        let parent = Array(path.dropLast())
        // `file` may also say where a secret is.
        if PolicyTarget.isSecret(parent[parent.count - 1]) { return }
        var dropped = Self.others[key] ?? []
        if Self.ways.contains(key), path.first == "components" {
            dropped += Self.ways.filter { $0 != key }
            if key != "service" { dropped.append("project") }
            if key == "url" || key == "socket" { dropped.append("port") }
            if key == "socket" { dropped.append("tls") }
        }
        // The folder of another server is not the one the policy names.
        if parent.last == "redis", Self.ways.contains(key) || key == "port" || key == "project" {
            dropped.append("data")
        }
        for key in dropped where !given.contains(parent + [key]) {
            if let changed = setting(.none, parent + [key], 0, in: root, root.location) { root = changed }
        }
    }
}

extension LocatedNode {
    /// Of a mapping; nil for everything else.
    fileprivate var entries: [Entry]? {
        guard case .mapping(let entries) = content else { return nil }
        return entries
    }

    fileprivate subscript(_ key: String) -> LocatedNode? { entries?.first { $0.key == key }?.value }

    /// With all in it.
    fileprivate func moved(to location: SourceLocation) -> LocatedNode {
        let moved: Content =
            switch content {
            case .scalar: content
            case .sequence(let items): .sequence(items.map { $0.moved(to: location) })
            case .mapping(let entries):
                .mapping(
                    entries.map { Entry(key: $0.key, location: location, value: $0.value.moved(to: location)) })
            }
        return LocatedNode(location: location, content: moved)
    }
}
