// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatStores

/// Captures one file tree: merge-joins today's walk with an earlier tree, stores the content of what changed, writes
/// the new tree. Constant memory; runs on one thread; never opens an unchanged file.
final class TreeCapture {
    /// What was captured.
    struct Result {
        var content: ContentReference
        var entries: UInt64
        var bytes: UInt64
        var statistics: FileStatistics
        /// Entries that are missing or unsure, at most `problemLimit` of them with their names.
        var problems: [LifeboatError]
        var problemCount: UInt64
        /// Entries that went away between the listing of their folder and their reading.
        var vanished: UInt64 = 0
    }

    /// An entry whose place in the tree is fixed while its content is still on its way.
    private struct Waiting {
        var entry: TreeEntry
        var content: PendingContent?
    }

    /// So many problems are told by name; the rest only counted.
    static let problemLimit = 1000
    /// A changing file is read so many times before it is reported.
    private static let readAttempts = 3
    private static let waitingLimit = 8192

    private let walk: any FileTreeWalk
    private let parent: MtreeReader?
    private let writer: RepositoryWriter
    private let parentReader: ChunkReader
    private let reuse: (ContentReference) -> Bool
    private let files: ContentWriter
    private let tree: TreeOutput
    private let treeWriter: ContentWriter
    private let usesDeltas: Bool
    private let bases: DeltaBases?
    private let counters: CaptureCounters
    private let cancellation: Cancellation
    private let place: (_ path: [UInt8]) -> String

    /// Where the text of the tree goes.
    enum TreeOutput {
        case repository
        /// Kept aside: as the parent of the capture that counts.
        case spool(TreeSpool)
    }

    private var parentEntry: TreeEntry?
    /// Names of files with several that went away before they were read.
    private var vanishedNames: Set<[UInt8]> = []
    private var waiting: [Waiting] = []
    private var firstWaiting = 0
    private var text: [UInt8] = []
    private var result = Result(
        content: ContentReference(id: BLAKE3.emptyDigest, depth: 0, size: 0), entries: 0, bytes: 0,
        statistics: FileStatistics(), problems: [], problemCount: 0)

    /// `parent` is an earlier tree, `parentReader` reads what it refers to, with `usesDeltas` as bases of deltas too;
    /// `bases` are the plain copies of the component on a host that cannot read the repository. `reuse` tells whether content of it is still in the repository; `place` names a path for people.
    init(
        _ source: any FileTreeSource, parent: MtreeReader?, writer: RepositoryWriter, parentReader: ChunkReader,
        counters: CaptureCounters, cancellation: Cancellation, output: TreeOutput = .repository,
        usesDeltas: Bool = true, bases: DeltaBases? = nil, reuse: @escaping (ContentReference) -> Bool,
        place: @escaping (_ path: [UInt8]) -> String
    ) throws {
        walk = try source.walk(cancellation)
        self.parent = parent
        self.writer = writer
        self.parentReader = parentReader
        self.reuse = reuse
        self.counters = counters
        self.cancellation = cancellation
        self.place = place
        self.usesDeltas = usesDeltas
        self.bases = bases
        files = writer.makeContentWriter()
        tree = output
        treeWriter = writer.makeContentWriter(isReread: true)
    }

    /// Walks, reads and stores everything; the tree is on its way into the repository when it returns. `wasRead` is
    /// called as soon as nothing more is read from the source: it may change again from then on.
    func run(wasRead: () -> Void = {}) throws -> Result {
        defer {
            walk.close()
            parent?.close()
        }
        text += MtreeEncoder.header
        try advanceParent()
        while var item = try walk.next() {
            try cancellation.check()
            try capture(&item)
        }
        wasRead()
        while parentEntry != nil {
            result.statistics.removed += 1
            try advanceParent()
        }
        files.flush()
        while firstWaiting < waiting.count { try emitFirst() }
        try writeText()
        guard case .repository = tree else { return result }
        let pending = try treeWriter.endContent()
        treeWriter.flush()
        result.content = try writer.reference(to: pending)
        return result
    }

    private func advanceParent() throws { parentEntry = try parent?.next() }

    /// Yesterday's entry of the same path, if there was one.
    private func counterpart(of path: [UInt8]) throws -> TreeEntry? {
        while let candidate = parentEntry, treeOrder(candidate.path, path) {
            result.statistics.removed += 1
            try advanceParent()
        }
        guard let candidate = parentEntry, candidate.path == path else { return nil }
        try advanceParent()
        return candidate
    }

    private func capture(_ item: inout FileTreeItem) throws {
        if item.note == .vanished {
            // It went away between the listing of its folder and the look at it: the tree as it is now lacks nothing.
            result.vanished += 1
            return
        }
        let old = try counterpart(of: item.entry.path)
        if item.entry.problem == nil, let old, isUnchanged(item.entry, since: old) {
            result.statistics.unchanged += 1
            counters.countFile(bytes: old.size)
            try enqueue(Waiting(entry: old))
            return
        }
        var content: PendingContent?
        if let first = item.entry.hardLink, vanishedNames.contains(first) {
            item.entry.hardLink = nil
            item.entry.problem = "the name it was to be read by went away"
        }
        if item.entry.problem == nil {
            if let opener = item.opener, item.entry.hardLink == nil {
                content = try read(opener, &item, since: old)
            } else {
                do { try walk.complete(&item) } catch { item.entry.problem = Self.reason(error) }
            }
        }
        if item.note == .vanished, old == nil {
            // It went away between the walk and its reading, and no snapshot knows it: a temporary file.
            result.vanished += 1
            vanishedNames.insert(item.entry.path)
            return
        }
        if old == nil { result.statistics.new += 1 } else { result.statistics.changed += 1 }
        if item.entry.problem != nil { report(item.entry) }
        counters.countFile(bytes: 0)
        try enqueue(Waiting(entry: item.entry, content: content))
    }

    /// Whether nothing about the object moved since it was captured, so that yesterday's line still describes it. The
    /// change time covers everything: content, attributes, owner, mode.
    private func isUnchanged(_ entry: TreeEntry, since old: TreeEntry) -> Bool {
        guard old.problem == nil, old.kind == entry.kind, let facts = entry.changeFacts, facts == old.changeFacts,
            old.modificationTime == entry.modificationTime, old.mode == entry.mode, old.userID == entry.userID,
            old.groupID == entry.groupID, old.hardLink == entry.hardLink
        else { return false }
        guard entry.kind == .file, entry.hardLink == nil else { return true }
        guard old.size == entry.size, let content = old.content else { return false }
        return reuse(content)
    }

    /// Reads a file until one consistent state of it was seen, at most `readAttempts` times.
    private func read(
        _ opener: any FileOpener, _ item: inout FileTreeItem, since old: TreeEntry?
    ) throws -> PendingContent? {
        for attempt in 1...Self.readAttempts {
            let source: any FileContentSource
            do {
                source = try opener.open()
            } catch {
                if case FileTreeError.vanished? = error as? FileTreeError { item.note = .vanished }
                item.entry.problem = Self.reason(error)
                return nil
            }
            defer { source.close() }
            let parent = usesDeltas ? old?.content.flatMap { $0.size >= DeltaChunks.minimumContent ? $0 : nil } : nil
            let copies = item.entry.size >= DeltaChunks.minimumContent ? bases : nil
            if parent != nil || copies != nil {
                files.beginContent(parent: parent, parentReader, bases: copies, skipsNoise: true)
            }
            let outcome: FileReadOutcome
            do {
                outcome = try copy(source, into: files, &item.entry)
            } catch let error as FileReadFailure {
                files.discardContent()
                item.entry.problem = Self.reason(error.underlying)
                return nil
            }
            switch outcome {
            case .consistent: return try files.endContent()
            case .changed where attempt < Self.readAttempts:
                files.discardContent()
                try cancellation.check()
            case .changed:
                // The last state that was read is kept: better than nothing, and marked.
                item.entry.problem = "changed while it was read"
                item.entry.changeFacts = nil
                return try files.endContent()
            }
        }
        return nil
    }

    /// A failure of the source, not of the repository: the backup goes on without that file.
    private struct FileReadFailure: Error { var underlying: any Error }

    private func copy(
        _ source: any FileContentSource, into target: ContentWriter, _ entry: inout TreeEntry
    ) throws -> FileReadOutcome {
        while true {
            try cancellation.check()
            let space = try target.space()
            let count: Int
            do { count = try source.read(into: space) } catch { throw FileReadFailure(underlying: error) }
            if count == 0 { break }
            try target.advance(count)
            counters.countBytes(count)
        }
        do { return try source.finish(&entry) } catch { throw FileReadFailure(underlying: error) }
    }

    /// Fixes the entry's place in the tree, and writes what is complete at the front.
    private func enqueue(_ next: Waiting) throws {
        if next.content == nil, firstWaiting == waiting.count {
            try write(next.entry)
            return
        }
        waiting.append(next)
        while firstWaiting < waiting.count {
            if let content = waiting[firstWaiting].content, !writer.isComplete(content) { break }
            try emitFirst()
        }
        while waiting.count - firstWaiting > Self.waitingLimit {
            files.flush()
            try emitFirst()
        }
        if firstWaiting > 1024, firstWaiting * 2 > waiting.count {
            waiting.removeFirst(firstWaiting)
            firstWaiting = 0
        }
    }

    private func emitFirst() throws {
        var next = waiting[firstWaiting]
        waiting[firstWaiting].content = nil
        firstWaiting += 1
        if let content = next.content { next.entry.content = try writer.reference(to: content) }
        try write(next.entry)
    }

    private func write(_ entry: TreeEntry) throws {
        result.entries += 1
        result.bytes.addClamped(entry.content?.size ?? 0)
        if let bases, let content = entry.content, content.size >= DeltaChunks.minimumContent {
            bases.keep(content.id)
        }
        MtreeEncoder.append(entry, to: &text)
        if text.count >= 1 << 18 { try writeText() }
    }

    private func writeText() throws {
        switch tree {
        case .repository: try treeWriter.append(bytes: text)
        case .spool(let spool): try spool.append(text)
        }
        text.removeAll(keepingCapacity: true)
    }

    private func report(_ entry: TreeEntry) {
        result.problemCount += 1
        guard result.problems.count < Self.problemLimit else { return }
        result.problems.append(
            LifeboatError(
                "cannot back up '\(place(entry.path))'", causes: [entry.problem ?? "unknown reason"],
                exitCode: .incomplete))
    }

    private static func reason(_ error: any Error) -> String {
        let converted = LifeboatError.converting(error)
        return converted.causes.first ?? converted.message
    }
}

extension ContentWriter {
    fileprivate func append(bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try append($0) } }
}
