// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    import Glibc
#endif

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, negative before it. Always UTC.
package struct Timestamp: Hashable, Comparable, Sendable {
    package var seconds: Int64
    /// 0..<1_000_000_000, also for times before 1970.
    package var nanoseconds: Int32

    package init(seconds: Int64, nanoseconds: Int32 = 0) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    package static func < (left: Timestamp, right: Timestamp) -> Bool {
        (left.seconds, left.nanoseconds) < (right.seconds, right.nanoseconds)
    }

    /// Seconds from `earlier` to self.
    package func seconds(since earlier: Timestamp) -> Double {
        // Converted before subtracting: times in foreign data may lie further apart than Int64 reaches.
        Double(seconds) - Double(earlier.seconds) + Double(nanoseconds - earlier.nanoseconds) / 1e9
    }

    /// Stops at the ends of the representable range.
    package func adding(seconds delta: Int64) -> Timestamp {
        let (sum, overflow) = seconds.addingReportingOverflow(delta)
        return Timestamp(seconds: overflow ? (delta < 0 ? .min : .max) : sum, nanoseconds: nanoseconds)
    }

    /// Year, month 1...12, day 1...31, hour, minute, second in UTC, proleptic Gregorian calendar.
    package var utc: (year: Int64, month: Int, day: Int, hour: Int, minute: Int, second: Int) {
        let dayNumber = seconds.flooredQuotient(86_400)
        // Not by multiplying back, which overflows in the first day of the range.
        let remainder = Int(seconds % 86_400)
        let secondOfDay = remainder < 0 ? remainder + 86_400 : remainder
        // Days since 0000-03-01, in 400-year eras (Howard Hinnant's civil_from_days).
        let shifted = dayNumber + 719_468
        let era = shifted.flooredQuotient(146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthIndex = (5 * dayOfYear + 2) / 153
        let day = Int(dayOfYear - (153 * monthIndex + 2) / 5 + 1)
        let month = Int(monthIndex < 10 ? monthIndex + 3 : monthIndex - 9)
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, day, secondOfDay / 3600, secondOfDay / 60 % 60, secondOfDay % 60)
    }

    /// The time of a UTC calendar date; fields are not range-checked.
    package init(year: Int64, month: Int, day: Int, hour: Int = 0, minute: Int = 0, second: Int = 0) {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = shiftedYear.flooredQuotient(400)
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = Int64((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1)
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        let dayNumber = era * 146_097 + dayOfEra - 719_468
        self.init(seconds: dayNumber * 86_400 + Int64(hour * 3600 + minute * 60 + second))
    }

    /// RFC 3339 with seconds: `2026-11-21T02:00:00Z`.
    package var rfc3339: String {
        let time = utc
        return "\(pad(time.year, 4))-\(pad(time.month, 2))-\(pad(time.day, 2))"
            + "T\(pad(time.hour, 2)):\(pad(time.minute, 2)):\(pad(time.second, 2))Z"
    }

    /// RFC 3339 with nanoseconds: `2026-11-21T02:00:00.123456789Z`; what manifests keep.
    package var rfc3339Nanoseconds: String {
        "\(rfc3339.dropLast()).\(pad(nanoseconds, 9))Z"
    }

    /// For object names: `20261121T020000Z`.
    package var compact: String {
        let time = utc
        return "\(pad(time.year, 4))\(pad(time.month, 2))\(pad(time.day, 2))"
            + "T\(pad(time.hour, 2))\(pad(time.minute, 2))\(pad(time.second, 2))Z"
    }

    /// Parses RFC 3339 in UTC or with an offset, with or without fraction; a space may stand for the `T`, the zone may
    /// be left out (UTC), and the time of day may be left out or lack its seconds. Nil for anything else.
    package init?(parsing text: String) {
        guard let written = WrittenTime(text) else { return nil }
        self.init(
            seconds: written.local.seconds - Int64(written.offset ?? 0), nanoseconds: written.local.nanoseconds)
    }

}

extension Timestamp: Codable {
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = Timestamp(parsing: try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not an RFC 3339 time")
        }
        self = value
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rfc3339Nanoseconds)
    }
}

/// Where the time comes from: handed down so that tests choose it.
package protocol Clock: Sendable {
    /// The wall clock, UTC.
    func now() -> Timestamp
    /// Seconds on a clock that never steps, from an arbitrary start.
    func monotonicSeconds() -> Double
    /// Blocks the calling thread.
    func sleep(seconds: Double)
}

/// The machine's clocks.
package struct SystemClock: Clock {
    package init() {}

    package func now() -> Timestamp {
        let time = Self.read(CLOCK_REALTIME)
        return Timestamp(seconds: Int64(time.tv_sec), nanoseconds: Int32(time.tv_nsec))
    }

    package func monotonicSeconds() -> Double {
        let time = Self.read(CLOCK_MONOTONIC)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    package func sleep(seconds: Double) {
        guard seconds > 0 else { return }
        var request = timespec(tv_sec: Int(seconds), tv_nsec: Int(seconds.truncatingRemainder(dividingBy: 1) * 1e9))
        var remainder = timespec()
        while nanosleep(&request, &remainder) == -1, errno == EINTR { request = remainder }
    }

    private static func read(_ clock: clockid_t) -> timespec {
        var time = timespec()
        // Cannot fail for these two clocks and a valid pointer.
        clock_gettime(clock, &time)
        return time
    }
}

extension Int64 {
    fileprivate func flooredQuotient(_ divisor: Int64) -> Int64 {
        let quotient = self / divisor
        return self % divisor < 0 ? quotient - 1 : quotient
    }
}

/// `number` in decimal with leading zeros up to `width` digits.
package func pad(_ number: some BinaryInteger, _ width: Int) -> String {
    let text = String(number)
    return String(repeating: "0", count: max(0, width - text.count)) + text
}
