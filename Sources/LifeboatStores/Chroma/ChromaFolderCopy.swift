// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// One copy of a Chroma folder, beside it, so that the file system can share the blocks.
struct ChromaFolderCopy: Sendable {
    private static let database = "chroma.sqlite3"
    private static let mark = ".lifeboat-copy-"
    private static let attempts = 5
    /// Index files that changed so recently may be in the middle of being written: seconds.
    private static let quiet: Int64 = 1

    private let folder: String
    private let runner: any ProcessRunner
    /// Where the copy is.
    let place: String

    /// `folder` without links. The name of the copy tells whose it is.
    init(_ folder: String, _ runner: any ProcessRunner) throws {
        self.folder = folder
        self.runner = runner
        let owner = try ProcessIdentity.current()
        let chance = String(UInt32.random(in: .min ... .max), radix: 16)
        place = "\(folder)\(Self.mark)\(owner.processID)_\(owner.startTicks)_\(owner.bootID)_\(chance)"
    }

    private var subject: String { "Chroma folder '\(folder)'" }

    /// That it is one and can be copied while its server runs; its size.
    func check() throws -> UInt64 {
        let path = "\(folder)/\(Self.database)"
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        var header = [UInt8](repeating: 0, count: 20)
        let count = try header.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, path) }
        guard count == 20, header.starts(with: Array("SQLite format 3\0".utf8)) else {
            throw LifeboatError("'\(path)' is no SQLite database")
        }
        // Bytes 18 and 19 (sqlite.org/fileformat2.html): 2 is a write-ahead log, whose locks are other ones.
        guard header[18] == 1, header[19] == 1 else {
            throw LifeboatError(
                "\(subject) cannot be copied", causes: ["its database has a write-ahead log, which Chroma never uses"],
                hint: "Capture it through the server instead: chroma: {url: …}.")
        }
        return try signature().reduce(0) { $0 + $1.value.bytes }
    }

    /// Copies until no file changed during the copy.
    func make(_ cancellation: Cancellation) throws {
        let lock = try SQLiteReadLock("\(folder)/\(Self.database)", cancellation)
        defer { lock.release() }
        for _ in 0..<Self.attempts {
            try cancellation.check()
            try waitUntilQuiet(cancellation)
            let before = try signature()
            try TreeRemoval.remove(place)
            let result = try runner.run(
                ProcessCommand("cp", ["--archive", "--reflink=auto", "--sparse=auto", "--", folder, place]),
                cancellation: cancellation)
            guard result.termination.succeeded else {
                throw LifeboatError(
                    "\(subject) cannot be copied",
                    causes: ["cp: \(result.termination)"] + ProcessResult.lastLines(of: result.standardError))
            }
            if try signature() == before { return }
        }
        throw LifeboatError(
            "\(subject) changes all the time",
            causes: ["files changed during each of \(Self.attempts) copies"],
            hint: "Stop or pause the server for the backup (freeze), or capture it through its url.")
    }

    private func waitUntilQuiet(_ cancellation: Cancellation) throws {
        for _ in 0..<100 {
            let newest = try signature().filter { $0.key != Self.database }.map(\.value.seconds).max() ?? 0
            if newest + Self.quiet < Int64(time(nil)) { return }
            try cancellation.check()
            usleep(200_000)
        }
    }

    /// Removes it; what stays is removed by the next run.
    func remove() { try? TreeRemoval.remove(place) }

    /// Removes copies of processes that have died.
    func clearUp() throws {
        let parent = RootPlace(folder).parent
        let prefix = String(folder.dropFirst(parent == "/" ? 1 : parent.count + 1)) + Self.mark
        guard let stream = opendir(parent) else { throw SystemCallError("open", parent) }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name.hasPrefix(prefix) else { continue }
            let words = name.dropFirst(prefix.count).split(separator: "_")
            guard words.count == 4, let process = Int32(words[0]), let ticks = UInt64(words[1]) else { continue }
            let owner = ProcessIdentity(processID: process, startTicks: ticks, bootID: String(words[2]))
            if try !owner.isAlive() { try TreeRemoval.remove("\(parent)/\(name)") }
        }
    }

    /// What tells whether a file was written.
    private struct Mark: Equatable {
        var inode: UInt64
        var size: UInt64
        var bytes: UInt64
        var seconds: Int64
        var nanoseconds: Int64
    }

    /// Marks of all regular files by path. A rollback journal comes and goes while a writer waits for our lock, and
    /// changes nothing.
    private func signature() throws -> [String: Mark] {
        var marks: [String: Mark] = [:]
        var folders = [""]
        while let below = folders.popLast() {
            let path = folder + below
            guard let stream = opendir(path) else {
                if errno == ENOENT, !below.isEmpty { continue }
                throw SystemCallError("open", path)
            }
            defer { closedir(stream) }
            while let entry = readdir(stream) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name == "." || name == ".." || name == Self.database + "-journal" { continue }
                var status = stat()
                guard lstat("\(path)/\(name)", &status) == 0 else {
                    if errno == ENOENT { continue }
                    throw SystemCallError("examine", "\(path)/\(name)")
                }
                if status.st_mode & S_IFMT == S_IFDIR {
                    folders.append("\(below)/\(name)")
                } else {
                    marks[String("\(below)/\(name)".dropFirst())] = Mark(
                        inode: UInt64(status.st_ino), size: UInt64(clamping: status.st_size),
                        bytes: UInt64(clamping: status.st_blocks) * 512, seconds: Int64(status.st_mtim.tv_sec),
                        nanoseconds: Int64(status.st_mtim.tv_nsec))
                }
            }
        }
        return marks
    }
}

/// SQLite's shared lock on a database with a rollback journal, taken as SQLite itself takes it
/// (sqlite.org/lockingv3.html): while it is held nobody writes to the file.
final class SQLiteReadLock {
    /// First byte and length of the locks in the file: `PENDING_BYTE`, `SHARED_FIRST`, `SHARED_SIZE` of os.h.
    private static let pending = (first: Int64(0x4000_0000), length: Int64(1))
    private static let shared = (first: Int64(0x4000_0002), length: Int64(510))
    /// `F_OFD_SETLK` of fcntl(2), which Glibc does not show: the lock belongs to this descriptor, so that no other use of
    /// the file in this process drops it.
    private static let setDescriptorLock: Int32 = 37
    /// Seconds a writer may take.
    private static let patience = 30.0

    private let file: OwnedDescriptor
    private let path: String

    init(_ path: String, _ cancellation: Cancellation) throws {
        self.path = path
        file = try OwnedDescriptor.open(path, O_RDONLY)
        var waited = 0.0
        while true {
            if try set(Self.pending, F_RDLCK) {
                let isLocked = try set(Self.shared, F_RDLCK)
                _ = try set(Self.pending, F_UNLCK)
                if isLocked { return }
            }
            try cancellation.check()
            guard waited < Self.patience else {
                throw LifeboatError(
                    "'\(path)' is locked", causes: ["another program has been writing to it for \(Int(waited)) s"])
            }
            usleep(20_000)
            waited += 0.02
        }
    }

    /// False: somebody else has it.
    private func set(_ range: (first: Int64, length: Int64), _ type: Int32) throws -> Bool {
        var lock = flock()
        lock.l_type = Int16(type)
        lock.l_whence = Int16(SEEK_SET)
        lock.l_start = off_t(range.first)
        lock.l_len = off_t(range.length)
        if fcntl(file.raw, Self.setDescriptorLock, &lock) == 0 { return true }
        guard errno == EAGAIN || errno == EACCES else { throw SystemCallError("lock", path) }
        return false
    }

    func release() { _ = try? set(Self.shared, F_UNLCK) }
}
