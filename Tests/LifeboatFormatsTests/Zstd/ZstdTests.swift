// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatTesting
import Testing

/// The frame of `data`, in an array of its own.
func compressed(_ data: [UInt8], level: Int = 3) throws -> [UInt8] {
    let compressor = try ZstdCompressor(level: level)
    var output = [UInt8](repeating: 0, count: ZstdCompressor.bound(data.count))
    let length = try data.withUnsafeBytes { source in
        try output.withUnsafeMutableBytes { try compressor.compress(source, into: $0) }
    }
    return Array(output[..<length])
}

func rawFrame(_ data: [UInt8]) -> [UInt8] {
    var output = [UInt8](repeating: 0xEE, count: RawZstdFrame.size(of: data.count))
    let length = data.withUnsafeBytes { source in
        output.withUnsafeMutableBytes { RawZstdFrame.write(source, into: $0) }
    }
    #expect(length == output.count)
    return output
}

func decompressed(_ frame: [UInt8], count: Int) throws -> [UInt8] {
    let decompressor = try ZstdDecompressor()
    var output = [UInt8](repeating: 0, count: count)
    try frame.withUnsafeBytes { source in
        try output.withUnsafeMutableBytes { try decompressor.decompress(source, into: $0) }
    }
    return output
}

private func contentSize(_ frame: [UInt8]) throws -> UInt64 {
    try frame.withUnsafeBytes { try ZstdDecompressor.contentSize(of: $0) }
}

private func frameSize(_ frame: [UInt8]) throws -> Int {
    try frame.withUnsafeBytes { try ZstdDecompressor.frameSize(of: $0) }
}

private func kind(_ body: () throws -> Void) -> FormatError.Kind? {
    do { try body() } catch { return (error as? FormatError)?.kind }
    return nil
}

@Suite struct ZstdTests {
    static let sizes = [0, 1, 255, 256, 257, 65_791, 131_071, 131_072, 131_073, 262_144, 1_000_003]

    private static func text(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(0x61 + $0 / 7 % 23) } }

    @Test(arguments: sizes, [1, 3, 19, -1]) func framesRoundTrip(size: Int, level: Int) throws {
        let data = Self.text(size)
        let frame = try compressed(data, level: level)
        #expect(try decompressed(frame, count: size) == data)
        #expect(try contentSize(frame) == UInt64(size))
        #expect(try frameSize(frame + [1, 2, 3]) == frame.count)
        // No checksum, no dictionary id: bits 2, 1 and 0 of the descriptor.
        #expect(frame[4] & 0b111 == 0)
    }

    @Test(arguments: sizes) func rawFramesRoundTrip(size: Int) throws {
        var generator = SplitMix64(seed: UInt64(size))
        let data = generator.bytes(size)
        let frame = rawFrame(data)
        #expect(try decompressed(frame, count: size) == data)
        #expect(try contentSize(frame) == UInt64(size))
        #expect(try frameSize(frame + [1, 2, 3]) == frame.count)
    }

    @Test func zstdAcceptsRawFramesAlone() throws {
        for size in Self.sizes {
            var generator = SplitMix64(seed: UInt64(size))
            let data = generator.bytes(size)
            let frame = rawFrame(data)
            _ = try OutsideTool.run("zstd", ["-t", "-q", "-"], input: frame)
            #expect(try OutsideTool.run("zstd", ["-dcq"], input: frame).standardOutput == data)
        }
    }

    @Test func zstdReadsCompressedAndRawFramesInOneFile() throws {
        var generator = SplitMix64(seed: 1)
        let noise = generator.bytes(300_000)
        let text = Self.text(200_000)
        let file = try compressed(text) + rawFrame(noise) + compressed([]) + rawFrame([]) + compressed(noise)
        #expect(try OutsideTool.run("zstd", ["-dcq"], input: file).standardOutput == text + noise + noise)
    }

    @Test func readsWhatZstdWrites() throws {
        let data = Self.text(500_000)
        // A file, so that the tool knows the content size; its frame has a checksum too.
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        try data.withUnsafeBytes { _ = try AtomicFile.write([$0], to: "\(folder.path)/data") }
        let frame = try OutsideTool.run("zstd", ["-cq", "\(folder.path)/data"]).standardOutput
        #expect(try decompressed(frame, count: data.count) == data)
    }

    @Test func aRawFrameGathersATarMember() throws {
        var generator = SplitMix64(seed: 3)
        for (head, body, padding) in [(512, 131_072 - 512, 0), (512, 300_000, 32), (0, 5, 200_000), (140_000, 0, 7)] {
            let first = generator.bytes(head)
            let second = generator.bytes(body)
            var frame = [UInt8](repeating: 0xEE, count: RawZstdFrame.size(of: head + body + padding))
            let length = first.withUnsafeBytes { first in
                second.withUnsafeBytes { second in
                    frame.withUnsafeMutableBytes { RawZstdFrame.write(first, second, padding: padding, into: $0) }
                }
            }
            #expect(length == frame.count)
            let expected = first + second + [UInt8](repeating: 0, count: padding)
            #expect(frame == rawFrame(expected))
            #expect(try decompressed(frame, count: expected.count) == expected)
        }
    }

    @Test func dataThatDoesNotFitIsGivenUp() throws {
        var generator = SplitMix64(seed: 4)
        let noise = generator.bytes(10_000)
        let compressor = try ZstdCompressor(level: 1)
        var output = [UInt8](repeating: 0, count: noise.count - 1)
        try noise.withUnsafeBytes { source in
            try output.withUnsafeMutableBytes { destination in
                let length = try compressor.compressIfFits(source, into: destination)
                #expect(length == nil)
                #expect(kind { _ = try compressor.compress(source, into: destination) } == .destinationTooSmall)
            }
        }
        // The context is fit for use after a failure.
        let text = Self.text(10_000)
        try text.withUnsafeBytes { source in
            try output.withUnsafeMutableBytes { destination in
                let length = try #require(try compressor.compressIfFits(source, into: destination))
                #expect(try decompressed(Array(destination[..<length]), count: text.count) == text)
            }
        }
    }

    @Test func unknownLevelsAreRefused() {
        #expect(kind { _ = try ZstdCompressor(level: 23) } == .unsupported)
    }

    @Test func trailingBytesASecondFrameAndOtherSizesAreRefused() throws {
        let data = Self.text(5000)
        let frame = try compressed(data)
        for wrong in [frame + [0], try frame + compressed([]), frame + frame] {
            #expect(kind { _ = try decompressed(wrong, count: data.count) } == .sizeMismatch)
        }
        for count in [0, data.count - 1, data.count + 1] {
            #expect(kind { _ = try decompressed(frame, count: count) } == .sizeMismatch)
        }
        let skippable: [UInt8] = [0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0]
        #expect(kind { _ = try decompressed(skippable, count: 0) } == .damaged)
        #expect(kind { _ = try decompressed(skippable + frame, count: data.count) } == .damaged)
    }

    @Test func framesWithoutContentSizeAreRefused() throws {
        let frame = try OutsideTool.run("zstd", ["-cq"], input: Self.text(100)).standardOutput
        #expect(kind { _ = try decompressed(frame, count: 100) } == .unsupported)
    }

    @Test func aHugeDeclaredSizeIsSeenBeforeAnythingIsAllocated() throws {
        // Single segment, 8-byte content size of 2^62.
        let bomb: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0xE0, 0, 0, 0, 0, 0, 0, 0, 0x40, 1, 0, 0]
        #expect(try contentSize(bomb) == 1 << 62)
        #expect(kind { _ = try decompressed(bomb, count: 1000) } == .sizeMismatch)
    }

    @Test func everyTruncationIsAnError() throws {
        var generator = SplitMix64(seed: 5)
        for frame in [try compressed(Self.text(3000)), rawFrame(generator.bytes(3000))] {
            for length in 0..<frame.count {
                #expect(throws: FormatError.self) { try decompressed(Array(frame[..<length]), count: 3000) }
            }
        }
    }

    @Test func aFlippedBitNeverCrashesAndNeverChangesTheLength() throws {
        let data = Self.text(2000)
        var frame = try compressed(data)
        for position in frame.indices {
            for bit in 0..<8 {
                frame[position] ^= 1 << bit
                // Damage that zstd cannot see is found by the chunk's digest.
                if let output = try? decompressed(frame, count: data.count) { #expect(output.count == data.count) }
                frame[position] ^= 1 << bit
            }
        }
    }

    @Test func errorsKeepTheWordsAndNumberOfTheLibrary() throws {
        var frame = try compressed(Self.text(5000))
        // Block type 3 is reserved: corruption_detected (20).
        frame[frame.count - 1] = 0xFF
        for index in 8..<min(16, frame.count) { frame[index] = 0xFF }
        do {
            _ = try decompressed(frame, count: 5000)
            Issue.record("a reserved block type was accepted")
        } catch let error as FormatError {
            #expect(error.code != 0)
            #expect(error.lifeboatError.causes.count == 1)
            #expect(error.lifeboatError.causes[0].contains("(code \(error.code))"))
        }
    }
}
