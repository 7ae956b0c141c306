// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatStorage

/// A pin: retention never removes the snapshot it names. An object of its own, because manifests never change.
package struct Pin: Codable, Sendable, Equatable {
    package static let currentFormat = 1

    package var format: Int
    package var repositoryID: Digest
    package var stack: String
    package var snapshot: Digest
    /// Who pinned it, when, and why.
    package var host: String
    package var created: Timestamp
    package var note: String?

    private enum CodingKeys: String, CodingKey {
        case format, stack, snapshot, host, created, note
        case repositoryID = "repository_id"
    }

    package init(
        repositoryID: Digest, stack: String, snapshot: Digest, host: String, created: Timestamp, note: String?
    ) {
        format = Self.currentFormat
        self.repositoryID = repositoryID
        self.stack = stack
        self.snapshot = snapshot
        self.host = host
        self.created = created
        self.note = note
    }
}

/// The pins of a repository. The name of a pin alone makes it count: one whose content is damaged still pins.
package enum Pins {
    /// Largest pin that is read, in bytes.
    private static let limit: UInt64 = 1 << 20

    /// Ids of the pinned snapshots of a stack. Throws when something there is not named like a pin: what was meant to be
    /// kept would not be known.
    package static func ids(
        _ repository: Repository, stack: String, passingOverDamage: Bool = false
    ) throws -> Set<Digest> {
        Set(try names(repository, stack: stack, passingOverDamage: passingOverDamage).map(\.snapshot))
    }

    /// Stack and snapshot of every pin; of one stack, or of all. Throws for something that is not named like a pin, unless
    /// such are passed over.
    package static func names(
        _ repository: Repository, stack: String? = nil, passingOverDamage: Bool = false
    ) throws -> [(stack: String, snapshot: Digest)] {
        let prefix = RepositoryLayout.pinPrefix + (stack.map { "\($0)/" } ?? "")
        return try repository.objects(prefix).compactMap { object in
            guard let name = RepositoryLayout.pinName(object.key) else {
                if passingOverDamage { return nil }
                throw RepositoryError.damaged(object.key.text, "its name is not that of a pin")
            }
            return name
        }
    }

    /// How manifests name the pin of a snapshot; nil when there is none, or none that can be read.
    package static func reference(
        _ repository: Repository, stack: String, snapshot: Digest
    ) throws -> PinReference? {
        let key = repository.sealing.storedKey(RepositoryLayout.pin(stack: stack, snapshot: snapshot))
        do throws(StorageError) {
            return PinReference(snapshot: snapshot, pin: BLAKE3.hash(try repository.store.get(key, limit: limit)))
        } catch {
            guard error.kind == .notFound || error.kind == .full else { throw error.lifeboatError }
            return nil
        }
    }

    /// Nil when there is no such pin. Throws for one that is damaged or not signed.
    package static func read(_ repository: Repository, stack: String, snapshot: Digest) throws -> Pin? {
        let key = RepositoryLayout.pin(stack: stack, snapshot: snapshot)
        guard try repository.exists(key) else { return nil }
        let bytes = try repository.loadSigned(key, limit: limit)
        guard let pin = try? CanonicalJSON.decode(Pin.self, from: bytes), pin.snapshot == snapshot,
            pin.stack == stack, pin.repositoryID == repository.config.repositoryID
        else { throw RepositoryError.damaged(key.text, "it is not the JSON of this pin") }
        return pin
    }

    /// Pins a snapshot; false when it was pinned already, and stays as it was. Throws when the snapshot was removed
    /// meanwhile.
    package static func add(_ pin: Pin, for snapshot: Snapshot, to repository: Repository) throws -> Bool {
        let key = RepositoryLayout.pin(stack: pin.stack, snapshot: pin.snapshot)
        let isNew = try !repository.exists(key)
        if isNew {
            try repository.saveSigned(try CanonicalJSON.encode(pin, pretty: true) + [UInt8(ascii: "\n")], as: key)
        }
        // After the pin is there no retention begins to remove it; one at work may just have done so.
        let manifest = RepositoryLayout.manifest(
            stack: pin.stack, time: snapshot.manifest.frozen, id: snapshot.id)
        guard try repository.exists(manifest) else {
            if isNew { _ = try repository.delete(key) }
            throw LifeboatError("snapshot '\(pin.snapshot.shortHex)' was removed just now, and cannot be pinned")
        }
        if let reference = try reference(repository, stack: pin.stack, snapshot: pin.snapshot) {
            repository.remember(reference, stack: pin.stack)
        }
        return isNew
    }

    /// Takes a pin away, after signed records that say so: of the pin that is there, and of every other that `known`
    /// names for this snapshot. False when there was none and none was known.
    package static func remove(
        _ repository: Repository, stack: String, snapshot: Digest, known: Set<PinReference> = [], host: String,
        time: Timestamp
    ) throws -> Bool {
        try repository.requireTrusted()
        var references = known.filter { $0.snapshot == snapshot }
        if let present = try reference(repository, stack: stack, snapshot: snapshot) { references.insert(present) }
        for reference in references.sorted(by: { $0.pin < $1.pin }) {
            try Unpinning.store(reference, stack: stack, host: host, time: time, in: repository)
        }
        let key = RepositoryLayout.pin(stack: stack, snapshot: snapshot)
        let wasThere = try repository.delete(key)
        _ = try repository.store.delete(RepositoryLayout.signature(of: repository.sealing.storedKey(key)))
        repository.forgetPins(of: snapshot, stack: stack)
        return wasThere || !references.isEmpty
    }
}
