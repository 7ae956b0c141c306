// SPDX-License-Identifier: Apache-2.0

import Yams

/// One YAML value with its place in the text. Scalars keep their text: what they mean is for the key to say, so `no`
/// as a stack name stays `no`.
struct LocatedNode: Equatable {
    struct Entry: Equatable {
        var key: String
        var location: SourceLocation
        var value: LocatedNode
    }

    enum Content: Equatable {
        /// `plain`: not quoted, so an empty text, `~` and `null` mean "no value".
        case scalar(String, plain: Bool)
        case sequence([LocatedNode])
        case mapping([Entry])
    }

    var location: SourceLocation
    var content: Content

    var isNull: Bool {
        guard case .scalar(let text, plain: true) = content else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }

    /// For messages: `a list`, `a mapping` …
    var kind: String {
        switch content {
        case .scalar: isNull ? "nothing" : "text"
        case .sequence: "a list"
        case .mapping: "a mapping"
        }
    }
}

/// Turns YAML text into located nodes, and everything wrong with it as YAML into diagnostics.
///
/// Bounded on hostile text: at most 1 MiB, no aliases (so no text that unfolds to more than itself), 32 levels.
struct PolicyDocument {
    static let maximumBytes = 1 << 20
    static let maximumDepth = 32

    /// Nil when the text cannot be read at all; then `diagnostics` says why.
    let root: LocatedNode?
    /// Duplicate keys and the like; in no particular order.
    let diagnostics: [PolicyDiagnostic]

    init(_ text: String) {
        // The library's nodes are made, read and freed there: freeing recurses too.
        let built = DeepStack.run { () -> (LocatedNode?, [PolicyDiagnostic]) in
            var builder = Builder()
            let root = builder.build(text)
            return (root, builder.diagnostics)
        }
        let start = SourceLocation(line: 1, column: 1)
        (root, diagnostics) =
            built ?? (nil, [PolicyDiagnostic("the policy cannot be read: no thread can be started", at: start)])
    }

    private struct Builder {
        var diagnostics: [PolicyDiagnostic] = []
        /// Marks put behind duplicate keys, so that the YAML library, which stops at the first, reads on.
        var insertions: [DuplicateMark] = []

        mutating func build(_ original: String) -> LocatedNode? {
            let start = SourceLocation(line: 1, column: 1)
            guard original.utf8.count < PolicyDocument.maximumBytes else {
                report(
                    "the policy is \(original.utf8.count) bytes long; the limit is 1 MiB", at: start,
                    hint: "A policy is a page of text: is this the right file?")
                return nil
            }
            // A byte order mark says nothing here: the text is decoded already.
            var text =
                original.unicodeScalars.first == "\u{FEFF}" ? String(original.unicodeScalars.dropFirst()) : original
            // Each round marks one more duplicate key; a page has few of them.
            for _ in 0..<64 {
                do {
                    // Without anchors every alias is an error, found before the library follows any: a few lines of
                    // aliases of aliases would take it hours and gigabytes.
                    if text.utf8.contains(UInt8(ascii: "*")) { _ = try compose(maskingAnchors(text)) }
                    guard let node = try compose(text) else {
                        report("the policy is empty", at: start, hint: "Run 'lifeboat init' for a starter policy.")
                        return nil
                    }
                    return convert(node, depth: 0)
                } catch YamlError.duplicatedKeysInMapping(let keys, let context) {
                    let found = SourceLocation(line: context.mark.line, column: context.mark.column)
                    guard let key = keys.first, let mark = DuplicateMark(key, at: found, in: text, insertions.count)
                    else {
                        report("a key is written twice", at: mapBack(found), hint: "Keep one of the two.")
                        return nil
                    }
                    text = mark.applied(to: text)
                    insertions.append(mark)
                } catch let error as YamlError {
                    report(error)
                    return nil
                } catch {
                    report("the policy is not YAML: \(error)", at: start)
                    return nil
                }
            }
            report("the policy has too many duplicate keys", at: start)
            return nil
        }

        private func compose(_ text: String) throws -> Node? {
            try Parser(yaml: text, resolver: .basic, encoding: .utf8).singleRoot()
        }

        /// An anchor becomes a tag, which may stand at the same places and has the same length.
        private func maskingAnchors(_ text: String) -> String {
            String(decoding: text.utf8.map { $0 == UInt8(ascii: "&") ? UInt8(ascii: "!") : $0 }, as: UTF8.self)
        }

        private mutating func convert(_ node: Node, depth: Int) -> LocatedNode? {
            let location = node.mark.map { mapBack(SourceLocation(line: $0.line, column: $0.column)) }
            let place = location ?? SourceLocation(line: 1, column: 1)
            guard depth < PolicyDocument.maximumDepth else {
                report("values are nested more than \(PolicyDocument.maximumDepth) levels deep", at: place)
                return nil
            }
            switch node {
            case .scalar(let scalar):
                checkTag(scalar.tag.rawValue, allowed: ["tag:yaml.org,2002:str"], at: place)
                let plain = scalar.style == .plain && scalar.tag.rawValue != "tag:yaml.org,2002:str"
                return LocatedNode(location: place, content: .scalar(scalar.string, plain: plain))
            case .sequence(let sequence):
                checkTag(sequence.tag.rawValue, allowed: ["tag:yaml.org,2002:seq"], at: place)
                return LocatedNode(
                    location: place, content: .sequence(sequence.compactMap { convert($0, depth: depth + 1) }))
            case .mapping(let mapping):
                checkTag(mapping.tag.rawValue, allowed: ["tag:yaml.org,2002:map"], at: place)
                return LocatedNode(location: place, content: .mapping(entries(mapping, depth: depth)))
            case .alias:
                // The parser resolves aliases and we refused them before: kept for a library that changes its mind.
                reportAlias(at: place)
                return nil
            }
        }

        private mutating func entries(_ mapping: Node.Mapping, depth: Int) -> [LocatedNode.Entry] {
            var entries: [LocatedNode.Entry] = []
            for (keyNode, valueNode) in mapping {
                let mark = keyNode.mark
                let place = mapBack(SourceLocation(line: mark?.line ?? 1, column: mark?.column ?? 1))
                guard case .scalar(let scalar) = keyNode else {
                    report("a key must be a word", at: place)
                    continue
                }
                guard let value = convert(valueNode, depth: depth + 1) else { continue }
                entries.append(LocatedNode.Entry(key: scalar.string, location: place, value: value))
            }
            // Of keys written twice the last one keeps its name; the marked ones before it are reported and dropped.
            func realKey(_ key: String) -> String { insertions.first { $0.markedKey == key }?.key ?? key }
            return entries.enumerated().filter { index, entry in
                guard let mark = insertions.first(where: { $0.markedKey == entry.key }) else { return true }
                let later = entries[(index + 1)...].first { realKey($0.key) == mark.key }
                report(
                    "duplicate key '\(mark.key)'", at: later?.location ?? entry.location,
                    hint: "It is already given in line \(entry.location.line): keep one of the two.")
                return false
            }.map(\.element)
        }

        private mutating func checkTag(_ tag: String, allowed: [String], at location: SourceLocation) {
            guard !tag.isEmpty, tag != "!", !allowed.contains(tag) else { return }
            report("tags (!name) are not supported in a policy", at: location, hint: "Write the plain value.")
        }

        private mutating func report(_ error: YamlError) {
            switch error {
            case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _):
                let place = mapBack(SourceLocation(line: mark.line, column: mark.column))
                report("not valid YAML: \(Self.lowered(problem))", at: place, hint: Self.hint(problem))
            case .composer(_, let problem, let mark, _):
                let place = mapBack(SourceLocation(line: mark.line, column: mark.column))
                if problem.hasPrefix("found undefined alias") {
                    reportAlias(at: place)
                } else {
                    report(
                        "a policy is one YAML document, and a second one begins here", at: place,
                        hint: "Remove the line '---' and what follows it, or give it a file of its own.")
                }
            case .reader(let problem, let offset, _, let yaml):
                report(
                    "not valid YAML: \(Self.lowered(problem))", at: mapBack(Self.location(of: offset ?? 0, in: yaml)))
            default:
                report(
                    "not valid YAML: the text cannot be read", at: SourceLocation(line: 1, column: 1),
                    hint: "Is it nested very deeply?")
            }
        }

        private mutating func reportAlias(at location: SourceLocation) {
            report(
                "aliases (*name) are not supported in a policy", at: location,
                hint: "Write the value out; quote text that begins with '*', as in \"*.tmp\".")
        }

        private static func lowered(_ problem: String) -> String {
            problem.prefix(1).lowercased() + problem.dropFirst()
        }

        private static func hint(_ problem: String) -> String? {
            // Texts of libyaml's scanner and parser; only the hint rests on them.
            switch problem {
            case "found a tab character that violates indentation": "Indent with spaces, not tabs."
            case "found character that cannot start any token":
                "Indent with spaces, not tabs; quote text that begins with '@', '`' or '%'."
            case "mapping values are not allowed in this context", "could not find expected ':'":
                "Check the indentation, and quote text that holds ': '."
            case "did not find expected alphabetic or numeric character":
                "Quote text that begins with '*' or '&', as in \"*.tmp\"."
            case "did not find expected ',' or '}'", "did not find expected ',' or ']'":
                "A bracket opened before this place is not closed, or a comma is missing."
            case "did not find expected key", "did not find expected '-' indicator":
                "Check the indentation of this line and of the one before."
            default: nil
            }
        }

        private static func location(of offset: Int, in text: String) -> SourceLocation {
            var place = SourceLocation(line: 1, column: 1)
            for character in text.prefix(offset) {
                if character.isNewline {
                    place = SourceLocation(line: place.line + 1, column: 1)
                } else {
                    place.column += character.unicodeScalars.count
                }
            }
            return place
        }

        private mutating func report(_ message: String, at location: SourceLocation, hint: String? = nil) {
            diagnostics.append(PolicyDiagnostic(message, at: location, hint: hint))
        }

        /// From a place in the marked text to the place in the text as it was given.
        private func mapBack(_ location: SourceLocation) -> SourceLocation {
            insertions.reversed().reduce(location) { place, mark in mark.mapBack(place) }
        }
    }
}

/// A mark put behind one of two equal keys to tell them apart.
private struct DuplicateMark {
    /// A private-use character: YAML takes it, and no real key has it.
    private static let marker: Unicode.Scalar = "\u{F8FF}"

    let key: String
    let markedKey: String
    private let suffix: String
    /// Where the suffix goes; columns count Unicode scalars.
    private let line: Int
    private let column: Int
    private let index: String.Index

    /// Nil when the key is not written at `location` as itself, plain or quoted (an anchor before it, escapes in it),
    /// or when the text has the marker already.
    init?(_ key: String, at location: SourceLocation, in text: String, _ number: Int) {
        guard !key.isEmpty, !key.unicodeScalars.contains(where: { $0 == Self.marker || $0 == "\n" }),
            let start = Self.index(of: location, in: text)
        else { return nil }
        let rest = text[start...]
        let quote = rest.first.map { $0 == "\"" || $0 == "'" ? String($0) : "" } ?? ""
        guard rest.hasPrefix(quote + key + quote) else { return nil }
        self.key = key
        suffix = "\(Self.marker)\(number)"
        markedKey = key + suffix
        line = location.line
        let written = quote + key
        column = location.column + written.unicodeScalars.count
        guard
            let place = text.unicodeScalars.index(
                start, offsetBy: written.unicodeScalars.count, limitedBy: text.endIndex)
        else { return nil }
        index = place
    }

    func applied(to text: String) -> String { "\(text[..<index])\(suffix)\(text[index...])" }

    func mapBack(_ location: SourceLocation) -> SourceLocation {
        guard location.line == line, location.column > column else { return location }
        let shifted = location.column - suffix.unicodeScalars.count
        return SourceLocation(line: line, column: max(column, shifted))
    }

    /// The place in the text, with libyaml's line ends (CR, LF, CRLF, NEL, LS, PS).
    private static func index(of location: SourceLocation, in text: String) -> String.Index? {
        let scalars = text.unicodeScalars
        var index = scalars.startIndex
        var line = 1
        var column = 1
        while index < scalars.endIndex {
            if line == location.line, column == location.column { return index }
            let scalar = scalars[index]
            index = scalars.index(after: index)
            if scalar == "\r", index < scalars.endIndex, scalars[index] == "\n" { index = scalars.index(after: index) }
            if ["\n", "\r", "\u{85}", "\u{2028}", "\u{2029}"].contains(scalar) {
                line += 1
                column = 1
            } else {
                column += 1
            }
        }
        return nil
    }
}
