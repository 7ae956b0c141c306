// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatDrill
import LifeboatRepository
import LifeboatTesting
import Testing

/// What is reckoned from drills and snapshots.
struct DrillFiguresTests {
    private static let start = Timestamp(year: 2026, month: 11, day: 1)

    private static func snapshots(_ days: [(sequence: UInt64, day: Double, complete: Bool)]) -> [Snapshot] {
        days.map { day in
            var manifest = Manifest(
                repositoryID: Digest(bigEndianWords: 0, 0, 0, 0), stack: "demo", host: "h", sequence: day.sequence,
                previous: nil,
                started: start.adding(seconds: Int64(day.day * 86_400)), lifeboat: "test")
            manifest.complete = day.complete
            return Snapshot(id: Digest(bigEndianWords: 0, 0, 0, 0), manifest: manifest)
        }
    }

    @Test func `a gap is the time between two good snapshots that were taken one after the other`() {
        let now = Self.start.adding(seconds: 20 * 86_400)
        // 3 failed, so from 2 to 4 there was nothing good; 6 to 9 were removed by retention, which is no gap.
        let point = RecoveryPoint.figures(
            Self.snapshots([
                (1, 1, true), (2, 2, true), (3, 3, false), (4, 5, true), (5, 6, true), (10, 12, true), (11, 13, true),
            ]), now: now)
        #expect(point.age == 604_800.0)
        #expect(point.worst?.seconds == 259_200.0)
        #expect(point.worst?.end == Self.start.adding(seconds: 5 * 86_400))
        // Long ago: it says nothing any more.
        let later = RecoveryPoint.figures(
            Self.snapshots([(1, 1, true), (2, 9, true)]), now: Self.start.adding(seconds: 60 * 86_400))
        #expect(later.worst == nil)
        #expect(RecoveryPoint.figures([], now: now).age == nil)
    }

    @Test func `a backup of one component does nothing for the recovery point of the others`() {
        let now = Self.start.adding(seconds: 10 * 86_400)
        var snapshots = Self.snapshots([(1, 1, true), (2, 2, true), (3, 9, true)])
        for index in snapshots.indices {
            let names = index == 2 ? ["documents"] : ["documents", "database"]
            snapshots[index].manifest.components = names.map {
                Manifest.Component(name: $0, store: "volume", source: "", method: "")
            }
        }
        var objectives = DrillResult.Objectives(rto: nil, rpo: 2 * 86_400)
        objectives.take(RecoveryPoint.figures(snapshots, now: now, components: ["documents", "database"]))
        #expect(objectives.components?.map(\.age) == [86_400, 8 * 86_400])
        #expect(objectives.components?.map(\.worstGap) == [7 * 86_400, 86_400])
        #expect(objectives.age == 8 * 86_400 && objectives.worstGap == 7 * 86_400 && objectives.missesRPO)
        #expect(objectives.oldest == ["database"] && objectives.uncovered.isEmpty)
        // Nothing at all of a component is no recovery point.
        objectives.take(RecoveryPoint.figures(snapshots, now: now, components: ["documents", "queue"]))
        #expect(objectives.uncovered == ["queue"] && objectives.missesRPO)
        objectives.rpo = 8 * 86_400
        #expect(objectives.missesRPO)
    }

    /// A drill whose load takes 2 s and another second for each MB, and whose engine takes 5 s to make.
    private static func result(megabytes: UInt64, number: Int = 0, slowness: Double = 1) -> DrillResult {
        var result = DrillResult(
            drill: "d\(number)", repositoryID: Digest(bigEndianWords: 0, 0, 0, 0), stack: "demo", host: "h",
            lifeboat: "test",
            sandbox: "engines", snapshot: Digest(bigEndianWords: 0, 0, 0, 0), snapshotTime: start, sequence: 1,
            started: start.adding(seconds: Int64(number)),
            objectives: DrillResult.Objectives(rto: 3600, rpo: nil), repeatCommand: "lifeboat drill")
        result.ended = result.started
        var component = DrillResult.Component(
            name: "database", store: "postgres", subject: "database 'a'", bytes: megabytes * 1_000_000, files: 1)
        component.state = .verified
        result.components = [component]
        let load = (2 + Double(megabytes)) * slowness
        result.phases = [
            DrillResult.Phase(name: DrillPhase.prepare, component: "database", start: 0, seconds: 5),
            DrillResult.Phase(
                name: DrillPhase.load, component: "database", start: 5, seconds: load, bytes: component.bytes),
            DrillResult.Phase(
                name: DrillPhase.indexes, component: "database", start: 6, seconds: load * 0.8, of: DrillPhase.load),
            DrillResult.Phase(name: DrillPhase.tearDown, start: 5 + load, seconds: 100, isRecovery: false),
        ]
        result.objectives.rta = 5 + load
        result.conclude()
        return result
    }

    @Test func `a forecast tells fixed times from rates`() throws {
        let drills = [10, 20, 40].enumerated().map {
            Self.result(megabytes: UInt64($1), number: $0, slowness: [1.03, 0.98, 1][$0])
        }
        let forecast = try #require(
            RecoveryForecast(drills, stack: "demo", sizes: [("database", "postgres", 160_000_000)]))
        #expect(forecast.drills == 3)
        let line = try #require(forecast.lines.first)
        // 5 s and 162 s, and not the minute and a half that only drills have.
        #expect(abs(line.today.seconds / 167 - 1) < 0.1, "\(line)")
        #expect(line.today.least < 167 && line.today.most > 167)
        #expect(abs(line.twice.seconds / 327 - 1) < 0.1, "\(line)")
        #expect(line.tenfold.most - line.tenfold.least > line.today.most - line.today.least)
        #expect(RecoveryForecast([], stack: "demo", sizes: []) == nil)
    }

    @Test func `the verdict follows from findings and objectives`() {
        var result = Self.result(megabytes: 10)
        #expect(result.verdict == .passed && result.verified && result.exitCode == .done)
        #expect(result.costliest == "load of 'database'")
        #expect(result.advice?.hasPrefix("Most of it is building indexes") == true)
        result.objectives.rto = 1
        result.conclude()
        #expect(result.verdict == .missed && result.verified && result.exitCode == .objectiveMissed)
        result.findings = [DrillResult.Finding(phase: "facts", message: "gone")]
        result.conclude()
        #expect(result.verdict == .failed && !result.verified && result.objectives.rta == nil)
        #expect(result.exitCode == .failed)
    }
}
