// SPDX-License-Identifier: Apache-2.0

/// Bech32 (BIP 173) without its length limit: how age writes keys. Works on lower-case text; what case a text must
/// have is the caller's to know.
enum Bech32 {
    /// `prefix`, `1`, the data in groups of five bits, a checksum of six characters; all lower case.
    static func encode(_ prefix: String, _ bytes: some Collection<UInt8>) -> String {
        let prefix = prefix.lowercased()
        var groups: [UInt8] = []
        var bits: UInt32 = 0
        var bitCount = 0
        for byte in bytes {
            bits = bits << 8 | UInt32(byte)
            bitCount += 8
            while bitCount >= 5 {
                bitCount -= 5
                groups.append(UInt8(bits >> UInt32(bitCount) & 31))
            }
        }
        if bitCount > 0 { groups.append(UInt8(bits << UInt32(5 - bitCount) & 31)) }
        let check = checksum(Array(prefix.utf8), groups + [0, 0, 0, 0, 0, 0]) ^ 1
        for index in 0..<6 { groups.append(UInt8(check >> UInt32(5 * (5 - index)) & 31)) }
        return prefix + "1" + String(decoding: groups.map { alphabet[Int($0)] }, as: UTF8.self)
    }

    /// Prefix (in the case it is written in) and data; nil for a wrong checksum, mixed case, any other character, or
    /// bits left over that are not zero.
    static func decode(_ text: String) -> (prefix: String, bytes: [UInt8])? {
        var characters = Array(text.utf8)
        defer { wipe(&characters) }
        let hasUpper = characters.contains { (0x41...0x5A).contains($0) }
        let hasLower = characters.contains { (0x61...0x7A).contains($0) }
        guard !(hasUpper && hasLower), characters.allSatisfy({ (33...126).contains($0) }),
            let separator = characters.lastIndex(of: UInt8(ascii: "1")), separator >= 1,
            characters.count - separator >= 7
        else { return nil }
        let prefix = String(decoding: characters[..<separator], as: UTF8.self)
        if hasUpper { for index in characters.indices { characters[index] = lower(characters[index]) } }
        var groups: [UInt8] = []
        defer { wipe(&groups) }
        groups.reserveCapacity(characters.count)
        for character in characters[(separator + 1)...] {
            let value = values[Int(character)]
            guard value < 32 else { return nil }
            groups.append(value)
        }
        guard checksum(Array(characters[..<separator]), groups) == 1 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(groups.count * 5 / 8)
        var bits: UInt32 = 0
        var bitCount = 0
        for group in groups.dropLast(6) {
            bits = bits << 5 | UInt32(group)
            bitCount += 5
            if bitCount >= 8 {
                bitCount -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(bitCount)))
            }
        }
        guard bitCount < 5, bits & (1 << UInt32(bitCount) - 1) == 0 else {
            wipe(&bytes)
            return nil
        }
        return (prefix, bytes)
    }

    /// The BCH code of BIP 173 over the expanded prefix and `groups`.
    private static func checksum(_ prefix: [UInt8], _ groups: [UInt8]) -> UInt32 {
        var state: UInt32 = 1
        func step(_ value: UInt8) {
            let top = state >> 25
            state = (state & 0x1FF_FFFF) << 5 ^ UInt32(value)
            for (index, generator) in generators.enumerated() where top >> UInt32(index) & 1 == 1 {
                state ^= generator
            }
        }
        for character in prefix { step(character >> 5) }
        step(0)
        for character in prefix { step(character & 31) }
        for group in groups { step(group) }
        return state
    }

    private static func lower(_ character: UInt8) -> UInt8 {
        (0x41...0x5A).contains(character) ? character + 0x20 : character
    }

    private static let generators: [UInt32] = [0x3B6A_57B2, 0x2650_8E6D, 0x1EA1_19FA, 0x3D42_33DD, 0x2A14_62B3]
    private static let alphabet = Array("qpzry9x8gf2tvdw0s3jn54khce6mua7l".utf8)

    /// By character; 255 for those outside the alphabet.
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 255, count: 256)
        for (value, character) in alphabet.enumerated() { values[Int(character)] = UInt8(value) }
        return values
    }()
}
