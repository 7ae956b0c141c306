// SPDX-License-Identifier: Apache-2.0

import LifeboatIO
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
    ) throws -> Output {
        let result = try SystemProcessRunner().run(
            ProcessCommand(tool, arguments), input: input, outputLimit: 256 << 20, deadline: 120, cancellation: nil)
        #expect(
            result.termination.succeeded, "\(tool) \(arguments): \(result.standardError)",
            sourceLocation: sourceLocation)
        return Output(standardOutput: result.standardOutput, standardError: result.standardError)
    }
}
