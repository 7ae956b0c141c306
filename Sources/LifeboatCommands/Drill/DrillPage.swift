// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatDrill

/// The report of a drill as one HTML page that needs nothing besides itself.
struct DrillPage {
    private let report: DrillReport
    private var result: DrillResult { report.result }

    /// Facts of a component that are listed; the rest is counted.
    private static let factLimit = 200

    init(_ report: DrillReport) { self.report = report }

    var html: String {
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>\(text("Drill of \(result.stack), \(result.started.tableText) UTC"))</title>
        <style>
        \(DrillPageStyle.text)</style>
        </head>
        <body>
        <main>
        \(([verdict, tiles, findings, timeLine, history, components, asked, forecast, remarks, again]).joined())
        </main>
        </body>
        </html>

        """
    }

    private var sample: String? { DrillSummary.sample(result) }
    private var isSample: Bool { sample != nil }

    private func text(_ text: String) -> String { HTMLText.escaped(text) }

    private func section(_ title: String, _ body: String) -> String {
        "<section>\n<h2>\(text(title))</h2>\n\(body)\n</section>\n"
    }

    // MARK: - Verdict

    private var verdict: String {
        let (kind, title, sentence): (String, String, String) =
            switch result.verdict {
            case .passed where result.samplePercent != nil:
                (
                    "good", "Sample recovered",
                    "A \(sample ?? "") came back as the snapshot says. Only a drill of all of it shows how"
                        + " long the recovery takes, and counts as verified."
                )
            case .passed:
                ("good", "Recovered", "Everything came back as the snapshot says, within the objectives.")
            case .missed:
                (
                    "warn", "Recovered, objective missed",
                    "\(sample.map { "A \($0)" } ?? "Everything") came back as the snapshot says, but"
                        + " \(missed) was missed."
                )
            case .failed:
                (
                    "bad", "Not recovered",
                    "\(counted(result.findings.count, "thing")) went wrong: the first was "
                        + "\(result.findings.first?.message ?? "not told")."
                )
            }
        return """
            <header class="\(kind)">
            <p class="eyebrow">\(text("Recovery drill of stack \(result.stack)"))</p>
            <h1>\(title)</h1>
            <p>\(text(sentence))</p>
            <p class="facts">\(text(about))</p>
            </header>

            """
    }

    private var missed: String {
        switch (!isSample && result.objectives.missesRTO, result.objectives.missesRPO) {
        case (true, true): "both the recovery time objective and the recovery point objective"
        case (false, true): "the recovery point objective"
        default: "the recovery time objective"
        }
    }

    private var about: String {
        "Snapshot \(result.snapshot.shortHex) of \(result.snapshotTime.tableText) UTC"
            + ", \(result.isFull ? "whole" : DrillSummary.scope(result))"
            + ". Drilled \(result.started.tableText) UTC on \(result.host), "
            + "sandbox \(result.sandbox), lifeboat \(result.lifeboat), drill \(report.entry.id.shortHex)."
    }

    private var tiles: String {
        let objectives = result.objectives
        let facts = result.components.clampedSum(\.comparedFacts)
        let different = result.components.reduce(0) { $0 + $1.facts.count { $0.state == .different } }
        let age = objectives.age.map { "newest snapshot \(DurationText.short($0)) old" } ?? "no good snapshot"
        let gap = objectives.worstGap.map { "; worst gap of late \(DurationText.short($0))" } ?? ""
        return "<div class=\"tiles\">\n"
            + tile(
                "Recovery time", objectives.rta.map { DurationText.short($0) } ?? "none",
                sample.map { "for a \($0): not held against the objective" }
                    ?? objectives.rto.map { "objective \(DurationText.short($0))" } ?? "no objective",
                isSample ? nil : objectives.rta.flatMap { time in objectives.rto.map { time / $0 } })
            + tile(
                "Recovery point", objectives.rpa.map { DurationText.short($0) } ?? "none",
                (objectives.rpo.map { "objective \(DurationText.short($0)); " } ?? "no objective; ") + age + gap,
                objectives.rpa.flatMap { point in objectives.rpo.map { point / $0 } })
            + tile(
                "Data", "\(ByteCount(result.bytes))",
                "\(grouped(result.components.clampedSum(\.files))) files and streams in "
                    + counted(result.components.count, "component"), nil)
            + tile(
                "Proof", counted(facts, "fact"),
                different == 0
                    ? "all as in the snapshot; \(counted(result.checks.count, "check")), "
                        + counted(result.probes.count, "probe")
                    : "\(grouped(different)) of them different", nil)
            + "</div>\n"
    }

    private func tile(_ name: String, _ value: String, _ detail: String, _ share: Double?) -> String {
        let bar = share.map { share -> String in
            let kind = share > 1 ? "over" : "under"
            return "<div class=\"bar \(kind)\"><span style=\"width:\(max(1, Int(min(share, 1) * 100)))%\"></span></div>"
        }
        return "<div class=\"tile\"><p class=\"eyebrow\">\(text(name))</p><p class=\"value\">\(text(value))</p>"
            + "\(bar ?? "")<p class=\"detail\">\(text(detail))</p></div>\n"
    }

    private var findings: String {
        if result.findings.isEmpty { return "" }
        let items = result.findings.map { finding in
            let causes = finding.causes.map { "<li>\(text($0))</li>" }.joined()
            let place = [finding.phase, finding.component].compactMap { $0 }.joined(separator: ", ")
            return "<li><strong>\(text(finding.message))</strong> <span class=\"detail\">(\(text(place)))</span>"
                + (causes.isEmpty ? "" : "<ul>\(causes)</ul>")
                + (finding.hint.map { "<p class=\"hint\">\(text($0))</p>" } ?? "") + "</li>"
        }
        return section("Differences", "<ol class=\"findings\">\(items.joined(separator: "\n"))</ol>")
    }

    // MARK: - Times

    private var timeLine: String {
        let legend =
            "<p class=\"legend\"><span class=\"key recovery\"></span>recovery <span class=\"key part\"></span>part of the"
            + " row above <span class=\"key extra\"></span>only in a drill</p>"
        let longest = result.costliest.map { "<p>Longest: \(text($0)). \(text(result.advice ?? ""))</p>" } ?? ""
        return section("Time line", DrillCharts.timeLine(result) + legend + longest)
    }

    private var history: String {
        let objective = isSample ? nil : result.objectives.rto
        let note =
            isSample
            ? "The objective is for the whole."
            : objective.map { "The objective is \(DurationText.short($0))." } ?? "The policy sets no objective."
        return section(
            "Recovery times so far",
            DrillCharts.history(report.comparable, objective: objective)
                + "<p class=\"detail\">\(text(counted(report.comparable.count, "drill"))) of the same components\(isSample ? " and share" : "")."
                + " \(text(note)) A cross is a drill that"
                + " did not recover.</p>")
    }

    private var forecast: String {
        guard let forecast = report.forecast else { return "" }
        let rows = forecast.lines.map { line in
            "<tr><th scope=\"row\">\(text(line.component ?? "whole stack"))</th><td class=\"n\">\(ByteCount(line.bytes))"
                + "</td>"
                + [line.today, line.twice, line.tenfold].map { "<td class=\"n\">\(text($0.text))</td>" }
                .joined() + "</tr>"
        }
        return section(
            "What the next recovery is expected to take",
            table(["", "Data", "Today", "Twice the data", "Ten times"], rows)
                + "<p class=\"detail\">From \(text(counted(forecast.drills, "drill"))): a fixed time and a rate for each"
                + " phase and component; in brackets the range.</p>")
    }

    // MARK: - Proof

    private func table(_ titles: [String], _ rows: [String]) -> String {
        let head = titles.map { "<th scope=\"col\">\(text($0))</th>" }.joined()
        return "<table><thead><tr>\(head)</tr></thead>\n<tbody>\(rows.joined(separator: "\n"))</tbody></table>"
    }

    private var components: String {
        let blocks = result.components.map { component -> String in
            let (kind, word) =
                switch component.state {
                case .verified: ("good", "as in the snapshot")
                case .failed: ("bad", "not recovered as the snapshot says")
                case .readOnly: ("warn", "read and verified, not restored")
                }
            let engines = [
                DrillSummary.share(component, result),
                component.capturedEngine.map { "captured from \(component.store) \($0)" },
                component.drillEngine.map { "restored into \($0)" },
                component.holdsAfterRestart.map { $0 ? "the same after a restart" : "different after a restart" },
            ].compactMap { $0 }
            let warnings = component.warnings.map { "<p class=\"hint\">\(text($0))</p>" }.joined()
            return "<h3>\(text(component.name)) <span class=\"tag \(kind)\">\(word)</span></h3>\n"
                + "<p class=\"detail\">\(text(([("\(ByteCount(component.bytes))")] + engines).joined(separator: "; ")))</p>"
                + warnings + facts(component)
        }
        return section("What was verified, and against what", blocks.joined(separator: "\n"))
    }

    private func facts(_ component: DrillResult.Component) -> String {
        let order: [DrillResult.Fact.State] = [.different, .equal, .told, .leftOut]
        let sorted = order.flatMap { state in component.facts.filter { $0.state == state } }
        if sorted.isEmpty { return "" }
        let rows = sorted.prefix(Self.factLimit).map { fact -> String in
            let (kind, word) =
                switch fact.state {
                case .equal: ("good", "equal")
                case .different: ("bad", "different")
                case .told: ("", "told only")
                case .leftOut: ("", "left out")
                }
            return "<tr><th scope=\"row\">\(text(fact.name))</th><td>\(text(fact.expected))</td>"
                + "<td>\(text(fact.found ?? (fact.state == .different ? "missing" : "")))</td>"
                + "<td><span class=\"tag \(kind)\">\(word)</span></td></tr>"
        }
        let rest = sorted.count - rows.count
        return table(["Fact", "Snapshot", "Sandbox", ""], rows)
            + (rest > 0 ? "<p class=\"detail\">and \(grouped(rest)) more</p>" : "")
    }

    private var asked: String {
        var body = ""
        if !result.checks.isEmpty {
            body += table(
                ["Check", "Sandbox", "Snapshot", ""],
                result.checks.map { check in
                    "<tr><th scope=\"row\">\(text(check.name))</th><td>\(text(check.explanation))</td>"
                        + "<td>\(text(check.captured ?? "not asked"))</td><td>\(mark(check.holds, "holds", "fails"))</td></tr>"
                })
        }
        if !result.probes.isEmpty {
            body += table(
                ["Probe", "Kind", "Answer", "Time", ""],
                result.probes.map { probe in
                    "<tr><th scope=\"row\">\(text(probe.name))</th><td>\(text(probe.kind))</td>"
                        + "<td>\(text(probe.detail))</td><td class=\"n\">\(DurationText.short(probe.seconds))</td>"
                        + "<td>\(mark(probe.passed, "passed", "failed"))</td></tr>"
                })
        }
        return body.isEmpty ? "" : section("Checks and probes", body)
    }

    private func mark(_ isGood: Bool, _ good: String, _ bad: String) -> String {
        "<span class=\"tag \(isGood ? "good" : "bad")\">\(isGood ? good : bad)</span>"
    }

    // MARK: - The rest

    private var remarks: String {
        let items =
            result.leftOut.map { "<li>Not drilled: \(text($0))</li>" } + result.warnings.map { "<li>\(text($0))</li>" }
        return items.isEmpty ? "" : section("To be known", "<ul>\(items.joined(separator: "\n"))</ul>")
    }

    private var again: String {
        section(
            "How to repeat it",
            "<pre>\(text(result.repeatCommand))</pre>"
                + "<p class=\"detail\">With --keep the sandbox stays for a look around, until lifeboat drill clean.</p>"
        )
    }
}
