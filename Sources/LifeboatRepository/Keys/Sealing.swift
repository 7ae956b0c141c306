// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatFormats
import LifeboatIO
package import LifeboatStorage

/// How the objects of a repository are wrapped: as they are, or as age files for its recipients. A value; thread-safe.
package struct Sealing: Sendable {
    /// Who can read what is written; empty when the repository is not encrypted.
    package let recipients: [AgeRecipient]
    /// What this process can open objects with; empty on a host that only writes.
    package let keys: [AgeKey]

    package init(recipients: [AgeRecipient], keys: [AgeKey]) {
        self.recipients = recipients
        self.keys = keys
    }

    /// Objects are stored as they are.
    package static let none = Sealing(recipients: [], keys: [])

    package var isEncrypted: Bool { !recipients.isEmpty }
    package var identities: [AgeIdentity] {
        keys.compactMap { key in if case .identity(let identity) = key { identity } else { nil } }
    }
    /// False on a host that holds recipients only.
    package var canRead: Bool { !isEncrypted || !keys.isEmpty }

    static let suffix = ".age"

    /// What the age header of every object says of the readers it was written for: the first 12 digits of the BLAKE3 of
    /// the recipients, sorted, one a line.
    var readersTag: String {
        BLAKE3.hash(Array(recipients.map { $0.text + "\n" }.sorted().joined().utf8)).shortHex
    }

    /// The name in the store of the object that the rest of lifeboat calls `key`.
    package func storedKey(_ key: ObjectKey) -> ObjectKey {
        // Shorter than the limit: every name of the layout is.
        isEncrypted ? ObjectKey(key.text + Self.suffix) ?? key : key
    }

    /// The inverse of `storedKey`; nil for an object that this repository cannot have written.
    func plainKey(_ stored: ObjectKey) -> ObjectKey? {
        guard isEncrypted else { return stored }
        guard stored.text.hasSuffix(Self.suffix) else { return nil }
        return ObjectKey(String(stored.text.dropLast(Self.suffix.utf8.count)))
    }

    /// The bytes to store for `plain`.
    func seal(_ plain: [UInt8]) throws -> [UInt8] {
        guard isEncrypted else { return plain }
        do throws(AgeError) {
            return try Age.seal(plain, recipients: recipients, tag: readersTag)
        } catch {
            throw error.lifeboatError
        }
    }

    /// The bytes that were sealed as object `key`.
    func open(_ stored: [UInt8], _ key: ObjectKey) throws -> [UInt8] {
        var bytes = stored
        try openInPlace(&bytes, key)
        return bytes
    }

    /// Puts what was sealed as object `key` in the place of the stored bytes.
    func openInPlace(_ bytes: inout [UInt8], _ key: ObjectKey) throws {
        guard isEncrypted else { return }
        guard canRead else { throw Self.noKey(key) }
        do throws(AgeError) {
            try Age.openInPlace(&bytes, keys: keys)
        } catch {
            throw Self.cannotOpen(key, error)
        }
    }

    /// What was sealed, at its place, with zeros for blocks that are damaged: empty when the header is.
    func openWhatIsWhole(_ stored: [UInt8]) -> [UInt8] {
        guard isEncrypted else { return stored }
        return stored.withUnsafeBytes { bytes in
            let size = UInt64(bytes.count)
            let start = UnsafeRawBufferPointer(rebasing: bytes[..<min(bytes.count, AgeReader.maximumStart)])
            // Each failure means the same: these bytes cannot be had.
            guard let reader = try? AgeReader(start: start, keys: keys),
                let plainSize = try? reader.plainSize(storedSize: size)
            else { return [] }
            var plain = [UInt8](repeating: 0, count: Int(plainSize))
            plain.withUnsafeMutableBytes { plain in
                var offset = 0
                while offset < plain.count {
                    let end = min(offset + Self.blockSize, plain.count)
                    let range = UInt64(offset)..<UInt64(end)
                    if let place = try? reader.storedRange(of: range, storedSize: size) {
                        try? reader.open(
                            UnsafeRawBufferPointer(rebasing: bytes[Int(place.lowerBound)..<Int(place.upperBound)]),
                            plain: range, storedSize: size,
                            into: UnsafeMutableRawBufferPointer(rebasing: plain[offset..<end]))
                    }
                    offset = end
                }
            }
            return plain
        }
    }

    /// Plain bytes of a block of an age file.
    private static let blockSize = 64 << 10

    static func noKey(_ key: ObjectKey? = nil) -> LifeboatError {
        LifeboatError(
            key.map { "cannot read object '\($0)'" } ?? "cannot read the repository",
            causes: ["it is encrypted, and no key was given"],
            hint: "Give the key with --identity FILE or --passphrase-file FILE.", exitCode: .wrongKey)
    }

    /// What was written before the key that was given belonged to a reader, or after it no longer did.
    package static func forOtherReaders(_ subject: String, _ cause: String) -> LifeboatError {
        LifeboatError(
            "\(subject) cannot be read with the key that was given", causes: [cause],
            hint: "Give the key of a reader it was written for, or make everything readable for today's readers with "
                + "'lifeboat key rewrap' on a host that has that key.", exitCode: .wrongKey)
    }

    /// An object of the repository's own recipients that does not open: the wrong key, or damage.
    static func cannotOpen(_ key: ObjectKey, _ error: AgeError) -> LifeboatError {
        let told = error.lifeboatError
        guard told.exitCode != .wrongKey else {
            return told.wrapped(
                "cannot read object '\(key)'",
                hint: "Give a key it was written for. If it was written for other readers than today's, "
                    + "'lifeboat key rewrap' on a host that has their key makes it readable.")
        }
        return RepositoryError.damaged(key.text + suffix, told.summary)
    }
}

/// Ranged reads of sealed objects: their headers are opened once and remembered. Thread-safe.
final class SealedReads: Sendable {
    private struct Opened: Sendable {
        var reader: AgeReader
        var storedSize: UInt64
    }

    private let opened = Monitor<[ObjectKey: Opened]>([:])
    /// About 8 MiB of headers; beyond it all are forgotten, which costs one small read each.
    private static let limit = 32_768
    /// Room for the header of 20 recipients.
    static let headerGuess: UInt64 = 4096
    /// No header is larger: an age file with more is not one of ours.
    static let headerLimit: UInt64 = 1 << 20

    func read(
        _ key: ObjectKey, at offset: UInt64, into target: UnsafeMutableRawBufferPointer, _ store: any ObjectStore,
        _ sealing: Sealing
    ) throws {
        guard sealing.canRead else { throw Sealing.noKey(key) }
        let object = try open(key, store, sealing)
        let plain = offset..<offset + UInt64(target.count)
        do throws(AgeError) {
            guard try plain.upperBound <= object.reader.plainSize(storedSize: object.storedSize) else {
                throw .truncated("the object is shorter than the index says")
            }
        } catch {
            throw Sealing.cannotOpen(key, error)
        }
        let range: Range<UInt64>
        do throws(AgeError) {
            range = try object.reader.storedRange(of: plain, storedSize: object.storedSize)
        } catch {
            throw Sealing.cannotOpen(key, error)
        }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: range.count, alignment: 64)
        defer { buffer.deallocate() }
        do throws(StorageError) {
            try store.read(sealing.storedKey(key), at: range.lowerBound, into: buffer)
        } catch {
            throw error.readingRepositoryObject(sealing.storedKey(key))
        }
        do throws(AgeError) {
            try object.reader.open(
                UnsafeRawBufferPointer(buffer), plain: plain, storedSize: object.storedSize, into: target)
        } catch {
            throw Sealing.cannotOpen(key, error)
        }
    }

    private func open(_ key: ObjectKey, _ store: any ObjectStore, _ sealing: Sealing) throws -> Opened {
        if let known = opened.withLock({ $0[key] }) { return known }
        let fresh = try readHeader(key, store, sealing)
        opened.withLock { opened in
            if opened.count >= Self.limit { opened.removeAll(keepingCapacity: true) }
            opened[key] = fresh
        }
        return fresh
    }

    private func readHeader(_ key: ObjectKey, _ store: any ObjectStore, _ sealing: Sealing) throws -> Opened {
        let stored = sealing.storedKey(key)
        let size: UInt64
        do throws(StorageError) {
            guard let info = try store.stat(stored) else {
                throw StorageError(.notFound, "get", stored.text)
            }
            size = info.size
        } catch {
            throw error.readingRepositoryObject(sealing.storedKey(key))
        }
        let reader = try Self.readHeader(key, size, sealing) { offset, target in
            do throws(StorageError) {
                try store.read(stored, at: offset, into: target)
            } catch {
                throw error.readingRepositoryObject(sealing.storedKey(key))
            }
        }
        return Opened(reader: reader, storedSize: size)
    }

    /// Opens the header of an object of `size` stored bytes, which `read` fetches.
    static func readHeader(
        _ key: ObjectKey, _ size: UInt64, _ sealing: Sealing,
        read: (_ offset: UInt64, _ target: UnsafeMutableRawBufferPointer) throws -> Void
    ) throws -> AgeReader {
        guard sealing.canRead else { throw Sealing.noKey(key) }
        var length = min(size, headerGuess)
        while true {
            var start = [UInt8](repeating: 0, count: Int(length))
            try start.withUnsafeMutableBytes { try read(0, $0) }
            do {
                return try start.withUnsafeBytes { try AgeReader(start: $0, keys: sealing.keys) }
            } catch let error as AgeError {
                guard case .needMore = error, length < size, length < headerLimit else {
                    throw Sealing.cannotOpen(key, error)
                }
                length = min(size, length * 8)
            }
        }
    }
}
