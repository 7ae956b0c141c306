// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Why a text is not a tree of lifeboat's, and where.
package struct MtreeError: Error, Equatable, LifeboatErrorConvertible {
    package enum Reason: Equatable, Sendable {
        /// The first line is not `#mtree`.
        case notMtree
        /// The text ends in the middle of a line, or before the root.
        case truncated
        case lineTooLong
        /// The line does not begin with `.` or `./`, or a component is empty, `.`, `..` or holds a NUL.
        case badPath
        case badEscape
        /// A keyword or tag that format 1 does not have: ignoring it could restore something else than was saved.
        case unknownKeyword(String)
        case duplicateKeyword(String)
        case missingKeyword(String)
        /// A value that is no number of its range, no id, no base64, or does not belong to this kind of entry.
        case badValue(String)
        /// The first entry is not the root.
        case missingRoot
        /// The path does not come after the one before it: unsorted or a duplicate.
        case outOfOrder
        /// A hard link to an entry that does not come before it.
        case badHardLink
    }

    package let reason: Reason
    /// 1 is the `#mtree` line.
    package let line: Int

    package init(_ reason: Reason, line: Int) {
        self.reason = reason
        self.line = line
    }

    package var lifeboatError: LifeboatError {
        LifeboatError(
            "the tree cannot be read", causes: ["line \(line): \(detail)"],
            hint: "Run 'lifeboat check --read-data' to see whether the repository is damaged.",
            exitCode: .damagedRepository)
    }

    private var detail: String {
        switch reason {
        case .notMtree: "it does not begin with '#mtree'"
        case .truncated: "the text is cut off"
        case .lineTooLong: "the line is longer than \(MtreeParser.longestLine) bytes"
        case .badPath: "not a path below the root"
        case .badEscape: "not an octal escape"
        case .unknownKeyword(let word): "unknown keyword '\(word)'"
        case .duplicateKeyword(let word): "keyword '\(word)' given twice"
        case .missingKeyword(let word): "keyword '\(word)' is missing"
        case .badValue(let word): "not a value of '\(word)'"
        case .missingRoot: "the first entry is not the root"
        case .outOfOrder: "the path does not come after the one before it"
        case .badHardLink: "a hard link to an entry that does not come before it"
        }
    }
}
