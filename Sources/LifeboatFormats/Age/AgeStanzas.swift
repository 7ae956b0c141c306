// SPDX-License-Identifier: Apache-2.0

internal import LifeboatCore

/// Wraps and unwraps the file key for an X25519 recipient.
enum X25519Stanza {
    static let type = "X25519"
    private static let info = "age-encryption.org/v1/X25519"

    static func wrap(_ fileKey: SecretBytes, for recipient: AgeRecipient) throws(AgeError) -> AgeHeader.Stanza {
        let ephemeral = try AgeError.wrapping(try LibCrypto.randomSecret(X25519.keySize))
        let share = try AgeError.wrapping(try X25519.publicKey(of: ephemeral))
        guard let shared = try AgeError.wrapping(try X25519.agree(ephemeral, recipient.publicKey)) else {
            throw .key("the recipient \(recipient.text) is no usable key")
        }
        let key = try AgeError.wrapping(
            try LibCrypto.hkdf(shared, salt: share + recipient.publicKey, info: info))
        return AgeHeader.Stanza(
            type: type, arguments: [text(Base64.encode(share, padded: false))],
            body: try FileKey.seal(fileKey, under: key))
    }

    /// The file key; nil when the stanza is for someone else.
    static func unwrap(_ stanza: AgeHeader.Stanza, _ identity: AgeIdentity) throws(AgeError) -> SecretBytes? {
        guard stanza.arguments.count == 1,
            let share = Base64.decode(stanza.arguments[0].utf8, padded: false), share.count == X25519.keySize
        else { throw .header("an X25519 recipient in the header is malformed") }
        try FileKey.checkSize(stanza)
        guard let shared = try AgeError.wrapping(try X25519.agree(identity.secretKey, share)) else {
            throw .header("an X25519 recipient in the header has a share of low order")
        }
        let key = try AgeError.wrapping(
            try LibCrypto.hkdf(shared, salt: share + identity.recipient.publicKey, info: info))
        return try FileKey.open(stanza.body, under: key)
    }
}

/// Wraps and unwraps the file key under a passphrase.
enum ScryptStanza {
    static let type = "scrypt"
    private static let saltPrefix = "age-encryption.org/v1/scrypt"
    private static let saltSize = 16
    /// What age accepts: 4 GiB of memory. Written is 18, which takes 256 MiB and about a second.
    static let maximumWorkFactor = 22

    static func wrap(
        _ fileKey: SecretBytes, _ passphrase: Secret, workFactor: Int
    ) throws(AgeError) -> AgeHeader.Stanza {
        guard (1...maximumWorkFactor).contains(workFactor) else {
            throw .unsupported("unsupported scrypt work factor: \(workFactor) is not in 1...\(maximumWorkFactor)")
        }
        let salt = try AgeError.wrapping(try LibCrypto.random(saltSize))
        let key = try derive(passphrase, salt, workFactor)
        return AgeHeader.Stanza(
            type: type, arguments: [text(Base64.encode(salt, padded: false)), String(workFactor)],
            body: try FileKey.seal(fileKey, under: key))
    }

    /// The file key; nil when the passphrase is another one.
    static func unwrap(_ stanza: AgeHeader.Stanza, _ passphrase: Secret) throws(AgeError) -> SecretBytes? {
        guard stanza.arguments.count == 2, let salt = Base64.decode(stanza.arguments[0].utf8, padded: false),
            salt.count == saltSize
        else { throw .header("the passphrase recipient in the header is malformed") }
        let digits = stanza.arguments[1].utf8
        guard digits.allSatisfy({ (0x30...0x39).contains($0) }), digits.first != UInt8(ascii: "0") else {
            throw .header("the scrypt work factor in the header is malformed")
        }
        guard digits.count <= 2, let workFactor = Int(stanza.arguments[1]), workFactor <= maximumWorkFactor else {
            throw .header("the scrypt work factor in the header is above \(maximumWorkFactor)")
        }
        try FileKey.checkSize(stanza)
        return try FileKey.open(stanza.body, under: try derive(passphrase, salt, workFactor))
    }

    private static func derive(
        _ passphrase: Secret, _ salt: [UInt8], _ workFactor: Int
    ) throws(AgeError) -> SecretBytes {
        try AgeError.wrapping(
            try LibCrypto.scrypt(passphrase, salt: Array(saltPrefix.utf8) + salt, workFactor: workFactor))
    }
}

/// The 16 bytes all keys of one file are derived from.
enum FileKey {
    static let count = 16
    private static let sealedCount = count + ChaCha20Poly1305.tagSize

    static func seal(_ fileKey: SecretBytes, under key: SecretBytes) throws(AgeError) -> [UInt8] {
        let cipher = try AgeError.wrapping(try ChaCha20Poly1305(key, seals: true))
        let sealed = SecretBytes(count: sealedCount)
        do {
            try cipher.seal(fileKey, into: sealed)
        } catch {
            throw .library(error)
        }
        return unsafe sealed.withBytes { unsafe Array($0) }
    }

    /// Before decrypting: a body of another size could be made to open under several keys.
    static func checkSize(_ stanza: AgeHeader.Stanza) throws(AgeError) {
        guard stanza.body.count == sealedCount else {
            throw .header("a recipient in the header wraps a key of another size than 16 bytes")
        }
    }

    static func open(_ body: [UInt8], under key: SecretBytes) throws(AgeError) -> SecretBytes? {
        let cipher = try AgeError.wrapping(try ChaCha20Poly1305(key, seals: false))
        let fileKey = SecretBytes(count: count)
        do {
            return try cipher.open(SecretBytes(copying: body), into: fileKey) ? fileKey : nil
        } catch {
            throw .library(error)
        }
    }

    static func headerKey(_ fileKey: SecretBytes) throws(AgeError) -> SecretBytes {
        try AgeError.wrapping(try LibCrypto.hkdf(fileKey, salt: [], info: "header"))
    }

    static func payloadKey(_ fileKey: SecretBytes, nonce: [UInt8]) throws(AgeError) -> SecretBytes {
        try AgeError.wrapping(try LibCrypto.hkdf(fileKey, salt: nonce, info: "payload"))
    }
}

private func text(_ ascii: [UInt8]) -> String { String(decoding: ascii, as: UTF8.self) }
