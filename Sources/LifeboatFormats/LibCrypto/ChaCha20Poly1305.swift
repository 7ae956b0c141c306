// SPDX-License-Identifier: Apache-2.0

internal import CLibCrypto

/// ChaCha20-Poly1305 (RFC 8439) with one key in one direction, for many blocks. Not thread-safe.
///
/// Setting up costs about as much as sealing a few KiB; a further block only sets the nonce.
@safe
final class ChaCha20Poly1305 {
    static var tagSize: Int { 16 }

    private let context: OpaquePointer
    private let seals: Bool

    /// Fetched once: fetching for every context takes a lock that all threads share.
    /// Safe to share: libcrypto counts references atomically and never writes to a fetched algorithm.
    nonisolated(unsafe) private static let algorithm: OpaquePointer? = unsafe EVP_CIPHER_fetch(
        nil, "ChaCha20-Poly1305", nil)

    /// For sealing, or else for opening. `key` has 32 bytes.
    init(_ key: SecretBytes, seals: Bool) throws(LibCryptoError) {
        precondition(key.count == 32, "a ChaCha20-Poly1305 key is 32 bytes")
        guard let context = unsafe EVP_CIPHER_CTX_new() else { throw .current("create a cipher") }
        unsafe self.context = unsafe context
        self.seals = seals
        let status = unsafe key.withBytes { key in
            unsafe EVP_CipherInit_ex2(
                context, Self.algorithm, key.baseAddress?.assumingMemoryBound(to: UInt8.self), nil, seals ? 1 : 0, nil)
        }
        // From here on `deinit` frees the context.
        try LibCryptoError.check(status, "set up ChaCha20-Poly1305")
    }

    // Wipes the key in it as well.
    deinit { unsafe EVP_CIPHER_CTX_free(context) }

    /// Writes `plain.count + tagSize` bytes to the start of `target`. Source and target do not overlap.
    func seal(
        _ plain: UnsafeRawBufferPointer, _ nonce: Nonce, into target: UnsafeMutableRawBufferPointer
    ) throws(LibCryptoError) {
        precondition(seals && target.count >= plain.count + Self.tagSize && plain.count <= Int(Int32.max))
        guard start(nonce), unsafe crypt(plain, into: target),
            unsafe EVP_CIPHER_CTX_ctrl(
                context, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagSize), target.baseAddress.map { unsafe $0 + plain.count })
                == 1
        else { throw .current("encrypt a block") }
    }

    /// Writes `sealed.count - tagSize` bytes to the start of `target`. False when the tag is wrong, and for less than a
    /// tag; the target holds garbage then, which is wiped.
    func open(
        _ sealed: UnsafeRawBufferPointer, _ nonce: Nonce, into target: UnsafeMutableRawBufferPointer
    ) throws(LibCryptoError) -> Bool {
        let count = sealed.count - Self.tagSize
        guard count >= 0 else { return false }
        precondition(!seals && target.count >= count && sealed.count <= Int(Int32.max))
        guard start(nonce),
            unsafe EVP_CIPHER_CTX_ctrl(
                context, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagSize),
                UnsafeMutableRawPointer(mutating: sealed.baseAddress.map { unsafe $0 + count })) == 1
        else { throw .current("decrypt a block") }
        if unsafe crypt(UnsafeRawBufferPointer(rebasing: sealed[..<count]), into: target) { return true }
        ERR_clear_error()
        unsafe OPENSSL_cleanse(target.baseAddress, count)
        return false
    }

    /// The 12 bytes of a nonce: an 11-byte big-endian counter and a flag, as age's payload has them.
    struct Nonce {
        fileprivate let bytes: (UInt32, UInt64)

        /// `counter` is below 2^56: more 64 KiB blocks than any file has.
        init(counter: UInt64, isLast: Bool) { bytes = (0, (counter << 8 | (isLast ? 1 : 0)).bigEndian) }

        /// For keys that seal one thing only.
        static let zero = Nonce(counter: 0, isLast: false)
    }

    private func start(_ nonce: Nonce) -> Bool {
        let bytes = (nonce.bytes.0, UInt32(truncatingIfNeeded: nonce.bytes.1), UInt32(nonce.bytes.1 >> 32))
        return unsafe withUnsafeBytes(of: bytes) { nonce in
            unsafe EVP_CipherInit_ex2(
                context, nil, nil, nonce.baseAddress?.assumingMemoryBound(to: UInt8.self), seals ? 1 : 0, nil) == 1
        }
    }

    /// Everything between nonce and tag. Opening fails here when the tag is wrong.
    private func crypt(_ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> Bool {
        let output = unsafe target.baseAddress?.assumingMemoryBound(to: UInt8.self)
        var written: Int32 = 0
        if source.count > 0 {
            let input = unsafe source.baseAddress?.assumingMemoryBound(to: UInt8.self)
            guard unsafe EVP_CipherUpdate(context, output, &written, input, Int32(source.count)) == 1,
                written == Int32(source.count)
            else { return false }
        }
        // A stream cipher has nothing left to write; the pointer must not be null all the same.
        var nothing: (UInt64, UInt64) = (0, 0)
        return unsafe withUnsafeMutableBytes(of: &nothing) { rest in
            unsafe EVP_CipherFinal_ex(context, rest.baseAddress?.assumingMemoryBound(to: UInt8.self), &written) == 1
        }
    }
}

/// Wrapping one key under another that is used only once.
extension ChaCha20Poly1305 {
    func seal(_ plain: SecretBytes, into target: SecretBytes) throws(LibCryptoError) {
        let result: Result<Void, LibCryptoError> = unsafe plain.withBytes { plain in
            unsafe target.withMutableBytes { target in
                do throws(LibCryptoError) {
                    return .success(try unsafe seal(plain, .zero, into: target))
                } catch {
                    return .failure(error)
                }
            }
        }
        try result.get()
    }

    /// False when the tag is wrong.
    func open(_ sealed: SecretBytes, into target: SecretBytes) throws(LibCryptoError) -> Bool {
        let result: Result<Bool, LibCryptoError> = unsafe sealed.withBytes { sealed in
            unsafe target.withMutableBytes { target in
                do throws(LibCryptoError) {
                    return .success(try unsafe open(sealed, .zero, into: target))
                } catch {
                    return .failure(error)
                }
            }
        }
        return try result.get()
    }
}
