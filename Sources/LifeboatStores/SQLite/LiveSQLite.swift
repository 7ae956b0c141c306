// SPDX-License-Identifier: Apache-2.0

import CSQLite
import Glibc
import LifeboatCore
import LifeboatIO

/// A database of another program, opened without disturbing it: nothing is written to the database or its log, nothing
/// is checkpointed, and what SQLite has to create beside it goes away again.
///
/// SQLite's locks belong to the process: while one of these is open, nothing else in this process may open and close the
/// database file.
struct LiveSQLite {
    /// Links resolved.
    let path: String
    let status: FileStatus
    /// What the file system keeps with the file.
    let file: SQLiteFileFacts
    let usesLog: Bool
    let connection: SQLiteConnection
    /// Whether the log was not there before: this connection made it.
    private let madeLog: Bool
    /// Recovers a crashed writer's transaction on a private copy; nil for a database at rest.
    private let recovered: HotJournalCopy?

    /// Whether the writers of the database go on while its point in time is held.
    var letsWritersGoOn: Bool { usesLog || recovered != nil }

    /// Opens the database and fixes a point in time: a read transaction, which in a database with a write-ahead log lets
    /// everybody write on, and in one with a rollback journal lets others read.
    ///
    /// With `recovers` false a database whose program was killed in the middle of a transaction is not copied to be
    /// rolled back: that throws an error `isCutOff`.
    static func open(
        _ path: String, _ temporary: TemporaryPlace, recovers: Bool = true, patience: Double,
        _ cancellation: Cancellation
    ) throws -> LiveSQLite {
        let resolved = try VolumePlace.resolved(path)
        let (header, status, file) = try examine(resolved)
        // An empty log is what a program that was killed leaves, this one too.
        let hasLog = logSize(resolved) > 0
        let access: SQLiteConnection.Access
        if header.usesLog, !hasLog {
            // SQLite makes an empty log to read by; the last connection that may write removes it again.
            access = isReadOnlyFileSystem(resolved) ? .immutable : .readWrite
        } else {
            access = .readOnly
        }
        do {
            let connection = try SQLiteConnection(resolved, access)
            let live = LiveSQLite(
                path: resolved, status: status, file: file, usesLog: header.usesLog, connection: connection,
                madeLog: header.usesLog && !hasLog, recovered: nil)
            do {
                try live.begin(patience, cancellation)
            } catch {
                live.prepareClosing()
                throw error
            }
            return live
        } catch let error as SQLiteError where error.isCutOff && recovers {
            // A program was killed in the middle of a transaction. Whoever opens the database next rolls it back; that
            // is not for a backup to do, so it is done on a copy.
            let recovered = try HotJournalCopy(of: resolved, temporary, patience, cancellation)
            let connection = try SQLiteConnection(recovered.path, .readWrite)
            let live = LiveSQLite(
                path: resolved, status: status, file: file, usesLog: false, connection: connection, madeLog: false,
                recovered: recovered)
            try live.begin(patience, cancellation)
            return live
        }
    }

    /// Header, status and what else the file system keeps, by a descriptor that is closed before SQLite opens the file.
    static func examine(_ path: String) throws -> (SQLiteHeader, FileStatus, SQLiteFileFacts) {
        let file = try OwnedDescriptor.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
        let status: FileStatus
        do throws(Errno) {
            status = try FileStatus.of(file.raw)
        } catch {
            throw SystemCallError("examine", path, errorNumber: error.number)
        }
        guard status.isFile else {
            throw LifeboatError("'\(path)' is not a file", hint: "Name the database file itself as the path.")
        }
        let facts: SQLiteFileFacts
        do throws(Errno) {
            facts = try SQLiteFileFacts(file.raw, status)
        } catch {
            throw SystemCallError("read the attributes of", path, errorNumber: error.number)
        }
        return (try SQLiteHeader.read(file.raw, path), status, facts)
    }

    private static func isReadOnlyFileSystem(_ path: String) -> Bool {
        var status = statvfs()
        return statvfs(path, &status) == 0 && status.f_flag & UInt(ST_RDONLY) != 0
    }

    /// A read transaction that has read: from here on this connection sees one state.
    func begin(_ patience: Double, _ cancellation: Cancellation) throws {
        try Self.retrying(patience, cancellation) {
            try connection.query("BEGIN")
            do {
                // A schema that a newer library wrote is no hindrance: pages are copied, not tables.
                _ = try connection.readSchema()
            } catch {
                // The transaction began without a lock; ending it cannot fail.
                _ = try? connection.query("ROLLBACK")
                throw error
            }
        }
    }

    /// Lets writers of a rollback-journal database through.
    func end() throws { try connection.query("ROLLBACK") }

    /// Does what another program's lock may forbid for a moment.
    static func retrying<Result>(
        _ patience: Double, _ cancellation: Cancellation, _ body: () throws -> Result
    ) throws -> Result {
        let deadline = monotonicSeconds() + patience
        var pause: UInt32 = 1000
        while true {
            try cancellation.check()
            do {
                return try body()
            } catch let error as SQLiteError where error.isBusy {
                guard monotonicSeconds() < deadline else { throw error }
                usleep(pause)
                pause = min(pause * 2, 50_000)
            }
        }
    }

    /// Tidies what opening made beside the database. The connection closes with the last reference to it.
    func prepareClosing() {
        // A log with frames is another program's by now: it stays.
        if madeLog, Self.logSize(path) == 0 { connection.removeOwnLogOnClose() }
    }

    /// 0 when there is none.
    private static func logSize(_ path: String) -> Int {
        var status = stat()
        return lstat("\(path)-wal", &status) == 0 ? status.st_size : 0
    }
}

extension SQLiteError {
    /// SQLITE_READONLY_ROLLBACK: a rollback journal would have to be played back, and the connection may not write.
    var isCutOff: Bool { code == SQLITE_READONLY | 3 << 8 }
}

/// CLOCK_MONOTONIC.
func monotonicSeconds() -> Double {
    var time = timespec()
    // Cannot fail for this clock and a valid pointer.
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}
