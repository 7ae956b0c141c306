// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatRepository

/// What happens to one snapshot, and why.
struct RetentionRow: TableRow {
    static let messageType = "retention"
    static let columns = [
        TableColumn("ID"), TableColumn("TIME (UTC)"), TableColumn("HOST"), TableColumn("COMPLETE"),
        TableColumn("ACTION"), TableColumn("REASONS"),
    ]

    let id: String
    let time: Timestamp
    let stack: String
    let host: String
    let sequence: UInt64
    let complete: Bool
    /// `keep` or `remove`.
    let action: String
    let reasons: [String]

    init(_ decision: RetentionPlan.Decision, stack: String) {
        let snapshot = decision.snapshot
        id = snapshot.id.hex
        time = snapshot.time
        self.stack = stack
        host = snapshot.host
        sequence = snapshot.sequence
        complete = snapshot.complete
        action = decision.isKept ? "keep" : "remove"
        reasons = decision.removal.map { [$0.rawValue] } ?? decision.reasons.map(\.description)
    }

    var cells: [String] {
        [
            String(id.prefix(12)), time.tableText, EscapedName.line(host), complete ? "yes" : "NO", action,
            reasons.joined(separator: ", "),
        ]
    }
}

/// What `forget` did, or would do.
struct RetentionReport: OutputRendering {
    static let messageType = "summary"

    let stack: String
    let rules: RetentionRules
    let timeZone: String
    let kept: Int
    let removed: Int
    let dryRun: Bool

    init(_ plan: RetentionPlan, dryRun: Bool) {
        stack = plan.stack
        rules = plan.rules
        timeZone = plan.timeZone
        kept = plan.kept.count
        removed = plan.removed.count
        self.dryRun = dryRun
    }

    var text: String {
        let (remove, keep) = dryRun ? ("would remove", "keep") : ("removed", "kept")
        let verdict =
            removed == 0
            ? "nothing to remove, \(grouped(kept)) kept"
            : "\(remove) \(counted(removed, "snapshot")) and \(keep) \(grouped(kept))"
        let end = dryRun && removed > 0 ? "\nthis was a dry run: add --yes to remove" : ""
        return "stack '\(stack)': \(verdict) (\(rules.text); time zone \(EscapedName.line(timeZone)))\(end)"
    }
}
