// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// Runs client programs against one endpoint. The password reaches them through a file in memory, or through a pipe to
/// the container they run in; never through arguments, nor through the environment of a process on this host.
struct PostgresClient {
    let endpoint: PostgresEndpoint
    let tools: PostgresTools
    let runner: any ProcessRunner

    /// A program that was started.
    final class Running: Sendable {
        let process: any RunningProcess
        /// Must outlive the process, which may read them again for another connection.
        private let files: [ProcessSecretFile]

        init(_ process: any RunningProcess, _ files: [ProcessSecretFile]) {
            self.process = process
            self.files = files
        }
    }

    private struct Prepared {
        var command: ProcessCommand
        /// What goes into standard input before anything else.
        var prefix: [UInt8] = []
        var files: [ProcessSecretFile] = []
    }

    /// Starts a program that reads no input, or all of what the caller writes.
    func start(
        _ program: String, _ arguments: [String], database: String, readsInput: Bool, _ cancellation: Cancellation
    ) throws -> Running {
        let prepared = try prepare(program, arguments, database, readsInput ? .stream : .untilClosed)
        let process = try runner.start(
            prepared.command, pipesInput: readsInput || tools.container != nil, pipesOutput: !readsInput,
            cancellation: cancellation)
        do {
            if !prepared.prefix.isEmpty { try prepared.prefix.withUnsafeBytes { try process.write($0) } }
        } catch ProcessError.inputClosed {
            // It ended at once; how and why is told by its end.
        } catch {
            process.terminate(grace: 2)
            throw error
        }
        return Running(process, prepared.files)
    }

    /// Runs a program to its end and gives what it printed.
    func run(
        _ program: String, _ arguments: [String], database: String, outputLimit: Int, deadline: Double?,
        _ cancellation: Cancellation
    ) throws -> ProcessResult {
        let prepared = try prepare(program, arguments, database, .stream)
        defer { withExtendedLifetime(prepared.files) {} }
        return try runner.run(
            prepared.command, input: prepared.prefix, outputLimit: outputLimit, deadline: deadline,
            cancellation: cancellation)
    }

    /// Runs a program to its end, with a file of this content as its last argument. No deadline: it may build indexes
    /// for hours.
    func run(
        _ program: String, _ arguments: [String], file: [UInt8], database: String, errorLimit: Int = 16 << 10,
        _ cancellation: Cancellation
    ) throws -> ProcessResult {
        var prepared = try prepare(program, arguments, database, .file)
        defer { withExtendedLifetime(prepared.files) {} }
        if tools.container == nil {
            let inMemory = try ProcessSecretFile(bytes: file)
            prepared.command.arguments.append(inMemory.path)
            prepared.files.append(inMemory)
        } else {
            prepared.prefix += file
        }
        prepared.command.standardErrorLimit = errorLimit
        return try runner.run(
            prepared.command, input: prepared.prefix, outputLimit: 1 << 20, deadline: nil, cancellation: cancellation)
    }

    private func prepare(
        _ program: String, _ arguments: [String], _ database: String, _ input: PostgresTools.Input
    ) throws -> Prepared {
        let arguments = ["--no-password", "--dbname=\(endpoint.connectionString(database))"] + arguments
        let password = try endpoint.password?.reveal { plain in
            guard !plain.utf8.contains(0x0A) else {
                throw LifeboatError(
                    "the password of user '\(endpoint.user)' holds a line break",
                    hint: "PostgreSQL's programs take no such password from a file; choose another one.")
            }
            return Secret(plain)
        }
        if tools.container != nil {
            var prepared = Prepared(command: tools.command(program, arguments, input: input))
            password?.reveal { prepared.prefix = Array($0.utf8) }
            prepared.prefix.append(0x0A)
            return prepared
        }
        // What of libpq's environment would send the program elsewhere than our own session. Certificates stay.
        var environment: [String: String?] = [:]
        for name in ["PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE", "PGOPTIONS"] {
            environment.updateValue(nil, forKey: name)
        }
        // Messages in English; what is in them is written as UTF-8 all the same.
        environment["LC_ALL"] = "C.UTF-8"
        environment.updateValue(nil, forKey: "LANGUAGE")
        environment["PGCONNECT_TIMEOUT"] = "\(max(2, Int(endpoint.connectTimeout.rounded(.up))))"
        var files: [ProcessSecretFile] = []
        if let password {
            let line = password.reveal {
                "*:*:*:*:" + $0.replacing("\\", with: "\\\\").replacing(":", with: "\\:") + "\n"
            }
            let file = try ProcessSecretFile(line)
            environment["PGPASSFILE"] = file.path
            environment.updateValue(nil, forKey: "PGPASSWORD")
            files.append(file)
        }
        return Prepared(command: tools.command(program, arguments, environment: environment), files: files)
    }
}
