// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatRepository
import LifeboatTesting
import Testing

@Suite("Chunker")
struct ChunkerTests {
    static let small = ChunkerParameters(minimum: 256, average: 1024, maximum: 8192)

    static func lengths(_ bytes: [UInt8], _ parameters: ChunkerParameters) -> [Int] {
        let chunker = Chunker(parameters)
        return bytes.withUnsafeBytes { bytes in
            var lengths: [Int] = []
            var start = 0
            while let length = chunker.cut(UnsafeRawBufferPointer(rebasing: bytes[start...]), atEnd: true) {
                lengths.append(length)
                start += length
            }
            return lengths
        }
    }

    /// These numbers also come out of a second implementation, written in another language from the doc comment of
    /// `Chunker` alone. They never change: another cut would share nothing with the repositories that exist.
    @Test("golden cuts of the default parameters")
    func goldenDefault() {
        var random = SplitMix64(seed: 12)
        #expect(
            Self.lengths(random.bytes(12 << 20), ChunkerParameters()) == [
                861527, 1_074_458, 952667, 817179, 1_515_848, 950213, 1_084_734, 834039, 897614, 1_030_072, 839855,
                1_110_523, 614183,
            ])
    }

    @Test("golden cuts of other parameters")
    func goldenOthers() {
        var random = SplitMix64(seed: 7)
        #expect(
            Self.lengths(random.bytes(65536), Self.small) == [
                806, 1858, 840, 779, 830, 1073, 1167, 987, 1901, 845, 1239, 1069, 1275, 991, 799, 1009, 623, 907, 980,
                1215, 952, 933, 1275, 899, 1270, 919, 828, 869, 2378, 826, 814, 1040, 950, 828, 1333, 998, 1021, 1128,
                1026, 1684, 834, 802, 896, 836, 924, 939, 832, 958, 868, 1128, 826, 784, 768, 928, 969, 1230, 1286,
                1166, 954, 798, 902, 505, 1433, 781, 25,
            ])
        random = SplitMix64(seed: 8)
        #expect(
            Self.lengths(
                random.bytes(65536),
                ChunkerParameters(
                    minimum: 100, average: 1024, maximum: 4096, normalization: 1,
                    gearSeed: BLAKE3.hash([7, 7, 7, 7, 7]))) == [
                    1463, 379, 132, 229, 1002, 1206, 1047, 1090, 1028, 746, 2240, 307, 1100, 523, 987, 534, 800, 693,
                    724,
                    735, 913, 489, 558, 2989, 965, 768, 3421, 794, 2050, 737, 1196, 388, 626, 1867, 580, 878, 2043, 568,
                    118, 1090, 642, 1498, 579, 179, 750, 478, 759, 213, 1425, 1327, 1105, 890, 1233, 818, 1394, 632,
                    1396,
                    440, 782, 1465, 586, 1013, 625, 327, 527, 1218, 882, 1956, 130, 264,
                ])
    }

    @Test("every cut is the first one that the definition allows", arguments: 0...3)
    func definition(_ level: Int) {
        var random = SplitMix64(seed: UInt64(level))
        let parameters = ChunkerParameters(
            minimum: 1000, average: 16384, maximum: 50_000, normalization: level,
            gearSeed: BLAKE3.hash(random.bytes(9)))
        let bytes = random.bytes(400_000)
        let gear = (0...UInt8.max).map { byte in
            let text = Array("lifeboat gear table".utf8) + [0] + parameters.gearSeed.bytes + [byte]
            return BLAKE3.hash(text).bytes.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        }
        let bits = { (count: Int) in (0..<count).reduce(UInt64(0)) { $0 | 1 << UInt64(62 - $1) } }
        let strict = bits(14 + level)
        let loose = bits(14 - level)
        let switchPoint = max(1000, 16384 - 16384 / (1 << level))
        var start = 0
        var expected: [Int] = []
        while start < bytes.count {
            var cut = min(50_000, bytes.count - start)
            var hash: UInt64 = 0
            for length in 1..<cut + 1 where length < 50_000 {
                hash = hash &* 2 &+ gear[Int(bytes[start + length - 1])]
                if length >= 1000, hash & (length < switchPoint ? strict : loose) == 0 {
                    cut = length
                    break
                }
            }
            expected.append(cut)
            start += cut
        }
        #expect(Self.lengths(bytes, parameters) == expected)
    }

    @Test("resuming with more bytes cuts at the same places as having all at once")
    func resuming() {
        var random = SplitMix64(seed: 3)
        let bytes = random.bytes(1 << 20)
        for parameters in [Self.small, ChunkerParameters(minimum: 3000, average: 32768, maximum: 100_000)] {
            let expected = Self.lengths(bytes, parameters)
            let chunker = Chunker(parameters)
            for _ in 0..<4 {
                var lengths: [Int] = []
                var start = 0
                var end = 0
                var scan = Chunker.Scan()
                while start < bytes.count {
                    let largest = [3, 70, 1000, 30_000].randomElement(using: &random) ?? 1
                    end = min(bytes.count, end + Int.random(in: 0...largest, using: &random))
                    while true {
                        // A copy: the bytes may be somewhere else each time.
                        let length = Array(bytes[start..<end]).withUnsafeBytes {
                            chunker.cut($0, atEnd: end == bytes.count, resuming: &scan)
                        }
                        guard let length else { break }
                        lengths.append(length)
                        start += length
                        scan = Chunker.Scan()
                    }
                }
                #expect(lengths == expected)
            }
        }
    }

    @Test("says nil only when more bytes can change the answer")
    func undecided() {
        let chunker = Chunker(Self.small)
        var random = SplitMix64(seed: 4)
        let bytes = random.bytes(9000)
        bytes.withUnsafeBytes { bytes in
            let length = chunker.cut(bytes, atEnd: false)
            for count in 0...9000 {
                let prefix = UnsafeRawBufferPointer(rebasing: bytes[..<count])
                #expect(chunker.cut(prefix, atEnd: false) == length.flatMap { count < $0 ? nil : $0 })
                let atEnd = chunker.cut(prefix, atEnd: true)
                #expect(atEnd == (count == 0 ? nil : length.map { min($0, count) }))
            }
        }
        #expect(chunker.cut(UnsafeRawBufferPointer(start: nil, count: 0), atEnd: true) == nil)
        [UInt8](repeating: 9, count: 8192).withUnsafeBytes { #expect(chunker.cut($0, atEnd: false) == 8192) }
    }

    @Test("lengths keep to the limits and gather around the average")
    func distribution() {
        var random = SplitMix64(seed: 5)
        let bytes = random.bytes(4 << 20)
        for level in 0...3 {
            let parameters = ChunkerParameters(minimum: 1024, average: 4096, maximum: 16384, normalization: level)
            let lengths = Self.lengths(bytes, parameters)
            #expect(lengths.reduce(0, +) == bytes.count)
            #expect(lengths.dropLast().allSatisfy { $0 >= 1024 && $0 <= 16384 })
            let mean = bytes.count / lengths.count
            #expect((3500...5500).contains(mean), "level \(level)")
            let near = lengths.count { $0 > 2048 && $0 <= 8192 }
            if level >= 2 { #expect(near * 100 > lengths.count * 85, "level \(level)") }
        }
    }

    @Test("content without a cut point is cut at the maximum")
    func constantBytes() {
        for byte in [0, 0x20, 0xFF] as [UInt8] {
            let lengths = Self.lengths([UInt8](repeating: byte, count: 100_000), Self.small)
            #expect(lengths == [Int](repeating: 8192, count: 12) + [1696])
        }
    }

    @Test("an insertion, a deletion or a change leaves the chunks far from it as they were")
    func stability() {
        var random = SplitMix64(seed: 6)
        let bytes = random.bytes(1 << 20)
        let before = Self.digests(bytes, Self.small)
        for round in 0..<12 {
            var changed = bytes
            let place = Int.random(in: 0..<bytes.count - 100, using: &random)
            switch round % 3 {
            case 0: changed.insert(contentsOf: random.bytes(Int.random(in: 1...50, using: &random)), at: place)
            case 1: changed.removeSubrange(place..<place + Int.random(in: 1...50, using: &random))
            default: changed[place] ^= 0x10
            }
            let after = Self.digests(changed, Self.small)
            #expect(Set(after).subtracting(before).count <= 12, "place \(place)")
            // What lies before the change is cut as before, what lies behind it soon again.
            #expect(after.first == before.first || place < 8192)
            #expect(after.last == before.last || place > bytes.count - 32768)
        }
    }

    static func digests(_ bytes: [UInt8], _ parameters: ChunkerParameters) -> [Digest] {
        var start = 0
        return lengths(bytes, parameters).map { length in
            defer { start += length }
            return BLAKE3.hash(Array(bytes[start..<start + length]))
        }
    }

    @Test("another seed cuts at other places")
    func seeds() {
        var random = SplitMix64(seed: 7)
        let bytes = random.bytes(65536)
        var other = Self.small
        other.gearSeed = BLAKE3.emptyDigest
        #expect(Self.lengths(bytes, other) != Self.lengths(bytes, Self.small))
    }

    @Test("refuses parameters that make no sense")
    func validation() throws {
        try ChunkerParameters().validate()
        try ChunkerParameters(minimum: 64, average: 128, maximum: 129, normalization: 3).validate()
        try ChunkerParameters(minimum: 64, average: 32 << 20, maximum: 64 << 20, normalization: 0).validate()
        let refused: [(ChunkerParameters, ChunkerParameters.Invalid)] = [
            (ChunkerParameters(minimum: 63), .minimumTooSmall(63)),
            (ChunkerParameters(minimum: -1), .minimumTooSmall(-1)),
            (ChunkerParameters(maximum: 64 << 20 + 1), .maximumTooLarge(64 << 20 + 1)),
            (
                ChunkerParameters(minimum: 1 << 20),
                .notAscending(minimum: 1 << 20, average: 1 << 20, maximum: 4 << 20)
            ),
            (
                ChunkerParameters(maximum: 1 << 20),
                .notAscending(minimum: 256 << 10, average: 1 << 20, maximum: 1 << 20)
            ),
            (ChunkerParameters(average: 1_000_000), .averageNotPowerOfTwo(1_000_000)),
            (ChunkerParameters(normalization: 4), .normalizationOutOfRange(4)),
            (ChunkerParameters(normalization: -1), .normalizationOutOfRange(-1)),
        ]
        for (parameters, error) in refused {
            #expect(throws: error) { try parameters.validate() }
        }
        #expect(
            ChunkerParameters.Invalid.minimumTooSmall(63).lifeboatError.description == """
                error: the chunker parameters are not usable
                cause: the minimum of 63 bytes is below 64
                """)
    }
}
