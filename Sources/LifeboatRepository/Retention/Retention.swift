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
    /// cannot be read, and so are neither kept nor removed nor counted. `missingPins`: what is wrong with pins; the
    /// snapshots they were for are kept.
    package func plan(
        _ rules: RetentionRules, calendar: RetentionCalendar, now: Timestamp
    ) throws -> (plan: RetentionPlan, damaged: [LifeboatError], missingPins: [LifeboatError]) {
        let planner = try RetentionPlanner(rules: rules, calendar: calendar, now: now)
        let catalog = try SnapshotCatalog(repository, stack: stack)
        let pins = try PinLedger(repository, stack: stack, catalog)
        var verified = try DrillVerified.ids(repository, stack: stack)
        for snapshot in catalog.snapshots {
            let isVerified = (snapshot.manifest.rewrappedFrom ?? []).contains(where: verified.contains)
            if isVerified { verified.insert(snapshot.id) }
        }
        let plan = planner.plan(
            stack: stack, catalog.snapshots.map(RetentionCandidate.init), pinned: pins.kept, verified: verified)
        return (plan, catalog.damaged, pins.problems(stack: stack))
    }

    /// How many snapshots no rule keeps as far as the names of objects tell, without a key: those older than `patience`
    /// seconds, if retention removed nothing in that time. Names do not tell which snapshots are complete, so it is an
    /// estimate, and good for a warning only.
    package func overdue(
        _ rules: RetentionRules, calendar: RetentionCalendar, now: Timestamp, patience: Double
    ) throws -> Int {
        for object in try repository.objects("\(RepositoryLayout.forgottenPrefix)\(stack)/") {
            guard let time = RepositoryLayout.time(of: object.key) else { continue }
            if now.seconds(since: time) <= patience { return 0 }
        }
        let candidates = try repository.objects("\(RepositoryLayout.snapshotPrefix)\(stack)/").compactMap { object in
            guard let name = RepositoryLayout.manifestName(object.key),
                let time = RepositoryLayout.time(of: object.key),
                let id = Digest(hex: name.shortID + String(repeating: "0", count: 64 - name.shortID.utf8.count))
            else { return nil as RetentionCandidate? }
            return RetentionCandidate(
                id: id, host: "", sequence: 0, previous: nil, time: time, complete: true, components: [])
        }
        let plan = try RetentionPlanner(rules: rules, calendar: calendar, now: now).plan(
            stack: stack, candidates, pinned: Pins.ids(repository, stack: stack))
        return plan.removed.count { now.seconds(since: $0.time) > patience }
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
                "the rules would remove \(plan.removedComplete) of the \(plan.complete) complete snapshots of stack "
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
        let roomMade = try write(tombstone, for: removed, plan.stack)
        for snapshot in removed.dropFirst(roomMade) {
            try cancellation.check()
            try remove(snapshot, of: plan.stack)
        }
        return removed.count
    }

    /// Snapshots that are removed before their tombstone, at most, each time a full disk has no room for it.
    private static let roomMakers = 8

    /// Stores the tombstone. On a full disk the first few snapshots go before the tombstone that names them, to make
    /// the room for it, and so on until there is room for the rest: who has no space left must be able to forget. Gives
    /// how many are gone by then.
    ///
    /// Killed in between, those few look as if somebody had taken them, and `repair` has to note that they are gone.
    private func write(_ tombstone: Tombstone, for removed: [RetentionCandidate], _ stack: String) throws -> Int {
        var gone = 0
        while true {
            var rest = tombstone
            rest.snapshots.removeFirst(gone)
            do {
                if !rest.snapshots.isEmpty { _ = try ForgottenSnapshots.write(rest, to: repository) }
                return gone
            } catch let error as StorageError where error.kind == .full {
                guard gone < removed.count else { throw error }
            }
            let few = removed[gone..<min(gone + Self.roomMakers, removed.count)]
            for snapshot in few { try remove(snapshot, of: stack) }
            rest.snapshots = Array(rest.snapshots.prefix(few.count))
            do {
                _ = try ForgottenSnapshots.write(rest, to: repository)
            } catch let error as StorageError {
                throw error.lifeboatError.wrapped(
                    "these snapshots were removed, and there is no room to note that: "
                        + few.map(\.id.shortHex).joined(separator: ", "),
                    hint: "Free some space, then run 'lifeboat repair --snapshots': it notes that they are gone.")
            }
            gone += few.count
        }
    }

    private func remove(_ snapshot: RetentionCandidate, of stack: String) throws {
        guard try !repository.exists(RepositoryLayout.pin(stack: stack, snapshot: snapshot.id)) else {
            throw LifeboatError(
                "snapshot '\(snapshot.id.shortHex)' was pinned just now: it stays, and the rest was not removed",
                hint: "Run it again.", exitCode: .busy)
        }
        try SnapshotCatalog.remove(
            RepositoryLayout.manifest(stack: stack, time: snapshot.time, id: snapshot.id), from: repository)
    }
}
