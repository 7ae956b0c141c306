// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// A run of chunks in one slab: the unit of work of the data path. Their new ones become one zstd frame.
struct ChunkBatch: Sendable {
    struct Segment: Sendable {
        /// Byte range in the slab.
        var offset: Int
        var length: Int
        /// Whose chunk it is, and its position in that content.
        var content: PendingContent
        var position: Int
        /// Where it starts in that content.
        var start: UInt64
    }

    /// Chunks together up to this many bytes share a frame at most, so that small files compress against each other.
    static let groupSize = 1 << 20

    /// The limit in a repository that cuts contents so: an average chunk, at most 1 MiB.
    static func groupSize(_ chunker: ChunkerParameters) -> Int { min(groupSize, chunker.average) }

    var slab: Slab
    /// Its chunks go to the local copies too.
    var keepsLocally: Bool
    var segments: [Segment] = []
    var byteCount = 0
}

/// Content on its way into the repository: its chunk ids arrive in any order.
///
/// Guarded by the writer's `CompletionMonitor`.
package final class PendingContent: @unchecked Sendable {
    // Sendable: all state is touched only inside CompletionMonitor's lock, or by the one thread that writes the content
    // before it is finished.
    fileprivate(set) var ids: [Digest] = []
    fileprivate(set) var lengths: [UInt32] = []
    fileprivate var missing = 0
    var size: UInt64 = 0
    /// Chunks handed out so far; touched by the writing thread alone.
    var segmentCount = 0
    /// Bytes in the chunks handed out so far; touched by the writing thread alone.
    var handedOut: UInt64 = 0
    /// Where its chunks may find bases for deltas; set by the writing thread before the first chunk is handed out.
    var counterparts: Counterparts?
    /// Where its plain bytes are kept for the next backup; set and taken away by the writing thread.
    var copy: DeltaBaseCopy?
    /// No more chunks will be added; set by the writing thread.
    var isFinished = false

    init() {}
}

/// Where workers leave chunk ids and capture threads wait for them.
final class CompletionMonitor: Sendable {
    private struct State {
        var failed = false
    }

    private let monitor = Monitor(State())

    init() {}

    /// Announces one more chunk of `content`; called by its writing thread before the batch is queued.
    func expect(_ content: PendingContent, length: Int) -> Int {
        monitor.withLock { _ in
            content.ids.append(Digest(bigEndianWords: 0, 0, 0, 0))
            content.lengths.append(UInt32(length))
            content.missing += 1
            return content.ids.count - 1
        }
    }

    /// The ids of a batch's segments are known and their chunks are stored or on their way into a pack.
    func complete(_ segments: [ChunkBatch.Segment], ids: [Digest]) {
        monitor.update { _ in
            for (segment, id) in zip(segments, ids) {
                segment.content.ids[segment.position] = id
                segment.content.missing -= 1
            }
        }
    }

    /// Whether every chunk of a finished content has its id.
    func isComplete(_ content: PendingContent) -> Bool {
        monitor.withLock { _ in content.isFinished && content.missing == 0 }
    }

    /// Blocks until then. The content must be finished, and its batches queued.
    func waitUntilComplete(_ content: PendingContent) throws -> (ids: [Digest], lengths: [UInt32]) {
        try monitor.wait { state throws(LifeboatError) -> (ids: [Digest], lengths: [UInt32])? in
            if state.failed { throw .interrupted }
            return content.missing == 0 ? (content.ids, content.lengths) : nil
        }
    }

    func abandon() { monitor.update { $0.failed = true } }
}
