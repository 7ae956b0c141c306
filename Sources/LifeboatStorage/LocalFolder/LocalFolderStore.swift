// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatIO

/// A folder of a local or mounted file system as an `ObjectStore`: a key is a path below it.
///
/// Puts are durable (`AtomicFile`), folders are made as needed with mode 0700, objects with 0600. The folder itself
/// may be reached through symbolic links; inside it none is followed. Only regular files are objects. Thread-safe:
/// every call opens what it needs.
package final class LocalFolderStore: ObjectStore {
    package let properties: ObjectStoreProperties

    private let root: String
    /// Tells the folder from another one in its place: an unmounted disk leaves an empty folder behind, whose emptiness
    /// must not be taken for missing objects.
    private let identity: Identity
    /// Folders below the root that this process knows to survive a power loss.
    private let durableFolders = Monitor<Set<String>>([])

    private struct Identity: Equatable, Sendable {
        let device: dev_t
        let inode: ino_t
    }

    /// Opens the store in an existing folder; `notFound` (exit code `noRepository`) when there is none.
    package init(opening path: String) throws(StorageError) {
        let trimmed = Self.withoutTrailingSlashes(path)
        var status = Glibc.stat()
        guard fstatat(AT_FDCWD, trimmed, &status, 0) == 0 else {
            let failure = SystemCallError("open", trimmed)
            guard failure.errorNumber == ENOENT || failure.errorNumber == ENOTDIR else {
                throw StorageError(failure, "open", trimmed)
            }
            throw Self.missing(trimmed, SystemCallError.describe(failure.errorNumber))
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw Self.missing(trimmed, "it is not a folder") }
        root = trimmed
        identity = Identity(device: status.st_dev, inode: status.st_ino)
        properties = ObjectStoreProperties(
            location: trimmed, atomicPutIfAbsent: true, consistentListing: true, durableOnReturn: true,
            maximumObjectSize: nil, usefulConcurrency: 4)
    }

    /// Creates the folder and its missing parents, durably, and opens it; an existing one is opened as it is.
    package static func create(at path: String) throws(StorageError) -> LocalFolderStore {
        let trimmed = withoutTrailingSlashes(path)
        do throws(SystemCallError) {
            try createDurably(trimmed)
        } catch {
            throw StorageError(error, "create", trimmed)
        }
        return try LocalFolderStore(opening: trimmed)
    }

    // MARK: - Writing

    package func putIfAbsent(
        _ key: ObjectKey, _ pieces: [UnsafeRawBufferPointer]
    ) throws(StorageError) -> Bool {
        let stored = try write(key, pieces, replacing: false)
        if !stored {
            // Another writer may have linked it and not yet made the folder durable; and what is there must be an
            // object, not a planted link.
            do throws(SystemCallError) {
                try AtomicFile.synchronizeFolder(of: path(of: key))
            } catch {
                throw StorageError(error, "put", key.text)
            }
            guard try stat(key) != nil else {
                throw StorageError(.other, "put", key.text, cause: LifeboatError("something else is in its place"))
            }
        }
        return stored
    }

    package func put(_ key: ObjectKey, _ pieces: [UnsafeRawBufferPointer]) throws(StorageError) {
        _ = try write(key, pieces, replacing: true)
    }

    private func write(
        _ key: ObjectKey, _ pieces: [UnsafeRawBufferPointer], replacing: Bool
    ) throws(StorageError) -> Bool {
        guard !isReserved(key) else {
            throw StorageError(
                .other, "put", key.text, cause: LifeboatError("names that end like that are temporary files"))
        }
        try checkRoot("put", key.text)
        do throws(SystemCallError) {
            try createFolders(of: key)
            do throws(SystemCallError) {
                return try AtomicFile.write(pieces, to: path(of: key), replacing: replacing)
            } catch  where error.errorNumber == ENOENT {
                // A folder that was there has been removed by hand: make it anew, once.
                durableFolders.withLock { (folders: inout Set<String>) in folders = [] }
                try createFolders(of: key)
                return try AtomicFile.write(pieces, to: path(of: key), replacing: replacing)
            }
        } catch {
            throw StorageError(error, "put", key.text)
        }
    }

    package func delete(_ key: ObjectKey) throws(StorageError) -> Bool {
        guard try stat(key) != nil else { return false }
        let path = path(of: key)
        do throws(SystemCallError) {
            guard unlink(path) == 0 else {
                if errno == ENOENT { return false }
                throw SystemCallError("remove", path)
            }
            try AtomicFile.synchronizeFolder(of: path)
            return true
        } catch {
            throw StorageError(error, "delete", key.text)
        }
    }

    // MARK: - Reading

    package func read(
        _ key: ObjectKey, at offset: UInt64, into destination: UnsafeMutableRawBufferPointer
    ) throws(StorageError) {
        let file = try open(key)
        guard offset <= file.size, UInt64(destination.count) <= file.size - offset else {
            throw outside(key, offset, destination.count, size: file.size)
        }
        do throws(SystemCallError) {
            let count = try DescriptorIO.read(file.descriptor.raw, at: offset, into: destination, path(of: key))
            if count == destination.count { return }
        } catch {
            throw StorageError(error, "get", key.text)
        }
        // Cut while it was read.
        throw outside(key, offset, destination.count, size: file.size)
    }

    package func get(_ key: ObjectKey, limit: UInt64) throws(StorageError) -> [UInt8] {
        let file = try open(key)
        guard file.size <= limit, let size = Int(exactly: file.size) else {
            throw StorageError(
                .full, "get", key.text,
                cause: LifeboatError("it has \(file.size) bytes, more than the \(limit) it may have"))
        }
        var bytes = [UInt8](repeating: 0, count: size)
        let count: Int
        do throws(SystemCallError) {
            count = try bytes.withUnsafeMutableBufferPointer { buffer throws(SystemCallError) in
                try DescriptorIO.read(
                    file.descriptor.raw, at: 0, into: UnsafeMutableRawBufferPointer(buffer), path(of: key))
            }
        } catch {
            throw StorageError(error, "get", key.text)
        }
        guard count == size else { throw outside(key, 0, size, size: UInt64(count)) }
        return bytes
    }

    package func stat(_ key: ObjectKey) throws(StorageError) -> ObjectInfo? {
        do throws(SystemCallError) {
            if let size = try size(of: key) { return ObjectInfo(key: key, size: size) }
        } catch {
            throw StorageError(error, "stat", key.text)
        }
        try checkRoot("stat", key.text)
        return nil
    }

    package func list(
        prefix: String, after token: ObjectPageToken?, limit: Int
    ) throws(StorageError) -> ObjectPage {
        try checkRoot("list", prefix)
        let page: ObjectPage
        do throws(SystemCallError) {
            page = try FolderListing(root: root, prefix: prefix, after: token?.value, limit: max(1, limit)).page()
        } catch {
            throw StorageError(error, "list", prefix)
        }
        try checkRoot("list", prefix)
        return page
    }

    // MARK: - Leftovers

    /// Removes temporary files of writers that are gone: untouched for `seconds` and of a process that does not run
    /// here, or untouched for a week (its number may be in use again, or have been one of another host). Returns how
    /// many.
    @discardableResult
    package func removeLeftovers(untouchedFor seconds: Double, clock: any Clock) throws(StorageError) -> Int {
        try checkRoot("list", "")
        do throws(SystemCallError) {
            return try Leftovers.remove(in: root, untouchedFor: seconds, now: clock.now())
        } catch {
            throw StorageError(error, "delete", "*\(AtomicFile.temporarySuffix)")
        }
    }

    // MARK: - Paths

    private func path(of key: ObjectKey) -> String { "\(root)/\(key.text)" }

    private func isReserved(_ key: ObjectKey) -> Bool { key.text.hasSuffix(AtomicFile.temporarySuffix) }

    private static func withoutTrailingSlashes(_ path: String) -> String {
        var path = path[...]
        while path.count > 1, path.last == "/" { path.removeLast() }
        return path.isEmpty ? "." : String(path)
    }

    private static func missing(_ path: String, _ reason: String) -> StorageError {
        StorageError(
            .notFound, "open", path,
            cause: LifeboatError(
                reason, hint: "Check the path and that its disk is mounted; 'repository init' creates a new one.",
                exitCode: .noRepository))
    }

    /// Throws when the folder is not the one that was opened.
    private func checkRoot(_ operation: String, _ subject: String) throws(StorageError) {
        var status = Glibc.stat()
        let reason: String
        if fstatat(AT_FDCWD, root, &status, 0) != 0 {
            reason = SystemCallError.describe(errno)
        } else if Identity(device: status.st_dev, inode: status.st_ino) != identity {
            reason = "another folder is in its place: was its disk unmounted?"
        } else {
            return
        }
        throw StorageError(
            .other, operation, subject,
            cause: LifeboatError("the repository's folder '\(root)' is gone", causes: [reason]))
    }

    /// The folders a key goes through, outermost first: `packs`, `packs/ab`.
    private func folders(of key: ObjectKey) -> [String] {
        let text = key.text
        return text.indices.filter { text[$0] == "/" }.map { String(text[..<$0]) }
    }

    /// Makes missing folders and sees to it that all of them survive a power loss.
    private func createFolders(of key: ObjectKey) throws(SystemCallError) {
        for folder in folders(of: key) {
            let path = "\(root)/\(folder)"
            if durableFolders.withLock({ (folders: inout Set<String>) in folders.contains(folder) }) {
                // Still a folder and no link to one: that is checked every time.
                if try isRealFolder(path) { continue }
            }
            var durable = [folder]
            if mkdir(path, 0o700) != 0 {
                guard errno == EEXIST else { throw SystemCallError("create folder", path) }
                guard try isRealFolder(path) else {
                    throw SystemCallError("create folder", path, errorNumber: ENOTDIR)
                }
                // Whoever made it may not have synchronized its parent. One fsync settles that for all its siblings.
                durable += try FolderListing.subfolders(root: root, folder: parent(of: folder))
            }
            try AtomicFile.synchronizeFolder(of: path)
            durableFolders.withLock { (folders: inout Set<String>) in folders.formUnion(durable) }
        }
    }

    private func parent(of folder: String) -> String {
        folder.lastIndex(of: "/").map { String(folder[..<$0]) } ?? ""
    }

    /// False when there is nothing; throws ENOTDIR for anything but a folder, links included.
    private func isRealFolder(_ path: String) throws(SystemCallError) -> Bool {
        var status = Glibc.stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT { return false }
            throw SystemCallError("look at", path)
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw SystemCallError("enter folder", path, errorNumber: ENOTDIR)
        }
        return true
    }

    /// Bytes of the object; nil when there is no regular file of that name.
    private func size(of key: ObjectKey) throws(SystemCallError) -> UInt64? {
        if isReserved(key) { return nil }
        for folder in folders(of: key) {
            guard try isRealFolder("\(root)/\(folder)") else { return nil }
        }
        var status = Glibc.stat()
        guard lstat(path(of: key), &status) == 0 else {
            if errno == ENOENT { return nil }
            throw SystemCallError("look at", path(of: key))
        }
        guard status.st_mode & S_IFMT == S_IFREG else { return nil }
        return UInt64(max(0, status.st_size))
    }

    private struct OpenFile: ~Copyable {
        let descriptor: OwnedDescriptor
        let size: UInt64
    }

    private func open(_ key: ObjectKey) throws(StorageError) -> OpenFile {
        guard try stat(key) != nil else { throw StorageError(.notFound, "get", key.text) }
        let path = path(of: key)
        do throws(SystemCallError) {
            // O_NONBLOCK: a fifo put in its place since must not hang the reader.
            let descriptor = try OwnedDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
            var status = Glibc.stat()
            guard fstat(descriptor.raw, &status) == 0 else { throw SystemCallError("look at", path) }
            guard status.st_mode & S_IFMT == S_IFREG else {
                throw SystemCallError("open", path, errorNumber: EINVAL)
            }
            return OpenFile(descriptor: descriptor, size: UInt64(max(0, status.st_size)))
        } catch {
            throw StorageError(error, "get", key.text)
        }
    }

    private func outside(_ key: ObjectKey, _ offset: UInt64, _ count: Int, size: UInt64) -> StorageError {
        StorageError(
            .rangeNotSatisfiable, "get", key.text,
            cause: LifeboatError("\(count) bytes at \(offset) are not inside its \(size) bytes"))
    }

    /// mkdir -p in which every new name is made durable in its parent.
    private static func createDurably(_ path: String) throws(SystemCallError) {
        if mkdir(path, 0o700) == 0 { return try AtomicFile.synchronizeFolder(of: path) }
        if errno == EEXIST { return }
        guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
            throw SystemCallError("create folder", path)
        }
        try createDurably(withoutTrailingSlashes(String(path[..<slash])))
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw SystemCallError("create folder", path) }
        try AtomicFile.synchronizeFolder(of: path)
    }
}

extension StorageError {
    /// A failed system call as the store's error: errno decides the kind, and its words are kept.
    init(_ failure: SystemCallError, _ operation: String, _ subject: String) {
        let kind: Kind
        switch failure.errorNumber {
        case ENOENT: kind = .notFound
        case EACCES, EPERM, EROFS: kind = .denied
        case ENOSPC, EDQUOT, EFBIG: kind = .full
        case EIO, ESTALE, EAGAIN, EINTR, ETIMEDOUT, EBUSY, EMFILE, ENFILE, ENOMEM, ENOBUFS: kind = .transient
        default: kind = .other
        }
        self.init(kind, operation, subject, cause: failure.lifeboatError)
    }
}
