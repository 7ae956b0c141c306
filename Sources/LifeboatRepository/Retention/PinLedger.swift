// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatStorage

/// A pin that is known to have been there: what manifests and a host's memory name it by.
package struct PinReference: Codable, Sendable, Hashable {
    package var snapshot: Digest
    /// BLAKE3 of the stored bytes of the pin.
    package var pin: Digest

    package init(snapshot: Digest, pin: Digest) {
        self.snapshot = snapshot
        self.pin = pin
    }
}

/// A signed record that a pin was taken away on purpose, stored before the pin goes. Without one, a pin that is gone was
/// removed by somebody who must not.
package struct Unpinning: Codable, Sendable, Equatable {
    package static let currentFormat = 1

    package var format: Int
    package var repositoryID: Digest
    package var stack: String
    package var snapshot: Digest
    /// BLAKE3 of the stored bytes of the pin.
    package var pin: Digest
    /// Who took it away, and when by the clock of that host.
    package var host: String
    package var time: Timestamp

    private enum CodingKeys: String, CodingKey {
        case format, stack, snapshot, pin, host, time
        case repositoryID = "repository_id"
    }

    /// Stores the record; does nothing when there is one already.
    static func store(
        _ reference: PinReference, stack: String, host: String, time: Timestamp, in repository: Repository
    ) throws {
        guard try !isRecorded(reference, stack: stack, in: repository) else { return }
        let record = Unpinning(
            format: currentFormat, repositoryID: repository.config.repositoryID, stack: stack,
            snapshot: reference.snapshot, pin: reference.pin, host: host, time: time)
        try repository.saveSigned(
            try CanonicalJSON.encode(record, pretty: true) + [UInt8(ascii: "\n")],
            as: RepositoryLayout.unpinning(stack: stack, reference))
    }

    /// Whether there is a sound record for that pin. A damaged one is no record.
    static func isRecorded(_ reference: PinReference, stack: String, in repository: Repository) throws -> Bool {
        let key = RepositoryLayout.unpinning(stack: stack, reference)
        guard try repository.exists(key) else { return false }
        do {
            try verify(key, repository)
            return true
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            return false
        }
    }

    /// Throws for a record that is damaged, unsigned, or under another name than its own.
    static func verify(_ key: ObjectKey, _ repository: Repository) throws {
        guard let name = RepositoryLayout.unpinningName(key) else {
            throw RepositoryError.damaged(key.text, "its name is not that of a record of an unpinned snapshot")
        }
        let bytes = try repository.loadSigned(key)
        guard let record = try? CanonicalJSON.decode(Unpinning.self, from: bytes), record.format == currentFormat,
            record.repositoryID == repository.config.repositoryID, record.stack == name.stack,
            record.snapshot == name.reference.snapshot, record.pin == name.reference.pin
        else { throw RepositoryError.damaged(key.text, "it is not the JSON of this record of an unpinned snapshot") }
    }
}

/// The pins of a stack: those that are there, and those that are gone though nobody took them away on purpose.
package struct PinLedger: Sendable {
    /// Snapshots with a pin.
    package private(set) var pinned: Set<Digest>
    /// Pins that are there, as manifests name them; those that cannot be read are left out.
    package private(set) var present: [PinReference] = []
    /// Pins that manifests or this host's memory name and that are gone without a record. Ascending by snapshot.
    package private(set) var vanished: [PinReference] = []
    /// All that manifests and this host's memory name.
    package private(set) var evidence: Set<PinReference>

    /// `catalog` was read before: what it and the memory name was there then. Objects that are not named like pins are
    /// passed over with `passingOverDamage`, else they throw.
    package init(
        _ repository: Repository, stack: String, _ catalog: SnapshotCatalog, passingOverDamage: Bool = false
    ) throws {
        try self.init(
            repository, stack: stack, manifests: catalog.snapshots.map(\.manifest),
            remembered: catalog.rememberedPins[stack] ?? [], passingOverDamage: passingOverDamage)
    }

    init(
        _ repository: Repository, stack: String, manifests: [Manifest], remembered: [PinReference],
        passingOverDamage: Bool
    ) throws {
        evidence = Set(remembered)
        for manifest in manifests where manifest.stack == stack { evidence.formUnion(manifest.pinned ?? []) }
        // The records after the pins: each is stored before its pin goes.
        pinned = try Pins.ids(repository, stack: stack, passingOverDamage: passingOverDamage)
        for snapshot in pinned.sorted() {
            guard let reference = try Pins.reference(repository, stack: stack, snapshot: snapshot) else { continue }
            present.append(reference)
        }
        let missing = evidence.filter { !pinned.contains($0.snapshot) }
        guard !missing.isEmpty else { return }
        var open: [PinReference] = []
        for reference in missing {
            // A host without a key cannot read the records: it goes on naming the pin.
            let isExplained =
                try repository.sealing.canRead && Unpinning.isRecorded(reference, stack: stack, in: repository)
            if !isExplained { open.append(reference) }
        }
        guard !open.isEmpty, repository.sealing.canRead else {
            vanished = Self.sorted(open)
            return
        }
        // With a snapshot that is recorded as lost its pin is, too.
        let lost = Set(try RecordCheck(repository).forgottenEntries(stack: stack).map(\.snapshot))
        vanished = Self.sorted(open.filter { !lost.contains($0.snapshot) })
    }

    private static func sorted(_ references: [PinReference]) -> [PinReference] {
        references.sorted { ($0.snapshot, $0.pin) < ($1.snapshot, $1.pin) }
    }

    /// What the next manifest names: so that neither is forgotten while it matters.
    package var references: [PinReference] { Self.sorted(Array(Set(present + vanished))) }

    /// Snapshots that retention has to keep.
    package var kept: Set<Digest> { pinned.union(vanished.map(\.snapshot)) }

    /// What is wrong, one error a snapshot.
    package func problems(stack: String) -> [LifeboatError] {
        Set(vanished.map(\.snapshot)).sorted().map { snapshot in
            LifeboatError(
                "the pin of snapshot '\(snapshot.shortHex)' of stack '\(stack)' is missing from the repository",
                causes: ["it was there, and nobody took it away with 'lifeboat unpin'; the snapshot is kept"],
                hint:
                    "Find out who removed it. 'lifeboat repair --yes' writes it anew; 'lifeboat unpin' accepts that it "
                    + "is gone.", exitCode: .damagedRepository)
        }
    }
}
