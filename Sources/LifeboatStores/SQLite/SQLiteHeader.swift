// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// The first 100 bytes of a database file (sqlite.org/fileformat2.html, section 1.3), read without the library.
struct SQLiteHeader: Equatable {
    static let size = 100
    static let magic = Array("SQLite format 3".utf8) + [0]
    /// Where the versions for writing and reading stand: 1 for a rollback journal, 2 for a write-ahead log.
    static let versionsOffset: UInt64 = 18

    /// False for a file of no bytes too, which is a database without content.
    var usesLog: Bool

    /// Of an open file; throws when it is no database this library can read.
    static func read(_ descriptor: Int32, _ path: String) throws -> SQLiteHeader {
        var bytes = [UInt8](repeating: 0, count: size)
        let count = try bytes.withUnsafeMutableBytes { try DescriptorIO.read(descriptor, at: 0, into: $0, path) }
        if count == 0 { return SQLiteHeader(usesLog: false) }
        guard count == size, bytes.starts(with: magic) else {
            throw LifeboatError(
                "'\(path)' is not a SQLite database, or it is encrypted",
                causes: ["it does not begin with the words 'SQLite format 3'"],
                hint: "An encrypted database (SQLCipher) can be kept as a 'volume' while the program that uses it is"
                    + " stopped.")
        }
        guard bytes[19] <= 2 else {
            throw LifeboatError(
                "'\(path)' was written by a version of SQLite that this one cannot read",
                causes: ["its read version is \(bytes[19]), this library (\(SQLiteConnection.libraryVersion)) knows 2"])
        }
        return SQLiteHeader(usesLog: bytes[19] == 2)
    }
}
