// SPDX-License-Identifier: Apache-2.0

/// Splits one line into the words of a command, the way a shell does, and does nothing else a shell does: no variables,
/// no globs, no pipes. Text that asks for those is refused, because it would be passed on as it stands and do harm.
///
/// Words are parted by blanks. `'…'` keeps everything; `"…"` keeps everything but `\"` and `\\`; outside quotes `\` keeps
/// the next character.
enum CommandWords {
    enum Problem: Error, Equatable {
        case unclosedQuote(Character)
        case trailingBackslash
        /// Characters that mean something to a shell: `&&`, `|`, `$`.
        case shellSyntax(String)
        case nulCharacter
        case noWords
    }

    static func split(_ line: String) throws(Problem) -> [String] {
        var words: [String] = []
        var word: String?
        var rest = Substring(line)
        while let character = rest.popFirst() {
            switch character {
            case "\0": throw .nulCharacter
            case " ", "\t":
                if let finished = word { words.append(finished) }
                word = nil
            case "'", "\"":
                word = (word ?? "") + (try quoted(by: character, &rest))
            case "\\":
                guard let next = rest.popFirst() else { throw .trailingBackslash }
                word = (word ?? "") + String(next)
            case "|", "&", ";", "<", ">", "(", ")", "$", "`", "\n", "\r", "\r\n":
                let more = rest.prefix { $0 == character }
                throw .shellSyntax(character.isNewline ? "a line break" : "'\(character)\(more)'")
            case "~" where word == nil: throw .shellSyntax("'~'")
            case "#" where word == nil: throw .shellSyntax("'#'")
            default: word = (word ?? "") + String(character)
            }
        }
        if let finished = word { words.append(finished) }
        guard let program = words.first, !program.isEmpty else { throw .noWords }
        return words
    }

    private static func quoted(by quote: Character, _ rest: inout Substring) throws(Problem) -> String {
        var text = ""
        while let character = rest.popFirst() {
            if character == quote { return text }
            if character == "\0" { throw .nulCharacter }
            if quote == "\"", character == "$" || character == "`" { throw .shellSyntax("'\(character)'") }
            if quote == "\"", character == "\\", let next = rest.first, next == "\"" || next == "\\" {
                text.append(next)
                rest.removeFirst()
            } else {
                text.append(character)
            }
        }
        throw .unclosedQuote(quote)
    }
}
