// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LifeboatCore
import LifeboatTesting
import Testing

@Suite struct DigestTests {
    // BLAKE3 of the empty input, from the official test vectors.
    static let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"

    static func random(_ generator: inout SplitMix64) -> [UInt8] {
        (0..<32).map { _ in UInt8.random(in: 0...255, using: &generator) }
    }

    static func digest(_ bytes: [UInt8]) -> Digest {
        bytes.withUnsafeBytes { Digest($0) }
    }

    @Test func hexadecimalFormReadsBack() throws {
        let digest = try #require(Digest(hex: Self.empty))
        #expect(digest.hex == Self.empty)
        #expect(digest.description == Self.empty)
        #expect("\(digest)" == Self.empty)
        #expect(digest.shortHex == "af1349b9f5f9")
        #expect(digest.bytes.prefix(4) == [0xAF, 0x13, 0x49, 0xB9])
        #expect(digest.prefix == 0xAF13_49B9_F5F9_A1A6)
    }

    @Test func bytesAndHexadecimalFormAgreeForRandomDigests() throws {
        var generator = SplitMix64(seed: 1)
        for _ in 0..<1000 {
            let bytes = Self.random(&generator)
            let digest = Self.digest(bytes)
            #expect(digest.bytes == bytes)
            let hex = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            #expect(digest.hex == hex)
            #expect(Digest(hex: hex) == digest)
            #expect(Digest(hex: Substring(hex)) == digest)
        }
    }

    @Test func copiesExactlyItsBytesIntoLongerBuffers() throws {
        let digest = try #require(Digest(hex: Self.empty))
        var binary = [UInt8](repeating: 0xEE, count: 40)
        binary.withUnsafeMutableBytes { digest.copyBytes(to: $0) }
        #expect(Array(binary[..<32]) == digest.bytes)
        #expect(binary[32...].allSatisfy { $0 == 0xEE })
        var text = [UInt8](repeating: 0xEE, count: 70)
        text.withUnsafeMutableBytes { digest.copyHex(to: $0) }
        #expect(String(decoding: text[..<64], as: UTF8.self) == Self.empty)
        #expect(text[64...].allSatisfy { $0 == 0xEE })
    }

    @Test func readsOnlyTheFirst32BytesAtAnyAlignment() {
        var generator = SplitMix64(seed: 2)
        let bytes = (0..<64).map { _ in UInt8.random(in: 0...255, using: &generator) }
        for offset in 0..<32 {
            let digest = bytes.withUnsafeBytes { Digest(UnsafeRawBufferPointer(rebasing: $0[offset...])) }
            #expect(digest.bytes == Array(bytes[offset..<offset + 32]))
        }
    }

    @Test func orderIsTheOrderOfTheBytes() {
        var generator = SplitMix64(seed: 3)
        for round in 0..<1000 {
            let left = Self.random(&generator)
            var right = left
            // Differ in one byte somewhere, so that every word decides now and then.
            right[round % 32] = UInt8.random(in: 0...255, using: &generator)
            let expected = left.lexicographicallyPrecedes(right)
            #expect((Self.digest(left) < Self.digest(right)) == expected)
            #expect((Self.digest(left) == Self.digest(right)) == (left == right))
            #expect((Self.digest(left).hex < Self.digest(right).hex) == expected)
        }
    }

    @Test func equalDigestsHashAlike() throws {
        let digest = try #require(Digest(hex: Self.empty))
        #expect(Set([digest, try #require(Digest(hex: digest.hex))]).count == 1)
    }

    @Test(
        arguments: [
            "", "af", String(empty.dropLast()), empty + "0", empty.uppercased(), "0x" + empty.dropLast(2),
            " " + empty.dropLast(), empty.dropLast() + "\n", empty.dropLast() + "\0", empty.dropLast() + "g",
            empty.dropLast() + "/", empty.dropLast() + ":", empty.dropLast() + "`", empty.dropLast(2) + "é",
            String(repeating: "０", count: 64), String(repeating: "a", count: 1 << 20),
        ] as [String])
    func anythingButSixtyFourLowerCaseDigitsIsRefused(text: String) {
        #expect(Digest(hex: text) == nil)
    }

    @Test func isAStringInJSON() throws {
        let digest = try #require(Digest(hex: Self.empty))
        let encoded = try JSONEncoder().encode(["id": digest])
        #expect(String(decoding: encoded, as: UTF8.self) == "{\"id\":\"\(Self.empty)\"}")
        #expect(try JSONDecoder().decode([String: Digest].self, from: encoded) == ["id": digest])
    }

    @Test(arguments: ["[\"af13\"]", "[\"\"]", "[null]", "[1]", "[{}]", "[\"\(empty.uppercased())\"]"])
    func wrongJSONIsAnErrorAndNoTrap(json: String) {
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode([Digest].self, from: Data(json.utf8))
        }
    }
}
