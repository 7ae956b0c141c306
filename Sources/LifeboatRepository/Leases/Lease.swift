// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO
import LifeboatStorage

/// How leases are renewed and when they count as dead.
package struct LeaseSettings: Sendable, Equatable {
    /// Seconds between two renewals.
    package var renewal: Double
    /// A lease is dead when it was not renewed for so many seconds of the observer's own monotonic clock.
    package var deadAfter: Double
    /// A manifest that a dead backup announced counts as a reference for so many more seconds: whoever is stopped
    /// between announcing and committing, and goes on within that time, still makes a whole snapshot.
    package var announcedManifestLifetime: Double

    package init(
        renewal: Double = 60, deadAfter: Double = 30 * 60, announcedManifestLifetime: Double = 7 * 86_400
    ) {
        self.renewal = renewal
        self.deadAfter = deadAfter
        self.announcedManifestLifetime = announcedManifestLifetime
    }
}

/// A lease that is held: tells every prune that this process works on the repository. Renewed by a thread of its own
/// until it is released. Thread-safe; calls block.
package final class Lease: Sendable {
    private struct State {
        var counter: UInt64 = 0
        var isReleased = false
        var announced = false
    }

    package let record: LeaseRecord
    private let repository: Repository
    private let state = Monitor(State())

    /// Takes a lease. From when this returns, what the holder then finds uncondemned stays until the lease ends.
    package static func take(
        _ kind: LeaseKind, _ repository: Repository, host: String, settings: LeaseSettings = LeaseSettings()
    ) throws -> Lease {
        let lease = Lease(repository, LeaseRecord(id: .random(), kind: kind, host: host))
        do {
            try lease.renew()
            try repository.save(
                CanonicalJSON.encode(lease.record, pretty: true) + [0x0A],
                as: RepositoryLayout.lease(lease.record.id, .record))
        } catch {
            // A put that failed may have had its effect.
            _ = lease.release()
            throw error
        }
        _ = BlockingThread<Void>(name: "lease", stackSize: 256 << 10) { [weak lease] in
            var waited = 0.0
            while true {
                let step = min(1, settings.renewal)
                // Real time, whatever clock the holder was given: a renewal is for others.
                SystemClock().sleep(seconds: step)
                guard let lease, !lease.isReleased else { return }
                waited += step
                guard waited >= settings.renewal else { continue }
                // A renewal that fails is tried again in a second. If none gets through, somebody may count the lease
                // as dead; `announce` finds out before anything is committed.
                if (try? lease.renew()) != nil { waited = 0 }
            }
        }
        return lease
    }

    /// A lease for a command that only reads. Nil when the store takes no writes (a read-only copy, a full disk):
    /// reading goes on without, and a pack that is deleted meanwhile is an error then, never wrong data.
    package static func takeForReading(
        _ repository: Repository, host: String, settings: LeaseSettings = LeaseSettings()
    ) throws -> Lease? {
        do {
            return try take(.read, repository, host: host, settings: settings)
        } catch let error as StorageError where error.kind == .denied || error.kind == .full {
            return nil
        }
    }

    private init(_ repository: Repository, _ record: LeaseRecord) {
        self.repository = repository
        self.record = record
    }

    private var isReleased: Bool { state.withLock { $0.isReleased } }

    /// Changes the beat. With the lock held: once `release` has it, nothing is written any more.
    private func renew() throws {
        try state.withLock { state throws in
            guard !state.isReleased else { return }
            state.counter += 1
            let bytes = Array("\(state.counter)\n".utf8)
            try bytes.withUnsafeBytes {
                try repository.store.put(repository.storedKey(record.id, .beat), [$0])
            }
        }
    }

    /// Announces the manifest that is about to be committed, and makes sure that the lease was not counted as dead
    /// before: then every prune that deletes from now on keeps what the manifest refers to, however long this process
    /// is stopped between here and the commit. Throws `busy` when it comes too late.
    package func announce(_ manifest: Manifest) throws {
        state.withLock { $0.announced = true }
        try repository.save(
            CanonicalJSON.encode(manifest), as: RepositoryLayout.lease(record.id, .pending))
        guard try repository.store.stat(repository.storedKey(record.id, .broken)) == nil else {
            throw LifeboatError(
                "the backup was stopped for so long that a prune counted it as dead",
                causes: ["what it refers to may be deleted by now; no snapshot was made"],
                hint: "Run the backup again.", exitCode: .busy)
        }
    }

    /// Throws `busy` when somebody counted the lease as dead.
    package func checkAlive() throws {
        guard try repository.store.stat(repository.storedKey(record.id, .broken)) == nil else {
            throw LifeboatError(
                "this process was stopped for so long that another one counted it as dead",
                hint: "Run the command again.", exitCode: .busy)
        }
    }

    /// Ends the lease. Gives what went wrong, which matters little: a lease nobody renews dies by itself. Idempotent.
    @discardableResult
    package func release() -> LifeboatError? {
        let announced = state.withLock { state -> Bool? in
            guard !state.isReleased else { return nil }
            state.isReleased = true
            return state.announced
        }
        guard let announced else { return nil }
        var failure: LifeboatError?
        // The record last but for the mark of death, whose owner is gone with it.
        let parts: [LeasePart] = announced ? [.pending, .beat, .record, .broken] : [.beat, .record, .broken]
        for part in parts {
            do throws(StorageError) {
                _ = try repository.store.delete(repository.storedKey(record.id, part))
            } catch {
                if failure == nil { failure = error.lifeboatError.wrapped("the lease could not be given back") }
            }
        }
        return failure
    }
}

extension Repository {
    /// The name in the store of a part of a lease. Beats and marks of death hold nothing worth hiding, and are as small
    /// as can be, so that they fit on a full disk: they are never encrypted.
    func storedKey(_ id: LeaseID, _ part: LeasePart) -> ObjectKey {
        let key = RepositoryLayout.lease(id, part)
        return switch part {
        case .record, .pending: sealing.storedKey(key)
        case .beat, .broken: key
        }
    }
}
