// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Names the hour, day, week, month and year a time belongs to in one time zone. Two times are in the same stretch
/// exactly when its name is the same.
package struct RetentionCalendar: Sendable {
    package let zone: TimeZoneRules

    package init(zone: TimeZoneRules) { self.zone = zone }

    /// `2026-10-25T02+02:00`, `2026-10-25`, `2026-W43`, `2026-10`, `2026`.
    ///
    /// Hours carry their distance from UTC: the hour that is run through twice when clocks are set back is two hours.
    /// Weeks are those of ISO 8601: they begin on Monday, and belong to the year their Thursday lies in.
    package func name(of period: RetentionPeriod, at time: Timestamp) -> String {
        let seconds = time.seconds.withinCalendar
        let offset = zone.offset(at: seconds)
        let local = Timestamp(seconds: seconds + Int64(offset)).utc
        switch period {
        case .hourly:
            return "\(Self.date(local.year, local.month, local.day))T\(pad(local.hour, 2))\(Self.offsetText(offset))"
        case .daily: return Self.date(local.year, local.month, local.day)
        case .weekly:
            let week = Self.isoWeek(local.year, local.month, local.day)
            return "\(pad(week.year, 4))-W\(pad(week.week, 2))"
        case .monthly: return "\(pad(local.year, 4))-\(pad(local.month, 2))"
        case .yearly: return pad(local.year, 4)
        }
    }

    private static func date(_ year: Int64, _ month: Int, _ day: Int) -> String {
        "\(pad(year, 4))-\(pad(month, 2))-\(pad(day, 2))"
    }

    /// `+02:00`, `-03:30`, `+00:53:28`.
    private static func offsetText(_ offset: Int) -> String {
        let length = abs(offset)
        let seconds = length % 60 == 0 ? "" : ":\(pad(length % 60, 2))"
        return "\(offset < 0 ? "-" : "+")\(pad(length / 3600, 2)):\(pad(length / 60 % 60, 2))\(seconds)"
    }

    /// ISO 8601: week 1 is the one with the year's first Thursday.
    static func isoWeek(_ year: Int64, _ month: Int, _ day: Int) -> (year: Int64, week: Int) {
        let dayNumber = Timestamp(year: year, month: month, day: day).seconds / 86_400
        // 1970-01-01 was a Thursday; 0 is Monday.
        let weekday = ((dayNumber + 3) % 7 + 7) % 7
        let thursday = Timestamp(seconds: (dayNumber - weekday + 3) * 86_400)
        let weekYear = thursday.utc.year
        let firstDay = Timestamp(year: weekYear, month: 1, day: 1)
        return (weekYear, Int((thursday.seconds - firstDay.seconds) / 86_400 / 7) + 1)
    }
}

extension Int64 {
    /// Seconds since 1970, cut to 35 million years on both sides, where calendar arithmetic cannot overflow.
    var withinCalendar: Int64 { Swift.min(Swift.max(self, -(1 << 50)), 1 << 50) }
}
