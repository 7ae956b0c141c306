// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// A secret the stack needs besides its data: its fingerprint is kept, so that a restore can tell when it is another.
package struct SecretPolicy: Sendable, Equatable {
    package enum Source: Sendable, Equatable {
        /// The variable of that name in lifeboat's environment, else in the file `.env` of the policy's folder or of
        /// the Compose project.
        case variable
        case reference(SecretReference)
        /// The variable of that name in a file of `NAME=value` lines.
        case environmentFile(String)
    }

    package var name: String
    package var source: Source
    /// What another value breaks, for people.
    package var breaks: String?

    package init(name: String, source: Source = .variable, breaks: String? = nil) {
        self.name = name
        self.source = source
        self.breaks = breaks
    }
}

extension PolicyReader {
    private static let secretItemForms =
        "Write NAME, or {name: NAME, breaks: \"what another value breaks\", from: {file: PATH}}."

    mutating func secrets(_ node: LocatedNode) -> [SecretPolicy] {
        var names: Set<String> = []
        return (list(node, "secrets") ?? []).enumerated().compactMap { index, item in
            let path = "secrets[\(index)]"
            guard let secret = secret(item, path) else { return nil }
            if !names.insert(secret.name).inserted {
                report(
                    "secret '\(Self.shortened(secret.name))' is named twice", at: item.location,
                    hint: "Keep one of them.")
            }
            return secret
        }
    }

    private mutating func secret(_ node: LocatedNode, _ path: String) -> SecretPolicy? {
        guard case .mapping = node.content else {
            guard case .scalar = node.content, !node.isNull else {
                reportType(node, path, "the name of a secret", hint: Self.secretItemForms)
                return nil
            }
            return secretName(node, path).map { SecretPolicy(name: $0) }
        }
        guard let fields = fields(node, path, known: ["name", "from", "env_file", "breaks"]) else { return nil }
        let name = required("name", in: fields, hint: Self.secretItemForms)
            .flatMap { secretName($0, fields.path("name")) }
        let breaks = text("breaks", in: fields)
        var source = SecretPolicy.Source.variable
        if let reference = secret("from", in: fields) { source = .reference(reference) }
        if let file = self.path("env_file", in: fields) {
            if fields["from"] != nil {
                report(
                    "'\(fields.path("from"))' and '\(fields.path("env_file"))' exclude each other",
                    at: fields.keyLocation("env_file"), hint: "Keep the one that has the value.")
            }
            source = .environmentFile(file)
        }
        return name.map { SecretPolicy(name: $0, source: source, breaks: breaks) }
    }

    /// The name of a variable. What looks like a value instead is never shown.
    private mutating func secretName(_ node: LocatedNode, _ path: String) -> String? {
        guard let name = text(node, path, "the name of a secret") else { return nil }
        guard Self.isEnvironmentName(name), name.utf8.count <= 128 else {
            report("'\(path)' is no name of an environment variable", at: node.location, hint: Self.secretItemForms)
            return nil
        }
        secretVariables.insert(name)
        return name
    }
}
