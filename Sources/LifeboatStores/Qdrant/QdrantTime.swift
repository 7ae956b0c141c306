// SPDX-License-Identifier: Apache-2.0

/// The two forms in which a server's clock is told.
enum QdrantTime {
    /// `Sat, 21 Nov 2026 16:10:28 GMT` (RFC 9110, section 5.6.7) as seconds since 1970.
    static func httpDate(_ text: String) -> Int64? {
        let words = text.split(separator: " ")
        guard words.count == 6, let day = Int64(words[1]),
            let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
                .firstIndex(of: String(words[2])), let year = Int64(words[3])
        else { return nil }
        let clock = words[4].split(separator: ":").compactMap { Int64($0) }
        guard clock.count == 3 else { return nil }
        return seconds(year, Int64(month) + 1, day, clock[0], clock[1], clock[2])
    }

    /// When the server began the snapshot of this name, `<collection>-<peer>-YYYY-MM-DD-HH-MM-SS.snapshot`; nil for a
    /// name the server did not make for this collection.
    static func moment(ofSnapshot name: String, of collection: String) -> Int64? {
        guard name.hasPrefix("\(collection)-"), name.hasSuffix(".snapshot") else { return nil }
        let words = name.dropFirst(collection.count + 1).dropLast(9).split(
            separator: "-", omittingEmptySubsequences: false)
        let numbers = words.compactMap { UInt64($0) }
        guard words.count == 7, numbers.count == 7 else { return nil }
        let parts = numbers.dropFirst().map { Int64(clamping: $0) }
        return seconds(parts[0], parts[1], parts[2], parts[3], parts[4], parts[5])
    }

    /// Days by the algorithm of H. Hinnant, "chrono-compatible low-level date algorithms" (days_from_civil).
    private static func seconds(
        _ year: Int64, _ month: Int64, _ day: Int64, _ hour: Int64, _ minute: Int64, _ second: Int64
    ) -> Int64? {
        guard (1970...9999).contains(year), (1...12).contains(month), (1...31).contains(day),
            (0...23).contains(hour), (0...59).contains(minute), (0...60).contains(second)
        else { return nil }
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
        return days * 86_400 + hour * 3600 + minute * 60 + second
    }
}
