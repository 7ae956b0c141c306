// SPDX-License-Identifier: Apache-2.0

/// A time as somebody wrote it: the fields of the calendar and, where it was given, the distance from UTC. What a time
/// without one means depends on whose clock it is.
package struct WrittenTime: Sendable, Equatable {
    /// The fields, read as if they were UTC.
    package let local: Timestamp
    /// Seconds east of UTC; nil when the text gives none.
    package let offset: Int?
    /// The text is a date alone: `2026-11-21`.
    package let isDate: Bool

    /// Parses RFC 3339 with or without fraction; a space may stand for the `T`, and the zone, the seconds or the time of
    /// day may be left out. Nil for anything else.
    package init?(_ text: String) {
        var scanner = Scanner(bytes: Array(text.utf8))
        guard let year = scanner.digits(4), scanner.skip("-"), let month = scanner.digits(2), scanner.skip("-"),
            let day = scanner.digits(2), (1...12).contains(month),
            (1...Self.days(inMonth: month, year: year)).contains(day)
        else { return nil }
        var hour = 0
        var minute = 0
        var second = 0
        var fraction: Int32 = 0
        var offset: Int?
        isDate = scanner.atEnd
        if !isDate {
            guard scanner.skip("T") || scanner.skip(" ") || scanner.skip("t"), let hours = scanner.digits(2),
                scanner.skip(":"), let minutes = scanner.digits(2), hours < 24, minutes < 60
            else { return nil }
            hour = hours
            minute = minutes
            if scanner.skip(":") {
                guard let seconds = scanner.digits(2), seconds <= 60 else { return nil }
                second = seconds
                if scanner.skip(".") {
                    guard let value = scanner.fraction() else { return nil }
                    fraction = value
                }
            }
            if scanner.skip("Z") || scanner.skip("z") {
                offset = 0
            } else if !scanner.atEnd {
                let sign = scanner.skip("+") ? 1 : scanner.skip("-") ? -1 : 0
                guard sign != 0, let hours = scanner.digits(2), scanner.skip(":"), let minutes = scanner.digits(2),
                    hours < 24, minutes < 60
                else { return nil }
                offset = sign * (hours * 3600 + minutes * 60)
            }
        }
        guard scanner.atEnd else { return nil }
        self.offset = offset
        local = Timestamp(
            seconds: Timestamp(
                year: Int64(year), month: month, day: day, hour: hour, minute: minute, second: second
            ).seconds, nanoseconds: fraction)
    }

    private static func days(inMonth month: Int, year: Int) -> Int {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        return [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
    }

    private struct Scanner {
        let bytes: [UInt8]
        var position = 0

        init(bytes: [UInt8]) { self.bytes = bytes }

        var atEnd: Bool { position == bytes.count }

        mutating func skip(_ character: Unicode.Scalar) -> Bool {
            guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
            position += 1
            return true
        }

        mutating func digits(_ count: Int) -> Int? {
            guard bytes.count - position >= count else { return nil }
            var value = 0
            for byte in bytes[position..<position + count] {
                guard (48...57).contains(byte) else { return nil }
                value = value * 10 + Int(byte - 48)
            }
            position += count
            return value
        }

        mutating func fraction() -> Int32? {
            var value: Int32 = 0
            var count = 0
            while position < bytes.count, (48...57).contains(bytes[position]) {
                if count < 9 { value = value * 10 + Int32(bytes[position] - 48) }
                count += 1
                position += 1
            }
            guard count > 0 else { return nil }
            for _ in 0..<max(0, 9 - count) { value *= 10 }
            return value
        }
    }
}
