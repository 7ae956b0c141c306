// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatStorage

/// A snapshot that was there and is not, though no signed list of forgotten snapshots says why.
package struct MissingSnapshot: Sendable, Equatable {
    package var id: Digest
    package var stack: String
    package var host: String
    /// Its number among the snapshots of the stack and host.
    package var sequence: UInt64
    /// None that is there of the same stack and host is newer.
    package var isNewest: Bool

    package init(id: Digest, stack: String, host: String, sequence: UInt64, isNewest: Bool) {
        self.id = id
        self.stack = stack
        self.host = host
        self.sequence = sequence
        self.isNewest = isNewest
    }

    /// As an error to print, with the ways out of it.
    package var error: LifeboatError {
        LifeboatError(
            isNewest
                ? "a newer snapshot of stack '\(stack)' is missing from the repository"
                : "a snapshot of stack '\(stack)' is missing from the repository",
            causes: [
                "snapshot \(id.shortHex), number \(sequence) of host '\(host)', was there; retention did not remove it"
            ],
            hint: "Find out who removed it, and bring it back from a copy of the repository. If there is none, "
                + "'lifeboat repair --snapshots' records it as lost.", exitCode: .damagedRepository)
    }
}

extension SnapshotCatalog {
    /// The newest snapshots of the stacks in the catalog that this host remembers and that are gone without an
    /// explanation. `stack`: of that one only. Reads lists of forgotten snapshots only when one may be missing.
    package func missingNewest(_ repository: Repository, stack: String? = nil) throws -> [MissingSnapshot] {
        let present = Set(snapshots.flatMap { [$0.id] + $0.manifest.earlierIDs })
        var missing: [MissingSnapshot] = []
        for (chain, seen) in remembered.sorted(by: { $0.key < $1.key }) {
            let owner = String(chain.prefix { $0 != "/" })
            let host = String(chain.drop { $0 != "/" }.dropFirst())
            guard stack == nil || owner == stack, !present.contains(seen.snapshot),
                // Damaged, or for other readers: there it is.
                !listed.contains(seen.snapshot.shortHex),
                newest(stack: owner, host: host)?.manifest.sequence ?? 0 < seen.sequence
            else { continue }
            missing.append(
                MissingSnapshot(
                    id: seen.snapshot, stack: owner, host: host, sequence: seen.sequence, isNewest: true))
        }
        if !missing.isEmpty, !repository.sealing.canRead {
            // Rewrapped manifests cannot be read here; their signatures say which snapshots they are.
            var former: Set<String> = []
            for stack in Set(missing.map(\.stack)) {
                former.formUnion(try Self.formerShortIDs(repository, stack: stack))
            }
            missing.removeAll { former.contains($0.id.shortHex) }
        }
        return try unexplained(missing, repository)
    }

    /// Every snapshot of the stacks in the catalog that is known to have been there and is gone without an explanation.
    /// `stack`: of that one only.
    package func missing(_ repository: Repository, stack: String? = nil) throws -> [MissingSnapshot] {
        var missing = try missingNewest(repository, stack: stack)
        let present = Set(snapshots.flatMap { [$0.id] + $0.manifest.earlierIDs })
        var gaps: [MissingSnapshot] = []
        for snapshot in snapshots where stack == nil || snapshot.manifest.stack == stack {
            guard let previous = snapshot.manifest.previous, !present.contains(previous),
                !listed.contains(previous.shortHex), !missing.contains(where: { $0.id == previous })
            else { continue }
            gaps.append(
                MissingSnapshot(
                    id: previous, stack: snapshot.manifest.stack, host: snapshot.manifest.host,
                    sequence: max(1, snapshot.manifest.sequence) - 1, isNewest: false))
        }
        // The lists after the manifests: each is written before one goes. They name predecessors, too.
        let lists = try RecordCheck(repository).tombstones(stack: stack)
        for list in lists {
            for entry in list.snapshots {
                guard let previous = entry.previous, !present.contains(previous), !listed.contains(previous.shortHex)
                else { continue }
                gaps.append(
                    MissingSnapshot(
                        id: previous, stack: list.stack, host: entry.host, sequence: max(1, entry.sequence) - 1,
                        isNewest: false))
            }
        }
        let forgotten = Set(lists.flatMap { $0.snapshots.map(\.snapshot) })
        var told = Set(missing.map(\.id))
        missing += gaps.filter { !forgotten.contains($0.id) && told.insert($0.id).inserted }
        return missing
    }

    /// Those that no signed list names. The lists are read after the manifests: each is written before one goes.
    private func unexplained(_ missing: [MissingSnapshot], _ repository: Repository) throws -> [MissingSnapshot] {
        guard !missing.isEmpty else { return [] }
        let forgotten = try RecordCheck(repository).forgotten()
        return missing.filter { !forgotten.contains($0.id) }
    }
}

/// The place of the next snapshot of a stack and host: its number, and the snapshot it names as the one before.
package struct ChainPosition: Sendable, Equatable {
    package var sequence: UInt64
    package var previous: Digest?

    package init(sequence: UInt64, previous: Digest?) {
        self.sequence = sequence
        self.previous = previous
    }

    /// After the highest number that is known: of the newest snapshot that is there, of the one this host remembers,
    /// and of those that signed lists name. When the newest is gone, the next one still names it, so that every host
    /// sees the gap from then on. Pure.
    ///
    /// `damaged`: how many manifests cannot be read. Where this host remembers none they may be its newest ones, so their
    /// numbers are left free: no number is given twice. Throws for a number that has no successor.
    package static func next(
        after newest: Snapshot?, remembered: HostTrust.Pin.Seen?, forgotten: [Tombstone.Entry] = [], damaged: Int = 0
    ) throws -> ChainPosition {
        var last = newest.map { HostTrust.Pin.Seen(sequence: $0.manifest.sequence, snapshot: $0.id) }
        let others =
            [remembered].compactMap(\.self)
            + forgotten.map { HostTrust.Pin.Seen(sequence: $0.sequence, snapshot: $0.snapshot) }
        for other in others where other.sequence > last?.sequence ?? 0 { last = other }
        let step = 1 + (remembered == nil ? UInt64(clamping: damaged) : 0)
        guard let last else { return ChainPosition(sequence: step, previous: nil) }
        let (sequence, overflows) = last.sequence.addingReportingOverflow(step)
        guard !overflows else {
            throw LifeboatError(
                "snapshot \(last.snapshot.shortHex) has the highest number there can be: none can follow it",
                exitCode: .damagedRepository)
        }
        return ChainPosition(sequence: sequence, previous: last.snapshot)
    }
}

extension Repository {
    /// Where the next snapshot of that stack and host goes. `newest`: the newest that is there, read after what this host
    /// remembers. When it remembers none, as after the loss of its state directory, the signed lists count.
    package func nextPosition(
        stack: String, host: String, after newest: Snapshot?, remembered: HostTrust.Pin.Seen?, damaged: Int
    ) throws -> ChainPosition {
        var entries: [Tombstone.Entry] = []
        if remembered == nil, sealing.canRead {
            entries = try RecordCheck(self).forgottenEntries(stack: stack).filter { $0.host == host }
        }
        return try ChainPosition.next(after: newest, remembered: remembered, forgotten: entries, damaged: damaged)
    }
}
