// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatRepository

/// A history, rules and what comes of them, as `fixtures/retention/cases.txt` writes them:
///
///     == title
///     now TIME; zone NAME; last 2, daily 7, within 48h
///     LABEL TIME [host=NAME] [seq=NUMBER] [parts=NAME+NAME] [incomplete] [pinned] [drilled] -> keep: … | remove: …
struct RetentionCase {
    struct Line {
        var words: [String]
        var candidate: RetentionCandidate
        var isPinned: Bool
        var isDrilled: Bool
    }

    struct Malformed: Error { let line: String }

    var title: String
    var head: String
    var now: Timestamp
    var zone: TimeZoneRules
    var rules: RetentionRules
    var lines: [Line]

    static func parse(_ text: String) throws -> [RetentionCase] {
        var cases: [RetentionCase] = []
        var rest = text.split(separator: "\n", omittingEmptySubsequences: true)[...]
        while let title = rest.popFirst() {
            guard title.hasPrefix("== "), let head = rest.popFirst() else { throw Malformed(line: String(title)) }
            var lines: [Line] = []
            var numbers: [String: UInt64] = [:]
            while let line = rest.first, !line.hasPrefix("== ") {
                rest.removeFirst()
                // What a case should come to is not read here: it is compared as text.
                if line.hasPrefix("-> ") { continue }
                lines.append(try Self.line(line, &numbers))
            }
            cases.append(try RetentionCase(title: String(title.dropFirst(3)), head: String(head), lines))
        }
        return cases
    }

    private init(title: String, head: String, _ lines: [Line]) throws {
        let parts = head.split(separator: ";", omittingEmptySubsequences: false).map {
            $0.drop { $0 == " " }
        }
        guard parts.count == 3, parts[0].hasPrefix("now "), parts[1].hasPrefix("zone "),
            let now = Timestamp(parsing: String(parts[0].dropFirst(4)))
        else { throw Malformed(line: head) }
        self.title = title
        self.head = head
        self.now = now
        zone = try TimeZoneDatabase.local(environment: ["TZ": String(parts[1].dropFirst(5))])
        rules = try Self.rules(parts[2])
        self.lines = lines
    }

    private static func rules(_ text: Substring) throws -> RetentionRules {
        var rules = RetentionRules()
        for rule in text.split(separator: ",") {
            let words = rule.split(separator: " ")
            guard words.count == 2 else { throw Malformed(line: String(text)) }
            if words[0] == "within" {
                let units = ["h": 3600.0, "d": 86_400]
                guard let number = Double(words[1].dropLast()), let unit = units[String(words[1].suffix(1))] else {
                    throw Malformed(line: String(text))
                }
                rules.within = number * unit
                continue
            }
            guard let count = Int(words[1]) else { throw Malformed(line: String(text)) }
            switch words[0] {
            case "last": rules.last = count
            case "hourly": rules.hourly = count
            case "daily": rules.daily = count
            case "weekly": rules.weekly = count
            case "monthly": rules.monthly = count
            case "yearly": rules.yearly = count
            default: throw Malformed(line: String(text))
            }
        }
        return rules
    }

    private static func line(_ text: Substring, _ numbers: inout [String: UInt64]) throws -> Line {
        var words = text.split(separator: " ").map(String.init)
        if let arrow = words.firstIndex(of: "->") { words.removeSubrange(arrow...) }
        guard words.count >= 2, let time = Timestamp(parsing: words[1]) else { throw Malformed(line: String(text)) }
        var line = Line(
            words: words,
            candidate: RetentionCandidate(
                id: id(words[0]), host: "h", sequence: 0, time: time, complete: true, components: ["db"]),
            isPinned: false, isDrilled: false)
        var number: UInt64?
        for word in words.dropFirst(2) {
            let value = String(word.drop { $0 != "=" }.dropFirst())
            switch word.prefix(while: { $0 != "=" }) {
            case "host": line.candidate.host = value
            case "seq": number = UInt64(value)
            case "parts": line.candidate.components = Set(value.split(separator: "+").map(String.init))
            case "incomplete": line.candidate.complete = false
            case "pinned": line.isPinned = true
            case "drilled": line.isDrilled = true
            default: throw Malformed(line: String(text))
            }
        }
        line.candidate.sequence = number ?? numbers[line.candidate.host, default: 0] + 1
        numbers[line.candidate.host] = line.candidate.sequence
        return line
    }

    /// An id that sorts like the label.
    private static func id(_ label: String) -> Digest {
        var word: UInt64 = 0
        for byte in label.utf8.prefix(8) { word = word << 8 | UInt64(byte) }
        word <<= UInt64(8 * (8 - min(8, label.utf8.count)))
        return Digest(bigEndianWords: word, 0, 0, 0)
    }

    /// Nil when the rules are refused.
    var plan: RetentionPlan? {
        guard
            let planner = try? RetentionPlanner(
                rules: rules, calendar: RetentionCalendar(zone: zone), now: now)
        else { return nil }
        return planner.plan(
            stack: "demo", lines.map(\.candidate), pinned: Set(lines.filter(\.isPinned).map(\.candidate.id)),
            verified: Set(lines.filter(\.isDrilled).map(\.candidate.id)))
    }

    /// The case with its outcome, as the file has it.
    var text: String {
        var text = "== \(title)\n\(head)\n"
        guard let plan else {
            return text + lines.map { "\($0.words.joined(separator: " "))\n" }.joined() + "-> refused\n"
        }
        for line in lines {
            text += line.words.joined(separator: " ")
            if let decision = plan.decisions.first(where: { $0.snapshot.id == line.candidate.id }) {
                text +=
                    decision.removal.map { " -> remove: \($0.rawValue)" }
                    ?? " -> keep: \(decision.reasons.map(\.description).joined(separator: ", "))"
            }
            text += "\n"
        }
        if plan.removesMoreThanHalf { text += "-> more than half\n" }
        return text
    }
}
