// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatDrill

/// The figures of a drill in Prometheus' text format (version 0.0.4).
struct DrillMetrics {
    private let report: DrillReport

    init(_ report: DrillReport) { self.report = report }

    private struct Sample {
        var labels: [(name: String, value: String)] = []
        var value: Double
    }

    var text: String {
        let result = report.result
        let objectives = result.objectives
        var text = ""
        func add(_ name: String, _ help: String, _ samples: [Sample]) {
            guard !samples.isEmpty else { return }
            text += "# HELP lifeboat_drill_\(name) \(help)\n# TYPE lifeboat_drill_\(name) gauge\n"
            for sample in samples {
                let labels = ([("stack", result.stack)] + sample.labels)
                    .map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
                text += "lifeboat_drill_\(name){\(labels)} \(Self.number(sample.value))\n"
            }
        }
        func add(_ name: String, _ help: String, _ value: Double?) {
            add(name, help, value.map { [Sample(value: $0)] } ?? [])
        }
        let end = Double(result.ended.seconds)
        add("timestamp_seconds", "When the drill ended.", end)
        let isSample = result.samplePercent != nil
        let whole = report.history.filter { $0.samplePercent == nil }
        let lastGood = whole.last { $0.verdict != .failed }.map { Double($0.ended.seconds) }
        add("last_recovered_timestamp_seconds", "When a drill that was no sample last recovered.", lastGood)
        add(
            "last_verified_timestamp_seconds", "When a drill last verified a whole snapshot.",
            whole.last(where: \.verified).map { Double($0.ended.seconds) })
        add(
            "sample_ratio", "Share of the files, tables and collections; 1: no sample.",
            (result.samplePercent ?? 100) / 100)
        add("recovered", "1 when everything came back as the snapshot says.", result.verdict == .failed ? 0 : 1)
        // A sample tells nothing of the time that the whole would take.
        if !isSample {
            add("objectives_met", "1 when it recovered within the objectives.", result.verdict == .passed ? 1 : 0)
        }
        add("findings", "Things that made the drill fail.", Double(result.findings.count))
        if isSample {
            add("sample_seconds", "Recovery time of the sample.", objectives.rta)
        } else {
            add("rta_seconds", "Recovery time achieved.", objectives.rta)
        }
        add("rto_seconds", "Recovery time objective.", objectives.rto)
        add("rpa_seconds", "Recovery point achieved.", objectives.rpa)
        add("rpo_seconds", "Recovery point objective.", objectives.rpo)
        add("snapshot_age_seconds", "Age of the newest good snapshot at the drill.", objectives.age)
        add("snapshot_gap_seconds", "Longest time without a good snapshot of late.", objectives.worstGap)
        add(
            "bytes", "Plain bytes restored.",
            result.components.map {
                Sample(labels: [("component", $0.name)], value: Double($0.bytes))
            })
        var phases: [(name: String, component: String, seconds: Double)] = []
        for phase in result.phases {
            let name = phase.of.map { "\($0)/\(phase.name)" } ?? phase.name
            let component = phase.component ?? ""
            if let index = phases.firstIndex(where: { $0.name == name && $0.component == component }) {
                phases[index].seconds += phase.seconds
            } else {
                phases.append((name, component, phase.seconds))
            }
        }
        add(
            "phase_seconds", "Time of a phase; those with a slash are part of another.",
            phases.map {
                Sample(labels: [("phase", $0.name), ("component", $0.component)], value: $0.seconds)
            })
        let lines = report.forecast?.lines ?? []
        add(
            "forecast_seconds", "Expected recovery time at so many times the data of today.",
            lines.flatMap { line in
                [("1", line.today), ("2", line.twice), ("10", line.tenfold)].map { factor, span in
                    Sample(labels: [("component", line.component ?? ""), ("factor", factor)], value: span.seconds)
                }
            })
        return text
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    }

    private static func number(_ value: Double) -> String {
        Int64(exactly: value).map { "\($0)" } ?? "\((value * 1000).rounded() / 1000)"
    }
}
