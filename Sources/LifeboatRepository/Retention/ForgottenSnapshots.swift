// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatStorage

/// A tombstone: what one run of retention removed, written before anything is deleted. It tells a gap in a host's
/// numbers that retention made from one that somebody else made.
///
/// A snapshot that has a tombstone and still exists was not removed after all: the run ended in between, or the
/// snapshot was pinned. It counts like any other.
package struct Tombstone: Codable, Sendable, Equatable {
    package static let currentFormat = 1

    package struct Entry: Codable, Sendable, Equatable {
        package var snapshot: Digest
        package var host: String
        package var sequence: UInt64
        package var previous: Digest?
        /// When its stores were frozen.
        package var time: Timestamp
        package var complete: Bool
        package var reason: String
    }

    package var format: Int
    package var repositoryID: Digest
    package var stack: String
    /// When it was written, by the clock of the host that did it.
    package var time: Timestamp
    package var host: String
    package var rules: RetentionRules
    package var timeZone: String
    /// Ascending by time, then id.
    package var snapshots: [Entry]
    /// How often it was encrypted for other readers; nil: never.
    package var rewrapped: Int?

    private enum CodingKeys: String, CodingKey {
        case format, stack, time, host, rules, snapshots, rewrapped
        case repositoryID = "repository_id"
        case timeZone = "time_zone"
    }

    /// For snapshots of one stack that were lost, and are noted as such by a repair.
    init(lost: [RepairPlan.GoneSnapshot], stack: String, repositoryID: Digest, time: Timestamp, host: String) {
        format = Self.currentFormat
        self.repositoryID = repositoryID
        self.stack = stack
        self.time = time
        self.host = host
        rules = RetentionRules()
        timeZone = "UTC"
        snapshots = lost.map {
            Entry(
                snapshot: $0.id, host: $0.host, sequence: $0.sequence, previous: nil, time: time, complete: false,
                reason: "lost")
        }
    }

    package init(_ plan: RetentionPlan, repositoryID: Digest, time: Timestamp, host: String) {
        format = Self.currentFormat
        self.repositoryID = repositoryID
        stack = plan.stack
        self.time = time
        self.host = host
        rules = plan.rules
        timeZone = plan.timeZone
        let removed = plan.decisions.filter { !$0.isKept }
        snapshots = removed.map { decision in
            let snapshot = decision.snapshot
            return Entry(
                snapshot: snapshot.id, host: snapshot.host, sequence: snapshot.sequence, previous: snapshot.previous,
                time: snapshot.time, complete: snapshot.complete, reason: decision.removal?.rawValue ?? "")
        }
        // Those that a repaired or rewrapped one stood for are named by the snapshots after them, so they have to be on the list.
        for snapshot in removed.map(\.snapshot) {
            snapshots += snapshot.earlierIDs.map {
                Entry(
                    snapshot: $0, host: snapshot.host, sequence: snapshot.sequence, previous: nil, time: snapshot.time,
                    complete: false, reason: "replaced")
            }
        }
    }
}

/// The tombstones of a repository.
package enum ForgottenSnapshots {
    /// Every tombstone, of one stack or of all, ascending by stack and time. Each is verified against the digest in its
    /// name; a damaged one throws.
    package static func read(_ repository: Repository, stack: String? = nil) throws -> [Tombstone] {
        let prefix = RepositoryLayout.forgottenPrefix + (stack.map { "\($0)/" } ?? "")
        return try repository.objects(prefix).map { try read($0.key, repository) }
    }

    static func read(_ key: ObjectKey, _ repository: Repository) throws -> Tombstone {
        guard let name = RepositoryLayout.forgottenName(key) else {
            throw RepositoryError.damaged(key.text, "its name is not that of a list of forgotten snapshots")
        }
        let bytes = try repository.loadSigned(key)
        guard BLAKE3.hash(bytes).shortHex == name.shortID else {
            throw RepositoryError.damaged(key.text, "its bytes do not have the digest in its name")
        }
        guard let tombstone = try? CanonicalJSON.decode(Tombstone.self, from: bytes),
            tombstone.format == Tombstone.currentFormat, tombstone.stack == name.stack,
            tombstone.repositoryID == repository.config.repositoryID
        else { throw RepositoryError.damaged(key.text, "it is not the JSON of this repository's forgotten snapshots") }
        return tombstone
    }

    /// Stores a tombstone and reads it back.
    static func write(_ tombstone: Tombstone, to repository: Repository) throws -> ObjectKey {
        let bytes = try CanonicalJSON.encode(tombstone, pretty: true) + [UInt8(ascii: "\n")]
        let key = RepositoryLayout.forgotten(
            stack: tombstone.stack, time: tombstone.time, id: BLAKE3.hash(bytes))
        try repository.saveSigned(bytes, as: key)
        guard try read(key, repository) == tombstone else {
            throw RepositoryError.damaged(key.text, "it does not read back as written")
        }
        return key
    }
}
