// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// The built program and a stack that never stops writing: a snapshot is of one moment, or says that it is not.
@Suite(
    .enabled(if: PostgresCluster.shouldRun, "\(PostgresCluster.skipReason)"),
    .enabled(if: QdrantStandIn.shouldRun, "\(QdrantStandIn.skipReason)"), .serialized)
struct MomentScenarioTests {
    private func stack(_ name: String, _ freeze: FreezeMethod, checks: [String] = []) throws -> WritingStack {
        let stack = try WritingStack(try PostgresCluster.shared(), database: name)
        try stack.writePolicy(freeze: freeze, checks: checks)
        try stack.service("start")
        try waitUntil("the writer writes") { (try? stack.folder.shell("cat '\(stack.folder.path)/step'")) != nil }
        return stack
    }

    private func waitUntil(_ what: String, _ isSo: () throws -> Bool) throws {
        for _ in 0..<1200 {
            if try isSo() { return }
            usleep(50_000)
        }
        throw LifeboatError("waited too long until \(what)")
    }

    @Test func `paused writers make a snapshot in which nothing lacks its counterpart`() throws {
        let stack = try stack("moment_pause", .pause)
        defer { stack.remove() }
        let run = try stack.folder.lifeboat("backup", "--json")
        #expect(run.exit == 0, "\(run)")
        #expect(try stack.state() != "T")
        let seconds = try #require(run.output.firstMatch(of: #/"freeze":\{"method":"pause","seconds":([0-9.e-]+)/#))
        print("freeze window with PostgreSQL, Qdrant, SQLite and a folder under load: \(seconds.output.1) s")
        // Two seconds on a machine that has nothing else to do.
        #expect(try #require(Double(seconds.output.1)) < 30)
        #expect(run.output.contains(#""holds":true"#))
        // It went on while everything was streamed, and does until the restore stops it.
        try stack.service("advance")
        try stack.folder.shell(": >'\(stack.folder.path)/stay-down'")
        let restore = try stack.folder.lifeboat("restore", "latest", "--yes")
        #expect(restore.exit == 0, "\(restore)")
        #expect(restore.output.contains("checks: 1 of 1 hold"), "\(restore)")
        let places = try stack.contents()
        #expect(Set(places).count == 1 && places[0].hasPrefix("1 2 3"), "\(places)")
    }

    @Test func `without a freeze the check tells that the stores are of several moments`() throws {
        let stack = try stack("moment_none", .none)
        defer { stack.remove() }
        let run = try stack.folder.lifeboat("backup")
        #expect(run.exit == 3, "\(run)")
        #expect(run.error.contains("check 'the same everywhere' does not hold"), "\(run)")
        #expect(run.output.contains("CHECKS: 1 of 1 do not hold"), "\(run)")
        let show = try stack.folder.lifeboat("show", "latest")
        #expect(show.output.contains("check 'the same everywhere' DOES NOT HOLD: sql of 'database' is "), "\(show)")
        let plan = try stack.folder.lifeboat("plan", "latest")
        #expect(plan.output.contains("did not hold in the snapshot"), "\(plan)")
    }

    @Test func `a lifeboat killed inside the window is made good by the next command`() throws {
        // A check that takes its time keeps the window open.
        let slow = "{name: slow, equal: [1, {component: database, sql: \"select 1 from pg_sleep(120)\"}]}"
        let stack = try stack("moment_kill", .pause, checks: [slow])
        defer { stack.remove() }
        for signal in [SIGKILL, SIGINT] {
            let lifeboat = try stack.folder.binary.start(
                ["backup"], environment: stack.folder.environment, in: stack.folder.path)
            try waitUntil("the writer is held") { try stack.state() == "T" }
            lifeboat.send(signal)
            let run = try lifeboat.wait()
            if signal == SIGKILL {
                #expect(run.exit == 128 + SIGKILL)
                #expect(try stack.state() == "T")
                let next = try stack.folder.lifeboat("snapshots")
                #expect(next.exit == 0, "\(next)")
                #expect(next.error.contains("left paused"), "\(next)")
            } else {
                #expect(run.exit == 130, "\(run)")
            }
            #expect(try stack.state() != "T")
            let step = try stack.folder.shell("cat '\(stack.folder.path)/step'")
            try waitUntil("the writer writes again") {
                try stack.folder.shell("cat '\(stack.folder.path)/step'") != step
            }
        }
    }
}
