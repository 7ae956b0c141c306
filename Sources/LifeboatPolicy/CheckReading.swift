// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// `checks`: what must hold between numbers out of several stores.
extension PolicyReader {
    private static let rules = ["equal", "at_least", "within"]
    /// The question a key asks, and the stores that answer it.
    private static let questions: [(key: String, stores: [String])] = [
        ("sql", ["postgres", "sqlite"]), ("points", ["qdrant", "chroma"]), ("keys", ["redis"]),
        ("files", ["volume", "models"]),
    ]
    private static let valueForms =
        "Write a number, {component: NAME, sql: \"select count(*) …\"}, {component: NAME, points: COLLECTION},"
        + " {component: NAME, keys: DATABASE}, {component: NAME, files: PATTERN} or {http: URL, field: PATH}."

    /// `stores`: the kind of each component by name, as it is written.
    mutating func checks(_ node: LocatedNode, stores: [String: String]) -> [StackCheck] {
        var names: Set<String> = []
        return (list(node, "checks") ?? []).enumerated().compactMap { index, item in
            let path = "checks[\(index)]"
            guard let fields = fields(item, path, known: ["name"] + Self.rules) else { return nil }
            let name = required("name", in: fields, hint: "Say in a few words what must hold.")
                .flatMap { text($0, fields.path("name")) }
            if let name, !names.insert(name).inserted {
                report(
                    "a check is already called '\(Self.shortened(name))'", at: fields.keyLocation("name"),
                    hint: "Verdicts are told by name: give it another one.")
            }
            let asked = Self.rules.filter { fields[$0] != nil }
            guard asked.count == 1, let word = asked.first, let values = fields[word] else {
                report(
                    "'\(path)' must have exactly one rule", at: item.location,
                    hint: "Write one of equal: [A, B], at_least: [A, B], within: {percent: 1, of: [A, B]}.")
                return nil
            }
            let check = check(name ?? "", word, values, fields.path(word), stores)
            return name == nil ? nil : check
        }
    }

    private mutating func check(
        _ name: String, _ word: String, _ node: LocatedNode, _ path: String, _ stores: [String: String]
    ) -> StackCheck? {
        switch word {
        case "equal":
            return values(node, path, stores).map { StackCheck(name: name, rule: .equal, values: $0) }
        case "at_least":
            return values(node, path, stores).map { StackCheck(name: name, rule: .atLeast, values: $0) }
        default:
            guard let forms = fields(node, path, known: ["percent", "of"]) else { return nil }
            let percent = required("percent", in: forms).flatMap { self.percent($0, forms.path("percent")) }
            let values = required("of", in: forms).flatMap { self.values($0, forms.path("of"), stores) }
            guard let percent, let values else { return nil }
            return StackCheck(name: name, rule: .within(percent: percent), values: values)
        }
    }

    private mutating func percent(_ node: LocatedNode, _ path: String) -> Double? {
        guard let text = text(node, path, "a number from 0 to 100") else { return nil }
        guard let number = Self.number(text), (0...100).contains(number) else {
            report(
                "'\(path)' must be a number from 0 to 100, not '\(Self.shortened(text))'", at: node.location)
            return nil
        }
        return number
    }

    private mutating func values(
        _ node: LocatedNode, _ path: String, _ stores: [String: String]
    ) -> [CheckValue]? {
        guard let items = list(node, path) else { return nil }
        guard items.count >= 2 else {
            report("'\(path)' needs two values at least", at: node.location, hint: Self.valueForms)
            return nil
        }
        let values = items.enumerated().compactMap { value($1, "\(path)[\($0)]", stores) }
        guard values.count == items.count else { return nil }
        let areNumbers = values.allSatisfy { value in
            if case .number = value { return true }
            return false
        }
        if areNumbers {
            report("'\(path)' compares numbers only, and asks nothing", at: node.location, hint: Self.valueForms)
            return nil
        }
        return values
    }

    private mutating func value(_ node: LocatedNode, _ path: String, _ stores: [String: String]) -> CheckValue? {
        switch node.content {
        case .scalar(let text, plain: true) where !node.isNull:
            if let number = Self.number(text) { return .number(number) }
            report(
                "'\(path)' is neither a number nor a question: '\(Self.shortened(text))'", at: node.location,
                hint: Self.valueForms)
            return nil
        case .mapping(let entries) where entries.contains(where: { $0.key == "http" || $0.key == "field" }):
            guard let fields = fields(node, path, known: ["http", "field"]) else { return nil }
            let url = required("http", in: fields).flatMap { httpAddress($0, fields.path("http")) }
            let field = required("field", in: fields, hint: "'field' is a path into the JSON answer: stats.documents.")
                .flatMap { jsonPath($0, fields.path("field")) }
            guard let url, let field else { return nil }
            return .http(url: url, field: field)
        case .mapping: return componentValue(node, path, stores)
        default:
            reportType(node, path, "a number or a question", hint: Self.valueForms)
            return nil
        }
    }

    private mutating func componentValue(
        _ node: LocatedNode, _ path: String, _ stores: [String: String]
    ) -> CheckValue? {
        let keys = Self.questions.map(\.key)
        guard let fields = fields(node, path, known: ["component"] + keys) else { return nil }
        let asked = Self.questions.filter { fields[$0.key] != nil }
        guard asked.count == 1, let question = asked.first, let argument = fields[question.key] else {
            report("'\(path)' must ask exactly one question", at: node.location, hint: Self.valueForms)
            return nil
        }
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
        guard question.stores.contains(store) else {
            let known = Self.questions.filter { $0.stores.contains(store) }.map(\.key)
            report(
                "'\(component)' is a \(store), which has no '\(question.key)'", at: fields.keyLocation(question.key),
                hint: known.isEmpty
                    ? "A \(store) gives no numbers to compare." : "Ask for \(known.joined(separator: " or ")).")
            return nil
        }
        return self.question(question.key, argument, fields).map { .component(component, $0) }
    }

    private mutating func question(_ key: String, _ node: LocatedNode, _ fields: PolicyFields) -> CheckQuestion? {
        let path = fields.path(key)
        switch key {
        case "sql": return text(node, path, "a query").map { .sql($0) }
        case "points": return text(node, path, "the name of a collection").map { .points($0) }
        case "keys": return integer(key, in: fields, 0...9999).map { .keys($0) }
        default: return text(node, path, "a pattern such as \"*.pdf\"").map { .files($0) }
        }
    }

    /// A plain number, not `nan`, `0x10` or `1e400`.
    private static func number(_ text: String) -> Double? {
        let isPlain = text.utf8.allSatisfy { (48...57).contains($0) || [43, 45, 46, 69, 101].contains($0) }
        guard isPlain, text.utf8.contains(where: { (48...57).contains($0) }), let number = Double(text),
            number.isFinite
        else { return nil }
        return number
    }
}
