// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// A mapping whose keys were checked, with the path that messages call it by.
struct PolicyFields {
    let path: String
    let location: SourceLocation
    /// In the order of the file.
    let entries: [LocatedNode.Entry]

    subscript(_ key: String) -> LocatedNode? { entries.first { $0.key == key }?.value }

    func keyLocation(_ key: String) -> SourceLocation { entries.first { $0.key == key }?.location ?? location }

    /// `components.database.postgres.port`.
    func path(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
}

/// Reads typed values out of located nodes and collects what is wrong, so that one run shows everything.
///
/// Each function gives nil after it reported why; the caller goes on with the next key.
struct PolicyReader {
    /// Absolute; relative paths resolve against it.
    let folder: String
    private(set) var diagnostics: [PolicyDiagnostic] = []
    /// Variables of lifeboat's environment that the policy names as secrets.
    var secretVariables: Set<String> = []

    init(folder: String) { self.folder = folder }

    mutating func report(_ message: String, at location: SourceLocation, hint: String? = nil) {
        diagnostics.append(PolicyDiagnostic(message, at: location, hint: hint))
    }

    // MARK: Structure

    /// A mapping with none but `known` keys; `planned` ones exist in the policy language, and are refused with their hint
    /// because this version cannot honour them.
    mutating func fields(
        _ node: LocatedNode, _ path: String, known: [String], planned: [String: String] = [:]
    ) -> PolicyFields? {
        guard let entries = entries(node, path) else { return nil }
        for entry in entries where !known.contains(entry.key) {
            let shown = path.isEmpty ? entry.key : "\(path).\(entry.key)"
            if let hint = planned[entry.key] {
                reportPlanned("'\(shown)'", at: entry.location, hint: hint)
            } else {
                reportUnknown("key", entry.key, in: path, at: entry.location, among: known, planned: planned)
            }
        }
        return PolicyFields(path: path, location: node.location, entries: entries)
    }

    /// The entries of a mapping with free keys.
    mutating func entries(_ node: LocatedNode, _ path: String) -> [LocatedNode.Entry]? {
        guard case .mapping(let entries) = node.content else {
            reportType(node, path, "a mapping of keys to values")
            return nil
        }
        return entries
    }

    mutating func list(_ node: LocatedNode, _ path: String) -> [LocatedNode]? {
        guard case .sequence(let items) = node.content else {
            reportType(node, path, "a list")
            return nil
        }
        return items
    }

    mutating func required(_ key: String, in fields: PolicyFields, hint: String? = nil) -> LocatedNode? {
        if let node = fields[key] { return node }
        let place = fields.path.isEmpty ? "the policy" : "'\(fields.path)'"
        report("\(place) needs the key '\(key)'", at: fields.location, hint: hint)
        return nil
    }

    /// One of the planned features: never ignored.
    mutating func reportPlanned(_ what: String, at location: SourceLocation, hint: String) {
        report("\(what) is not supported in this version of lifeboat", at: location, hint: hint)
    }

    mutating func reportUnknown(
        _ noun: String, _ word: String, in path: String, at location: SourceLocation, among known: [String],
        planned: [String: String] = [:]
    ) {
        let place = path.isEmpty ? "" : " in '\(path)'"
        let hint: String
        if word == "<<" {
            hint = "YAML merge keys are not supported: write the keys out."
        } else if let nearest = NearestWord.nearest(to: word, among: known + planned.keys.sorted()) {
            hint = "Did you mean '\(nearest)'?"
        } else {
            hint = "Known here: \(known.joined(separator: ", "))."
        }
        report("unknown \(noun) '\(Self.shortened(word))'\(place)", at: location, hint: hint)
    }

    mutating func reportType(_ node: LocatedNode, _ path: String, _ wanted: String, hint: String? = nil) {
        let subject = path.isEmpty ? "the policy" : "'\(path)'"
        if node.isNull, !path.isEmpty {
            report(
                "\(subject) has no value", at: node.location,
                hint: hint ?? "Give it \(wanted), or remove the key.")
        } else {
            report("\(subject) must be \(wanted), not \(node.kind)", at: node.location, hint: hint)
        }
    }

    // MARK: Scalars

    /// Text of at least one character, without NUL.
    mutating func text(_ node: LocatedNode, _ path: String, _ wanted: String = "text") -> String? {
        guard case .scalar(let text, _) = node.content, !node.isNull else {
            reportType(node, path, wanted)
            return nil
        }
        guard !text.isEmpty, !text.utf8.contains(0) else {
            report("'\(path)' must not be \(text.isEmpty ? "empty" : "text with a NUL character")", at: node.location)
            return nil
        }
        return text
    }

    mutating func text(_ key: String, in fields: PolicyFields) -> String? {
        fields[key].flatMap { text($0, fields.path(key)) }
    }

    mutating func bool(_ key: String, in fields: PolicyFields, default fallback: Bool) -> Bool {
        guard let node = fields[key] else { return fallback }
        if case .scalar(let text, plain: true) = node.content {
            if ["true", "True", "TRUE"].contains(text) { return true }
            if ["false", "False", "FALSE"].contains(text) { return false }
        }
        if case .scalar(let text, _) = node.content, !node.isNull {
            report(
                "'\(fields.path(key))' must be true or false, not '\(Self.shortened(text))'", at: node.location)
        } else {
            reportType(node, fields.path(key), "true or false")
        }
        return fallback
    }

    mutating func integer(_ key: String, in fields: PolicyFields, _ range: ClosedRange<Int>) -> Int? {
        guard let node = fields[key] else { return nil }
        let path = fields.path(key)
        let wanted = "a whole number from \(range.lowerBound) to \(range.upperBound)"
        guard case .scalar(let text, _) = node.content, !node.isNull else {
            reportType(node, path, wanted)
            return nil
        }
        guard text.utf8.count <= 18, text.utf8.allSatisfy({ (48...57).contains($0) }), let value = Int(text),
            range.contains(value)
        else {
            report("'\(path)' must be \(wanted), not '\(Self.shortened(text))'", at: node.location)
            return nil
        }
        return value
    }

    /// One of the words; `planned` ones are refused with their hint.
    mutating func choice(
        _ key: String, in fields: PolicyFields, among words: [String], planned: [String: String] = [:]
    ) -> String? {
        guard let node = fields[key] else { return nil }
        let path = fields.path(key)
        guard let word = text(node, path, "one of \(words.joined(separator: ", "))") else { return nil }
        if words.contains(word) { return word }
        if let hint = planned[word] {
            reportPlanned("'\(path): \(word)'", at: node.location, hint: hint)
        } else {
            reportUnknown("value", word, in: path, at: node.location, among: words, planned: planned)
        }
        return nil
    }

    /// Seconds, more than zero.
    mutating func duration(_ key: String, in fields: PolicyFields) -> Double? {
        guard let node = fields[key] else { return nil }
        let path = fields.path(key)
        guard let text = text(node, path, "a length of time such as 90s, 15m, 48h or 7d") else { return nil }
        let shown = Self.shortened(text)
        do throws(DurationText.Problem) {
            let seconds = try DurationText.seconds(text)
            if seconds > 0 { return seconds }
            report("'\(path)' must be longer than nothing", at: node.location)
        } catch {
            switch error {
            case .noUnit:
                report(
                    "'\(path)' needs a unit: '\(shown)'", at: node.location,
                    hint: "Write \(shown)s, \(shown)m, \(shown)h or \(shown)d.")
            case .unknownUnit(let unit):
                report(
                    "unknown unit '\(Self.shortened(unit))' in '\(path)'", at: node.location,
                    hint: "Units are ms, s, m, h and d, as in 90s, 15m, 48h and 7d.")
            case .notADuration:
                report(
                    "'\(path)' must be a length of time, not '\(shown)'", at: node.location,
                    hint: "Write it like 90s, 15m, 48h or 7d.")
            case .tooLong:
                report("'\(path)' is longer than ten years: '\(shown)'", at: node.location)
            }
        }
        return nil
    }

    // MARK: Paths, commands, secrets

    /// An absolute path.
    mutating func path(_ node: LocatedNode, _ path: String) -> String? {
        guard let text = text(node, path, "a path") else { return nil }
        guard !text.hasPrefix("~") else {
            report(
                "'\(path)' begins with '~', which only a shell knows", at: node.location, hint: "Write the whole path.")
            return nil
        }
        return absolute(text)
    }

    mutating func path(_ key: String, in fields: PolicyFields) -> String? {
        fields[key].flatMap { path($0, fields.path(key)) }
    }

    /// `text` below the policy's folder unless it is absolute, without `.` and doubled slashes. `..` stays: what it means
    /// depends on symbolic links.
    func absolute(_ text: String) -> String {
        let whole = text.hasPrefix("/") ? text : "\(folder)/\(text)"
        return "/" + whole.split(separator: "/").filter { $0 != "." }.joined(separator: "/")
    }

    /// One command: a list of words, or one line of them.
    mutating func command(_ node: LocatedNode, _ path: String) -> [String]? {
        switch node.content {
        case .scalar(let line, _) where !node.isNull: return words(line, path, at: node.location)
        case .sequence(let items):
            var words: [String] = []
            for item in items {
                guard case .scalar(let word, _) = item.content, !item.isNull, !word.utf8.contains(0) else {
                    reportType(item, path, "a command: a list of words")
                    return nil
                }
                words.append(word)
            }
            guard let program = words.first, !program.isEmpty else {
                report("'\(path)' names no program", at: node.location)
                return nil
            }
            return withAbsoluteProgram(words)
        default:
            reportType(node, path, "a command: a list of words, or one line")
            return nil
        }
    }

    /// A list of commands, or a single line for one command.
    mutating func commands(_ node: LocatedNode, _ path: String) -> [[String]]? {
        guard case .sequence(let items) = node.content else { return command(node, path).map { [$0] } }
        guard !items.isEmpty else {
            report("'\(path)' holds no command", at: node.location, hint: "Remove the key, or name a command.")
            return nil
        }
        // `[systemctl, stop, api]` is three commands by the rule, and one command by the looks.
        let single = items.compactMap { item -> String? in
            guard case .scalar(let text, _) = item.content, !text.contains(where: \.isWhitespace) else { return nil }
            return text
        }
        if items.count > 1, single.count == items.count {
            let one = "[[\(single.joined(separator: ", "))]]"
            let several = "[\(single.map { "[\($0)]" }.joined(separator: ", "))]"
            report(
                "'\(path)' could be one command or \(items.count)", at: node.location,
                hint: one.count + several.count < 200
                    ? "Write \(one) for one command, or \(several) for \(items.count)."
                    : "Put each command in brackets of its own.")
            return nil
        }
        let commands = items.compactMap { command($0, path) }
        return commands.count == items.count ? commands : nil
    }

    private mutating func words(_ line: String, _ path: String, at location: SourceLocation) -> [String]? {
        do throws(CommandWords.Problem) {
            return withAbsoluteProgram(try CommandWords.split(line))
        } catch {
            switch error {
            case .unclosedQuote(let quote): report("'\(path)' has a \(quote) that is not closed", at: location)
            case .trailingBackslash: report("'\(path)' ends with a backslash", at: location)
            case .nulCharacter: report("'\(path)' holds a NUL character", at: location)
            case .noWords: report("'\(path)' names no program", at: location)
            case .shellSyntax(let text):
                report(
                    "'\(path)' uses \(text), and commands are run without a shell", at: location,
                    hint: "Quote it if it is meant as it stands, or run a shell: [sh, -c, \"…\"].")
            }
            return nil
        }
    }

    /// A program given with a slash is found from the policy's folder; a bare name is left to PATH.
    private func withAbsoluteProgram(_ words: [String]) -> [String] {
        guard words[0].contains("/") else { return words }
        return [absolute(words[0])] + words.dropFirst()
    }

    static let secretForms =
        "Write one of {env: NAME}, {file: PATH}, {command: [PROGRAM, ARGUMENT]} or {credential: NAME}."

    /// A reference to a secret. Messages never show the value of a literal one.
    mutating func secret(_ key: String, in fields: PolicyFields) -> SecretReference? {
        guard let node = fields[key] else { return nil }
        let path = fields.path(key)
        switch node.content {
        case .scalar where node.isNull, .sequence:
            reportType(node, path, "a reference to a secret", hint: Self.secretForms)
            return nil
        case .scalar:
            report(
                "'\(path)' is a literal secret, which a policy must not hold", at: node.location, hint: Self.secretForms
            )
            return nil
        case .mapping: break
        }
        // Not `fields`: of `{hunter2}` nothing may be shown.
        guard let forms = entries(node, path).map({ PolicyFields(path: path, location: node.location, entries: $0) })
        else { return nil }
        guard forms.entries.count == 1, let form = forms.entries.first else {
            report("'\(path)' must have exactly one source", at: node.location, hint: Self.secretForms)
            return nil
        }
        switch form.key {
        case "env":
            guard let name = text(form.value, forms.path("env")) else { return nil }
            guard Self.isEnvironmentName(name) else {
                report(
                    "'\(forms.path("env"))' is no name of an environment variable", at: form.value.location,
                    hint: "Write the name without '$': {env: POSTGRES_PASSWORD}.")
                return nil
            }
            secretVariables.insert(name)
            return .environment(name)
        case "file": return self.path(form.value, forms.path("file")).map { .file($0) }
        case "command": return command(form.value, forms.path("command")).map { .command($0) }
        case "credential":
            guard let name = text(form.value, forms.path("credential")) else { return nil }
            guard !name.contains("/"), name != ".", name != ".." else {
                report(
                    "'\(forms.path("credential"))' must be a name, not a path", at: form.value.location,
                    hint: "It is the name given to LoadCredential= in the systemd unit.")
                return nil
            }
            return .credential(name)
        default:
            report("'\(path)' has an unknown source", at: form.location, hint: Self.secretForms)
            return nil
        }
    }

    /// The name or address of a server. Messages never show a login that stands in it.
    mutating func host(_ key: String, in fields: PolicyFields) -> String? {
        guard let node = fields[key], let host = text(node, fields.path(key), "a host name or address") else {
            return nil
        }
        // libpq writes an abstract socket with '@' before its name.
        guard !host.dropFirst().contains("@") else {
            report(
                "'\(fields.path(key))' holds a user or password, which a policy must not hold", at: node.location,
                hint: "Write the host alone; the user belongs under 'user', the secret under 'password'.")
            return nil
        }
        guard !host.contains("://") else {
            report(
                "'\(fields.path(key))' is a URL, not a host", at: node.location,
                hint: "Write the host alone; the port belongs under 'port'.")
            return nil
        }
        return host
    }

    static func isEnvironmentName(_ name: String) -> Bool {
        let letters = name.utf8.allSatisfy {
            (65...90).contains($0) || (97...122).contains($0) || (48...57).contains($0) || $0 == 95
        }
        return letters && !(48...57).contains(name.utf8.first ?? 48)
    }

    // MARK: Names

    static let nameRule = "Use 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit."

    /// Names that become folders in the repository.
    static func isName(_ text: String) -> Bool {
        let bytes = text.utf8
        guard (1...64).contains(bytes.count), let first = bytes.first else { return false }
        func isAlphanumeric(_ byte: UInt8) -> Bool { (97...122).contains(byte) || (48...57).contains(byte) }
        return isAlphanumeric(first) && bytes.allSatisfy { isAlphanumeric($0) || [46, 95, 45].contains($0) }
    }

    /// For messages: at most 60 characters, control characters shown as `?`.
    static func shortened(_ text: String) -> String {
        let printable = String(
            String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 32 || $0.value == 127 ? "?" : $0 }))
        return printable.count <= 60 ? printable : "\(printable.prefix(57))…"
    }
}
