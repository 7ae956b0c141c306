// SPDX-License-Identifier: Apache-2.0

import CSQLite
import LifeboatCore

/// One connection of the SQLite library. Not thread-safe: used by one thread at a time (behind a `Monitor` where it must
/// travel).
final class SQLiteConnection {
    enum Access {
        /// Reads; never writes to the database file.
        case readOnly
        /// Writes to an existing file.
        case readWrite
        /// Fills a file of our own. (Distrust of its schema would forbid to do without a journal.)
        case scratch
        /// Reads a file nobody else has open or can write; takes no locks and looks at no log.
        case immutable
    }

    /// `sqlite3_libversion`: `3.40.1`.
    static var libraryVersion: String { String(cString: sqlite3_libversion()) }

    let handle: OpaquePointer
    /// For people.
    let path: String

    init(_ path: String, _ access: Access) throws(SQLiteError) {
        self.path = path
        var flags = SQLITE_OPEN_URI | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_EXRESCODE
        switch access {
        case .readOnly, .immutable: flags |= SQLITE_OPEN_READONLY
        case .readWrite, .scratch: flags |= SQLITE_OPEN_READWRITE
        }
        var opened: OpaquePointer?
        let name = Self.uri(path) + (access == .immutable ? "?immutable=1" : "")
        let status = sqlite3_open_v2(name, &opened, flags, nil)
        guard status == SQLITE_OK, let opened else {
            let message = opened.map { String(cString: sqlite3_errmsg($0)) }
            // A handle that failed to open has to be closed as well; that cannot fail.
            _ = opened.map { sqlite3_close_v2($0) }
            throw SQLiteError("open database '\(path)'", code: status, message: message)
        }
        handle = opened
        // Only refuses more; it works on every handle.
        if access != .scratch { _ = lifeboat_sqlite_distrust_schema(handle) }
        // What this connection does must never move a page of another program's log into its database.
        _ = sqlite3_wal_autocheckpoint(handle, 0)
        _ = lifeboat_sqlite_set_no_checkpoint_on_close(handle, 1)
    }

    deinit {
        // All statements are finalised and backups finished by their owners: this closes at once.
        _ = sqlite3_close_v2(handle)
    }

    /// Lets SQLite clear away on closing what it made beside the database when it opened it: an empty log and its
    /// shared memory. It does so under its exclusive lock, when no other program has the database open.
    func removeOwnLogOnClose() { _ = lifeboat_sqlite_set_no_checkpoint_on_close(handle, 0) }

    /// What of the schema this library does not understand, in its words (a newer one's syntax); nil when it understands
    /// all. From then on this connection reads the rest. Throws when the schema itself cannot be read, which is damage.
    func readSchema() throws -> String? {
        let ask = "SELECT count(*) FROM sqlite_schema"
        do {
            try query(ask)
            return nil
        } catch let error as SQLiteError where error.primaryCode == SQLITE_CORRUPT {
            let status = lifeboat_sqlite_read_unknown_schema(handle)
            guard status == SQLITE_OK else { throw error }
            try query(ask)
            return error.message
        }
    }

    /// The path as the `file:` URI of it: `?`, `#` and `%` mean something there.
    private static func uri(_ path: String) -> String {
        var bytes = Array("file:".utf8)
        for byte in path.utf8 {
            switch byte {
            case UInt8(ascii: "?"), UInt8(ascii: "#"), UInt8(ascii: "%"):
                bytes += Array("%\(String(byte, radix: 16))".utf8)
            default: bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    func error(_ operation: String, _ code: Int32) -> SQLiteError {
        SQLiteError("\(operation) '\(path)'", code: code, message: String(cString: sqlite3_errmsg(handle)))
    }

    /// Runs one statement; each row as text, nil for NULL. `limit` rows at most are kept.
    @discardableResult
    func query(
        _ sql: String, _ operation: String = "read database", limit: Int = .max, cancellation: Cancellation? = nil
    ) throws -> [[String?]] {
        var prepared: OpaquePointer?
        let status = sqlite3_prepare_v2(handle, sql, -1, &prepared, nil)
        guard status == SQLITE_OK, let prepared else { throw error(operation, status) }
        defer { sqlite3_finalize(prepared) }
        let interruption = cancellation.map { CancelledQuery(self, $0) }
        defer { interruption?.end() }
        var rows: [[String?]] = []
        while true {
            let status = sqlite3_step(prepared)
            switch status {
            case SQLITE_ROW:
                guard rows.count < limit else { continue }
                rows.append(
                    (0..<sqlite3_column_count(prepared)).map { column in
                        // Valid until the next step, and copied here; nil for NULL.
                        sqlite3_column_text(prepared, column).map { String(cString: $0) }
                    })
            case SQLITE_DONE: return rows
            case SQLITE_INTERRUPT:
                try cancellation?.check()
                throw error(operation, status)
            default: throw error(operation, status)
            }
        }
    }

    /// The first column of the first row as a number.
    func number(_ sql: String, cancellation: Cancellation? = nil) throws -> Int64? {
        try query(sql, limit: 1, cancellation: cancellation).first?.first?.flatMap { Int64($0) }
    }

    func text(_ sql: String) throws -> String? { try query(sql, limit: 1).first?.first ?? nil }
}

/// Ends a statement that runs long when the operation is cancelled: SQLite asks every few thousand of its steps.
private final class CancelledQuery {
    private let handle: OpaquePointer
    private let box: Unmanaged<Cancellation>

    init(_ connection: SQLiteConnection, _ cancellation: Cancellation) {
        handle = connection.handle
        // Released in `end`, after the handler was taken away.
        box = Unmanaged.passRetained(cancellation)
        sqlite3_progress_handler(
            handle, 10_000,
            { box in
                // The pointer made above, still retained.
                Unmanaged<Cancellation>.fromOpaque(box!).takeUnretainedValue().isCancelled ? 1 : 0
            }, box.toOpaque())
    }

    func end() {
        sqlite3_progress_handler(handle, 0, nil, nil)
        box.release()
    }
}
