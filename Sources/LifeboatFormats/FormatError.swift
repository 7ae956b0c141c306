// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// The closed set of ways reading or writing a format fails. The library's own code and words are never lost.
package struct FormatError: Error, LifeboatErrorConvertible, Equatable {
    package enum Kind: Sendable, Equatable {
        /// The bytes break the rules of the format, or a checksum does not match.
        case damaged
        /// The bytes end before the format says they may.
        case truncated
        /// The buffer of the caller is too small for the result.
        case destinationTooSmall
        /// More bytes, or another number of bytes, than the caller expects or allows.
        case sizeMismatch
        /// Valid, but nothing that lifeboat writes or reads; or a value the format cannot express.
        case unsupported
        /// The output refused the bytes (a full disk, a closed pipe).
        case output
        /// The system has no memory for it.
        case outOfMemory
        /// Everything else a library reports.
        case library
    }

    package var kind: Kind
    /// What was attempted, as a verb phrase: `decompress a zstd frame`.
    package var operation: String
    /// The library's number: a ZSTD_ErrorCode, an ARCHIVE_* result or errno; 0 when lifeboat itself refused.
    package var code: Int
    /// The library's words, or lifeboat's.
    package var text: String

    package init(_ kind: Kind, _ operation: String, code: Int = 0, _ text: String) {
        self.kind = kind
        self.operation = operation
        self.code = code
        self.text = text
    }

    package var lifeboatError: LifeboatError {
        LifeboatError("cannot \(operation)", causes: [code == 0 ? text : "\(text) (code \(code))"])
    }
}
