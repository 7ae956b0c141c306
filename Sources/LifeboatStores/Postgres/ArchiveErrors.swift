// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// What pg_restore could not make, by the entries of the archive's table of contents.
///
/// `pg_restore --verbose` prints `from TOC entry NUMBER; …` before the errors of an entry. The entry is looked up by that
/// number: its kind and name are the archive's. Needs the messages of the C locale.
package struct ArchiveErrors {
    package struct Failure {
        package var entry: ArchiveContents.Entry
        /// What pg_restore printed about it, the message first. Of two processes that fail at once (`--jobs`) each may
        /// have a line of the other: for display only.
        package var causes: [String]
    }

    package let failures: [Failure]
    /// Every error belongs to an entry of the archive.
    package let isComplete: Bool

    /// Kinds without which data is lost, out of reach or open to others: a restore does not go on without them.
    private static let indispensable: Set<String> = [
        "BLOB", "BLOB METADATA", "BLOBS", "DATABASE", "DEFAULT", "DOMAIN", "ENCODING", "EXTENSION", "LARGE OBJECT",
        "POLICY", "ROW SECURITY", "SCHEMA", "SEARCHPATH", "SEQUENCE", "SEQUENCE OWNED BY", "SEQUENCE SET",
        "SHELL TYPE", "STDSTRINGS", "TABLE", "TABLE ATTACH", "TABLE DATA", "TYPE",
    ]

    /// Whether all else is worth having without this entry: it is named, and the restore is incomplete.
    package static func isDispensable(_ entry: ArchiveContents.Entry) -> Bool {
        !entry.kind.isEmpty && !indispensable.contains(entry.kind)
    }

    private static let marker = "from TOC entry "
    private static let program = "pg_restore: "

    package init(_ standardError: String, _ contents: ArchiveContents) {
        var failures: [Failure] = []
        var isComplete = true
        var current: ArchiveContents.Entry?
        for line in standardError.split(whereSeparator: \.isNewline) {
            let text = line.drop { $0 == " " || $0 == "\t" }
            guard text.hasPrefix(Self.program) else {
                // `DETAIL:`, `HINT:` and the statement follow a message; the statement itself says nothing new.
                if let last = failures.indices.last, current != nil, Self.isRemark(text),
                    failures[last].causes.count < 4
                {
                    failures[last].causes.append(String(text))
                }
                continue
            }
            let rest = text.dropFirst(Self.program.count)
            if rest.hasPrefix(Self.marker) {
                let digits = rest.dropFirst(Self.marker.count).prefix { $0.isNumber }
                current = Int64(digits).flatMap { contents.entry($0) }
                if current == nil { isComplete = false }
                continue
            }
            // `while PROCESSING TOC:` and other lines that only lead in.
            guard let colon = rest.firstRange(of: "error: "), colon.lowerBound == rest.startIndex else { continue }
            guard let entry = current else {
                isComplete = false
                continue
            }
            let message = String(rest[colon.upperBound...])
            if let last = failures.indices.last, failures[last].entry.id == entry.id {
                if failures[last].causes.count < 4 { failures[last].causes.append(message) }
            } else {
                failures.append(Failure(entry: entry, causes: [message]))
            }
        }
        self.failures = failures
        self.isComplete = isComplete && !failures.isEmpty
    }

    private static func isRemark(_ line: Substring) -> Bool { line.hasPrefix("DETAIL:") || line.hasPrefix("HINT:") }
}
