// SPDX-License-Identifier: Apache-2.0

internal import CLibCrypto

/// A digest of bytes that come piece by piece, by libcrypto: what other programs name their files by. Used on one thread
/// at a time.
@safe package final class RunningDigest {
    package enum Algorithm: Sendable {
        case sha256
        /// For names others chose; it proves nothing against an attacker.
        case sha1
    }

    private let algorithm: Algorithm
    private let context: OpaquePointer

    package init(_ algorithm: Algorithm) throws {
        guard let context = unsafe lifeboat_digest_start(algorithm == .sha1 ? 160 : 256) else {
            throw LibCryptoError.current("start a digest")
        }
        self.algorithm = algorithm
        unsafe self.context = context
    }

    deinit { unsafe EVP_MD_CTX_free(context) }

    package func update(_ bytes: UnsafeRawBufferPointer) throws {
        try LibCryptoError.check(
            unsafe EVP_DigestUpdate(context, bytes.baseAddress, bytes.count), "compute a digest")
    }

    package func update(_ bytes: [UInt8]) throws {
        try unsafe bytes.withUnsafeBytes { try unsafe update($0) }
    }

    /// The digest in lower-case hexadecimal digits. Nothing can follow.
    package func finish() throws -> String {
        var bytes = [UInt8](repeating: 0, count: algorithm == .sha1 ? 20 : 32)
        var count: UInt32 = 0
        try LibCryptoError.check(unsafe EVP_DigestFinal_ex(context, &bytes, &count), "compute a digest")
        let digits = Array("0123456789abcdef".utf8)
        return String(
            decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
