// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// What a thread of its own fetches, as a stream that is read: at most 4 MiB wait in between.
final class DownloadSource: ByteSource {
    /// A piece that is passed on, unless the answer ends first.
    private static let pieceSize = 256 << 10

    private let queue = BoundedQueue<[UInt8]>(capacity: 16)
    private let thread: BlockingThread<Void>
    private var piece: [UInt8] = []
    private var position = 0
    private var isEnded = false

    /// `fetch` gives the bytes to its argument in order, and throws when they are not all there.
    init(
        name: String, _ fetch: @escaping @Sendable (_ sink: (UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) {
        let queue = queue
        thread = BlockingThread(name: name) {
            defer { queue.close() }
            var gathered: [UInt8] = []
            try fetch { bytes in
                gathered.append(contentsOf: bytes)
                guard gathered.count >= Self.pieceSize else { return }
                guard queue.push(gathered) else { throw LifeboatError("the download was given up") }
                gathered = []
            }
            if !gathered.isEmpty { _ = queue.push(gathered) }
        }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        while position == piece.count {
            if isEnded { return 0 }
            guard let next = queue.pop() else {
                // What was gathered before a failure is no end: the failure is.
                try thread.join()
                isEnded = true
                return 0
            }
            piece = next
            position = 0
        }
        let count = min(buffer.count, piece.count - position)
        buffer.copyBytes(from: piece[position..<position + count])
        position += count
        return count
    }

    /// The thread ends with the next piece it gets; nobody waits for it.
    func close() { queue.abandon() }

    deinit { close() }
}
