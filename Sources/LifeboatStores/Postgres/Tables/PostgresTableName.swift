// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// A table's schema and name, as the server's catalog has them.
package struct PostgresTableName: Hashable, Sendable {
    package var schema: String
    package var name: String

    package init(_ schema: String, _ name: String) {
        self.schema = schema
        self.name = name
    }

    /// `public.documents`, each part quoted when a bare word would not mean it.
    package var shown: String { PostgresNames.shown(schema, name) }

    /// As it goes into SQL.
    var sql: String { "\(Self.quoted(schema)).\(Self.quoted(name))" }

    static func quoted(_ name: String) -> String { "\"\(name.replacing("\"", with: "\"\""))\"" }

    /// What a user may mean by `text`, the likeliest first: `documents`, `app.documents`, `"odd ""name"""."T"`. Without a
    /// schema it is `public`; a bare word is taken as it is written, then in lower case as the server takes it.
    package static func candidates(_ text: String) throws -> [PostgresTableName] {
        let usage = LifeboatError(
            "'\(text)' is not the name of a table",
            hint: "Name it as table, schema.table or \"Schema\".\"Table\".", exitCode: .usage)
        var rest = Substring(text)
        var parts: [(exact: String, folded: String)] = []
        while true {
            if rest.first == "\"" {
                guard let name = SQLIdentifier.take(&rest) else { throw usage }
                parts.append((name, name))
            } else {
                let word = String(rest.prefix { $0 != "." && $0 != "\"" })
                rest = rest.dropFirst(word.count)
                parts.append((word, word.lowercased()))
            }
            if rest.isEmpty { break }
            guard rest.first == "." else { throw usage }
            rest.removeFirst()
        }
        if parts.count == 1 { parts.insert(("public", "public"), at: 0) }
        guard parts.count == 2, parts.allSatisfy({ !$0.exact.isEmpty }) else { throw usage }
        let exact = PostgresTableName(parts[0].exact, parts[1].exact)
        let folded = PostgresTableName(parts[0].folded, parts[1].folded)
        return exact == folded ? [exact] : [exact, folded]
    }
}

/// Identifiers at the beginning of SQL that pg_dump wrote.
enum SQLIdentifier {
    /// The next one, without its quotes; nil when none comes.
    static func take(_ text: inout Substring) -> String? {
        guard let first = text.first else { return nil }
        guard first == "\"" else {
            let word = text.prefix { $0 == "_" || $0 == "$" || $0.isLetter || $0.isNumber }
            text = text.dropFirst(word.count)
            return word.isEmpty ? nil : String(word)
        }
        var rest = text.dropFirst()
        var name = ""
        while let character = rest.popFirst() {
            if character != "\"" {
                name.append(character)
            } else if rest.first == "\"" {
                name.append("\"")
                rest.removeFirst()
            } else {
                text = rest
                return name
            }
        }
        return nil
    }

    /// `schema.name` or `name`, taken away; false when none comes.
    static func takeQualified(_ text: inout Substring) -> Bool {
        guard take(&text) != nil else { return false }
        guard text.first == "." else { return true }
        text.removeFirst()
        return take(&text) != nil
    }
}
