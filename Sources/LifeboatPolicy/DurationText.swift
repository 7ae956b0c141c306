// SPDX-License-Identifier: Apache-2.0

/// Lengths of time as a policy writes them: `500ms`, `90s`, `15m`, `48h`, `7d`, `1h30m`.
enum DurationText {
    /// Ten years: more is a typing error.
    static let maximumSeconds = 10.0 * 366 * 86_400

    enum Problem: Error, Equatable {
        /// A number without a unit.
        case noUnit
        case unknownUnit(String)
        case notADuration
        case tooLong
    }

    /// Seconds; zero or more.
    static func seconds(_ text: String) throws(Problem) -> Double {
        var rest = Substring(text)
        guard !rest.isEmpty else { throw .notADuration }
        var total = 0.0
        while !rest.isEmpty {
            let number = rest.prefix { ("0"..."9").contains($0) || $0 == "." }
            guard !number.isEmpty, number.utf8.count <= 12, number.first != ".", number.last != ".",
                let value = Double(number)
            else { throw .notADuration }
            rest = rest.dropFirst(number.count)
            let unit = rest.prefix { $0.isLetter }
            guard !unit.isEmpty || rest.isEmpty else { throw .notADuration }
            rest = rest.dropFirst(unit.count)
            switch unit {
            case "ms": total += value / 1000
            case "s": total += value
            case "m": total += value * 60
            case "h": total += value * 3600
            case "d": total += value * 86_400
            case "": throw .noUnit
            default: throw .unknownUnit(String(unit))
            }
        }
        guard total <= maximumSeconds else { throw .tooLong }
        return total
    }
}

/// The policy's way to write lengths of time, for the command line.
package enum PolicyDuration {
    /// Seconds, more than zero; nil for what is no length of time such as `90s`, `48h` or `7d`, up to ten years.
    package static func seconds(_ text: String) -> Double? {
        guard let seconds = try? DurationText.seconds(text), seconds > 0 else { return nil }
        return seconds
    }
}
