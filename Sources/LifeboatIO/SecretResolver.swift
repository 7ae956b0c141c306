// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import LifeboatCore

/// Fetches secrets from where a policy says they are. No message ever holds the value.
package struct SecretResolver: Sendable {
    /// More than any password, less than a wrong file.
    package static let maximumBytes = 64 << 10

    private let environment: [String: String]
    private let environmentFiles: [String]
    private let runner: any ProcessRunner
    private let workingDirectory: String?
    private let warn: @Sendable (LifeboatError) -> Void

    /// `environment` is lifeboat's own; a variable that is not set there is looked for in `environmentFiles`, as Compose
    /// does. Commands run in `workingDirectory`, the directory of the policy. `warn` gets a warning for each secret that
    /// other users can read.
    package init(
        environment: [String: String], environmentFiles: [String] = [], runner: any ProcessRunner,
        workingDirectory: String? = nil,
        warn: @escaping @Sendable (LifeboatError) -> Void
    ) {
        self.environment = environment
        self.environmentFiles = environmentFiles
        self.runner = runner
        self.workingDirectory = workingDirectory
        self.warn = warn
    }

    /// The secret, for `subject` in messages (`password of database 'app'`). Never empty. Blocking: a command may take
    /// `deadline` seconds.
    package func resolve(
        _ reference: SecretReference, for subject: String, deadline: Double = 30, cancellation: Cancellation? = nil
    ) throws(LifeboatError) -> Secret {
        do {
            switch reference {
            case .environment(let name): return try fromEnvironment(name)
            case .file(let path): return try fromFile(path)
            case .command(let words): return try fromCommand(words, deadline: deadline, cancellation: cancellation)
            case .credential(let name): return try fromCredential(name)
            }
        } catch {
            let converted = LifeboatError.converting(error)
            if converted.exitCode == .interrupted { throw converted }
            throw converted.wrapped("cannot get the \(subject)")
        }
    }

    private func fromEnvironment(_ name: String) throws -> Secret {
        let value = environment[name]
        if value?.isEmpty ?? true {
            for file in environmentFiles {
                if let found = try EnvironmentFile.value(of: name, in: file) { return found }
            }
        }
        guard let value else {
            let files = environmentFiles.map { "it is not in '\($0)' either" }
            let orFile = environmentFiles.first.map { " or in '\($0)'" } ?? ""
            throw LifeboatError(
                "environment variable '\(name)' is not set", causes: files,
                hint: "Set \(name) in the environment of lifeboat\(orFile), or change the policy.")
        }
        return try secret(Array(value.utf8), from: "environment variable '\(name)'", dropsNewline: false)
    }

    private func fromCredential(_ name: String) throws -> Secret {
        guard let folder = environment["CREDENTIALS_DIRECTORY"], !folder.isEmpty else {
            throw LifeboatError(
                "there is no credential '\(name)': CREDENTIALS_DIRECTORY is not set",
                hint: "Run lifeboat as a systemd unit with LoadCredential=\(name):PATH, or change the policy.")
        }
        guard !name.contains("/"), name != ".", name != "..", !name.isEmpty else {
            throw LifeboatError("'\(name)' is no name of a credential")
        }
        // systemd itself keeps that folder from others: its modes say nothing.
        return try secret(try read("\(folder)/\(name)", checksMode: false), from: "credential '\(name)'")
    }

    private func fromFile(_ path: String) throws -> Secret {
        try secret(try read(path, checksMode: true), from: "file '\(path)'")
    }

    private func read(_ path: String, checksMode: Bool) throws -> [UInt8] {
        // O_NONBLOCK: a fifo put there must not hold us for ever.
        let file = try OwnedDescriptor.open(path, O_RDONLY | O_NONBLOCK)
        var status = stat()
        guard fstat(file.raw, &status) == 0 else { throw SystemCallError("look at", path) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw LifeboatError("'\(path)' is not a regular file")
        }
        if checksMode, status.st_mode & 0o077 != 0 {
            let mode = String(status.st_mode & 0o7777, radix: 8)
            warn(
                LifeboatError(
                    "the secret file '\(path)' is open to others (mode \(mode))",
                    hint: "Run: chmod 600 '\(path)'"))
        }
        var bytes = [UInt8](repeating: 0, count: Self.maximumBytes + 1)
        let count = try bytes.withUnsafeMutableBytes { buffer throws(SystemCallError) in
            try DescriptorIO.read(file.raw, into: buffer, path)
        }
        return Array(bytes[..<count])
    }

    private func fromCommand(
        _ words: [String], deadline: Double, cancellation: Cancellation?
    ) throws -> Secret {
        guard let program = words.first else { throw LifeboatError("the command is empty") }
        let result = try runner.run(
            ProcessCommand(
                program, Array(words.dropFirst()), inherits: .everything, workingDirectory: workingDirectory),
            input: [],
            outputLimit: Self.maximumBytes, deadline: deadline, cancellation: cancellation)
        guard result.termination.succeeded else {
            // Standard error helps; standard output may be a part of the secret.
            let said = result.standardError.split(separator: "\n").suffix(5).map { "it said: \($0)" }
            throw LifeboatError("command '\(program)' failed: \(result.termination)", causes: said)
        }
        return try secret(result.standardOutput, from: "command '\(program)'")
    }

    private func secret(_ bytes: [UInt8], from origin: String, dropsNewline: Bool = true) throws -> Secret {
        var bytes = bytes
        guard bytes.count <= Self.maximumBytes else {
            throw LifeboatError("\(origin) gives more than \(ByteCount(UInt64(Self.maximumBytes)))")
        }
        if dropsNewline, bytes.last == 0x0A {
            bytes.removeLast()
            if bytes.last == 0x0D { bytes.removeLast() }
        }
        guard !bytes.isEmpty else { throw LifeboatError("\(origin) is empty") }
        guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else {
            throw LifeboatError("\(origin) is no text: it holds a NUL byte or is not UTF-8")
        }
        return Secret(text)
    }
}
