// SPDX-License-Identifier: Apache-2.0

internal import CLibCrypto
package import LifeboatCore

/// The primitives of OpenSSL's libcrypto that age and minisign are made of.
///
/// Every function is thread-safe. None leaves an entry in libcrypto's error queue, which belongs to the thread: TLS
/// connections on the same thread look at it.
enum LibCrypto {
    static func random(_ count: Int) throws(LibCryptoError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let status = unsafe bytes.withUnsafeMutableBufferPointer { unsafe RAND_bytes($0.baseAddress, Int32($0.count)) }
        try LibCryptoError.check(status, "make random bytes")
        return bytes
    }

    /// From the generator libcrypto keeps for secrets.
    static func randomSecret(_ count: Int) throws(LibCryptoError) -> SecretBytes {
        let secret = SecretBytes(count: count)
        let status = unsafe secret.withMutableBytes { bytes in
            unsafe RAND_priv_bytes(bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(bytes.count))
        }
        try LibCryptoError.check(status, "make a random key")
        return secret
    }

    /// HKDF-SHA-256, 32 bytes.
    static func hkdf(_ key: SecretBytes, salt: [UInt8], info: String) throws(LibCryptoError) -> SecretBytes {
        let result = SecretBytes(count: 32)
        let information = Array(info.utf8)
        let status = unsafe key.withBytes { key in
            unsafe result.withMutableBytes { result in
                unsafe lifeboat_hkdf_sha256(
                    key.baseAddress?.assumingMemoryBound(to: UInt8.self), key.count, salt, salt.count, information,
                    information.count, result.baseAddress?.assumingMemoryBound(to: UInt8.self), result.count)
            }
        }
        try LibCryptoError.check(status, "derive a key with HKDF")
        return result
    }

    /// HMAC-SHA-256, 32 bytes.
    static func hmac(_ key: SecretBytes, _ message: UnsafeRawBufferPointer) throws(LibCryptoError) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: 32)
        let status = unsafe key.withBytes { key in
            unsafe lifeboat_hmac_sha256(
                key.baseAddress?.assumingMemoryBound(to: UInt8.self), key.count,
                message.baseAddress?.assumingMemoryBound(to: UInt8.self), message.count, &result)
        }
        try LibCryptoError.check(status, "compute an HMAC")
        return result
    }

    /// HMAC-SHA-256, 32 bytes.
    static func hmac(_ key: SecretBytes, _ message: [UInt8]) throws(LibCryptoError) -> [UInt8] {
        try unsafe message.withUnsafeBufferPointer { message throws(LibCryptoError) in
            try unsafe hmac(key, UnsafeRawBufferPointer(message))
        }
    }

    /// scrypt with r = 8, p = 1 and N = 2^`workFactor`, 32 bytes. Takes 2^(workFactor + 10) bytes of memory and, for
    /// 18, about a second.
    static func scrypt(_ passphrase: Secret, salt: [UInt8], workFactor: Int) throws(LibCryptoError) -> SecretBytes {
        let result = SecretBytes(count: 32)
        let status = passphrase.reveal { passphrase in
            var passphrase = passphrase
            return passphrase.withUTF8 { text in
                unsafe result.withMutableBytes { result in
                    // The limit only has to be above what the work factor needs: callers bound that.
                    unsafe EVP_PBE_scrypt(
                        UnsafeRawPointer(text.baseAddress)?.assumingMemoryBound(to: CChar.self), text.count, salt,
                        salt.count, 1 << UInt64(workFactor), 8, 1, 1 << 40,
                        result.baseAddress?.assumingMemoryBound(to: UInt8.self), result.count)
                }
            }
        }
        try LibCryptoError.check(status, "derive a key with scrypt (\(1 << max(0, workFactor - 10)) MiB of memory)")
        return result
    }

    /// 64 bytes.
    static func blake2b512(_ bytes: UnsafeRawBufferPointer) throws(LibCryptoError) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: 64)
        let status = unsafe lifeboat_blake2b512(bytes.baseAddress, bytes.count, &result)
        try LibCryptoError.check(status, "compute a BLAKE2b digest")
        return result
    }

    /// Whether both hold the same bytes, in a time that does not depend on where they differ.
    static func equal(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        unsafe left.count == right.count && CRYPTO_memcmp(left, right, left.count) == 0
    }
}

/// libcrypto could not do what it was asked for: no memory, a broken random generator, an algorithm that the system's
/// configuration switched off.
package struct LibCryptoError: Error, LifeboatErrorConvertible, Equatable {
    /// As a verb phrase: `derive a key with HKDF`.
    package var operation: String
    /// The library's packed error number, the oldest in its queue; 0 when it gave none.
    package var code: UInt
    /// The library's words.
    package var text: String

    package var lifeboatError: LifeboatError {
        LifeboatError("cannot \(operation)", causes: [code == 0 ? text : "\(text) (libcrypto code \(code))"])
    }

    /// Takes the error from the queue of this thread and empties the queue.
    static func current(_ operation: String) -> LibCryptoError {
        let code = ERR_get_error()
        ERR_clear_error()
        // A constant string of the library; null for numbers it has no words for.
        let text = unsafe ERR_reason_error_string(code).map { unsafe String(cString: $0) }
        return LibCryptoError(operation: operation, code: UInt(code), text: text ?? "libcrypto gives no reason")
    }

    /// libcrypto says 1 when all went well.
    static func check(_ status: Int32, _ operation: @autoclosure () -> String) throws(LibCryptoError) {
        if status != 1 { throw current(operation()) }
    }
}
