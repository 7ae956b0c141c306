// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// A stretch of the calendar of which one snapshot is kept.
package enum RetentionPeriod: String, CaseIterable, Codable, Sendable {
    case hourly, daily, weekly, monthly, yearly
}

/// What is kept of a stack's snapshots; a count of 0 is a rule that is not used.
///
/// Counts are of hours, days … that have a snapshot: a week without backups costs nothing of what is older.
package struct RetentionRules: Codable, Sendable, Equatable {
    /// The newest ones.
    package var last: Int
    package var hourly: Int
    package var daily: Int
    package var weekly: Int
    package var monthly: Int
    package var yearly: Int
    /// Everything not older than this many seconds, counted back from the newest complete snapshot, not from now: a
    /// stack whose backups have stopped loses nothing.
    package var within: Double?

    /// Largest count, as in a policy.
    package static let maximumCount = 100_000

    package init(
        last: Int = 0, hourly: Int = 0, daily: Int = 0, weekly: Int = 0, monthly: Int = 0, yearly: Int = 0,
        within: Double? = nil
    ) {
        self.last = last
        self.hourly = hourly
        self.daily = daily
        self.weekly = weekly
        self.monthly = monthly
        self.yearly = yearly
        self.within = within
    }

    package func count(_ period: RetentionPeriod) -> Int {
        switch period {
        case .hourly: hourly
        case .daily: daily
        case .weekly: weekly
        case .monthly: monthly
        case .yearly: yearly
        }
    }

    /// Throws an error of usage for rules that are out of range or would keep nothing.
    package func validate() throws(LifeboatError) {
        let counts = [last] + RetentionPeriod.allCases.map { count($0) }
        guard counts.allSatisfy({ (0...Self.maximumCount).contains($0) }), (within ?? 0) >= 0,
            (within ?? 0).isFinite
        else {
            throw LifeboatError(
                "a retention rule is out of range", hint: "Give each rule a count from 0 to \(Self.maximumCount).",
                exitCode: .usage)
        }
        guard counts.contains(where: { $0 > 0 }) || (within ?? 0) > 0 else {
            throw LifeboatError(
                "the retention rules would keep nothing", hint: "Give at least one of them a number above 0.",
                exitCode: .usage)
        }
    }

    /// `last 3, daily 7, within 172800 s`; for messages.
    package var text: String {
        var words = last > 0 ? ["last \(last)"] : []
        for period in RetentionPeriod.allCases where count(period) > 0 {
            words.append("\(period.rawValue) \(count(period))")
        }
        if let within { words.append("within \(Self.duration(within))") }
        return words.joined(separator: ", ")
    }

    /// `7d`, `48h`, `90m`, `30s`: the largest unit that divides it, except that two days are 48 hours.
    package static func duration(_ seconds: Double) -> String {
        guard let whole = Int64(exactly: seconds) else { return "\(seconds)s" }
        if whole.isMultiple(of: 86_400), whole > 2 * 86_400 { return "\(whole / 86_400)d" }
        if whole.isMultiple(of: 3600) { return "\(whole / 3600)h" }
        if whole.isMultiple(of: 60) { return "\(whole / 60)m" }
        return "\(whole)s"
    }
}
