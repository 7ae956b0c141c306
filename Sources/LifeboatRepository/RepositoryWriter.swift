// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
package import LifeboatFormats
import LifeboatIO
import LifeboatStorage
import Synchronization

/// How much of the machine a backup uses.
package struct WriterSettings: Sendable, Equatable {
    /// Threads that hash, compress and verify.
    package var workers: Int
    /// Contents that are written at once.
    package var contentWriters: Int
    /// Each content writer holds a slab. Two more are enough for progress: a chunk list, of which one is stored at a
    /// time, takes both, and a writer that goes on to the next slab gives the old one back.
    var slabCount: Int { contentWriters + max(2, workers) }
    /// zstd level of frames that hold one chunk.
    package var compressionLevel: Int
    /// zstd level of frames that hold many small chunks. On 40,000 text files level 2 is 1.6 times as fast as level 3
    /// and 2 % larger; a first backup of many small files spends two thirds of its time there.
    package var groupCompressionLevel: Int
    /// Chunks that are kept in memory before an index over them is stored.
    package var chunksPerIndex: Int

    package init(
        workers: Int, contentWriters: Int, compressionLevel: Int = 3, groupCompressionLevel: Int = 2,
        chunksPerIndex: Int = 32_768
    ) {
        self.workers = workers
        self.contentWriters = contentWriters
        self.compressionLevel = compressionLevel
        self.groupCompressionLevel = groupCompressionLevel
        self.chunksPerIndex = chunksPerIndex
    }
}

/// What a writer did; the numbers of the summary.
package struct WriterStatistics: Sendable, Equatable {
    /// Bytes of all contents, known or new.
    package var bytesRead: UInt64 = 0
    /// Plain bytes of chunks that were new.
    package var bytesNew: UInt64 = 0
    /// Bytes of packs and indexes that were written.
    package var bytesStored: UInt64 = 0
    package var chunksNew: UInt64 = 0
    /// New chunks that were stored as deltas.
    package var deltas: UInt64 = 0
    package var packs: UInt64 = 0
    package init() {}
}

/// The way into a repository: contents in, packs and indexes out, through worker threads and bounded queues.
///
/// Capture threads use a `ContentWriter` each; `finish` makes everything durable. Nothing it stores is referenced by
/// a snapshot until a manifest says so, so giving up at any point (`abandon`) leaves the repository as it was.
package final class RepositoryWriter: Sendable {
    private let repository: Repository
    private let settings: WriterSettings
    private let slabs: SlabPool
    private let queue: BoundedQueue<ChunkBatch>
    private let packs: PackAssembler
    private let known: KnownChunks
    let completion = CompletionMonitor()
    private let failure = Monitor<(any Error)?>(nil)
    private let workers: [BlockingThread<Void>]
    private let uploader: BlockingThread<Void>
    private let pendingIndex = Monitor<[PackContents]>([])
    private let statistics = Monitor(WriterStatistics())
    private let bytesRead = Atomic<UInt64>(0)
    /// Held while a chunk list is stored; see `WriterSettings.slabCount`.
    private let listing = Monitor(())

    /// The indexes as they were when the writer opened, restricted to packs that are present: for reading yesterday's
    /// trees and for asking what of them can be referred to again.
    package let parentIndexes: IndexSet

    package var chunkerParameters: ChunkerParameters { repository.config.chunker }

    /// Opens the indexes and starts the threads.
    package init(_ repository: Repository, _ settings: WriterSettings) throws {
        self.repository = repository
        self.settings = settings
        let maximumChunk = repository.config.chunker.maximum
        let slabs = SlabPool(
            count: settings.slabCount, slabSize: maximumChunk + maximumChunk / 2)
        let queue = BoundedQueue<ChunkBatch>(capacity: settings.workers * 2)
        let packs = PackAssembler(
            maximumFrame: ChunkWorker.maximumFrame(maximumChunk: maximumChunk), repository.sealing)
        let indexes = try repository.openIndexesForWriting()
        let known = KnownChunks(indexes, folder: repository.localFolder)
        parentIndexes = indexes
        self.slabs = slabs
        self.queue = queue
        self.packs = packs
        self.known = known
        let stages = Stages(
            slabs: slabs, queue: queue, packs: packs, completion: completion, failure: failure)
        workers = (0..<settings.workers).map { number in
            BlockingThread(name: "worker-\(number)", stackSize: 1 << 20) {
                stages.guarding {
                    let worker = try ChunkWorker(
                        known: known, packs: packs, local: repository.local, repository.config.chunker, settings)
                    while let batch = queue.pop() {
                        let ids = try worker.process(batch)
                        stages.completion.complete(batch.segments, ids: ids)
                    }
                }
            }
        }
        let pendingIndex = self.pendingIndex
        let statistics = self.statistics
        uploader = BlockingThread(name: "uploader") {
            stages.guarding {
                try packs.uploadPacks(to: repository.store) { pack in
                    statistics.withLock { totals in
                        totals.packs += 1
                        totals.bytesStored += pack.storedSize
                        totals.chunksNew += UInt64(pack.chunks.count)
                        totals.bytesNew += pack.chunks.reduce(0) { $0 + UInt64($1.plainLength) }
                        totals.deltas += pack.chunks.reduce(0) { $0 + ($1.bases.isEmpty ? 0 : 1) }
                    }
                    let due: [PackContents]? = pendingIndex.withLock { pending in
                        pending.append(pack)
                        guard pending.reduce(0, { $0 + $1.chunks.count }) >= settings.chunksPerIndex else { return nil }
                        defer { pending = [] }
                        return pending
                    }
                    if let due { _ = try repository.storeIndex(due) }
                }
            }
        }
    }

    /// What stops together when one stage fails.
    private struct Stages: Sendable {
        let slabs: SlabPool
        let queue: BoundedQueue<ChunkBatch>
        let packs: PackAssembler
        let completion: CompletionMonitor
        let failure: Monitor<(any Error)?>

        func guarding(_ body: () throws -> Void) {
            do { try body() } catch { abandon(error) }
        }

        func abandon(_ error: any Error) {
            failure.withLock { first in
                if first == nil { first = error }
            }
            slabs.abandon()
            queue.abandon()
            packs.abandon()
            completion.abandon()
        }
    }

    /// A writer for one capture thread; at most `settings.contentWriters` may be in use at once. What the next backup
    /// has to read again (`isReread`: trees) is also kept locally where this host cannot read the repository.
    package func makeContentWriter(isReread: Bool = false) -> ContentWriter {
        ContentWriter(self, keepsLocally: isReread && !repository.sealing.canRead)
    }

    /// Totals so far.
    package var totals: WriterStatistics {
        var totals = statistics.withLock { $0 }
        totals.bytesRead = bytesRead.load(ordering: .relaxed)
        let again = known.again
        totals.chunksNew -= min(totals.chunksNew, again.chunks)
        totals.bytesNew -= min(totals.bytesNew, again.bytes)
        totals.deltas -= min(totals.deltas, again.chunks)
        return totals
    }

    /// Whether the ids of a finished content are all known, so that `reference` will not block.
    package func isComplete(_ content: PendingContent) -> Bool { completion.isComplete(content) }

    /// The reference of a finished content, once its chunks have ids; stores its chunk list if it needs one. Blocks;
    /// `flush` the content's writer first.
    package func reference(to content: PendingContent) throws -> ContentReference {
        let size = content.size
        guard size > 0 else { return ContentReference(id: BLAKE3.emptyDigest, depth: 0, size: 0) }
        var (ids, lengths) = try translatingFailure { try completion.waitUntilComplete(content) }
        var depth: UInt8 = 0
        while ids.count > 1 {
            // The list is content itself: cut it, store it, and go on with the list of its chunks.
            let list = ChunkList.encode(ids: ids, lengths: lengths)
            (ids, lengths) = try listing.withLock { _ in
                let writer = makeContentWriter(isReread: true)
                try list.withUnsafeBytes { try writer.append($0) }
                let pending = try writer.endContent()
                writer.flush()
                return try translatingFailure { try completion.waitUntilComplete(pending) }
            }
            depth += 1
        }
        let reference = ContentReference(id: ids[0], depth: depth, size: size)
        content.copy?.finish(as: reference)
        content.copy = nil
        return reference
    }

    /// Ends all stages, stores the last pack and the index: everything written is durable when it returns. Every
    /// content must be finished and flushed.
    package func finish() throws -> WriterStatistics {
        queue.close()
        for worker in workers { try worker.join() }
        packs.close()
        try uploader.join()
        if let error = failure.withLock({ $0 }) { throw error }
        let rest = pendingIndex.withLock { pending in
            defer { pending = [] }
            return pending
        }
        if !rest.isEmpty { _ = try repository.storeIndex(rest) }
        return totals
    }

    /// Tells every stage to stop, without waiting: for a capture thread that failed while others go on.
    package func stop() {
        Stages(slabs: slabs, queue: queue, packs: packs, completion: completion, failure: failure)
            .abandon(LifeboatError.interrupted)
    }

    /// What ended a stage; nil while all is well.
    package var stageFailure: (any Error)? { failure.withLock { $0 } }

    /// Gives up: ends the threads and waits for them. Idempotent; also after a failure.
    package func abandon() {
        stop()
        // Their outcome is known: the stages record failures themselves and never throw.
        for worker in workers { try? worker.join() }
        try? uploader.join()
    }

    func takeSlab() throws -> Slab { try translatingFailure { try slabs.take() } }

    func submit(_ batch: ChunkBatch) {
        // A refused batch means a stage failed: whoever waits for its content is told.
        _ = queue.push(batch)
    }

    func countRead(_ bytes: UInt64) { bytesRead.add(bytes, ordering: .relaxed) }

    /// A stage that was abandoned says "interrupted": tell what really happened.
    private func translatingFailure<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch {
            throw failure.withLock { $0 } ?? error
        }
    }
}
