// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
package import LifeboatIO

/// What this module means by an exit code: ArgumentParser has a type of the same name.
package typealias ExitCode = LifeboatCore.ExitCode

/// Everything a command needs of the world outside, handed down as one value: no command reads a global, so that many
/// run in one process side by side.
package struct CommandContext: Sendable {
    package var clock: any Clock
    package var environment: [String: String]
    /// Absolute; relative paths of the command line start here.
    package var workingDirectory: String
    package var terminal: TerminalFacts
    package var output: CommandOutput
    package var input: any LineInput
    package var processRunner: any ProcessRunner
    package var cancellation: Cancellation
    package var host: HostFacts

    package init(
        clock: any Clock, environment: [String: String], workingDirectory: String, terminal: TerminalFacts,
        output: CommandOutput, input: any LineInput, processRunner: any ProcessRunner, cancellation: Cancellation,
        host: HostFacts
    ) {
        self.clock = clock
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.terminal = terminal
        self.output = output
        self.input = input
        self.processRunner = processRunner
        self.cancellation = cancellation
        self.host = host
    }

    /// `path` made absolute, without `.`, `..` and doubled slashes. Purely textual: no link is followed.
    package func absolutePath(_ path: String) -> String {
        let full = path.hasPrefix("/") ? path : "\(workingDirectory)/\(path)"
        var components: [Substring] = []
        for component in full.split(separator: "/") where component != "." {
            if component == ".." {
                _ = components.popLast()
            } else {
                components.append(component)
            }
        }
        return "/" + components.joined(separator: "/")
    }

    /// A variable of the environment that is set and not empty.
    package func variable(_ name: String) -> String? {
        environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }
}

extension CommandContext {
    /// The environment this process was started with; variables that are no UTF-8 are left out.
    package static func processEnvironment() -> [String: String] {
        var variables: [String: String] = [:]
        var next = environ
        while let entry = next.pointee {
            if let text = String(validatingCString: entry), let equals = text.firstIndex(of: "=") {
                variables[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            next += 1
        }
        return variables
    }

    /// The folder this process was started in; `/` when it is gone.
    package static func processFolder() -> String {
        guard let path = getcwd(nil, 0) else { return "/" }
        defer { free(path) }
        return String(cString: path)
    }
}

/// What is known about the streams the process was started with.
package struct TerminalFacts: Sendable, Equatable {
    package var inputIsTerminal: Bool
    package var outputIsTerminal: Bool
    package var errorIsTerminal: Bool
    /// Width of the terminal in columns; 80 when there is none.
    package var columns: Int

    package init(
        inputIsTerminal: Bool = false, outputIsTerminal: Bool = false, errorIsTerminal: Bool = false, columns: Int = 80
    ) {
        self.inputIsTerminal = inputIsTerminal
        self.outputIsTerminal = outputIsTerminal
        self.errorIsTerminal = errorIsTerminal
        self.columns = columns
    }

    /// Of this process. A `COLUMNS` in the environment overrides what the terminal says.
    package static func current(environment: [String: String]) -> TerminalFacts {
        var size = winsize()
        var columns = 80
        if ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 { columns = Int(size.ws_col) }
        if let text = environment["COLUMNS"], let number = Int(text), number > 0 { columns = number }
        return TerminalFacts(
            inputIsTerminal: isatty(STDIN_FILENO) == 1, outputIsTerminal: isatty(STDOUT_FILENO) == 1,
            errorIsTerminal: isatty(STDERR_FILENO) == 1, columns: min(columns, 1000))
    }
}

/// The machine and user a command runs as.
package struct HostFacts: Sendable, Equatable {
    package var name: String
    package var userID: UInt32
    /// Cores this process may use.
    package var processors: Int

    package init(name: String, userID: UInt32, processors: Int) {
        self.name = name
        self.userID = userID
        self.processors = processors
    }

    /// Of this machine and process.
    package static func current() -> HostFacts {
        var buffer = [CChar](repeating: 0, count: 256)
        gethostname(&buffer, buffer.count - 1)
        let bytes = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        let name = String(decoding: bytes, as: UTF8.self)
        return HostFacts(
            name: name.isEmpty ? "localhost" : name, userID: geteuid(),
            processors: max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))))
    }
}

/// Where answers to questions come from.
package protocol LineInput: Sendable {
    /// The next line without its newline; nil at the end of the input. Blocks until there is one or `cancellation` is
    /// cancelled, which throws. Without `echo` a terminal does not show what is typed.
    func readLine(echo: Bool, _ cancellation: Cancellation) throws -> String?
}

/// Standard input of the process.
package struct StandardInput: LineInput {
    package init() {}

    package func readLine(echo: Bool, _ cancellation: Cancellation) throws -> String? {
        guard !echo, isatty(STDIN_FILENO) == 1 else { return try readLine(cancellation) }
        var shown = termios()
        guard tcgetattr(STDIN_FILENO, &shown) == 0 else { throw SystemCallError("read settings of", "the terminal") }
        var hidden = shown
        hidden.c_lflag &= ~tcflag_t(ECHO)
        guard tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) == 0 else {
            throw SystemCallError("hide what is typed on", "the terminal")
        }
        defer { tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown) }
        return try readLine(cancellation)
    }

    /// A byte at a time: what comes after the line is left for others.
    private func readLine(_ cancellation: Cancellation) throws -> String? {
        var line: [UInt8] = []
        while line.count < 4096 {
            var wanted = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
            while poll(&wanted, 1, 100) <= 0 { try cancellation.check() }
            var byte: UInt8 = 0
            let count = try withUnsafeMutableBytes(of: &byte) { buffer throws(SystemCallError) in
                try DescriptorIO.read(STDIN_FILENO, into: buffer, "standard input")
            }
            if count == 0 { return line.isEmpty ? nil : String(decoding: line, as: UTF8.self) }
            if byte == 0x0A { break }
            line.append(byte)
        }
        return String(decoding: line, as: UTF8.self)
    }
}
