// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

extension PolicyReader {
    /// Each question with the keys it allows beside `name`, `within`, `interval` and `consecutive`.
    private static let questions: [(key: String, details: [String])] = [
        ("http", ["status", "field", "equals"]), ("tcp", []), ("container", []), ("command", []),
        ("postgres", ["sql", "equals"]),
    ]
    private static let commonKeys = ["name", "within", "interval", "consecutive"]

    /// `databases`: names of postgres components; `hasContainers`: services are those of a Compose project.
    mutating func health(_ node: LocatedNode, databases: [String], hasContainers: Bool) -> [HealthProbePolicy] {
        (list(node, "health") ?? []).enumerated().compactMap { index, item in
            probe(item, "health[\(index)]", databases: databases, hasContainers: hasContainers)
        }
    }

    private mutating func probe(
        _ node: LocatedNode, _ path: String, databases: [String], hasContainers: Bool
    ) -> HealthProbePolicy? {
        let kinds = Self.questions.map(\.key)
        guard let entries = entries(node, path) else { return nil }
        let asked = Self.questions.filter { question in entries.contains { $0.key == question.key } }
        guard asked.count == 1 else {
            let known = kinds + Self.commonKeys + Set(Self.questions.flatMap(\.details)).sorted()
            for entry in entries where asked.isEmpty && !known.contains(entry.key) {
                reportUnknown("key", entry.key, in: path, at: entry.location, among: known)
            }
            report(
                "'\(path)' must ask exactly one question", at: node.location,
                hint:
                    "Write one of \(kinds.joined(separator: ", ")): {http: \"http://127.0.0.1:8080/health\", within: 90s}."
            )
            return nil
        }
        guard let fields = fields(node, path, known: [asked[0].key] + asked[0].details + Self.commonKeys) else {
            return nil
        }
        let name = text("name", in: fields)
        let within = duration("within", in: fields) ?? 60
        let interval = duration("interval", in: fields) ?? 1
        let consecutive = integer("consecutive", in: fields, 1...1000) ?? 1
        if Double(consecutive - 1) * interval >= within {
            report(
                "'\(path)' can never pass: \(consecutive) passes do not fit into its time", at: node.location,
                hint: "Raise 'within', or lower 'interval' or 'consecutive'.")
        }
        let question: HealthProbePolicy.Question?
        switch asked[0].key {
        case "http": question = http(fields)
        case "tcp": question = tcp(fields)
        case "container": question = container(fields, hasContainers: hasContainers)
        case "command": question = command("command", in: fields).map { .command($0) }
        default: question = postgres(fields, databases: databases)
        }
        return question.map {
            HealthProbePolicy(
                name: name, question: $0, within: within, interval: interval, consecutive: consecutive)
        }
    }

    private mutating func command(_ key: String, in fields: PolicyFields) -> [String]? {
        fields[key].flatMap { command($0, fields.path(key)) }
    }

    private mutating func http(_ fields: PolicyFields) -> HealthProbePolicy.Question? {
        let status = integer("status", in: fields, 100...599) ?? 200
        let field = fields["field"].flatMap { jsonPath($0, fields.path("field")) }
        let equals = value("equals", in: fields)
        if (fields["field"] == nil) != (fields["equals"] == nil) {
            report(
                "'\(fields.path)' needs both 'field' and 'equals', or neither", at: fields.location,
                hint: "'field' is a path into the JSON answer, such as status or checks[0].ok.")
        }
        guard let url = fields["http"].flatMap({ httpAddress($0, fields.path("http")) }) else { return nil }
        return .http(url: url, status: status, field: field, equals: equals)
    }

    /// A path into the JSON of an answer.
    mutating func jsonPath(_ node: LocatedNode, _ path: String) -> String? {
        guard let field = text(node, path) else { return nil }
        guard Self.isFieldPath(field) else {
            report(
                "'\(path)' is no path into JSON: '\(Self.shortened(field))'", at: node.location,
                hint: "Write names parted by dots and indexes in brackets: status, checks[0].ok.")
            return nil
        }
        return field
    }

    /// An http or https URL without a login.
    mutating func httpAddress(_ node: LocatedNode, _ path: String) -> String? {
        guard let url = text(node, path, "a URL") else { return nil }
        guard let authority = Self.authority(of: url) else {
            report(
                "'\(path)' must be an http:// or https:// URL with a host", at: node.location,
                hint: "Write it like http://127.0.0.1:8080/health.")
            return nil
        }
        guard !authority.contains("@") else {
            report(
                "'\(path)' holds a user or password, which a policy must not hold", at: node.location,
                hint: "Ask a path that needs no login, or use a command that fetches the secret itself.")
            return nil
        }
        return url
    }

    /// Host and port, with what stands before them; nil for what is no HTTP URL.
    static func authority(of url: String) -> Substring? {
        for scheme in ["http://", "https://"] where url.lowercased().hasPrefix(scheme) {
            let rest = url.dropFirst(scheme.count)
            let authority = rest.prefix { !"/?#".contains($0) }
            let clean = url.unicodeScalars.allSatisfy { $0.value > 32 && $0.value != 127 }
            return authority.isEmpty || authority.hasPrefix(":") || !clean ? nil : authority
        }
        return nil
    }

    /// `a.b[0].c`, each name at least one character.
    static func isFieldPath(_ text: String) -> Bool {
        text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { piece in
            let name = piece.prefix { $0 != "[" }
            var rest = piece.dropFirst(name.count)
            if name.isEmpty && rest.isEmpty { return false }
            while !rest.isEmpty {
                guard rest.first == "[", let end = rest.firstIndex(of: "]") else { return false }
                let index = rest[rest.index(after: rest.startIndex)..<end]
                guard (1...6).contains(index.utf8.count), index.utf8.allSatisfy({ (48...57).contains($0) }) else {
                    return false
                }
                rest = rest[rest.index(after: end)...]
            }
            return true
        }
    }

    private mutating func tcp(_ fields: PolicyFields) -> HealthProbePolicy.Question? {
        guard let node = fields["tcp"], let text = text(node, fields.path("tcp"), "HOST:PORT") else { return nil }
        guard let colon = text.lastIndex(of: ":") else { return invalidAddress(node, fields) }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return invalidAddress(node, fields)
        }
        let digits = text[text.index(after: colon)...]
        guard !host.isEmpty, !host.contains(where: { $0.isWhitespace || $0 == "/" }), digits.utf8.count <= 5,
            digits.utf8.allSatisfy({ (48...57).contains($0) }), let port = Int(digits), (1...65_535).contains(port)
        else { return invalidAddress(node, fields) }
        return .tcp(host: String(host), port: port)
    }

    private mutating func container(_ fields: PolicyFields, hasContainers: Bool) -> HealthProbePolicy.Question? {
        let path = fields.path("container")
        guard let node = fields["container"], let name = text(node, path, "the name of a service") else { return nil }
        guard hasContainers else {
            report(
                "'\(path)' needs services of a Compose project", at: node.location,
                hint: "Add services.compose, or ask another question.")
            return nil
        }
        guard Self.isService(name) else {
            report("'\(path)': '\(Self.shortened(name))' is not the name of a service", at: node.location)
            return nil
        }
        return .container(service: name)
    }

    private mutating func invalidAddress(_ node: LocatedNode, _ fields: PolicyFields) -> HealthProbePolicy.Question? {
        report(
            "'\(fields.path("tcp"))' must be HOST:PORT", at: node.location,
            hint: "Write it like 127.0.0.1:5432 or \"[::1]:5432\".")
        return nil
    }

    private mutating func postgres(
        _ fields: PolicyFields, databases: [String]
    ) -> HealthProbePolicy.Question? {
        let sql = fields["sql"] == nil ? "select 1" : text("sql", in: fields)
        let equals = value("equals", in: fields)
        guard let node = fields["postgres"],
            let component = text(node, fields.path("postgres"), "the name of a postgres component")
        else { return nil }
        guard databases.contains(component) else {
            let nearest = NearestWord.nearest(to: component, among: databases)
            report(
                "'\(fields.path("postgres"))' names no postgres component: '\(Self.shortened(component))'",
                at: node.location,
                hint: nearest.map { "Did you mean '\($0)'?" } ?? "Name one of 'components' that is a postgres database."
            )
            return nil
        }
        return sql.map { .postgres(component: component, sql: $0, equals: equals) }
    }

    /// Text to compare with; an empty text is a value too.
    private mutating func value(_ key: String, in fields: PolicyFields) -> String? {
        guard let node = fields[key] else { return nil }
        guard case .scalar(let text, let plain) = node.content, !(plain && text.isEmpty) else {
            reportType(node, fields.path(key), "a single value")
            return nil
        }
        return text
    }
}
