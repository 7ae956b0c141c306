// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// How drills of the stack are run.
package struct DrillPolicy: Sendable, Equatable {
    /// Where the stack is brought up.
    package enum Sandbox: String, Sendable, CaseIterable {
        /// Throw-away engines of this host.
        case engines
        /// The stack's own Compose project under another name.
        case compose
    }

    /// Nil: what the command line says, else `Policy.usualSandbox`.
    package var sandbox: Sandbox?
    /// Below this folder sandboxes are made; nil: `/var/tmp`.
    package var folder: String?
    /// Percent of files, tables and collections that a drill takes unless it is told otherwise; nil: all.
    package var sample: Double?
    package var probes: [DrillProbePolicy]

    package init(
        sandbox: Sandbox? = nil, folder: String? = nil, sample: Double? = nil, probes: [DrillProbePolicy] = []
    ) {
        self.sandbox = sandbox
        self.folder = folder
        self.sample = sample
        self.probes = probes
    }
}

extension Policy {
    /// The sandbox of a drill when nobody names one: the stack's own containers, where every server is one of them.
    package var usualSandbox: DrillPolicy.Sandbox {
        guard case .compose? = services.control, !components.contains(where: { $0.store.hasUnknownServer })
        else { return .engines }
        return .compose
    }
}

extension DrillPolicy {
    /// Percent that a share such as `10%` means: more than 0, at most 100; nil for anything else.
    package static func percent(_ text: String) -> Double? {
        let number = text.hasSuffix("%") ? String(text.dropLast()) : text
        guard let percent = Double(number), percent > 0, percent <= 100 else { return nil }
        return percent
    }
}

/// A question asked of the stack once a drill has brought it up.
package struct DrillProbePolicy: Sendable, Equatable {
    package enum Question: Sendable, Equatable {
        /// GET answers with this status; `field`, when given, equals the value. `{NAME}` in the URL stands for host and
        /// port of that component in the sandbox.
        case http(url: String, status: Int, field: String?, equals: String?)
        /// One row, whose first column equals the value; without a value anything but an error and no row will do.
        case sql(component: String, sql: String, equals: String?)
        /// A command of Redis and what it answers.
        case redis(component: String, words: [String], equals: String?)
        /// Stored vectors of a collection find their stored neighbours.
        case neighbours(component: String, collection: String)
        /// Exit status 0, and the first line of output when a value is given.
        case command([String], equals: String?)
    }

    package var name: String?
    package var question: Question
    /// Seconds until an answer is given up.
    package var within: Double

    package init(name: String? = nil, question: Question, within: Double = 60) {
        self.name = name
        self.question = question
        self.within = within
    }

    /// The component it asks.
    package var component: String? {
        switch question {
        case .http, .command: nil
        case .sql(let component, _, _), .redis(let component, _, _), .neighbours(let component, _): component
        }
    }
}

extension PolicyReader {
    private static let drillQuestions: [(key: String, details: [String], stores: [String])] = [
        ("http", ["status", "field", "equals"], []), ("sql", ["component", "equals"], ["postgres", "sqlite"]),
        ("redis", ["component", "equals"], ["redis"]), ("neighbours", ["component"], ["chroma", "qdrant"]),
        ("command", ["equals"], []),
    ]
    private static let probeForms =
        "Write one of {http: URL}, {component: NAME, sql: \"select …\"}, {component: NAME, redis: \"llen jobs\"},"
        + " {component: NAME, neighbours: COLLECTION} or {command: [PROGRAM, ARGUMENT]}."

    /// `stores`: the kind of each component by name, as it is written.
    mutating func drill(_ node: LocatedNode, stores: [String: String]) -> DrillPolicy {
        guard let fields = fields(node, "drill", known: ["sandbox", "folder", "sample", "probes"]) else {
            return DrillPolicy()
        }
        let sandbox = choice("sandbox", in: fields, among: DrillPolicy.Sandbox.allCases.map(\.rawValue))
        let probes = (fields["probes"].flatMap { list($0, fields.path("probes")) } ?? []).enumerated().compactMap {
            index, item in
            drillProbe(item, "drill.probes[\(index)]", stores)
        }
        return DrillPolicy(
            sandbox: sandbox.flatMap { DrillPolicy.Sandbox(rawValue: $0) }, folder: path("folder", in: fields),
            sample: sample(fields), probes: probes)
    }

    private mutating func sample(_ fields: PolicyFields) -> Double? {
        guard let node = fields["sample"], let text = text(node, fields.path("sample"), "a share such as 10%") else {
            return nil
        }
        guard text.hasSuffix("%"), let percent = DrillPolicy.percent(text) else {
            report(
                "'\(fields.path("sample"))' must be a share of more than 0% and at most 100%, not"
                    + " '\(Self.shortened(text))'", at: node.location, hint: "Write it like 10%.")
            return nil
        }
        return percent < 100 ? percent : nil
    }

    private mutating func drillProbe(
        _ node: LocatedNode, _ path: String, _ stores: [String: String]
    ) -> DrillProbePolicy? {
        guard let entries = entries(node, path) else { return nil }
        let asked = Self.drillQuestions.filter { question in entries.contains { $0.key == question.key } }
        guard asked.count == 1 else {
            report("'\(path)' must ask exactly one question", at: node.location, hint: Self.probeForms)
            return nil
        }
        guard let fields = fields(node, path, known: [asked[0].key] + asked[0].details + ["name", "within"]) else {
            return nil
        }
        let name = text("name", in: fields)
        let within = duration("within", in: fields) ?? 60
        guard let question = drillQuestion(asked[0].key, asked[0].stores, fields, stores) else { return nil }
        return DrillProbePolicy(name: name, question: question, within: within)
    }

    private mutating func drillQuestion(
        _ key: String, _ kinds: [String], _ fields: PolicyFields, _ stores: [String: String]
    ) -> DrillProbePolicy.Question? {
        let equals = fields["equals"].flatMap { text($0, fields.path("equals"), "a single value") }
        guard let node = fields[key] else { return nil }
        let path = fields.path(key)
        switch key {
        case "http":
            let status = integer("status", in: fields, 100...599) ?? 200
            let field = fields["field"].flatMap { jsonPath($0, fields.path("field")) }
            return httpAddress(node, path).map { .http(url: $0, status: status, field: field, equals: equals) }
        case "command":
            return command(node, path).map { .command($0, equals: equals) }
        default: break
        }
        guard let component = asked(kinds, key, fields, stores) else { return nil }
        switch key {
        case "sql": return text(node, path, "a query").map { .sql(component: component, sql: $0, equals: equals) }
        case "redis":
            return command(node, path).map { .redis(component: component, words: $0, equals: equals) }
        default:
            return text(node, path, "the name of a collection").map {
                .neighbours(component: component, collection: $0)
            }
        }
    }

    /// The component a probe names, of one of these kinds.
    private mutating func asked(
        _ kinds: [String], _ key: String, _ fields: PolicyFields, _ stores: [String: String]
    ) -> String? {
        guard
            let place = required("component", in: fields),
            let component = text(place, fields.path("component"), "the name of a component")
        else { return nil }
        guard let store = stores[component] else {
            let nearest = NearestWord.nearest(to: component, among: stores.keys.sorted())
            report(
                "'\(fields.path("component"))' names no component: '\(Self.shortened(component))'",
                at: place.location,
                hint: nearest.map { "Did you mean '\($0)'?" } ?? "Name one of 'components'.")
            return nil
        }
        guard kinds.contains(store) else {
            report(
                "'\(component)' is a \(store), which has no '\(key)'", at: fields.keyLocation(key),
                hint: "Ask a component that is a \(kinds.joined(separator: " or ")).")
            return nil
        }
        return component
    }
}
