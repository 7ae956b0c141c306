// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Restored data in a server's data folder: staged in a folder of its own inside it, exchanged file by file while the
/// server is stopped, and back. What is where can be told at any moment, also by a later process.
///
/// ```
/// <data>/lifeboat-<id>/new/       what is to go live, and after going back what was live since the exchange
///                      old/       what was live before
///                      staged     exists when `new` is whole; a line for each name in it
///                      swapped    exists from the end of the exchange to the beginning of the way back
/// ```
struct RedisFolder {
    /// The server's data folder.
    let data: String
    let staged: String

    private var new: String { "\(staged)/new" }
    private var old: String { "\(staged)/old" }
    private var stagedMark: String { "\(staged)/staged" }
    private var swappedMark: String { "\(staged)/swapped" }

    static func plan(_ data: String, _ restoreID: String) throws -> RedisFolder {
        guard !restoreID.isEmpty, !restoreID.utf8.contains(0x2F) else {
            throw LifeboatError("'\(restoreID)' cannot be part of a folder's name")
        }
        let folder = RedisFolder(data: data, staged: "\(data)/lifeboat-\(restoreID)")
        if try folder.exists(folder.staged) {
            throw LifeboatError(
                "there is something at '\(folder.staged)' already",
                hint: "Look at it, and remove it if it is a leftover.")
        }
        return folder
    }

    private init(data: String, staged: String) {
        self.data = data
        self.staged = staged
    }

    init(_ state: StagedState) throws {
        guard let data = state.values["data"], let staged = state.values["staged"],
            data.hasPrefix("/"), staged.hasPrefix("\(data)/lifeboat-"), !staged.dropFirst(data.count + 1).contains("/")
        else { throw LifeboatError("the journal does not say where the staged Redis data is") }
        self.init(data: data, staged: staged)
    }

    var state: StagedState { StagedState(["data": data, "staged": staged]) }

    // MARK: Staging

    /// Writes the RDB file, and with `appendOnly` the append-only file that holds it, owned like what is live.
    ///
    /// A server with `appendonly yes` never looks at its RDB file, and one without never at the append-only file: with
    /// both in place it loads the restored data whatever it is told at its next start.
    func stage(
        _ source: any ByteSource, _ files: RedisFiles, appendOnly: AppendOnlyForm?, progress: (Int) throws -> Void
    ) throws {
        if try exists(stagedMark) { throw LifeboatError("Redis data is staged already at '\(staged)'") }
        // What an interrupted staging of the same restore left.
        try FileTree.remove(staged)
        for folder in [staged, new, old] {
            guard mkdir(folder, 0o700) == 0 else { throw SystemCallError("create folder", folder) }
        }
        let owner = try owner(files)
        let dump = "\(new)/\(files.databaseName)"
        var copies = [dump]
        var names = [files.databaseName]
        switch appendOnly {
        case .parts?:
            // The base part is an RDB file; the server makes the part it appends to by itself.
            let folder = "\(new)/\(files.appendFolder)"
            guard mkdir(folder, owner.folderMode) == 0 else { throw SystemCallError("create folder", folder) }
            let base = "\(files.appendName).1.base.rdb"
            try write(source, to: [dump], owner, progress)
            guard link(dump, "\(folder)/\(base)") == 0 else { throw SystemCallError("link", "\(folder)/\(base)") }
            let manifest = "\(folder)/\(files.appendName).manifest"
            try AtomicFile.write(
                "file \(Self.manifestName(base)) seq 1 type b\n", to: manifest, mode: owner.fileMode)
            try owner.give(manifest)
            try owner.give(folder)
            names.append(files.appendFolder)
            copies = []
        case .single?:
            // Appended to in place: never the same file as the RDB file.
            copies.append("\(new)/\(files.appendName)")
            names.append(files.appendName)
        case nil: break
        }
        if !copies.isEmpty { try write(source, to: copies, owner, progress) }
        try AtomicFile.synchronizeFolder(of: dump)
        try AtomicFile.synchronizeFolder(of: new)
        let lines = (files.all.map { "name \($0)" } + names.map { "new \($0)" }).joined(separator: "\n")
        try AtomicFile.write(lines + "\n", to: stagedMark)
        try AtomicFile.synchronizeFolder(of: staged)
    }

    /// Names with other characters are quoted in a manifest (`aof.c`, getAofManifestAsString).
    private static func manifestName(_ name: String) -> String {
        let isPlain = name.utf8.allSatisfy { byte in
            (33...126).contains(byte) && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\") && byte != 39
        }
        if isPlain { return name }
        return "\"" + name.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }

    private func write(
        _ source: any ByteSource, to paths: [String], _ owner: Owner, _ progress: (Int) throws -> Void
    ) throws {
        defer { source.close() }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { buffer.deallocate() }
        let files = try paths.map { path in
            try StagedFile(path, mode: owner.fileMode)
        }
        while true {
            let count = try source.read(into: buffer)
            if count == 0 { break }
            for file in files { try file.write(UnsafeRawBufferPointer(rebasing: buffer[..<count])) }
            try progress(count)
        }
        for file in files {
            try file.finish()
            try owner.give(file.path)
        }
    }

    /// One open file of the staging.
    private final class StagedFile {
        let path: String
        private let raw: Int32

        init(_ path: String, mode: mode_t) throws(SystemCallError) {
            self.path = path
            raw = try OwnedDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: mode).release()
        }

        func write(_ bytes: UnsafeRawBufferPointer) throws(SystemCallError) {
            try DescriptorIO.write(raw, bytes, path)
        }

        func finish() throws(SystemCallError) { try DescriptorIO.synchronize(raw, path) }

        deinit { close(raw) }
    }

    /// Whom the server's files belong to: the owner of its RDB file, else of its folder.
    private struct Owner {
        var userID: UInt32
        var groupID: UInt32
        var fileMode: mode_t
        var folderMode: mode_t

        func give(_ path: String) throws(SystemCallError) {
            if userID == geteuid(), groupID == getegid() { return }
            guard lchown(path, userID, groupID) == 0 else { throw SystemCallError("change the owner of", path) }
        }
    }

    private func owner(_ files: RedisFiles) throws -> Owner {
        let folder = try status(data)
        let file = try? status("\(data)/\(files.databaseName)")
        return Owner(
            userID: (file ?? folder).userID, groupID: (file ?? folder).groupID,
            fileMode: file.map { mode_t($0.mode & 0o777) } ?? 0o640, folderMode: 0o750)
    }

    // MARK: Exchange

    /// The names a server may load from, and which of them are restored; nil: the staging is not complete.
    private func names() throws -> (all: [String], new: Set<String>)? {
        guard try exists(stagedMark) else { return nil }
        let file = try OwnedDescriptor.open(stagedMark, O_RDONLY | O_NOFOLLOW)
        var buffer = [UInt8](repeating: 0, count: 8 << 10)
        let count = try buffer.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, stagedMark) }
        var all: [String] = []
        var new: Set<String> = []
        for line in String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n") {
            if line.hasPrefix("name ") { all.append(String(line.dropFirst(5))) }
            if line.hasPrefix("new ") { new.insert(String(line.dropFirst(4))) }
        }
        guard !all.isEmpty, new.isSubset(of: all), (all + new).allSatisfy({ !$0.contains("/") }) else {
            throw LifeboatError(
                "'\(stagedMark)' is damaged", hint: "Look at the folders beside it before you remove any.")
        }
        return (all, new)
    }

    /// Whether `swap` has something to do; throws when there is nothing staged.
    func needsSwap() throws -> Bool {
        guard try names() != nil else {
            throw LifeboatError(
                "the Redis data in '\(data)' cannot be swapped", causes: ["its staging is not complete"])
        }
        return try !exists(swappedMark)
    }

    func swap() throws {
        guard try needsSwap(), let names = try names() else { return }
        for name in names.all {
            let live = "\(data)/\(name)"
            let isPlaced = try names.new.contains(name) && !exists("\(new)/\(name)")
            // Not yet ours: what the server left.
            if !isPlaced { try move(live, to: "\(old)/\(name)") }
            if names.new.contains(name), !isPlaced { try move("\(new)/\(name)", to: live) }
        }
        try synchronize()
        try AtomicFile.write("\n", to: swappedMark)
    }

    /// Whether `swapBack` has something to do.
    func needsSwapBack() throws -> Bool {
        guard let names = try names() else { return false }
        if try exists(swappedMark) { return true }
        return try names.all.contains { name in
            try exists("\(old)/\(name)") || (names.new.contains(name) && !exists("\(new)/\(name)"))
        }
    }

    func swapBack() throws {
        guard try needsSwapBack(), let names = try names() else { return }
        if try exists(swappedMark) {
            // All that is live came with the exchange or after it.
            for name in names.all where try !exists("\(new)/\(name)") {
                try move("\(data)/\(name)", to: "\(new)/\(name)")
            }
            try synchronize()
            guard unlink(swappedMark) == 0 else { throw SystemCallError("remove", swappedMark) }
            try AtomicFile.synchronizeFolder(of: swappedMark)
        }
        for name in names.all {
            // An exchange that stopped half-way: this one is ours.
            if names.new.contains(name), try !exists("\(new)/\(name)") {
                try move("\(data)/\(name)", to: "\(new)/\(name)")
            }
            try move("\(old)/\(name)", to: "\(data)/\(name)")
        }
        try synchronize()
    }

    func discard() throws {
        guard try exists(staged) else { return }
        // Old data go only when the new ones are live.
        if try !exists(swappedMark), let names = try names() {
            for name in names.all where try exists("\(old)/\(name)") {
                throw LifeboatError(
                    "the Redis data in '\(data)' is not as the restore left it",
                    causes: ["'\(old)/\(name)' was live before the restore and is not back"],
                    hint: "Move it back to '\(data)' while the server is stopped, or run 'lifeboat restore --resume'.")
            }
        }
        try FileTree.remove(staged)
        try AtomicFile.synchronizeFolder(of: staged)
    }

    /// Moves what there is; never over something.
    private func move(_ from: String, to: String) throws {
        guard try exists(from) else { return }
        guard try Rename.withoutReplacing(from, to: to) else {
            throw LifeboatError(
                "the Redis data in '\(data)' is not as the restore left it",
                causes: ["both '\(from)' and '\(to)' are there"],
                hint: "Look which one is right, and move the other away.")
        }
    }

    private func synchronize() throws {
        for folder in [data, new, old] { try AtomicFile.synchronizeFolder(of: "\(folder)/.") }
    }

    private func exists(_ path: String) throws -> Bool {
        do throws(SystemCallError) {
            _ = try status(path)
            return true
        } catch {
            if error.errorNumber == ENOENT { return false }
            throw error
        }
    }

    private func status(_ path: String) throws(SystemCallError) -> FileStatus {
        do throws(Errno) {
            return try FileStatus.at(AT_FDCWD, path)
        } catch {
            throw SystemCallError("examine", path, errorNumber: error.number)
        }
    }
}

/// How a server keeps its append-only file.
enum AppendOnlyForm: Equatable {
    /// Since 7.0: a folder of parts with a manifest.
    case parts
    /// Before: one file, which may begin with an RDB file.
    case single
}
