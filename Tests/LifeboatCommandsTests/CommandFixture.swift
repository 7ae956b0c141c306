// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting

/// A temporary home with a repository and some files, and the ways to run lifeboat on it.
struct CommandFixture {
    let folder: TemporaryFolder
    var runner: any LifeboatRunner
    let clock = FixedClock()

    enum Kind: Sendable, CaseIterable, CustomStringConvertible {
        case inProcess, binary
        var description: String { self == .inProcess ? "in-process" : "built program" }
    }

    /// `inMemory` puts it on a memory file system, for tests with very many small files.
    init(_ kind: Kind = .inProcess, terminal: TerminalFacts = TerminalFacts(), inMemory: Bool = false) throws {
        folder = try TemporaryFolder(prefix: "lifeboat-commands-", in: inMemory ? "/dev/shm" : nil)
        runner = kind == .binary ? try BinaryRunner() : InProcessRunner(clock: clock, terminal: terminal)
        try FileTree.createFolders("\(folder.path)/home")
    }

    var path: String { folder.path }
    var repository: String { "\(path)/repository" }

    var environment: [String: String] {
        ["HOME": "\(path)/home", "LIFEBOAT_STATE": "\(path)/state", "LIFEBOAT_CACHE": "\(path)/cache"]
    }

    /// Runs lifeboat in the folder.
    func run(_ arguments: String..., input: String = "") throws -> LifeboatRun {
        try run(arguments, input: input)
    }

    func run(_ arguments: [String], input: String = "") throws -> LifeboatRun {
        try runner.run(arguments, environment: environment, input: input, workingDirectory: path)
    }

    /// With `--repository`.
    func inRepository(_ arguments: String...) throws -> LifeboatRun { try run(arguments + ["-r", repository]) }

    func write(_ text: String, to name: String) throws {
        let file = "\(path)/\(name)"
        if let slash = file.lastIndex(of: "/") { try FileTree.createFolders(String(file[..<slash]), mode: 0o755) }
        try AtomicFile.write(text, to: file, mode: 0o644)
        // A day ago: not so fresh that a change could hide.
        try setTime(name, seconds: 1_700_000_000)
    }

    func setTime(_ name: String, seconds: Int) throws {
        let times = [timespec(tv_sec: seconds, tv_nsec: 0), timespec(tv_sec: seconds, tv_nsec: 0)]
        guard utimensat(AT_FDCWD, "\(path)/\(name)", times, AT_SYMLINK_NOFOLLOW) == 0 else {
            throw SystemCallError("set time of", name)
        }
    }

    func text(_ name: String) throws -> String {
        String(decoding: try TextFile.read("\(path)/\(name)"), as: UTF8.self)
    }

    func exists(_ name: String) -> Bool {
        var status = stat()
        return lstat("\(path)/\(name)", &status) == 0
    }

    /// Some small files: `docs/a.txt`, `docs/b.txt` and `docs/sub/c.txt`.
    func makeDocuments() throws {
        try write("first\n", to: "docs/a.txt")
        try write("second\n", to: "docs/b.txt")
        try write("third\n", to: "docs/sub/c.txt")
        for folder in ["docs/sub", "docs"] { try setTime(folder, seconds: 1_700_000_000) }
    }

    /// The text with what differs from run to run replaced: the folder, ids, and the user and group of files.
    func normalized(_ text: String) -> String {
        var result = text.replacing(path, with: "/T")
        var seen: [Substring: String] = [:]
        // Simple: in Unicode's words no boundary is between the letter that a name may end with and '.tar'.
        result = result.replacing(#/\b([0-9a-f]{64}|[0-9a-f]{12})\b/#.wordBoundaryKind(.simple)) { match in
            let short = match.output.0.prefix(12)
            let name = seen[short] ?? "ID\(seen.count + 1)"
            seen[short] = name
            return match.output.0.count == 64 ? "<\(name)>" : "<\(name)…>"
        }
        let user = geteuid()
        let group = getegid()
        result = result.replacing("\"user_id\":\(user)", with: "\"user_id\":UID")
        return result.replacing("\"group_id\":\(group)", with: "\"group_id\":GID")
    }
}
