// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatIO
package import LifeboatPolicy
package import LifeboatRepository
package import LifeboatServices
package import LifeboatStores

/// What to drill, and all a drill needs of the world.
package struct DrillRequest {
    package var policy: Policy
    package var snapshot: Snapshot
    /// All snapshots of the stack, for the recovery point.
    package var snapshots: [Snapshot]
    package var repository: Repository
    /// Names of components; empty: all.
    package var selected: [String]
    /// Percent of the files, tables and collections to bring up, chosen by the snapshot; nil: all of it.
    package var sample: Double?
    /// Below this folder the sandbox is made.
    package var parent: String
    /// Leave the sandbox running.
    package var isKept: Bool
    package var host: String
    package var lifeboat: String
    package var repeatCommand: String
    /// Threads that create files.
    package var threads: Int
    /// Where programs are looked for.
    package var path: String

    package var clock: any Clock
    package var progress: any ProgressSink
    package var cancellation: Cancellation
    package var runner: any ProcessRunner
    package var docker: DockerProgram
    /// The Compose project to bring up in a sandbox of its own; nil: throw-away engines.
    package var project: ComposeProject?
    package var journal: SandboxJournal
    /// A secret of the stack on this host.
    package var secret: (_ name: String) -> Result<Secret, LifeboatError>
    /// The store of a component of the moved policy; `folder` is for what it writes besides.
    package var makeStore: (_ component: ComponentPolicy, _ policy: Policy, _ folder: String) throws -> any DataStore

    package init(
        policy: Policy, snapshot: Snapshot, snapshots: [Snapshot], repository: Repository, selected: [String],
        sample: Double?, parent: String, isKept: Bool, host: String, lifeboat: String, repeatCommand: String,
        threads: Int,
        path: String, clock: any Clock, progress: any ProgressSink, cancellation: Cancellation,
        runner: any ProcessRunner, docker: DockerProgram,
        project: ComposeProject?, journal: SandboxJournal,
        secret: @escaping (_ name: String) -> Result<Secret, LifeboatError>,
        makeStore:
            @escaping (
                _ component: ComponentPolicy, _ policy: Policy, _ folder: String
            ) throws -> any DataStore
    ) {
        self.policy = policy
        self.snapshot = snapshot
        self.snapshots = snapshots
        self.repository = repository
        self.selected = selected
        self.sample = sample
        self.parent = parent
        self.isKept = isKept
        self.host = host
        self.lifeboat = lifeboat
        self.repeatCommand = repeatCommand
        self.threads = threads
        self.path = path
        self.clock = clock
        self.progress = progress
        self.cancellation = cancellation
        self.runner = runner
        self.docker = docker
        self.project = project
        self.journal = journal
        self.secret = secret
        self.makeStore = makeStore
    }

    /// A new name for a drill: the time, and enough chance that no two share one. Short, for it is part of the paths of
    /// sockets, which have 107 bytes at most.
    package static func newID(_ time: Timestamp) -> String {
        let chance = String(UInt16.random(in: .min ... .max), radix: 16)
        return time.compact.lowercased() + "-" + String(repeating: "0", count: 4 - chance.count) + chance
    }
}
