// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatRepository
import LifeboatServices
import LifeboatStores

/// Restores a stack from a snapshot of a repository: makes the plan, and executes it. What the commands use.
package struct StackRestore: Sendable {
    package struct Options: Sendable, Equatable {
        /// Names of components; empty: all of the stack.
        package var components: [String] = []
        package var oldData = RestorePlan.OldData.discard
        /// Restore what an incomplete snapshot holds.
        package var allowsIncomplete = false
        /// Threads that create files.
        package var threads: Int

        package init(threads: Int) { self.threads = threads }
    }

    private let repository: Repository
    private let stack: RestoreStack
    private let journal: RestoreJournal
    private let clock: any Clock
    private let progress: any ProgressSink

    package init(
        repository: Repository, stack: RestoreStack, journal: RestoreJournal, clock: any Clock,
        progress: any ProgressSink
    ) {
        self.repository = repository
        self.stack = stack
        self.journal = journal
        self.clock = clock
        self.progress = progress
    }

    /// What a restore would do. Touches nothing.
    package func plan(_ snapshot: Snapshot, options: Options) throws -> RestorePlan {
        let created = clock.now()
        let id = RestoreRequest.newID(created)
        var request = RestoreRequest(
            id: id, stack: stack.name, snapshot: snapshot,
            targets: try stack.components.map { component in
                RestoreRequest.Target(
                    name: component.name, store: component.store.kind, subject: component.store.subject,
                    staged: try component.store.planStaging(id))
            }, created: created)
        request.selected = options.components
        request.services = stack.services?.subject
        request.healthProbes = stack.health?.probeCount ?? 0
        request.oldData = options.oldData
        request.allowsIncomplete = options.allowsIncomplete
        return try RestorePlanner.plan(request)
    }

    /// Executes a plan made from this snapshot; see `RestoreExecutor.execute` for what it throws.
    package func execute(
        _ plan: RestorePlan, _ snapshot: Snapshot, options: Options, cancellation: Cancellation
    ) throws -> RestoreOutcome {
        guard plan.snapshot == snapshot.id else {
            throw LifeboatError("the plan is for snapshot '\(plan.snapshot.shortHex)', not '\(snapshot.id.shortHex)'")
        }
        var content = RepositoryContent.Options(threads: options.threads)
        content.allowsIncomplete = options.allowsIncomplete
        let source = try RepositorySource(repository, snapshot, options: content, progress: progress)
        let executor = RestoreExecutor(stack: stack, journal: journal, clock: clock, progress: progress)
        return try executor.execute(plan, from: source, cancellation: cancellation)
    }
}
