// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Whether the snapshots of a repository are all there and in order: each host numbers the ones of a stack and names
/// the one before, so that whoever can write to the storage cannot take one away or bring one back unseen.
package enum SnapshotChain {
    package struct Problem: Sendable, Equatable {
        /// The snapshot that is not as it should be, present or not.
        package var snapshot: Digest
        package var reason: String
        /// A wrong clock explains it as well: told, but no damage.
        package var isNote = false
        /// Whose it was, when it is a snapshot that is not there.
        package var gone: Gone?
    }

    package struct Gone: Sendable, Equatable {
        package var stack: String
        package var host: String
        package var sequence: UInt64
    }

    /// What is wrong; empty when nothing is. Pure.
    ///
    /// - `forgotten`: the signed lists of what retention removed. They name predecessors as manifests do, so that a gap
    ///   shows also when the snapshot after it is forgotten.
    /// - `seen`: `<stack>/<host>` → the newest snapshot this host remembers.
    package static func problems(
        _ snapshots: [Snapshot], forgotten: [Tombstone], seen: [String: HostTrust.Pin.Seen]
    ) -> [Problem] {
        var problems: [Problem] = []
        let removed = Set(forgotten.flatMap { $0.snapshots.map(\.snapshot) })
        // One that stands for another since a repair is as good as that one.
        let present = Set(snapshots.flatMap { [$0.id] + $0.manifest.earlierIDs })
        let chains = Dictionary(grouping: snapshots) { "\($0.manifest.stack)/\($0.manifest.host)" }
        for (chain, members) in chains.sorted(by: { $0.key < $1.key }) {
            let ordered = members.sorted { ($0.manifest.sequence, $0.id) < ($1.manifest.sequence, $1.id) }
            for (older, newer) in zip(ordered, ordered.dropFirst()) {
                if older.manifest.sequence == newer.manifest.sequence {
                    // A repair that has just put one in the place of the other.
                    if stands(older, for: newer) || stands(newer, for: older) { continue }
                    problems.append(
                        Problem(
                            snapshot: newer.id,
                            reason: "it has number \(newer.manifest.sequence) of \(chain), which snapshot "
                                + "\(older.id.shortHex) has too"))
                } else if older.manifest.started > newer.manifest.started {
                    problems.append(
                        Problem(
                            snapshot: newer.id,
                            reason: "it has a higher number in \(chain) than snapshot \(older.id.shortHex), but by the "
                                + "host's clock it started before it", isNote: true))
                }
            }
            for snapshot in ordered {
                guard let previous = snapshot.manifest.previous, !present.contains(previous),
                    !removed.contains(previous)
                else { continue }
                problems.append(
                    Problem(
                        snapshot: previous,
                        reason: "it came before snapshot \(snapshot.id.shortHex) of \(chain) and is gone; retention "
                            + "did not remove it",
                        gone: Gone(
                            stack: snapshot.manifest.stack, host: snapshot.manifest.host,
                            sequence: max(1, snapshot.manifest.sequence) - 1)))
            }
        }
        var named = Set(problems.map(\.snapshot))
        for list in forgotten {
            for entry in list.snapshots {
                guard let previous = entry.previous, !present.contains(previous), !removed.contains(previous),
                    named.insert(previous).inserted
                else { continue }
                problems.append(
                    Problem(
                        snapshot: previous,
                        reason: "it came before snapshot \(entry.snapshot.shortHex) of \(list.stack)/\(entry.host), "
                            + "which retention removed, and is gone; retention did not remove it",
                        gone: Gone(stack: list.stack, host: entry.host, sequence: max(1, entry.sequence) - 1)))
            }
        }
        for (chain, newest) in seen.sorted(by: { $0.key < $1.key })
        where !present.contains(newest.snapshot) && !removed.contains(newest.snapshot)
            && !named.contains(newest.snapshot)
        {
            // Told already when a later one names it as its predecessor.
            let isNamed = chains[chain]?.contains { $0.manifest.previous == newest.snapshot } ?? false
            guard !isNamed else { continue }
            problems.append(
                Problem(
                    snapshot: newest.snapshot,
                    reason: "this host has seen it as number \(newest.sequence) of \(chain), and it is gone; retention "
                        + "did not remove it",
                    gone: Gone(
                        stack: String(chain.prefix { $0 != "/" }),
                        host: String(chain.drop { $0 != "/" }.dropFirst()), sequence: newest.sequence)))
        }
        return problems
    }
}

extension SnapshotChain {
    /// Whether a repair or a rewrap made one of the other.
    private static func stands(_ snapshot: Snapshot, for other: Snapshot) -> Bool {
        snapshot.manifest.earlierIDs.contains(other.id)
    }
}

extension SnapshotCatalog {
    /// What `SnapshotChain` finds in the whole repository. `seen`: what this host remembered before the manifests were
    /// listed.
    package static func chainProblems(
        _ snapshots: [Snapshot], forgotten: [Tombstone], _ repository: Repository,
        seen: [String: HostTrust.Pin.Seen]
    ) throws -> [SnapshotChain.Problem] {
        SnapshotChain.problems(snapshots, forgotten: forgotten, seen: seen)
    }

    /// `<stack>/<host>` → the newest snapshot this host remembers. Read before manifests are listed: a snapshot that
    /// this host commits in between is in the listing or not remembered yet, never missed.
    package static func seen(_ repository: Repository) throws -> [String: HostTrust.Pin.Seen] {
        try repository.trust?.pin(repository.config.repositoryID)?.newest ?? [:]
    }
}
