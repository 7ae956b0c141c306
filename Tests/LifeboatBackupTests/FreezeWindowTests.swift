// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatBackup
import LifeboatCore
import LifeboatIO
import LifeboatRepository
import LifeboatServices
import LifeboatStores
import Testing

struct FreezeWindowTests {
    private func plan(
        _ fixture: BackupFixture, _ services: HeldServices, _ method: FreezeMethod = .pause, limit: Double = 300,
        writers: [String]? = nil
    ) -> FreezePlan {
        FreezePlan(
            method: method, services: services, writers: writers, servers: ["postgres"], limit: limit,
            journal: journal(fixture), policy: "/etc/demo.yaml")
    }

    private func journal(_ fixture: BackupFixture) -> ServiceJournal {
        ServiceJournal(stateFolder: "\(fixture.folder.path)/state")
    }

    private func backUp(
        _ fixture: BackupFixture, _ stores: [any DataStore], _ freeze: FreezePlan?, checks: [StackCheck] = [],
        cancellation: Cancellation = Cancellation()
    ) throws -> BackupOutcome {
        let components = stores.enumerated().map { index, store in
            BackupComponent(
                name: (store as? HookedStore)?.name ?? "files", store: store,
                source: store is VolumeStore ? fixture.source : "source-\(index)")
        }
        var request = BackupRequest(
            stack: "test", host: "host", components: components, policyText: nil, lifeboatVersion: "test")
        request.freeze = freeze
        request.checks = checks
        return try BackupEngine(
            repository: fixture.repository,
            settings: BackupEngine.settings(processors: 2, components: components.count, compressionLevel: 3),
            clock: SystemClock(), progress: SilentProgress(), cancellation: cancellation
        ).run(request)
    }

    @Test func `writers are held while stores fix their points and go on before anything is streamed`() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        let log = EventLog()
        // Each waits for the other: one after the other, they would wait for ever.
        let stores = ["a", "b"].map { name in
            HookedStore(name: name, log: log, value: 7) { _ in log.wait(for: "begin \(name == "a" ? "b" : "a")") }
        }
        let check = StackCheck(
            name: "same", rule: .equal, values: ["a", "b"].map { .component($0, .sql("select 7")) } + [.number(7)])
        let outcome = try backUp(
            fixture, stores, plan(fixture, HeldServices(log: log)), checks: [check])
        let events = log.all
        let inside = events.filter { !$0.hasPrefix("read") && !$0.hasPrefix("released") }
        #expect(inside.first == "pause api worker")
        #expect(inside.last == "unpause api worker")
        #expect(Set(inside).isSuperset(of: ["fixed a", "fixed b", "asked a", "asked b"]))
        let unpaused = try #require(events.firstIndex(of: "unpause api worker"))
        #expect(events[..<unpaused].allSatisfy { !$0.hasPrefix("read") })
        let manifest = outcome.snapshot.manifest
        #expect(manifest.complete && outcome.problems.isEmpty && outcome.heldProblem == nil)
        #expect(manifest.freeze?.method == "pause" && manifest.freeze?.services == ["api", "worker"])
        #expect(manifest.freeze?.problem == nil && (manifest.freeze?.seconds ?? 0) > 0)
        #expect(manifest.checks?.map(\.holds) == [true])
        #expect(try journal(fixture).list().live.isEmpty)
    }

    @Test func `without a freeze nothing is held, and the manifest says nothing of one`() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        let outcome = try backUp(fixture, [HookedStore(name: "a", log: EventLog())], nil)
        #expect(outcome.snapshot.manifest.freeze == nil && outcome.snapshot.manifest.checks == nil)
    }

    @Test func `freeze stop stops and starts the named writers`() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        let log = EventLog()
        let outcome = try backUp(
            fixture, [HookedStore(name: "a", log: log)],
            plan(fixture, HeldServices(log: log), .stop, writers: ["worker", "idle"]))
        #expect(log.all.filter { $0.hasPrefix("st") } == ["stop worker", "start worker"])
        #expect(outcome.snapshot.manifest.freeze?.services == ["worker"])
        #expect(outcome.warnings.map(\.message) == ["writer 'idle' does not run: there was nothing to hold"])
    }

    @Test func `a folder is of the moment of the freeze, whatever happens before and after`() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        try fixture.fill(seed: 1)
        // A first snapshot, so that there is a tree to go from.
        let volume = VolumeStore(path: fixture.source)
        _ = try backUp(fixture, [volume], nil)
        try fixture.write(Array("before".utf8), to: "changed-before")
        let kept = "\(fixture.folder.path)/moment"
        let services = HeldServices(
            log: EventLog(),
            onPause: {
                // The last thing the writers did.
                try fixture.write(Array("within".utf8), to: "docs/0/0.txt")
                try fixture.write([UInt8](repeating: 7, count: 3_000_000), to: "models/new.bin")
                try FileTree.remove("\(fixture.source)/docs/1")
                let copy = try SystemProcessRunner().run(
                    ProcessCommand("cp", ["-a", fixture.source, kept]), deadline: 60)
                guard copy.termination.succeeded else { throw LifeboatError(copy.standardError) }
            },
            onUnpause: {
                // And what they do as soon as they may.
                try fixture.write(Array("after".utf8), to: "docs/0/0.txt")
                try fixture.write(Array("after".utf8), to: "after")
                try FileTree.remove("\(fixture.source)/models")
            })
        let outcome = try backUp(fixture, [volume], plan(fixture, services))
        #expect(outcome.snapshot.manifest.complete, "\(outcome.problems)")
        #expect(outcome.snapshot.manifest.freeze?.services == ["api", "worker"])
        #expect(outcome.files.new == 2 && outcome.files.removed > 0, "\(outcome.files)")
        // Back to the moment, for the comparison.
        try FileTree.remove(fixture.source)
        guard rename(kept, fixture.source) == 0 else { throw SystemCallError("rename", kept) }
        #expect(try fixture.restoredEqualsSource())
        #expect(try fixture.findings().isEmpty)
    }

    @Test func `a store that fails does not keep the writers`() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        let log = EventLog()
        let stores = [
            HookedStore(name: "bad", log: log) { _ in throw LifeboatError("no point today") },
            HookedStore(name: "good", log: log),
        ]
        let outcome = try backUp(fixture, stores, plan(fixture, HeldServices(log: log)))
        #expect(log.contains("unpause api worker") && log.contains("read good"))
        #expect(!outcome.snapshot.manifest.complete)
        #expect(outcome.snapshot.manifest.freeze?.problem == nil)
    }

    @Test func `an interruption inside the window releases the writers`() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        let log = EventLog()
        let cancellation = Cancellation()
        let store = HookedStore(name: "a", log: log) { given in
            cancellation.cancel()
            // It takes its time to notice: the writers do not wait for that.
            log.wait(for: "unpause api worker")
            try given.check()
        }
        let error = try #require(throws: LifeboatError.self) {
            _ = try backUp(
                fixture, [store], plan(fixture, HeldServices(log: log)), cancellation: cancellation)
        }
        #expect(error.exitCode == .interrupted)
        #expect(try journal(fixture).list().live.isEmpty)
    }

    @Test func `at the limit writers go on, and the snapshot says that it is not of one moment`() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        let log = EventLog()
        let stores = [
            HookedStore(name: "quick", log: log),
            HookedStore(name: "slow", log: log) { _ in log.wait(for: "unpause api worker") },
        ]
        let outcome = try backUp(fixture, stores, plan(fixture, HeldServices(log: log), limit: 0.2))
        let manifest = outcome.snapshot.manifest
        #expect(!manifest.complete && manifest.components.allSatisfy(\.isComplete))
        #expect(
            manifest.freeze?.problem == "component 'slow' had no point in time when the writers were released")
        #expect(outcome.problems.map(\.exitCode) == [.incomplete])
        #expect(outcome.warnings.contains { $0.message.contains("released before all stores") })
    }

    @Test func `a check that is not answered in the window does not hold`() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        let log = EventLog()
        let slow = SlowNumbers(log: log)
        let check = StackCheck(
            name: "slow", rule: .atLeast, values: [.component("numbers", .sql("select 1")), .number(0)])
        var request = BackupRequest(
            stack: "test", host: "host",
            components: [BackupComponent(name: "numbers", store: slow, source: "source")], policyText: nil,
            lifeboatVersion: "test")
        request.freeze = plan(fixture, HeldServices(log: log), limit: 0.2)
        request.checks = [check]
        let outcome = try BackupEngine(
            repository: fixture.repository,
            settings: BackupEngine.settings(processors: 1, components: 1, compressionLevel: 3), clock: SystemClock(),
            progress: SilentProgress(), cancellation: Cancellation()
        ).run(request)
        let result = try #require(outcome.snapshot.manifest.checks?.first)
        #expect(!result.holds && result.values[0].problem == "it was not asked in time")
        // Every store had its point.
        #expect(outcome.snapshot.manifest.freeze?.problem == nil && outcome.snapshot.manifest.complete)
    }

    @Test func `when writers cannot be held the snapshot is made and marked`() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        let log = EventLog()
        let services = HeldServices(log: log, onPause: { throw LifeboatError("one of them did not stand still") })
        let outcome = try backUp(fixture, [HookedStore(name: "a", log: log)], plan(fixture, services))
        let manifest = outcome.snapshot.manifest
        #expect(log.all.prefix(2) == ["pause api worker", "unpause api worker"])
        #expect(!manifest.complete && manifest.components.allSatisfy(\.isComplete))
        #expect(manifest.freeze?.services == [])
        #expect(manifest.freeze?.problem?.contains("did not stand still") == true)
        #expect(try journal(fixture).list().live.isEmpty)
    }

    @Test func `writers that do not stand still in time go on`() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        let log = EventLog()
        let outcome = try backUp(
            fixture, [HookedStore(name: "a", log: log)],
            plan(fixture, HeldServices(log: log, ignoresPause: true), limit: 0.2))
        let problem = try #require(outcome.snapshot.manifest.freeze?.problem)
        #expect(problem.contains("did not stand still within 0.2 s"))
        #expect(log.contains("unpause api worker") && log.contains("read a"))
        #expect(!outcome.snapshot.manifest.complete)
        #expect(try journal(fixture).list().live.isEmpty)
    }

    @Test func `a writer nobody knows is a mistake that shows`() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        let log = EventLog()
        let outcome = try backUp(
            fixture, [HookedStore(name: "a", log: log)],
            plan(fixture, HeldServices(log: log), writers: ["api", "worcer"]))
        #expect(!log.contains("pause api") && !outcome.snapshot.manifest.complete)
        #expect(outcome.snapshot.manifest.freeze?.problem?.contains("'worcer' is none of services of a test") == true)
    }

    @Test func `writers that cannot be released are told, and stay in the journal`() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        let log = EventLog()
        let services = HeldServices(log: log, onUnpause: { throw LifeboatError("the engine is gone") })
        let outcome = try backUp(fixture, [HookedStore(name: "a", log: log)], plan(fixture, services))
        #expect(outcome.snapshot.manifest.complete)
        #expect(outcome.heldProblem?.message.contains("could not be released: api, worker") == true)
        let entry = try #require(try journal(fixture).list().live.first)
        #expect(entry.paused == ["api", "worker"] && entry.kind == "backup" && entry.stack == "test")
        #expect(entry.services.isEmpty && entry.startCommands.isEmpty)
        #expect(entry.unpauseCommands?.map(\.words) == [["unpause", "api"], ["unpause", "worker"]])
    }

    @Test func `a check that does not hold is kept with its values and is a problem`() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        let log = EventLog()
        let stores = [HookedStore(name: "a", log: log, value: 12), HookedStore(name: "b", log: log, value: 11)]
        let values: [CheckValue] = [.component("a", .sql("x")), .component("b", .points("docs"))]
        let checks = [
            StackCheck(name: "equal", rule: .equal, values: values),
            StackCheck(name: "near", rule: .within(percent: 10), values: values),
        ]
        let outcome = try backUp(fixture, stores, nil, checks: checks)
        let manifest = outcome.snapshot.manifest
        #expect(manifest.complete)
        #expect(manifest.checks?.map(\.holds) == [false, true])
        #expect(manifest.checks?[0].explanation == "sql of 'a' is 12, points of 'docs' in 'b' is 11")
        #expect(outcome.problems.map(\.message) == ["check 'equal' does not hold"])
        #expect(outcome.problems.map(\.exitCode) == [.incomplete])
    }
}

/// Answers when the writers go on.
private struct SlowNumbers: DataStore, NumberSource {
    let log: EventLog
    private var inner: HookedStore { HookedStore(name: "numbers", log: log) }
    var kind: String { "hooked" }
    var subject: String { "slow store" }
    func probe() throws -> StoreProbe { StoreProbe() }
    func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint { try inner.fixPoint(cancellation) }
    func number(_ question: CheckQuestion, _ cancellation: Cancellation) throws -> Double {
        log.wait(for: "unpause api worker")
        return 1
    }
    func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] { [] }
    func planStaging(_ restoreID: String) throws -> StagedState { StagedState([:]) }
    func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {}
    func swap(_ state: StagedState) throws {}
    func swapBack(_ state: StagedState) throws {}
    func verify(_ content: any RestoreContent) throws -> [FactDifference] { [] }
    func discard(_ state: StagedState) throws {}
}
