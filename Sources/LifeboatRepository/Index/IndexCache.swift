// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatFormats
import LifeboatIO
package import LifeboatStorage

/// The local folder that holds copies of a repository's indexes, so that they can be memory-mapped whatever the store.
///
/// A copy is checked against its name when it is fetched and whenever it is opened. Losing the folder costs one
/// download, never data.
package struct IndexCache: Sendable {
    private let folder: String
    /// Where this host keeps what it knows about the repository.
    package let repositoryFolder: String

    /// `root` is the cache of all repositories on this host; `repositoryID` picks the folder of one.
    package init(root: String, repositoryID: Digest) throws {
        repositoryFolder = "\(root)/\(repositoryID.hex.prefix(32))"
        folder = "\(repositoryFolder)/index"
        do {
            try FileTree.createFolders(folder)
        } catch {
            throw error.lifeboatError.wrapped(
                "cannot use the local cache",
                hint: "Name a writable folder with --cache DIR or the environment variable LIFEBOAT_CACHE.")
        }
    }

    /// Keeps a copy of config.json: the way out when the repository's own is damaged.
    func keepConfig(_ bytes: [UInt8]) throws {
        let path = "\(repositoryFolder)/config.json"
        // One that cannot be read is written again.
        if let kept = try? LocalFile.bytes(path), kept == bytes { return }
        do {
            _ = try bytes.withUnsafeBytes { try AtomicFile.write([$0], to: path, durable: false) }
        } catch let error as SystemCallError where [ENOSPC, EDQUOT, EROFS].contains(error.errorNumber) {
            // The cache is on a full disk: the next run keeps one.
            return
        }
    }

    /// Maps the index of that name, fetching it first when it is not here or damaged.
    package func open(_ name: Digest, from store: any ObjectStore) throws -> MappedIndex {
        let path = "\(folder)/\(name.hex).idx"
        // Any failure of the local copy is answered by a fresh one: the store has the original.
        if let mapped = try? MappedIndex(path: path, name: name, verify: true) { return mapped }
        return try reopen(name, from: store)
    }

    /// Keeps the bytes of an index that the store does not have, and maps it: for looking at what a repair would give.
    package func map(_ bytes: UnsafeRawBufferPointer) throws -> MappedIndex {
        let name = BLAKE3.hash(bytes)
        try keep(bytes, as: name)
        return try MappedIndex(path: "\(folder)/\(name.hex).idx", name: name, verify: true)
    }

    /// Fetches the index of that name anew, and maps it.
    package func reopen(_ name: Digest, from store: any ObjectStore) throws -> MappedIndex {
        let path = "\(folder)/\(name.hex).idx"
        let bytes = try fetch(name, from: store)
        guard BLAKE3.hash(bytes) == name else {
            throw RepositoryError.damaged(
                RepositoryLayout.index(name).text, "its bytes do not have the digest in its name")
        }
        try bytes.withUnsafeBytes { try keep($0, as: name) }
        return try MappedIndex(path: path, name: name, verify: true)
    }

    /// Removes copies of other indexes. What cannot be removed costs space on this host and nothing else.
    func keepOnly(_ names: Set<Digest>) {
        guard let stream = opendir(folder) else { return }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let file = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard file.hasSuffix(".idx"), let name = Digest(hex: file.dropLast(4)), !names.contains(name) else {
                continue
            }
            unlink("\(folder)/\(file)")
        }
    }

    private func fetch(_ name: Digest, from store: any ObjectStore) throws -> [UInt8] {
        let key = RepositoryLayout.index(name)
        do {
            return try store.get(key, limit: 1 << 36)
        } catch  where error.kind == .notFound {
            throw RepositoryError.missing(key.text, "the store does not have it any more")
        } catch {
            throw error.lifeboatError
        }
    }

    /// Keeps the bytes of an index under its name.
    package func keep(_ bytes: UnsafeRawBufferPointer, as name: Digest) throws {
        do {
            try AtomicFile.write([bytes], to: "\(folder)/\(name.hex).idx", durable: false)
        } catch {
            throw error.lifeboatError.wrapped(
                "cannot keep an index in the local cache",
                hint: "Name another folder with --cache DIR or the environment variable LIFEBOAT_CACHE.")
        }
    }
}
