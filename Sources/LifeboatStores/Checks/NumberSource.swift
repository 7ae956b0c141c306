// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Answers the policy's checks with numbers. A store adopts it for its live content; a capture point for its content as
/// of the point, which is asked first.
///
/// Called on any one thread at a time. A question that is not the store's throws `CheckQuestion.notAnswered`.
package protocol NumberSource: Sendable {
    func number(_ question: CheckQuestion, _ cancellation: Cancellation) throws -> Double
}

extension CheckQuestion {
    /// The error for a question that `subject` does not understand.
    func notAnswered(by subject: String) -> LifeboatError {
        let asked =
            switch self {
            case .sql: "a query"
            case .points: "its points"
            case .keys: "its keys"
            case .files: "its files"
            }
        return LifeboatError("\(subject) cannot be asked for \(asked)", exitCode: .usage)
    }

    /// The number in the answer to a query.
    static func number(_ text: String?) throws(LifeboatError) -> Double {
        guard let text else { throw LifeboatError("the query gave no row, or NULL") }
        guard let number = Double(text), number.isFinite else {
            throw LifeboatError("the query gave '\(text.prefix(60))', which is no number")
        }
        return number
    }
}
