// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatDrill
import LifeboatIO
import LifeboatRepository
import LifeboatRestore
import LifeboatTesting
import Testing

/// Drills of a share of a snapshot.
@Suite(
    .enabled(
        if: DrillFixture.shouldRun && QdrantStandIn.shouldRun, "\(DrillFixture.skipReason); Qdrant (scripts/setup)"))
struct DrillSampleTests {
    @Test func `a sample is proven as far as it goes, and never passes for the whole`() throws {
        let fixture = try DrillFixture(withQdrant: true)
        defer { fixture.remove() }
        try fill(fixture)
        try fixture.writePolicy(
            rto: "1ms",
            drill: """
                  sample: 25%
                  probes:
                    - {name: notes, component: database, sql: "select count(*) from notes", equals: "500"}
                    - {name: jobs, component: queue, redis: "llen jobs", equals: "3"}
                    - {name: rows, component: local, sql: "select sum(a) from t", equals: "6"}
                    - {name: heart, http: "http://{vectors}/api/v2/heartbeat"}
                    - {name: files, command: [sh, -c, "true"]}
                """)
        let created = try fixture.run("repository", "init", "--encryption", "none")
        #expect(created.exit == 0, "\(created)")
        let first = try fixture.backUp()
        // The objective is for the whole: a sample neither meets nor misses it.
        let run = try fixture.run("drill")
        #expect(run.exit == 0, "\(run)")
        #expect(
            run.output.hasPrefix("PASSED: drill of stack 'demo', snapshot \(first.id.shortHex)")
                && run.output.contains("(sample 25 %)") && run.output.contains("not held against the RTO"), "\(run)")
        let result = try last(fixture)
        #expect(result.samplePercent == 25 && !result.isFull && !result.verified && result.verdict == .passed)
        #expect(result.components.allSatisfy { $0.state == .verified && $0.comparedFacts > 0 }, "\(result.components)")
        try components(result)
        #expect(result.probes.filter { $0.kind != "neighbours" }.map(\.name) == ["jobs", "rows"])
        #expect(result.probes.filter { $0.kind == "neighbours" }.count == 2 && result.probes.allSatisfy(\.passed))
        for left in [
            "check 'notes are what they were' was not asked", "probe 'notes' was not asked",
            "probe 'heart' was not asked", "probe 'files' was not asked", " of 12 tables of component 'database'",
            "1 of 2 collections of component 'vectors'", " of 45 files of component 'documents'",
        ] {
            #expect(result.leftOut.contains { $0.contains(left) }, "\(left): \(result.leftOut)")
        }
        #expect(try DrillVerified.ids(fixture.openRepository(), stack: "demo").isEmpty)
        #expect(try fixture.leftovers() == [])
        try reports(fixture)

        // The same snapshot, the same sample; another snapshot, another one.
        #expect(try fixture.run("drill", "--component", "documents", "--component", "database").exit == 0)
        let again = try last(fixture)
        #expect(
            again.components.map { left($0) }
                == result.components.filter { again.names.contains($0.name) }.map { left($0) })
        var others: [[String]] = []
        // By chance two of them are alike once in a thousand times.
        for _ in 0..<4 where others.allSatisfy({ $0 == left(again.components[0]) }) {
            _ = try fixture.backUp()
            #expect(try fixture.run("drill", "--component", "documents", "--component", "database").exit == 0)
            others.append(try left(last(fixture).components[0]))
        }
        #expect(others.last != left(again.components[0]))

        // All of it, as the command line says: what is missed and what is verified counts again.
        try fixture.writePolicy(drill: "  sample: 25%")
        let whole = try fixture.run("drill", "--sample", "100%")
        #expect(whole.exit == 0, "\(whole)")
        let full = try last(fixture)
        #expect(full.isFull && full.verified && full.samplePercent == nil)
        #expect(full.probes.filter { $0.kind == "neighbours" }.count == 4)
        let listed = try fixture.run("drill", "history").output
        #expect(listed.contains("sample 25 %") && listed.contains("full"), "\(listed)")
        #expect(try fixture.run("drill", "--sample", "0%").exit == ExitCode.usage.rawValue)
        forecast(full, result)
    }

    private func fill(_ fixture: DrillFixture) throws {
        for number in 1...10 {
            try fixture.cluster.psql(
                "CREATE TABLE t\(number) AS SELECT n FROM generate_series(1, \(number * 10)) n",
                database: fixture.database)
        }
        try fixture.cluster.psql("CREATE TABLE nothing (n int)", database: fixture.database)
        _ = try fixture.chroma.create("more")
        try fixture.chroma.fill("more", 0..<30)
        for number in 0..<40 {
            try AtomicFile.write("more \(number)\n", to: "\(fixture.path)/docs/more-\(number)", mode: 0o644)
        }
    }

    private func last(_ fixture: DrillFixture) throws -> DrillResult {
        try #require(try DrillHistory(fixture.openRepository(), stack: "demo").entries.last?.result)
    }

    /// What was not restored of a component.
    private func left(_ component: DrillResult.Component) -> [String] {
        component.facts.filter { $0.state == .leftOut }.map(\.name) + ["\(component.sample?.taken ?? -1)"]
    }

    private func components(_ result: DrillResult) throws {
        let samples = Dictionary(uniqueKeysWithValues: result.components.map { ($0.name, $0.sample) })
        #expect(samples["queue"] == .some(nil) && samples["local"] == .some(nil))
        let database = try #require(result.components.first { $0.name == "database" })
        let tables = try #require(database.sample)
        #expect(tables.unit == "tables" && tables.taken == 3 && tables.all == 12 && database.bytes < tables.bytes)
        let left = database.facts.filter { $0.state == .leftOut }
        #expect(left.count == 9 && left.allSatisfy { $0.name.hasPrefix("rows:") && $0.found == nil })
        #expect(database.facts.contains { $0.name == "rows:public.nothing" && $0.state == .equal })
        let documents = try #require(result.components.first { $0.name == "documents" })
        let files = try #require(documents.sample)
        #expect(files.all == 45 && (1..<45).contains(files.taken) && documents.files == UInt64(files.taken))
        #expect(documents.facts.first { $0.name == "files" }?.found == "\(files.taken)")
        for name in ["vectors", "embeddings"] {
            #expect(samples[name]??.taken == 1 && samples[name]??.all == 2, "\(name)")
        }
    }

    private func reports(_ fixture: DrillFixture) throws {
        let page = try fixture.run("drill", "report", "--format", "html").output
        #expect(page.contains("<h1>Sample recovered</h1>") && page.contains("sample 25 %"))
        #expect(page.contains("not held against the objective") && page.contains(">left out<"))
        let figures = try fixture.run("drill", "report", "--format", "prometheus").output
        #expect(figures.contains("\nlifeboat_drill_sample_ratio{stack=\"demo\"} 0.25\n"), "\(figures)")
        #expect(figures.contains("lifeboat_drill_sample_seconds{"))
        for absent in ["rta_seconds{", "objectives_met{", "last_verified_timestamp_seconds{"] {
            #expect(!figures.contains(absent), "\(absent)")
        }
        let json = try fixture.run("drill", "show", "--json").output
        #expect(json.contains(#""sample_percent":25"#) && json.contains(#""unit":"tables""#), "\(json)")
    }

    /// Times of a share count where they tell a rate.
    private func forecast(_ full: DrillResult, _ sample: DrillResult) {
        func phases(_ result: DrillResult, _ component: String?) -> Set<String> {
            Set(result.measurements.filter { $0.component == component }.map(\.phase))
        }
        #expect(phases(full, "database").contains("stage") && !phases(sample, "database").contains("stage"))
        #expect(phases(sample, "documents").contains("stage") && phases(sample, "queue").contains("stage"))
        let loads = sample.measurements.filter { $0.component == "documents" && $0.phase == "stage" }
        #expect(loads.map(\.bytes) == [sample.components.first { $0.name == "documents" }?.bytes])
        #expect(!phases(sample, nil).contains("probes") && phases(sample, nil).contains("verify-chunks"))
    }
}

extension DrillResult {
    fileprivate var names: [String] { components.map(\.name) }
}
