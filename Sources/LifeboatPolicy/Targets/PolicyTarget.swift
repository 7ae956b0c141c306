// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// A value that counts for one restore instead of the policy's, so that the data goes elsewhere: `database.host=10.0.0.5`.
///
/// The key is the name of a component and the policy's words below its store; for services and health it begins with
/// those words: `services.compose.project`, `health.0.http`. An empty value takes the key away.
package struct PolicyTarget: Sendable, Equatable {
    package let key: String
    package let value: String

    package init(key: String, value: String) {
        self.key = key
        self.value = value
    }

    /// Reads `KEY=VALUE`. Throws what is no such text, and what would put a secret on a command line.
    package init(_ text: String) throws(LifeboatError) {
        guard let sign = text.firstIndex(of: "=") else {
            throw LifeboatError("'\(text)' is no target", hint: Self.form, exitCode: .usage)
        }
        key = String(text[..<sign])
        value = String(text[text.index(after: sign)...])
        let words = words
        guard words.count >= 2, words.allSatisfy({ !$0.isEmpty }) else {
            throw LifeboatError("'\(key)' is no key of a target", hint: Self.form, exitCode: .usage)
        }
        let last = words[words.count - 1]
        guard Self.isSecret(last) || words.dropLast().last == "environment" else { return }
        throw LifeboatError(
            "'\(key)' is a secret, which must not be on a command line",
            causes: ["every user of this host can read it there"],
            hint:
                "Say where it is with --target \(key).env=VARIABLE or \(key).file=PATH, or use a policy of the target.",
            exitCode: .usage)
    }

    private static let form = "Write it as COMPONENT.KEY=VALUE: --target database.host=10.0.0.5."

    var words: [String] { key.split(separator: ".", omittingEmptySubsequences: false).map(String.init) }

    /// A key whose value says where a secret is.
    static func isSecret(_ key: String) -> Bool { ["password", "api_key", "token", "passphrase"].contains(key) }
}

extension Policy {
    /// Words a target may begin with besides names of components.
    static let targetSections = ["services", "health"]

    /// The same policy with these values. Throws what is wrong with them, as for the policy itself.
    package func aimed(at targets: [PolicyTarget]) throws(PolicyDiagnostics) -> Policy {
        try PolicyParser.parse(text, source: source, folder: folder, targets: targets)
    }

    /// Components of this policy whose data is in another place than that of `other` says, by name.
    package func componentsElsewhere(than other: Policy) -> Set<String> {
        Set(
            components.filter { component in
                other.components.first { $0.name == component.name }?.store.place != component.store.place
                    || component.store.isServiceOfStack && services.control != other.services.control
            }.map(\.name))
    }

    /// Whether services or health are among the targets.
    package static func concernsServices(_ targets: [PolicyTarget]) -> Bool {
        targets.contains { target in target.words.first.map(targetSections.contains) ?? false }
    }
}

extension StorePolicy {
    /// Where its data lives; equal for two that share it.
    fileprivate var place: String {
        switch self {
        case .volume(let volume): volume.path
        case .sqlite(let sqlite): sqlite.path
        case .models(let models): models.path
        case .command(let command): (command.capture + ["\n"] + (command.restore ?? [])).joined(separator: " ")
        case .redis(let redis): "\(redis.address) \(redis.data ?? "")"
        case .qdrant(let qdrant): "\(qdrant.url) \(Self.text(qdrant.container))"
        case .chroma(let chroma):
            chroma.path
                ?? chroma.server.map { "\($0.url) \(Self.text($0.container)) \($0.tenant) \($0.database ?? "*")" } ?? ""
        case .postgres(let postgres):
            "\(postgres.host ?? "") \(postgres.port ?? 5432) \(Self.text(postgres.container)) \(postgres.databases)"
        }
    }

    private static func text(_ container: ContainerPolicy?) -> String { container?.address ?? "" }

    /// Whether its server is a service of the stack's own Compose project.
    fileprivate var isServiceOfStack: Bool {
        if case .service(_, nil)? = container { return true }
        return false
    }
}
