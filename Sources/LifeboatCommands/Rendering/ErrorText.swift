// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Errors and warnings as people see them.
package enum ErrorText {
    /// The form of `LifeboatError.description`, safe for a terminal: control characters that came with a name are
    /// escaped, and a cause of several lines is indented, so that nothing in it looks like a line of ours.
    package static func render(_ error: LifeboatError, severity: String = "error") -> String {
        var lines = ["\(severity): \(EscapedName.line(error.message))"]
        for cause in error.causes {
            let parts = cause.split(separator: "\n", omittingEmptySubsequences: false)
            for (number, part) in parts.enumerated() {
                let text = EscapedName.line(String(part))
                lines.append(number == 0 ? "cause: \(text)" : text.hasPrefix("  ") ? text : "  \(text)")
            }
        }
        if let hint = error.hint { lines.append("hint: \(EscapedName.line(hint))") }
        return lines.joined(separator: "\n")
    }
}
