// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStorage

/// The local folder that holds copies of a repository's indexes, so that they can be memory-mapped whatever the store.
///
/// A copy is checked against a digest when it is fetched and whenever it is opened. Losing the folder costs one
/// download, never data; on a host that cannot read the repository it costs one full upload.
struct IndexCache: Sendable {
    private let folder: String
    private let sealing: Sealing
    /// The folder of this repository.
    let localFolder: String

    /// `folder` is the cache of one repository.
    init(folder localFolder: String, _ sealing: Sealing) throws {
        self.localFolder = localFolder
        self.sealing = sealing
        folder = "\(localFolder)/index"
        do {
            try FileTree.createFolders(self.folder)
        } catch {
            throw error.lifeboatError.wrapped(
                "cannot use the local cache",
                hint: "Name a writable folder with --cache DIR or the environment variable LIFEBOAT_CACHE.")
        }
    }

    /// Keeps a copy of config.json: the way out when the repository's own is damaged.
    func keepConfig(_ bytes: [UInt8]) throws {
        let path = "\(localFolder)/config.json"
        // One that cannot be read is written again.
        if let kept = try? SmallFile.contents(path), kept == bytes { return }
        do {
            _ = try bytes.withUnsafeBytes { try AtomicFile.write([$0], to: path, durable: false) }
        } catch let error as SystemCallError where [ENOSPC, EDQUOT, EROFS].contains(error.errorNumber) {
            // The cache is on a full disk: the next run keeps one.
            return
        }
    }

    private func path(_ name: Digest) -> String { "\(folder)/\(name.hex).idx" }
    /// The digest of the copy: its name is that of the stored, encrypted bytes.
    private func digestPath(_ name: Digest) -> String { "\(folder)/\(name.hex).b3" }

    /// The indexes of which there is a sound copy here, by name.
    func held() -> [Digest] {
        var names: [Digest] = []
        eachCopy { name in
            if (try? mapped(name)) != nil { names.append(name) }
        }
        return names.sorted()
    }

    private func mapped(_ name: Digest) throws -> MappedIndex? {
        guard sealing.isEncrypted else { return try MappedIndex(path: path(name), name: name, digest: name) }
        guard let text = try SmallFile.contents(digestPath(name)),
            let digest = Digest(hex: String(decoding: text, as: UTF8.self)[...])
        else { return nil }
        return try MappedIndex(path: path(name), name: name, digest: digest)
    }

    /// Maps the index of that name, fetching it first when it is not here or damaged.
    func open(_ name: Digest, from store: any ObjectStore) throws -> MappedIndex {
        // Any failure of the local copy is answered by a fresh one: the store has the original.
        if let mapped = try? mapped(name) { return mapped }
        return try reopen(name, from: store)
    }

    /// Keeps the bytes of an index that the store does not have, and maps it: for looking at what a repair would give.
    func map(_ bytes: UnsafeRawBufferPointer) throws -> MappedIndex {
        let name = BLAKE3.hash(bytes)
        try keep(bytes, as: name)
        return try MappedIndex(path: path(name), name: name, digest: name)
    }

    /// Fetches the index of that name anew, and maps it.
    func reopen(_ name: Digest, from store: any ObjectStore) throws -> MappedIndex {
        let key = RepositoryLayout.index(name)
        let bytes = try fetch(name, from: store)
        guard BLAKE3.hash(bytes) == name else {
            throw RepositoryError.damaged(key.text, "its bytes do not have the digest in its name")
        }
        let plain = try sealing.open(bytes, key)
        try plain.withUnsafeBytes { try keep($0, as: name) }
        return try MappedIndex(path: path(name), name: name, digest: BLAKE3.hash(plain))
    }

    /// Removes copies of other indexes. What cannot be removed costs space on this host and nothing else.
    func keepOnly(_ names: Set<Digest>) {
        eachCopy { name in
            guard !names.contains(name) else { return }
            unlink(path(name))
            unlink(digestPath(name))
        }
    }

    private func eachCopy(_ body: (Digest) -> Void) {
        guard let stream = opendir(folder) else { return }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let file = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if file.hasSuffix(".idx"), let name = Digest(hex: file.dropLast(4)) { body(name) }
        }
    }

    private func fetch(_ name: Digest, from store: any ObjectStore) throws -> [UInt8] {
        let key = RepositoryLayout.index(name)
        do {
            return try store.get(sealing.storedKey(key), limit: 1 << 36)
        } catch  where error.kind == .notFound {
            throw RepositoryError.missing(key.text, "the store does not have it any more")
        } catch {
            throw error.lifeboatError
        }
    }

    /// Keeps the plain bytes of an index under its name.
    func keep(_ bytes: UnsafeRawBufferPointer, as name: Digest) throws {
        do {
            try AtomicFile.write([bytes], to: path(name), durable: false)
            if sealing.isEncrypted { try AtomicFile.write(BLAKE3.hash(bytes).hex, to: digestPath(name)) }
        } catch {
            throw error.lifeboatError.wrapped(
                "cannot keep an index in the local cache",
                hint: "Name another folder with --cache DIR or the environment variable LIFEBOAT_CACHE.")
        }
    }
}
