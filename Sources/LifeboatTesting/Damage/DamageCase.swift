// SPDX-License-Identifier: Apache-2.0

/// Exit codes of restoring the first and the third snapshot of stack `files`, and the one of `notes`.
package typealias RestoreCodes = (first: Int32, third: Int32, notes: Int32)

/// What every command has to answer to one damage: exit codes, written by hand.
package struct DamageVerdict: Sendable {
    /// `check`
    package var check: Int32
    /// `check --read-data`
    package var data: Int32
    /// `scrub`
    package var scrub: Int32
    /// `prune --grace 0`, on a copy; after it the repository gives back no less.
    package var prune: Int32
    /// `restore`, with the damage.
    package var restore: RestoreCodes
    /// `repair`, which writes nothing.
    package var plan: Int32
    /// `repair --yes`
    package var repair: Int32
    /// `check --read-data` and restores after it.
    package var repaired: Int32
    package var restoreRepaired: RestoreCodes
    /// `check --read-data` after the repair and another backup of both stacks.
    package var backedUp: Int32
    /// `repair --snapshots --yes` after the repair, without a backup.
    package var salvage: Int32
    /// Restores after that; `check --read-data` must find nothing wrong then, unless nothing can be done at all.
    package var restoreSalvaged: RestoreCodes
    /// Files that are lost, which the repair and the restore of a salvaged snapshot must name.
    package var lost: [String]

    package init(
        check: Int32, data: Int32, scrub: Int32, prune: Int32, restore: RestoreCodes, plan: Int32, repair: Int32,
        repaired: Int32, restoreRepaired: RestoreCodes, backedUp: Int32, salvage: Int32,
        restoreSalvaged: RestoreCodes, lost: [String] = []
    ) {
        self.check = check
        self.data = data
        self.scrub = scrub
        self.prune = prune
        self.restore = restore
        self.plan = plan
        self.repair = repair
        self.repaired = repaired
        self.restoreRepaired = restoreRepaired
        self.backedUp = backedUp
        self.salvage = salvage
        self.restoreSalvaged = restoreSalvaged
        self.lost = lost
    }

}

/// A way to damage a repository, and what has to come of it.
package struct DamageCase: Sendable, CustomStringConvertible {
    package var name: String
    package var verdict: DamageVerdict
    /// Damages a copy of the sound repository; gives what `check --read-data` has to name.
    package var damage: @Sendable (DamagedRepository) throws -> [String]

    package init(
        _ name: String, _ verdict: DamageVerdict, _ damage: @escaping @Sendable (DamagedRepository) throws -> [String]
    ) {
        self.name = name
        self.verdict = verdict
        self.damage = damage
    }

    package var description: String { name }
}
extension DamageVerdict {
    package static let unknown = DamageVerdict(
        check: -1, data: -1, scrub: -1, prune: -1, restore: (-1, -1, -1), plan: -1, repair: -1, repaired: -1,
        restoreRepaired: (-1, -1, -1), backedUp: -1, salvage: -1, restoreSalvaged: (-1, -1, -1))
}
