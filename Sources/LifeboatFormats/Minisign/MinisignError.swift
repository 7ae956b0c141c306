// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// The closed set of ways signing, verifying or reading a minisign key fails. No text in it ever holds key material.
package enum MinisignError: Error, LifeboatErrorConvertible, Equatable {
    /// A public key is malformed. What is wrong with it.
    case publicKey(String)
    /// A secret key is malformed. What is wrong with it.
    case secretKey(String)
    /// A signature file is malformed. What is wrong with it.
    case signature(String)
    /// Valid minisign, but not for lifeboat: an encrypted secret key, a signature of the old kind.
    case unsupported(String)
    /// A trusted comment that does not fit on one line of 8,000 bytes.
    case comment
    /// The signature is of another key: the ids of the key that was expected and of the one that signed.
    case otherKey(expected: String, found: String)
    /// The signature is none of these bytes.
    case forged
    /// The signature is right, but the trusted comment is not what was signed.
    case forgedComment
    /// libcrypto failed.
    case library(LibCryptoError)

    package var lifeboatError: LifeboatError {
        switch self {
        case .publicKey(let reason): LifeboatError("malformed minisign public key", causes: [reason])
        case .secretKey(let reason): LifeboatError("malformed minisign secret key", causes: [reason])
        case .signature(let reason): LifeboatError("malformed minisign signature", causes: [reason])
        case .unsupported(let what): LifeboatError(what)
        case .comment: LifeboatError("a trusted comment is one line of at most 8,000 bytes")
        case .otherKey(let expected, let found):
            LifeboatError("signed with key \(found) where key \(expected) is expected")
        case .forged: LifeboatError("the signature does not belong to these bytes")
        case .forgedComment: LifeboatError("the trusted comment of the signature was changed")
        case .library(let error): error.lifeboatError
        }
    }

    /// The value of a call to libcrypto, with its error as one of these.
    static func wrapping<Value>(
        _ value: @autoclosure () throws(LibCryptoError) -> Value
    ) throws(MinisignError) -> Value {
        do {
            return try value()
        } catch {
            throw .library(error)
        }
    }
}
