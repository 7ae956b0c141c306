// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStorage

/// The local folder that holds copies of a repository's indexes, so that they can be searched in place whatever the
/// store, and one table made of many of them (`MergedIndex`).
///
/// A copy is checked against its digest when it is fetched, and when it is opened as `CheckedCopy` tells. Losing the
/// folder costs one download, never data; on a host that cannot read the repository it costs one full upload.
///
/// The folder is a help: what cannot be written there, because the disk is full or read-only, is kept in the memory of
/// this process, and `health` says why.
struct IndexCache: Sendable {
    private let folder: String
    private let mergedFolder: String
    private let sealing: Sealing
    /// Whether the folder takes what is written to it.
    let health: CacheHealth
    /// The folder of this repository.
    let localFolder: String

    /// So many indexes, or so many bytes of them, are searched one by one; more are merged.
    static let singleIndexes = 16
    static let singleBytes = 8 << 20

    /// `localFolder` is the cache of one repository.
    init(folder localFolder: String, _ sealing: Sealing, _ health: CacheHealth = CacheHealth()) {
        self.localFolder = localFolder
        self.sealing = sealing
        self.health = health
        folder = "\(localFolder)/index"
        mergedFolder = "\(localFolder)/merged"
        do {
            try FileTree.createFolders(folder)
            try FileTree.createFolders(mergedFolder)
        } catch {
            health.report(error)
        }
    }

    /// Keeps a copy of config.json: the way out when the repository's own is damaged.
    func keepConfig(_ bytes: [UInt8]) {
        let path = "\(localFolder)/config.json"
        // One that cannot be read is written again.
        if let kept = try? SmallFile.contents(path), kept == bytes { return }
        do {
            _ = try bytes.withUnsafeBytes { try AtomicFile.write([$0], to: path, durable: false) }
        } catch {
            health.report(error)
        }
    }

    private func path(_ name: Digest) -> String { "\(folder)/\(name.hex)\(Self.indexSuffix)" }

    /// The digest of the copy, where its name is that of the stored, encrypted bytes.
    private func digestPath(_ name: Digest) -> String { "\(folder)/\(name.hex)\(Self.digestSuffix)" }

    private static let digestSuffix = ".b3"
    private static let indexSuffix = ".idx"
    private static let mergedSuffix = ".merged"

    // MARK: - One index

    /// The digest that the copy of that name must have; throws when nobody knows it.
    private func digest(of name: Digest) throws -> Digest {
        guard sealing.isEncrypted else { return name }
        guard let text = try SmallFile.contents(digestPath(name)),
            let digest = Digest(hex: String(decoding: text, as: UTF8.self))
        else { throw SystemCallError("read", digestPath(name), errorNumber: ENOENT) }
        return digest
    }

    /// Maps the copy of that name; throws when it is not here or damaged.
    private func mapped(
        _ name: Digest, always: Bool, from size: Int = MappedIndex.usuallyMappedFrom
    ) throws -> MappedIndex {
        try MappedIndex(path: path(name), name: name, digest: digest(of: name), always: always, mappedFrom: size)
    }

    /// The indexes of which there is a sound copy here, by name.
    func held() -> [Digest] {
        copies().filter { name in
            do {
                let path = path(name)
                let file = try OwnedDescriptor.open(path, O_RDONLY)
                return try CheckedCopy.require(
                    digest(of: name), of: file, path, note: path + CheckedCopy.suffix, always: false)
            } catch {
                return false
            }
        }.sorted()
    }

    private func copies() -> [Digest] {
        names(in: folder).compactMap { file in
            file.hasSuffix(Self.indexSuffix) ? Digest(hex: file.dropLast(Self.indexSuffix.count)) : nil
        }
    }

    /// Maps the index of that name, fetching it first when it is not here or damaged. With `always` its bytes are
    /// hashed whatever is known of them.
    func open(
        _ name: Digest, from store: any ObjectStore, always: Bool = false,
        mappedFrom size: Int = MappedIndex.usuallyMappedFrom
    ) throws -> MappedIndex {
        // Any failure of the local copy is answered by a fresh one: the store has the original.
        if let mapped = try? mapped(name, always: always, from: size) { return mapped }
        return try reopen(name, from: store, mappedFrom: size)
    }

    /// False when the index was written for other readers; true also when it cannot be had, which opening it reports.
    func canOpen(_ name: Digest, from store: any ObjectStore) throws -> Bool {
        do {
            _ = try open(name, from: store)
        } catch let error as LifeboatError where error.exitCode == .wrongKey {
            return false
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            return true
        }
        return true
    }

    /// Keeps the bytes of an index that the store does not have, and maps it: for looking at what a repair would give.
    func map(_ bytes: UnsafeRawBufferPointer) throws -> MappedIndex {
        let name = BLAKE3.hash(bytes)
        if keep(bytes, as: name),
            let mapped = try? MappedIndex(path: path(name), name: name, digest: name, always: true)
        {
            return mapped
        }
        return try MappedIndex(bytes, name: name)
    }

    /// Fetches the index of that name anew, and maps it.
    func reopen(
        _ name: Digest, from store: any ObjectStore, mappedFrom size: Int = MappedIndex.usuallyMappedFrom
    ) throws -> MappedIndex {
        let key = RepositoryLayout.index(name)
        let bytes = try fetch(name, from: store)
        guard BLAKE3.hash(bytes) == name else {
            throw RepositoryError.damaged(key.text, "its bytes do not have the digest in its name")
        }
        return try hold(sealing.open(bytes, key), as: name, mappedFrom: size)
    }

    /// Keeps the plain bytes of an index under its name and maps them; without a cache to keep them in they stay in
    /// memory.
    func hold(
        _ plain: [UInt8], as name: Digest, mappedFrom size: Int = MappedIndex.usuallyMappedFrom
    ) throws -> MappedIndex {
        try plain.withUnsafeBytes { plain in
            if keep(plain, as: name), let mapped = try? mapped(name, always: true, from: size) { return mapped }
            return try MappedIndex(plain, name: name)
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

    /// Keeps the plain bytes of an index under its name; false when the cache does not take them.
    private func keep(_ bytes: UnsafeRawBufferPointer, as name: Digest) -> Bool {
        do {
            try AtomicFile.write([bytes], to: path(name), durable: false)
            if sealing.isEncrypted { try AtomicFile.write(BLAKE3.hash(bytes).hex, to: digestPath(name)) }
            return true
        } catch {
            health.report(error)
            return false
        }
    }

    // MARK: - All indexes

    /// Opens the indexes of those names for finding chunks: as one table where they are many.
    func open(_ names: [Digest], from store: any ObjectStore) throws -> IndexSet {
        let merged = largestMerged(of: Set(names), always: false)
        let rest = Self.others(names, than: merged)
        if rest.count <= Self.singleIndexes {
            let opened = try rest.map { try open($0, from: store) }
            if opened.reduce(0, { $0 + $1.byteCount }) <= Self.singleBytes { return IndexSet(opened, merged: merged) }
        }
        if let merged = try merge(names, from: store) { return IndexSet([], merged: merged) }
        return IndexSet(try names.map { try open($0, from: store) })
    }

    /// Opens the indexes of those names one by one, for reading all that is in them, with a table for finding chunks
    /// where they are many. Whatever is known of the copies, they are hashed.
    func openEach(_ names: [Digest], from store: any ObjectStore) throws -> IndexSet {
        // Read one after the other, they need no memory of their own.
        let size = names.count <= Self.mappings ? 4096 : MappedIndex.usuallyMappedFrom
        let opened = try names.map { try open($0, from: store, always: true, mappedFrom: size) }
        var merged = largestMerged(of: Set(names), always: true)
        if Self.others(names, than: merged).count > Self.singleIndexes {
            merged = try merge(names, from: store) ?? merged
        }
        return IndexSet(each: opened, merged: merged)
    }

    /// The same for indexes that are open already. No table that an earlier run merged is used.
    func mergingAnew(_ opened: [MappedIndex], from store: any ObjectStore) throws -> IndexSet {
        guard opened.count > Self.singleIndexes || opened.reduce(0, { $0 + $1.byteCount }) > Self.singleBytes else {
            return IndexSet(opened)
        }
        return IndexSet(each: opened, merged: try merge(opened.map(\.name), from: store))
    }

    /// A quarter of the mappings that Linux gives a process (vm.max_map_count).
    private static let mappings = 16_384

    private static func others(_ names: [Digest], than merged: MergedIndex?) -> [Digest] {
        guard let merged else { return names }
        let known = Set(merged.sources.map(\.name))
        return names.filter { !known.contains($0) }
    }

    // MARK: - Merged indexes

    private func mergedNames() -> [Digest] {
        names(in: mergedFolder).compactMap { file in
            file.hasSuffix(Self.mergedSuffix) ? Digest(hex: file.dropLast(Self.mergedSuffix.count)) : nil
        }
    }

    private func mergedPath(_ name: Digest) -> String { "\(mergedFolder)/\(name.hex)\(Self.mergedSuffix)" }

    /// The largest one that holds no other index than those; one that is damaged does not count.
    private func largestMerged(of names: Set<Digest>, always: Bool) -> MergedIndex? {
        var largest: MergedIndex?
        for name in mergedNames() {
            guard let merged = try? MergedIndex(path: mergedPath(name), digest: name, always: always),
                merged.chunkCount >= largest?.chunkCount ?? 0,
                merged.sources.allSatisfy({ names.contains($0.name) })
            else { continue }
            largest = merged
        }
        return largest
    }

    /// Merges the indexes of those names. Nil when it cannot be done here, for want of space perhaps: they are searched
    /// one by one then. Throws when one of them cannot be had.
    private func merge(_ names: [Digest], from store: any ObjectStore) throws -> MergedIndex? {
        // A merged index is made of the copies.
        guard health.problem == nil else { return nil }
        let inputs = try names.map { name in
            // Opened only to see that it is sound, or to fetch it.
            let index = try open(name, from: store)
            return IndexMerge.Input(
                name: name, path: path(name), packs: index.packCount, frames: index.frameCount,
                chunks: index.chunkCount, bases: index.baseIDCount)
        }
        let earlier = mergedNames()
        removeLeftovers()
        let temporary =
            "\(mergedFolder)/\(getpid())-\(UInt32.random(in: .min ... .max))\(AtomicFile.temporarySuffix)"
        defer { unlink(temporary) }
        do {
            guard let digest = try IndexMerge.write(inputs, to: temporary) else { return nil }
            let path = mergedPath(digest)
            guard rename(temporary, path) == 0 else { throw SystemCallError("rename to", path) }
            try CheckedCopy.noteWritten(path, digest, note: path + CheckedCopy.suffix)
            let merged = try MergedIndex(path: path, digest: digest, always: false)
            for name in earlier where name != digest { removeMerged(name) }
            return merged
        } catch {
            health.report(error)
            return nil
        }
    }

    private func removeMerged(_ name: Digest) {
        unlink(mergedPath(name))
        unlink(mergedPath(name) + CheckedCopy.suffix)
    }

    /// Removes what a merge that was killed left behind: nobody wrote to it for an hour.
    private func removeLeftovers() {
        for file in names(in: mergedFolder) where file.hasSuffix(AtomicFile.temporarySuffix) {
            var status = stat()
            let path = "\(mergedFolder)/\(file)"
            guard lstat(path, &status) == 0, status.st_mtim.tv_sec + 3600 < time(nil) else { continue }
            unlink(path)
        }
    }

    // MARK: - Housekeeping

    private func remove(_ name: Digest) {
        for path in [path(name), path(name) + CheckedCopy.suffix, digestPath(name)] { unlink(path) }
    }

    /// Hashes every copy of those indexes that is here, and what was merged of them; removes what is damaged. True when
    /// something was.
    func removeDamaged(_ wanted: [Digest]) -> Bool {
        var found = false
        for name in mergedNames()
        where (try? MergedIndex(path: mergedPath(name), digest: name, always: true)) == nil {
            removeMerged(name)
            found = true
        }
        for name in wanted where access(path(name), F_OK) == 0 && (try? mapped(name, always: true)) == nil {
            remove(name)
            found = true
        }
        return found
    }

    /// Removes copies of other indexes. What cannot be removed costs space on this host and nothing else.
    func keepOnly(_ wanted: Set<Digest>) {
        for name in copies() where !wanted.contains(name) { remove(name) }
        for name in mergedNames() {
            let merged = try? MergedIndex(path: mergedPath(name), digest: name, always: false)
            if merged?.sources.allSatisfy({ wanted.contains($0.name) }) != true { removeMerged(name) }
        }
    }

    /// Names of the files in a folder of the cache; none when it cannot be read.
    private func names(in folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                })
        }
        return names
    }
}
