// SPDX-License-Identifier: Apache-2.0

/// URLs as messages may show them: without user and password, and with the names of a query but not its values.
package enum RedactedURL {
    package static func text(_ url: String) -> String {
        var rest = url[...]
        var scheme = ""
        if let mark = rest.firstRange(of: "://") {
            scheme = String(rest[..<mark.upperBound])
            rest = rest[mark.upperBound...]
        }
        // A password may hold '/', '?' or '#' by mistake: everything up to the last '@' counts as one.
        var user = ""
        if let at = rest.lastIndex(of: "@") {
            user = "<secret>@"
            rest = rest[rest.index(after: at)...]
        }
        let pathEnd = rest.firstIndex { "?#".contains($0) } ?? rest.endIndex
        let shown = scheme + user + rest[..<pathEnd]
        guard pathEnd < rest.endIndex, rest[pathEnd] == "?" else { return printable(shown) }
        let query = rest[rest.index(after: pathEnd)...].prefix { $0 != "#" }
        let fields = query.split(separator: "&", omittingEmptySubsequences: false).map { field in
            guard let equals = field.firstIndex(of: "=") else { return field.isEmpty ? "" : "…" }
            return "\(field[...equals])…"
        }
        return printable("\(shown)?\(fields.joined(separator: "&"))")
    }

    private static func printable(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 32 || $0.value == 127 ? "?" : $0 }))
    }
}
