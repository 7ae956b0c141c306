// SPDX-License-Identifier: Apache-2.0

import LifeboatBackup
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatStorage
import LifeboatStores
import LifeboatTesting
import Testing

@Suite struct BackupEngineTests {
    @Test func aFolderComesBackAsItWas() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        try fixture.fill(seed: 1)
        let outcome = try fixture.backUp()
        #expect(outcome.problems.isEmpty)
        #expect(outcome.snapshot.manifest.complete)
        #expect(try fixture.restoredEqualsSource())
        #expect(try fixture.findings() == [])
    }

    @Test func theSecondRunReadsAndStoresNothingUnchanged() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        try fixture.fill(seed: 2)
        let first = try fixture.backUp()
        // Facts of files written a moment before the first run are not trusted: the second run settles them.
        SystemClock().sleep(seconds: 0.1)
        _ = try fixture.backUp()
        let third = try fixture.backUp()
        #expect(third.files.unchanged == third.files.total)
        #expect(third.files.total == first.files.total)
        #expect(third.statistics.chunksNew == 0)
        #expect(third.snapshot.manifest.sequence == 3)
        #expect(third.snapshot.manifest.previous == third.previous?.id)
        #expect(try fixture.restoredEqualsSource())
    }

    @Test func changesAreCounted() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        try fixture.fill(seed: 3)
        SystemClock().sleep(seconds: 0.1)
        _ = try fixture.backUp()
        try fixture.write(Array("changed\n".utf8), to: "docs/1/1.txt")
        try fixture.write(Array("new\n".utf8), to: "docs/1/new.txt")
        try FileTree.remove("\(fixture.source)/docs/2")
        let second = try fixture.backUp()
        #expect(second.files.new == 1)
        // The file, its folder, and the folder that lost one.
        #expect(second.files.changed == 3)
        #expect(second.files.removed == 7)
        #expect(try fixture.restoredEqualsSource())
    }

    /// A backup of one component in between is no baseline for the others: each is compared with the newest snapshot
    /// that contains it, also past one in which it failed.
    @Test func eachComponentIsComparedWithTheNewestSnapshotThatContainsIt() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        try fixture.fill(seed: 12)
        func component(_ name: String, at path: String? = nil) -> BackupComponent {
            let source = path ?? "\(fixture.source)/\(name)"
            return BackupComponent(
                name: name, store: VolumeStore(path: source), source: "\(fixture.source)/\(name)")
        }
        _ = try fixture.backUp([component("docs"), component("models")])
        // Facts of files written a moment before the first run are not trusted: the second run settles them.
        SystemClock().sleep(seconds: 0.1)
        _ = try fixture.backUp([component("docs"), component("models")])
        let partial = try fixture.backUp([component("docs"), component("models", at: "\(fixture.source)/gone")])
        #expect(partial.snapshot.manifest.component("models")?.parts.isEmpty == true)
        let docs = try fixture.backUp([component("docs")])

        let whole = try fixture.backUp([component("docs"), component("models")])
        #expect(whole.files.unchanged == whole.files.total)
        #expect(whole.files.total > docs.files.total)
        #expect(whole.statistics.bytesNew == 0)
        #expect(whole.snapshot.manifest.previous == docs.snapshot.id)

        // A changed file becomes deltas of its last captured state.
        _ = try fixture.backUp([component("docs")])
        var random = SplitMix64(seed: 12)
        var weights = random.bytes(5_000_000)
        weights.replaceSubrange(2_000_000..<2_000_100, with: repeatElement(7, count: 100))
        try fixture.write(weights, to: "models/weights.bin")
        let changed = try fixture.backUp([component("docs"), component("models")])
        #expect(changed.files.changed >= 1 && changed.files.new == 0)
        #expect(changed.statistics.deltas >= 1)
        #expect(try fixture.findings() == [])
    }

    @Test func aFailingComponentLeavesTheOthersWhole() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        try fixture.fill(seed: 4)
        let outcome = try fixture.backUp([
            BackupComponent(name: "gone", store: VolumeStore(path: "\(fixture.source)/gone"), source: "gone"),
            BackupComponent(name: "files", store: VolumeStore(path: fixture.source), source: fixture.source),
        ])
        #expect(outcome.problems.count == 1)
        #expect(!outcome.snapshot.manifest.complete)
        #expect(outcome.snapshot.manifest.component("files")?.isComplete == true)
        #expect(outcome.snapshot.manifest.component("gone")?.isComplete == false)
        #expect(throws: LifeboatError.self) { try SnapshotCatalog(fixture.repository).find("latest") }
    }

    /// A folder whose facts cannot be learnt, or of which the store says that something is missing.
    private struct DoubtfulStore: DataStore {
        let volume: VolumeStore
        let factsFail: Bool

        var kind: String { volume.kind }
        var subject: String { volume.subject }
        func probe() throws -> StoreProbe { try volume.probe() }
        func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
            Point(point: try volume.fixPoint(cancellation), factsFail: factsFail)
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

        private struct Point: CapturePoint {
            let point: any CapturePoint
            let factsFail: Bool
            var method: String { point.method }
            var parts: [CapturePart] { point.parts }
            func facts() throws -> StoreFacts {
                if factsFail { throw LifeboatError("the server went away") }
                return try point.facts()
            }
            var problems: [LifeboatError] { [LifeboatError("half of it is missing", causes: ["it was never there"])] }
            func release() { point.release() }
        }
    }

    @Test(arguments: [true, false]) func `what was read stays in the snapshot whatever its facts say`(fail: Bool) throws
    {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        try fixture.fill(seed: 8)
        let store = DoubtfulStore(volume: VolumeStore(path: fixture.source), factsFail: fail)
        let outcome = try fixture.backUp([BackupComponent(name: "files", store: store, source: fixture.source)])
        let component = try #require(outcome.snapshot.manifest.component("files"))
        #expect(!outcome.snapshot.manifest.complete && outcome.problems.count == (fail ? 2 : 1))
        #expect(component.problems.contains("half of it is missing: it was never there"))
        #expect(component.parts.map(\.name) == ["files"] && component.bytes > 5_000_000)
        #expect(component.counts.isEmpty == fail)
        let second = try fixture.backUp()
        #expect(second.snapshot.manifest.complete)
        #expect(try fixture.restoredEqualsSource())
    }

    @Test func aCancelledBackupLeavesNoSnapshot() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        try fixture.fill(seed: 5)
        let cancellation = Cancellation()
        cancellation.cancel()
        let error = #expect(throws: LifeboatError.self) { try fixture.backUp(cancellation: cancellation) }
        #expect(error?.exitCode == .interrupted)
        #expect(try SnapshotCatalog(fixture.repository).snapshots.isEmpty)
        _ = try fixture.backUp()
        #expect(try fixture.restoredEqualsSource())
    }

    /// Lets the nth operation on the repository fail, before or after its effect, for n = 1, 2, … until a run succeeds.
    /// After each: the repository is sound, the snapshot before it restores, and the next run works.
    @Test(arguments: [true, false])
    func aFailureAtAnyOperationLosesNothing(beforeItsEffect: Bool) throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        try fixture.fill(seed: 6)
        _ = try fixture.backUp()
        try fixture.keepRepository()
        var failures = 0
        for attempt in 1...200 {
            // Every attempt starts from the same repository, so that it makes the same calls.
            try fixture.bringRepositoryBack()
            try fixture.write(Array("state \(attempt)\n".utf8), to: "docs/changing.txt")
            let faulty = FaultInjectingStore(fixture.store)
            let repository = try Repository.open(faulty, cacheRoot: "\(fixture.folder.path)/cache")
            faulty.inject(beforeItsEffect ? .failBefore(.full) : .failAfter(.transient), at: attempt)
            let before = try SnapshotCatalog(fixture.repository).snapshots.count
            var threw = false
            do { _ = try fixture.backUp(into: repository) } catch { threw = true }
            let after = try SnapshotCatalog(fixture.repository).snapshots.count
            #expect(threw || after == before + 1)
            if faulty.firedFaults == 0 {
                #expect(!threw)
                break
            }
            failures += 1
            let findings = try fixture.findings()
            #expect(findings == [], "fault \(attempt)")
            _ = try fixture.backUp()
            #expect(try fixture.restoredEqualsSource())
        }
        #expect(failures > 5 && failures < 200)
    }

    @Test func aWrongIndexEntryOfAMissingPackIsHealedByTheNextBackup() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        try fixture.fill(seed: 7)
        SystemClock().sleep(seconds: 0.1)
        _ = try fixture.backUp()
        for pack in try fixture.store.listAll(prefix: RepositoryLayout.packPrefix) {
            _ = try fixture.store.delete(pack.key)
        }
        let second = try fixture.backUp()
        #expect(second.problems.isEmpty)
        #expect(try fixture.restoredEqualsSource())
    }
}
