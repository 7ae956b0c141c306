// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// An Ed25519 secret key in minisign's form: signs. The key is wiped when the last copy goes away.
package struct MinisignSecretKey: Sendable {
    package let publicKey: MinisignPublicKey
    private let seed: SecretBytes

    private static let idSize = 8
    private static let maximumComment = 8000
    /// Before the id in a key file: `Ed`, no key derivation, checksum `B2`, then salt and limits of the derivation that
    /// is not done.
    private static let filePrefix = Array("Ed\0\0B2".utf8) + [UInt8](repeating: 0, count: 32 + 8 + 8)
    /// minisign neither writes nor reads the checksum of a key that is not encrypted.
    private static let checksum = [UInt8](repeating: 0, count: 32)

    /// A new random key with a random id.
    package static func generate() throws(MinisignError) -> MinisignSecretKey {
        let id = try MinisignError.wrapping(try LibCrypto.random(idSize))
        return try MinisignSecretKey(
            id: id, seed: try MinisignError.wrapping(try LibCrypto.randomSecret(Ed25519.keySize)))
    }

    private init(id: [UInt8], seed: SecretBytes) throws(MinisignError) {
        self.seed = seed
        let key = try MinisignError.wrapping(try Ed25519.publicKey(of: seed))
        publicKey = MinisignPublicKey(idBytes: id, key: key)
    }

    /// Parses what `encoded` gives, or the file of `minisign -G -W`. Throws `unsupported` for a key that is encrypted
    /// with a password, `secretKey` for anything else.
    package init(_ encoded: Secret) throws(MinisignError) {
        var file = encoded.reveal { Array($0.utf8) }
        defer { wipe(&file) }
        let lines = MinisignText.lines(file)
        guard lines.count == 2, lines[0].starts(with: MinisignText.untrusted),
            var bytes = Base64.decode(lines[1], padded: true)
        else { throw .secretKey("it is not a comment and a line of base64") }
        defer { wipe(&bytes) }
        let start = Self.filePrefix.count + Self.idSize
        guard bytes.count == start + 2 * Ed25519.keySize + Self.checksum.count,
            bytes.starts(with: Self.filePrefix.prefix(2)), bytes[4..<6].elementsEqual(Self.filePrefix[4..<6])
        else { throw .secretKey("it is not an Ed25519 key") }
        guard bytes[2..<4].elementsEqual([0, 0]) else {
            throw .unsupported("unsupported minisign secret key: it is encrypted with a password")
        }
        let seed = SecretBytes(copying: Array(bytes[start..<start + Ed25519.keySize]))
        try self.init(id: Array(bytes[Self.filePrefix.count..<start]), seed: seed)
        // There is no checksum, but the public key is in the file a second time.
        guard publicKey.key.elementsEqual(bytes[(start + Ed25519.keySize)...].prefix(Ed25519.keySize)) else {
            throw .secretKey("its two halves do not belong together")
        }
    }

    /// The text of an unencrypted secret key file, which `minisign -S -s` takes as well. Store it with mode 0600.
    package func encoded() -> Secret {
        var bytes = Self.filePrefix + publicKey.idBytes
        bytes += unsafe seed.withBytes { unsafe Array($0) }
        bytes += publicKey.key + Self.checksum
        defer { wipe(&bytes) }
        var text = Base64.encode(bytes, padded: true)
        defer { wipe(&text) }
        return Secret("untrusted comment: minisign secret key \(publicKey.keyID)\n\(MinisignText.string(text[...]))\n")
    }

    /// The `.minisig` file of `data`: a signature of its BLAKE2b-512, and one of that signature with the trusted
    /// comment. Deterministic. Throws `comment` when the comment has control characters other than tabs, or more than
    /// 8,000 bytes, which is about what minisign reads.
    package func sign(_ data: UnsafeRawBufferPointer, trustedComment: String) throws(MinisignError) -> [UInt8] {
        let comment = Array(trustedComment.utf8)
        guard comment.count <= Self.maximumComment, comment.allSatisfy({ ($0 >= 0x20 && $0 != 0x7F) || $0 == 0x09 })
        else { throw .comment }
        let digest: [UInt8]
        do {
            digest = try unsafe LibCrypto.blake2b512(data)
        } catch {
            throw .library(error)
        }
        let signature = try MinisignError.wrapping(try Ed25519.sign(digest, seed))
        let commentSignature = try MinisignError.wrapping(try Ed25519.sign(signature + comment, seed))
        let newline: [UInt8] = [0x0A]
        var file = Array("untrusted comment: signature from lifeboat, key \(publicKey.keyID)\n".utf8)
        file += Base64.encode(MinisignText.hashedAlgorithm + publicKey.idBytes + signature, padded: true) + newline
        file += MinisignText.trusted + comment + newline
        file += Base64.encode(commentSignature, padded: true) + newline
        return file
    }
}
