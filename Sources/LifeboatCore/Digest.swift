// SPDX-License-Identifier: Apache-2.0

/// A BLAKE3 digest: 32 bytes, ordered bytewise.
///
/// Identifies chunks (digest of the plain bytes) and names packs, indexes and snapshots (digest of the stored bytes).
package struct Digest: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Length in bytes.
    @inlinable
    package static var byteCount: Int { 32 }

    /// The bytes as four big-endian words, so that comparing words is comparing bytes.
    @usableFromInline let word0, word1, word2, word3: UInt64

    /// Copies the first 32 bytes of `bytes`. Traps when there are fewer: callers check lengths of foreign data first.
    @inlinable
    package init(_ bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count >= Self.byteCount, "a digest is 32 bytes")
        self.init(
            bigEndianWords: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
            UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
            UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self)),
            UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self)))
    }

    @inlinable
    package init(bigEndianWords word0: UInt64, _ word1: UInt64, _ word2: UInt64, _ word3: UInt64) {
        self.word0 = word0
        self.word1 = word1
        self.word2 = word2
        self.word3 = word3
    }

    /// Parses 64 lower-case hexadecimal digits; nil for anything else.
    package init?(hex: some StringProtocol) {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        var count = 0
        for byte in hex.utf8 {
            guard count < 64, let nibble = Self.nibble(byte) else { return nil }
            switch count / 16 {
            case 0: words.0 = words.0 << 4 | nibble
            case 1: words.1 = words.1 << 4 | nibble
            case 2: words.2 = words.2 << 4 | nibble
            default: words.3 = words.3 << 4 | nibble
            }
            count += 1
        }
        guard count == 64 else { return nil }
        self.init(bigEndianWords: words.0, words.1, words.2, words.3)
    }

    private static func nibble(_ byte: UInt8) -> UInt64? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a") + 10)
        default: nil
        }
    }

    @inlinable
    package static func < (left: Digest, right: Digest) -> Bool {
        if left.word0 != right.word0 { return left.word0 < right.word0 }
        if left.word1 != right.word1 { return left.word1 < right.word1 }
        if left.word2 != right.word2 { return left.word2 < right.word2 }
        return left.word3 < right.word3
    }

    @inlinable
    package static func == (left: Digest, right: Digest) -> Bool {
        left.word0 == right.word0 && left.word1 == right.word1 && left.word2 == right.word2
            && left.word3 == right.word3
    }

    /// A digest is uniformly distributed: its first word is its hash.
    @inlinable
    package func hash(into hasher: inout Hasher) { hasher.combine(word0) }

    /// The first eight bytes as a big-endian number: a uniform key for interpolation search and sharding.
    @inlinable
    package var prefix: UInt64 { word0 }

    /// Bytes `8 * index` to `8 * index + 7` as a big-endian number; `index` is 0...3.
    @inlinable
    package func bigEndianWord(_ index: Int) -> UInt64 {
        switch index {
        case 0: word0
        case 1: word1
        case 2: word2
        default: word3
        }
    }

    /// Writes the 32 bytes to the start of `destination`, which must be at least that long.
    @inlinable
    package func copyBytes(to destination: UnsafeMutableRawBufferPointer) {
        precondition(destination.count >= Self.byteCount, "a digest is 32 bytes")
        destination.storeBytes(of: word0.bigEndian, toByteOffset: 0, as: UInt64.self)
        destination.storeBytes(of: word1.bigEndian, toByteOffset: 8, as: UInt64.self)
        destination.storeBytes(of: word2.bigEndian, toByteOffset: 16, as: UInt64.self)
        destination.storeBytes(of: word3.bigEndian, toByteOffset: 24, as: UInt64.self)
    }

    /// The 32 bytes.
    package var bytes: [UInt8] {
        [UInt8](unsafeUninitializedCapacity: Self.byteCount) { buffer, count in
            copyBytes(to: UnsafeMutableRawBufferPointer(buffer))
            count = Self.byteCount
        }
    }

    /// Writes 64 lower-case hexadecimal digits (ASCII) to the start of `destination`.
    package func copyHex(to destination: UnsafeMutableRawBufferPointer) {
        precondition(destination.count >= 64, "a digest is 64 hexadecimal digits")
        var offset = 0
        for word in [word0, word1, word2, word3] {
            var shift: UInt64 = 60
            for _ in 0..<16 {
                let nibble = UInt8(truncatingIfNeeded: word >> shift & 0xF)
                destination[offset] = nibble < 10 ? nibble &+ 48 : nibble &+ 87
                offset += 1
                shift = shift &- 4
            }
        }
    }

    /// 64 lower-case hexadecimal digits.
    package var hex: String {
        String(unsafeUninitializedCapacity: 64) { buffer in
            copyHex(to: UnsafeMutableRawBufferPointer(buffer))
            return 64
        }
    }

    /// The first 12 hexadecimal digits: what people type and read for a snapshot.
    package var shortHex: String { String(hex.prefix(12)) }

    package var description: String { hex }
}

extension Digest: Codable {
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let digest = Digest(hex: text) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "not a digest of 64 hexadecimal digits")
        }
        self = digest
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(hex)
    }
}
