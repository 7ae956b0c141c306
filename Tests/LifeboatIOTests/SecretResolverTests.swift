// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import Testing

@Suite struct SecretResolverTests {
    private final class Warnings: Sendable {
        private let all = Monitor<[LifeboatError]>([])
        func add(_ warning: LifeboatError) { all.withLock { (all: inout [LifeboatError]) in all.append(warning) } }
        var list: [LifeboatError] { all.withLock { (all: inout [LifeboatError]) in all } }
    }

    private let folder: TemporaryFolder
    private let warnings = Warnings()

    init() throws { folder = try TemporaryFolder(prefix: "lifeboat-secret-") }

    private func resolver(_ environment: [String: String] = [:]) -> SecretResolver {
        let warnings = warnings
        return SecretResolver(
            environment: environment, runner: SystemProcessRunner(), workingDirectory: folder.path,
            warn: { warnings.add($0) })
    }

    private func value(_ reference: SecretReference, _ environment: [String: String] = [:]) throws -> String {
        try resolver(environment).resolve(reference, for: "password of database 'app'").reveal { $0 }
    }

    private func failure(_ reference: SecretReference, _ environment: [String: String] = [:]) -> LifeboatError? {
        do throws(LifeboatError) {
            _ = try resolver(environment).resolve(reference, for: "password of database 'app'")
            return nil
        } catch {
            return error
        }
    }

    @Test func `each source gives the secret without its last newline`() throws {
        defer { try? folder.remove() }
        try AtomicFile.write("hunter2\n", to: "\(folder.path)/pw")
        try AtomicFile.write(" two\nlines\r\n", to: "\(folder.path)/lines")
        #expect(try value(.environment("PW"), ["PW": "hunter2\n"]) == "hunter2\n")
        #expect(try value(.file("\(folder.path)/pw")) == "hunter2")
        #expect(try value(.file("\(folder.path)/lines")) == " two\nlines")
        #expect(try value(.command(["cat", "pw"])) == "hunter2")
        #expect(try value(.credential("pw"), ["CREDENTIALS_DIRECTORY": folder.path]) == "hunter2")
        #expect(warnings.list.isEmpty)
    }

    @Test func `a file that others can read is used with a warning`() throws {
        defer { try? folder.remove() }
        let path = "\(folder.path)/pw"
        try AtomicFile.write("hunter2", to: path)
        #expect(chmod(path, 0o640) == 0)
        #expect(try value(.file(path)) == "hunter2")
        #expect(warnings.list.map(\.message) == ["the secret file '\(path)' is open to others (mode 640)"])
        #expect(try value(.credential("pw"), ["CREDENTIALS_DIRECTORY": folder.path]) == "hunter2")
        #expect(warnings.list.count == 1)
    }

    @Test func `what cannot be a secret is refused without showing it`() throws {
        defer { try? folder.remove() }
        let path = folder.path
        try AtomicFile.write("\n", to: "\(path)/empty")
        try AtomicFile.write("hunter2\0x", to: "\(path)/nul")
        try AtomicFile.write(String(repeating: "hunter2", count: 20_000), to: "\(path)/long")
        #expect(mkfifo("\(path)/fifo", 0o600) == 0)
        let bytes: [UInt8] = [0x68, 0xFF, 0xFE]
        try bytes.withUnsafeBytes { _ = try AtomicFile.write([$0], to: "\(path)/latin") }
        let cases: [(SecretReference, [String: String], String)] = [
            (.environment("PW"), [:], "environment variable 'PW' is not set"),
            (.environment("PW"), ["PW": ""], "environment variable 'PW' is empty"),
            (.file("\(path)/none"), [:], "cannot open '\(path)/none'"),
            (.file("\(path)/empty"), [:], "file '\(path)/empty' is empty"),
            (.file("\(path)/nul"), [:], "file '\(path)/nul' is no text: it holds a NUL byte or is not UTF-8"),
            (.file("\(path)/latin"), [:], "file '\(path)/latin' is no text: it holds a NUL byte or is not UTF-8"),
            (.file("\(path)/long"), [:], "file '\(path)/long' gives more than 64.0 KiB"),
            (.file("\(path)/fifo"), [:], "'\(path)/fifo' is not a regular file"),
            (.file(path), [:], "'\(path)' is not a regular file"),
            (
                .command(["sh", "-c", "echo hunter2; echo locked >&2; exit 3"]), [:],
                "command 'sh' failed: exit status 3"
            ),
            (.command(["cat", "empty"]), [:], "command 'cat' is empty"),
            (.command(["no-such-program-here"]), [:], "cannot run 'no-such-program-here'"),
            (.credential("pw"), [:], "there is no credential 'pw': CREDENTIALS_DIRECTORY is not set"),
            (.credential("../pw"), ["CREDENTIALS_DIRECTORY": path], "'../pw' is no name of a credential"),
        ]
        for (reference, environment, cause) in cases {
            let error = try #require(failure(reference, environment))
            #expect(error.message == "cannot get the password of database 'app'")
            #expect(error.causes.first == cause)
            #expect(!error.description.contains("hunter2"))
        }
        #expect(failure(cases[9].0)?.causes.last == "it said: locked")
    }
}
