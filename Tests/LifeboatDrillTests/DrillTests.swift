// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatDrill
import LifeboatIO
import LifeboatRepository
import LifeboatTesting
import Testing

/// Whole drills on real engines.
@Suite(.enabled(if: DrillFixture.shouldRun, "\(DrillFixture.skipReason)"))
struct DrillTests {
    @Test func `a snapshot comes back, is proven, measured and reported, and nothing stays`() throws {
        let fixture = try DrillFixture()
        defer { fixture.remove() }
        try fixture.writePolicy(
            drill: """
                  probes:
                    - {name: notes, component: database, sql: "select count(*) from notes", equals: "500"}
                    - {name: jobs, component: queue, redis: "llen jobs", equals: "3"}
                    - {name: rows, component: local, sql: "select sum(a) from t", equals: "6"}
                    - {name: near, component: vectors, neighbours: docs}
                    - {name: heart, http: "http://{vectors}/api/v2/heartbeat"}
                    - {name: live, http: "http://127.0.0.1:1/"}
                    - {name: files, command: [sh, -c, "ls $LIFEBOAT_DRILL_DOCUMENTS | wc -l"], equals: "5"}
                """)
        try initialise(fixture)
        let snapshot = try fixture.backUp()
        let run = try fixture.run("drill")
        #expect(run.exit == 0, "\(run)")
        #expect(run.output.hasPrefix("PASSED: drill of stack 'demo', snapshot \(snapshot.id.shortHex)"), "\(run)")
        #expect(try fixture.leftovers() == [])

        let history = try DrillHistory(fixture.openRepository(), stack: "demo")
        let result = try #require(history.entries.last?.result)
        #expect(history.damaged.isEmpty && history.entries.count == 1)
        #expect(result.verdict == .passed && result.verified && result.isFull && result.findings.isEmpty)
        // The project's files are for a restore elsewhere.
        #expect(result.components.map(\.name) + ["project"] == snapshot.manifest.components.map(\.name))
        #expect(result.components.allSatisfy { $0.state == .verified && $0.holdsAfterRestart == true })
        #expect(result.components.allSatisfy { $0.comparedFacts > 0 }, "\(result.components)")
        let rows = result.components.first?.facts.first { $0.name == "rows:public.notes" }
        #expect(rows == DrillResult.Fact(name: "rows:public.notes", expected: "500", found: "500", state: .equal))
        #expect(result.checks.map(\.isAsCaptured) == [true] && result.checks[0].holdsAfterRestart == true)
        #expect(result.probes.map(\.name) == ["notes", "jobs", "rows", "near", "heart", "files"])
        #expect(result.probes.allSatisfy { $0.passed }, "\(result.probes)")
        #expect(result.leftOut.contains { $0.hasPrefix("probe 'live' was not asked") }, "\(result.leftOut)")
        let order = [
            "resolve", "authenticate", "verify", "prepare", "preflight", "load", "exchange", "start", "healthy",
            "discard", "facts", "checks", "probes", "restart", "healthy again", "facts again", "checks again",
            "tear down",
        ]
        var met: [String] = []
        for phase in result.phases where phase.of == nil && met.last != phase.name { met.append(phase.name) }
        #expect(met == order)
        let rta = try #require(result.objectives.rta)
        #expect(rta > 0 && rta < result.seconds)
        #expect(try DrillVerified.ids(fixture.openRepository(), stack: "demo") == [snapshot.id])
        try reports(fixture, result)

        // The same, too slow for what the policy wants.
        try fixture.writePolicy(rto: "1ms")
        let missed = try fixture.run("drill", "latest", "--component", "documents")
        #expect(missed.exit == ExitCode.objectiveMissed.rawValue, "\(missed)")
        #expect(missed.output.contains("OBJECTIVE MISSED") && missed.output.contains("MISSES the RTO of 0.0 s"))
        let listed = try fixture.run("drill", "history")
        #expect(listed.output.contains("part") && listed.output.contains("missed"), "\(listed)")
    }

    private func initialise(_ fixture: DrillFixture) throws {
        let created = try fixture.run("repository", "init", "--encryption", "none")
        #expect(created.exit == 0, "\(created)")
    }

    private func reports(_ fixture: DrillFixture, _ result: DrillResult) throws {
        let page = try fixture.run("drill", "report", "--format", "html").output
        #expect(page.hasPrefix("<!doctype html>") && page.contains("<h1>Recovered</h1>"))
        #expect(page.contains("<svg") && page.contains("rows:public.notes"))
        for outside in ["<script", "<link", "<img", "src=", "@import", "url("] {
            #expect(!page.contains(outside), "the page refers to something outside: \(outside)")
        }
        let figures = try fixture.run("drill", "report", "--format", "prometheus").output
        #expect(figures.contains("\nlifeboat_drill_recovered{stack=\"demo\"} 1\n"))
        #expect(figures.split(separator: "\n").allSatisfy { $0.hasPrefix("#") || $0.hasPrefix("lifeboat_drill_") })
        let json = try fixture.run("drill", "report", "--format", "json").output
        #expect(json.contains("\"message_type\":\"summary\"") && json.contains("\"forecast\":{"))
        let text = try fixture.run("drill", "report", "--output", "report.txt")
        #expect(text.exit == 0 && text.output.isEmpty, "\(text)")
        let written = try SmallFile.contents("\(fixture.path)/report.txt") ?? []
        #expect(String(decoding: written, as: UTF8.self).contains("expected: whole stack"))
    }

    @Test func `each fault of a snapshot is named, and nothing else`() throws {
        let fixture = try DrillFixture()
        defer { fixture.remove() }
        try initialise(fixture)
        let sound = try fixture.backUp()
        // The same number of rows, and one of them another: only what the checks gave tells.
        try fixture.cluster.psql("UPDATE notes SET word = 'flipped' WHERE id = 77", database: fixture.database)
        let flipped = try fixture.forge(fixture.backUp(), claiming: sound)
        let flip = try fixture.run("drill", flipped, "--component", "database")
        #expect(flip.exit == 1, "\(flip)")
        #expect(
            try findings(fixture).map { String($0.prefix(66)) }
                == ["check 'notes are what they were' gives other values than in the sn"])

        // A table, a record of the vectors, a row of a file, the end of a model and a document are gone.
        try damage(fixture)
        let damaged = try fixture.backUp()
        let run = try fixture.run("drill", try fixture.forge(damaged, claiming: sound))
        #expect(run.exit == 1, "\(run)")
        let found = try findings(fixture)
        let expected = [
            "component 'database' cannot be restored: database *: rows:public.tags: 40 in the snapshot, nothing restored",
            "component 'local' cannot be restored: *: rows:t is 2, not 3",
            "'records:default_database/docs' of component 'vectors' is 119, not 120",
            "'model:model.bin' of component 'models' is \(try digest(damaged)), not \(try digest(sound))",
            "'bytes' of component 'documents' is 44, not 55", "'files' of component 'documents' is 4, not 5",
        ]
        #expect(found.count == expected.count, "\(found)")
        for (found, expected) in zip(found, expected) {
            #expect(expected.split(separator: "*").allSatisfy { found.contains($0) }, "\(found)")
        }

        // Another secret than the snapshot was made with.
        let secret = try fixture.run(
            ["drill", sound.id.shortHex, "--component", "documents"], ["APP_KEY": "another"])
        #expect(secret.exit == 1 && secret.error.contains("secret 'APP_KEY' is not the one"), "\(secret)")
        #expect(try findings(fixture).count == 1)

        // Of a PostgreSQL this host does not have.
        let newer = try fixture.forge(sound, claiming: sound) { $0.components[0].engineVersion = "29.1" }
        let old = try fixture.run("drill", newer, "--component", "database")
        #expect(old.exit == 1, "\(old)")
        #expect(try findings(fixture).map { $0.hasPrefix("this host has no PostgreSQL 29 for the sandbox") } == [true])

        #expect(try DrillVerified.ids(fixture.openRepository(), stack: "demo").isEmpty)
        #expect(try fixture.leftovers() == [])
        let page = try fixture.run("drill", "report", "--format", "html").output
        #expect(page.contains("Not recovered") && page.contains("this host has no PostgreSQL 29"))
    }

    private func damage(_ fixture: DrillFixture) throws {
        try fixture.cluster.psql(
            "DROP TABLE tags", database: fixture.database)
        try fixture.chroma.deleteRecord("docs", 119)
        try SQLiteProgram.sql("\(fixture.path)/local.db", "delete from t where a = 2;")
        try AtomicFile.write(
            String(repeating: "weights ", count: 3000), to: "\(fixture.path)/models/model.bin", mode: 0o644)
        try FileTree.remove("\(fixture.path)/docs/file-4")
    }

    /// The last drill's findings with their causes.
    private func findings(_ fixture: DrillFixture) throws -> [String] {
        let last = try DrillHistory(fixture.openRepository(), stack: "demo").entries.last
        return last?.result.findings.map { ([$0.message] + $0.causes).joined(separator: ": ") } ?? []
    }

    private func digest(_ snapshot: Snapshot) throws -> String {
        try #require(snapshot.manifest.component("models")?.texts["model:model.bin"])
    }
}
