// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatPolicy
import LifeboatRepository
import LifeboatStorage

/// Retention as the last step of a backup by policy.
///
/// The snapshot exists by then, and nothing here takes that back: what goes wrong is a warning, which `--quiet` prints
/// too, and shows as `problem` in the report. Only an interruption changes the exit code. Nobody is ever asked.
enum RetentionAfterBackup {
    struct Outcome: Encodable, Sendable {
        /// Nil when it went wrong: the next run removes what is left.
        let kept: Int?
        let removed: Int?
        /// Why nothing, or not all, was removed.
        let problem: String?
    }

    /// Nil when the policy has no rules, or when the backup was not complete or a check did not hold: then nothing is
    /// removed, for what is old may be needed.
    static func run(
        _ policy: Policy?, _ repository: Repository, isComplete: Bool, checksHold: Bool, _ session: CommandSession
    ) -> (outcome: Outcome?, error: LifeboatError?) {
        guard let policy, let settings = policy.retention else { return (nil, nil) }
        guard isComplete else {
            session.note("retention was left out, because the snapshot is incomplete")
            return (nil, nil)
        }
        guard checksHold else {
            session.note("retention was left out, because a check of the policy does not hold")
            return (nil, nil)
        }
        guard repository.sealing.canRead else {
            return withoutKey(policy, settings, repository, session)
        }
        let context = session.context
        do {
            let zone = try RetentionOptions.zone(settings.timezone, context)
            let retention = Retention(repository, stack: policy.stack)
            let (plan, damaged, missingPins) = try retention.plan(
                RetentionRules(settings), calendar: RetentionCalendar(zone: zone), now: context.clock.now())
            for problem in missingPins { try session.caution(problem) }
            if let objection = Retention.objection(to: plan, damaged: damaged) { throw objection }
            let removed = try retention.carryOut(
                plan, clock: context.clock, host: context.host.name, cancellation: session.cancellation)
            return (Outcome(kept: plan.decisions.count - removed, removed: removed, problem: nil), nil)
        } catch {
            let told = LifeboatError.converting(
                error, "the snapshot is good, but old ones were not removed as the policy says")
            let outcome = Outcome(kept: nil, removed: nil, problem: told.causes.first ?? told.message)
            return (outcome, told)
        }
    }

    /// Names of objects tell which snapshots the rules would remove; removing them, and the data they alone need, is
    /// for a host with the key. A warning once none of those has done so for longer than a week.
    private static func withoutKey(
        _ policy: Policy, _ settings: RetentionPolicy, _ repository: Repository, _ session: CommandSession
    ) -> (outcome: Outcome?, error: LifeboatError?) {
        let context = session.context
        do {
            let overdue = try Retention(repository, stack: policy.stack).overdue(
                RetentionRules(settings),
                calendar: RetentionCalendar(zone: RetentionOptions.zone(settings.timezone, context)),
                now: context.clock.now(), patience: patience)
            guard overdue > 0 else {
                session.note("retention was left out: this host has no key to read the repository with")
                return (nil, nil)
            }
            let file = policy.source.map { " --policy \(ShellWord.quoted($0))" } ?? ""
            let warning = LifeboatError(
                "retention has not run for more than a week, and this host cannot run it: it has no key to read the "
                    + "repository with",
                causes: ["by their names, \(overdue) snapshots are kept by no rule of the policy"],
                hint: "On a host with the key, run every week: lifeboat forget --yes\(file) --identity FILE && "
                    + "lifeboat prune --repository \(ShellWord.quoted(repository.store.properties.location)) "
                    + "--identity FILE")
            return (Outcome(kept: nil, removed: nil, problem: warning.message), warning)
        } catch {
            let told = LifeboatError.converting(error, "cannot tell whether retention is overdue")
            return (Outcome(kept: nil, removed: nil, problem: told.message), told)
        }
    }

    /// Seconds: a week and a day.
    private static let patience = 8.0 * 86_400
}
