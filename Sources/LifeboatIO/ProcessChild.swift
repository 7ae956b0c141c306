// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Seconds on the monotonic clock.
func monotonicSeconds() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
}

/// One child process from its start to its reaping. Thread-safe.
///
/// The child stays a zombie until `reap`, so its process id, which is also the id of its group, cannot be given to
/// another process while it may still be signalled.
final class ProcessChild: Sendable {
    let program: String
    private let processID: pid_t
    /// Readable once the child has ended.
    let exitDescriptor: OwnedDescriptor
    private let reaped = Monitor<ProcessTermination?>(nil)

    /// Starts the program with the three descriptors as its standard streams.
    init(_ command: ProcessCommand, input: Int32, output: Int32, error: Int32) throws(ProcessError) {
        program = command.executable
        let environment = Self.environment(command.inherits, command.environment)
        let path = try Self.resolve(command.executable, environment)
        var step: Int32 = 0
        var errorNumber: Int32 = 0
        let processID = withCStrings([command.executable] + command.arguments) { arguments in
            withCStrings(environment.map { "\($0.key)=\($0.value)" }) { variables in
                lifeboat_spawn(
                    path, arguments, variables, command.workingDirectory, command.userID == nil ? 0 : 1,
                    command.userID ?? 0, command.groupID == nil ? 0 : 1, command.groupID ?? 0,
                    [input, output, error], &step, &errorNumber)
            }
        }
        guard processID > 0 else {
            throw .cannotStart(
                program: command.executable, step: Self.describe(step, command), errorNumber: errorNumber)
        }
        self.processID = processID
        let descriptor = lifeboat_pidfd_open(processID)
        exitDescriptor = OwnedDescriptor(owning: descriptor)
        if descriptor < 0 {
            let errorNumber = errno
            kill(-processID, SIGKILL)
            _ = try reap()
            throw .cannotStart(program: program, step: "watch the process", errorNumber: errorNumber)
        }
    }

    deinit {
        // Only when its holder neither finished nor terminated it: leave no orphan and no zombie.
        signalGroup(SIGKILL)
        _ = try? reap()
    }

    /// Waits until the child has ended; false when `seconds` have passed before.
    func waitForExit(seconds: Double? = nil) -> Bool {
        let end = seconds.map { monotonicSeconds() + $0 }
        while true {
            var events = [pollfd(fd: exitDescriptor.raw, events: Int16(POLLIN), revents: 0)]
            let left = end.map { max(0, $0 - monotonicSeconds()) }
            let count = poll(&events, 1, left.map { Int32(min(($0 * 1000).rounded(.up), 1e9)) } ?? -1)
            if count > 0 { return true }
            if count == 0, let end, monotonicSeconds() >= end { return false }
        }
    }

    /// Sends a signal to the child's group unless the child was reaped.
    func signalGroup(_ signal: Int32) {
        reaped.withLock { termination in
            if termination == nil { kill(-processID, signal) }
        }
    }

    /// Ends the child's group: SIGTERM, after `grace` seconds SIGKILL (also to what outlives the child); reaps.
    func end(grace: Double) throws(ProcessError) -> ProcessTermination {
        signalGroup(SIGTERM)
        _ = waitForExit(seconds: grace)
        signalGroup(SIGKILL)
        _ = waitForExit()
        return try reap()
    }

    /// How the child ended; waits for it. The same answer every time.
    func reap() throws(ProcessError) -> ProcessTermination {
        try reaped.withLock { termination throws(ProcessError) -> ProcessTermination in
            if let termination { return termination }
            var status: Int32 = 0
            var signalled: Int32 = 0
            guard lifeboat_reap(processID, &status, &signalled) == 0 else {
                throw .system(program: program, SystemCallError("wait for", program))
            }
            let result: ProcessTermination = signalled == 0 ? .exited(status) : .signalled(status)
            termination = result
            return result
        }
    }

    /// What the child gets of lifeboat's own environment, with the changes applied.
    private static func environment(
        _ inherits: InheritedEnvironment, _ changes: [String: String?]
    ) -> [String: String] {
        var variables: [String: String] = [:]
        var entry = lifeboat_environment()
        while let current = entry, let text = current.pointee {
            let variable = String(cString: text)
            if let equals = variable.firstIndex(of: "=") {
                let name = String(variable[..<equals])
                if inherits.passes(name) { variables[name] = String(variable[variable.index(after: equals)...]) }
            }
            entry = current + 1
        }
        for (name, value) in changes { variables[name] = value }
        return variables
    }

    /// The path of a program: itself when it has a slash, else the first match in PATH.
    private static func resolve(
        _ executable: String, _ environment: [String: String]
    ) throws(ProcessError) -> String {
        if executable.utf8.contains(UInt8(ascii: "/")) {
            guard access(executable, F_OK) == 0 else { throw .notFound(program: executable, searched: []) }
            return executable
        }
        // The search path that execvp(3) falls back to.
        let folders = (environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":").map(String.init)
        for folder in folders where folder.hasPrefix("/") {
            let candidate = "\(folder)/\(executable)"
            var status = stat()
            if stat(candidate, &status) == 0, status.st_mode & S_IFMT == S_IFREG, access(candidate, X_OK) == 0 {
                return candidate
            }
        }
        throw .notFound(program: executable, searched: folders)
    }

    private static func describe(_ step: Int32, _ command: ProcessCommand) -> String {
        switch Int(step) {
        case LIFEBOAT_SPAWN_FOLDER: "enter the folder '\(command.workingDirectory ?? "")'"
        case LIFEBOAT_SPAWN_USER:
            "become user \(command.userID.map(String.init) ?? "-"), group \(command.groupID.map(String.init) ?? "-")"
        case LIFEBOAT_SPAWN_DESCRIPTORS: "set up its standard streams"
        case LIFEBOAT_SPAWN_EXECUTE: "execute it"
        default: "make a process"
        }
    }
}

/// The strings as a null-terminated array of C strings for the duration of `body`.
private func withCStrings<Result>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    return body(pointers)
}
