// SPDX-License-Identifier: Apache-2.0

/// A CREATE TABLE of pg_dump, taken apart so that the same table can be made under another name.
struct TableDefinition {
    /// From the opening parenthesis on, to the end of this one statement.
    private let body: String
    /// What follows the closing parenthesis: `WITH (…)`, `PARTITION BY …`, `INHERITS (…)`.
    let options: String

    /// Nil when it is of another kind (`CREATE TABLE … OF type`).
    init?(_ definition: String) {
        guard let statement = SQLStatements.split(definition).first else { return nil }
        var rest = Substring(statement)
        guard let prefix = ["CREATE TABLE ", "CREATE UNLOGGED TABLE "].first(where: { rest.hasPrefix($0) }) else {
            return nil
        }
        rest = rest.dropFirst(prefix.count)
        guard SQLIdentifier.takeQualified(&rest), rest.hasPrefix(" (") else { return nil }
        body = String(rest.dropFirst())
        guard let end = Self.closing(body) else { return nil }
        options = String(body[end...])
    }

    var isPartitioned: Bool { options.contains("PARTITION BY") }
    var inherits: Bool { options.contains("INHERITS") }

    /// The statement that makes an ordinary table of another name of it.
    func statement(_ name: PostgresTableName) -> String { "CREATE TABLE \(name.sql) \(body)" }

    /// Behind the parenthesis that closes the first one.
    private static func closing(_ text: String) -> String.Index? {
        let bytes = text.utf8
        var depth = 0
        var index = bytes.startIndex
        while index < bytes.endIndex {
            switch bytes[index] {
            case UInt8(ascii: "("): depth += 1
            case UInt8(ascii: ")"):
                depth -= 1
                if depth == 0 { return bytes.index(after: index) }
            case UInt8(ascii: "'"), UInt8(ascii: "\""):
                // E'…' knows backslash escapes; a doubled quote ends one and begins another.
                let quote = bytes[index]
                let isEscaped =
                    quote == UInt8(ascii: "'") && index > bytes.startIndex
                    && bytes[bytes.index(before: index)] | 0x20 == UInt8(ascii: "e")
                index = bytes.index(after: index)
                while index < bytes.endIndex, bytes[index] != quote {
                    if isEscaped, bytes[index] == UInt8(ascii: "\\") { index = bytes.index(after: index) }
                    if index < bytes.endIndex { index = bytes.index(after: index) }
                }
                guard index < bytes.endIndex else { return nil }
            default: break
            }
            index = bytes.index(after: index)
        }
        return nil
    }

    /// The columns of `COPY schema.table (a, "b") FROM stdin;`; nil when it is something else.
    static func columns(ofCopy statement: String) -> [String]? {
        var rest = Substring(statement)
        guard rest.hasPrefix("COPY ") else { return nil }
        rest = rest.dropFirst("COPY ".count)
        guard SQLIdentifier.takeQualified(&rest) else { return nil }
        rest = rest.drop { $0 == " " }
        if rest.hasPrefix("FROM") { return [] }
        guard rest.first == "(" else { return nil }
        var columns: [String] = []
        repeat {
            rest = rest.dropFirst().drop { $0 == " " }
            guard let name = SQLIdentifier.take(&rest) else { return nil }
            columns.append(name)
        } while rest.first == ","
        return rest.hasPrefix(") FROM") ? columns : nil
    }
}
