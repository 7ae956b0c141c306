// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatFormats
import LifeboatIO
import LifeboatTesting
import Testing

/// Peak memory of the built program does not grow with the number of files.
@Suite(.serialized) struct MemoryScenarioTests {
    /// Twice as many are more than any limit up to which things are kept in memory (98,304 chunks, 32,768 a pack).
    private static let files = 60_000
    /// What twice as many files may take more, bytes. It covers what is kept up to those limits, and that two threads
    /// rarely reach their peaks at once.
    private static let tolerance = 24 << 20
    /// What no command takes, bytes.
    private static let limit = 120 << 20

    @Test func twiceAsManyFilesTakeNoMoreMemory() throws {
        let folder = try ScenarioFolder()
        defer { folder.remove() }
        let source = "\(folder.path)/source"
        for half in ["a", "b"] { try Self.createFiles(in: "\(source)/\(half)", half) }

        let one = try peaks(folder, "one", of: "\(source)/a")
        let two = try peaks(folder, "two", of: source)
        for (command, peak) in two {
            let before = try #require(one[command])
            #expect(
                peak < before + Self.tolerance,
                "\(command): \(before >> 10) KiB with \(Self.files) files, \(peak >> 10) KiB with twice as many")
            #expect(peak < Self.limit, "\(command): \(peak >> 10) KiB")
        }
    }

    /// Peak memory in bytes of each command, on a new repository.
    private func peaks(_ folder: ScenarioFolder, _ name: String, of source: String) throws -> [String: Int] {
        let repository = ["--repository", "\(folder.path)/\(name)"]
        _ = try peak(folder, ["repository", "init", "--encryption", "none"] + repository)
        var peaks: [String: Int] = [:]
        peaks["first backup"] = try peak(folder, ["backup", source] + repository)
        peaks["unchanged backup"] = try peak(folder, ["backup", source] + repository)
        peaks["check --read-data"] = try peak(folder, ["check", "--read-data"] + repository)
        peaks["ls"] = try peak(folder, ["ls", "-R", "latest"] + repository)
        return peaks
    }

    /// Runs the program through a small process: Linux counts the memory of the process that starts another into the
    /// peak of that one.
    private func peak(_ folder: ScenarioFolder, _ arguments: [String]) throws -> Int {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let result = "\(folder.path)/result.json"
        let run = try SystemProcessRunner().run(
            ProcessCommand(
                "python3",
                ["-I", "-S", "/\(root)/scripts/bench.d/measure.py", result, "\(folder.path)/log"]
                    + [try BinaryRunner().path] + arguments,
                environment: folder.environment.mapValues(Optional.some)), deadline: 120)
        let text = String(decoding: try #require(try SmallFile.contents(result)), as: UTF8.self)
        #expect(run.termination.succeeded && text.contains("\"exit\": 0"), "\(arguments): \(text)")
        let digits = try #require(text.split(separator: "\"peak\": ").last).prefix { $0.isNumber }
        return try #require(Int(digits))
    }

    /// Distinct small files, 250 a folder.
    private static func createFiles(in folder: String, _ mark: String) throws {
        for number in 0..<files {
            let parent = "\(folder)/\(number / 250)"
            if number % 250 == 0 { try FileTree.createFolders(parent) }
            let file = try OwnedDescriptor.open("\(parent)/\(number)", O_WRONLY | O_CREAT, mode: 0o644)
            try Array("\(mark) \(number)\n".utf8).withUnsafeBytes { try DescriptorIO.write(file.raw, $0, parent) }
        }
    }
}
