// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// What a repair would do: a value, found by `RepairPlanner`, carried out by `RepairExecutor`.
package struct RepairPlan: Codable, Sendable, Equatable {
    /// An index that says what is not so, or cannot be read.
    package struct StaleIndex: Codable, Sendable, Equatable {
        package var name: Digest
        package var reason: String
        /// Its tables can be followed: what it says of other packs than these is taken over.
        package var isReadable: Bool
        package var wrongPacks: [Digest]
    }

    /// A pack that is missing or damaged.
    package struct DamagedPack: Codable, Sendable, Equatable {
        package var name: Digest
        package var reason: String
        package var isPresent: Bool
        /// Chunks that only this pack has and that read back right: they are copied to a new pack.
        package var chunksKept: UInt64
        /// Chunks that are lost unless a backup brings them again.
        package var chunksLost: UInt64
    }

    /// A snapshot some of whose content is lost.
    package struct DamagedSnapshot: Codable, Sendable, Equatable {
        package var id: Digest
        /// Object of its manifest.
        package var object: String
        package var stack: String
        package var time: Timestamp
        /// `<component>:<path>`, at most `CheckReport.pathLimit`.
        package var lost: [String]
        package var lostCount: UInt64
    }

    /// A snapshot that others name, and that is not there.
    package struct GoneSnapshot: Codable, Sendable, Equatable {
        package var id: Digest
        package var stack: String
        package var host: String
        package var sequence: UInt64
        package var reason: String
    }

    /// An object that is not what it should be, and why.
    package struct BadObject: Codable, Sendable, Equatable {
        package var object: String
        package var reason: String
    }

    package var repositoryID: Digest
    package var packsRead: UInt64 = 0
    package var bytesRead: UInt64 = 0
    /// README.txt is not as it should be.
    package var rewritesReadme = false
    /// The signature of config.json is missing or damaged, and this host trusts config.json: why. It is signed anew.
    package var resignsConfig: String?
    /// Sound packs that no sound index describes in full.
    package var packsToIndex: [Digest] = []
    /// Sound packs in no index that no snapshot needs: an interrupted backup left them, or one that runs wrote them.
    /// They stay as they are.
    package var orphanPacks: UInt64 = 0
    package var staleIndexes: [StaleIndex] = []
    package var damagedPacks: [DamagedPack] = []
    /// Pins, records of those that were taken away, and lists of forgotten snapshots that cannot be read, and pins that
    /// are missing. A pin is written anew, from its name.
    package var damagedRecords: [BadObject] = []
    /// Whole manifests under a name that another stack or time would have: each is stored under its own.
    package var misnamedSnapshots: [BadObject] = []
    /// Whole manifests whose signature is missing or damaged, and that a signed snapshot or this host vouches for: each
    /// is signed anew.
    package var unsignedSnapshots: [BadObject] = []
    package var damagedSnapshots: [DamagedSnapshot] = []
    /// Manifests that are damaged: what they held is not known.
    package var unreadableSnapshots: [BadObject] = []
    /// Snapshots that are not there, though retention did not remove them.
    package var goneSnapshots: [GoneSnapshot] = []
    /// Whether the damaged snapshots are replaced by what is left of them, unreadable ones taken out, and those that
    /// are gone noted as lost; or left as they are.
    package var rewritesSnapshots: Bool
    /// What a repair cannot mend.
    package var unrepairable: [BadObject] = []

    package init(repositoryID: Digest, rewritesSnapshots: Bool) {
        self.repositoryID = repositoryID
        self.rewritesSnapshots = rewritesSnapshots
    }

    /// Some snapshot is not whole.
    private var hasLosses: Bool {
        !(damagedSnapshots.isEmpty && unreadableSnapshots.isEmpty && goneSnapshots.isEmpty)
    }

    /// Nothing is wrong.
    package var isEmpty: Bool { !hasSteps && !hasLosses && unrepairable.isEmpty }

    /// There is something to write.
    package var hasSteps: Bool {
        rewritesReadme || resignsConfig != nil || !packsToIndex.isEmpty || !staleIndexes.isEmpty
            || damagedPacks.contains(where: \.isPresent)
            || !damagedRecords.isEmpty || !misnamedSnapshots.isEmpty || !unsignedSnapshots.isEmpty
            || (rewritesSnapshots && hasLosses)
    }

    /// Snapshots stay damaged when the plan was carried out.
    package var leavesDamage: Bool { !unrepairable.isEmpty || (!rewritesSnapshots && hasLosses) }
}

/// What a repair did.
package struct RepairOutcome: Codable, Sendable, Equatable {
    package struct RepairedSnapshot: Codable, Sendable, Equatable {
        package var old: Digest
        package var new: Digest
        package var lostCount: UInt64
    }

    package var indexesWritten: UInt64 = 0
    package var chunksCopied: UInt64 = 0
    /// Objects that were moved below `damaged/`.
    package var setAside: [String] = []
    /// Damaged packs that stay for now, because a process that runs may still read from them.
    package var postponed: [String] = []
    /// Those processes: `backup on host 'a', process 12`.
    package var waitsFor: [String] = []
    /// Objects that turned out to be sound when it was their turn, and stay.
    package var sound: [String] = []
    package var snapshots: [RepairedSnapshot] = []

    package init() {}
}
