// SPDX-License-Identifier: Apache-2.0

/// The error every layer above the wrappers throws: what went wrong with which thing, why, and what to do.
///
/// Printed as `error: <message>`, one `cause:` line each, and `hint:`. Messages and causes are lower case without a
/// full stop; a hint is one full sentence. None of the texts ever holds a secret.
package struct LifeboatError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The exit status this error leads to when nothing above knows better.
    package var exitCode: ExitCode
    /// What failed, with the name of the thing: `cannot read file '/srv/docs/a.txt'`.
    package var message: String
    /// Why, outermost first: `permission denied (EACCES)`.
    package var causes: [String]
    /// What the reader can do about it.
    package var hint: String?

    package init(_ message: String, causes: [String] = [], hint: String? = nil, exitCode: ExitCode = .failed) {
        self.exitCode = exitCode
        self.message = message
        self.causes = causes
        self.hint = hint
    }

    /// The same failure seen from one level up: `message` becomes the headline and the old headline the first cause.
    package func wrapped(_ message: String, hint: String? = nil) -> LifeboatError {
        LifeboatError(
            message, causes: [self.message] + causes, hint: hint ?? self.hint, exitCode: exitCode)
    }

    /// The printed form, without a newline at the end.
    package var description: String {
        var lines = ["error: \(message)"]
        lines += causes.map { "cause: \($0)" }
        if let hint { lines.append("hint: \(hint)") }
        return lines.joined(separator: "\n")
    }

    /// Any error as a `LifeboatError`: those that convert themselves keep their causes, foreign ones become a cause.
    package static func converting(_ error: any Error, _ message: String? = nil, hint: String? = nil) -> LifeboatError {
        let converted: LifeboatError
        switch error {
        case let error as LifeboatError: converted = error
        case let error as any LifeboatErrorConvertible: converted = error.lifeboatError
        case is CancellationError: converted = .interrupted
        default:
            if let message { return LifeboatError(message, causes: ["\(error)"], hint: hint) }
            return LifeboatError("\(error)", hint: hint)
        }
        guard let message else { return converted }
        return converted.wrapped(message, hint: hint)
    }

    /// The operation was ended by Ctrl-C or another signal.
    package static let interrupted = LifeboatError("interrupted", exitCode: .interrupted)
}

/// A wrapper's own closed error type that knows its printed form: the one conversion point of that wrapper.
package protocol LifeboatErrorConvertible: Error {
    var lifeboatError: LifeboatError { get }
}
