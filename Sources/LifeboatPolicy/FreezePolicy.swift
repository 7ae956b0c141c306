// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// How the writers of the stack are held while every store fixes its point in time.
package struct FreezePolicy: Sendable, Equatable {
    package static let usualLimit = 60.0

    package var method: FreezeMethod
    /// Names of services; nil: all that run but the servers of components.
    package var writers: [String]?
    /// Seconds after which the writers go on, whatever was done by then.
    package var limit: Double

    package init(method: FreezeMethod = .none, writers: [String]? = nil, limit: Double = usualLimit) {
        self.method = method
        self.writers = writers
        self.limit = limit
    }
}

extension PolicyReader {
    static let freezeKeys = ["freeze", "writers", "freeze_limit"]

    /// `freeze`, `writers` and `freeze_limit` out of `services`; `control` is what else was read there.
    mutating func freeze(_ fields: PolicyFields, _ control: ServiceControlPolicy?) -> FreezePolicy {
        let word = choice("freeze", in: fields, among: FreezeMethod.allCases.map(\.rawValue))
        let policy = FreezePolicy(
            method: word.flatMap { FreezeMethod(rawValue: $0) } ?? .none,
            writers: fields["writers"].map { writers($0, fields.path("writers")) },
            limit: duration("freeze_limit", in: fields) ?? FreezePolicy.usualLimit)
        guard policy.method != .none else {
            // A mistake in `freeze` was told already.
            guard fields["freeze"] == nil || word != nil else { return policy }
            for key in ["writers", "freeze_limit"] where fields[key] != nil {
                report(
                    "'\(fields.path(key))' has no effect: no writer is held", at: fields.keyLocation(key),
                    hint: "Add 'freeze: pause' or 'freeze: stop', or remove it.")
            }
            return policy
        }
        guard let control else {
            report(
                "'\(fields.path("freeze")): \(policy.method.rawValue)' needs services to hold",
                at: fields.keyLocation("freeze"),
                hint: "Say beside it how they are stopped and started, or write 'freeze: none'.")
            return policy
        }
        if case .commands(_, _, _, let pause, let unpause) = control {
            checkCommands(fields, policy, canPause: !pause.isEmpty && !unpause.isEmpty)
        }
        return policy
    }

    private mutating func checkCommands(_ fields: PolicyFields, _ policy: FreezePolicy, canPause: Bool) {
        if policy.method == .pause, !canPause {
            report(
                "'\(fields.path("freeze")): pause' needs commands that pause the services",
                at: fields.keyLocation("freeze"),
                hint: "Add 'pause' and 'unpause' to '\(fields.path("commands"))', or write 'freeze: stop'.")
        }
        if fields["writers"] != nil {
            report(
                "'\(fields.path("writers"))' cannot be told apart: commands hold all services at once",
                at: fields.keyLocation("writers"), hint: "Remove it, and let the commands hold what writes.")
        }
    }

    /// A server that is held answers nothing, and its store would wait for it inside the window. With Compose and systemd
    /// all that runs is held but the servers of components: those have to be known, or writers named.
    mutating func checkWriters(_ services: PolicyFields, _ policy: ServicesPolicy, _ components: [ComponentPolicy]) {
        guard policy.freeze.method != .none, policy.freeze.writers == nil else { return }
        switch policy.control {
        case nil, .commands: return
        case .compose, .systemd: break
        }
        let unknown = components.filter(\.store.hasUnknownServer).map { "'\($0.name)'" }
        guard !unknown.isEmpty else { return }
        report(
            "'\(services.path("freeze"))' needs 'writers': which services serve \(unknown.joined(separator: ", "))"
                + " is not known", at: services.keyLocation("freeze"),
            hint: "Name the services that write, beside 'freeze': writers: [api, worker].")
    }

    private mutating func writers(_ node: LocatedNode, _ path: String) -> [String] {
        let names = (list(node, path) ?? []).compactMap { text($0, path, "the name of a service") }
        if case .sequence(let items) = node.content, items.isEmpty {
            report(
                "'\(path)' is empty: no writer would be held", at: node.location,
                hint: "Name services, or remove it to hold all but the servers of components.")
        }
        return names
    }
}
