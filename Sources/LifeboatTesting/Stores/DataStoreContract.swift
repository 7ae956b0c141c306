// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
package import LifeboatStores

/// A store over real live data that only this fixture uses, with ways to look at that data and to change it from
/// outside. A fixture is made new for each check.
package protocol DataStoreFixture: Sendable {
    /// The store under test. It may be another instance each time, as after a crash.
    var store: any DataStore { get }
    /// The whole of the live data in any form that is equal exactly when the data is; nil when there is none.
    func contents() throws -> String?
    /// Adds to the live data; `contents` is another one after each call.
    func change() throws
    /// Takes the live data away, as an accident would.
    func destroy() throws
    /// What there is beside the live data that a capture or restore could have left: database names, paths,
    /// collections, each written as it stands in the values of a `StagedState`.
    func leftovers() throws -> [String]
    /// Whether a capture shows the data as it was when the point was fixed, whatever is written while it streams.
    var fixesPoint: Bool { get }
    /// Runs `body` while nothing uses the live data: what a restore does by stopping the services around a swap.
    func whileStopped(_ body: () throws -> Void) throws
    /// Words that must never be told or journalled.
    var secrets: [String] { get }
}

extension DataStoreFixture {
    package var fixesPoint: Bool { true }
    package var secrets: [String] { [] }
    package func whileStopped(_ body: () throws -> Void) throws { try body() }
}

/// What every `DataStore` must hold. A test runs each check over a new fixture.
package struct DataStoreContract: Sendable, CustomStringConvertible {
    package let description: String
    private let body: @Sendable (Bench) throws -> Void

    package static let all: [DataStoreContract] = [
        DataStoreContract("probe reaches the store and changes nothing", probeChangesNothing),
        DataStoreContract("parts have names of their own and can be read", partsAreReadable),
        DataStoreContract("a point is let go twice, read or not, and another can be fixed", releaseIsRepeatable),
        DataStoreContract("facts are those of the point, however often they are asked", factsAreStable),
        DataStoreContract("what is written after the point is in no part", laterWritesAreLeftOut),
        DataStoreContract("a cancelled point throws and leaves nothing", cancelledPointLeavesNothing),
        DataStoreContract("staging leaves the live data alone, the swap brings it back", restoreCycle),
        DataStoreContract("swap, swap back and discard can be repeated", stepsAreRepeatable),
        DataStoreContract("swap back and discard after nothing do nothing", undoingNothing),
        DataStoreContract("what was staged and never swapped is discarded", discardAfterStage),
        DataStoreContract("what was swapped back is discarded", discardAfterSwapBack),
        DataStoreContract("staging can be begun again after it was interrupted", stagingAgain),
        DataStoreContract("a cancelled staging leaves the live data and only what was planned", cancelledStaging),
        DataStoreContract("a broken staging leaves the live data and only what was planned", brokenStaging),
        DataStoreContract("destroyed data comes back", destroyedDataComesBack),
        DataStoreContract("verify does not praise what is gone", verifyNoticesDestruction),
        DataStoreContract("two restores of one store have places of their own", plansDiffer),
    ]

    private init(_ description: String, _ body: @escaping @Sendable (Bench) throws -> Void) {
        self.description = description
        self.body = body
    }

    /// Throws `ContractViolation` when a sentence of the contract is broken, else what the store threw.
    package func check(_ fixture: any DataStoreFixture) throws { try body(Bench(fixture: fixture)) }

    private static func expect(_ condition: Bool, _ sentence: @autoclosure () -> String) throws {
        if !condition { throw ContractViolation(sentence()) }
    }

    // MARK: - What the checks do with a fixture

    private struct Bench {
        let fixture: any DataStoreFixture
        var store: any DataStore { fixture.store }

        func capture() throws -> CapturedContent { try CapturedContent(store) }

        func plan(_ id: String = "contract-1", of content: CapturedContent) throws -> StagedState {
            let state = try store.planStaging(id, of: content.facts)
            let told = state.values.map { "\($0.key)=\($0.value)" } + [store.subject]
            for secret in fixture.secrets {
                try expect(!told.contains { $0.contains(secret) }, "no secret is in the journal or the subject")
            }
            return state
        }

        func stage(
            _ content: any RestoreContent, _ state: StagedState, _ cancellation: Cancellation = Cancellation()
        ) throws {
            try store.stage(content, state, progress: SilentProgress(), cancellation: cancellation)
        }

        func swap(_ state: StagedState) throws { try fixture.whileStopped { try store.swap(state) } }
        func swapBack(_ state: StagedState) throws { try fixture.whileStopped { try store.swapBack(state) } }

        func expectContents(_ expected: String?, _ when: String) throws {
            let found = try fixture.contents()
            try expect(found == expected, "\(when): \(shown(expected)) expected, found \(shown(found))")
        }

        private func shown(_ contents: String?) -> String { contents.map { "'\($0.prefix(200))'" } ?? "no data" }

        /// Nothing beside the live data but the places the plan named.
        func expectOnlyPlanned(_ state: StagedState, _ when: String) throws {
            let unplanned = Set(try fixture.leftovers()).subtracting(state.values.values)
            try expect(unplanned.isEmpty, "\(when): only planned places are used, not \(unplanned.sorted())")
        }

        func expectNothingLeft(_ when: String) throws {
            let left = try fixture.leftovers()
            try expect(left.isEmpty, "\(when): nothing is left behind, found \(left)")
        }
    }

    // MARK: - Capture

    private static func probeChangesNothing(_ bench: Bench) throws {
        let before = try bench.fixture.contents()
        try expect(before != nil, "a new fixture has data")
        try expect(!bench.store.kind.isEmpty && !bench.store.subject.isEmpty, "a store has a kind and a subject")
        let versions = try (0..<2).map { _ in try bench.store.probe().engineVersion }
        try expect(versions[0] == versions[1], "two probes find one version, got \(versions)")
        try bench.expectContents(before, "after a probe")
        try bench.expectNothingLeft("after a probe")
    }

    private static func partsAreReadable(_ bench: Bench) throws {
        let point = try bench.store.fixPoint(Cancellation())
        defer { point.release() }
        try expect(!point.method.isEmpty, "a method is named")
        let names = point.parts.map(\.name)
        try expect(!names.isEmpty, "there is something to capture")
        try expect(Set(names).count == names.count && !names.contains(""), "names of parts are unique: \(names)")
        for part in point.parts {
            switch part {
            case .stream(_, let open):
                let source = try open()
                _ = try CapturedContent.readAll(source)
                source.close()
            case .tree(let name, let source):
                let tree = try TreeCopy(walking: source)
                try expect(tree.entries.first?.path == [], "tree '\(name)' starts with its root")
                let problems = tree.entries.compactMap(\.problem)
                try expect(problems.isEmpty, "tree '\(name)' has no problem: \(problems)")
            }
        }
    }

    private static func releaseIsRepeatable(_ bench: Bench) throws {
        let before = try bench.fixture.contents()
        for _ in 0..<2 {
            let point = try bench.store.fixPoint(Cancellation())
            for _ in 0..<2 { point.release() }
            try bench.expectNothingLeft("after a point that nobody read")
        }
        // Given up in the middle of a part.
        let point = try bench.store.fixPoint(Cancellation())
        for part in point.parts {
            guard case .stream(_, let open) = part else { continue }
            let source = try open()
            var one: [UInt8] = [0]
            _ = try one.withUnsafeMutableBytes { try source.read(into: $0) }
            for _ in 0..<2 { source.close() }
        }
        for _ in 0..<2 { point.release() }
        try bench.expectNothingLeft("after a point read in part")
        _ = try bench.capture()
        try bench.expectNothingLeft("after a capture")
        try bench.expectContents(before, "after captures")
    }

    private static func factsAreStable(_ bench: Bench) throws {
        let point = try bench.store.fixPoint(Cancellation())
        defer { point.release() }
        let first = try point.facts()
        if bench.fixture.fixesPoint { try bench.fixture.change() }
        let second = try point.facts()
        try expect(first.counts == second.counts, "facts stay: \(first.counts) became \(second.counts)")
        let told = first.texts.map { "\($0.key)=\($0.value)" }
        for secret in bench.fixture.secrets {
            try expect(!told.contains { $0.contains(secret) }, "no secret is among the facts")
        }
    }

    private static func laterWritesAreLeftOut(_ bench: Bench) throws {
        guard bench.fixture.fixesPoint else { return }
        let before = try bench.fixture.contents()
        let captured = try CapturedContent(bench.store) { try bench.fixture.change() }
        try expect(try bench.fixture.contents() != before, "a change shows")
        let state = try bench.plan(of: captured)
        try bench.stage(captured, state)
        try bench.swap(state)
        try bench.expectContents(before, "restored")
        try expect(try bench.store.verify(captured).isEmpty, "the facts are those of the point")
    }

    private static func cancelledPointLeavesNothing(_ bench: Bench) throws {
        let before = try bench.fixture.contents()
        let cancelled = Cancellation()
        cancelled.cancel()
        do {
            let point = try bench.store.fixPoint(cancelled)
            defer { point.release() }
            // A store that does nothing in fixPoint finds out when it is read.
            for part in point.parts {
                guard case .stream(_, let open) = part else { return }
                _ = try CapturedContent.readAll(try open())
            }
        } catch let error as LifeboatError where error.exitCode == .interrupted {
            try bench.expectNothingLeft("after a cancelled point")
            return try bench.expectContents(before, "after a cancelled point")
        }
        throw ContractViolation("a cancelled capture throws")
    }

    // MARK: - Restore

    /// A capture, and other live data since.
    private static func captured(_ bench: Bench) throws -> (CapturedContent, saved: String?, live: String?) {
        let saved = try bench.fixture.contents()
        let content = try bench.capture()
        try bench.fixture.change()
        let live = try bench.fixture.contents()
        try expect(saved != live, "a change shows")
        return (content, saved, live)
    }

    private static func restoreCycle(_ bench: Bench) throws {
        let (content, saved, live) = try captured(bench)
        _ = try bench.store.preflightRestore(content)
        try bench.expectContents(live, "after the preflight")
        try bench.expectNothingLeft("after the preflight")
        let state = try bench.plan(of: content)
        try bench.expectNothingLeft("after planning")
        try bench.stage(content, state)
        try bench.expectContents(live, "while staged")
        try bench.expectOnlyPlanned(state, "while staged")
        try bench.swap(state)
        try bench.expectContents(saved, "after the swap")
        try bench.expectOnlyPlanned(state, "after the swap")
        let differences = try bench.store.verify(content)
        try expect(differences.isEmpty, "verify finds what was captured, not \(differences)")
        try bench.store.discard(state)
        try bench.expectContents(saved, "after the discard")
        try bench.expectNothingLeft("after the discard")
        // The restored data is as good as any: it can be captured again, with the same facts.
        let again = try bench.capture().facts.counts
        try expect(again == content.facts.counts, "facts after a restore are \(content.facts.counts), not \(again)")
    }

    private static func stepsAreRepeatable(_ bench: Bench) throws {
        let (content, saved, live) = try captured(bench)
        let state = try bench.plan(of: content)
        try bench.stage(content, state)
        for round in 1...2 {
            for _ in 0..<2 {
                try bench.swap(state)
                try bench.expectContents(saved, "after swap \(round)")
            }
            for _ in 0..<2 {
                try bench.swapBack(state)
                try bench.expectContents(live, "after swap back \(round)")
                try bench.expectOnlyPlanned(state, "after swap back \(round)")
            }
        }
        try bench.swap(state)
        for _ in 0..<2 {
            try bench.store.discard(state)
            try bench.expectContents(saved, "after the discard")
            try bench.expectNothingLeft("after the discard")
        }
        // Kept for good: there is nothing left to go back to.
        try bench.swapBack(state)
        try bench.expectContents(saved, "after swapping back what was kept")
    }

    private static func undoingNothing(_ bench: Bench) throws {
        let before = try bench.fixture.contents()
        let state = try bench.plan(of: try bench.capture())
        for _ in 0..<2 { try bench.swapBack(state) }
        try bench.expectContents(before, "after a swap back of nothing")
        for _ in 0..<2 { try bench.store.discard(state) }
        try bench.expectContents(before, "after a discard of nothing")
        try bench.expectNothingLeft("after a discard of nothing")
    }

    private static func discardAfterStage(_ bench: Bench) throws {
        let (content, _, live) = try captured(bench)
        let state = try bench.plan(of: content)
        try bench.stage(content, state)
        try bench.swapBack(state)
        try bench.expectContents(live, "after a swap back without a swap")
        for _ in 0..<2 { try bench.store.discard(state) }
        try bench.expectContents(live, "after the discard")
        try bench.expectNothingLeft("after the discard")
    }

    private static func discardAfterSwapBack(_ bench: Bench) throws {
        let (content, _, live) = try captured(bench)
        let state = try bench.plan(of: content)
        try bench.stage(content, state)
        try bench.swap(state)
        try bench.swapBack(state)
        for _ in 0..<2 { try bench.store.discard(state) }
        try bench.expectContents(live, "after the discard")
        try bench.expectNothingLeft("after the discard")
    }

    private static func stagingAgain(_ bench: Bench) throws {
        let (content, saved, live) = try captured(bench)
        let state = try bench.plan(of: content)
        let broken = DisturbedContent(content: content) { throw LifeboatError("a chunk is damaged") }
        do {
            try bench.stage(broken, state)
            throw ContractViolation("staging throws when the snapshot cannot be read")
        } catch is LifeboatError {
            try bench.stage(content, state)
        }
        try bench.expectContents(live, "while staged")
        try bench.expectOnlyPlanned(state, "while staged")
        try bench.swap(state)
        try bench.expectContents(saved, "after the swap")
        try bench.store.discard(state)
        try bench.expectNothingLeft("after the discard")
    }

    private static func cancelledStaging(_ bench: Bench) throws {
        let (content, _, live) = try captured(bench)
        let state = try bench.plan(of: content)
        let early = Cancellation()
        early.cancel()
        let late = Cancellation()
        let attempts: [(any RestoreContent, Cancellation)] = [
            (content, early), (DisturbedContent(content: content) { late.cancel() }, late),
        ]
        for (content, cancellation) in attempts {
            do {
                try bench.stage(content, state, cancellation)
                throw ContractViolation("a cancelled staging throws")
            } catch let error as LifeboatError {
                try expect(error.exitCode == .interrupted, "a cancelled staging is interrupted, not: \(error)")
            }
            try bench.expectContents(live, "after a cancelled staging")
            try bench.expectOnlyPlanned(state, "after a cancelled staging")
        }
        try bench.swapBack(state)
        for _ in 0..<2 { try bench.store.discard(state) }
        try bench.expectContents(live, "after the discard")
        try bench.expectNothingLeft("after the discard")
    }

    private static func brokenStaging(_ bench: Bench) throws {
        let (content, _, live) = try captured(bench)
        let state = try bench.plan(of: content)
        let broken = DisturbedContent(content: content) { throw LifeboatError("a chunk is damaged") }
        do {
            try bench.stage(broken, state)
            throw ContractViolation("staging throws when the snapshot cannot be read")
        } catch let error as LifeboatError {
            try expect(error.exitCode != .interrupted, "nobody interrupted it")
        }
        try bench.expectContents(live, "after a broken staging")
        try bench.expectOnlyPlanned(state, "after a broken staging")
        try bench.swapBack(state)
        for _ in 0..<2 { try bench.store.discard(state) }
        try bench.expectContents(live, "after the discard")
        try bench.expectNothingLeft("after the discard")
    }

    private static func destroyedDataComesBack(_ bench: Bench) throws {
        let (content, saved, _) = try captured(bench)
        try bench.fixture.destroy()
        let destroyed = try bench.fixture.contents()
        try expect(destroyed != saved, "destroyed data is not what it was")
        _ = try bench.store.preflightRestore(content)
        let state = try bench.plan(of: content)
        try bench.stage(content, state)
        for _ in 0..<2 { try bench.swap(state) }
        try bench.expectContents(saved, "after the swap")
        for _ in 0..<2 { try bench.swapBack(state) }
        try bench.expectContents(destroyed, "after the swap back")
        try bench.swap(state)
        try expect(try bench.store.verify(content).isEmpty, "verify finds what was captured")
        for _ in 0..<2 { try bench.store.discard(state) }
        try bench.expectContents(saved, "after the discard")
        try bench.expectNothingLeft("after the discard")
    }

    private static func verifyNoticesDestruction(_ bench: Bench) throws {
        let content = try bench.capture()
        try expect(try bench.store.verify(content).isEmpty, "verify finds what was captured")
        try bench.fixture.destroy()
        do {
            let differences = try bench.store.verify(content)
            try expect(!differences.isEmpty, "verify reports that the data is gone")
        } catch let error as ContractViolation {
            throw error
        } catch {
            // That it cannot be reached any more is an answer too.
        }
    }

    private static func plansDiffer(_ bench: Bench) throws {
        let content = try bench.capture()
        let one = try bench.plan("contract-1", of: content)
        try bench.stage(content, one)
        let left = Set(try bench.fixture.leftovers())
        let two = try bench.plan("contract-2", of: content)
        try expect(left.isDisjoint(with: two.values.values), "the second restore uses none of \(left.sorted())")
        try bench.store.discard(two)
        try expect(try Set(bench.fixture.leftovers()) == left, "discarding the second leaves the first")
        try bench.store.discard(one)
        try bench.expectNothingLeft("after both discards")
    }
}

/// Content during whose reading something happens: at the second read of its largest stream, or before a tree.
private struct DisturbedContent: RestoreContent {
    let content: CapturedContent
    let happens: @Sendable () throws -> Void

    var engineVersion: String? { content.engineVersion }
    var facts: StoreFacts { content.facts }
    func streamSize(_ name: String) -> UInt64? { content.streamSize(name) }

    func openStream(_ name: String) throws -> any ByteSource {
        guard let bytes = content.streams[name] else { return try content.openStream(name) }
        let largest = content.streams.values.map(\.count).max()
        let happens = happens
        return ArraySource(bytes) { position in
            if bytes.count == largest, position > 0 || bytes.isEmpty { try happens() }
        }
    }

    func listTree(_ name: String, _ body: (TreeEntry) throws -> Void) throws { try content.listTree(name, body) }

    func extractTree(_ name: String, into target: any FileTreeTarget, cancellation: Cancellation) throws {
        try happens()
        try content.extractTree(name, into: target, cancellation: cancellation)
    }

    func extractTree(
        _ name: String, _ selection: PathSelection, into target: any FileTreeTarget, cancellation: Cancellation
    ) throws {
        try happens()
        try content.extractTree(name, selection, into: target, cancellation: cancellation)
    }
}
