// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Whom a file is encrypted for: an X25519 public key, `age1…`.
package struct AgeRecipient: Sendable, Hashable {
    /// `age1` and 58 further characters; the only spelling of this recipient.
    package let text: String
    /// 32 bytes.
    let publicKey: [UInt8]

    /// Parses `age1…`. Throws `unsupported` for the other types age knows (post-quantum, hardware, plugin, SSH), `key`
    /// for anything else.
    package init(_ text: String) throws(AgeError) {
        if text.hasPrefix("ssh-") {
            throw .unsupported("unsupported recipient type: an SSH key")
        }
        if text.utf8.prefix(4).elementsEqual("AGE-".utf8) {
            throw .key("this is a secret key where a recipient (age1…) belongs")
        }
        guard let (prefix, bytes) = Bech32.decode(text) else {
            throw .key("malformed recipient: it is not age1… with a right checksum")
        }
        switch prefix {
        case "age": break
        case "age1pq": throw .unsupported("unsupported recipient type: post-quantum (age1pq1…)")
        case "age1tag", "age1tagpq": throw .unsupported("unsupported recipient type: a hardware key (\(prefix)1…)")
        case _ where prefix.hasPrefix("age1"):
            throw .unsupported("unsupported recipient type: of a plugin (\(prefix)1…)")
        default: throw .key("malformed recipient: it does not begin with age1")
        }
        guard bytes.count == X25519.keySize else {
            throw .key("malformed recipient: \(bytes.count) bytes where 32 belong")
        }
        self.text = text
        publicKey = bytes
    }

    /// `publicKey` has 32 bytes.
    init(publicKey: [UInt8]) {
        self.publicKey = publicKey
        text = Bech32.encode("age", publicKey)
    }
}

/// What opens files for one recipient: an X25519 secret key, `AGE-SECRET-KEY-1…`. The key is wiped when the last copy
/// goes away.
package struct AgeIdentity: Sendable {
    /// The public half.
    package let recipient: AgeRecipient
    let secretKey: SecretBytes

    /// A new random identity.
    package static func generate() throws(AgeError) -> AgeIdentity {
        try AgeIdentity(secretKey: try AgeError.wrapping(try LibCrypto.randomSecret(X25519.keySize)))
    }

    /// Parses `AGE-SECRET-KEY-1…`. Throws `unsupported` for the other types age knows, `key` for anything else.
    package init(_ secret: Secret) throws(AgeError) {
        var decoded = secret.reveal { Bech32.decode($0) }
        defer {
            if var bytes = decoded?.bytes {
                // Or wiping would only wipe a copy.
                decoded = nil
                wipe(&bytes)
            }
        }
        guard let prefix = decoded?.prefix, let count = decoded?.bytes.count else {
            throw .key("malformed identity: it is not AGE-SECRET-KEY-1… with a right checksum")
        }
        switch prefix {
        case "AGE-SECRET-KEY-": break
        case "AGE-SECRET-KEY-PQ-": throw .unsupported("unsupported identity type: post-quantum (AGE-SECRET-KEY-PQ-1…)")
        case _ where prefix.hasPrefix("AGE-PLUGIN-"): throw .unsupported("unsupported identity type: of a plugin")
        default: throw .key("malformed identity: it does not begin with AGE-SECRET-KEY-1")
        }
        guard count == X25519.keySize else { throw .key("malformed identity: \(count) bytes where 32 belong") }
        let secretKey = SecretBytes(copying: decoded?.bytes ?? [])
        try self.init(secretKey: secretKey)
    }

    private init(secretKey: SecretBytes) throws(AgeError) {
        self.secretKey = secretKey
        recipient = AgeRecipient(publicKey: try AgeError.wrapping(try X25519.publicKey(of: secretKey)))
    }

    /// `AGE-SECRET-KEY-1…`, for the key file and the recovery sheet.
    package func secret() -> Secret {
        unsafe secretKey.withBytes { unsafe Secret(Bech32.encode("AGE-SECRET-KEY-", $0).uppercased()) }
    }
}

/// What a reader tries on a file.
package enum AgeKey: Sendable {
    case identity(AgeIdentity)
    case passphrase(Secret)
}
