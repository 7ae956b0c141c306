// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// A place in a policy file; both count from 1, columns in Unicode scalars.
package struct SourceLocation: Sendable, Equatable, Comparable {
    package var line: Int
    package var column: Int

    package init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    package static func < (left: SourceLocation, right: SourceLocation) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}

/// One thing that is wrong with a policy, and where. Never holds the value of a password.
package struct PolicyDiagnostic: Sendable, Equatable {
    package var location: SourceLocation
    /// Lower case, no full stop.
    package var message: String
    /// One or more full sentences.
    package var hint: String?

    package init(_ message: String, at location: SourceLocation, hint: String? = nil) {
        self.location = location
        self.message = message
        self.hint = hint
    }
}

/// Everything that is wrong with a policy, in the order of the file.
package struct PolicyDiagnostics: Error, Sendable, Equatable, LifeboatErrorConvertible, CustomStringConvertible {
    /// The policy file, or `policy` for text without one.
    package var source: String
    /// At least one.
    package var diagnostics: [PolicyDiagnostic]
    /// Keys of the targets the policy was read with.
    private let targets: [String]

    package init(source: String?, diagnostics: [PolicyDiagnostic], targets: [String] = []) {
        self.source = source ?? "policy"
        self.diagnostics = diagnostics
        self.targets = targets
    }

    /// `file:line:column: message` and `  hint: …` lines, without a newline at the end.
    package var description: String { lines.joined(separator: "\n") }

    private var lines: [String] {
        diagnostics.map { diagnostic in
            let hint = diagnostic.hint.map { "\n  hint: \($0)" } ?? ""
            return "\(headline(diagnostic))\(hint)"
        }
    }

    private func headline(_ diagnostic: PolicyDiagnostic) -> String {
        // Never with its value, which may be what should not be told.
        if let number = TargetedDocument.number(diagnostic.location), targets.indices.contains(number) {
            return "--target \(targets[number]): \(diagnostic.message)"
        }
        return "\(source):\(diagnostic.location.line):\(diagnostic.location.column): \(diagnostic.message)"
    }

    package var lifeboatError: LifeboatError {
        let subject = "the policy '\(source)'\(targets.isEmpty ? "" : " with --target")"
        if diagnostics.count == 1 {
            return LifeboatError(
                "\(subject) is not valid", causes: [headline(diagnostics[0])], hint: diagnostics[0].hint,
                exitCode: .usage)
        }
        return LifeboatError(
            "\(subject) is not valid: \(diagnostics.count) problems", causes: lines,
            hint: "Nothing was run; correct \(targets.isEmpty ? "the lines" : "what is named") above.", exitCode: .usage
        )
    }
}
