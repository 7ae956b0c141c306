// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Files of `NAME=value` lines, as Docker Compose reads them. A value that refers to other variables is refused: what it
/// stands for depends on more than the file.
package enum EnvironmentFile {
    /// The value of `name` in the file `path`; nil when the file is not there or does not have it. The last line of that
    /// name counts. Messages never hold a value.
    package static func value(of name: String, in path: String) throws(LifeboatError) -> Secret? {
        let bytes: [UInt8]?
        do throws(SystemCallError) {
            bytes = try SmallFile.contents(path, limit: 1 << 20)
        } catch {
            throw error.lifeboatError
        }
        guard let bytes else { return nil }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw LifeboatError("'\(path)' is no text")
        }
        var found: Substring?
        for line in text.split(whereSeparator: \.isNewline) {
            var rest = trimmed(line)
            if rest.hasPrefix("export ") { rest = trimmed(rest.dropFirst(7)) }
            guard !rest.hasPrefix("#"), let equals = rest.firstIndex(of: "=") else { continue }
            if trimmed(rest[..<equals]) == name { found = trimmed(rest[rest.index(after: equals)...]) }
        }
        guard let found else { return nil }
        let value = try value(found, name, path)
        guard !value.isEmpty else { throw LifeboatError("'\(name)' in '\(path)' is empty") }
        return Secret(value)
    }

    private static func value(_ text: Substring, _ name: String, _ path: String) throws(LifeboatError) -> String {
        let quote = text.first
        guard let quote, quote == "'" || quote == "\"" else {
            // A comment needs a blank before it.
            var plain = text
            for index in text.indices where text[index] == "#" && index > text.startIndex {
                guard text[text.index(before: index)].isWhitespace else { continue }
                plain = text[..<index]
                break
            }
            if plain.first == "#" { plain = "" }
            guard !plain.contains("$") else { throw refersToOthers(name, path) }
            return String(trimmed(plain))
        }
        var value = ""
        var rest = text.dropFirst()
        while let character = rest.popFirst() {
            if character == quote { return value }
            if quote == "\"", character == "$" { throw refersToOthers(name, path) }
            if quote == "\"", character == "\\", let next = rest.popFirst() {
                switch next {
                case "n": value.append("\n")
                case "r": value.append("\r")
                case "t": value.append("\t")
                case "\"", "\\", "$": value.append(next)
                default: value += "\\\(next)"
                }
            } else {
                value.append(character)
            }
        }
        throw LifeboatError("'\(name)' in '\(path)' has a quote that is not closed")
    }

    private static func refersToOthers(_ name: String, _ path: String) -> LifeboatError {
        LifeboatError(
            "'\(name)' in '\(path)' refers to other variables, which lifeboat does not resolve",
            hint: "Name another source of the secret with 'from' in the policy.")
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while let first = text.first, first.isWhitespace { text.removeFirst() }
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return text
    }
}
