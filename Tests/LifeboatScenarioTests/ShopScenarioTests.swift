// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// Whole restores of a whole stack with the built program on a real engine: whatever happens, the stack ends healthy with
/// exactly its old data or exactly the restored data.
///
/// One stack for all of them, one after the other: each begins and ends with a stack that is well.
@Suite(.serialized, .enabled(if: ShopStack.shouldRun, .init(rawValue: ShopStack.skipReason)))
struct ShopScenarioTests {
    private static let restore = ["restore", "latest", "--yes"]

    /// The stack with the word `live`, and a complete snapshot of the word `kept` that is the latest.
    private func prepared() throws -> ShopStack {
        let stack = try ShopStack.shared()
        if !Self.hasSnapshot.withLock({ $0 }) {
            try stack.setWord("kept")
            let backup = try stack.succeed("backup")
            #expect(try stack.secretsFound(in: [backup]) == "")
            Self.hasSnapshot.withLock { $0 = true }
        }
        try stack.setWord("live")
        return stack
    }
    private static let hasSnapshot = Monitor(false)

    /// What of a restore is counted, to be disturbed somewhere in it.
    private enum Counted: Hashable {
        case writes, journalEntries

        var calls: [String] { self == .writes ? ["write"] : ["rename"] }
        var path: String { self == .writes ? "" : "/restores/" }
    }
    private static let counts = Monitor<[Counted: Int]>([:])

    /// A restore that is not disturbed, counted.
    private func restoreCounting(_ counted: Counted, _ stack: ShopStack) throws -> LifeboatRun {
        let (run, calls) = try stack.counted(Self.restore, of: counted.calls, path: counted.path)
        #expect(run.exit == 0 && calls > 20, "\(calls): \(run)")
        Self.counts.withLock { $0[counted] = calls }
        return run
    }

    /// How many of them there are in a restore; one that was counted before will do.
    private func count(_ counted: Counted, _ stack: ShopStack) throws -> Int {
        if Self.counts.withLock({ $0[counted] }) == nil {
            _ = try restoreCounting(counted, stack)
            try stack.setWord("live")
        }
        return try #require(Self.counts.withLock { $0[counted] })
    }

    private func expectWell(_ stack: ShopStack, _ words: Set<String>, _ comment: String) throws {
        let problems = try stack.problems()
        #expect(problems == [], "\(comment)")
        let word = try stack.word()
        #expect(words.contains(word), "the word is '\(word)' after \(comment)")
    }

    /// As a restore tells it; nil when it does not.
    private func downtime(_ run: LifeboatRun) -> String? {
        run.output.firstRange(of: "of it down: ").map { String(run.output[$0.upperBound...].prefix { $0 != "\n" }) }
    }

    /// The same from a restore with `--json`, in seconds.
    private func downtimeSeconds(_ run: LifeboatRun) -> Double? {
        run.output.firstRange(of: "\"downtime_seconds\":").flatMap {
            Double(run.output[$0.upperBound...].prefix { $0 != "," && $0 != "}" })
        }
    }

    private static let isWhole = getenv("LIFEBOAT_TEST_EVERY_STEP") != nil

    /// Times count on a machine that has nothing else to do, and with much data: in `scripts/prove-restore`.
    @Test func `the time a stack is down does not grow with its data`() throws {
        let stack = try prepared()
        var seconds: [Double] = []
        for rows in [0, Self.isWhole ? 600_000 : 20_000] {
            if rows > 0 {
                try stack.setWord("kept")
                try stack.sql(
                    "CREATE TABLE bulk AS SELECT n, repeat(md5(n::text), 20) AS body FROM generate_series(1, \(rows)) n"
                )
                try stack.succeed("backup")
                try stack.setWord("live")
            }
            let run = try stack.lifeboat("restore", "latest", "--yes", "--json")
            if rows > 0 { try stack.sql("DROP TABLE bulk") }
            try expectWell(stack, ["kept"], "\(run)")
            seconds.append(try #require(downtimeSeconds(run), "\(run)"))
            print("shop: down \(seconds[seconds.count - 1]) s with \(rows) rows of 640 bytes more")
            try stack.setWord("live")
        }
        #expect(seconds.allSatisfy { $0 < (Self.isWhole ? 15 : 60) }, "\(seconds)")
        if Self.isWhole { #expect(seconds[1] < seconds[0] + 3, "\(seconds)") }
        // The next `latest` is small again, and meant to be.
        try stack.setWord("kept")
        try stack.succeed("backup", "--accept-shrink")
        try stack.setWord("live")
    }

    @Test func `yesterday comes back over a live stack, and a stack of which nothing is left comes back whole`() throws
    {
        let stack = try prepared()
        let over = try restoreCounting(.journalEntries, stack)
        try expectWell(stack, ["kept"], "\(over)")
        print("shop: restored over the live stack, down \(try #require(downtime(over), "\(over)"))")
        // What the servers of the components are, was not stopped; what uses them was.
        #expect(over.error.contains("stopped 'shop-redis-1'"), "\(over)")
        #expect(!over.error.contains("stopped 'shop-postgres-1'"), "\(over)")
        // The room of all servers was found through the mounts of their containers.
        #expect(!over.error.contains("whether there is room"), "\(over)")

        // As somebody sees it who asks from outside: the stack of which nothing is left is down from the begin.
        try stack.writePolicy("watched.yaml", consecutive: 1, asksWorker: false)
        try stack.compose("down", "--volumes")
        let plan = try stack.lifeboat("plan", "latest")
        #expect(plan.exit == 0 && plan.output.contains("are started by the restore"), "\(plan)")
        let lost = try ShopWatch(stack) {
            try stack.lifeboat("restore", "latest", "--yes", "--json", "--policy", "watched.yaml")
        }
        #expect(lost.run.exit == 0, "\(lost.run)")
        try expectDown(lost, since: lost.begin)
        try expectWell(stack, ["kept"], "\(lost.run)")
        print("shop: restored after 'down --volumes', down \(try #require(downtimeSeconds(lost.run)))")
        try stack.setWord("live")
        let whole = try restoreCounting(.writes, stack)
        try expectWell(stack, ["kept"], "\(whole)")
        #expect(try stack.secretsFound(in: [over, plan, lost.run, whole]) == "")
    }

    /// The downtime that is printed is the one that was seen, but for a tenth (of a short one: half a second).
    private func expectDown(_ watch: ShopWatch, since begin: Double) throws {
        let end = try #require(watch.changes.last { $0.isUp }?.time, "\(watch.changes)")
        let printed = try #require(downtimeSeconds(watch.run), "\(watch.run)")
        print("shop: down \(printed) s as printed, \(end - begin) s as seen")
        #expect(abs(printed - (end - begin)) < max(0.5, 0.1 * (end - begin)), "\(watch.changes): \(watch.run)")
    }

    @Test func `a restore of one file stops only the service that mounts it`() throws {
        let stack = try prepared()
        let plan = try stack.lifeboat("plan", "latest", "--path", "documents:note-3")
        #expect(plan.output.contains("stop api of the services of"), "\(plan)")
        let run = try stack.lifeboat("restore", "latest", "--yes", "--path", "documents:note-3")
        #expect(run.exit == 0 && run.error.contains("stopped 'shop-api-1'"), "\(run)")
        for other in ["worker", "redis", "postgres", "chroma"] {
            #expect(!run.error.contains("stopped 'shop-\(other)-1'"), "\(run)")
        }
        #expect(try stack.problems() == [])
        try stack.setWord("live")
    }

    @Test func `a snapshot whose database is broken rolls back by itself`() throws {
        let stack = try prepared()
        try stack.writePolicy("hasty.yaml", within: "8s")
        // The program does not understand this database; the files and tables of it are sound.
        try stack.sql("UPDATE settings SET value = '2' WHERE name = 'schema'")
        let backup = try stack.lifeboat("backup")
        #expect(backup.exit == 0, "\(backup)")
        try stack.sql("UPDATE settings SET value = '1' WHERE name = 'schema'")
        let failed = try stack.lifeboat("restore", "latest", "--yes", "--policy", "hasty.yaml")
        #expect(failed.exit == 14, "\(failed)")
        #expect(failed.error.contains("failed and was rolled back"), "\(failed)")
        #expect(failed.error.contains("status 503"), "\(failed)")
        try expectWell(stack, ["live"], "\(failed)")
        // The next `latest` is sound again.
        try stack.setWord("kept")
        try stack.succeed("backup")
    }

    @Test func `killed at a step of its journal, a restore is finished or undone`() throws {
        let stack = try prepared()
        let entries = try count(.journalEntries, stack)
        // At the stop, between two exchanges, after the start, while the old data goes.
        let spread = [entries * 4 / 10, entries / 2, entries * 7 / 10, entries - 2]
        let isWhole = Self.isWhole
        var words: Set<String> = []
        var number = 0
        for entry in isWhole ? Array(1...entries) : spread {
            for verb in isWhole ? ["--resume", "--rollback"] : [["--resume", "--rollback"][number % 2]] {
                number += 1
                // The entry is written and nothing is done; or all before it is done, and it is not written.
                let kind = number % 4 < 2 ? ScenarioFault.Kind.killAfter : .kill
                words.insert(try killed(stack, kind, at: entry, then: verb))
            }
        }
        #expect(words == ["kept", "live"])
        if isWhole { print("shop: \(number) restores killed, at \(entries) entries of the journal") }
    }

    /// The word of the stack afterwards; the stack has the word `live` before and after.
    private func killed(
        _ stack: ShopStack, _ kind: ScenarioFault.Kind, at entry: Int, then verb: String
    ) throws -> String {
        let fault = ScenarioFault(kind, at: entry, of: ["rename"], path: "/restores/")
        let (run, hit) = try stack.lifeboat(Self.restore, fault: fault)
        #expect(run.exit == 128 + SIGKILL && !hit.isEmpty, "\(kind) at \(entry): \(run)")
        var after = try stack.lifeboat("restore", verb)
        // What was verified, and is no longer whole beside the live data, does not come back.
        if after.error.contains("cannot be rolled back any more") { after = try stack.lifeboat("restore", "--resume") }
        let comment = "\(kind) at entry \(entry), then \(verb): \(after)\n\(run)"
        // Killed before the first entry there is nothing to undo.
        #expect(after.exit == 0 || after.error.contains("there is no restore of stack"), "\(comment)")
        try expectWell(stack, ["kept", "live"], comment)
        let word = try stack.word()
        if word != "live" { try stack.setWord("live") }
        return word
    }

    @Test func `a service that ignores its stop, and one whose health flaps`() throws {
        let stack = try prepared()
        try stack.setFlag("stubborn-worker", "")
        defer { try? stack.setFlag("stubborn-worker", nil) }
        let refused = try stack.lifeboat("restore", "latest", "--yes")
        #expect(refused.exit == 1, "\(refused)")
        #expect(refused.error.contains("service 'worker' did not stop by itself within 3.0 s"), "\(refused)")
        try expectWell(stack, ["live"], "\(refused)")

        // One that may be killed does not keep the restore; health that comes and goes is waited for until it stays.
        try stack.writePolicy("patient.yaml", consecutive: 3, mayKill: ["worker"])
        try stack.setFlag("flap", "9")
        defer { try? stack.setFlag("flap", nil) }
        let restored = try stack.lifeboat("restore", "latest", "--yes", "--policy", "patient.yaml")
        #expect(restored.exit == 0, "\(restored)")
        try stack.setFlag("flap", nil)
        try expectWell(stack, ["kept"], "\(restored)")
    }

    @Test func `a disk that is full while data is staged costs nothing but the restore`() throws {
        let stack = try prepared()
        let writes = try count(.writes, stack)
        let (full, hit) = try stack.lifeboat(
            Self.restore, fault: ScenarioFault(.errorFromThere(ENOSPC), at: writes / 2, of: ["write"]))
        #expect(!hit.isEmpty && full.exit != 0, "\(full)")
        #expect(full.error.contains("ENOSPC"), "\(full)")
        // Where the journal could not be written either, the next command puts the rest right.
        _ = try stack.lifeboat("restore", "--resume")
        try expectWell(stack, ["live"], "\(full)")
    }

    @Test func `an engine that starts again, with lifeboat at work or dead`() throws {
        let stack = try prepared()
        // Dead, with everything stopped: what the engine revives by its policies must not be there before the data is.
        let entries = try count(.journalEntries, stack)
        let fault = ScenarioFault(.killAfter, at: entries / 2, of: ["rename"], path: "/restores/")
        let (killed, hit) = try stack.lifeboat(Self.restore, fault: fault)
        #expect(killed.exit == 128 + SIGKILL && !hit.isEmpty, "\(killed)")
        try stack.daemon.restart()
        #expect(try stack.docker("inspect", "--format", "{{.State.Status}}", "shop-redis-1") == "exited")
        let resumed = try stack.lifeboat("restore", "--resume")
        #expect(resumed.exit == 0, "\(resumed)")
        // It goes forward from where it was, or back when that cannot be.
        try expectWell(stack, ["kept", "live"], "\(resumed)")

        // At work: it begins to stop the services, and the engine goes away for a while.
        let running = try stack.folder.binary.start(
            Self.restore, environment: stack.folder.environment.merging(stack.environment) { $1 }, in: stack.folder.path
        )
        for _ in 0..<3000 {
            let begun = try stack.folder.shell("cat '\(stack.folder.state)'/restores/*.json 2>/dev/null || :")
            if begun.contains("services_found") { break }
            usleep(50_000)
        }
        try stack.daemon.restart { usleep(500_000) }
        let run = try running.wait()
        if run.exit != 0 {
            let resume = try stack.lifeboat("restore", "--resume")
            #expect(resume.exit == 0, "\(resume)\n\(run)")
        }
        try expectWell(stack, run.exit == 0 ? ["kept"] : ["live", "kept"], "\(run)")
        print("shop: with an engine that started again in between the restore ended with \(run.exit)")
    }
}
