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
