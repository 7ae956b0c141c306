// SPDX-License-Identifier: Apache-2.0

import LifeboatBackup
import LifeboatCore
import LifeboatRepository

/// What a backup did.
struct BackupReport: OutputRendering {
    static let messageType = "summary"

    struct Phase: Encodable, Sendable {
        let name: String
        let seconds: Double
    }

    let snapshot: String
    let previous: String?
    let stack: String
    let time: Timestamp
    let complete: Bool
    let components: [String]
    let filesNew: UInt64
    let filesChanged: UInt64
    let filesUnchanged: UInt64
    let filesRemoved: UInt64
    let bytes: UInt64
    let bytesRead: UInt64
    let bytesNew: UInt64
    let bytesStored: UInt64
    let chunksNew: UInt64
    let packs: UInt64
    let warnings: Int
    let problems: Int
    let seconds: Double
    let phases: [Phase]
    let freeze: Manifest.Freeze?
    let checks: [CheckResult]?
    let retention: RetentionAfterBackup.Outcome?

    init(_ outcome: BackupOutcome, warnings: Int, retention: RetentionAfterBackup.Outcome? = nil) {
        self.retention = retention
        let manifest = outcome.snapshot.manifest
        freeze = manifest.freeze
        checks = manifest.checks
        snapshot = outcome.snapshot.id.hex
        previous = outcome.previous?.id.hex
        stack = manifest.stack
        time = manifest.frozen
        complete = manifest.complete
        components = manifest.components.map(\.name)
        filesNew = outcome.files.new
        filesChanged = outcome.files.changed
        filesUnchanged = outcome.files.unchanged
        filesRemoved = outcome.files.removed
        bytes = manifest.components.clampedSum(\.bytes)
        bytesRead = outcome.statistics.bytesRead
        bytesNew = outcome.statistics.bytesNew
        bytesStored = outcome.statistics.bytesStored
        chunksNew = outcome.statistics.chunksNew
        packs = outcome.statistics.packs
        self.warnings = warnings
        problems = outcome.problems.count
        seconds = Self.rounded(outcome.seconds)
        phases = outcome.phases.map { Phase(name: $0.name, seconds: Self.rounded($0.seconds)) }
    }

    /// To microseconds.
    private static func rounded(_ seconds: Double) -> Double { (seconds * 1e6).rounded() / 1e6 }

    var text: String {
        var lines = [
            "snapshot \(snapshot.prefix(12)) of stack '\(EscapedName.line(stack))': \(ByteCount(bytes)) in "
                + DurationText.short(seconds)
        ]
        lines.append(
            "files: \(grouped(filesNew)) new, \(grouped(filesChanged)) changed, \(grouped(filesUnchanged)) unchanged, "
                + "\(grouped(filesRemoved)) removed")
        lines.append(
            "data: \(ByteCount(bytesRead)) read, \(ByteCount(bytesNew)) new, \(ByteCount(bytesStored)) stored")
        if let freeze { lines.append(FreezeText.line(freeze)) }
        if let checks {
            let held = checks.filter(\.holds).count
            lines.append(
                held == checks.count
                    ? "checks: all \(grouped(held)) hold"
                    : "CHECKS: " + Self.failures(checks))
        }
        if let removed = retention?.removed, let kept = retention?.kept {
            lines.append("retention: \(counted(removed, "old snapshot")) removed, \(grouped(kept)) kept")
        }
        if !complete {
            lines.append(
                "INCOMPLETE: \(counted(problems, "problem")); the snapshot is kept, and marked as incomplete")
        }
        return lines.joined(separator: "\n")
    }

    /// `1 of 3 does not hold, 1 could not be queried`
    private static func failures(_ checks: [CheckResult]) -> String {
        let failed = checks.filter { !$0.holds }
        let unanswered = failed.count { $0.values.contains { $0.number == nil } }
        let wrong = failed.count - unanswered
        var parts: [String] = []
        if wrong > 0 { parts.append("\(grouped(wrong)) of \(grouped(checks.count)) do not hold") }
        if unanswered > 0 {
            parts.append("\(grouped(unanswered)) of \(grouped(checks.count)) could not be queried")
        }
        return parts.joined(separator: ", ")
    }
}

/// How a freeze is told to people.
enum FreezeText {
    /// `freeze: writers were paused for 0.4 s (api, worker)`.
    static func line(_ freeze: Manifest.Freeze) -> String {
        let names = freeze.services.map { EscapedName.line($0) }.joined(separator: ", ")
        if freeze.services.isEmpty, freeze.problem == nil { return "freeze: no writer ran, so none was held" }
        let verb = freeze.method == FreezeMethod.stop.rawValue ? "stopped" : "paused"
        var text = "freeze: writers were \(verb) for \(DurationText.short(freeze.seconds)) (\(names))"
        if freeze.services.isEmpty { text = "freeze: writers were not held" }
        if let problem = freeze.problem { text += "; NOT OF ONE MOMENT: \(EscapedName.line(problem))" }
        return text
    }
}
