// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatRepository
import LifeboatTesting
import Testing

struct RetentionPlannerTests {
    /// Every case of `fixtures/retention/cases.txt` comes to what is written there.
    @Test func casesComeToWhatIsWritten() throws {
        let file = GoldenFile("retention/cases.txt")
        let cases = try RetentionCase.parse(try file.text())
        #expect(cases.count >= 60)
        let text = cases.map(\.text).joined(separator: "\n")
        let difference = try file.difference(from: text)
        #expect(difference == nil, "\(difference ?? "")")
    }

    /// A random history over about two years with every kind of snapshot.
    private struct History {
        var candidates: [RetentionCandidate] = []
        var pinned: Set<Digest> = []
        var verified: Set<Digest> = []
        var rules = RetentionRules()
        let now: Timestamp

        init(_ random: inout SplitMix64, hasFuture: Bool) {
            now = Timestamp(year: 2026, month: 11, day: 21)
            for number in 0..<UInt64(Int.random(in: 0...60, using: &random)) {
                let age = Int64.random(in: (hasFuture ? -40 : 0)...700, using: &random) * 86_400 / 2
                let components: Set<String> = [["db"], ["docs"], ["db", "docs"]].randomElement(using: &random)!
                let candidate = RetentionCandidate(
                    id: Digest(bigEndianWords: random.next(), 0, 0, number),
                    host: ["x", "y"].randomElement(using: &random)!, sequence: number,
                    time: now.adding(seconds: -age), complete: Int.random(in: 0..<4, using: &random) > 0,
                    components: components)
                candidates.append(candidate)
                if Int.random(in: 0..<20, using: &random) == 0 { pinned.insert(candidate.id) }
                if Int.random(in: 0..<10, using: &random) == 0 { verified.insert(candidate.id) }
            }
            func count() -> Int { Bool.random(using: &random) ? Int.random(in: 0...5, using: &random) : 0 }
            rules = RetentionRules(
                last: count(), hourly: count(), daily: count(), weekly: count(), monthly: count(), yearly: count(),
                within: Bool.random(using: &random) ? 30 * 86_400 : nil)
            if (try? rules.validate()) == nil { rules.last = 1 }
        }

        func plan(_ candidates: [RetentionCandidate], now: Timestamp, _ zone: TimeZoneRules) throws -> RetentionPlan {
            try RetentionPlanner(rules: rules, calendar: RetentionCalendar(zone: zone), now: now)
                .plan(stack: "demo", candidates, pinned: pinned, verified: verified)
        }
    }

    @Test(arguments: 0..<8)
    func whatIsKeptStaysKept(seed: Int) throws {
        var random = SplitMix64(seed: UInt64(seed))
        let zone = try TimeZoneDatabase.zone("America/New_York")
        for round in 0..<60 {
            let history = History(&random, hasFuture: false)
            let first = try history.plan(history.candidates, now: history.now, zone)
            let again = try history.plan(first.kept, now: history.now, zone)
            #expect(again.removed.isEmpty, "seed \(seed), round \(round)")
            // Each for the same reasons: those that went had no part in them.
            #expect(again.decisions == first.decisions.filter(\.isKept), "seed \(seed), round \(round)")
            let later = try history.plan(
                first.kept.shuffled(using: &random), now: history.now.adding(seconds: 1 << 30), zone)
            #expect(later.removed.isEmpty, "seed \(seed), round \(round)")
        }
    }

    @Test(arguments: 0..<8)
    func whatMustNeverGoStays(seed: Int) throws {
        var random = SplitMix64(seed: UInt64(seed) + 1000)
        for round in 0..<60 {
            let history = History(&random, hasFuture: true)
            let plan = try history.plan(history.candidates, now: history.now, .utc)
            let note: Comment = "seed \(seed), round \(round)"
            #expect(plan.decisions.count == history.candidates.count, note)
            #expect(plan.decisions.allSatisfy { $0.isKept == !$0.reasons.isEmpty }, note)
            let kept = Set(plan.kept.map(\.id))
            let complete = history.candidates.filter { $0.complete && $0.time <= history.now }
                .sorted { ($0.time, $0.id) < ($1.time, $1.id) }
            if let last = complete.last { #expect(kept.contains(last.id), note) }
            if let last = complete.last(where: { history.verified.contains($0.id) }) {
                #expect(kept.contains(last.id), note)
            }
            for component in ["db", "docs"] {
                if let last = complete.last(where: { $0.components.contains(component) }) {
                    #expect(kept.contains(last.id), note)
                }
            }
            let untouchable = history.candidates.filter {
                $0.time > history.now || history.pinned.contains($0.id)
            }
            #expect(untouchable.allSatisfy { kept.contains($0.id) }, note)
            // Without the incomplete ones and those of the future the complete ones fare no better, except that another
            // one may bear the highest number of its host.
            let alone = try history.plan(complete, now: history.now, .utc)
            let deserved = alone.decisions.filter { $0.isKept && $0.reasons != [.newestOfHost] }.map(\.snapshot.id)
            #expect(deserved.filter { !kept.contains($0) } == [], note)
        }
    }

    @Test func aNewSnapshotOfTheSameDayTakesItsPlaceAndNoOther() throws {
        let day = Timestamp(year: 2026, month: 11, day: 1)
        var candidates: [RetentionCandidate] = []
        let planner = try RetentionPlanner(
            rules: RetentionRules(daily: 3, monthly: 2), calendar: RetentionCalendar(zone: .utc),
            now: day.adding(seconds: 40 * 86_400))
        var history: [Int] = []
        // As every night does it: a snapshot, then retention.
        for hour in 0..<240 {
            candidates.append(
                RetentionCandidate(
                    id: Digest(bigEndianWords: UInt64(hour), 0, 0, 0), host: "h", sequence: UInt64(hour + 1),
                    time: day.adding(seconds: Int64(hour) * 3600), complete: true, components: ["db"]))
            candidates = planner.plan(stack: "demo", candidates).kept
            history.append(candidates.count)
        }
        #expect(history.max() == 3)
        #expect(candidates.map(\.sequence) == [192, 216, 240])
    }

    @Test(arguments: [
        RetentionRules(), RetentionRules(within: 0), RetentionRules(last: -1, daily: 2),
        RetentionRules(daily: 100_001), RetentionRules(within: -5), RetentionRules(last: 1, within: .infinity),
        RetentionRules(last: 1, within: .nan),
    ])
    func rulesThatKeepNothingAreRefused(rules: RetentionRules) {
        let error = #expect(throws: LifeboatError.self) {
            _ = try RetentionPlanner(
                rules: rules, calendar: RetentionCalendar(zone: .utc), now: Timestamp(seconds: 0))
        }
        #expect(error?.exitCode == .usage)
    }

    @Test func rulesAreToldInWords() {
        #expect(
            RetentionRules(last: 3, hourly: 1, daily: 7, within: 172_800).text
                == "last 3, hourly 1, daily 7, within 48h")
        #expect(RetentionRules.duration(30 * 86_400) == "30d")
        #expect(RetentionRules.duration(5400) == "90m")
        #expect(RetentionRules.duration(0.5) == "0.5s")
    }
}
