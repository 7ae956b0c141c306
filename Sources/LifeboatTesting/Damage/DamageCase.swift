// SPDX-License-Identifier: Apache-2.0

/// Exit codes of restoring the first and the third snapshot of stack `files`, and the one of `notes`.
package typealias RestoreCodes = (first: Int32, third: Int32, notes: Int32)

/// What every command has to answer to one damage: exit codes, written by hand.
package struct DamageVerdict: Sendable {
    /// What is so when `repair --yes` is done.
    package enum After: Sendable {
        /// `check --read-data` finds nothing wrong, and a second repair nothing to do.
        case whole(RestoreCodes)
        /// It still ends with that code; another backup of both stacks makes it `backedUp`. `repair --snapshots --yes`
        /// ends with `salvage`; when that is 3, `check --read-data` finds nothing wrong after it. It names the files
        /// that are `lost`, and so do the restores that end with 3.
        case damaged(
            Int32, restore: RestoreCodes, backedUp: Int32, salvage: Int32, salvaged: RestoreCodes, lost: [String] = [])
    }

    /// `check`
    package var check: Int32
    /// `check --read-data`
    package var data: Int32
    /// `scrub`
    package var scrub: Int32
    /// `prune --grace 0 --max-unused 0`, on a copy: when it refuses it changes nothing, else the repository gives back
    /// no less than before.
    package var prune: Int32
    /// `restore`, with the damage.
    package var restore: RestoreCodes
    /// `repair`, which writes nothing.
    package var plan: Int32
    /// `repair --yes`, which takes nothing away that it does not keep.
    package var repair: Int32
    package var after: After

    package init(
        check: Int32, data: Int32, scrub: Int32, prune: Int32, restore: RestoreCodes, plan: Int32, repair: Int32,
        after: After
    ) {
        self.check = check
        self.data = data
        self.scrub = scrub
        self.prune = prune
        self.restore = restore
        self.plan = plan
        self.repair = repair
        self.after = after
    }

    /// Nothing is wrong.
    package static let harmless = DamageVerdict(
        check: 0, data: 0, scrub: 0, prune: 0, restore: (0, 0, 0), plan: 0, repair: 0, after: .whole((0, 0, 0)))
}

/// A way to damage a repository, and what has to come of it.
package struct DamageCase: Sendable, CustomStringConvertible {
    package var name: String
    package var verdict: DamageVerdict
    /// It is done to an encrypted repository.
    package var encrypted: Bool
    /// Damages a copy of the sound repository; gives what `check --read-data` has to name.
    package var damage: @Sendable (DamagedRepository) throws -> [String]

    package init(
        _ name: String, _ verdict: DamageVerdict, encrypted: Bool = false,
        _ damage: @escaping @Sendable (DamagedRepository) throws -> [String]
    ) {
        self.encrypted = encrypted
        self.name = name
        self.verdict = verdict
        self.damage = damage
    }

    package var description: String { name }
}
