// SPDX-License-Identifier: Apache-2.0

/// A cron schedule of five fields as crontab(5) has them: minute, hour, day of month, month, day of week; each `*`, a
/// number, a range, a list, with `/step`; month and day names of three letters.
package struct CronExpression: Sendable, Equatable {
    /// What each field allows.
    package let minutes, hours, daysOfMonth, months, daysOfWeek: Set<Int>

    package struct Problem: Error, Equatable {
        /// Lower case, no full stop.
        package let message: String
    }

    private struct Field {
        let name: String
        let range: ClosedRange<Int>
        var names: [String] = []
    }

    private static let fields = [
        Field(name: "minute", range: 0...59),
        Field(name: "hour", range: 0...23),
        Field(name: "day of month", range: 1...31),
        Field(
            name: "month", range: 1...12,
            names: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
        // 7 is Sunday too.
        Field(name: "day of week", range: 0...7, names: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
    ]

    package init(_ text: String) throws(Problem) {
        guard !text.hasPrefix("@") else { throw Problem(message: "names like '@daily' are not supported") }
        let parts = text.split { $0 == " " || $0 == "\t" }
        guard parts.count == 5 else {
            throw Problem(message: "a schedule has 5 fields, and this has \(parts.count)")
        }
        var values: [Set<Int>] = []
        for (part, field) in zip(parts, Self.fields) { values.append(try Self.values(part, field)) }
        (minutes, hours, daysOfMonth, months) = (values[0], values[1], values[2], values[3])
        daysOfWeek = Set(values[4].map { $0 % 7 })
        try Self.checkDates(days: daysOfMonth, months: months, anyWeekday: parts[4] == "*")
    }

    private static func values(_ text: Substring, _ field: Field) throws(Problem) -> Set<Int> {
        var all = Set<Int>()
        for item in text.split(separator: ",", omittingEmptySubsequences: false) {
            let pieces = item.split(separator: "/", omittingEmptySubsequences: false)
            guard pieces.count <= 2, let base = pieces.first, !base.isEmpty else { throw invalid(item, field) }
            var step = 1
            if pieces.count == 2 {
                guard let value = number(pieces[1]), value >= 1, value <= field.range.upperBound else {
                    throw invalid(item, field)
                }
                step = value
            }
            let range: ClosedRange<Int>
            if base == "*" {
                range = field.range.lowerBound...(field.name == "day of week" ? 6 : field.range.upperBound)
            } else {
                let ends = base.split(separator: "-", omittingEmptySubsequences: false)
                guard ends.count <= 2, let lower = value(ends[0], field), let upper = value(ends[ends.count - 1], field)
                else { throw invalid(item, field) }
                guard lower <= upper else {
                    throw Problem(message: "the range '\(base)' of the \(field.name) runs backwards")
                }
                guard pieces.count == 1 || ends.count == 2 else {
                    throw Problem(message: "a step needs '*' or a range before it: '\(item)' in the \(field.name)")
                }
                range = lower...upper
            }
            all.formUnion(stride(from: range.lowerBound, through: range.upperBound, by: step))
        }
        return all
    }

    private static func value(_ text: Substring, _ field: Field) -> Int? {
        if let index = field.names.firstIndex(of: text.lowercased()) {
            return index + (field.name == "month" ? 1 : 0)
        }
        guard let number = number(text), field.range.contains(number) else { return nil }
        return number
    }

    private static func number(_ text: Substring) -> Int? {
        guard (1...2).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return Int(text)
    }

    private static func invalid(_ item: Substring, _ field: Field) -> Problem {
        Problem(
            message: "'\(item)' is no \(field.name) (\(field.range.lowerBound) to \(field.range.upperBound))")
    }

    /// A date that never comes would be a schedule that silently never runs.
    private static func checkDates(days: Set<Int>, months: Set<Int>, anyWeekday: Bool) throws(Problem) {
        let longest = months.map { [4, 6, 9, 11].contains($0) ? 30 : $0 == 2 ? 29 : 31 }.max() ?? 31
        guard anyWeekday, let earliest = days.min(), earliest > longest else { return }
        throw Problem(message: "no month of this schedule has a day \(earliest)")
    }
}
