// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Why a child program gave no result. A non-zero exit status is a result, not one of these.
package enum ProcessError: Error, LifeboatErrorConvertible, Equatable {
    /// No such program at that path or in the PATH of the child.
    case notFound(program: String, searched: [String])
    /// The child could not be made or become the program; `step` is a verb phrase.
    case cannotStart(program: String, step: String, errorNumber: Int32)
    /// The child did not end in time and was terminated, with what it last said.
    case deadline(program: String, seconds: Double, standardError: String)
    /// More output than the caller takes; the child was terminated.
    case outputLimit(program: String, bytes: Int)
    /// Read from or written to after `terminate`.
    case terminated(program: String)
    /// The child ended before it read all of its input (EPIPE).
    case inputClosed(program: String)
    /// A system call on one of the child's pipes failed.
    case system(program: String, SystemCallError)

    package var lifeboatError: LifeboatError {
        switch self {
        case .notFound(let program, let searched):
            LifeboatError(
                "cannot run '\(program)'",
                causes: [
                    searched.isEmpty
                        ? "there is no such program" : "there is no such program in \(searched.joined(separator: ":"))"
                ],
                hint: "Install '\(program)', or give its full path.")
        case .cannotStart(let program, let step, let errorNumber):
            LifeboatError(
                "cannot run '\(program)'", causes: ["cannot \(step): \(SystemCallError.describe(errorNumber))"])
        case .deadline(let program, let seconds, let standardError):
            LifeboatError(
                "'\(program)' did not end within \(Self.printed(seconds)) s and was ended",
                causes: ProcessResult.lastLines(of: standardError))
        case .outputLimit(let program, let bytes):
            LifeboatError("'\(program)' printed more than \(ByteCount(UInt64(clamping: bytes)))")
        case .terminated(let program):
            LifeboatError("'\(program)' was ended early")
        case .inputClosed(let program):
            LifeboatError("'\(program)' ended before it read all of its input")
        case .system(let program, let error):
            error.lifeboatError.wrapped("lost the connection to '\(program)'")
        }
    }

    private static func printed(_ seconds: Double) -> String {
        seconds == seconds.rounded() && abs(seconds) < 1e9 ? "\(Int(seconds))" : "\(seconds)"
    }
}

extension ProcessResult {
    /// The last lines of what a child printed on standard error, for the causes of an error; before them the first line
    /// that says "error", which is often the reason for all that follow.
    package static func lastLines(of standardError: String, _ count: Int = 5) -> [String] {
        let lines = standardError.split(whereSeparator: \.isNewline)
            .map { line in
                String(line.drop { $0 == " " || $0 == "\t" })
            }
            .filter { !$0.isEmpty }
        let last = Array(lines.suffix(count))
        guard let first = lines.dropLast(last.count).first(where: isError) else { return last }
        return [first] + last
    }

    /// For display only: success and failure are decided by the exit status.
    private static func isError(_ line: String) -> Bool {
        ["ERROR:", "error:", "FATAL:", "fatal:", "PANIC:"].contains { line.contains($0) }
    }

    /// The first line that says "error", cut to 1,000 characters; nil: none does.
    static func firstError(in text: String) -> String? {
        text.split(whereSeparator: \.isNewline).map { $0.drop { $0 == " " || $0 == "\t" } }
            .first { isError(String($0)) }.map { String($0.prefix(1000)) }
    }
}
