// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatRepository
package import LifeboatStores

/// One component of a backup: its name, its store, and what it is for the manifest.
package struct BackupComponent: Sendable {
    package var name: String
    package var store: any DataStore
    /// The folder of a volume, the database …: shown to people, and where `restore --to` puts it.
    package var source: String

    package init(name: String, store: any DataStore, source: String) {
        self.name = name
        self.store = store
        self.source = source
    }
}

/// What to back up, as what.
package struct BackupRequest: Sendable {
    package var stack: String
    package var host: String
    package var components: [BackupComponent]
    /// Kept in the manifest; nil for ad-hoc backups.
    package var policyText: String?
    package var lifeboatVersion: String
    /// How writers are held; nil: they are not.
    package var freeze: FreezePlan?
    package var checks: [StackCheck] = []
    package var secrets: [BackupSecret] = []
    /// Nil: a component may shrink as it likes.
    package var shrinkGuard: ShrinkGuard?
    /// Bytes that plain copies of the last snapshot may take on a host that cannot read the repository; nil: a tenth of
    /// the free disk space.
    package var deltaCache: UInt64?

    package init(
        stack: String, host: String, components: [BackupComponent], policyText: String?, lifeboatVersion: String
    ) {
        self.stack = stack
        self.host = host
        self.components = components
        self.policyText = policyText
        self.lifeboatVersion = lifeboatVersion
    }
}

/// A secret of the stack whose fingerprint the snapshot keeps.
package struct BackupSecret: Sendable {
    package var name: String
    /// Or why it is not known.
    package var value: Result<Secret, LifeboatError>
    /// What another value breaks.
    package var breaks: String?

    package init(name: String, value: Result<Secret, LifeboatError>, breaks: String?) {
        self.name = name
        self.value = value
        self.breaks = breaks
    }
}

/// A finished backup.
package struct BackupOutcome: Sendable {
    package var snapshot: Snapshot
    /// The snapshot it was compared with; nil for the first.
    package var previous: Snapshot?
    package var statistics: WriterStatistics
    package var files: FileStatistics
    package var warnings: [LifeboatError]
    /// What is missing from the snapshot, or does not agree in it: not empty means exit code 3.
    package var problems: [LifeboatError]
    /// What is wrong with the repository, and leaves this snapshot whole: not empty means exit code 3.
    package var repositoryProblems: [LifeboatError]
    /// Why writers of the stack may stand still now: the snapshot is not worse for it, the stack is.
    package var heldProblem: LifeboatError?
    package var seconds: Double
    package var phases: [(name: String, seconds: Double)]
}

/// Entries of trees, by what became of them.
package struct FileStatistics: Sendable, Equatable {
    package var new: UInt64 = 0
    package var changed: UInt64 = 0
    package var unchanged: UInt64 = 0
    package var removed: UInt64 = 0
    package init() {}

    package var total: UInt64 { new + changed + unchanged }
}
