// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// How far the clocks of one place were, are and will be from UTC: the content of a file of the tz database (TZif,
/// RFC 8536), or a rule in the form of POSIX's TZ. A pure value.
package struct TimeZoneRules: Sendable, Equatable {
    /// `Europe/Berlin`, for messages and tombstones.
    package let name: String
    /// Seconds since 1970 from which each offset holds; strictly ascending.
    private let transitions: [Int64]
    /// Seconds east of UTC; one for each transition.
    private let offsets: [Int32]
    /// Before the first transition.
    private let firstOffset: Int32
    /// From the last transition on; nil: the last offset goes on for ever.
    private let rule: PosixTimeZone?

    package static let utc = TimeZoneRules(name: "UTC", rule: PosixTimeZone(standardOffset: 0))

    /// A zone that follows one rule at all times.
    package init(name: String, rule: PosixTimeZone) {
        self.name = name
        transitions = []
        offsets = []
        firstOffset = Int32(rule.standardOffset)
        self.rule = rule
    }

    /// Seconds to add to UTC for the time on the clocks at `seconds` since 1970.
    package func offset(at seconds: Int64) -> Int {
        guard let last = transitions.last else { return rule?.offset(at: seconds) ?? Int(firstOffset) }
        if seconds >= last, let rule { return rule.offset(at: seconds) }
        var low = 0
        var high = transitions.count
        while low < high {
            let middle = (low + high) / 2
            if transitions[middle] <= seconds { low = middle + 1 } else { high = middle }
        }
        return Int(low == 0 ? firstOffset : offsets[low - 1])
    }

    /// The moment, in seconds since 1970, at which the clocks of this zone show `local` (seconds since 1970 as if they
    /// were UTC). Of a time the clocks show twice, the second; of one they skip, as if they had not been set forward.
    package func seconds(atLocal local: Int64) -> Int64 {
        let local = local.withinCalendar
        // No zone changes its clocks twice within two days.
        let before = offset(at: local - 86_400)
        let candidates = [offset(at: local + 86_400), before].map { local - Int64($0) }
        return candidates.filter { $0 + Int64(offset(at: $0)) == local }.max() ?? local - Int64(before)
    }

    /// More than any zone has, less than a wrong file.
    package static let maximumBytes = 1 << 20

    /// Reads a TZif file, version 1 to 4. Throws for everything that is not one, and for the zones with leap seconds
    /// (`right/…`), whose seconds are not those of a snapshot.
    package init(name: String, tzif bytes: [UInt8]) throws(LifeboatError) {
        var reader = Reader(bytes: bytes, name: name)
        var header = try reader.header()
        var width = 4
        if header.version >= 0x32 {
            // The first block repeats the data in 32 bits for old readers.
            try reader.skip(header.length(width: 4))
            header = try reader.header()
            width = 8
        }
        guard header.leapSeconds == 0 else { throw reader.refused("it counts leap seconds") }
        guard header.types > 0 else { throw reader.refused("it has no local time") }
        var transitions: [Int64] = []
        for _ in 0..<header.times {
            let time = try reader.integer(width)
            if let last = transitions.last, last >= time { throw reader.refused("its times are out of order") }
            transitions.append(time)
        }
        var types: [Int] = []
        for _ in 0..<header.times {
            let type = Int(try reader.byte())
            guard type < header.types else { throw reader.refused("a time has no offset") }
            types.append(type)
        }
        var offsets: [Int32] = []
        for _ in 0..<header.types {
            let offset = try reader.integer(4)
            // A day and two hours, as RFC 8536 recommends.
            guard (-89_999...93_599).contains(offset) else { throw reader.refused("an offset is out of range") }
            offsets.append(Int32(offset))
            try reader.skip(2)
        }
        try reader.skip(header.tail)
        self.name = name
        self.transitions = transitions
        self.offsets = types.map { offsets[$0] }
        firstOffset = offsets[0]
        rule = width == 8 ? try reader.footer() : nil
    }

    private init(name: String, rule: PosixTimeZone?, _ offset: Int32 = 0) {
        self.name = name
        transitions = []
        offsets = []
        firstOffset = offset
        self.rule = rule
    }

    /// Counts of a TZif header.
    private struct Header {
        var version: UInt8
        var utIndicators: Int
        var standardIndicators: Int
        var leapSeconds: Int
        var times: Int
        var types: Int
        var characters: Int

        /// Bytes of what follows the local time types when there are no leap seconds.
        var tail: Int { characters + standardIndicators + utIndicators }

        /// Bytes of the whole block.
        func length(width: Int) -> Int {
            times * (width + 1) + types * 6 + tail + leapSeconds * (width + 4)
        }
    }

    private struct Reader {
        let bytes: [UInt8]
        let name: String
        var position = 0

        init(bytes: [UInt8], name: String) {
            self.bytes = bytes
            self.name = name
        }

        func refused(_ reason: String) -> LifeboatError {
            LifeboatError(
                "the data of time zone '\(name)' cannot be used", causes: [reason],
                hint: "Name another zone, such as Europe/Berlin or UTC.", exitCode: .usage)
        }

        mutating func byte() throws(LifeboatError) -> UInt8 {
            guard position < bytes.count else { throw refused("it ends too early") }
            defer { position += 1 }
            return bytes[position]
        }

        mutating func skip(_ count: Int) throws(LifeboatError) {
            guard count <= bytes.count - position else { throw refused("it ends too early") }
            position += count
        }

        /// Big-endian, signed.
        mutating func integer(_ width: Int) throws(LifeboatError) -> Int64 {
            var value: UInt64 = 0
            for _ in 0..<width { value = value << 8 | UInt64(try byte()) }
            return width == 4 ? Int64(Int32(truncatingIfNeeded: value)) : Int64(bitPattern: value)
        }

        private mutating func count() throws(LifeboatError) -> Int {
            let value = try integer(4)
            // Each counts at least a byte: a larger one cannot be true, and sums stay far from overflow.
            guard (0...Int64(TimeZoneRules.maximumBytes)).contains(value) else { throw refused("a count is too large") }
            return Int(value)
        }

        mutating func header() throws(LifeboatError) -> Header {
            guard bytes.count - position >= 44, Array(bytes[position..<position + 4]) == Array("TZif".utf8) else {
                throw refused("it is no TZif data")
            }
            position += 4
            let version = try byte()
            try skip(15)
            return Header(
                version: version, utIndicators: try count(), standardIndicators: try count(),
                leapSeconds: try count(), times: try count(), types: try count(), characters: try count())
        }

        /// The rule between two newlines at the end; nil when it is empty.
        mutating func footer() throws(LifeboatError) -> PosixTimeZone? {
            guard try byte() == 0x0A, let end = bytes[position...].firstIndex(of: 0x0A) else {
                throw refused("its closing rule is missing")
            }
            let text = String(decoding: bytes[position..<end], as: UTF8.self)
            if text.isEmpty { return nil }
            guard let rule = PosixTimeZone(text) else { throw refused("its closing rule '\(text)' is not understood") }
            return rule
        }
    }
}
