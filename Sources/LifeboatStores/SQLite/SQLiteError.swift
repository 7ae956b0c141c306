// SPDX-License-Identifier: Apache-2.0

import CSQLite
package import LifeboatCore

/// What the SQLite library reports about one database.
package struct SQLiteError: Error, Equatable, LifeboatErrorConvertible {
    /// What was attempted, as a verb phrase with its object: `read database '/srv/app.db'`.
    package var operation: String
    /// Extended result code (sqlite.org/rescode.html): the only thing decisions are made by.
    package var code: Int32
    /// The library's words.
    package var message: String

    package init(_ operation: String, code: Int32, message: String? = nil) {
        self.operation = operation
        self.code = code
        // A constant string of the library for any number.
        self.message = message ?? String(cString: sqlite3_errstr(code))
    }

    /// The code without its extension.
    package var primaryCode: Int32 { code & 0xFF }
    /// Somebody else holds the lock: the same call may work a moment later.
    var isBusy: Bool { primaryCode == SQLITE_BUSY || primaryCode == SQLITE_LOCKED }

    package var lifeboatError: LifeboatError {
        let name = Self.names[primaryCode].map { "\($0), code \(code)" } ?? "SQLite code \(code)"
        return LifeboatError("cannot \(operation)", causes: ["\(message) (\(name))"], hint: hint)
    }

    private var hint: String? {
        switch primaryCode {
        case SQLITE_BUSY, SQLITE_LOCKED:
            "Another program keeps the database locked: hold or stop it for the backup (services in the policy)."
        case SQLITE_CANTOPEN, SQLITE_READONLY, SQLITE_PERM, SQLITE_AUTH:
            "Run as root or as the user the database belongs to: its folder must be writable for that user."
        case SQLITE_FULL: "Free some space there, or set TMPDIR to a folder on a larger file system."
        case SQLITE_CORRUPT:
            "If its own program cannot read it either, look at it with 'sqlite3 FILE .recover', or restore an earlier"
                + " snapshot."
        case SQLITE_NOTADB:
            "Name a SQLite database; one that is encrypted can be kept as a 'volume' while it is stopped."
        case SQLITE_IOERR: "Look at the kernel log (dmesg): the disk or the file system reports an error."
        default: nil
        }
    }

    private static let names: [Int32: String] = [
        SQLITE_ERROR: "SQLITE_ERROR", SQLITE_PERM: "SQLITE_PERM", SQLITE_BUSY: "SQLITE_BUSY",
        SQLITE_LOCKED: "SQLITE_LOCKED", SQLITE_NOMEM: "SQLITE_NOMEM", SQLITE_READONLY: "SQLITE_READONLY",
        SQLITE_INTERRUPT: "SQLITE_INTERRUPT", SQLITE_IOERR: "SQLITE_IOERR", SQLITE_CORRUPT: "SQLITE_CORRUPT",
        SQLITE_FULL: "SQLITE_FULL", SQLITE_CANTOPEN: "SQLITE_CANTOPEN", SQLITE_PROTOCOL: "SQLITE_PROTOCOL",
        SQLITE_SCHEMA: "SQLITE_SCHEMA", SQLITE_NOTADB: "SQLITE_NOTADB", SQLITE_AUTH: "SQLITE_AUTH",
    ]
}
