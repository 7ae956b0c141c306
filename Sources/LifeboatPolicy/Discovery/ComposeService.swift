// SPDX-License-Identifier: Apache-2.0

import Yams

/// What one Compose file says of a service, as far as it tells what data the service has.
package struct ComposeService: Sendable, Equatable {
    package struct Mount: Sendable, Equatable {
        /// A path as it is written, or the name of a volume.
        package var source: String
        package var target: String
        package var isReadOnly: Bool

        /// Whether the source is a path of the host.
        package var isBind: Bool { source.hasPrefix(".") || source.hasPrefix("/") }
    }

    package var name: String
    /// Empty for one that is built.
    package var image: String
    /// Values as they are written: variables are not filled in.
    package var environment: [String: String] = [:]
    package var command: [String] = []
    package var mounts: [Mount] = []

    /// The image without registry, tag and digest: `ghcr.io/chroma-core/chroma:1.3` → `chroma-core/chroma`.
    package var repository: String {
        let path = image.prefix { $0 != "@" }.split(separator: "/")
        guard var last = path.last else { return image }
        last = last.split(separator: ":").first ?? last
        let names = path.dropLast().filter { !$0.contains(".") && !$0.contains(":") && $0 != "library" } + [last]
        return names.joined(separator: "/")
    }

    /// The services of a Compose file in its order; nil when the text is none.
    package static func all(_ text: String) -> [ComposeService]? {
        let found = DeepStack.run { () -> [ComposeService]? in
            guard let root = try? Parser(yaml: text, resolver: .basic, encoding: .utf8).singleRoot(),
                let services = root.mapping?["services"]?.mapping
            else { return nil }
            return services.compactMap { key, value in
                guard let name = key.string, let body = value.mapping else { return nil }
                return ComposeService(name, body["image"]?.string ?? "", body)
            }
        }
        return found ?? nil
    }

    private init(_ name: String, _ image: String, _ body: Node.Mapping) {
        self.name = name
        self.image = image
        if let environment = body["environment"]?.mapping {
            for (key, value) in environment {
                if let key = key.string { self.environment[key] = value.string ?? "" }
            }
        }
        for item in body["environment"]?.sequence ?? [] {
            guard let pair = item.string, let equals = pair.firstIndex(of: "=") else { continue }
            environment[String(pair[..<equals])] = String(pair[pair.index(after: equals)...])
        }
        command =
            body["command"]?.sequence?.compactMap(\.string)
            ?? body["command"]?.string?.split(whereSeparator: \.isWhitespace).map(String.init) ?? []
        mounts = (body["volumes"]?.sequence ?? []).compactMap(Self.mount)
    }

    private static func mount(_ node: Node) -> Mount? {
        if let long = node.mapping {
            guard let source = long["source"]?.string, let target = long["target"]?.string else { return nil }
            return Mount(source: source, target: target, isReadOnly: long["read_only"]?.string == "true")
        }
        guard let parts = node.string?.split(separator: ":").map(String.init), parts.count >= 2 else { return nil }
        return Mount(
            source: parts[0], target: parts[1],
            isReadOnly: parts.count > 2 && parts[2].split(separator: ",").contains("ro"))
    }
}

/// A value that a Compose file fills in from a variable.
struct ComposeVariable {
    let name: String
    /// Used when the variable is not set.
    let fallback: String?

    /// Nil when the value is anything else than one variable: `$NAME`, `${NAME}`, `${NAME:-fallback}`, `${NAME:?error}`.
    init?(_ value: String) {
        guard let match = value.wholeMatch(of: #/\$\{?(\w+)(?:(:?[-?+])([^}]*))?\}?/#) else { return nil }
        name = String(match.output.1)
        fallback = match.output.2?.hasSuffix("-") == true ? match.output.3.map(String.init) : nil
    }
}
