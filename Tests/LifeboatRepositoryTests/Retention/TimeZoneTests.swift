// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatRepository
import LifeboatTesting
import Testing

struct TimeZoneTests {
    /// date(1) of the C library says the same: local time, distance from UTC, ISO week.
    @Test(arguments: [
        "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia",
        "Europe/Dublin", "Africa/Casablanca", "America/St_Johns", "Pacific/Auckland", "Asia/Gaza",
        "America/Sao_Paulo", "Antarctica/Troll", "Africa/Monrovia", "Asia/Tehran", "America/Scoresbysund",
        "CET-1CEST,M3.5.0,M10.5.0/3", "<-03>3<-02>,J60/0,300/25",
    ])
    func localTimesAreThoseOfTheCLibrary(zone: String) throws {
        let rules = try TimeZoneDatabase.local(environment: ["TZ": zone])
        let calendar = RetentionCalendar(zone: rules)
        var random = SplitMix64(seed: 7)
        // 1850 to 2200, and every six hours of some years with changes.
        var times = (0..<1500).map { _ in Int64.random(in: -3_786_912_000...7_258_118_400, using: &random) }
        for year in [2006, 2011, 2026, 2040] {
            let start = Timestamp(year: Int64(year), month: 1, day: 1).seconds
            times += (0..<1464).map { start + $0 * 21_600 + 1799 }
        }
        // The C library applies a rule without a table from 1970 on; here it holds at all times.
        if zone.contains(",") { times.removeAll { $0 < 0 } }
        let folder = try TemporaryFolder(prefix: "lifeboat-zones-")
        defer { try? folder.remove() }
        try AtomicFile.write(times.map { "@\($0)\n" }.joined(), to: "\(folder.path)/times")
        let command = ProcessCommand(
            "date", ["-f", "\(folder.path)/times", "+%Y-%m-%dT%H %::z %G-W%V %Y-%m %Y"],
            environment: ["TZ": zone, "LC_ALL": "C"])
        let result = try SystemProcessRunner().run(command, deadline: 60)
        #expect(result.termination.succeeded, "\(result.standardError)")
        let lines = String(decoding: result.standardOutput, as: UTF8.self).split(separator: "\n")
        #expect(lines.count == times.count)
        var differences: [String] = []
        for (time, line) in zip(times, lines) {
            let words = line.split(separator: " ").map(String.init)
            let expected = [String(words[0].prefix(10)), words[2], words[3], words[4]]
            let stamp = Timestamp(seconds: time)
            let periods: [RetentionPeriod] = [.daily, .weekly, .monthly, .yearly]
            let hour = calendar.name(of: .hourly, at: stamp)
            var offset = words[1].hasSuffix(":00") ? String(words[1].dropLast(3)) : words[1]
            // RFC 3339's way to say that a place had no time of its own yet.
            if offset == "-00:00" { offset = "+00:00" }
            if periods.map({ calendar.name(of: $0, at: stamp) }) != expected || hour != words[0] + offset {
                differences.append("\(time): \(line), not \(hour)")
            }
        }
        #expect(differences.prefix(5) == [])
    }

    @Test func theZoneOfTheHostComesFromTZ() throws {
        #expect(try TimeZoneDatabase.local(environment: ["TZ": ""]) == .utc)
        #expect(try TimeZoneDatabase.local(environment: ["TZ": ":Europe/Berlin"]).name == "Europe/Berlin")
        #expect(try TimeZoneDatabase.local(environment: ["TZ": "EST5"]).offset(at: 0) == -18_000)
        let tokyo = try TimeZoneDatabase.local(environment: ["TZ": "/usr/share/zoneinfo/Asia/Tokyo"])
        #expect(tokyo.offset(at: 0) == 32_400)
        _ = try TimeZoneDatabase.local(environment: [:])
        #expect(try TimeZoneDatabase.zone("UTC", environment: ["TZDIR": "/nonexistent"]) == .utc)
    }

    @Test(
        arguments: [
            ("2026-07-01T14:03:00Z", "2026-07-01T12:03:00Z"), ("2026-12-01T14:03:00Z", "2026-12-01T13:03:00Z"),
            // Shown twice on the night of the autumn change: the second. Skipped in spring: as if nothing were changed.
            ("2026-10-25T02:30:00Z", "2026-10-25T01:30:00Z"), ("2026-03-29T02:30:00Z", "2026-03-29T01:30:00Z"),
            ("2026-10-25T01:59:59Z", "2026-10-24T23:59:59Z"), ("2026-03-29T03:00:00Z", "2026-03-29T01:00:00Z"),
        ])
    func `a local time becomes a moment`(local: String, moment: String) throws {
        let zone = try TimeZoneDatabase.zone("Europe/Berlin")
        let fields = try #require(Timestamp(parsing: local))
        #expect(Timestamp(seconds: zone.seconds(atLocal: fields.seconds)).rfc3339 == moment)
    }

    @Test func `local times at the ends of the range do not trap`() throws {
        let zone = try TimeZoneDatabase.zone("America/New_York")
        for local in [Int64.min, Int64.min + 1, Int64.max - 1, Int64.max] { _ = zone.seconds(atLocal: local) }
    }

    @Test(arguments: ["Europe/Berln", "../etc/passwd", "/etc/passwd", "Europe", "", "a b", "Europe/", "posixrules/x"])
    func unknownZonesAreErrorsOfUsage(name: String) {
        let error = #expect(throws: LifeboatError.self) { try TimeZoneDatabase.zone(name) }
        #expect(error?.exitCode == .usage)
    }

    @Test(arguments: ["Nowhere/Land", "CET-1CEST", "/nonexistent", "X5", "UTC0garbage"])
    func whatTZDoesNotSayIsAnErrorAndNotUTC(text: String) {
        let error = #expect(throws: LifeboatError.self) { try TimeZoneDatabase.local(environment: ["TZ": text]) }
        #expect(error?.exitCode == .usage)
    }

    /// Cut off, and with every byte changed: an error or a zone, never a trap.
    @Test func damagedFilesAreRefusedOrReadButNeverTrap() throws {
        let bytes = try TextFile.read("/usr/share/zoneinfo/Europe/Berlin")
        for length in stride(from: 0, to: bytes.count, by: 3) {
            #expect(throws: LifeboatError.self) { try TimeZoneRules(name: "x", tzif: Array(bytes[..<length])) }
        }
        var random = SplitMix64(seed: 3)
        for position in bytes.indices {
            var damaged = bytes
            damaged[position] = UInt8.random(in: 0...255, using: &random)
            guard let zone = try? TimeZoneRules(name: "x", tzif: damaged) else { continue }
            for time in [Int64.min, -1 << 40, 0, 1 << 31, 1 << 40, Int64.max] { _ = zone.offset(at: time) }
        }
        #expect(throws: LifeboatError.self) {
            try TimeZoneRules(name: "x", tzif: TextFile.read("/usr/share/zoneinfo/right/UTC"))
        }
    }

    @Test func timesFarAwayHaveACalendarToo() throws {
        let calendar = RetentionCalendar(zone: try TimeZoneDatabase.zone("Europe/Berlin"))
        for time in [Int64.min, Int64.min + 1, -1 << 55, 1 << 55, Int64.max] {
            for period in RetentionPeriod.allCases {
                #expect(!calendar.name(of: period, at: Timestamp(seconds: time)).isEmpty)
            }
        }
    }
}
