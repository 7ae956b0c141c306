// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// A rule for all years in the form of POSIX's TZ variable, with the extension of RFC 8536 (hours -167 to 167):
/// `CET-1CEST,M3.5.0,M10.5.0/3`, `<+0530>-5:30`.
package struct PosixTimeZone: Sendable, Equatable {
    /// Seconds east of UTC.
    let standardOffset: Int
    private let daylight: Daylight?

    private struct Daylight: Sendable, Equatable {
        /// Seconds east of UTC.
        var offset: Int
        var start: Change
        var end: Change
    }

    /// When clocks are changed in a year.
    private struct Change: Sendable, Equatable {
        enum Day: Sendable, Equatable {
            /// 1...365; February 29 is never counted.
            case julian(Int)
            /// 0...365.
            case zeroBased(Int)
            /// The nth (5: last) of a weekday (0: Sunday) in a month.
            case weekday(month: Int, nth: Int, weekday: Int)
        }

        var day: Day
        /// Seconds after midnight, on the clocks as they are before the change.
        var time: Int
    }

    package init(standardOffset: Int) {
        self.standardOffset = standardOffset
        daylight = nil
    }

    /// Nil for what is no such rule. A rule that names daylight time must say when it begins and ends.
    package init?(_ text: String) {
        var scanner = Scanner(bytes: Array(text.utf8))
        guard scanner.abbreviation(), let west = scanner.time(24) else { return nil }
        standardOffset = -west
        if scanner.atEnd {
            daylight = nil
            return
        }
        guard scanner.abbreviation() else { return nil }
        var offset = standardOffset + 3600
        if !scanner.isAt(UInt8(ascii: ",")) {
            guard let west = scanner.time(24) else { return nil }
            offset = -west
        }
        guard scanner.skip(UInt8(ascii: ",")), let start = scanner.change(), scanner.skip(UInt8(ascii: ",")),
            let end = scanner.change(), scanner.atEnd
        else { return nil }
        daylight = Daylight(offset: offset, start: start, end: end)
    }

    /// Seconds to add to UTC at `seconds` since 1970.
    package func offset(at seconds: Int64) -> Int {
        guard let daylight else { return standardOffset }
        let seconds = seconds.withinCalendar
        let year = Timestamp(seconds: seconds + Int64(standardOffset)).utc.year
        let start = Self.instant(daylight.start, year, offset: standardOffset)
        let end = Self.instant(daylight.end, year, offset: daylight.offset)
        let isDaylight = start < end ? (start..<end).contains(seconds) : !(end..<start).contains(seconds)
        return isDaylight ? daylight.offset : standardOffset
    }

    private static func instant(_ change: Change, _ year: Int64, offset: Int) -> Int64 {
        let newYear = Timestamp(year: year, month: 1, day: 1).seconds
        let dayStart: Int64
        switch change.day {
        case .julian(let day):
            let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
            dayStart = newYear + Int64(isLeap && day >= 60 ? day : day - 1) * 86_400
        case .zeroBased(let day): dayStart = newYear + Int64(day) * 86_400
        case .weekday(let month, let nth, let weekday):
            let first = Timestamp(year: year, month: month, day: 1).seconds
            let next = month == 12 ? (year + 1, 1) : (year, month + 1)
            let following = Timestamp(year: next.0, month: next.1, day: 1).seconds
            // 1970-01-01 was a Thursday.
            let firstWeekday = Int(((first / 86_400 + 4) % 7 + 7) % 7)
            var day = first + Int64((weekday - firstWeekday + 7) % 7 + (nth - 1) * 7) * 86_400
            if day >= following { day -= 7 * 86_400 }
            dayStart = day
        }
        return dayStart + Int64(change.time - offset)
    }

    private struct Scanner {
        let bytes: [UInt8]
        var position = 0

        init(bytes: [UInt8]) { self.bytes = bytes }

        var atEnd: Bool { position == bytes.count }

        func isAt(_ byte: UInt8) -> Bool { position < bytes.count && bytes[position] == byte }

        mutating func skip(_ byte: UInt8) -> Bool {
            guard isAt(byte) else { return false }
            position += 1
            return true
        }

        /// Three letters or more, or anything of letters, digits, `+` and `-` in angle brackets.
        mutating func abbreviation() -> Bool {
            let quoted = skip(UInt8(ascii: "<"))
            let start = position
            while position < bytes.count {
                let byte = bytes[position]
                let isLetter = (65...90).contains(byte) || (97...122).contains(byte)
                let isMore = quoted && ((48...57).contains(byte) || byte == 43 || byte == 45)
                guard isLetter || isMore else { break }
                position += 1
            }
            guard position - start >= 3 else { return false }
            return !quoted || skip(UInt8(ascii: ">"))
        }

        mutating func number(_ range: ClosedRange<Int>) -> Int? {
            var value = 0
            let start = position
            while position < bytes.count, (48...57).contains(bytes[position]), position - start < 4 {
                value = value * 10 + Int(bytes[position] - 48)
                position += 1
            }
            return position > start && range.contains(value) ? value : nil
        }

        /// `[+-]hh[:mm[:ss]]` in seconds.
        mutating func time(_ maximumHours: Int) -> Int? {
            let sign = skip(UInt8(ascii: "-")) ? -1 : 1
            if sign == 1 { _ = skip(UInt8(ascii: "+")) }
            guard let hours = number(0...maximumHours) else { return nil }
            var seconds = hours * 3600
            for unit in [60, 1] {
                guard skip(UInt8(ascii: ":")) else { break }
                guard let value = number(0...59) else { return nil }
                seconds += value * unit
            }
            return sign * seconds
        }

        /// `M3.5.0/2`, `J60`, `59`; the time is 02:00 when it is left out.
        mutating func change() -> Change? {
            let day: Change.Day
            if skip(UInt8(ascii: "M")) {
                guard let month = number(1...12), skip(UInt8(ascii: ".")), let nth = number(1...5),
                    skip(UInt8(ascii: ".")), let weekday = number(0...6)
                else { return nil }
                day = .weekday(month: month, nth: nth, weekday: weekday)
            } else if skip(UInt8(ascii: "J")) {
                guard let number = number(1...365) else { return nil }
                day = .julian(number)
            } else {
                guard let number = number(0...365) else { return nil }
                day = .zeroBased(number)
            }
            guard skip(UInt8(ascii: "/")) else { return Change(day: day, time: 7200) }
            guard let time = time(167) else { return nil }
            return Change(day: day, time: time)
        }
    }
}
