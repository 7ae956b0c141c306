// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// The closed set of ways reading or writing an age file or key fails. No text in it ever holds key material.
package enum AgeError: Error, LifeboatErrorConvertible, Equatable {
    /// The bytes at hand end inside the header: read more of the file and try again. Functions that are given the whole
    /// file say `header` instead.
    case needMore
    /// The header breaks the rules of age v1. What is wrong with it.
    case header(String)
    /// None of the keys opens the file: the wrong identity, or the wrong passphrase.
    case noMatch
    /// A key matches, but the header is not the one the file was written with.
    case hmac
    /// A block of the payload is not what was written. What is wrong with it.
    case payload(String)
    /// The payload ends too early. Where.
    case truncated(String)
    /// The ASCII armor is malformed. What is wrong with it.
    case armor(String)
    /// Valid age, but not for lifeboat: another type of recipient or identity, an encrypted identity file.
    case unsupported(String)
    /// A recipient, an identity or a file of them is malformed. What is wrong, with the line of a file.
    case key(String)
    /// libcrypto failed.
    case library(LibCryptoError)

    package var lifeboatError: LifeboatError {
        switch self {
        case .needMore: Self.unreadable("the header is cut short")
        case .header(let reason): Self.unreadable(reason)
        case .noMatch:
            LifeboatError(
                "no key opens this age file", causes: ["it was encrypted for other recipients or another passphrase"],
                hint: "Give the identity of one of its recipients, or the passphrase it was written with.",
                exitCode: .wrongKey)
        case .hmac: Self.unreadable("its header was changed after it was written")
        case .payload(let reason), .truncated(let reason), .armor(let reason): Self.unreadable(reason)
        case .unsupported(let what):
            LifeboatError(
                what, hint: "lifeboat encrypts for X25519 recipients (age1…) and passphrases; make one with age-keygen."
            )
        case .key(let reason): LifeboatError(reason)
        case .library(let error): error.lifeboatError
        }
    }

    private static func unreadable(_ reason: String) -> LifeboatError {
        LifeboatError("cannot read the age file", causes: [reason])
    }

    /// The value of a call to libcrypto, with its error as one of these.
    static func wrapping<Value>(
        _ value: @autoclosure () throws(LibCryptoError) -> Value
    ) throws(AgeError) -> Value {
        do {
            return try value()
        } catch {
            throw .library(error)
        }
    }
}
