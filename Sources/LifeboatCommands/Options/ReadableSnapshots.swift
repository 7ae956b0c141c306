// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatRepository

extension SnapshotCatalog {
    /// The snapshots that the given key opens, for commands that read: the others are counted in a warning. Throws
    /// `wrongKey` when it opens none of those there are, and without a key.
    static func readable(
        _ repository: Repository, stack: String? = nil, _ session: CommandSession
    ) throws -> SnapshotCatalog {
        guard repository.sealing.canRead else { return try SnapshotCatalog(repository, stack: stack) }
        let catalog = try SnapshotCatalog(repository, stack: stack, skippingSealed: true)
        guard catalog.sealed > 0 else { return catalog }
        let skipped = Sealing.forOtherReaders(
            counted(catalog.sealed, "snapshot"),
            "\(catalog.sealed == 1 ? "it was" : "they were") written for other readers; those that can be read: "
                + grouped(catalog.snapshots.count))
        guard !catalog.snapshots.isEmpty else { throw skipped }
        session.warn(skipped)
        return catalog
    }
}
