// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatIO
package import LifeboatStorage

/// An open repository: its store, its configuration, its local cache. Thread-safe; calls block.
package struct Repository: Sendable {
    package let store: any ObjectStore
    package let config: RepositoryConfig
    private let cache: IndexCache

    /// Where this host keeps what it knows about the repository; losing it costs time, never data.
    package var localFolder: String { cache.repositoryFolder }

    /// Largest `config.json` and manifest that is read, in bytes.
    package static let documentLimit: UInt64 = 64 << 20

    /// Creates a repository where there is none: README.txt first, config.json last, since that one makes it exist.
    package static func create(
        in store: any ObjectStore, chunker: ChunkerParameters = ChunkerParameters(), clock: any Clock
    ) throws -> RepositoryConfig {
        try chunker.validate()
        if try existing(store) {
            throw LifeboatError(
                "there is a repository at '\(store.properties.location)' already",
                hint: "Use it as it is, or choose another place.")
        }
        for prefix in [RepositoryLayout.packPrefix, RepositoryLayout.indexPrefix, RepositoryLayout.snapshotPrefix] {
            guard try store.list(prefix: prefix, after: nil, limit: 1).objects.isEmpty else {
                throw LifeboatError(
                    "'\(store.properties.location)' holds '\(prefix)' of a repository, but no config.json",
                    hint: "Choose an empty place, or bring the config.json of that repository back.")
            }
        }
        var generator = SystemRandomNumberGenerator()
        let id = Digest(
            bigEndianWords: generator.next(), generator.next(), generator.next(), generator.next())
        let config = RepositoryConfig(repositoryID: id, created: clock.now(), chunker: chunker)
        try Array(RepositoryReadme.text.utf8).withUnsafeBytes { try store.put(RepositoryLayout.readme, [$0]) }
        let stored = try config.encoded().withUnsafeBytes { try store.putIfAbsent(RepositoryLayout.config, [$0]) }
        guard stored else {
            throw LifeboatError("another process created a repository at '\(store.properties.location)' just now")
        }
        return try RepositoryConfig(decoding: store.get(RepositoryLayout.config, limit: documentLimit))
    }

    /// Opens the repository in `store`. `cacheRoot` is the local folder for copies of indexes.
    package static func open(_ store: any ObjectStore, cacheRoot: String) throws -> Repository {
        let bytes = try configBytes(store, cacheRoot: cacheRoot)
        let config: RepositoryConfig
        do {
            config = try RepositoryConfig(decoding: bytes)
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            throw RepositoryError.damagedConfig(error.summary, cacheRoot: cacheRoot)
        }
        let cache = try IndexCache(root: cacheRoot, repositoryID: config.repositoryID)
        try cache.keepConfig(bytes)
        return Repository(store: store, config: config, cache: cache)
    }

    private static func configBytes(_ store: any ObjectStore, cacheRoot: String) throws -> [UInt8] {
        if let object = try store.stat(RepositoryLayout.config) {
            guard object.size <= documentLimit else {
                throw RepositoryError.damagedConfig("it is larger than any config.json", cacheRoot: cacheRoot)
            }
            return try store.get(RepositoryLayout.config, limit: documentLimit)
        }
        for prefix in [RepositoryLayout.snapshotPrefix, RepositoryLayout.packPrefix]
        where try !store.list(prefix: prefix, after: nil, limit: 1).objects.isEmpty {
            throw RepositoryError.damagedConfig(
                "it is missing, and '\(prefix)' of a repository is there", cacheRoot: cacheRoot)
        }
        throw RepositoryError.absent(store.properties.location)
    }

    private static func existing(_ store: any ObjectStore) throws -> Bool {
        try store.stat(RepositoryLayout.config) != nil
    }

    /// Opens every index the store lists.
    ///
    /// A prune may put a merged index in the place of others meanwhile, and a listing is no snapshot: it is repeated
    /// until it shows nothing new, so that no chunk falls between the old indexes and the new one.
    package func openIndexes() throws -> IndexSet {
        var names = try indexNames()
        var attempt = 1
        while true {
            do {
                let opened = try names.map { try cache.open($0, from: store) }
                let again = try indexNames()
                if attempt >= Self.indexListings || Set(again).isSubset(of: names) { return IndexSet(opened) }
                names = again
            } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                // Gone since it was listed, or really lost: a new listing tells.
                let again = try indexNames()
                guard attempt < Self.indexListings, again != names else { throw error }
                names = again
            }
            attempt += 1
        }
    }

    /// How often indexes are listed while prunes go on replacing them.
    private static let indexListings = 10

    private func indexNames() throws -> [Digest] {
        try store.listAll(prefix: RepositoryLayout.indexPrefix).compactMap { RepositoryLayout.indexName($0.key) }
    }

    /// Packs no backup may refer to any more: a prune will delete them, or has.
    package func condemnedPacks() throws -> Set<Digest> {
        Set(
            try store.listAll(prefix: RepositoryLayout.condemnedPrefix).compactMap {
                RepositoryLayout.condemnedName($0.key)
            })
    }

    /// Drops local copies of indexes the store no longer has.
    func forgetIndexes(except names: Set<Digest>) { cache.keepOnly(names) }

    /// Opens one index from the store's own bytes, whatever the cache holds.
    func openStoredIndex(_ name: Digest) throws -> MappedIndex { try cache.reopen(name, from: store) }

    /// Opens every index for a backup: chunks in packs that are missing, have another size or are condemned count as
    /// unknown. The caller holds a lease since before this call (docs/decisions/0007-two-phase-deletion.md).
    package func openIndexesForWriting() throws -> IndexSet {
        // Condemned packs first: what is condemned later is deleted only after the caller's lease has ended.
        let condemned = try condemnedPacks()
        return try openIndexes { isPresent, name in
            PruneRules.mayReuse(isPresent: isPresent, isCondemned: condemned.contains(name))
        }
    }

    /// Opens every index: chunks in packs that are missing or have another size count as unknown.
    package func openIndexesOfPresentPacks() throws -> IndexSet {
        try openIndexes { isPresent, _ in isPresent }
    }

    private func openIndexes(_ isUsable: (_ isPresent: Bool, _ name: Digest) -> Bool) throws -> IndexSet {
        var indexes = try openIndexes()
        var present: [Digest: UInt64] = [:]
        for object in try store.listAll(prefix: RepositoryLayout.packPrefix) {
            if let name = RepositoryLayout.packName(object.key) { present[name] = object.size }
        }
        indexes.restrict { name, size in isUsable(present[name] == size, name) }
        return indexes
    }

    /// Reads a whole object that is not named by its digest, as it was given to `save`. `limit` in bytes.
    package func load(_ key: ObjectKey, limit: UInt64 = documentLimit) throws -> [UInt8] {
        try store.get(key, limit: limit)
    }

    /// Stores a small object that is not named by its digest (leases, pins, lists of condemned packs), replacing one
    /// of that name.
    package func save(_ bytes: [UInt8], as key: ObjectKey) throws {
        try bytes.withUnsafeBytes { try store.put(key, [$0]) }
    }

    /// Maps an index over `packs` without storing it in the repository.
    func mapIndex(_ packs: [PackContents]) throws -> MappedIndex {
        try IndexFormat.encode(packs, salt: (0, 0)).withUnsafeBytes { try cache.map($0) }
    }

    /// Stores an index over `packs` and maps it.
    package func storeIndex(_ packs: [PackContents]) throws -> MappedIndex {
        var generator = SystemRandomNumberGenerator()
        let bytes = IndexFormat.encode(packs, salt: (generator.next(), generator.next()))
        return try bytes.withUnsafeBytes { buffer in
            let name = BLAKE3.hash(buffer)
            try store.putNamed(RepositoryLayout.index(name), buffer)
            try cache.keep(buffer, as: name)
            return try cache.open(name, from: store)
        }
    }
}

extension ObjectStore {
    /// Stores an object whose name is the digest of its bytes. One of that name with other bytes is damaged: it is
    /// replaced, so that what was just written is what will be read.
    func putNamed(_ key: ObjectKey, _ bytes: UnsafeRawBufferPointer) throws {
        guard try !putIfAbsent(key, [bytes]) else { return }
        if try stat(key)?.size == UInt64(bytes.count), try get(key, limit: UInt64(bytes.count)).elementsEqual(bytes) {
            return
        }
        try put(key, [bytes])
    }
}
