// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatRepository
import LifeboatStorage
import LifeboatTesting
import Testing

@Suite struct PruneTests {
    private static func contents(_ seeds: ClosedRange<UInt64>) -> [[UInt8]] { seeds.map { PruneFixture.content($0) } }

    @Test func whatNoSnapshotNeedsGoesAndTheRestStays() throws {
        let fixture = try PruneFixture()
        defer { fixture.remove() }
        let repository = try fixture.open()
        let first = try fixture.backUp(Self.contents(1...8), into: repository)
        try fixture.backUp(Self.contents(6...9), into: repository)
        try fixture.forget(first)
        let before = try fixture.store.listAll(prefix: "packs/").reduce(0) { $0 + $1.size }
        let outcome = try fixture.prune(repository) { $0.maximumUnused = 0 }
        #expect(outcome.deleted.count > 0)
        #expect(outcome.waiting.count == 0)
        let after = try fixture.store.listAll(prefix: "packs/").reduce(0) { $0 + $1.size }
        #expect(after < before * 3 / 4)
        #expect(try fixture.problems() == [])
        #expect(try fixture.count("condemned/") == 0)
        #expect(try fixture.count("leases/") == 0)
        let second = try fixture.prune(repository) { $0.maximumUnused = 0 }
        #expect(second.deleted.count == 0 && second.condemned.count == 0)
    }

    @Test func aDryRunChangesNothing() throws {
        let fixture = try PruneFixture()
        defer { fixture.remove() }
        let repository = try fixture.open()
        let first = try fixture.backUp(Self.contents(1...4), into: repository)
        try fixture.backUp(Self.contents(3...5), into: repository)
        try fixture.forget(first)
        let before = fixture.store.contents
        let outcome = try fixture.prune(repository) { $0.dryRun = true }
        #expect(outcome.plan.unused.count + outcome.plan.repacked.count > 0)
        #expect(fixture.store.contents == before)
    }

    @Test func graceLeavesTheDeletingToALaterRun() throws {
        let fixture = try PruneFixture()
        defer { fixture.remove() }
        let repository = try fixture.open()
        let first = try fixture.backUp(Self.contents(1...4), into: repository)
        try fixture.backUp(Self.contents(20...22), into: repository)
        try fixture.forget(first)
        let packs = try fixture.packs
        let outcome = try fixture.prune(repository) { $0.grace = 3600 }
        #expect(outcome.deleted.count == 0 && outcome.condemned.count > 0)
        #expect(try fixture.packs >= packs)
        // Condemned data is stored anew by a backup, and goes although the same is needed again.
        try fixture.backUp(Self.contents(1...4), into: repository)
        let later = try fixture.prune(repository)
        #expect(later.deleted.count == outcome.condemned.count)
        #expect(try fixture.problems() == [])
    }

    @Test func aBackupThatRunsKeepsWhatItFound() throws {
        let fixture = try PruneFixture()
        defer { fixture.remove() }
        let repository = try fixture.open()
        let first = try fixture.backUp(Self.contents(1...4), into: repository)
        try fixture.backUp(Self.contents(20...22), into: repository)
        try fixture.forget(first)
        let other = try fixture.open(cache: "other")
        try fixture.backUp(Self.contents(1...4), into: repository) {
            // What it refers to is unused as yet, and condemned by a host that remembers it from before.
            _ = try fixture.prune(other) { $0.grace = 3600 }
            let outcome = try fixture.prune(other)
            #expect(outcome.deleted.count == 0)
        }
        _ = try fixture.prune(other)
        #expect(try fixture.problems() == [])
    }

    @Test func aLeaseThatIsNotRenewedIsBrokenAndItsBackupCannotCommit() throws {
        let fixture = try PruneFixture()
        defer { fixture.remove() }
        let repository = try fixture.open()
        let first = try fixture.backUp(Self.contents(1...4), into: repository)
        try fixture.backUp(Self.contents(20...22), into: repository)
        try fixture.forget(first)
        let error = #expect(throws: LifeboatError.self) {
            try fixture.backUp(Self.contents(1...4), into: repository) {
                let outcome = try fixture.prune(repository) { $0.leases.deadAfter = 0 }
                #expect(outcome.deleted.count > 0)
            }
        }
        #expect(error?.exitCode == .busy)
        #expect(try fixture.problems() == [])
        #expect(try fixture.count("leases/") == 0)
    }

    @Test func anAnnouncedManifestCountsThoughItsLeaseIsBroken() throws {
        let fixture = try PruneFixture()
        defer { fixture.remove() }
        let repository = try fixture.open()
        let first = try fixture.backUp(Self.contents(1...4), into: repository)
        try fixture.backUp(Self.contents(20...22), into: repository)
        let key = RepositoryLayout.manifest(
            stack: "small", time: first.manifest.frozen, id: first.id)
        let bytes = try fixture.store.get(key, limit: 1 << 20)
        // Announced, and stopped before the commit.
        let lease = try Lease.take(.backup, repository, host: "host")
        try lease.announce(first.manifest)
        _ = try fixture.store.delete(key)
        let outcome = try fixture.prune(repository) { $0.leases.deadAfter = 0 }
        #expect(outcome.deleted.count == 0)
        try bytes.withUnsafeBytes { try fixture.store.put(key, [$0]) }
        lease.release()
        #expect(try fixture.problems() == [])
    }

    @Test func aReaderKeepsPacksFromBeingDeleted() throws {
        let fixture = try PruneFixture()
        defer { fixture.remove() }
        let repository = try fixture.open()
        let first = try fixture.backUp(Self.contents(1...4), into: repository)
        try fixture.backUp(Self.contents(20...22), into: repository)
        let lease = try Lease.takeForReading(repository, host: "host")
        try fixture.forget(first)
        let outcome = try fixture.prune(repository)
        #expect(outcome.deleted.count == 0 && outcome.waiting.count > 0)
        #expect(outcome.waitsFor.count == 1)
        lease?.release()
        #expect(try fixture.prune(repository).deleted.count == outcome.waiting.count)
    }

    @Test func aDamagedOrMissingManifestOrPackMakesItRefuse() throws {
        let fixture = try PruneFixture()
        defer { fixture.remove() }
        let repository = try fixture.open()
        try fixture.backUp(Self.contents(1...4), into: repository)
        let second = try fixture.backUp(Self.contents(3...9), into: repository)
        let whole = fixture.store.contents
        let manifest = RepositoryLayout.manifest(stack: "small", time: second.manifest.frozen, id: second.id)
        fixture.store.contents[manifest]?[40] ^= 1
        #expect(throws: LifeboatError.self) { try fixture.prune(repository) { $0.force = true } }
        for key in whole.keys where key.text.hasPrefix("packs/") {
            fixture.store.contents = whole
            fixture.store.contents[key] = nil
            let error = #expect(throws: LifeboatError.self) { try fixture.prune(repository) { $0.force = true } }
            #expect(error?.exitCode == .damagedRepository)
            #expect(try fixture.count("condemned/") == 0)
        }
        fixture.store.contents = whole
        _ = try fixture.prune(repository)
        #expect(try fixture.problems() == [])
    }

    @Test func anUnexpectedLossOfSnapshotsMakesItRefuse() throws {
        let fixture = try PruneFixture()
        defer { fixture.remove() }
        let repository = try fixture.open()
        var made: [Snapshot] = []
        for number in 1...5 {
            made.append(try fixture.backUp([PruneFixture.content(UInt64(number))], into: repository))
        }
        _ = try fixture.prune(repository)
        for snapshot in made.dropLast() { try fixture.forget(snapshot) }
        #expect(throws: LifeboatError.self) { try fixture.prune(repository) }
        _ = try fixture.prune(repository) { $0.force = true }
        try fixture.forget(made[4])
        #expect(throws: LifeboatError.self) { try fixture.prune(repository) }
        #expect(try fixture.packs > 0)
    }

    @Test func aFailingListingDeletesNothing() throws {
        for prefix in ["packs/", "index/", "snapshots/", "condemned/", "leases/"] {
            let fixture = try PruneFixture()
            defer { fixture.remove() }
            let first = try fixture.backUp(Self.contents(1...4), into: fixture.open())
            try fixture.backUp(Self.contents(20...22), into: fixture.open())
            try fixture.forget(first)
            let faulty = FaultInjectingStore(fixture.store)
            faulty.inject(.failBefore(.transient), at: 1, of: [.list], prefix: prefix, repeating: true)
            let packs = try fixture.packs
            #expect(throws: (any Error).self, "\(prefix)") { try fixture.prune(fixture.open(faulty)) }
            #expect(try fixture.packs == packs)
        }
    }

    @Test func manySmallIndexesBecomeOne() throws {
        let fixture = try PruneFixture()
        defer { fixture.remove() }
        let repository = try fixture.open()
        for number in 1...12 { try fixture.backUp([PruneFixture.content(UInt64(number))], into: repository) }
        #expect(try fixture.count("index/") > 16)
        _ = try fixture.prune(repository)
        #expect(try fixture.count("index/") == 1)
        #expect(try fixture.problems() == [])
    }

    /// A store without a free byte: empty objects and deletions still work.
    @Test func aFullStoreIsEmptied() throws {
        let fixture = try PruneFixture()
        defer { fixture.remove() }
        let first = try fixture.backUp(Self.contents(1...4), into: fixture.open())
        try fixture.backUp(Self.contents(20...22), into: fixture.open())
        try fixture.forget(first)
        let packs = try fixture.packs
        let outcome = try fixture.prune(fixture.open(FullStore(fixture.store)))
        #expect(outcome.deleted.count > 0)
        #expect(try fixture.packs == packs - outcome.deleted.count)
        _ = try fixture.prune(fixture.open())
        #expect(try fixture.problems() == [])
        #expect(try fixture.count("condemned/") == 0)
    }

    /// Lets call n fail, before and after its effect, for n = 1, 2, …: every snapshot stays whole, and the next run ends
    /// what this one began.
    @Test(arguments: [true, false]) func aFailureAtAnyCallLosesNothing(beforeItsEffect: Bool) throws {
        let fixture = try PruneFixture()
        defer { fixture.remove() }
        let first = try fixture.backUp(Self.contents(1...8), into: fixture.open())
        try fixture.backUp(Self.contents(6...9), into: fixture.open())
        try fixture.forget(first)
        let begin = fixture.store.contents
        var runs = 0
        for attempt in 1...400 {
            fixture.store.contents = begin
            let faulty = FaultInjectingStore(fixture.store)
            faulty.inject(
                beforeItsEffect ? .failBefore(.transient) : .failAfter(.transient), at: attempt, repeating: true)
            let repository: Repository
            do {
                repository = try fixture.open(faulty, cache: "cache\(attempt)")
                _ = try fixture.prune(repository) { $0.maximumUnused = 0 }
            } catch is LifeboatError {
            } catch is StorageError {
            }
            runs = attempt
            if faulty.firedFaults == 0 { break }
            if attempt % 3 == 0 { #expect(try fixture.problems() == [], "call \(attempt)") }
            // Its own lease, left behind: the process lives, so only time tells.
            let end = try fixture.prune(fixture.open(cache: "end\(attempt)")) {
                $0.maximumUnused = 0
                $0.leases.deadAfter = 0
            }
            #expect(end.waiting.count == 0, "call \(attempt)")
            #expect(try fixture.problems() == [], "call \(attempt)")
        }
        #expect(runs > 30 && runs < 400)
    }
}

/// Refuses every byte, as a full disk does.
private struct FullStore: ObjectStore {
    private let base: any ObjectStore

    init(_ base: any ObjectStore) { self.base = base }

    var properties: ObjectStoreProperties { base.properties }

    private func checkRoom(_ pieces: [UnsafeRawBufferPointer], _ key: ObjectKey) throws(StorageError) {
        if pieces.contains(where: { !$0.isEmpty }) { throw StorageError(.full, "put", key.text) }
    }

    func putIfAbsent(_ key: ObjectKey, _ pieces: [UnsafeRawBufferPointer]) throws(StorageError) -> Bool {
        try checkRoom(pieces, key)
        return try base.putIfAbsent(key, pieces)
    }

    func put(_ key: ObjectKey, _ pieces: [UnsafeRawBufferPointer]) throws(StorageError) {
        try checkRoom(pieces, key)
        try base.put(key, pieces)
    }

    func read(_ key: ObjectKey, at offset: UInt64, into destination: UnsafeMutableRawBufferPointer) throws(StorageError)
    {
        try base.read(key, at: offset, into: destination)
    }

    func get(_ key: ObjectKey, limit: UInt64) throws(StorageError) -> [UInt8] { try base.get(key, limit: limit) }
    func stat(_ key: ObjectKey) throws(StorageError) -> ObjectInfo? { try base.stat(key) }

    func list(prefix: String, after token: ObjectPageToken?, limit: Int) throws(StorageError) -> ObjectPage {
        try base.list(prefix: prefix, after: token, limit: limit)
    }

    func delete(_ key: ObjectKey) throws(StorageError) -> Bool { try base.delete(key) }
}
