// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LifeboatCore
import LifeboatTesting
import Testing

@Suite struct TimestampTests {
    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59Z"), (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"), (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"), (1_795_226_400, "2026-11-21T02:00:00Z"),
            (2_147_483_648, "2038-01-19T03:14:08Z"), (-62_135_596_800, "0001-01-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] as [(Int64, String)])
    func knownSecondsPrintAsKnownDates(seconds: Int64, text: String) {
        let time = Timestamp(seconds: seconds)
        #expect(time.rfc3339 == text)
        #expect(Timestamp(parsing: text) == time)
        #expect(time.compact == text.filter { $0 != "-" && $0 != ":" })
    }

    @Test func everyDayFromYearMinus400To9999FollowsTheOneBefore() {
        // Counted by hand, day by day, against the arithmetic.
        var year: Int64 = -400
        var month = 1
        var day = 1
        var time = Timestamp(year: year, month: month, day: day)
        var wrong = 0
        while year < 10_000 {
            let utc = time.utc
            if (utc.year, utc.month, utc.day, utc.hour) != (year, month, day, 0)
                || Timestamp(year: year, month: month, day: day) != time
            {
                wrong += 1
            }
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
            let lengths = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
            day += 1
            if day > lengths[month - 1] {
                day = 1
                month += 1
            }
            if month > 12 {
                month = 1
                year += 1
            }
            time = time.adding(seconds: 86_400)
        }
        #expect(wrong == 0)
        #expect(time == Timestamp(year: 10_000, month: 1, day: 1))
    }

    @Test func randomTimesReadBackFromEveryPrintedForm() {
        var generator = SplitMix64(seed: 4)
        for _ in 0..<5000 {
            let time = Timestamp(
                seconds: Int64.random(in: -62_167_219_200...253_402_300_799, using: &generator),
                nanoseconds: Int32.random(in: 0..<1_000_000_000, using: &generator))
            #expect(Timestamp(parsing: time.rfc3339Nanoseconds) == time)
            #expect(Timestamp(parsing: time.rfc3339) == Timestamp(seconds: time.seconds))
            let utc = time.utc
            let again = Timestamp(
                year: utc.year, month: utc.month, day: utc.day, hour: utc.hour, minute: utc.minute,
                second: utc.second)
            #expect(again.seconds == time.seconds)
        }
    }

    @Test(arguments: [
        ("2026-11-21", "2026-11-21T00:00:00.000000000Z"),
        ("2026-11-21T02:03", "2026-11-21T02:03:00.000000000Z"),
        ("2026-11-21 02:03:04", "2026-11-21T02:03:04.000000000Z"),
        ("2026-11-21t02:03:04z", "2026-11-21T02:03:04.000000000Z"),
        ("2026-11-21T02:03:04.5Z", "2026-11-21T02:03:04.500000000Z"),
        ("2026-11-21T02:03:04.123456789Z", "2026-11-21T02:03:04.123456789Z"),
        ("2026-11-21T02:03:04.1234567899999999999999Z", "2026-11-21T02:03:04.123456789Z"),
        ("2026-11-21T02:03:04.000000001Z", "2026-11-21T02:03:04.000000001Z"),
        ("2026-11-21T02:03:04+01:30", "2026-11-21T00:33:04.000000000Z"),
        ("2026-11-21T02:03-05:00", "2026-11-21T07:03:00.000000000Z"),
        ("2026-12-31T23:59:60Z", "2027-01-01T00:00:00.000000000Z"),
        ("2024-02-29", "2024-02-29T00:00:00.000000000Z"),
        ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000000000Z"),
    ])
    func acceptedForms(text: String, meaning: String) {
        #expect(Timestamp(parsing: text)?.rfc3339Nanoseconds == meaning)
    }

    @Test(arguments: [
        "", "now", "2026", "2026-11", "2026-1-1", "26-11-21", "2026/11/21", "2026-11-21T", "2026-11-21T02",
        "2026-11-21T02:", "2026-11-21T2:03", "2026-11-21T24:00:00Z", "2026-11-21T23:60:00Z", "2026-11-21T23:59:61Z",
        "2026-00-21", "2026-13-21", "2026-11-00", "2026-11-31", "2026-02-29", "2100-02-29", "2026-11-21T02:03:04.Z",
        "2026-11-21T02:03:04,5Z", "2026-11-21T02:03:04ZZ", "2026-11-21T02:03:04+0100", "2026-11-21T02:03:04+24:00",
        "2026-11-21T02:03:04+01:60", "2026-11-21T02:03:04 Z", "2026-11-21Z", " 2026-11-21", "2026-11-21 ",
        "2026-11-21T02:03:04Z\0", "-001-11-21", "+026-11-21", "12026-11-21", "２０２６-11-21", "2026-11-21T0a:00",
    ])
    func refusedForms(text: String) {
        #expect(Timestamp(parsing: text) == nil)
    }

    @Test func isAStringInJSON() throws {
        let time = Timestamp(seconds: -1, nanoseconds: 5)
        let encoded = try JSONEncoder().encode([time])
        #expect(String(decoding: encoded, as: UTF8.self) == "[\"1969-12-31T23:59:59.000000005Z\"]")
        #expect(try JSONDecoder().decode([Timestamp].self, from: encoded) == [time])
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode([Timestamp].self, from: Data("[\"yesterday\"]".utf8))
        }
    }

    @Test func orderAndDistanceCountNanosecondsBeforeAndAfter1970() {
        let times = [
            Timestamp(seconds: -2, nanoseconds: 999_999_999), Timestamp(seconds: -1, nanoseconds: 0),
            Timestamp(seconds: -1, nanoseconds: 1), Timestamp(seconds: 0), Timestamp(seconds: 0, nanoseconds: 1),
        ]
        #expect(times.reversed().sorted() == times)
        #expect(times[4].seconds(since: times[1]) == 1.000000001)
        #expect(times[1].seconds(since: times[4]) == -1.000000001)
    }

    @Test func theEndsOfTheRangeNeitherTrapNorWrap() {
        let first = Timestamp(seconds: .min)
        let last = Timestamp(seconds: .max, nanoseconds: 999_999_999)
        // Year -292277022657 and 292277026596: computed with unbounded integers.
        #expect(first.utc == (-292_277_022_657, 1, 27, 8, 29, 52))
        #expect(last.utc == (292_277_026_596, 12, 4, 15, 30, 7))
        #expect(last.seconds(since: first) == 0x1p64)
        #expect(first.adding(seconds: -1).seconds == .min)
        #expect(last.adding(seconds: 1).seconds == .max)
        #expect(first.adding(seconds: .max).seconds == -1)
    }

    @Test func theMonotonicClockGoesForwardWhileSleeping() {
        let clock = SystemClock()
        let before = clock.monotonicSeconds()
        clock.sleep(seconds: 0.01)
        clock.sleep(seconds: -1)
        #expect(clock.monotonicSeconds() - before >= 0.01)
        // This was written in 2026.
        #expect(clock.now() > Timestamp(year: 2026, month: 1, day: 1))
    }

    @Test func paddingFillsWithZerosAndNeverCuts() {
        #expect(pad(7, 2) == "07")
        #expect(pad(123, 2) == "123")
        #expect(pad(0, 0) == "0")
    }
}
