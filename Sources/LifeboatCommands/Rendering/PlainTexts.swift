// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Lengths of time for people.
package enum DurationText {
    /// `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
    package static func short(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0, seconds < 1e12 else { return "?" }
        if seconds < 9.95 {
            let tenths = Int(nearest: seconds * 10)
            return "\(tenths / 10).\(tenths % 10) s"
        }
        let whole = Int(nearest: seconds)
        switch whole {
        case ..<60: return "\(whole) s"
        case ..<3600: return whole % 60 == 0 ? "\(whole / 60) min" : "\(whole / 60) min \(whole % 60) s"
        case ..<86_400:
            let minutes = whole / 60
            return minutes % 60 == 0 ? "\(minutes / 60) h" : "\(minutes / 60) h \(minutes % 60) min"
        default:
            let hours = whole / 3600
            return hours % 24 == 0 ? "\(hours / 24) d" : "\(hours / 24) d \(hours % 24) h"
        }
    }

    /// `0:07`, `12:34`, `1:02:03`.
    package static func clock(_ seconds: Double) -> String {
        let whole = max(0, Int(seconds.isFinite ? min(seconds, 1e12) : 0))
        let minutes = "\(whole >= 3600 ? pad(whole / 60 % 60, 2) : "\(whole / 60)"):\(pad(whole % 60, 2))"
        return whole >= 3600 ? "\(whole / 3600):\(minutes)" : minutes
    }
}

extension Timestamp {
    /// `2026-11-21 02:00:00`, UTC: for tables.
    package var tableText: String { String(rfc3339.dropLast()).replacingFirst("T", with: " ") }
}

extension String {
    fileprivate func replacingFirst(_ character: Character, with other: Character) -> String {
        guard let index = firstIndex(of: character) else { return self }
        var result = self
        result.replaceSubrange(index...index, with: [other])
        return result
    }
}

/// `1,234,567`.
package func grouped(_ number: some BinaryInteger) -> String {
    let digits = String(number.magnitude)
    var result = ""
    for (position, digit) in digits.enumerated() {
        if position > 0, (digits.count - position).isMultiple(of: 3) { result.append(",") }
        result.append(digit)
    }
    return number.signum() < 0 ? "-\(result)" : result
}

/// `1 file`, `2 files`: `word` with an s unless there is one.
package func counted(_ number: some BinaryInteger, _ word: String, plural: String? = nil) -> String {
    "\(grouped(number)) \(number == 1 ? word : plural ?? "\(word)s")"
}
