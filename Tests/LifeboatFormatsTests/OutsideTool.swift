// SPDX-License-Identifier: Apache-2.0

import LifeboatIO
import Subprocess
import Testing

/// Runs a Debian tool on what lifeboat wrote: the outside proof of a format.
enum OutsideTool {
    struct Output {
        var standardOutput: [UInt8]
        var standardError: String
        var text: String { String(decoding: standardOutput, as: UTF8.self) }
        var lines: [String] { text.split(separator: "\n").map(String.init) }
    }

    /// Runs `tool` with `input` and expects exit status 0.
    static func run(
        _ tool: String, _ arguments: [String], input: [UInt8] = [],
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Output {
        let result = try await Subprocess.run(
            .name(tool), arguments: Arguments(arguments), input: .array(input),
            output: .bytes(limit: 256 << 20), error: .string(limit: 1 << 20))
        let message = result.standardError
        #expect(
            result.terminationStatus == .exited(0), "\(tool) \(arguments): \(message)", sourceLocation: sourceLocation)
        return Output(standardOutput: result.standardOutput, standardError: message)
    }
}

/// A reproducible stream of numbers (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(count + 8)
        while result.count < count {
            withUnsafeBytes(of: next()) { result.append(contentsOf: $0) }
        }
        result.removeLast(result.count - count)
        return result
    }
}
