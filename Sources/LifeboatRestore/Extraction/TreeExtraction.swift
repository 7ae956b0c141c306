// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatFormats
import LifeboatIO
package import LifeboatRepository
package import LifeboatStores

/// Writes a captured tree to a place, in parallel and in bounded memory.
///
/// The calling thread reads the tree and creates folders; other threads create and fill files: creating many small
/// files is the kernel's work, and two threads do it nearly twice as fast as one. Files that cannot be restored are
/// collected, the others go on; only what would fail every file (a full disk, cancellation) throws.
package struct TreeExtraction: Sendable {
    package struct Options: Sendable {
        /// Threads that create and fill files.
        package var threads: Int
        package var selection = PathSelection.everything
        /// Leaves out what it says no to; nil: nothing. Of a file with several names it has to say the same of each.
        package var takes: (@Sendable (TreeEntry) -> Bool)?

        package init(threads: Int) { self.threads = max(1, threads) }
    }

    /// A batch of entries ends at so many, or with so much content.
    private static let batchEntries = 64
    private static let batchBytes: UInt64 = 1 << 20
    /// Files of at least this size are filled by several threads, in runs of about this many bytes.
    private static let largeFile: UInt64 = 4 << 20
    /// Work items that wait: enough to keep the threads busy, few enough to stay small.
    private static let queuedWork = 16
    /// Hard links wait for the files they point to, together; so many at most.
    private static let heldLinks = 2048

    private let reader: ChunkReader
    private let options: Options
    private let counters: RestoreCounters
    private let cancellation: Cancellation

    package init(_ reader: ChunkReader, options: Options, counters: RestoreCounters, cancellation: Cancellation) {
        self.reader = reader
        self.options = options
        self.counters = counters
        self.cancellation = cancellation
    }

    /// Extracts the tree whose mtree text is `tree`. `place` names a path for people.
    package func extract(
        _ tree: ContentReference, into target: any FileTreeTarget,
        place: @escaping @Sendable (_ path: [UInt8]) -> String
    ) throws -> ExtractionReport {
        let entries = MtreeReader(try ContentSource(reader, tree))
        defer { entries.close() }
        return try extract({ try entries.next() }, into: target, place: place)
    }

    /// Extracts entries that come in `treeOrder`, the root first.
    package func extract(
        _ entries: () throws -> TreeEntry?, into target: any FileTreeTarget,
        place: @escaping @Sendable (_ path: [UInt8]) -> String
    ) throws -> ExtractionReport {
        let context = ExtractionContext(
            reader: reader, target: target, counters: counters, cancellation: cancellation,
            queueCapacity: Self.queuedWork, place: place)
        let threads = (0..<options.threads).map { number in
            BlockingThread<Void>(name: "extract-\(number)") { ExtractionWorker(context).run() }
        }
        let feeder = Feeder(context, options)
        do {
            try feeder.run(entries)
            context.queue.close()
        } catch {
            context.fail(error)
        }
        for thread in threads { try thread.join() }
        if let failure = context.fatalError { throw failure }
        try cancellation.check()
        try target.synchronize()
        return context.report
    }

    /// The side that reads the tree. Used on the calling thread.
    private final class Feeder {
        private let context: ExtractionContext
        private let selection: PathSelection
        private let takes: (@Sendable (TreeEntry) -> Bool)?
        /// The folders the current entry is in, outermost first.
        private var folders: [FolderNode] = []
        /// A folder that could not be created: nothing below it can.
        private var refusedFolder: [UInt8]?
        private var batch: [ExtractionEntry] = []
        private var batchBytes: UInt64 = 0
        private var links: [ExtractionEntry] = []

        init(_ context: ExtractionContext, _ options: Options) {
            self.context = context
            selection = options.selection
            takes = options.takes
        }

        func run(_ entries: () throws -> TreeEntry?) throws {
            var last: [UInt8] = []
            while true {
                try context.cancellation.check()
                let next: TreeEntry?
                do {
                    next = try entries()
                } catch {
                    try tellDamagedTree(after: last, error)
                    break
                }
                guard let entry = next else { break }
                last = entry.path
                try take(entry)
            }
            try flush()
            try createLinks()
            while let folder = folders.popLast() { try context.release(folder) }
        }

        /// The listing cannot be read on: what came before it is restored, the rest has no names any more.
        private func tellDamagedTree(after path: [UInt8], _ error: any Error) throws {
            let told = LifeboatError.converting(error)
            if told.exitCode == .interrupted { throw told }
            context.add(
                .damaged, path,
                LifeboatError(
                    "the listing of the tree is damaged: what comes after '\(context.place(path))' is not restored",
                    causes: [told.message] + told.causes, hint: told.hint,
                    exitCode: told.exitCode == .wrongKey ? .wrongKey : .damagedRepository))
        }

        private func take(_ entry: TreeEntry) throws {
            guard selection.includes(entry.path, isFolder: entry.kind == .directory) else { return }
            if let takes, !takes(entry) { return }
            while let folder = folders.last, !PathSelection.isBelow(entry.path, folder.entry.path) {
                folders.removeLast()
                try context.release(folder)
            }
            if let refusedFolder {
                if PathSelection.isBelow(entry.path, refusedFolder) {
                    context.add(
                        .notWritten, entry.path,
                        LifeboatError("cannot restore '\(context.place(entry.path))': its folder could not be created"))
                    return
                }
                self.refusedFolder = nil
            }
            tellProblem(of: entry)
            switch entry.kind {
            case .directory:
                try createFolder(entry)
            case .file where entry.hardLink != nil:
                try hold(entry)
            case .file where entry.content == nil:
                if entry.problem == nil {
                    context.add(
                        .notInSnapshot, entry.path,
                        LifeboatError("the snapshot holds no content of '\(context.place(entry.path))'"))
                }
            case .file:
                try takeFile(entry)
            default:
                if entry.hardLink != nil { try hold(entry) } else { try enqueue(entry, bytes: 0) }
            }
        }

        private func tellProblem(of entry: TreeEntry) {
            guard let problem = entry.problem else { return }
            let place = context.place(entry.path)
            if entry.kind == .file, entry.content == nil, entry.hardLink == nil {
                context.add(
                    .notInSnapshot, entry.path,
                    LifeboatError("the snapshot holds no content of '\(place)'", causes: [problem]))
            } else {
                context.add(
                    .unsure, entry.path,
                    LifeboatError("the snapshot may not hold one state of '\(place)'", causes: [problem]))
            }
        }

        private func createFolder(_ entry: TreeEntry) throws {
            do {
                _ = try context.target.create(entry)
            } catch {
                try context.refuse(entry, error)
                refusedFolder = entry.path
                return
            }
            context.record { $0.folders += 1 }
            folders.append(FolderNode(entry, in: folders.last))
        }

        private func takeFile(_ entry: TreeEntry) throws {
            guard let content = entry.content else { return }
            guard content.size == entry.contentSize else {
                context.add(
                    .damaged, entry.path,
                    LifeboatError(
                        "file '\(context.place(entry.path))' cannot be restored",
                        causes: ["the listing gives it a size of \(entry.size), its content has \(content.size) bytes"],
                        exitCode: .damagedRepository))
                return
            }
            if content.size < TreeExtraction.largeFile {
                try enqueue(entry, bytes: content.size)
            } else {
                try spread(entry, content)
            }
        }

        private func enqueue(_ entry: TreeEntry, bytes: UInt64) throws {
            folders.last?.retain()
            batch.append(ExtractionEntry(entry: entry, folder: folders.last))
            batchBytes += bytes
            if batch.count >= TreeExtraction.batchEntries || batchBytes >= TreeExtraction.batchBytes { try flush() }
        }

        private func flush() throws {
            guard !batch.isEmpty else { return }
            let full = batch
            batch = []
            batch.reserveCapacity(TreeExtraction.batchEntries)
            batchBytes = 0
            try context.submit(.entries(full))
        }

        /// Creates a large file here and hands its chunks out in runs.
        private func spread(_ entry: TreeEntry, _ content: ContentReference) throws {
            guard let file = try open(entry) else { return }
            var run: [ChunkPlace] = []
            var runBytes: UInt64 = 0
            var end: UInt64 = 0
            func hand() throws {
                guard !run.isEmpty else { return }
                file.retain()
                try context.submit(.chunks(file, run))
                run = []
                runBytes = 0
            }
            do {
                let chunks = try ChunkSequence(context.reader, content)
                while let chunk = try chunks.next() {
                    run.append(ChunkPlace(id: chunk.id, offset: chunk.offset, length: chunk.length))
                    runBytes += UInt64(chunk.length)
                    end = chunk.offset + UInt64(chunk.length)
                    if runBytes >= TreeExtraction.largeFile { try hand() }
                }
            } catch {
                if context.fatalError != nil { throw error }
                file.addDamage(at: end, length: content.size > end ? content.size - end : 0, error)
            }
            try hand()
            try context.release(file)
        }

        /// Nil when it was refused.
        private func open(_ entry: TreeEntry) throws -> LargeFile? {
            do {
                guard let target = try context.target.create(entry) else {
                    throw LifeboatError("the place it goes to opened no file")
                }
                folders.last?.retain()
                return LargeFile(entry, target, in: folders.last)
            } catch {
                try context.refuse(entry, error)
                return nil
            }
        }

        /// Hard links are made together, when the files they point to exist.
        private func hold(_ entry: TreeEntry) throws {
            if let first = entry.hardLink, !selection.includes(first, isFolder: false) {
                context.add(
                    .notWritten, entry.path,
                    LifeboatError(
                        "cannot restore '\(context.place(entry.path))'",
                        causes: ["it is a hard link to '\(context.place(first))', which was not chosen"],
                        hint: "Restore both paths."))
                return
            }
            folders.last?.retain()
            links.append(ExtractionEntry(entry: entry, folder: folders.last))
            if links.count >= TreeExtraction.heldLinks { try createLinks() }
        }

        private func createLinks() throws {
            guard !links.isEmpty else { return }
            try flush()
            try context.drain()
            var made: UInt64 = 0
            for link in links {
                try context.cancellation.check()
                do {
                    _ = try context.target.create(link.entry)
                    made += 1
                } catch {
                    try context.refuse(link.entry, error)
                }
                try context.release(link.folder)
            }
            context.record { $0.links += made }
            context.counters.add(files: UInt64(links.count), bytes: 0, current: nil)
            links.removeAll(keepingCapacity: true)
        }
    }
}
