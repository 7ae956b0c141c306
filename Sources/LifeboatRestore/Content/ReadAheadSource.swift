// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
package import LifeboatFormats
import LifeboatIO
package import LifeboatRepository

/// A content as a stream whose next chunks are fetched, decoded and verified by a thread of its own while the consumer
/// works on the last. At most `depth` chunks wait.
package final class ReadAheadSource: ByteSource {
    private enum Piece: Sendable {
        case chunk([UInt8])
        case failed(any Error)
    }

    private let queue: BoundedQueue<Piece>
    private let onRead: (@Sendable (_ bytes: Int) -> Void)?
    private var current: [UInt8] = []
    private var position = 0
    private var failure: (any Error)?
    private var isClosed = false

    /// `onRead` is told of bytes as they are handed out.
    package init(
        _ reader: ChunkReader, _ reference: ContentReference, depth: Int = 4,
        onRead: (@Sendable (_ bytes: Int) -> Void)? = nil
    ) {
        let queue = BoundedQueue<Piece>(capacity: depth)
        self.queue = queue
        self.onRead = onRead
        // Ends by itself: at the end of the content, on its first failure, or when the queue is abandoned.
        _ = BlockingThread<Void>(name: "read-ahead") {
            defer { queue.close() }
            do {
                let chunks = try ChunkSequence(reader, reference)
                while let chunk = try chunks.next() {
                    let bytes = try reader.verifiedChunk(chunk.id, length: chunk.length)
                    guard queue.push(.chunk(bytes)) else { return }
                }
            } catch {
                _ = queue.push(.failed(error))
            }
        }
    }

    deinit { queue.abandon() }

    package func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        guard buffer.count > 0 else { return 0 }
        // A stream that failed never ends: asked again it fails again.
        if let failure { throw failure }
        while position == current.count {
            guard let piece = queue.pop() else {
                guard !isClosed else { throw LifeboatError("the stream was closed") }
                return 0
            }
            switch piece {
            case .chunk(let bytes):
                current = bytes
                position = 0
            case .failed(let error):
                failure = error
                throw error
            }
        }
        let count = min(buffer.count, current.count - position)
        current.withUnsafeBytes { bytes in
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[position..<position + count]))
        }
        position += count
        onRead?(count)
        return count
    }

    /// Ends the thread. Reading on throws: what was closed early must not look like a whole stream.
    package func close() {
        isClosed = true
        current = []
        position = 0
        queue.abandon()
    }
}
