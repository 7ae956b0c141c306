// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStorage

/// What a rewrap did.
package struct RewrapOutcome: Sendable {
    package var snapshots = 0
    /// Lists of forgotten snapshots, results of drills, pins.
    package var records = 0
    package var indexes = 0
    /// Of the packs: what moved to new packs, which old ones were condemned, deleted, wait to be deleted.
    package var prune: PruneOutcome?
    /// Packs for other readers that were left for a later run.
    package var left = PrunePlan.Packs()
    /// Objects below `damaged/`, which stay as they are.
    package var setAside = 0
    /// What could not be read: exit code 13.
    package var problems: [LifeboatError] = []
}

/// Encrypts for the present recipients what was written for others, so that a new reader can read everything and a
/// removed one nothing. Every object tells in its age header for whom it was written (`Sealing.readersTag`), so a run
/// that was ended goes on where it stopped, on any host that has all the keys.
///
/// A manifest gets a new id, since ids are those of stored bytes: it is stored with `rewrapped_from`, signed by this
/// host, before the one it stands for goes. Pins move to the new id. Packs move as in a prune: new pack, new index, the
/// old pack condemned, deleted by a later prune. Blocking; one run per instance.
package struct Rewrapper {
    private let repository: Repository
    private let host: String
    private let clock: any Clock
    private let progress: any ProgressSink
    private let cancellation: Cancellation

    package init(
        _ repository: Repository, host: String, clock: any Clock, progress: any ProgressSink, cancellation: Cancellation
    ) {
        self.repository = repository
        self.host = host
        self.clock = clock
        self.progress = progress
        self.cancellation = cancellation
    }

    /// `limit`: stored bytes of packs to move at most; nil for all. `options` are those of the prune that moves them.
    package func run(limit: UInt64?, _ options: PruneOptions) throws -> RewrapOutcome {
        guard repository.sealing.isEncrypted else {
            throw LifeboatError("the repository is not encrypted: everybody can read it", exitCode: .usage)
        }
        try repository.requireTrusted()
        try repository.requireKey()
        var outcome = RewrapOutcome()
        try rewrapDocuments(options.leases, &outcome)
        let packs = try foreignPacks()
        var options = options
        options.rewrap = []
        var taken: UInt64 = 0
        for pack in packs {
            if let limit, taken > 0, taken + pack.size > limit {
                outcome.left.count += 1
                outcome.left.bytes += pack.size
                continue
            }
            taken += pack.size
            options.rewrap?.insert(pack.name)
        }
        outcome.prune = try Pruner(
            repository, host: host, options: options, clock: clock, progress: progress, cancellation: cancellation
        ).run()
        outcome.problems += outcome.prune?.problems ?? []
        outcome.setAside = try repository.store.listAll(prefix: RepositoryLayout.damagedPrefix).count
        return outcome
    }

    // MARK: - Manifests, records and indexes

    private func rewrapDocuments(_ leases: LeaseSettings, _ outcome: inout RewrapOutcome) throws {
        // As a repair: no prune runs meanwhile.
        let lease = try RepairLease.take(repository, host: host, clock: clock, settings: leases)
        defer { lease.lease.release() }
        progress.report(.phaseStarted(name: "manifests", detail: nil))
        try renewRecoveryKey()
        // First, so that none of what a run that was ended left is rewrapped a second time.
        try removeReplaced()
        for object in try repository.objects(RepositoryLayout.snapshotPrefix) {
            try attempt(object.key, &outcome) { outcome in
                if try rewrapManifest(object.key) { outcome.snapshots += 1 }
            }
        }
        for object in try repository.objects(RepositoryLayout.forgottenPrefix) {
            try attempt(object.key, &outcome) { outcome in
                guard try !isCurrent(object.key) else { return }
                var list = try ForgottenSnapshots.read(object.key, repository)
                list.rewrapped = (list.rewrapped ?? 0) &+ 1
                _ = try ForgottenSnapshots.write(list, to: repository)
                try SnapshotCatalog.remove(object.key, from: repository)
                outcome.records += 1
            }
        }
        for object in try repository.objects(RepositoryLayout.drillPrefix) {
            try attempt(object.key, &outcome) { outcome in
                if try rewrapDrill(object.key) { outcome.records += 1 }
            }
        }
        for object in try repository.objects(RepositoryLayout.pinPrefix)
            + repository.objects(RepositoryLayout.unpinnedPrefix)
        {
            try attempt(object.key, &outcome) { outcome in
                guard try !isCurrent(object.key) else { return }
                try repository.saveSigned(repository.loadSigned(object.key), as: object.key)
                outcome.records += 1
            }
        }
        progress.report(.phaseStarted(name: "indexes", detail: nil))
        let indexes = try repository.objects(RepositoryLayout.indexPrefix).filter { try !isCurrent($0.key) }
            .compactMap { RepositoryLayout.indexName($0.key) }
        guard !indexes.isEmpty else { return }
        try IndexRewriter(repository: repository).rewrite(indexes, of: repository.openEachIndex(), dropping: [])
        outcome.indexes = indexes.count
    }

    /// An object that is damaged, or for readers whose key was not given, does not end the rest.
    private func attempt(
        _ key: ObjectKey, _ outcome: inout RewrapOutcome, _ body: (inout RewrapOutcome) throws -> Void
    ) throws {
        try cancellation.check()
        do {
            try body(&outcome)
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            // Forgotten since it was listed: that is no damage.
            if try repository.exists(key) { outcome.problems.append(error) }
        } catch let error as LifeboatError where error.exitCode == .wrongKey {
            outcome.problems.append(error)
        } catch let error as StorageError where error.kind == .notFound {
            return
        }
    }

    /// True when the manifest was stored anew.
    private func rewrapManifest(_ key: ObjectKey) throws -> Bool {
        guard try !isCurrent(key) else { return false }
        let old = try SnapshotCatalog.read(key, repository)
        var manifest = old.manifest
        manifest.rewrappedFrom = (manifest.rewrappedFrom ?? []) + [old.id]
        let new = try SnapshotCatalog.commit(manifest, to: repository)
        try movePin(of: old, to: new)
        try SnapshotCatalog.remove(key, from: repository)
        // One that was pinned while it was there.
        try movePin(of: old, to: new)
        return true
    }

    /// What a run that was ended left: manifests beside those that stand for them.
    private func removeReplaced() throws {
        var present: [(key: ObjectKey, snapshot: Snapshot)] = []
        for object in try repository.objects(RepositoryLayout.snapshotPrefix) {
            do {
                present.append((object.key, try SnapshotCatalog.read(object.key, repository)))
            } catch let error as LifeboatError
                where error.exitCode == .damagedRepository || error.exitCode == .wrongKey
            {
                // Reported when it was to be rewrapped, or by check.
                continue
            }
        }
        var replacements: [Digest: Snapshot] = [:]
        for (_, snapshot) in present {
            for old in snapshot.manifest.rewrappedFrom ?? [] { replacements[old] = snapshot }
        }
        for (key, snapshot) in present {
            guard let new = replacements[snapshot.id] else { continue }
            try movePin(of: snapshot, to: new)
            try SnapshotCatalog.remove(key, from: repository)
            try movePin(of: snapshot, to: new)
        }
    }

    private func movePin(of old: Snapshot, to new: Snapshot) throws {
        let stack = old.manifest.stack
        guard try repository.exists(RepositoryLayout.pin(stack: stack, snapshot: old.id)) else { return }
        var pin = Pin(
            repositoryID: repository.config.repositoryID, stack: stack, snapshot: new.id, host: host,
            created: clock.now(), note: nil)
        do {
            if let known = try Pins.read(repository, stack: stack, snapshot: old.id) { pin = known }
        } catch let error as LifeboatError
            where error.exitCode == .damagedRepository || error.exitCode == .wrongKey
        {
            // The name alone pins: in place of one that cannot be read there is a new one.
        }
        pin.snapshot = new.id
        _ = try Pins.add(pin, for: new, to: repository)
        _ = try Pins.remove(repository, stack: stack, snapshot: old.id, host: host, time: clock.now())
    }

    private func rewrapDrill(_ key: ObjectKey) throws -> Bool {
        guard try !isCurrent(key) else { return false }
        let record = try DrillRecords.read(key, repository)
        guard let name = RepositoryLayout.drillName(key), let time = RepositoryLayout.time(of: key) else {
            throw RepositoryError.damaged(key.text, "its name is not that of a drill's result")
        }
        _ = try DrillRecords.store(record.bytes, stack: name.stack, time: time, to: repository)
        try SnapshotCatalog.remove(key, from: repository)
        return true
    }

    /// Recovery keys for other readers are worth nothing since the readers changed; one that `config.json` still names
    /// is replaced.
    private func renewRecoveryKey() throws {
        let objects = try RecoveryKey.list(repository.store)
        let foreign = try objects.filter { try !repository.isForPresentReaders($0) }
        guard !foreign.isEmpty else { return }
        if foreign.count == objects.count {
            try repository.replaceConfig(repository.config, renewingRecoveryKey: true)
        } else {
            for object in foreign { _ = try repository.store.delete(object) }
        }
    }

    // MARK: - Packs

    /// Packs that were written for other readers, in the order of their names.
    private func foreignPacks() throws -> [(name: Digest, size: UInt64)] {
        progress.report(.phaseStarted(name: "packs", detail: nil))
        let condemned = try repository.condemnedPacks()
        var packs: [(name: Digest, size: UInt64)] = []
        for object in try repository.objects(RepositoryLayout.packPrefix) {
            try cancellation.check()
            guard let name = RepositoryLayout.packName(object.key), !condemned.contains(name) else { continue }
            do {
                if try !isCurrent(object.key) { packs.append((name, object.size)) }
            } catch let error as StorageError where error.kind == .notFound {
                // Deleted by a prune since it was listed.
                continue
            }
        }
        return packs
    }

    private func isCurrent(_ key: ObjectKey) throws -> Bool {
        try repository.isForPresentReaders(repository.sealing.storedKey(key))
    }
}

extension Repository {
    /// Whether the age header of a stored object says that it was written for the present recipients, all of them and
    /// nobody else. Reads the start of the object.
    func isForPresentReaders(_ stored: ObjectKey) throws -> Bool {
        guard let info = try store.stat(stored) else { throw StorageError(.notFound, "get", stored.text) }
        var length = min(info.size, SealedReads.headerGuess)
        while true {
            var start = [UInt8](repeating: 0, count: Int(length))
            try start.withUnsafeMutableBytes { try store.read(stored, at: 0, into: $0) }
            do {
                let tag = try start.withUnsafeBytes { try AgeReaders.tag(in: $0) }
                return tag == sealing.readersTag
            } catch let error as AgeError {
                // A header that is no header is for nobody.
                guard case .needMore = error, length < info.size, length < SealedReads.headerLimit else { return false }
                length = min(info.size, length * 8)
            }
        }
    }
}
