// SPDX-License-Identifier: Apache-2.0

internal import CLibCrypto

/// Key material of fixed size: overwritten before its memory is given back.
@safe
final class SecretBytes {
    let count: Int
    private let storage: UnsafeMutableRawBufferPointer

    /// `count` zero bytes, to be filled by whoever creates them, before anyone else sees them.
    init(count: Int) {
        self.count = count
        unsafe storage = .allocate(byteCount: max(count, 1), alignment: 16)
        unsafe storage.initializeMemory(as: UInt8.self, repeating: 0)
    }

    /// A copy of `bytes`, which stay the caller's to wipe.
    convenience init(copying bytes: [UInt8]) {
        self.init(count: bytes.count)
        unsafe withMutableBytes { unsafe $0.copyBytes(from: bytes) }
    }

    deinit {
        unsafe OPENSSL_cleanse(storage.baseAddress, storage.count)
        unsafe storage.deallocate()
    }

    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        defer { withExtendedLifetime(self) {} }
        return unsafe body(UnsafeRawBufferPointer(rebasing: storage[..<count]))
    }

    /// Only for the one that creates the value.
    func withMutableBytes<Result>(_ body: (UnsafeMutableRawBufferPointer) -> Result) -> Result {
        defer { withExtendedLifetime(self) {} }
        return unsafe body(UnsafeMutableRawBufferPointer(rebasing: storage[..<count]))
    }
}

// Written by its creator only, and read only once it is shared.
extension SecretBytes: @unchecked Sendable {}

/// Overwrites bytes that held a secret, or that nobody may see.
func wipe(_ bytes: inout [UInt8]) {
    unsafe bytes.withUnsafeMutableBytes { unsafe OPENSSL_cleanse($0.baseAddress, $0.count) }
}

/// Overwrites memory that holds a secret, or what nobody may see.
func wipe(_ bytes: UnsafeMutableRawBufferPointer) {
    unsafe OPENSSL_cleanse(bytes.baseAddress, bytes.count)
}
