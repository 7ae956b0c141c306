// SPDX-License-Identifier: Apache-2.0

import CSQLite
import Glibc
import LifeboatCore
import LifeboatIO

/// A database copied page by page by SQLite's backup API into a file without a name: only this process can reach it, and
/// it is gone with the last descriptor, however the process ends.
final class SQLiteCopy {
    /// Reads the copy for its facts.
    let reader: SQLiteConnection
    let size: UInt64
    private let file: OwnedDescriptor
    /// The first bytes as the database has them: in the file they say "rollback journal", so that reading it needs no
    /// log.
    private let head: [UInt8]

    /// Pages copied between two looks at the cancellation. In a rollback-journal database writers get their turn between
    /// them.
    private static let pagesPerStep: Int32 = 512
    /// So often a copy is begun anew because another program wrote; then writers wait until it is finished.
    static let restartLimit = 3

    /// `holdsPoint`: the connection is in a read transaction, and the copy is of that point. Else writers of a
    /// rollback-journal database get their turn between the steps, which makes SQLite begin anew: after `restartLimit`
    /// times the copy holds its read lock until it is finished.
    init(
        of live: LiveSQLite, holdsPoint: Bool, _ place: TemporaryPlace, patience: Double, _ cancellation: Cancellation
    ) throws {
        let source = live.connection
        let pageSize = UInt64(clamping: try source.number("PRAGMA page_size") ?? 0)
        let pages = UInt64(clamping: try source.number("PRAGMA page_count") ?? 0)
        let folder = try place.folder(for: pages &* pageSize)
        var removed = false
        // Throwing away the folder of a copy that failed: there is nothing to tell.
        defer { if !removed { try? folder.remove() } }
        let path = "\(folder.path)/database"
        file = try OwnedDescriptor.open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
        let descriptor = file.raw
        let target = try SQLiteConnection(path, .scratch)
        try target.query("PRAGMA journal_mode=OFF", "prepare the copy of")
        try target.query("PRAGMA synchronous=OFF", "prepare the copy of")
        // Opened by name while there is one. It reads when the copy is whole.
        reader = try SQLiteConnection(path, .readOnly)
        try folder.remove()
        removed = true
        do {
            try Self.backUp(live, to: target, holdsPoint: holdsPoint, patience, cancellation)
        } catch let error as SQLiteError where error.primaryCode == SQLITE_FULL || error.primaryCode == SQLITE_IOERR {
            throw error.lifeboatError.wrapped(
                "database '\(live.path)' cannot be copied to '\(folder.path)'", hint: error.lifeboatError.hint)
        }
        size = try Self.status(descriptor).size
        var head = [UInt8](repeating: 0, count: Int(min(size, UInt64(SQLiteHeader.size))))
        _ = try head.withUnsafeMutableBytes { try DescriptorIO.read(descriptor, at: 0, into: $0, "the copy") }
        self.head = head
        if head.count == SQLiteHeader.size {
            let rollback: [UInt8] = [1, 1]
            try rollback.withUnsafeBytes {
                try DescriptorIO.write(descriptor, at: SQLiteHeader.versionsOffset, $0, "the copy")
            }
        }
    }

    private static func status(_ descriptor: Int32) throws -> FileStatus {
        do throws(Errno) {
            return try FileStatus.of(descriptor)
        } catch {
            throw SystemCallError("examine", "the copy", errorNumber: error.number)
        }
    }

    private static func backUp(
        _ live: LiveSQLite, to target: SQLiteConnection, holdsPoint: Bool, _ patience: Double,
        _ cancellation: Cancellation
    ) throws {
        let source = live.connection
        guard let backup = sqlite3_backup_init(target.handle, "main", source.handle, "main") else {
            // The error is the target's, by the API's rule.
            throw target.error("copy to", sqlite3_extended_errcode(target.handle))
        }
        var isFinished = false
        // Lets go of both databases; the code is that of the step that failed.
        defer { if !isFinished { _ = sqlite3_backup_finish(backup) } }
        var restarts = 0
        var isHeld = holdsPoint
        var remaining = Int32.max
        steps: while true {
            let status = try LiveSQLite.retrying(patience, cancellation) {
                let status = sqlite3_backup_step(backup, pagesPerStep)
                if status == SQLITE_OK || status == SQLITE_DONE { return status }
                throw SQLiteError("copy database '\(live.path)'", code: status)
            }
            if status == SQLITE_DONE { break steps }
            let now = sqlite3_backup_remaining(backup)
            if now >= remaining { restarts += 1 }
            remaining = now
            if !isHeld, restarts >= restartLimit {
                try live.begin(patience, cancellation)
                isHeld = true
            }
        }
        isFinished = true
        let status = sqlite3_backup_finish(backup)
        guard status == SQLITE_OK else { throw SQLiteError("copy database '\(live.path)'", code: status) }
        if isHeld, !holdsPoint { try live.end() }
    }

    /// The bytes of the copy, as the database has them.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let count = try DescriptorIO.read(file.raw, at: offset, into: buffer, "the copy")
        for index in head.indices where UInt64(index) >= offset && UInt64(index) - offset < UInt64(count) {
            buffer[Int(UInt64(index) - offset)] = head[index]
        }
        return count
    }
}

/// A copy as a stream. The point that made the copy keeps it open.
final class SQLiteCopySource: ByteSource {
    private var copy: SQLiteCopy?
    private var position: UInt64 = 0

    init(_ copy: SQLiteCopy) { self.copy = copy }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        guard let copy else { throw LifeboatError("the copy of the database was closed") }
        let count = try copy.read(at: position, into: buffer)
        position += UInt64(count)
        if count < buffer.count, position != copy.size {
            throw LifeboatError(
                "the copy of the database ended early", causes: ["at byte \(position) of \(copy.size)"])
        }
        return count
    }

    func close() { copy = nil }
}
