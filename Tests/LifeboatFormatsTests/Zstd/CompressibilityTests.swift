// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatFormats
import LifeboatTesting
import Testing

@Suite struct CompressibilityTests {
    private func savesTooLittle(_ data: [UInt8]) -> Bool {
        data.withUnsafeBytes { Compressibility.savesTooLittle($0) }
    }

    /// Normally distributed weights of standard deviation 0.02, as a model's tensors are.
    private func weights(_ count: Int, seed: UInt64) -> [Float] {
        var generator = SplitMix64(seed: seed)
        return (0..<count).map { _ in
            let first = Double.random(in: Double.leastNonzeroMagnitude..<1, using: &generator)
            let second = Double.random(in: 0..<1, using: &generator)
            return Float(0.02 * (-2 * log(first)).squareRoot() * cos(2 * .pi * second))
        }
    }

    @Test func noiseDoes() {
        for seed in 1...50 as ClosedRange<UInt64> {
            var generator = SplitMix64(seed: seed)
            #expect(savesTooLittle(generator.bytes(Int.random(in: 8192...400_000, using: &generator))))
        }
    }

    @Test func compressedTextDoes() async throws {
        var generator = SplitMix64(seed: 7)
        // Rows of a table: numbers of different lengths, some repeated.
        let text = (0..<60_000).map { row in
            let value = Double.random(in: 0..<1, using: &generator)
            return "\(row)\t\(value)\tchunk \(UInt32.random(in: 0..<90_000, using: &generator))\tready\n"
        }.joined()
        for (tool, arguments) in [("gzip", ["-c"]), ("zstd", ["-cq", "-10"]), ("xz", ["-c", "-1"])] {
            let data = try await OutsideTool.run(tool, arguments, input: Array(text.utf8)).standardOutput
            let (size, verdict) = (data.count, savesTooLittle(data))
            #expect(size > 400_000 && verdict, "\(tool)")
        }
    }

    @Test func weightsWhoseExponentsAloneAreRegularDo() {
        for seed in 1...4 as ClosedRange<UInt64> {
            let weights = weights(1 << 17, seed: seed)
            #expect(savesTooLittle(weights.withUnsafeBytes { Array($0) }), "float32")
            #expect(savesTooLittle(weights.map { Float16($0) }.withUnsafeBytes { Array($0) }), "float16")
        }
    }

    @Test func weightsOfFewBitsDoNot() {
        for seed in 1...4 as ClosedRange<UInt64> {
            let weights = weights(1 << 17, seed: seed)
            let bfloats = weights.map { UInt16($0.bitPattern >> 16) }
            #expect(!savesTooLittle(bfloats.withUnsafeBytes { Array($0) }), "bfloat16")
            let bytes = weights.map { Int8(clamping: Int($0 * 500)) }
            #expect(!savesTooLittle(bytes.withUnsafeBytes { Array($0) }), "int8")
        }
    }

    @Test func textZerosAndRepetitionsDoNot() {
        #expect(!savesTooLittle(Array(String(repeating: "create table chunks;", count: 20_000).utf8)))
        #expect(!savesTooLittle([UInt8](repeating: 0, count: 100_000)))
        var generator = SplitMix64(seed: 9)
        let page = generator.bytes(300)
        #expect(!savesTooLittle((0..<500).flatMap { _ in page }))
        // Every byte value equally often, yet in order.
        #expect(!savesTooLittle((0..<200_000).map { UInt8(truncatingIfNeeded: $0) }))
    }

    @Test func noiseWithOneStretchOfTextDoesNot() {
        var generator = SplitMix64(seed: 10)
        var data = generator.bytes(1 << 20)
        for index in 500_000..<650_000 { data[index] = 0x20 }
        #expect(!savesTooLittle(data))
    }

    @Test func anythingTinyDoesNot() {
        var generator = SplitMix64(seed: 11)
        for count in [0, 1, 511, 512, 1023] { #expect(!savesTooLittle(generator.bytes(count))) }
    }
}
