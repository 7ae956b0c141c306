// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatTesting
import Testing

/// Parsers on hostile input. They run in another process: a trap would end this one. `scripts/fuzz` is the long form.
@Suite struct FuzzTests {
    private static let corpus: String = {
        // Tests/LifeboatScenarioTests/this file
        var components = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        components.removeLast(3)
        return components.joined(separator: "/") + "/fixtures/fuzz"
    }()

    /// Runs the program beside this one; after a crash the message holds the input, in base64.
    private func fuzz(_ words: [String], input: String? = nil) throws -> ProcessResult {
        let lifeboat = try BinaryRunner().path
        let program = lifeboat[..<(lifeboat.lastIndex(of: "/") ?? lifeboat.startIndex)] + "/LifeboatFuzz"
        let result = try SystemProcessRunner().run(ProcessCommand(String(program), words))
        if !result.termination.succeeded, let input, let bytes = try SmallFile.contents(input) {
            let encoded = String(decoding: Base64.encode(bytes, padded: true), as: UTF8.self)
            Issue.record("\(words): \(result.termination), \(result.standardError), input \(encoded)")
        }
        return result
    }

    @Test func `no input of the corpus ends a process`() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let current = "\(folder.path)/input"
        let result = try fuzz(["replay", Self.corpus, current], input: current)
        #expect(result.termination.succeeded)
        #expect(String(decoding: result.standardOutput, as: UTF8.self).hasPrefix("replayed "))
    }

    /// A directory a target.
    private static let targets: [String] = {
        do {
            return try FileTree.names(in: corpus).filter { !$0.hasSuffix(".md") }.sorted()
        } catch {
            return []
        }
    }()

    @Test func `every target has a corpus`() throws {
        let result = try fuzz(["list"])
        let names = String(decoding: result.standardOutput, as: UTF8.self).split(separator: "\n").map(String.init)
        #expect(names.sorted() == Self.targets && names.count >= 11)
    }

    @Test(arguments: targets) func `no mutation of the corpus ends a process`(_ target: String) throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let current = "\(folder.path)/input"
        let result = try fuzz(["mutate", target, Self.corpus, current, "1", "500"], input: current)
        #expect(result.termination.succeeded)
    }

    @Test func `a trap shows its signal and nothing else, unless a backtrace was asked for`() throws {
        let result = try fuzz(["trap"])
        guard case .signalled(let signal) = result.termination else {
            Issue.record("it ended by itself: \(result)")
            return
        }
        #expect([SIGILL, SIGTRAP].contains(signal))
        #expect(!result.standardError.contains("secret"))
        for word in ["Backtrace", "Registers", "Images", "Crash"] { #expect(!result.standardError.contains(word)) }
    }

    @Test(arguments: CrashReports.signals.filter { $0 != SIGQUIT })
    func `lifeboat itself dies of a fault like any other program`(_ signal: Int32) throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        // A program that lifeboat waits for sends the signal.
        try AtomicFile.write(
            """
            stack: fault
            repository: repository
            encryption: {passphrase: {command: [sh, -c, "kill -\(signal) $PPID"]}}
            components: {docs: {volume: {path: docs}}}
            """, to: "\(folder.path)/lifeboat.yaml")
        try FileTree.createFolders("\(folder.path)/docs")
        try AtomicFile.write("phrase\n", to: "\(folder.path)/phrase")
        let environment = ["HOME": folder.path, "LIFEBOAT_STATE": "\(folder.path)/state"]
        let made = try BinaryRunner().run(
            ["repository", "init", "-r", "repository", "--passphrase-file", "phrase"], environment: environment,
            input: "", workingDirectory: folder.path)
        #expect(made.exit == 0, "\(made)")
        let run = try BinaryRunner().run(
            ["snapshots"], environment: environment, input: "", workingDirectory: folder.path)
        #expect(run.exit == 128 + signal && run.output.isEmpty && run.error.isEmpty, "\(run)")
    }
}
