// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatStorage

/// Plans and carries out retention for one stack of a repository. Blocking.
package struct Retention: Sendable {
    private let repository: Repository
    private let stack: String

    package init(_ repository: Repository, stack: String) {
        self.repository = repository
        self.stack = stack
    }

    /// Reads snapshots, pins and drill results, and decides. Changes nothing. `damaged` are manifests of the stack that
    /// cannot be read, and so are neither kept nor removed nor counted.
    package func plan(
        _ rules: RetentionRules, calendar: RetentionCalendar, now: Timestamp
    ) throws -> (plan: RetentionPlan, damaged: [LifeboatError]) {
        let planner = try RetentionPlanner(rules: rules, calendar: calendar, now: now)
        let catalog = try SnapshotCatalog(repository, stack: stack)
        let plan = planner.plan(
            stack: stack, catalog.snapshots.map(RetentionCandidate.init),
            pinned: try Pins.ids(repository, stack: stack), verified: try DrillVerified.ids(repository, stack: stack))
        return (plan, catalog.damaged)
    }

    /// Why a plan is not carried out without `--force`; nil when nothing speaks against it.
    package static func objection(to plan: RetentionPlan, damaged: [LifeboatError]) -> LifeboatError? {
        if plan.removed.isEmpty { return nil }
        if let first = damaged.first {
            return LifeboatError(
                "snapshots of stack '\(plan.stack)' cannot be read, so nothing was removed",
                causes: damaged.map(\.message),
                hint: "Run 'lifeboat check' first; 'lifeboat forget --force' goes on without them.",
                exitCode: first.exitCode)
        }
        if plan.removesMoreThanHalf {
            return LifeboatError(
                "the rules would remove \(plan.removed.count) of the \(plan.decisions.count) snapshots of stack "
                    + "'\(plan.stack)', which is more than half, so nothing was removed",
                causes: ["the rules are: \(plan.rules.text)"],
                hint: "Look at the plan with 'lifeboat forget --dry-run'; if it is right, run it once with --force.")
        }
        return nil
    }

    /// Removes what the plan removes: a tombstone first, then one manifest after the other. What it ends in the middle
    /// of, the next run finishes. Gives how many manifests are gone, also when another run was faster.
    ///
    /// The data stays in the repository until it is pruned. Throws `busy` when one of them was pinned since the plan was
    /// made.
    package func carryOut(
        _ plan: RetentionPlan, clock: any Clock, host: String, cancellation: Cancellation
    ) throws -> Int {
        let removed = plan.removed
        guard !removed.isEmpty else { return 0 }
        try repository.requireTrusted()
        try cancellation.check()
        let tombstone = Tombstone(
            plan, repositoryID: repository.config.repositoryID, time: clock.now(), host: host)
        _ = try ForgottenSnapshots.write(tombstone, to: repository)
        for snapshot in removed {
            try cancellation.check()
            guard try !repository.exists(RepositoryLayout.pin(stack: plan.stack, snapshot: snapshot.id)) else {
                throw LifeboatError(
                    "snapshot '\(snapshot.id.shortHex)' was pinned just now: it stays, and the rest was not removed",
                    hint: "Run it again.", exitCode: .busy)
            }
            try SnapshotCatalog.remove(
                RepositoryLayout.manifest(stack: plan.stack, time: snapshot.time, id: snapshot.id), from: repository)
        }
        return removed.count
    }
}
