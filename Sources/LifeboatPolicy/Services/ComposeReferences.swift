// SPDX-License-Identifier: Apache-2.0

import Yams

/// The files that one Compose file refers to, as it writes them.
///
/// Compose itself resolves them only for projects whose variables are all set; a backup needs them also when the project
/// cannot be brought up. Keys: `include`, `services.*.extends.file`, `services.*.env_file`, `configs.*.file` and
/// `secrets.*.file` of the Compose specification.
package struct ComposeReferences: Sendable, Equatable {
    package struct Reference: Sendable, Equatable {
        package enum Kind: Sendable {
            /// Another Compose file, which refers to files in turn.
            case compose
            case configuration
            /// Holds values that belong in no unencrypted repository.
            case secret
        }

        package var path: String
        package var kind: Kind
        /// Whether Compose refuses the project without it.
        package var isRequired: Bool
    }

    /// In the order of the text, without repetitions.
    package private(set) var files: [Reference] = []

    private static let maximumBytes = 1 << 20

    /// Nil when the text is no Compose file: no YAML, no mapping, or longer than 1 MiB.
    package init?(_ text: String) {
        guard text.utf8.count <= Self.maximumBytes else { return nil }
        // The YAML library recurses once a level.
        let found = DeepStack.run { () -> [Reference]? in
            guard let root = try? Parser(yaml: text, resolver: .basic, encoding: .utf8).singleRoot(),
                case .mapping(let project) = root
            else { return nil }
            return Self.references(project)
        }
        guard let found = found ?? nil else { return nil }
        for file in found where !files.contains(file) { files.append(file) }
    }

    private static func references(_ project: Node.Mapping) -> [Reference] {
        var found: [Reference] = []
        for item in items(project["include"]) {
            let paths = item.mapping.map { items($0["path"]) } ?? [item]
            found += paths.compactMap(\.string).map { Reference(path: $0, kind: .compose, isRequired: true) }
            found += items(item.mapping?["env_file"]).compactMap(\.string)
                .map { Reference(path: $0, kind: .secret, isRequired: true) }
        }
        for service in values(project["services"]) {
            if let file = value("extends", of: service)?.mapping?["file"]?.string {
                found.append(Reference(path: file, kind: .compose, isRequired: true))
            }
            for item in items(value("env_file", of: service)) {
                guard let path = item.mapping?["path"]?.string ?? item.string else { continue }
                found.append(Reference(path: path, kind: .secret, isRequired: item.mapping?["required"]?.bool ?? true))
            }
        }
        for (key, kind) in [("configs", Reference.Kind.configuration), ("secrets", .secret)] {
            found += values(project[key]).compactMap { value("file", of: $0)?.string }
                .map { Reference(path: $0, kind: kind, isRequired: true) }
        }
        return found
    }

    /// A list, or the one value that stands for it.
    private static func items(_ node: Node?) -> [Node] {
        guard let node else { return [] }
        return node.sequence.map(Array.init) ?? [node]
    }

    private static func values(_ node: Node?) -> [Node.Mapping] {
        node?.mapping.map { $0.values.compactMap(\.mapping) } ?? []
    }

    /// A value of the mapping itself, else of those that it merges.
    private static func value(_ key: String, of mapping: Node.Mapping) -> Node? {
        mapping[key] ?? items(mapping["<<"]).lazy.compactMap { $0.mapping?[key] }.first
    }
}
