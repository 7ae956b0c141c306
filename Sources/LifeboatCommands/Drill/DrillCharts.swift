// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatDrill

/// The charts of a drill's page as inline SVG. Colours come from the page's style, so they follow light, dark and print.
enum DrillCharts {
    private static let width = 900.0

    /// A row of the time line: stretches that follow each other under one name, or one of them on its own.
    private struct Row {
        var title: String
        var stretches: [DrillResult.Phase]
        var isDetail = false

        var seconds: Double { stretches.reduce(0) { $0 + $1.seconds } }
    }

    /// What takes less than this share of the whole gets no row of its own.
    private static let detailShare = 0.03

    private static func rows(_ result: DrillResult, _ total: Double) -> [Row] {
        var rows: [Row] = []
        for phase in result.phases.filter({ $0.of == nil }).sorted(by: { $0.start < $1.start }) {
            if rows.last?.title == phase.name {
                rows[rows.count - 1].stretches.append(phase)
            } else {
                rows.append(Row(title: phase.name, stretches: [phase]))
            }
        }
        return rows.flatMap { row -> [Row] in
            let parts = result.phases.filter { part in
                part.of == row.title && row.stretches.contains { $0.component == part.component }
            }
            let details = (row.stretches.count > 1 ? row.stretches : []) + parts
            return [row]
                + details.filter { $0.seconds >= total * detailShare }.sorted { $0.start < $1.start }.map { detail in
                    let place = detail.component.map { "'\($0)'" } ?? "the stack"
                    return Row(
                        title: detail.of == nil ? place : "\(place): \(detail.name)", stretches: [detail],
                        isDetail: true)
                }
        }
    }

    /// A row for each phase, in the order in which they began, with what in them took long.
    static func timeLine(_ result: DrillResult) -> String {
        let total = max(result.phases.map { $0.start + $0.seconds }.max() ?? 0, 0.001)
        let rows = rows(result, total)
        let (left, right, step, top) = (190.0, 70.0, 22.0, 26.0)
        let span = width - left - right
        let height = top + Double(rows.count) * step + 6
        var marks = ""
        for tick in ticks(total) {
            let x = left + tick / total * span
            marks += line(x, top - 4, x, height - 4, "grid")
            marks += label(x, 14, DurationText.short(tick), "middle", "axis")
        }
        for (number, row) in rows.enumerated() {
            let y = top + Double(number) * step
            marks += label(left - 8, y + 14, row.title, "end", row.isDetail ? "part-name" : "name")
            var end = left
            for phase in row.stretches {
                let x = left + phase.start / total * span
                let length = max(2, phase.seconds / total * span)
                end = max(end, x + length)
                let kind = row.isDetail ? "part" : phase.isRecovery ? "recovery" : "extra"
                marks +=
                    "<rect class=\"\(kind)\" x=\"\(number1(x))\" y=\"\(number1(y + 3))\" "
                    + "width=\"\(number1(length))\" height=\"14\"><title>\(HTMLText.escaped(title(phase)))"
                    + "</title></rect>"
            }
            marks += label(min(end + 5, width - 60), y + 14, DurationText.short(row.seconds), "start", "value")
        }
        return svg(height, "Time line of the drill", marks)
    }

    private static func title(_ phase: DrillResult.Phase) -> String {
        let rate = phase.rate.map { ", \(ByteCount(UInt64($0)))/s" } ?? ""
        return
            "\(phase.name)\(phase.component.map { " of '\($0)'" } ?? ""): \(DurationText.short(phase.seconds))\(rate)"
    }

    /// Recovery times of the drills of this stack, oldest first, with the objective.
    static func history(_ results: [DrillResult], objective: Double?) -> String {
        let shown = Array(results.suffix(40))
        let times = shown.compactMap(\.objectives.rta)
        var most = (times.max() ?? 1) * 1.2
        // An objective far above would press the points to the ground: then the text alone tells it.
        let drawn = objective.flatMap { $0 <= most * 4 ? $0 : nil }
        if let drawn { most = max(most, drawn * 1.15) }
        most = max(most, 0.001)
        let (left, right, top, bottom, height) = (80.0, 30.0, 16.0, 34.0, 220.0)
        let span = width - left - right
        let depth = height - top - bottom
        func y(_ seconds: Double) -> Double { top + depth * (1 - seconds / most) }
        func x(_ number: Int) -> Double {
            left + (shown.count < 2 ? span / 2 : span * Double(number) / Double(shown.count - 1))
        }
        var marks = ""
        for tick in ticks(most) {
            marks += line(left, y(tick), width - right, y(tick), "grid")
            marks += label(left - 8, y(tick) + 4, DurationText.short(tick), "end", "axis")
        }
        if let drawn {
            marks += line(left, y(drawn), width - right, y(drawn), "objective")
            marks += label(width - right, y(drawn) - 5, "RTO \(DurationText.short(drawn))", "end", "objective-text")
        }
        let points = shown.enumerated().compactMap { number, result in
            result.objectives.rta.map { "\(number1(x(number))),\(number1(y($0)))" }
        }
        if points.count > 1 { marks += "<polyline class=\"trend\" points=\"\(points.joined(separator: " "))\"/>" }
        for (number, result) in shown.enumerated() {
            let title = "\(result.started.tableText) UTC: "
            if let rta = result.objectives.rta {
                marks +=
                    "<circle class=\"\(result.verdict == .missed ? "bad" : "good")\" cx=\"\(number1(x(number)))\" "
                    + "cy=\"\(number1(y(rta)))\" r=\"4.5\"><title>\(title)\(DurationText.short(rta))</title></circle>"
            } else {
                let (x, y) = (x(number), height - bottom - 8)
                marks +=
                    "<g><title>\(title)did not recover</title>"
                    + line(x - 5, y - 5, x + 5, y + 5, "cross") + line(x - 5, y + 5, x + 5, y - 5, "cross") + "</g>"
            }
        }
        if let first = shown.first, let last = shown.last {
            marks += label(left, height - 10, String(first.started.tableText.prefix(10)), "start", "axis")
            if shown.count > 1 {
                marks += label(width - right, height - 10, String(last.started.tableText.prefix(10)), "end", "axis")
            }
        }
        return svg(height, "Recovery times of the drills so far", marks)
    }

    /// Round places on an axis from 0 to `most`, at most about six.
    static func ticks(_ most: Double) -> [Double] {
        let steps = [
            0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800,
            3600, 7200, 14_400, 21_600, 43_200, 86_400,
        ]
        let step = steps.first { most / $0 <= 6 } ?? most / 6
        return Array(stride(from: 0, through: most, by: step))
    }

    private static func svg(_ height: Double, _ title: String, _ marks: String) -> String {
        "<svg viewBox=\"0 0 \(number1(width)) \(number1(height))\" role=\"img\" aria-label=\"\(title)\">\(marks)</svg>"
    }

    private static func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ kind: String) -> String {
        "<line class=\"\(kind)\" x1=\"\(number1(x1))\" y1=\"\(number1(y1))\" x2=\"\(number1(x2))\" "
            + "y2=\"\(number1(y2))\"/>"
    }

    private static func label(
        _ x: Double, _ y: Double, _ text: String, _ anchor: String, _ kind: String
    ) -> String {
        "<text class=\"\(kind)\" x=\"\(number1(x))\" y=\"\(number1(y))\" text-anchor=\"\(anchor)\">"
            + "\(HTMLText.escaped(text))</text>"
    }

    /// With one digit after the point.
    private static func number1(_ value: Double) -> String {
        let tenths = Int(nearest: value * 10)
        return tenths.isMultiple(of: 10) ? "\(tenths / 10)" : "\(Double(tenths) / 10)"
    }
}

enum HTMLText {
    /// Text for HTML, also between quotes; what does not print is shown escaped.
    static func escaped(_ text: String) -> String {
        EscapedName.line(text).replacing("&", with: "&amp;").replacing("<", with: "&lt;")
            .replacing(">", with: "&gt;").replacing("\"", with: "&quot;").replacing("'", with: "&#39;")
    }
}
