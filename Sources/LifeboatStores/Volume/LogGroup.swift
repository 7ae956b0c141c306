// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// A database file and its logs, which are one state only together: `x.db` with `x.db.wal`, `x.db-wal`, `x.db-journal`,
/// `x.db.shadow`.
///
/// When the database file is opened its logs are copied aside, and once it was read all of them must be what they were:
/// else the file counts as changed, and everything is read again. The walk comes to the logs later and gets the copies.
/// Used by the thread that captures; the copies go away with the group.
final class LogGroup: @unchecked Sendable {
    // Sendable: what changes is behind the monitor; `folder` is used by the one thread that captures.

    /// What comes after the name of the database file.
    private static let endings = [".wal", "-wal", "-journal", ".shadow"].map { Array($0.utf8) }
    private static let journal = Array("-journal".utf8)
    /// Copies up to this size stay in memory.
    private static let memoryLimit = 1 << 20

    /// One log as it was when the database file was opened last.
    private struct Copy {
        var status: FileStatus
        var entry: TreeEntry
        var bytes: LogCopy
    }

    private struct State {
        /// Whether the database file was opened: only then do copies say anything.
        var isCopied = false
        var copies: [[UInt8]: Copy] = [:]
    }

    private let folder: TrackedFolder
    private let database: [UInt8]
    private let walked: FileStatus
    /// Where large copies go.
    private let spoolFolder: String
    private let state = Monitor(State())

    /// `database`: its name in `folder`, `walked`: as the walk found it.
    init(_ folder: TrackedFolder, database: [UInt8], walked: FileStatus) {
        self.folder = folder
        self.database = database
        self.walked = walked
        spoolFolder = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    }

    /// Of the names in a folder, in bytewise order: names of database files with at least one log beside them.
    static func databases(in names: FolderNames) -> Set<[UInt8]> {
        var candidates: Set<[UInt8]> = []
        for start in names.starts {
            let name = names.name(at: start)
            guard let base = base(of: name) else { continue }
            candidates.insert(Array(base))
        }
        guard !candidates.isEmpty else { return [] }
        return Set(names.starts.lazy.map { Array(names.name(at: $0)) }.filter { candidates.contains($0) })
    }

    /// The name of the database file that a log of this name belongs to.
    static func base(of name: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        // Nearly every name ends here.
        guard let last = name.last, last == UInt8(ascii: "l") || last == UInt8(ascii: "w") else { return nil }
        for ending in endings where name.count > ending.count && name.suffix(ending.count).elementsEqual(ending) {
            return name.dropLast(ending.count)
        }
        return nil
    }

    /// Opens a log by name, as it is now; nil when there is none.
    private func log(_ name: [UInt8]) throws -> WalkedObject? {
        let path = WalkRules.path(of: name[...], in: folder.path)
        do throws(Errno) {
            let status = try FileStatus.at(try folder.open().raw, name.map { CChar(bitPattern: $0) } + [0])
            guard status.isFile else { return nil }
            return WalkedObject(place: .folder(folder), path: path, name: name + [0], status: status)
        } catch {
            if error.number == ENOENT { return nil }
            throw SystemCallError(
                "examine", String(decoding: path, as: UTF8.self), errorNumber: error.number)
        }
    }

    /// Copies all logs there are. False: one changed meanwhile.
    fileprivate func copyLogs() throws -> Bool {
        state.withLock { $0 = State() }
        var copies: [[UInt8]: Copy] = [:]
        var isConsistent = true
        for ending in Self.endings {
            let name = database + ending
            guard let log = try log(name) else { continue }
            let source: any FileContentSource
            do {
                source = try log.open()
            } catch FileTreeError.vanished {
                isConsistent = false
                continue
            }
            defer { source.close() }
            var entry = TreeEntry(log.path, log.status)
            let bytes = try LogCopy(source, memoryLimit: Self.memoryLimit, folder: spoolFolder)
            if try source.finish(&entry) != .consistent { isConsistent = false }
            copies[name] = Copy(status: log.status, entry: entry, bytes: bytes)
        }
        state.withLock { [copies] in $0 = State(isCopied: true, copies: copies) }
        return isConsistent
    }

    /// Whether the logs are those that were copied, none gone, none come.
    fileprivate func logsAreUnchanged() throws -> Bool {
        let copies = state.withLock { $0.copies }
        for ending in Self.endings {
            let now = try log(database + ending)?.status
            let then = copies[database + ending]?.status
            switch (now, then) {
            case (nil, nil): continue
            case (let now?, let then?) where now.isSame(as: then): continue
            // A log that came is no part of the state the database file is of; a journal holds what was taken from it.
            case (_?, nil) where ending != Self.journal: continue
            default: return false
            }
        }
        return true
    }

    /// Whether the database file is what the walk found.
    fileprivate func databaseIsUnchanged() -> Bool {
        guard let opened = try? folder.open(),
            let now = try? FileStatus.at(opened.raw, database.map { CChar(bitPattern: $0) } + [0])
        else { return false }
        return now.isSame(as: walked)
    }

    fileprivate enum Found {
        case copy(TreeEntry, LogCopy)
        /// There was no such log when the database file was read.
        case absent
        /// The database file was not read: it is the same as at the last backup.
        case notCopied
    }

    fileprivate func copy(of name: [UInt8]) -> Found {
        state.withLock { state in
            guard state.isCopied else { return .notCopied }
            return state.copies[name].map { .copy($0.entry, $0.bytes) } ?? .absent
        }
    }
}

extension FileStatus {
    /// Whether nothing moved between two looks at a file.
    func isSame(as other: FileStatus) -> Bool {
        identity == other.identity && size == other.size && modificationTime == other.modificationTime
            && changeTime == other.changeTime
    }
}

/// The data of a log: what reading it gave.
private final class LogCopy: Sendable {
    private let bytes: [UInt8]
    private let file: UnnamedFile?
    private let fileSize: UInt64

    init(_ source: any FileContentSource, memoryLimit: Int, folder: String) throws {
        var kept: [UInt8] = []
        var spool: UnnamedFile?
        var spooled: UInt64 = 0
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        while true {
            let count = try buffer.withUnsafeMutableBytes { try source.read(into: $0) }
            if count == 0 { break }
            if spool == nil, kept.count + count <= memoryLimit {
                kept += buffer[..<count]
                continue
            }
            let target = try spool ?? UnnamedFile(in: folder)
            spool = target
            try buffer[..<count].withUnsafeBytes { try DescriptorIO.write(target.raw, at: spooled, $0, folder) }
            spooled += UInt64(count)
        }
        bytes = kept
        file = spool
        fileSize = spooled
    }

    /// Bytes from `position` on; 0 at the end.
    func read(at position: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        if position < UInt64(bytes.count) {
            let rest = bytes[Int(position)...].prefix(buffer.count)
            buffer.copyBytes(from: rest)
            return rest.count
        }
        guard let file else { return 0 }
        let offset = position - UInt64(bytes.count)
        let wanted = Int(min(UInt64(buffer.count), fileSize - offset))
        guard wanted > 0 else { return 0 }
        return try DescriptorIO.read(
            file.raw, at: offset, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]), "a copied log")
    }
}

/// Opens a database file together with its logs.
struct DatabaseOpener: FileOpener {
    let object: WalkedObject
    let group: LogGroup

    func open() throws -> any FileContentSource {
        let source = try object.open()
        do {
            return Source(source, group, isConsistent: try group.copyLogs())
        } catch {
            source.close()
            throw error
        }
    }

    private final class Source: FileContentSource {
        private let source: any FileContentSource
        private let group: LogGroup
        private let isConsistent: Bool

        init(_ source: any FileContentSource, _ group: LogGroup, isConsistent: Bool) {
            self.source = source
            self.group = group
            self.isConsistent = isConsistent
        }

        func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int { try source.read(into: buffer) }

        func finish(_ entry: inout TreeEntry) throws -> FileReadOutcome {
            let outcome = try source.finish(&entry)
            guard outcome == .consistent else { return outcome }
            guard isConsistent, try group.logsAreUnchanged() else {
                entry.changeFacts = nil
                return .changed
            }
            return .consistent
        }

        func close() { source.close() }
    }
}

/// Opens a log: the copy that belongs to the database file as it was read.
struct LogOpener: FileOpener {
    let object: WalkedObject
    let group: LogGroup
    let name: [UInt8]

    func open() throws -> any FileContentSource {
        switch group.copy(of: name) {
        case .copy(let entry, let bytes): CopySource(entry, bytes)
        case .absent: throw FileTreeError.vanished(path: object.shownPath)
        case .notCopied: CheckedSource(try object.open(), group)
        }
    }

    private final class CopySource: FileContentSource {
        private let entry: TreeEntry
        private let bytes: LogCopy
        private var position: UInt64 = 0

        init(_ entry: TreeEntry, _ bytes: LogCopy) {
            self.entry = entry
            self.bytes = bytes
        }

        func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
            let count = try bytes.read(at: position, into: buffer)
            position += UInt64(count)
            return count
        }

        func finish(_ entry: inout TreeEntry) throws -> FileReadOutcome {
            entry = self.entry
            return .consistent
        }

        func close() {}
    }

    /// A log whose database file was taken from the last snapshot: that must still be what the walk found.
    private final class CheckedSource: FileContentSource {
        private let source: any FileContentSource
        private let group: LogGroup

        init(_ source: any FileContentSource, _ group: LogGroup) {
            self.source = source
            self.group = group
        }

        func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int { try source.read(into: buffer) }

        func finish(_ entry: inout TreeEntry) throws -> FileReadOutcome {
            let outcome = try source.finish(&entry)
            if outcome == .consistent, !group.databaseIsUnchanged() {
                entry.changeFacts = nil
                entry.addProblem("its database changed after it was listed: the two do not fit together")
            }
            return outcome
        }

        func close() { source.close() }
    }
}
