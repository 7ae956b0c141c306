// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCommands
package import LifeboatCore
package import LifeboatIO

/// What a run of lifeboat gave.
package struct LifeboatRun: Sendable, Equatable, CustomStringConvertible {
    /// Exit status; 128 and the number of the signal that ended it.
    package var exit: Int32
    package var standardOutput: [UInt8]
    package var standardError: [UInt8]

    package init(exit: Int32, standardOutput: [UInt8], standardError: [UInt8]) {
        self.exit = exit
        self.standardOutput = standardOutput
        self.standardError = standardError
    }

    /// Standard output as text; invalid UTF-8 is repaired.
    package var output: String { String(decoding: standardOutput, as: UTF8.self) }
    /// Standard error as text.
    package var error: String { String(decoding: standardError, as: UTF8.self) }
    package var code: ExitCode? { ExitCode(rawValue: exit) }

    package var description: String { "exit \(exit)\n--- stdout\n\(output)--- stderr\n\(error)" }
}

/// Runs a command line of lifeboat: in this process or as the built program, so that one scenario serves both.
package protocol LifeboatRunner: Sendable {
    /// `environment` is all the program sees, except PATH. `input` is its standard input.
    func run(
        _ arguments: [String], environment: [String: String], input: String, workingDirectory: String
    ) throws -> LifeboatRun
}

extension LifeboatRunner {
    package func run(
        _ arguments: [String], environment: [String: String] = [:], input: String = "",
        in workingDirectory: String = "/"
    ) throws -> LifeboatRun {
        try run(arguments, environment: environment, input: input, workingDirectory: workingDirectory)
    }
}

/// Runs commands in this process. Runs do not share anything: any number at once.
package struct InProcessRunner: LifeboatRunner {
    package var clock: any Clock
    package var terminal: TerminalFacts
    package var host: HostFacts
    package var cancellation: Cancellation
    package var processRunner: any ProcessRunner

    package init(
        clock: any Clock = SystemClock(), terminal: TerminalFacts = TerminalFacts(),
        host: HostFacts = HostFacts(name: "testhost", userID: geteuid(), processors: 2),
        cancellation: Cancellation = Cancellation(), processRunner: any ProcessRunner = SystemProcessRunner()
    ) {
        self.clock = clock
        self.terminal = terminal
        self.host = host
        self.cancellation = cancellation
        self.processRunner = processRunner
    }

    package func run(
        _ arguments: [String], environment: [String: String], input: String, workingDirectory: String
    ) throws -> LifeboatRun {
        let output = CollectedStream()
        let error = CollectedStream()
        var variables = environment
        if variables["PATH"] == nil { variables["PATH"] = CommandContext.processEnvironment()["PATH"] }
        let context = CommandContext(
            clock: clock, environment: variables, workingDirectory: workingDirectory, terminal: terminal,
            output: CommandOutput(standard: output, error: error), input: GivenLines(input),
            processRunner: processRunner, cancellation: cancellation, host: host)
        let code = LifeboatProgram.run(arguments, context)
        return LifeboatRun(exit: code.rawValue, standardOutput: output.bytes, standardError: error.bytes)
    }
}

/// Keeps what is printed.
package final class CollectedStream: OutputStream {
    private let state = Monitor<[UInt8]>([])

    package init() {}

    package var bytes: [UInt8] { state.withLock { $0 } }

    package func write(_ bytes: UnsafeRawBufferPointer) {
        state.withLock { $0.append(contentsOf: bytes) }
    }
}

/// Refuses every byte after the first `limit` with the errno given: a closed pipe, a full disk.
package final class FailingStream: OutputStream {
    private let state: Monitor<Int>
    private let errorNumber: Int32

    package init(after limit: Int = 0, errorNumber: Int32) {
        state = Monitor(limit)
        self.errorNumber = errorNumber
    }

    package func write(_ bytes: UnsafeRawBufferPointer) throws(SystemCallError) {
        let fits = state.withLock { rest in
            rest -= bytes.count
            return rest >= 0
        }
        guard fits else { throw SystemCallError("write to", "standard output", errorNumber: errorNumber) }
    }
}

/// Answers to questions, given beforehand.
package final class GivenLines: LineInput {
    private let lines: Monitor<[Substring]>

    package init(_ text: String) {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last == "" { lines.removeLast() }
        self.lines = Monitor(lines)
    }

    package func readLine(echo: Bool, _ cancellation: Cancellation) -> String? {
        lines.withLock { $0.isEmpty ? nil : String($0.removeFirst()) }
    }
}
