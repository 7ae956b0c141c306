// SPDX-License-Identifier: Apache-2.0

/// A password, key or token. Every way of printing it gives `<secret>`; only `reveal` hands it out.
package struct Secret: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    private let value: String

    package init(_ value: String) { self.value = value }

    /// Hands the plain value to `body`, for the one call that needs it. Do not let it escape into a log, an argument
    /// vector, a manifest or an error.
    package func reveal<Result, Failure: Error>(
        _ body: (String) throws(Failure) -> Result
    ) throws(Failure) -> Result { try body(value) }

    package var description: String { "<secret>" }
    package var debugDescription: String { "<secret>" }
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}
