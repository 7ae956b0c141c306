// SPDX-License-Identifier: Apache-2.0

internal import CBlake3
package import LifeboatCore

/// Unkeyed BLAKE3 with a 32-byte digest: the name of every chunk, pack and index.
///
/// The kernel is our own (target CBlake3); `b3sum` computes the same.
package enum BLAKE3 {
    /// The implementations of the compression function. All give the same digests.
    package enum Implementation: UInt32, CaseIterable, Sendable {
        case portable, sse41, avx2, avx512

        /// The fastest one this machine can run.
        package static var fastest: Implementation {
            // The C enumeration has the same cases in the same order.
            Implementation(rawValue: lifeboat_blake3_fastest().rawValue) ?? .portable
        }

        /// Whether this machine can run it. Passing one it cannot run to a hash function is a trap.
        package var isSupported: Bool { lifeboat_blake3_supports(kind) }

        /// Those this machine can run, slowest first.
        package static var supported: [Implementation] { allCases.filter(\.isSupported) }

        fileprivate var kind: lifeboat_blake3_kind { lifeboat_blake3_kind(rawValue: rawValue) }

        /// `kind`, or the fastest when there is no wish.
        fileprivate static func kind(_ wish: Implementation?) -> lifeboat_blake3_kind {
            guard let wish else { return lifeboat_blake3_fastest() }
            precondition(wish.isSupported, "this processor cannot run the wanted BLAKE3 implementation")
            return wish.kind
        }
    }

    /// The digest of no bytes.
    package static let emptyDigest = hash([])

    /// The digest of `bytes`. Up to 1,024 bytes need no hasher state at all.
    package static func hash(
        _ bytes: UnsafeRawBufferPointer, implementation: Implementation? = nil
    ) -> Digest {
        unsafe Digest(lifeboat_blake3_hash(bytes.baseAddress, bytes.count, Implementation.kind(implementation)))
    }

    /// The digest of `bytes`.
    package static func hash(_ bytes: [UInt8]) -> Digest {
        unsafe bytes.withUnsafeBytes { unsafe hash($0) }
    }
}

/// A BLAKE3 hash computed piece by piece.
///
/// Pieces of 16 KiB and more, and of a multiple of 1,024 bytes, are the fast way: whole chunks are hashed where they
/// are, side by side; what is less is copied and hashed alone.
/// The state (about 2.8 KiB) is on the heap, so moving a hasher is cheap.
@safe package struct BLAKE3Hasher: ~Copyable {
    private let state: UnsafeMutablePointer<lifeboat_blake3_hasher>

    /// A hasher of nothing yet, with the fastest implementation unless one is given.
    package init(implementation: BLAKE3.Implementation? = nil) {
        unsafe state = .allocate(capacity: 1)
        unsafe lifeboat_blake3_init(state, BLAKE3.Implementation.kind(implementation))
    }

    deinit { unsafe state.deallocate() }

    /// Appends `bytes`.
    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        unsafe lifeboat_blake3_update(state, bytes.baseAddress, bytes.count)
    }

    /// The digest of all bytes so far. The hasher stays as it is: more may be appended.
    package func finalize() -> Digest { unsafe Digest(lifeboat_blake3_finalize(state)) }

    /// Forgets all bytes so far.
    package mutating func reset() { unsafe lifeboat_blake3_init(state, state.pointee.kind) }
}

// The state belongs to one value that cannot be copied: whoever holds the hasher is alone with it, and a borrowed
// hasher only reads.
extension BLAKE3Hasher: @unchecked Sendable {}

extension Digest {
    fileprivate init(_ digest: lifeboat_blake3_digest) {
        self = unsafe withUnsafeBytes(of: digest) { unsafe Digest($0) }
    }
}
