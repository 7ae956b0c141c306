// SPDX-License-Identifier: Apache-2.0

internal import CLibCrypto

/// X25519 (RFC 7748): agreement on a shared secret.
enum X25519 {
    static var keySize: Int { 32 }

    /// The public key of a secret key, which may be any 32 bytes.
    static func publicKey(of secret: SecretBytes) throws(LibCryptoError) -> [UInt8] {
        try CurveKey(EVP_PKEY_X25519, secret: secret).publicBytes()
    }

    /// The shared secret; nil when `peer` is one of the few points that make it zero, which nobody chooses honestly.
    static func agree(_ secret: SecretBytes, _ peer: [UInt8]) throws(LibCryptoError) -> SecretBytes? {
        let own = try CurveKey(EVP_PKEY_X25519, secret: secret)
        let other = try CurveKey(EVP_PKEY_X25519, publicKey: peer)
        guard let context = unsafe EVP_PKEY_CTX_new_from_pkey(nil, own.handle, nil) else {
            throw .current("agree on a key")
        }
        defer { unsafe EVP_PKEY_CTX_free(context) }
        try LibCryptoError.check(unsafe EVP_PKEY_derive_init(context), "agree on a key")
        try LibCryptoError.check(unsafe EVP_PKEY_derive_set_peer(context, other.handle), "agree on a key")
        let shared = SecretBytes(count: keySize)
        var size = keySize
        let status = unsafe shared.withMutableBytes { shared in
            unsafe EVP_PKEY_derive(context, shared.baseAddress?.assumingMemoryBound(to: UInt8.self), &size)
        }
        // libcrypto refuses the zero result itself; there is nothing else in this call that fails for a valid key.
        guard status == 1, size == keySize else {
            ERR_clear_error()
            return nil
        }
        return shared
    }
}

/// Ed25519 (RFC 8032): signatures of 64 bytes.
enum Ed25519 {
    static var keySize: Int { 32 }
    static var signatureSize: Int { 64 }

    static func publicKey(of seed: SecretBytes) throws(LibCryptoError) -> [UInt8] {
        try CurveKey(EVP_PKEY_ED25519, secret: seed).publicBytes()
    }

    static func sign(_ message: [UInt8], _ seed: SecretBytes) throws(LibCryptoError) -> [UInt8] {
        let key = try CurveKey(EVP_PKEY_ED25519, secret: seed)
        guard let context = unsafe EVP_MD_CTX_new() else { throw .current("sign") }
        defer { unsafe EVP_MD_CTX_free(context) }
        try LibCryptoError.check(unsafe EVP_DigestSignInit(context, nil, nil, nil, key.handle), "sign")
        var signature = [UInt8](repeating: 0, count: signatureSize)
        var size = signatureSize
        try LibCryptoError.check(
            unsafe EVP_DigestSign(context, &signature, &size, message, message.count), "sign")
        return signature
    }

    /// Whether `signature` is one of `message` under `publicKey`. False also for a key that is no point of the curve.
    static func verify(
        _ signature: [UInt8], of message: [UInt8], _ publicKey: [UInt8]
    ) throws(LibCryptoError) -> Bool {
        let key = try CurveKey(EVP_PKEY_ED25519, publicKey: publicKey)
        guard let context = unsafe EVP_MD_CTX_new() else { throw .current("verify a signature") }
        defer { unsafe EVP_MD_CTX_free(context) }
        try LibCryptoError.check(
            unsafe EVP_DigestVerifyInit(context, nil, nil, nil, key.handle), "verify a signature")
        let status = unsafe EVP_DigestVerify(context, signature, signature.count, message, message.count)
        ERR_clear_error()
        return status == 1
    }
}

/// An EVP_PKEY of one of the curves.
@safe
private struct CurveKey: ~Copyable {
    let handle: OpaquePointer

    init(_ kind: Int32, secret: SecretBytes) throws(LibCryptoError) {
        let handle = unsafe secret.withBytes { secret in
            unsafe EVP_PKEY_new_raw_private_key(
                kind, nil, secret.baseAddress?.assumingMemoryBound(to: UInt8.self), secret.count)
        }
        guard let handle = unsafe handle else { throw .current("take a secret key") }
        unsafe self.handle = unsafe handle
    }

    init(_ kind: Int32, publicKey: [UInt8]) throws(LibCryptoError) {
        guard let handle = unsafe EVP_PKEY_new_raw_public_key(kind, nil, publicKey, publicKey.count) else {
            throw .current("take a public key")
        }
        unsafe self.handle = unsafe handle
    }

    // Wipes a secret key.
    deinit { unsafe EVP_PKEY_free(handle) }

    func publicBytes() throws(LibCryptoError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 32)
        var size = bytes.count
        try LibCryptoError.check(
            unsafe EVP_PKEY_get_raw_public_key(handle, &bytes, &size), "compute a public key")
        return bytes
    }
}
