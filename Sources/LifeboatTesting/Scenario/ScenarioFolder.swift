// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// A folder for one scenario with the built program: home, cache, state, a repository, a tree to back up.
package struct ScenarioFolder: Sendable {
    package let path: String
    package let binary: BinaryRunner
    private let folder: TemporaryFolder

    /// In memory where there is such a place: the scenarios write durably thousands of times.
    /// `prefix`: what the program is started with, for example to be in another network.
    package init(inMemory: Bool = true, prefix: [String] = []) throws {
        folder =
            try inMemory && access("/dev/shm", W_OK) == 0
            ? TemporaryFolder(prefix: "lifeboat-scenario-", in: "/dev/shm")
            : TemporaryFolder(prefix: "lifeboat-scenario-", in: "/tmp")
        path = folder.path
        binary = try BinaryRunner(prefix: prefix)
        for name in ["home", "tree"] { try FileTree.createFolders("\(path)/\(name)") }
    }

    package var repository: String { "\(path)/repository" }
    package var tree: String { "\(path)/tree" }
    package var state: String { "\(path)/state" }

    package func remove() { try? folder.remove() }

    /// HOME, cache and state of the scenario alone.
    package var environment: [String: String] {
        ["HOME": "\(path)/home", "LIFEBOAT_CACHE": "\(path)/cache", "LIFEBOAT_STATE": state]
    }

    /// Runs lifeboat in the folder.
    package func lifeboat(_ arguments: [String], environment extra: [String: String] = [:]) throws -> LifeboatRun {
        try binary.run(arguments, environment: environment.merging(extra) { $1 }, in: path)
    }

    package func lifeboat(_ arguments: String...) throws -> LifeboatRun { try lifeboat(arguments) }

    /// Runs it with a fault, and gives what was hit: the call and its number, empty when the run never came there.
    package func lifeboat(_ arguments: [String], fault: ScenarioFault) throws -> (run: LifeboatRun, hit: String) {
        let report = "\(path)/fault-report"
        unlink(report)
        let run = try lifeboat(arguments, environment: fault.environment(report: report))
        let lines = access(report, F_OK) == 0 ? try shell("cat '\(report)'").split(separator: "\n") : []
        return (run, lines.first { !$0.hasPrefix("counted") }.map(String.init) ?? "")
    }

    /// How many calls that count a run makes.
    package func callsCounted(_ arguments: [String], of calls: [String] = []) throws -> (run: LifeboatRun, calls: Int) {
        let report = "\(path)/fault-report"
        unlink(report)
        let fault = ScenarioFault(.kill, at: 0, of: calls)
        let run = try lifeboat(arguments, environment: fault.environment(report: report))
        return (run, Int(try shell("sed -n 's/counted //p' '\(report)'")) ?? 0)
    }

    /// A new repository, not encrypted.
    package func createRepository() throws {
        try succeed("repository", "init", "--repository", repository, "--encryption", "none")
    }

    /// Backs up the tree; the id of the snapshot, which must be complete.
    @discardableResult
    package func backUp() throws -> String {
        let run = try succeed("backup", "--repository", repository, "--json", tree)
        guard let id = Self.field("snapshot", of: run.output) else {
            throw LifeboatError("a backup did not name its snapshot", causes: [run.description])
        }
        return id
    }

    /// Runs what has to end with exit code 0.
    @discardableResult
    package func succeed(_ arguments: String...) throws -> LifeboatRun {
        let run = try lifeboat(arguments)
        guard run.exit == 0 else {
            throw LifeboatError("'lifeboat \(arguments.joined(separator: " "))' failed", causes: [run.description])
        }
        return run
    }

    /// The text of a field of JSON lines, first hit.
    package static func field(_ name: String, of text: String) -> String? {
        guard let start = text.firstRange(of: "\"\(name)\":\"") else { return nil }
        return String(text[start.upperBound...].prefix { $0 != "\"" })
    }

    /// Names, types, modes, owners, sizes, times, link targets and contents below a folder, as one text.
    package func fingerprint(_ folder: String) throws -> String {
        try shell(
            """
            cd '\(folder)' && find . -printf '%P %y %m %U:%G %T@ %l\\n' | LC_ALL=C sort \
            && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum
            """)
    }

    /// The fingerprint of the repository without leases, which readers leave behind when they are killed.
    package func repositoryFingerprint() throws -> String {
        try shell(
            """
            cd '\(repository)' && find . -mindepth 1 -not -path './leases*' -printf '%P %y %m %U:%G %T@ %l\\n' \
            | LC_ALL=C sort \
            && find . -type f -not -path './leases/*' -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum
            """)
    }

    /// Restores a snapshot into a new folder, compares and removes it: nil, or what is wrong.
    package func problemRestoring(_ snapshot: String, expecting fingerprint: String) throws -> String? {
        let target = "\(path)/restored"
        try FileTree.remove(target)
        let run = try lifeboat("restore", snapshot, "--repository", repository, "--to", target)
        guard run.exit == 0 else { return run.description }
        let restored = try self.fingerprint(target + tree)
        try FileTree.remove(target)
        return restored == fingerprint ? nil : "restored:\n\(restored)\nexpected:\n\(fingerprint)"
    }

    /// Runs a line of shell that has to succeed; its output without the newline at its end.
    @discardableResult
    package func shell(_ line: String) throws -> String {
        let result = try SystemProcessRunner().run(ProcessCommand("sh", ["-c", line]), deadline: 60)
        guard result.termination.succeeded else {
            throw LifeboatError("'\(line)' failed: \(result.termination)", causes: [result.standardError])
        }
        return result.trimmed
    }

    /// A small tree: nested folders, a symbolic and a hard link, an empty file, contents up to some chunks.
    package func growTree(seed: UInt64, files: Int = 6) throws {
        var random = SplitMix64(seed: seed)
        try FileTree.createFolders("\(tree)/nested/deeper")
        for number in 0..<files {
            let folder = ["", "nested/", "nested/deeper/"][number % 3]
            try write(random.bytes(Int(random.next() % 30_000)), to: "\(tree)/\(folder)file-\(number)")
        }
        try shell("cd '\(tree)' && : >empty && ln -sf nested/file-1 link && ln -f file-0 nested/second-name")
    }

    /// A file that no snapshot holds yet.
    package func change(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        try write(random.bytes(5000), to: "\(tree)/nested/changing")
    }

    /// Writes a file whole.
    package func write(_ bytes: [UInt8], to path: String) throws {
        let file = try OwnedDescriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC)
        try bytes.withUnsafeBytes { try DescriptorIO.write(file.raw, $0, path) }
    }
}
