// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// The decisions that make deletion safe, without any I/O: docs/decisions/0007-two-phase-deletion.md argues why, and
/// PruneModelTests tries every order of events on small histories.
package enum PruneRules {
    /// Whether a backup may refer to chunks in a pack. `isCondemned` was asked after the backup's lease was taken.
    package static func mayReuse(isPresent: Bool, isCondemned: Bool) -> Bool { isPresent && !isCondemned }

    /// One pack that holds a certain chunk.
    package struct Candidate: Sendable {
        package var name: Digest
        package var isPresent: Bool
        package var isCondemned: Bool
        /// Bytes in the pack that some manifest needs: keep what is needed anyway.
        package var neededBytes: UInt64

        package init(name: Digest, isPresent: Bool, isCondemned: Bool, neededBytes: UInt64) {
            self.name = name
            self.isPresent = isPresent
            self.isCondemned = isCondemned
            self.neededBytes = neededBytes
        }
    }

    /// Which of the packs that hold a needed chunk whole are kept for its sake; empty when none is there. One that is
    /// not condemned suffices. When all are condemned, all stay: two prunes that each chose one could choose
    /// differently, and delete both. Where deltas come in, `DeltaGraph` says the same of chains.
    package static func keepers(among candidates: [Candidate]) -> [Int] {
        let present = candidates.indices.filter { candidates[$0].isPresent }
        let reliable = present.filter { !candidates[$0].isCondemned }
        let best = reliable.min { left, right in
            let (left, right) = (candidates[left], candidates[right])
            if left.neededBytes != right.neededBytes { return left.neededBytes > right.neededBytes }
            return left.name < right.name
        }
        return best.map { [$0] } ?? present
    }

    /// Whether a pack that nothing needs may be condemned now. While a backup runs it may be one the backup has just
    /// written. Condemning that would be safe, but the next backup would have to store its chunks again.
    package static func mayCondemn(isNeeded: Bool, backupsRun: Bool, isOlderThanTheirLeases: Bool) -> Bool {
        !isNeeded && (!backupsRun || isOlderThanTheirLeases)
    }

    /// Whether the marks of a batch of packs are old enough: no lease that was there when they had been made is left,
    /// and the grace period has passed.
    package static func isCleared(
        leasesThen: Set<LeaseID>, leasesNow: Set<LeaseID>, waited: Double, grace: Double
    ) -> Bool {
        waited >= grace && leasesThen.isDisjoint(with: leasesNow)
    }

    /// Whether a pack may be deleted. All of it was found out after the leases were looked at: `isNeeded` by reading
    /// every manifest, `readersRun` after that.
    package static func mayDelete(isCondemned: Bool, isCleared: Bool, isNeeded: Bool, readersRun: Bool) -> Bool {
        isCondemned && isCleared && !isNeeded && !readersRun
    }

    /// Whether the mark of a condemned pack may go: only when nobody can come upon the pack's name any more.
    package static func mayForget(isPresent: Bool, isNamedByIndex: Bool) -> Bool { !isPresent && !isNamedByIndex }
}
