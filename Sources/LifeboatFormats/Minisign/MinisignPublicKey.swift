// SPDX-License-Identifier: Apache-2.0

/// An Ed25519 public key in minisign's form: verifies what its owner signed.
package struct MinisignPublicKey: Sendable, Hashable {
    /// 56 characters that begin with `RW`: what `minisign -P` takes. The only spelling of this key.
    package let text: String
    /// 8 random bytes that tell keys apart; not secret, and no proof of anything.
    let idBytes: [UInt8]
    /// 32 bytes.
    let key: [UInt8]

    private static let algorithm = Array("Ed".utf8)

    /// Parses the base64 line. Throws `publicKey`.
    package init(_ text: String) throws(MinisignError) {
        guard let bytes = Base64.decode(text.utf8, padded: true), bytes.count == 2 + 8 + 32 else {
            throw .publicKey("it is not the base64 of 42 bytes")
        }
        guard bytes.starts(with: Self.algorithm) else { throw .publicKey("it is not for Ed25519") }
        self.text = text
        idBytes = Array(bytes[2..<10])
        key = Array(bytes[10...])
    }

    /// Parses a `.pub` file: a line of comment, and the key. Throws `publicKey`.
    package init(file: [UInt8]) throws(MinisignError) {
        let lines = MinisignText.lines(file)
        guard lines.count == 2, lines[0].starts(with: MinisignText.untrusted) else {
            throw .publicKey("the file is not a comment and a line with the key")
        }
        try self.init(MinisignText.string(lines[1]))
    }

    init(idBytes: [UInt8], key: [UInt8]) {
        self.idBytes = idBytes
        self.key = key
        text = MinisignText.string(Base64.encode(Self.algorithm + idBytes + key, padded: true)[...])
    }

    /// 16 hexadecimal digits, as minisign prints it.
    package var keyID: String { MinisignText.keyID(idBytes) }

    /// The `.pub` file that `minisign -p` takes.
    package var fileText: String {
        // The tool prints the id as a number, without zeros in front.
        let number = keyID.drop { $0 == "0" }
        return "\(MinisignText.string(MinisignText.untrusted[...]))minisign public key \(number)\n\(text)\n"
    }

    /// Verifies a `.minisig` file of `data`: the signature of the bytes and the one of the trusted comment. Returns the
    /// trusted comment. Throws `otherKey`, `forged` or `forgedComment` when it does not hold, `signature` or
    /// `unsupported` for what is no such file. Nothing of `data` is looked at but its hash.
    package func verify(_ data: UnsafeRawBufferPointer, signature: [UInt8]) throws(MinisignError) -> String {
        let lines = MinisignText.lines(signature)
        guard lines.count == 4, lines[0].starts(with: MinisignText.untrusted),
            lines[2].starts(with: MinisignText.trusted)
        else { throw .signature("the file is not comment, signature, trusted comment and signature") }
        guard let body = Base64.decode(lines[1], padded: true), body.count == 2 + 8 + Ed25519.signatureSize,
            let commentSignature = Base64.decode(lines[3], padded: true),
            commentSignature.count == Ed25519.signatureSize
        else { throw .signature("a signature is not base64 of the right length") }
        if body.starts(with: Self.algorithm) {
            throw .unsupported("unsupported minisign signature: it is of the old kind, without a hash")
        }
        guard body.starts(with: MinisignText.hashedAlgorithm) else {
            throw .signature("it is not an Ed25519 signature of a BLAKE2b hash")
        }
        let signer = Array(body[2..<10])
        guard signer == idBytes else { throw .otherKey(expected: keyID, found: MinisignText.keyID(signer)) }
        let bare = Array(body[10...])
        let digest: [UInt8]
        do {
            digest = try unsafe LibCrypto.blake2b512(data)
        } catch {
            throw .library(error)
        }
        guard try MinisignError.wrapping(try Ed25519.verify(bare, of: digest, key)) else { throw .forged }
        let comment = lines[2].dropFirst(MinisignText.trusted.count)
        guard try MinisignError.wrapping(try Ed25519.verify(commentSignature, of: bare + comment, key)) else {
            throw .forgedComment
        }
        return MinisignText.string(comment)
    }
}

/// The lines minisign's files are made of.
enum MinisignText {
    static let untrusted = Array("untrusted comment: ".utf8)
    static let trusted = Array("trusted comment: ".utf8)
    /// Ed25519 over the BLAKE2b-512 of the file.
    static let hashedAlgorithm = Array("ED".utf8)

    /// The lines, each without its LF, which the last may lack.
    static func lines(_ file: [UInt8]) -> [ArraySlice<UInt8>] {
        var lines = file.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        return lines
    }

    static func string(_ bytes: ArraySlice<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }

    /// The id as a little-endian number in hexadecimal.
    static func keyID(_ bytes: [UInt8]) -> String {
        bytes.reversed().map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined()
    }
}
