// SPDX-License-Identifier: Apache-2.0

/// Takes a plain SQL script apart, as pg_dumpall writes it.
package enum SQLStatements {
    /// The statements without comments and without their semicolon. Lines that start with a backslash between
    /// statements are psql's own commands and are left out.
    package static func split(_ script: String) -> [String] {
        var splitter = Splitter(bytes: Array(script.utf8))
        return splitter.statements()
    }

    /// The first words of a statement; a quoted identifier counts as one word, without its quotes.
    static func words(_ statement: String, limit: Int = 8) -> [String] {
        var words: [String] = []
        var rest = Substring(statement)
        while words.count < limit {
            rest = rest.drop { $0.isWhitespace || $0 == "," }
            guard let first = rest.first else { break }
            if first == "\"" {
                var word = ""
                rest.removeFirst()
                while let character = rest.first {
                    rest.removeFirst()
                    if character == "\"" {
                        if rest.first != "\"" { break }
                        rest.removeFirst()
                    }
                    word.append(character)
                }
                words.append(word)
            } else {
                let word = rest.prefix { !$0.isWhitespace && $0 != "," }
                words.append(String(word))
                rest = rest.dropFirst(word.count)
            }
        }
        return words
    }

    private struct Splitter {
        let bytes: [UInt8]
        private var position = 0
        private var current: [UInt8] = []
        private var found: [String] = []

        init(bytes: [UInt8]) { self.bytes = bytes }

        private func peek(_ offset: Int = 0) -> UInt8? {
            position + offset < bytes.count ? bytes[position + offset] : nil
        }

        mutating func statements() -> [String] {
            while let byte = peek() {
                switch byte {
                case UInt8(ascii: "'"):
                    // E'…' knows backslash escapes.
                    let previous = current.last.map { $0 | 0x20 }
                    takeQuoted(byte, escapes: previous == UInt8(ascii: "e"))
                case UInt8(ascii: "\""): takeQuoted(byte, escapes: false)
                case UInt8(ascii: "$"): takeDollarQuoted()
                case UInt8(ascii: "-") where peek(1) == UInt8(ascii: "-"): skipLine()
                case UInt8(ascii: "/") where peek(1) == UInt8(ascii: "*"): skipComment()
                case UInt8(ascii: "\\") where isBlank: skipLine()
                case UInt8(ascii: ";"):
                    position += 1
                    end()
                default:
                    current.append(byte)
                    position += 1
                }
            }
            end()
            return found
        }

        private var isBlank: Bool { current.allSatisfy { $0 <= 0x20 } }

        private mutating func end() {
            let text = String(decoding: current, as: UTF8.self)
            let trimmed = text.drop { $0.isWhitespace }
            if !trimmed.isEmpty { found.append(String(trimmed)) }
            current.removeAll(keepingCapacity: true)
        }

        private mutating func take(_ count: Int) {
            current.append(contentsOf: bytes[position..<min(position + count, bytes.count)])
            position += count
        }

        private mutating func takeQuoted(_ quote: UInt8, escapes: Bool) {
            take(1)
            while let byte = peek() {
                if escapes, byte == UInt8(ascii: "\\") {
                    take(2)
                } else if byte == quote, peek(1) == quote {
                    take(2)
                } else {
                    take(1)
                    if byte == quote { return }
                }
            }
        }

        private mutating func takeDollarQuoted() {
            // $1 or a $ inside a name is no quote.
            var length = 1
            while let byte = peek(length), byte != UInt8(ascii: "$") {
                let isLetter = (byte | 0x20) >= UInt8(ascii: "a") && (byte | 0x20) <= UInt8(ascii: "z") || byte >= 0x80
                let isDigit = byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
                guard isLetter || byte == UInt8(ascii: "_") || (isDigit && length > 1) else { return take(1) }
                length += 1
            }
            guard peek(length) != nil else { return take(1) }
            let tag = Array(bytes[position...position + length])
            take(tag.count)
            while position < bytes.count {
                if bytes[position...].starts(with: tag) { return take(tag.count) }
                take(1)
            }
        }

        private mutating func skipLine() {
            while let byte = peek(), byte != 0x0A {
                _ = byte
                position += 1
            }
        }

        /// Comments nest.
        private mutating func skipComment() {
            var depth = 0
            while position < bytes.count {
                if peek() == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "*") {
                    depth += 1
                    position += 2
                } else if peek() == UInt8(ascii: "*"), peek(1) == UInt8(ascii: "/") {
                    depth -= 1
                    position += 2
                    if depth == 0 { return }
                } else {
                    position += 1
                }
            }
        }
    }
}
