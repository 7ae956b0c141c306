// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import Testing

/// A vector of the age test kit (fixtures/age-testkit/README.md).
struct AgeTestVector: CustomTestStringConvertible, Sendable {
    var name: String
    var expectation = ""
    /// SHA-256 in hexadecimal.
    var payload: String?
    var keys: [AgeKey] = []
    /// Types of identities that lifeboat has not.
    var unsupported: [String] = []
    /// Keys of the vector's header that nobody explained.
    var unknown: [String] = []
    var isArmored = false
    var isCompressed = false
    var file: [UInt8] = []

    var testDescription: String { name }

    static let folder: String = {
        // Tests/LifeboatFormatsTests/Age/this file
        var components = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        components.removeLast(4)
        return components.joined(separator: "/") + "/fixtures/age-testkit"
    }()

    static func all() throws -> [AgeTestVector] {
        try FileManager.default.contentsOfDirectory(atPath: folder).sorted().filter { $0 != "README.md" }.map {
            try read($0)
        }
    }

    private init(name: String) { self.name = name }

    static func read(_ name: String) throws -> AgeTestVector {
        var vector = AgeTestVector(name: name)
        let bytes = [UInt8](try Data(contentsOf: URL(filePath: "\(folder)/\(name)")))
        var rest = bytes[...]
        while true {
            let line = String(decoding: rest.prefix { $0 != 0x0A }, as: UTF8.self)
            rest = rest.dropFirst(line.utf8.count + 1)
            if line.isEmpty { break }
            let colon = line.firstIndex(of: ":") ?? line.endIndex
            vector.set(String(line[..<colon]), String(line[colon...].dropFirst(2)))
        }
        vector.file = Array(rest)
        return vector
    }

    private mutating func set(_ key: String, _ value: String) {
        switch key {
        case "expect": expectation = value
        case "payload": payload = value
        case "identity":
            if let identity = try? AgeIdentity(Secret(value)) {
                keys.append(.identity(identity))
            } else {
                unsupported.append(value)
            }
        case "passphrase": keys.append(.passphrase(Secret(value)))
        case "armored": isArmored = value == "yes"
        case "compressed": isCompressed = value == "zlib"
        case "file key", "comment": break
        default: unknown.append(key)
        }
    }

    /// Inflates by Python's zlib: a compressed vector is as large as the file it stands for otherwise.
    func ageFile() throws -> [UInt8] {
        guard isCompressed else { return file }
        let program = "import sys, zlib; sys.stdout.buffer.write(zlib.decompress(sys.stdin.buffer.read()))"
        return try OutsideTool.run("python3", ["-c", program], input: file).standardOutput
    }
}

/// Hands out an array in pieces of varying size.
final class PieceSource: ByteSource {
    private let bytes: [UInt8]
    private var position = 0
    private var sizes: [Int]

    init(_ bytes: [UInt8], sizes: [Int]) {
        self.bytes = bytes
        self.sizes = sizes
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let size = sizes.removeFirst()
        sizes.append(size)
        let count = min(size, buffer.count, bytes.count - position)
        buffer.copyBytes(from: bytes[position..<position + count])
        position += count
        return count
    }

    func close() {}
}

/// Reads to the end or to the error, and returns both what came and the error.
func drain(_ reader: AgeStreamReader, bufferSize: Int) -> (bytes: [UInt8], error: (any Error)?) {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: bufferSize)
    do {
        while true {
            let count = try buffer.withUnsafeMutableBytes { try reader.read(into: $0) }
            if count == 0 { return (bytes, nil) }
            bytes += buffer[..<count]
        }
    } catch {
        return (bytes, error)
    }
}

@Suite struct AgeTestKitTests {
    static let vectors = (try? AgeTestVector.all()) ?? []

    /// They can only be opened with ML-KEM-768.
    static let needMLKEM: Set<String> = [
        "armor_hybrid", "hybrid", "hybrid_and_x25519", "hybrid_bad_tag", "hybrid_currupted_enc_mlkem",
        "hybrid_currupted_enc_x25519", "hybrid_extra_argument", "hybrid_grease", "hybrid_identity",
        "hybrid_long_file_key", "hybrid_long_share", "hybrid_low_order", "hybrid_multiple_recipients",
        "hybrid_no_match", "hybrid_not_canonical_body", "hybrid_not_canonical_enc", "hybrid_short_share",
        "hybrid_uppercase", "hybrid_x25519_arg",
    ]

    static let applicable = vectors.filter { !needMLKEM.contains($0.name) }

    @Test func everyVectorIsThereAndOnlyThoseOfMLKEMAreLeftOut() throws {
        #expect(Self.vectors.count == 143)
        #expect(Self.vectors.flatMap(\.unknown) == [])
        #expect(Self.applicable.count == 143 - 19)
        #expect(Set(Self.vectors.filter { !$0.unsupported.isEmpty }.map(\.name)) == Self.needMLKEM)
    }

    private static func outcome(_ error: (any Error)?) -> String {
        guard let error else { return "success" }
        switch error as? AgeError {
        case .header: return "header failure"
        case .noMatch: return "no match"
        case .hmac: return "HMAC failure"
        case .payload, .truncated: return "payload failure"
        case .armor: return "armor failure"
        default: return "\(error)"
        }
    }

    private static func sha256(_ bytes: [UInt8]) throws -> String {
        String(try OutsideTool.run("sha256sum", [], input: bytes).text.prefix(64))
    }

    @Test(arguments: applicable) func vector(_ vector: AgeTestVector) throws {
        let stored = try vector.ageFile()
        let whole: [UInt8]?
        do {
            whole = try Age.open(vector.isArmored ? AgeArmor.decode(stored) : stored, keys: vector.keys)
            #expect(vector.expectation == "success")
        } catch {
            whole = nil
            #expect(Self.outcome(error) == vector.expectation, "\(error)")
        }

        // Streamed, in pieces of any size, with a large and with a small buffer.
        guard let file = vector.isArmored ? try? AgeArmor.decode(stored) : stored else { return }
        for (pieces, bufferSize) in [([1 << 20], 100_000), ([1, 100_000, 65_552, 7, 4096], 1000)] {
            do {
                let reader = try AgeStreamReader(PieceSource(file, sizes: pieces), keys: vector.keys)
                let (bytes, error) = drain(reader, bufferSize: bufferSize)
                #expect(Self.outcome(error) == vector.expectation)
                if let whole { #expect(bytes == whole) }
                if let payload = vector.payload { #expect(try Self.sha256(bytes) == payload) }
                #expect(Self.outcome(drain(reader, bufferSize: 10).error) == vector.expectation, "again")
            } catch let error as AgeError {
                #expect(Self.outcome(error) == vector.expectation)
                #expect(vector.payload == nil, "a payload was expected")
            }
        }
    }

    @Test func keysOfOtherTypesAreRefusedByName() throws {
        let hybrid = try #require(Self.vectors.first { $0.name == "hybrid" }?.unsupported.first)
        #expect(throws: AgeError.unsupported("unsupported identity type: post-quantum (AGE-SECRET-KEY-PQ-1…)")) {
            try AgeIdentity(Secret(hybrid))
        }
    }
}
