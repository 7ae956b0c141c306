// SPDX-License-Identifier: Apache-2.0

internal import CLibCrypto

/// SHA-256 of a stream, piece by piece: what other programs name or check their files by. Not thread-safe.
@safe
package final class SHA256 {
    private let context: OpaquePointer

    package init() throws(LibCryptoError) {
        guard let context = unsafe EVP_MD_CTX_new() else { throw .current("compute a SHA-256 digest") }
        unsafe self.context = unsafe context
        // From here on `deinit` frees the context.
        try LibCryptoError.check(
            unsafe EVP_DigestInit_ex(context, EVP_sha256(), nil), "compute a SHA-256 digest")
    }

    deinit { unsafe EVP_MD_CTX_free(context) }

    package func update(_ bytes: UnsafeRawBufferPointer) throws(LibCryptoError) {
        try LibCryptoError.check(
            unsafe EVP_DigestUpdate(context, bytes.baseAddress, bytes.count), "compute a SHA-256 digest")
    }

    /// 64 lower-case hexadecimal digits of all that was given. Called once, last.
    package func finish() throws(LibCryptoError) -> String {
        var result = [UInt8](repeating: 0, count: 32)
        try LibCryptoError.check(
            unsafe EVP_DigestFinal_ex(context, &result, nil), "compute a SHA-256 digest")
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: result.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
