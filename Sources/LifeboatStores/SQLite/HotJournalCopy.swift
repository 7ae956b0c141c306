// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// A database and the journal of a transaction its program was killed in, copied aside so that the transaction can be
/// rolled back there. Removed with this value.
final class HotJournalCopy {
    private let folder: TemporaryFolder
    /// The copy of the database.
    let path: String

    /// sqlite.org/fileformat2.html, "lock-byte page": one pending, one reserved, 510 shared bytes.
    private static let lockBytes: Range<Int64> = 0x4000_0000..<0x4000_0200
    private static let sharedBytes: Range<Int64> = 0x4000_0002..<0x4000_0200

    init(of database: String, _ place: TemporaryPlace, _ patience: Double, _ cancellation: Cancellation) throws {
        let file = try OwnedDescriptor.open(database, O_RDONLY)
        // As any reader: whoever wants to roll the journal back waits until the copy is made.
        let deadline = monotonicSeconds() + patience
        while true {
            try cancellation.check()
            do throws(Errno) {
                if try RangeLock.tryShared(file.raw, Self.sharedBytes) { break }
            } catch {
                throw SystemCallError("lock", database, errorNumber: error.number)
            }
            guard monotonicSeconds() < deadline else {
                throw LifeboatError(
                    "database '\(database)' is locked by another program",
                    causes: ["it is rolling back a transaction that was cut off"],
                    hint: "Run the backup again when it has started.")
            }
            usleep(10_000)
        }
        let journal = try OwnedDescriptor.open("\(database)-journal", O_RDONLY | O_NOFOLLOW)
        let folder = try place.folder(for: try Self.size(file.raw, database) + Self.size(journal.raw, database))
        do {
            path = "\(folder.path)/database"
            try Self.copy(file.raw, to: path, cancellation)
            try Self.copy(journal.raw, to: "\(path)-journal", cancellation)
        } catch {
            try? folder.remove()
            throw error
        }
        self.folder = folder
    }

    deinit {
        // Private and in a temporary place: what cannot be removed now is removed with that.
        try? folder.remove()
    }

    private static func size(_ descriptor: Int32, _ path: String) throws -> UInt64 {
        do throws(Errno) {
            return try FileStatus.of(descriptor).size
        } catch {
            throw SystemCallError("examine", path, errorNumber: error.number)
        }
    }

    private static func copy(_ source: Int32, to path: String, _ cancellation: Cancellation) throws {
        let target = try OwnedDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        while true {
            try cancellation.check()
            let count = try DescriptorIO.read(source, into: buffer, path)
            if count == 0 { break }
            try DescriptorIO.write(target.raw, UnsafeRawBufferPointer(rebasing: buffer[..<count]), path)
        }
        try target.close(path)
    }

    /// Who has the database open in a way that shows in its locks; with a write-ahead log that is everybody.
    static func lockHolder(_ database: String) throws -> RangeLock.Holder {
        let file = try OwnedDescriptor.open(database, O_RDONLY)
        do throws(Errno) {
            return try RangeLock.holder(file.raw, lockBytes)
        } catch {
            throw SystemCallError("examine the locks of", database, errorNumber: error.number)
        }
    }
}
