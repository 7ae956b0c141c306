// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatFormats
import LifeboatIO
package import LifeboatStorage

/// An open repository: its store, its configuration, its keys, its local cache. Thread-safe; calls block.
///
/// Everything above it names objects without `.age`: reading and writing through a repository wraps and unwraps them.
package struct Repository: Sendable {
    package let store: any ObjectStore
    package let config: RepositoryConfig
    package let sealing: Sealing
    /// The pack as the storage names it, for people.
    func packName(_ pack: Digest) -> String { sealing.storedKey(RepositoryLayout.pack(pack)).text }
    /// What this host signs with and remembers; nil where nothing is signed (a repository without signers).
    package let trust: HostTrust?
    /// Why this host must not write there; nil when it may.
    package let distrust: LifeboatError?
    let local: LocalCopies
    /// This repository's folder in the local cache: also for what is too large for memory.
    package var cacheFolder: String { local.folder }
    private let cache: IndexCache
    private let sealedReads = SealedReads()

    /// Largest `config.json` and manifest that is read, in bytes.
    package static let documentLimit: UInt64 = 64 << 20
    /// No pack is larger, whatever the chunker's parameters; bytes.
    private static let packLimit: UInt64 = 1 << 30

    /// Creates a repository where there is none: README.txt first, config.json last, since that one makes it exist.
    /// Without recipients it is not encrypted. With `trust` it is signed by this host, `host` by name, whose key is
    /// made when there is none. `beforeConfig` stores what has to be there when the repository begins to exist.
    package static func create(
        in store: any ObjectStore, chunker: ChunkerParameters = ChunkerParameters(), recipients: [AgeRecipient] = [],
        trust: HostTrust? = nil, host: String = "", clock: any Clock, beforeConfig: () throws -> Void = {}
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
        let key = try trust?.signingKeyCreating()
        let recovery = try key == nil || recipients.isEmpty ? nil : RecoveryKey.make(for: recipients)
        let config = RepositoryConfig(
            repositoryID: id, created: clock.now(), chunker: chunker, recipients: recipients,
            signers: (key.map { [RepositoryConfig.Signer(host: host, key: $0.publicKey.text)] } ?? [])
                + (recovery.map { [$0.signer] } ?? []))
        try Array(RepositoryReadme.text.utf8).withUnsafeBytes { try store.put(RepositoryLayout.readme, [$0]) }
        try beforeConfig()
        try recovery?.store(in: store)
        let bytes = try config.encoded()
        if let key { try storeSignature(of: bytes, config, key, in: store) }
        guard try bytes.withUnsafeBytes({ try store.putIfAbsent(RepositoryLayout.config, [$0]) }) else {
            throw LifeboatError("another process created a repository at '\(store.properties.location)' just now")
        }
        let stored = try RepositoryConfig(decoding: store.get(RepositoryLayout.config, limit: documentLimit))
        if let trust {
            try ConfigTrust.remember(
                stored, digest: BLAKE3.hash(bytes), at: store.properties.location, trust)
        }
        return stored
    }

    private static func storeSignature(
        of bytes: [UInt8], _ config: RepositoryConfig, _ key: MinisignSecretKey, in store: any ObjectStore
    ) throws {
        let signature = try Signing.signature(
            of: bytes, key, comment: "lifeboat repository \(config.repositoryID.shortHex) config")
        _ = try signature.withUnsafeBytes {
            try store.putIfAbsent(RepositoryLayout.configSignature(BLAKE3.hash(bytes)), [$0])
        }
    }

    /// Replaces the configuration: who can read and who signs. Needs the signature of a key the repository trusts.
    ///
    /// When the readers change, or with `renewingRecoveryKey`, a new recovery key takes the place of the old one: the
    /// new readers can open it, and a removed one can open only what nobody trusts any more.
    package func replaceConfig(_ changed: RepositoryConfig, renewingRecoveryKey: Bool = false) throws {
        try requireTrusted()
        guard let trust, let key = try Signing.key(trust, config) else {
            throw LifeboatError("the configuration of a repository without signers cannot be changed")
        }
        var changed = changed
        var recovery: RecoveryKey.Fresh?
        if !changed.recipients.isEmpty, renewingRecoveryKey || changed.recipients != config.recipients {
            let fresh = try RecoveryKey.make(for: changed.ageRecipients())
            changed.signers.removeAll(where: \.isRecovery)
            changed.signers.append(fresh.signer)
            try fresh.store(in: store)
            recovery = fresh
        }
        try store(changed, signedBy: key, trust)
        if let recovery { try RecoveryKey.removeOthers(than: recovery.object, from: store) }
    }

    /// Stores a configuration: its signature first, which means nothing without it.
    func store(_ changed: RepositoryConfig, signedBy key: MinisignSecretKey, _ trust: HostTrust) throws {
        let bytes = try changed.encoded()
        try Self.storeSignature(of: bytes, changed, key, in: store)
        try bytes.withUnsafeBytes { try store.put(RepositoryLayout.config, [$0]) }
        try ConfigTrust.remember(changed, digest: BLAKE3.hash(bytes), at: store.properties.location, trust)
    }

    /// Opens the repository in `store`. `cacheRoot` is the local folder for copies of indexes; `keys` open what is
    /// encrypted. With `trust` the configuration is held against what this host knows, see `distrust`.
    package static func open(
        _ store: any ObjectStore, cacheRoot: String, keys: [AgeKey] = [], trust: HostTrust? = nil
    ) throws -> Repository {
        let bytes = try configBytes(store, cacheRoot: cacheRoot)
        let config: RepositoryConfig
        do {
            config = try RepositoryConfig(decoding: bytes)
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            throw RepositoryError.damagedConfig(error.summary, cacheRoot: cacheRoot)
        }
        let sealing = Sealing(recipients: try config.ageRecipients(), keys: keys)
        let distrust = try trust.flatMap { try ConfigTrust.distrust(bytes, config, in: store, $0) }
        let folder = "\(cacheRoot)/\(config.repositoryID.hex.prefix(32))"
        let health = CacheHealth()
        let cache = IndexCache(folder: folder, sealing, health)
        // Not one that somebody unknown has written.
        if distrust == nil { cache.keepConfig(bytes) }
        return Repository(
            store: store, config: config, sealing: sealing, trust: trust, distrust: distrust,
            local: LocalCopies(folder: folder, health: health), cache: cache)
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

    private init(
        store: any ObjectStore, config: RepositoryConfig, sealing: Sealing, trust: HostTrust?,
        distrust: LifeboatError?, local: LocalCopies, cache: IndexCache
    ) {
        self.store = store
        self.config = config
        self.sealing = sealing
        self.trust = trust
        self.distrust = distrust
        self.local = local
        self.cache = cache
    }

    private static func existing(_ store: any ObjectStore) throws -> Bool {
        try store.stat(RepositoryLayout.config) != nil
    }

    /// Throws when this host must not write to the repository: its configuration was changed by somebody unknown, or
    /// this host's key is not one the repository trusts. Called before anything is written.
    package func requireTrusted() throws {
        if let distrust { throw distrust }
        if let trust { _ = try Signing.key(trust, config) }
    }

    /// From now on this host trusts the configuration as it was opened, whatever it thought of it.
    package func acceptConfig() throws {
        guard let trust else { return }
        try ConfigTrust.remember(
            config, digest: BLAKE3.hash(config.encoded()), at: store.properties.location, trust)
    }

    /// Throws `wrongKey` when keys were given and none of them is for this repository.
    package func requireFittingKey() throws {
        guard sealing.isEncrypted, !sealing.keys.isEmpty else { return }
        let fits = sealing.keys.contains { key in
            switch key {
            case .identity(let identity): config.recipients.contains(identity.recipient.text)
            case .passphrase: true
            }
        }
        guard try !fits && !opensSomeManifest() else { return }
        throw LifeboatError(
            "the key that was given is not one of this repository's",
            causes: ["its recipients are \(config.recipients.joined(separator: ", "))"],
            hint: "Give the identity of one of them with --identity FILE.", exitCode: .wrongKey)
    }

    /// Whether the keys open a manifest although none is one of today's recipients': those of a reader that was removed
    /// open what was written before.
    private func opensSomeManifest() throws -> Bool {
        for object in try objects(RepositoryLayout.snapshotPrefix) {
            do {
                _ = try load(object.key)
                return true
            } catch {
                // For other keys, damaged, or gone by now.
                continue
            }
        }
        return false
    }

    /// Throws `wrongKey` on a host that cannot read what the repository holds.
    package func requireKey() throws {
        guard sealing.canRead else { throw Sealing.noKey() }
    }

    // MARK: objects

    /// The objects under `prefix` by the names used here, without signatures; what a repository of this kind cannot have written is left
    /// out. Sizes are those of the stored bytes.
    package func objects(_ prefix: String) throws -> [ObjectInfo] {
        try store.listAll(prefix: prefix).compactMap { object in
            guard !RepositoryLayout.isSignature(object.key) else { return nil }
            return sealing.plainKey(object.key).map { ObjectInfo(key: $0, size: object.size) }
        }
    }

    /// Reads a whole object that is not named by its digest, as it was given to `save`. `limit` in bytes.
    package func load(_ key: ObjectKey, limit: UInt64 = documentLimit) throws -> [UInt8] {
        try sealing.open(store.get(sealing.storedKey(key), limit: limit), key)
    }

    /// Stores a small object that is not named by its digest (leases, pins, lists of condemned packs), replacing one
    /// of that name.
    package func save(_ bytes: [UInt8], as key: ObjectKey) throws {
        try sealing.seal(bytes).withUnsafeBytes { try store.put(sealing.storedKey(key), [$0]) }
    }

    /// Whether there is such an object.
    package func exists(_ key: ObjectKey) throws -> Bool { try store.stat(sealing.storedKey(key)) != nil }

    /// Like `save`, with a signature of this host beside it.
    func saveSigned(_ bytes: [UInt8], as key: ObjectKey) throws {
        let sealed = try sealing.seal(bytes)
        let stored = sealing.storedKey(key)
        try Signing.storeSignature(of: sealed, stored, self, comment: "lifeboat \(key)")
        do {
            try sealed.withUnsafeBytes { try store.put(stored, [$0]) }
        } catch {
            // A signature of nothing takes room that may be what is missing; a failure to remove it changes nothing.
            _ = try? store.delete(RepositoryLayout.signature(of: stored))
            throw error
        }
    }

    /// Like `load`; throws unless it carries the signature of one of the repository's signers.
    func loadSigned(_ key: ObjectKey, limit: UInt64 = documentLimit) throws -> [UInt8] {
        let stored: [UInt8]
        do throws(StorageError) {
            stored = try store.get(sealing.storedKey(key), limit: limit)
        } catch {
            throw error.readingRepositoryObject(sealing.storedKey(key))
        }
        try Signing.verify(stored, sealing.storedKey(key), self)
        return try sealing.open(stored, key)
    }

    /// Removes an object. False when there was none.
    @discardableResult
    package func delete(_ key: ObjectKey) throws -> Bool { try store.delete(sealing.storedKey(key)) }

    /// The stored bytes of an object that is named by their digest `name`, verified against it.
    func storedBytes(_ key: ObjectKey, named name: Digest, limit: UInt64) throws -> [UInt8] {
        let bytes: [UInt8]
        do throws(StorageError) {
            bytes = try store.get(sealing.storedKey(key), limit: limit)
        } catch {
            throw error.readingRepositoryObject(sealing.storedKey(key))
        }
        guard BLAKE3.hash(bytes) == name else {
            throw RepositoryError.damaged(sealing.storedKey(key).text, "its bytes do not have the digest in its name")
        }
        return bytes
    }

    /// Fills `target` from `offset` of the object's plain bytes; reads and opens only the blocks it touches.
    func read(_ key: ObjectKey, at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws {
        if sealing.isEncrypted {
            do {
                return try sealedReads.read(key, at: offset, into: target, store, sealing)
            } catch let error as LifeboatError where error.exitCode == .wrongKey && sealing.canRead {
                // A header that rotted looks like one for other keys: the digest tells which it is.
                if let name = RepositoryLayout.packName(key) {
                    _ = try storedBytes(key, named: name, limit: Self.packLimit)
                }
                throw error
            }
        }
        do throws(StorageError) {
            try store.read(key, at: offset, into: target)
        } catch {
            throw error.readingRepositoryObject(sealing.storedKey(key))
        }
    }

    // MARK: indexes

    /// Opens every index the store lists, for finding chunks. Without a key they cannot be read: with `skippingSealed` the
    /// copies of those this host wrote are opened instead, else that throws. With `passingOverDamage` damaged ones are
    /// left out and named in the set; else the first of them throws. Those that were written for other readers are left
    /// out, and counted in `unreadable`.
    package func openIndexes(skippingSealed: Bool = false, passingOverDamage: Bool = false) throws -> IndexSet {
        try openListed(skippingSealed, passingOverDamage, skipsUnreadable: true) { try cache.open($0, from: store) }
    }

    /// Opens every index the store lists one by one, for reading all that is in them. No local copy is trusted unhashed:
    /// for whoever deletes by what they say.
    package func openEachIndex() throws -> IndexSet {
        try openListed(false, false) { try cache.openEach($0, from: store) }
    }

    /// These indexes, which the cache has sound copies of, for finding chunks and for reading all that is in them. Many
    /// of them are merged anew for that, so that a search takes a few reads and no memory at any number of them.
    func indexSet(of indexes: [MappedIndex]) throws -> IndexSet { try cache.mergingAnew(indexes, from: store) }

    /// The indexes anew, restricted to the same packs, when some local copy was damaged; nil when none was, and on a
    /// host whose copies are all there is.
    ///
    /// A chunk that cannot be found or read may be the fault of a copy that was damaged after it was checked.
    func recheckedIndexes(_ indexes: IndexSet) throws -> IndexSet? {
        guard sealing.canRead, try cache.removeDamaged(indexNames()) else { return nil }
        var fresh = try openIndexes(passingOverDamage: true)
        try fresh.restrict(like: indexes)
        return fresh
    }

    /// A prune may put a merged index in the place of others meanwhile, and a listing is no snapshot: it is repeated
    /// until it shows nothing new, so that no chunk falls between the old indexes and the new one.
    private func openListed(
        _ skippingSealed: Bool, _ passingOverDamage: Bool, skipsUnreadable: Bool = false,
        _ open: ([Digest]) throws -> IndexSet
    ) throws -> IndexSet {
        var damaged: [Digest: LifeboatError] = [:]
        var unreadable: Set<Digest> = []
        func list() throws -> [Digest] {
            try indexNames(skippingSealed).filter { damaged[$0] == nil && !unreadable.contains($0) }
        }
        var names = try list()
        var attempt = 1
        while true {
            do {
                var opened = try open(names)
                let again = try list()
                if attempt >= Self.indexListings || Set(again).isSubset(of: names) {
                    opened.unreadable = unreadable.count
                    opened.damagedIndexes = damaged.sorted { $0.key < $1.key }.map(\.value)
                    return opened
                }
                names = again
            } catch let error as LifeboatError
                where error.exitCode == .wrongKey && skipsUnreadable && sealing.canRead && attempt < Self.indexListings
            {
                unreadable.formUnion(try names.filter { try !cache.canOpen($0, from: store) })
                names = try list()
            } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                // Gone since it was listed, or really lost: a new listing tells.
                let again = try list()
                if attempt >= Self.indexListings || again == names {
                    guard passingOverDamage else { throw error }
                    let found = try damage(in: again)
                    guard !found.isEmpty else { throw error }
                    damaged.merge(found) { first, _ in first }
                    names = again.filter { damaged[$0] == nil }
                    attempt = 0
                } else {
                    names = again
                }
            }
            attempt += 1
        }
    }

    /// Those of the indexes that cannot be opened because they are damaged or gone, and why.
    private func damage(in names: [Digest]) throws -> [Digest: LifeboatError] {
        var damaged: [Digest: LifeboatError] = [:]
        for name in names {
            do {
                _ = try cache.open(name, from: store)
            } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                damaged[name] = error
            }
        }
        return damaged
    }

    /// How often indexes are listed while prunes go on replacing them.
    private static let indexListings = 10

    private func indexNames(_ skippingSealed: Bool = false) throws -> [Digest] {
        // What this host cannot read it knows by its own copies, also after a prune merged the originals: whatever
        // pack is still there as it was holds what the copy says.
        if skippingSealed, !sealing.canRead { return cache.held() }
        return try objects(RepositoryLayout.indexPrefix).compactMap { RepositoryLayout.indexName($0.key) }
    }

    /// Packs no backup may refer to any more: a prune will delete them, or has.
    package func condemnedPacks() throws -> Set<Digest> {
        Set(
            try store.listAll(prefix: RepositoryLayout.condemnedPrefix).compactMap {
                RepositoryLayout.condemnedName($0.key)
            })
    }

    /// The folder of this repository in the local cache, for what this host remembers about it.
    package var localFolder: String { cache.localFolder }

    /// Drops local copies of indexes the store no longer has.
    func forgetIndexes(except names: Set<Digest>) { cache.keepOnly(names) }

    /// Opens one index from the store's own bytes, whatever the cache holds.
    func openStoredIndex(_ name: Digest) throws -> MappedIndex { try cache.reopen(name, from: store) }

    /// Opens every index for a backup: chunks in packs that are missing, have another size or are condemned count as
    /// unknown, and so do those that only a damaged index names. The caller holds a lease since before this call
    /// (docs/decisions/0007-two-phase-deletion.md).
    package func openIndexesForWriting() throws -> IndexSet {
        // Condemned packs first: what is condemned later is deleted only after the caller's lease has ended.
        let condemned = try condemnedPacks()
        return try openIndexes(skippingSealed: true) { isPresent, name in
            PruneRules.mayReuse(isPresent: isPresent, isCondemned: condemned.contains(name))
        }
    }

    /// Opens every index: chunks in packs that are missing or have another size count as unknown, and so do those that
    /// only a damaged index names.
    package func openIndexesOfPresentPacks() throws -> IndexSet {
        try openIndexes(skippingSealed: false) { isPresent, _ in isPresent }
    }

    private func openIndexes(
        skippingSealed: Bool, _ isUsable: (_ isPresent: Bool, _ name: Digest) -> Bool
    ) throws -> IndexSet {
        var indexes = try openIndexes(skippingSealed: skippingSealed, passingOverDamage: true)
        var present = PackSizes()
        try store.listPages(prefix: RepositoryLayout.packPrefix) { page in
            for object in page {
                guard let key = sealing.plainKey(object.key), let name = RepositoryLayout.packName(key) else {
                    continue
                }
                present.append(name, object.size)
            }
        }
        present.finish()
        try indexes.restrict { name, size in isUsable(present[name] == size, name) }
        return indexes
    }

    /// Maps an index over `packs` without storing it in the repository.
    func mapIndex(_ packs: [PackContents]) throws -> MappedIndex {
        try IndexFormat.encode(packs, salt: (0, 0)).withUnsafeBytes { try cache.map($0) }
    }

    /// Stores an index over `packs` and maps it.
    package func storeIndex(_ packs: [PackContents]) throws -> MappedIndex {
        var generator = SystemRandomNumberGenerator()
        let plain = IndexFormat.encode(packs, salt: (generator.next(), generator.next()))
        let stored = try sealing.seal(plain)
        let name = BLAKE3.hash(stored)
        try stored.withUnsafeBytes { try store.putNamed(sealing.storedKey(RepositoryLayout.index(name)), $0) }
        return try cache.hold(plain, as: name)
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
