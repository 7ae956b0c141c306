// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatDrill

/// The result of a drill.
struct DrillSummary: OutputRendering {
    static let messageType = "summary"

    /// Nil: it could not be kept.
    let id: Digest?
    let result: DrillResult
    var forecast: RecoveryForecast?

    private enum CodingKeys: String, CodingKey { case id, forecast }

    func encode(to encoder: any Encoder) throws {
        try result.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id?.hex, forKey: .id)
        try container.encodeIfPresent(forecast, forKey: .forecast)
    }

    var text: String {
        (head + figures + proof + troubles + outlook + ["repeat: \(EscapedName.line(result.repeatCommand))"])
            .joined(separator: "\n")
    }

    /// One sentence with the verdict.
    static func headline(_ result: DrillResult) -> String {
        let what =
            "drill of stack '\(EscapedName.line(result.stack))', snapshot \(result.snapshot.shortHex) of "
            + "\(result.snapshotTime.tableText) UTC"
        let scope = result.isFull ? "" : " (\(scope(result)))"
        return switch result.verdict {
        case .passed: "PASSED: \(what)\(scope)"
        case .missed: "OBJECTIVE MISSED: \(what)\(scope)"
        case .failed: "FAILED: \(what)\(scope)"
        }
    }

    /// How much of the snapshot was drilled: `full`, `in part`, `sample 10 %`.
    static func scope(_ result: DrillResult) -> String {
        if result.isFull { return "full" }
        return result.samplePercent.map { "sample \(percent($0))" } ?? "in part"
    }

    /// `sample of 10 %`; nil: it is none.
    static func sample(_ result: DrillResult) -> String? {
        result.samplePercent.map { "sample of \(percent($0))" }
    }

    private static func percent(_ percent: Double) -> String {
        (Int(exactly: percent).map { "\($0)" } ?? "\(percent)") + " %"
    }

    private var head: [String] {
        [Self.headline(result)]
            + result.components.map { component in
                let engine = component.drillEngine.map { " in \(EscapedName.line($0))" } ?? ""
                let state =
                    switch component.state {
                    case .verified: "\(counted(component.comparedFacts, "fact")) as in the snapshot"
                    case .failed: "not recovered as the snapshot says"
                    case .readOnly: "read and verified, not restored"
                    }
                return "  \(EscapedName.line(component.name)): \(ByteCount(component.bytes))"
                    + "\(Self.share(component, result).map { " (\($0))" } ?? "")\(engine), \(state)"
            }
    }

    /// What of a component a sample took: `12 of 120 files`, `whole`; nil: it is no sample.
    static func share(_ component: DrillResult.Component, _ result: DrillResult) -> String? {
        guard result.samplePercent != nil else { return nil }
        return component.sample.map { "\(grouped($0.taken)) of \(grouped($0.all)) \($0.unit)" } ?? "whole"
    }

    private var figures: [String] {
        let objectives = result.objectives
        var lines: [String] = []
        if let rta = objectives.rta {
            let verdict =
                Self.sample(result).map { "\(DurationText.short(rta)) for a \($0), not held against the RTO" }
                ?? Self.against(rta, objectives.rto, "RTO")
            lines.append("recovery time: \(verdict)")
        }
        if let age = objectives.age {
            let gap = objectives.worstGap.map { ", worst gap of late \(DurationText.short($0))" } ?? ""
            func named(_ names: [String]) -> String {
                names.map { "'\(EscapedName.line($0))'" }.joined(separator: ", ")
            }
            let of = objectives.oldest.isEmpty ? "" : " of \(named(objectives.oldest))"
            lines.append(
                "recovery point: \(Self.against(objectives.rpa ?? age, objectives.rpo, "RPO")) (newest snapshot\(of) "
                    + "\(DurationText.short(age)) old\(gap))")
            if !objectives.uncovered.isEmpty {
                lines.append("no complete snapshot holds \(named(objectives.uncovered))")
            }
        }
        let phases = result.phases.filter { $0.of == nil }
        var names: [String] = []
        for phase in phases where !names.contains(phase.name) { names.append(phase.name) }
        let spans = names.map { name -> String in
            let stretches = phases.filter { $0.name == name }
            let seconds = stretches.reduce(0) { $0 + $1.seconds }
            let bytes = name == DrillPhase.load ? stretches.clampedSum { $0.bytes ?? 0 } : 0
            let rate = bytes > 0 && seconds > 0 ? " at \(ByteCount(UInt64(Double(bytes) / seconds)))/s" : ""
            return "\(name) \(DurationText.short(seconds))\(rate)"
        }
        lines.append("time line: \(spans.joined(separator: ", "))")
        if let costliest = result.costliest {
            lines.append("longest: \(EscapedName.line(costliest)). \(result.advice ?? "")")
        }
        return lines
    }

    static func against(_ seconds: Double, _ objective: Double?, _ name: String) -> String {
        guard let objective else { return "\(DurationText.short(seconds)) (no \(name) in the policy)" }
        let verdict = seconds > objective ? "MISSES" : "meets"
        return "\(DurationText.short(seconds)) \(verdict) the \(name) of \(DurationText.short(objective))"
    }

    private var proof: [String] {
        var lines: [String] = []
        if !result.checks.isEmpty {
            let held = result.checks.count { $0.holds }
            lines.append("checks: \(grouped(held)) of \(grouped(result.checks.count)) hold")
        }
        if !result.probes.isEmpty {
            lines.append(
                "probes: \(grouped(result.probes.count { $0.passed })) of \(grouped(result.probes.count)) passed")
        }
        if let untouched = result.untouched {
            lines.append(
                "untouched: \(counted(untouched, "other container, volume and network", plural: "other containers, volumes and networks"))"
            )
        }
        return lines
    }

    private var troubles: [String] {
        result.findings.map { finding in
            "found: \(EscapedName.line(([finding.message] + finding.causes).joined(separator: ": ")))"
        }
            + result.components.flatMap { component in
                component.warnings.map { "warning: \(EscapedName.line("\(component.name): \($0)"))" }
            } + result.warnings.map { "warning: \(EscapedName.line($0))" }
            + result.leftOut.map { "left out: \(EscapedName.line($0))" }
    }

    private var outlook: [String] {
        forecast?.text(whole: "expected: whole stack", component: "expected:") ?? []
    }
}

extension RecoveryForecast {
    /// A line for the whole, then one for each component; they begin so.
    func text(whole: String, component: String) -> [String] {
        lines.map { line in
            (line.component.map { "\(component) \(EscapedName.line($0))" } ?? whole)
                + " \(line.today.text); twice the data \(line.twice.text); ten times \(line.tenfold.text)"
        }
    }
}

extension RecoveryForecast.Span {
    var text: String {
        "\(DurationText.short(seconds)) (\(DurationText.short(least)) to \(DurationText.short(most)))"
    }
}

/// A drill in a listing.
struct DrillRow: TableRow {
    static let messageType = "drill"
    static let columns = [
        TableColumn("ID"), TableColumn("TIME (UTC)"), TableColumn("SNAPSHOT"), TableColumn("SCOPE"),
        TableColumn("VERDICT"), TableColumn("RTA", alignsRight: true), TableColumn("RTO", alignsRight: true),
        TableColumn("RPA", alignsRight: true), TableColumn("RPO", alignsRight: true), TableColumn("FOUND"),
    ]

    let id: String
    let time: Timestamp
    let snapshot: String
    let full: Bool
    let samplePercent: Double?
    let verdict: String
    let verified: Bool
    let rta: Double?
    let rto: Double?
    let rpa: Double?
    let rpo: Double?
    let findings: Int
    let found: String?

    private let scope: String

    private enum CodingKeys: String, CodingKey {
        case id, time, snapshot, full, verdict, verified, rta, rto, rpa, rpo, findings, found
        case samplePercent = "sample_percent"
    }

    init(_ entry: DrillHistory.Entry) {
        let result = entry.result
        id = entry.id.hex
        time = result.started
        snapshot = result.snapshot.hex
        full = result.isFull
        samplePercent = result.samplePercent
        scope = result.isFull || result.samplePercent != nil ? DrillSummary.scope(result) : "part"
        verdict = result.verdict.rawValue
        verified = result.verified
        rta = result.objectives.rta
        rto = result.objectives.rto
        rpa = result.objectives.rpa
        rpo = result.objectives.rpo
        findings = result.findings.count
        found = result.findings.first?.message
    }

    var cells: [String] {
        func short(_ seconds: Double?) -> String { seconds.map { DurationText.short($0) } ?? "-" }
        return [
            String(id.prefix(12)), time.tableText, String(snapshot.prefix(12)), scope, verdict,
            short(rta), samplePercent == nil ? short(rto) : "-", short(rpa), short(rpo),
            found.map { EscapedName.line($0) + (findings > 1 ? " (and \(findings - 1) more)" : "") } ?? "-",
        ]
    }
}
