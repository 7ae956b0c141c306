// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatStorage

/// The plain bytes of one pack, front to back, read from the store once: what is read is hashed on the way, and `finish`
/// compares the digest with the name. Used on one thread.
final class PackStream {
    private let repository: Repository
    private let name: Digest
    private let key, storedKey: ObjectKey
    let storedSize: UInt64
    /// Plain bytes.
    private(set) var size: UInt64
    private var hasher = BLAKE3Hasher()
    /// Stored bytes that were hashed.
    private var hashed: UInt64 = 0
    private var age: AgeReader?

    /// Stored bytes that are read at once, apart from the blocks at both ends.
    private static let piece = 4 << 20

    /// Opens the pack. One of more than `limit` bytes is no pack, and is not read. Throws damage as
    /// `damagedRepository`.
    init(_ repository: Repository, _ name: Digest, limit: UInt64) throws {
        self.repository = repository
        self.name = name
        key = RepositoryLayout.pack(name)
        storedKey = repository.sealing.storedKey(key)
        do throws(StorageError) {
            guard let object = try repository.store.stat(storedKey) else {
                throw StorageError(.notFound, "get", storedKey.text)
            }
            storedSize = object.size
        } catch {
            throw error.readingRepositoryObject(storedKey)
        }
        size = storedSize
        guard storedSize <= limit else { throw Self.otherDigest(storedKey) }
        guard repository.sealing.isEncrypted else { return }
        let reader = try reporting {
            try SealedReads.readHeader(key, storedSize, repository.sealing) { try self.readStored(at: $0, into: $1) }
        }
        age = reader
        size = try reporting { try sealed { () throws(AgeError) in try reader.plainSize(storedSize: storedSize) } }
    }

    private static func otherDigest(_ key: ObjectKey) -> LifeboatError {
        RepositoryError.damaged(key.text, "its bytes do not have the digest in its name")
    }

    /// Fills `target` from `offset` of the plain bytes, which is not beyond the end of what was read before.
    func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws {
        guard let age else { return try readStored(at: offset, into: target) }
        var done = 0
        while done < target.count {
            let part = UnsafeMutableRawBufferPointer(rebasing: target[done..<min(done + Self.piece, target.count)])
            let plain = offset + UInt64(done)..<offset + UInt64(done + part.count)
            let range = try sealed { () throws(AgeError) in try age.storedRange(of: plain, storedSize: storedSize) }
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: range.count, alignment: 64)
            defer { buffer.deallocate() }
            try readStored(at: range.lowerBound, into: buffer)
            try sealed { () throws(AgeError) in
                try age.open(UnsafeRawBufferPointer(buffer), plain: plain, storedSize: storedSize, into: part)
            }
            done += part.count
        }
    }

    /// Hashes what was not read yet and compares the digest with the name.
    func finish() throws {
        guard hashed < storedSize else {
            guard hasher.finalize() == name else { throw Self.otherDigest(storedKey) }
            return
        }
        let count = Int(min(UInt64(Self.piece), storedSize - hashed))
        let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
        defer { scratch.deallocate() }
        while hashed < storedSize {
            let part = UnsafeMutableRawBufferPointer(rebasing: scratch[..<Int(min(UInt64(count), storedSize - hashed))])
            try readStored(at: hashed, into: part)
        }
        guard hasher.finalize() == name else { throw Self.otherDigest(storedKey) }
    }

    /// Runs `body`, which parses what was read. Where it fails, a wrong digest is the reason to report: bytes that
    /// rotted look like anything, a header for other keys included.
    func reporting<Value>(_ body: () throws -> Value) throws -> Value {
        do {
            return try body()
        } catch let error as FormatError {
            try finish()
            throw error
        } catch let error as LifeboatError where [.damagedRepository, .wrongKey].contains(error.exitCode) {
            try finish()
            throw error
        }
    }

    private func sealed<Value>(_ body: () throws(AgeError) -> Value) throws -> Value {
        do throws(AgeError) {
            return try body()
        } catch {
            throw Sealing.cannotOpen(key, error)
        }
    }

    private func readStored(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws {
        do throws(StorageError) {
            try repository.store.read(storedKey, at: offset, into: target)
        } catch {
            throw error.readingRepositoryObject(storedKey)
        }
        // Blocks at the ends of two reads are read twice, and hashed once.
        precondition(offset <= hashed, "a pack is read front to back")
        let end = offset + UInt64(target.count)
        guard end > hashed else { return }
        hasher.update(UnsafeRawBufferPointer(rebasing: target[Int(hashed - offset)...]))
        hashed = end
    }
}
