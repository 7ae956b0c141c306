// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// A program to run: an argument vector, never a shell string.
package struct ProcessCommand: Sendable, Equatable {
    /// A path, or a name looked up in the PATH of the child's environment.
    package var executable: String
    package var arguments: [String]
    /// Added to (or, with a nil value, taken from) what the child inherits. The place for secrets, never `arguments`.
    package var environment: [String: String?]
    /// Which variables of lifeboat's own environment the child gets.
    package var inherits: InheritedEnvironment
    package var workingDirectory: String?
    /// Run as this user and group, with no supplementary groups; nil: as lifeboat itself.
    package var userID: UInt32?
    package var groupID: UInt32?
    /// How many bytes of its standard error are kept, from the end.
    package var standardErrorLimit = ProcessErrorTail.defaultLimit

    package init(
        _ executable: String, _ arguments: [String] = [], environment: [String: String?] = [:],
        inherits: InheritedEnvironment = .base, workingDirectory: String? = nil, userID: UInt32? = nil,
        groupID: UInt32? = nil
    ) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
        self.inherits = inherits
        self.workingDirectory = workingDirectory
        self.userID = userID
        self.groupID = groupID
    }
}

/// How a child process ended.
package enum ProcessTermination: Sendable, Equatable, CustomStringConvertible {
    case exited(Int32)
    case signalled(Int32)

    package var succeeded: Bool { self == .exited(0) }

    package var description: String {
        switch self {
        case .exited(let status): "exit status \(status)"
        case .signalled(let signal): "killed by signal \(signal)"
        }
    }
}

/// A finished child with what it printed.
package struct ProcessResult: Sendable {
    package var termination: ProcessTermination
    /// Standard output, at most the limit given to `run`; more is an error.
    package var standardOutput: [UInt8]
    /// The last 16 KiB of standard error (`ProcessCommand.standardErrorLimit`), as text. When more was printed the first
    /// line that says "error" comes before them.
    package var standardError: String

    package init(termination: ProcessTermination, standardOutput: [UInt8], standardError: String) {
        self.termination = termination
        self.standardOutput = standardOutput
        self.standardError = standardError
    }
}

/// A child whose standard output is read, or whose standard input is written, as a stream.
///
/// Reading and writing block: do them on a dedicated thread. Whoever holds it must end with `finish` or `terminate`.
package protocol RunningProcess: Sendable {
    /// The next bytes of standard output, up to `buffer.count`; 0 only at its end.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int
    /// All of `bytes` to standard input. A child that has closed it gives an EPIPE error, never a signal.
    func write(_ bytes: UnsafeRawBufferPointer) throws
    /// Closes standard input: the child sees end of file.
    func closeInput() throws
    /// Waits for the child; standard output must have been read to its end or be discarded.
    func finish() throws -> ProcessResult
    /// SIGTERM, after `grace` seconds SIGKILL, to the child's process group; then waits. For error paths.
    func terminate(grace: Double)
}

/// Runs child programs. Children are in a process group of their own (Ctrl-C reaches lifeboat alone, which then ends
/// them in order), inherit no descriptor but 0, 1, 2 and never wait for a terminal. Blocking calls.
package protocol ProcessRunner: Sendable {
    /// Runs to the end. Throws when the program cannot be started, on `deadline` (seconds, then terminated), when the
    /// output exceeds `outputLimit`, and when `cancellation` fires. A non-zero exit is not an error here.
    func run(
        _ command: ProcessCommand, input: [UInt8], outputLimit: Int, deadline: Double?, cancellation: Cancellation?
    ) throws -> ProcessResult

    /// Starts the program; `pipesInput` gives it a pipe as standard input, else /dev/null.
    func start(_ command: ProcessCommand, pipesInput: Bool, pipesOutput: Bool) throws -> any RunningProcess

    /// The same for a child that is ended when `cancellation` fires: `read`, `write` and `finish`, however long they
    /// wait for it, then throw `LifeboatError.interrupted`.
    func start(
        _ command: ProcessCommand, pipesInput: Bool, pipesOutput: Bool, cancellation: Cancellation?
    ) throws -> any RunningProcess
}

extension ProcessRunner {
    /// For runners whose children never wait: only looks at the cancellation before the start.
    package func start(
        _ command: ProcessCommand, pipesInput: Bool, pipesOutput: Bool, cancellation: Cancellation?
    ) throws -> any RunningProcess {
        try cancellation?.check()
        return try start(command, pipesInput: pipesInput, pipesOutput: pipesOutput)
    }

    package func run(
        _ command: ProcessCommand, deadline: Double? = nil, cancellation: Cancellation? = nil
    ) throws -> ProcessResult {
        try run(command, input: [], outputLimit: 1 << 20, deadline: deadline, cancellation: cancellation)
    }
}
