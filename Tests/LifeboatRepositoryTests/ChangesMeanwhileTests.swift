// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatRepository
import LifeboatStorage
import LifeboatTesting
import Testing

/// What others do to a repository between any two calls of a check or a prune does not look like damage.
@Suite struct ChangesMeanwhileTests {
    enum Change: CaseIterable {
        case backup, forget, forgetAndPrune
    }

    private static func make(_ change: Change, _ fixture: PruneFixture, _ number: Int) throws {
        // Another process of the same host.
        let repository = try fixture.open(cache: "other")
        switch change {
        case .backup: try fixture.backUp([PruneFixture.content(UInt64(number) + 100)], into: repository)
        case .forget: try fixture.forget(keepingLast: 1, in: repository)
        case .forgetAndPrune:
            try fixture.forget(keepingLast: 1, in: repository)
            do {
                _ = try fixture.prune(repository) { $0.maximumUnused = 0 }
            } catch let error as LifeboatError where error.exitCode == .busy {
                // The prune that is looked at was there first.
            }
        }
    }

    /// A repository of one host with three snapshots that share some of their data.
    private static func fixture() throws -> PruneFixture {
        let fixture = try PruneFixture(signs: true)
        let repository = try fixture.open()
        for first in 1...3 as ClosedRange<UInt64> {
            try fixture.backUp((first...first + 2).map { PruneFixture.content($0) }, into: repository)
        }
        return fixture
    }

    /// Calls of the store that `body` makes when nothing happens meanwhile.
    private static func calls(_ body: (Repository) throws -> Void) throws -> Int {
        let fixture = try fixture()
        defer { fixture.remove() }
        let store = FaultInjectingStore(fixture.store)
        let repository = try fixture.open(store)
        let before = store.log.count
        try body(repository)
        return store.log.count - before
    }

    @Test(arguments: Change.allCases) func aCheckFindsNothingInASoundRepository(change: Change) throws {
        func check(_ repository: Repository) throws -> [String] {
            try RepositoryChecker(
                repository, threads: 1, progress: SilentProgress(), cancellation: Cancellation()
            ).run(readData: true).problems.map { "\($0.object): \($0.reason)" }
        }
        for call in 1...(try Self.calls { _ = try check($0) }) {
            let fixture = try Self.fixture()
            defer { fixture.remove() }
            let store = InterruptedStore(fixture.store)
            let repository = try fixture.open(store)
            store.interrupt(at: call) { try Self.make(change, fixture, call) }
            #expect(try check(repository) == [], "\(change) before call \(call)")
        }
    }

    @Test(arguments: Change.allCases) func aPruneFindsNothingInASoundRepository(change: Change) throws {
        func prune(_ fixture: PruneFixture, _ repository: Repository) throws {
            let outcome = try fixture.prune(repository) { $0.maximumUnused = 0 }
            #expect(outcome.problems.isEmpty)
        }
        let counted = try Self.fixture()
        defer { counted.remove() }
        let store = FaultInjectingStore(counted.store)
        let repository = try counted.open(store)
        let before = store.log.count
        try prune(counted, repository)
        for call in 1...(store.log.count - before) {
            let fixture = try Self.fixture()
            defer { fixture.remove() }
            let store = InterruptedStore(fixture.store)
            let repository = try fixture.open(store)
            store.interrupt(at: call) { try Self.make(change, fixture, call) }
            do {
                try prune(fixture, repository)
            } catch let error as LifeboatError where error.exitCode == .busy {
                // The other prune was there first.
            }
            #expect(try fixture.problems() == [], "\(change) before call \(call)")
        }
    }

    /// Signed lists explain it, whoever pruned last.
    @Test func aForgetOfMoreThanHalfDoesNotStopPrune() throws {
        let fixture = try PruneFixture(signs: true)
        defer { fixture.remove() }
        let repository = try fixture.open()
        for number in 1...6 { try fixture.backUp([PruneFixture.content(UInt64(number))], into: repository) }
        _ = try fixture.prune(repository)
        try fixture.forget(keepingLast: 1, in: repository)
        // Another host deletes most of the packs.
        #expect(try fixture.prune(fixture.open(cache: "other")).deleted.count > 0)
        _ = try fixture.prune(repository)
        #expect(try fixture.problems() == [])
    }
}

/// Runs something before the call of a chosen number, in the middle of what the caller does.
private final class InterruptedStore: ObjectStore {
    private struct State {
        var countdown = 0
        var body: (@Sendable () throws -> Void)?
    }

    private let base: any ObjectStore
    private let state = Monitor(State())

    init(_ base: any ObjectStore) { self.base = base }

    func interrupt(at call: Int, _ body: @escaping @Sendable () throws -> Void) {
        state.withLock { $0 = State(countdown: call, body: body) }
    }

    private func enter() {
        let body: (@Sendable () throws -> Void)? = state.withLock { state in
            state.countdown -= 1
            guard state.countdown == 0 else { return nil }
            defer { state.body = nil }
            return state.body
        }
        guard let body else { return }
        #expect(throws: Never.self) { try body() }
    }

    var properties: ObjectStoreProperties { base.properties }

    func putIfAbsent(_ key: ObjectKey, _ pieces: [UnsafeRawBufferPointer]) throws(StorageError) -> Bool {
        enter()
        return try base.putIfAbsent(key, pieces)
    }

    func put(_ key: ObjectKey, _ pieces: [UnsafeRawBufferPointer]) throws(StorageError) {
        enter()
        try base.put(key, pieces)
    }

    func read(_ key: ObjectKey, at offset: UInt64, into destination: UnsafeMutableRawBufferPointer) throws(StorageError)
    {
        enter()
        try base.read(key, at: offset, into: destination)
    }

    func get(_ key: ObjectKey, limit: UInt64) throws(StorageError) -> [UInt8] {
        enter()
        return try base.get(key, limit: limit)
    }

    func stat(_ key: ObjectKey) throws(StorageError) -> ObjectInfo? {
        enter()
        return try base.stat(key)
    }

    func list(prefix: String, after token: ObjectPageToken?, limit: Int) throws(StorageError) -> ObjectPage {
        enter()
        return try base.list(prefix: prefix, after: token, limit: limit)
    }

    func delete(_ key: ObjectKey) throws(StorageError) -> Bool {
        enter()
        return try base.delete(key)
    }
}
