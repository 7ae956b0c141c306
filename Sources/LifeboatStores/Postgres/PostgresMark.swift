// SPDX-License-Identifier: Apache-2.0

/// What a restore writes on a database, as the last line of the database's comment: an owner may comment on its
/// database, while a setting of an unknown name (`ALTER DATABASE … SET lifeboat.restore`) is for superusers.
package struct PostgresMark: Equatable {
    /// Whose restore it is.
    package var restoreID: String
    /// On a database that was set aside: object id of the one that took its name. Nil on the restored database itself.
    package var successor: String?

    package init(restoreID: String, successor: String? = nil) {
        self.restoreID = restoreID
        self.successor = successor
    }

    private static let start = "[lifeboat restore "
    private static let aside = ", set aside for database "

    package var line: String {
        Self.start + restoreID + (successor.map { Self.aside + $0 } ?? "") + "]"
    }

    /// Nil for a line that is no mark.
    package init?(line: Substring) {
        guard line.hasPrefix(Self.start), line.hasSuffix("]") else { return nil }
        let inner = line.dropFirst(Self.start.count).dropLast()
        if let range = inner.firstRange(of: Self.aside) {
            restoreID = String(inner[..<range.lowerBound])
            successor = String(inner[range.upperBound...])
        } else {
            restoreID = String(inner)
        }
        guard !restoreID.isEmpty, successor?.isEmpty != true else { return nil }
    }

    /// The last line of a comment when that is a mark, and the comment without it.
    private static func last(_ comment: String) -> (mark: PostgresMark, rest: String?)? {
        let lastLine = comment.lastIndex(of: "\n")
        let start = lastLine.map { comment.index(after: $0) } ?? comment.startIndex
        guard let mark = PostgresMark(line: comment[start...]) else { return nil }
        return (mark, lastLine.map { String(comment[..<$0]) })
    }

    /// The marks of a comment, the newest first, and what its owner wrote.
    package static func read(_ comment: String?) -> (marks: [PostgresMark], comment: String?) {
        var marks: [PostgresMark] = []
        var rest = comment
        while let text = rest, let found = last(text) {
            marks.append(found.mark)
            rest = found.rest
        }
        return (marks, rest)
    }

    /// `comment` with this mark as its last line, instead of one of the same restore that stood there.
    package func added(to comment: String?) -> String {
        let rest = removed(from: comment)
        return rest.map { "\($0)\n\(line)" } ?? line
    }

    /// `comment` without the marks of this restore.
    package func removed(from comment: String?) -> String? {
        let (marks, text) = Self.read(comment)
        let kept = marks.reversed().filter { $0.restoreID != restoreID }.map(\.line)
        if kept.isEmpty { return text }
        return ([text].compactMap(\.self) + kept).joined(separator: "\n")
    }
}
