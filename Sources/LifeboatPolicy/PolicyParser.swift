// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// Reads policies.
package enum PolicyParser {
    /// The policy that `text` describes. `source` names the file in messages; `folder` (absolute) is where the file lies,
    /// and relative paths start.
    ///
    /// `targets`: values that count instead of those in the text.
    ///
    /// Pure: touches no file. Throws everything that is wrong at once, in the order of the file.
    package static func parse(
        _ text: String, source: String?, folder: String, targets: [PolicyTarget] = []
    ) throws(PolicyDiagnostics) -> Policy {
        let document = PolicyDocument(text)
        var diagnostics = document.diagnostics
        let targeted = document.root.map { TargetedDocument($0, targets) }
        diagnostics += targeted?.diagnostics ?? []
        if let root = targeted?.root {
            var reader = PolicyReader(folder: folder)
            let policy = reader.policy(root, text: text, source: source)
            diagnostics += reader.diagnostics
            if diagnostics.isEmpty, let policy { return policy }
        }
        // Stable: two findings at one place stay in the order they were made.
        let sorted = diagnostics.enumerated().sorted { left, right in
            (left.element.location, left.offset) < (right.element.location, right.offset)
        }
        throw PolicyDiagnostics(source: source, diagnostics: sorted.map(\.element), targets: targets.map(\.key))
    }
}

extension PolicyReader {
    private static let topLevelKeys = [
        "stack", "repository", "encryption", "services", "components", "health", "checks", "secrets", "retention",
        "objectives", "drill", "guard", "delta_cache", "project",
    ]
    private static let plannedKeys = [
        "notify": "Remove it, and let what runs lifeboat look at the exit code.",
        "schedule": "Remove it, and let cron or a systemd timer run lifeboat.",
    ]

    /// Nil only when something was reported.
    fileprivate mutating func policy(_ root: LocatedNode, text: String, source: String?) -> Policy? {
        guard let fields = fields(root, "", known: Self.topLevelKeys, planned: Self.plannedKeys) else { return nil }
        let stack = required("stack", in: fields, hint: "Name the stack: stack: my-stack.").flatMap {
            name($0, "stack")
        }
        let repository = required(
            "repository", in: fields, hint: "Say where snapshots go: repository: /var/backups/my-stack."
        ).flatMap { self.repository($0) }
        let encryption = encryption(fields)
        let services = fields["services"].flatMap { self.services($0) } ?? ServicesPolicy()
        let components =
            required("components", in: fields, hint: "Name at least one thing to protect.")
            .map { self.components($0, repository: repository) } ?? []
        if let node = fields["services"], case .mapping(let entries) = node.content {
            checkWriters(
                PolicyFields(path: "services", location: node.location, entries: entries), services,
                components.map(\.policy))
        }
        let health =
            fields["health"].map {
                self.health($0, databases: Self.databases(fields), hasContainers: Self.hasContainers(fields))
            } ?? []
        let checks = fields["checks"].map { self.checks($0, stores: Self.stores(fields)) } ?? []
        let secrets = fields["secrets"].map { self.secrets($0) } ?? []
        let retention = fields["retention"].flatMap { self.retention($0) }
        let objectives = fields["objectives"].map { self.objectives($0) } ?? ObjectivesPolicy()
        let drill = fields["drill"].map { self.drill($0, stores: Self.stores(fields)) } ?? DrillPolicy()
        let shrinkGuard = fields["guard"].map { self.shrinkGuard($0, components: Self.stores(fields).keys.sorted()) }
        let deltaCache = fields["delta_cache"].flatMap { self.deltaCache($0) }
        let capturesProject = bool("project", in: fields, default: true)
        guard let stack, let repository, let encryption else { return nil }
        return Policy(
            stack: stack, repository: repository, encryption: encryption, services: services,
            components: components.map(\.policy), health: health, checks: checks, secrets: secrets,
            retention: retention, objectives: objectives, drill: drill, shrinkGuard: shrinkGuard ?? GuardPolicy(),
            deltaCache: deltaCache, capturesProject: capturesProject, source: source, folder: folder, text: text,
            secretVariables: secretVariables)
    }

    /// Bytes; 0 for `none`.
    private mutating func deltaCache(_ node: LocatedNode) -> UInt64? {
        let key = "delta_cache"
        guard let text = text(node, key, "a size such as 20GiB, or none") else { return nil }
        if text == "none" { return 0 }
        guard let bytes = SizeText.bytes(text) else {
            report(
                "'\(key)' must be a size or 'none', not '\(Self.shortened(text))'", at: node.location,
                hint: "Write 'delta_cache: 20GiB' or 'delta_cache: none'.")
            return nil
        }
        return bytes
    }

    /// Names of the postgres components as they are written, so that a mistake in one is reported once.
    private static func databases(_ fields: PolicyFields) -> [String] {
        stores(fields).filter { $0.value == "postgres" }.keys.sorted()
    }

    /// The kind of each component as it is written.
    private static func stores(_ fields: PolicyFields) -> [String: String] {
        guard case .mapping(let components)? = fields["components"]?.content else { return [:] }
        var kinds: [String: String] = [:]
        for component in components {
            guard case .mapping(let stores) = component.value.content, let store = stores.first else { continue }
            kinds[component.key] = store.key
        }
        return kinds
    }

    /// Whether containers are controlled, as it is written.
    private static func hasContainers(_ fields: PolicyFields) -> Bool {
        guard case .mapping(let ways)? = fields["services"]?.content else { return false }
        return ways.contains { $0.key == "compose" }
    }

    private mutating func name(_ node: LocatedNode, _ path: String) -> String? {
        guard let text = text(node, path, "a name") else { return nil }
        guard Self.isName(text) else {
            report(
                "'\(path)' is no valid name: '\(Self.shortened(text))'", at: node.location, hint: Self.nameRule)
            return nil
        }
        return text
    }

    private mutating func repository(_ node: LocatedNode) -> String? {
        let s3Hint = "Use a local folder: repository: /var/backups/my-stack."
        if case .mapping = node.content {
            reportPlanned("a repository with keys of its own", at: node.location, hint: s3Hint)
            return nil
        }
        guard let text = text(node, "repository", "the path of a folder") else { return nil }
        if let scheme = text.firstRange(of: "://").map({ text[..<$0.lowerBound] }), !scheme.contains("/") {
            if scheme == "s3" {
                reportPlanned("a repository in S3", at: node.location, hint: s3Hint)
            } else {
                report(
                    "a repository is a folder, not a URL of kind '\(Self.shortened(String(scheme)))'",
                    at: node.location, hint: "Write the plain path: repository: /var/backups/my-stack.")
            }
            return nil
        }
        return path(node, "repository")
    }

    private static let encryptionHint =
        "Write 'encryption: {recipients: [age1…]}', 'encryption: {passphrase: {file: PATH}}' or 'encryption: none'."

    private mutating func encryption(_ fields: PolicyFields) -> EncryptionPolicy? {
        let hint = Self.encryptionHint
        guard let node = required("encryption", in: fields, hint: hint) else { return nil }
        switch node.content {
        case .scalar("none", _): return EncryptionPolicy.none
        case .mapping:
            guard let forms = self.fields(node, "encryption", known: ["recipients", "passphrase"]) else { return nil }
            guard forms.entries.count == 1 else {
                let problem = forms.entries.isEmpty ? "is empty" : "has recipients and a passphrase"
                report("'encryption' \(problem)", at: node.location, hint: hint)
                return nil
            }
            if let recipients = forms["recipients"] {
                return self.recipients(recipients, forms.path("recipients")).map(EncryptionPolicy.recipients)
            }
            return secret("passphrase", in: forms).map(EncryptionPolicy.passphrase)
        default:
            reportType(node, "encryption", "'none' or a mapping", hint: hint)
            return nil
        }
    }

    private mutating func recipients(_ node: LocatedNode, _ path: String) -> [String]? {
        guard let nodes = list(node, path) else { return nil }
        var recipients: [String] = []
        for node in nodes {
            guard let text = text(node, path, "an age recipient") else { return nil }
            guard text.hasPrefix("age1"), text.utf8.count == 62 else {
                report(
                    "'\(Self.shortened(text))' is not an age recipient", at: node.location,
                    hint: "Recipients start with age1 and have 62 characters; 'lifeboat key generate' makes one.")
                return nil
            }
            recipients.append(text)
        }
        guard !recipients.isEmpty else {
            report("'\(path)' is empty", at: node.location, hint: Self.encryptionHint)
            return nil
        }
        return recipients
    }

    private mutating func retention(_ node: LocatedNode) -> RetentionPolicy? {
        let rules = ["last", "hourly", "daily", "weekly", "monthly", "yearly"]
        let before = diagnostics.count
        guard let fields = fields(node, "retention", known: rules + ["within", "timezone"]) else { return nil }
        let counts = rules.map { integer($0, in: fields, 0...100_000) }
        let within = duration("within", in: fields)
        let timezone = timezone("timezone", in: fields)
        let keepsSomething = within != nil || counts.contains { ($0 ?? 0) > 0 }
        if diagnostics.count == before, !keepsSomething {
            report(
                "'retention' would keep nothing", at: node.location,
                hint: "Give one rule a number above 0, or remove 'retention' to keep every snapshot.")
        }
        return RetentionPolicy(
            last: counts[0], hourly: counts[1], daily: counts[2], weekly: counts[3], monthly: counts[4],
            yearly: counts[5], within: within, timezone: timezone)
    }

    /// A name of the tz database by its looks: whether this host has it shows when it is used.
    private mutating func timezone(_ key: String, in fields: PolicyFields) -> String? {
        guard let node = fields[key], let name = text(node, fields.path(key), "the name of a time zone") else {
            return nil
        }
        let isName = name.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { component in
            !component.isEmpty
                && component.utf8.allSatisfy { byte in
                    (65...90).contains(byte) || (97...122).contains(byte) || (48...57).contains(byte)
                        || [43, 45, 95].contains(byte)
                }
        }
        guard isName, name.utf8.count <= 64 else {
            report(
                "'\(fields.path(key))' is no name of a time zone: '\(Self.shortened(name))'", at: node.location,
                hint: "Write it like Europe/Berlin or UTC.")
            return nil
        }
        return name
    }

    private mutating func objectives(_ node: LocatedNode) -> ObjectivesPolicy {
        guard let fields = fields(node, "objectives", known: ["rto", "rpo"]) else { return ObjectivesPolicy() }
        return ObjectivesPolicy(rto: duration("rto", in: fields), rpo: duration("rpo", in: fields))
    }

    private mutating func services(_ node: LocatedNode) -> ServicesPolicy? {
        guard let fields = fields(node, "services", known: Self.controlKeys + Self.freezeKeys) else { return nil }
        let control = control(fields)
        return ServicesPolicy(control: control, freeze: freeze(fields, control))
    }
}
