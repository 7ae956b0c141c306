// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatStores

/// Asks the policy's checks of the live stack after a restore.
struct RestoreChecks {
    let stack: RestoreStack
    let plan: RestorePlan
    let clock: any Clock

    /// Services work again by now, and may be between two writes when they are asked: a check counts as failed when it
    /// failed each time within so many seconds.
    private static let patience = 10.0
    private static let interval = 1.0

    /// The verdicts; those the restore depends on first waited for. Blocking.
    func run(_ cancellation: Cancellation) throws -> [CheckResult] {
        let planned = Set((plan.checks ?? []).map(\.name))
        let asked = stack.checks.filter { planned.contains($0.name) }
        let sources = stack.stores.merging(stack.wholes) { _, whole in whole }.mapValues { $0 as? any NumberSource }
        let end = clock.monotonicSeconds() + Self.patience
        while true {
            try cancellation.check()
            let evaluation = CheckEvaluation(asked)
            try evaluation.askAll(sources, cancellation)
            let results = evaluation.results
            let isSettled = failures(results).isEmpty || clock.monotonicSeconds() >= end
            if isSettled { return results }
            clock.sleep(seconds: Self.interval)
        }
    }

    /// Those that undo the restore.
    func failures(_ results: [CheckResult]) -> [CheckResult] {
        results.filter { result in
            !result.holds && (plan.checks ?? []).contains { $0.name == result.name && $0.isRequired }
        }
    }
}
