// SPDX-License-Identifier: Apache-2.0

/// Makes new inputs of old ones. The same seed gives the same inputs on every machine.
struct FuzzMutator {
    private var random: Random
    private let corpus: [[UInt8]]

    /// SplitMix64, as LifeboatTesting has it: this program is built without the rest of the tests.
    private struct Random {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var word = state
            word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
            word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
            return word ^ word >> 31
        }
    }

    /// Largest input, bytes.
    private static let limit = 64 << 10
    /// Numbers at the edges of what types hold, as text.
    private static let texts = [
        "0", "-1", "1", "127", "255", "256", "65535", "65536", "2147483647", "2147483648", "4294967295", "4294967296",
        "9223372036854775807", "9223372036854775808", "-9223372036854775808", "18446744073709551615",
        "18446744073709551616", "1152921504606846977", "1e308", "-1e308", "1e-308", "0.5", "null", "true", "[]", "{}",
        "\"\"", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z",
    ].map { Array($0.utf8) }

    /// `corpus` has at least one input.
    init(seed: UInt64, corpus: [[UInt8]]) {
        random = Random(state: seed)
        self.corpus = corpus
    }

    private mutating func number(below limit: Int) -> Int { limit <= 0 ? 0 : Int(random.next() % UInt64(limit)) }

    /// The next input.
    mutating func next() -> [UInt8] {
        var bytes = corpus[number(below: corpus.count)]
        for _ in 0...number(below: 4) { change(&bytes) }
        if bytes.count > Self.limit { bytes.removeLast(bytes.count - Self.limit) }
        return bytes
    }

    private mutating func change(_ bytes: inout [UInt8]) {
        let place = number(below: bytes.count)
        switch number(below: 10) {
        case 0 where !bytes.isEmpty: bytes[place] ^= 1 << UInt8(number(below: 8))
        case 1 where !bytes.isEmpty: bytes[place] = UInt8(truncatingIfNeeded: random.next())
        case 2: bytes.removeSubrange(place..<min(bytes.count, place + 1 + number(below: 64)))
        case 3:
            let other = corpus[number(below: corpus.count)]
            let start = number(below: other.count)
            bytes.insert(contentsOf: other[start..<min(other.count, start + 1 + number(below: 256))], at: place)
        case 4:
            bytes.insert(contentsOf: Array(bytes[place..<min(bytes.count, place + 1 + number(below: 64))]), at: place)
        case 5: bytes.removeSubrange(place...)
        case 6, 7: replaceDigits(&bytes, near: place)
        default: replaceInteger(&bytes, at: place)
        }
    }

    /// Another number in the place of the next run of digits.
    private mutating func replaceDigits(_ bytes: inout [UInt8], near place: Int) {
        func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }
        guard let start = bytes[place...].firstIndex(where: isDigit) else { return replaceInteger(&bytes, at: place) }
        let end = bytes[start...].firstIndex { !isDigit($0) } ?? bytes.count
        bytes.replaceSubrange(start..<end, with: Self.texts[number(below: Self.texts.count)])
    }

    /// A binary number from the edges, in either byte order.
    private mutating func replaceInteger(_ bytes: inout [UInt8], at place: Int) {
        let width = [1, 2, 4, 8][number(below: 4)]
        let edges: [UInt64] = [
            0, 1, .max, 1 << (UInt64(width) * 8 - 1), (1 << (UInt64(width) * 8 - 1)) - 1, UInt64(bytes.count),
            UInt64(bytes.count) &+ 1, random.next() % 4096,
        ]
        let value = edges[number(below: edges.count)]
        var digits = (0..<width).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
        if number(below: 2) == 0 { digits.reverse() }
        for (offset, digit) in digits.enumerated() where place + offset < bytes.count { bytes[place + offset] = digit }
    }
}
