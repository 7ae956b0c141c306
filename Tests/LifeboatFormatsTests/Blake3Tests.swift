// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatTesting
import Testing

@Suite("BLAKE3")
struct Blake3Tests {
    struct Vector: Decodable, Sendable {
        let inputLength: Int
        /// The extended output; its first 32 bytes are the digest.
        let hash: String

        enum CodingKeys: String, CodingKey {
            case inputLength = "input_len"
            case hash
        }

        /// The bytes 0, 1, …, 250, 0, 1, ….
        var input: [UInt8] { (0..<inputLength).map { UInt8($0 % 251) } }
        var digest: Digest? { Digest(hex: hash.prefix(64)) }
    }

    static func vectors() throws -> [Vector] {
        struct File: Decodable { let cases: [Vector] }
        let package = #filePath.split(separator: "/").dropLast(3).map { "/\($0)" }.joined()
        let data = try Data(contentsOf: URL(filePath: "\(package)/fixtures/blake3/test-vectors.json"))
        return try JSONDecoder().decode(File.self, from: data).cases
    }

    @Test("knows the official vectors in one call", arguments: BLAKE3.Implementation.supported)
    func officialVectorsAtOnce(_ implementation: BLAKE3.Implementation) throws {
        let vectors = try Self.vectors()
        #expect(vectors.count == 35)
        for vector in vectors {
            let digest = vector.input.withUnsafeBytes { BLAKE3.hash($0, implementation: implementation) }
            #expect(digest == vector.digest, "length \(vector.inputLength)")
        }
    }

    @Test("knows the official vectors piece by piece", arguments: BLAKE3.Implementation.supported)
    func officialVectorsInPieces(_ implementation: BLAKE3.Implementation) throws {
        for vector in try Self.vectors() {
            for piece in [1, 63, 64, 65, 1023, 1024, 1025, 4097, 65536] where piece > 1 || vector.inputLength < 9000 {
                var hasher = BLAKE3Hasher(implementation: implementation)
                vector.input.withUnsafeBytes { input in
                    var rest = input[...]
                    while !rest.isEmpty {
                        hasher.update(UnsafeRawBufferPointer(rebasing: rest.prefix(piece)))
                        rest = rest.dropFirst(piece)
                    }
                }
                #expect(hasher.finalize() == vector.digest, "length \(vector.inputLength), pieces of \(piece)")
            }
        }
    }

    @Test("does not depend on where the pieces are cut, nor on reading the digest in between")
    func randomPieces() {
        var random = SplitMix64(seed: 0x1B3)
        let pool = random.bytes(1 << 20)
        for round in 0..<60 {
            let length = round < 5 ? pool.count - round * 511 : Int.random(in: 0...300_000, using: &random)
            let input = Array(pool.prefix(length))
            let expected = input.withUnsafeBytes { BLAKE3.hash($0, implementation: .portable) }
            for implementation in BLAKE3.Implementation.supported {
                var hasher = BLAKE3Hasher(implementation: implementation)
                var position = 0
                while position < length {
                    let largest = [70, 1500, 9000, 80_000, 400_000].randomElement(using: &random) ?? 1
                    let piece = min(Int.random(in: 0...largest, using: &random), length - position)
                    input.withUnsafeBytes {
                        hasher.update(UnsafeRawBufferPointer(rebasing: $0[position..<position + piece]))
                    }
                    position += piece
                    if piece % 7 == 0 {
                        let soFar = input.withUnsafeBytes {
                            BLAKE3.hash(UnsafeRawBufferPointer(rebasing: $0[..<position]))
                        }
                        #expect(hasher.finalize() == soFar)
                    }
                }
                #expect(hasher.finalize() == expected, "length \(length), \(implementation)")
                hasher.reset()
                #expect(hasher.finalize() == BLAKE3.emptyDigest)
            }
        }
    }

    @Test("digest of nothing")
    func nothing() {
        #expect(BLAKE3.emptyDigest.hex == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")
        #expect(BLAKE3.hash(UnsafeRawBufferPointer(start: nil, count: 0)) == BLAKE3.emptyDigest)
    }

    @Test("agrees with b3sum on 10,000 random inputs")
    func agreesWithB3sum() throws {
        let folder = try TemporaryFolder(prefix: "lifeboat-blake3-")
        defer { try? folder.remove() }
        var random = SplitMix64(seed: 0xB3)
        let pool = random.bytes(1 << 20)
        let implementations = BLAKE3.Implementation.supported
        let batch = 2_500
        for first in stride(from: 0, to: 10_000, by: batch) {
            var expected: [Digest] = []
            let names = (first..<first + batch).map(String.init)
            for name in names {
                let length = Self.length(using: &random)
                let start = Int.random(in: 0...pool.count - length, using: &random)
                let implementation = implementations.randomElement(using: &random)
                try pool.withUnsafeBytes { pool in
                    let input = UnsafeRawBufferPointer(rebasing: pool[start..<start + length])
                    expected.append(BLAKE3.hash(input, implementation: implementation))
                    _ = try AtomicFile.write([input], to: "\(folder.path)/\(name)", durable: false)
                }
            }
            let sums = try OutsideTool.run("b3sum", ["--no-names"] + names.map { "\(folder.path)/\($0)" })
            let digests = sums.lines.map { Digest(hex: $0) }
            #expect(digests == expected)
        }
    }

    /// A length up to about 100 KiB, more often than not at an edge of blocks, chunks or subtrees.
    static func length(using random: inout SplitMix64) -> Int {
        switch Int.random(in: 0..<10, using: &random) {
        case 0: [0, 1, 31, 32, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025].randomElement(using: &random) ?? 0
        case 1, 2: Int.random(in: 0...1100, using: &random)
        case 3, 4: (1024 << Int.random(in: 0...6, using: &random)) + Int.random(in: -1...1, using: &random)
        case 5, 6: 1024 * Int.random(in: 1...99, using: &random) + Int.random(in: -1...1, using: &random)
        case 7, 8: Int.random(in: 0...20_000, using: &random)
        default: Int.random(in: 0...102_400, using: &random)
        }
    }
}
