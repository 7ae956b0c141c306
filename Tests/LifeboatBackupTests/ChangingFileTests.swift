// SPDX-License-Identifier: Apache-2.0

import LifeboatBackup
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatStores
import LifeboatTesting
import Testing

/// A tree of one file whose every read is scripted.
private struct ScriptedStore: DataStore, CapturePoint, FileTreeSource, FileOpener {
    /// What each attempt to read gives.
    enum Attempt: Sendable {
        case text(String, FileReadOutcome)
        case failure(String)
        case vanished
    }

    private let attempts: BoundedQueue<Attempt>

    init(_ script: [Attempt]) {
        attempts = BoundedQueue(capacity: script.count + 1)
        for attempt in script { _ = attempts.push(attempt) }
        attempts.close()
    }

    var kind: String { "volume" }
    var subject: String { "a scripted folder" }
    var method: String { "script" }
    var parts: [CapturePart] { [.tree(name: "files", source: self)] }

    func probe() throws -> StoreProbe { StoreProbe() }
    func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint { self }
    func facts() throws -> StoreFacts { StoreFacts() }
    func release() {}
    func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] { [] }
    func planStaging(_ restoreID: String) throws -> StagedState { StagedState([:]) }
    func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {}
    func swap(_ state: StagedState) throws {}
    func swapBack(_ state: StagedState) throws {}
    func verify(_ content: any RestoreContent) throws -> [FactDifference] { [] }
    func discard(_ state: StagedState) throws {}

    func walk(_ cancellation: Cancellation) throws -> any FileTreeWalk { Walk(self) }

    final class Walk: FileTreeWalk {
        private let store: ScriptedStore
        private var step = 0

        init(_ store: ScriptedStore) { self.store = store }

        func next() throws -> FileTreeItem? {
            defer { step += 1 }
            let time = Timestamp(seconds: 1)
            switch step {
            case 0:
                return FileTreeItem(
                    entry: TreeEntry(
                        path: [], kind: .directory, mode: 0o755, userID: 0, groupID: 0, modificationTime: time))
            case 1:
                return FileTreeItem(
                    entry: TreeEntry(
                        path: Array("log".utf8), kind: .file, mode: 0o644, userID: 0, groupID: 0,
                        modificationTime: time), opener: store)
            default: return nil
            }
        }

        func complete(_ item: inout FileTreeItem) throws {}
        func close() {}
    }

    func open() throws -> any FileContentSource {
        switch attempts.pop() {
        case .text(let text, let outcome): return Content(Array(text.utf8), outcome)
        case .failure(let message): throw LifeboatError(message)
        case .vanished: throw FileTreeError.vanished(path: "log")
        case nil: throw LifeboatError("read more often than the script has attempts")
        }
    }

    final class Content: FileContentSource {
        private let bytes: [UInt8]
        private let outcome: FileReadOutcome
        private var done = false

        init(_ bytes: [UInt8], _ outcome: FileReadOutcome) {
            self.bytes = bytes
            self.outcome = outcome
        }

        func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
            guard !done else { return 0 }
            done = true
            buffer.copyBytes(from: bytes)
            return bytes.count
        }

        func finish(_ entry: inout TreeEntry) throws -> FileReadOutcome {
            entry.size = UInt64(bytes.count)
            return outcome
        }

        func close() {}
    }
}

@Suite struct ChangingFileTests {
    private func backUp(_ script: [ScriptedStore.Attempt]) throws -> (outcome: BackupOutcome, text: String?) {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        let outcome = try fixture.backUp(
            [BackupComponent(name: "files", store: ScriptedStore(script), source: "/scripted")])
        let reader = ChunkReader(fixture.repository, try fixture.repository.openIndexes())
        guard let tree = outcome.snapshot.manifest.components[0].parts.first?.content else { return (outcome, nil) }
        let entries = MtreeReader(try ContentSource(reader, tree))
        while let entry = try entries.next() {
            guard let content = entry.content else { continue }
            var bytes = [UInt8](repeating: 0, count: Int(content.size))
            let count = try bytes.withUnsafeMutableBytes { try ContentSource(reader, content).readFully(into: $0) }
            return (outcome, String(decoding: bytes[..<count], as: UTF8.self))
        }
        return (outcome, nil)
    }

    @Test func aFileThatHoldsStillAtLastIsComplete() throws {
        let (outcome, text) = try backUp([
            .text("one", .changed), .text("one two", .changed), .text("one two three", .consistent),
        ])
        #expect(outcome.snapshot.manifest.complete)
        #expect(text == "one two three")
    }

    @Test func aFileThatNeverHoldsStillIsReportedAndKept() throws {
        let (outcome, text) = try backUp([
            .text("one", .changed), .text("one two", .changed), .text("one two three", .changed),
        ])
        #expect(!outcome.snapshot.manifest.complete)
        #expect(outcome.problems.map(\.message) == ["cannot back up '/scripted/log'"])
        #expect(outcome.problems[0].exitCode == .incomplete)
        #expect(text == "one two three")
    }

    @Test func aFileThatCannotBeOpenedIsReported() throws {
        let (outcome, text) = try backUp([.failure("permission denied (EACCES)")])
        #expect(!outcome.snapshot.manifest.complete)
        #expect(outcome.problems[0].causes == ["permission denied (EACCES)"])
        #expect(text == nil)
    }

    @Test func `a temporary file that vanished before it was read is counted, and nothing is missing`() throws {
        for script: [ScriptedStore.Attempt] in [[.vanished], [.text("one", .changed), .vanished]] {
            let (outcome, text) = try backUp(script)
            #expect(outcome.snapshot.manifest.complete && outcome.problems.isEmpty && text == nil)
            #expect(
                outcome.warnings.map(\.message) == ["1 files of '/scripted' went away while their folders were read"])
            #expect(outcome.files.new == 1, "the folder")
        }
    }

    @Test func `a file of the last snapshot that vanished before it was read is reported`() throws {
        let fixture = try BackupFixture()
        defer { fixture.remove() }
        func backUp(_ script: [ScriptedStore.Attempt]) throws -> BackupOutcome {
            try fixture.backUp([BackupComponent(name: "files", store: ScriptedStore(script), source: "/scripted")])
        }
        #expect(try backUp([.text("one", .consistent)]).snapshot.manifest.complete)
        // It may have been moved to where the walk had passed already.
        #expect(try !backUp([.vanished]).snapshot.manifest.complete)
    }
}
