// SPDX-License-Identifier: Apache-2.0

package import Glibc
import LifeboatCommands
import LifeboatIO

/// Runs the built program as a child process.
package struct BinaryRunner: LifeboatRunner {
    /// The program.
    package let path: String
    /// What it is started with: a program that becomes it.
    private let prefix: [String]

    /// nil: `lifeboat` beside the test bundle.
    package init(path: String? = nil, prefix: [String] = []) throws {
        self.path = try path ?? Self.builtProgram()
        self.prefix = prefix
    }

    /// The program of the same build: it lies in the folder of the running test program.
    private static func builtProgram() throws -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        guard count > 0 else { throw SystemCallError("read link", "/proc/self/exe") }
        let program = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let folder = program[..<(program.lastIndex(of: "/") ?? program.startIndex)]
        let candidate = "\(folder)/lifeboat"
        guard access(candidate, X_OK) == 0 else { throw SystemCallError("run", candidate) }
        return candidate
    }

    package func run(
        _ arguments: [String], environment: [String: String], input: String, workingDirectory: String
    ) throws -> LifeboatRun {
        try start(arguments, environment: environment, input: input, in: workingDirectory).wait()
    }

    /// Starts it, for tests that send signals or watch. End it with `wait`.
    package func start(
        _ arguments: [String], environment: [String: String] = [:], input: String = "",
        in workingDirectory: String = "/"
    ) throws -> RunningLifeboat {
        let folder = try TemporaryFolder(prefix: "lifeboat-run-")
        try AtomicFile.write(input, to: "\(folder.path)/stdin")
        var variables = environment
        if variables["PATH"] == nil { variables["PATH"] = CommandContext.processEnvironment()["PATH"] }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "\(folder.path)/stdin", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, "\(folder.path)/stdout", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, "\(folder.path)/stderr", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // Test threads have signals blocked or not as they please: the program starts like from a shell.
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        // env(1) changes the folder and becomes the program, under the same process id.
        let words = CStrings(["env", "-C", workingDirectory] + prefix + [path] + arguments)
        let settings = CStrings(variables.map { "\($0.key)=\($0.value)" })
        var process = pid_t()
        let status = posix_spawn(&process, "/usr/bin/env", &actions, &attributes, words.pointers, settings.pointers)
        guard status == 0 else { throw SystemCallError("start", path, errorNumber: status) }
        return RunningLifeboat(process: process, folder: folder)
    }
}

/// A lifeboat that runs.
package struct RunningLifeboat: Sendable {
    package let process: pid_t
    private let folder: TemporaryFolder

    fileprivate init(process: pid_t, folder: TemporaryFolder) {
        self.process = process
        self.folder = folder
    }

    /// Sends a signal; false when it ended already.
    @discardableResult
    package func send(_ signal: Int32) -> Bool { kill(process, signal) == 0 }

    /// Standard output so far.
    package func outputSoFar() throws -> [UInt8] { try TextFile.read("\(folder.path)/stdout") }

    /// Waits for the end; once.
    package func wait() throws -> LifeboatRun {
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 {
            guard errno == EINTR else { throw SystemCallError("wait for", "lifeboat") }
        }
        let signal = status & 0x7F
        let run = LifeboatRun(
            exit: signal == 0 ? (status >> 8) & 0xFF : 128 + signal,
            standardOutput: try TextFile.read("\(folder.path)/stdout"),
            standardError: try TextFile.read("\(folder.path)/stderr"))
        try folder.remove()
        return run
    }
}

/// A NULL-ended vector of C strings, freed with this.
private final class CStrings {
    let pointers: [UnsafeMutablePointer<CChar>?]

    init(_ texts: [String]) { pointers = texts.map { strdup($0) } + [nil] }

    deinit { for pointer in pointers { free(pointer) } }
}
