// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
package import LifeboatFormats
import LifeboatIO

/// Cuts contents into chunks and feeds them to the workers. Used by one capture thread, for one content after the
/// other: `space` → fill → `advance` … → `endContent`.
package final class ContentWriter {
    private let writer: RepositoryWriter
    private let chunker: Chunker
    private let maximumChunk: Int
    private var slab: Slab?
    /// Bytes of the slab in use, and where the chunk in progress starts.
    private var filled = 0
    private var chunkStart = 0
    private var scan = Chunker.Scan()
    private var content = PendingContent()
    private var batch: ChunkBatch?
    private var batchPlain = 0

    /// Members of a group, tar headers and padding included, stay below this at most.
    static let maximumGroupPlain = 2 * ChunkBatch.groupSize
    private let groupSize: Int

    private let keepsLocally: Bool

    /// With `keepsLocally` every chunk also goes to the local copies.
    init(_ writer: RepositoryWriter, keepsLocally: Bool) {
        self.writer = writer
        self.keepsLocally = keepsLocally
        chunker = Chunker(writer.chunkerParameters)
        groupSize = ChunkBatch.groupSize(writer.chunkerParameters)
        maximumChunk = writer.chunkerParameters.maximum
    }

    /// Sets what the next content grew from, so that its chunks may be stored as deltas; to be called before its first
    /// byte, again after `discardContent`. `reader` must use indexes that are restricted to packs that are present. A
    /// parent whose list of chunks cannot be read gives no deltas, and no error: all is stored whole.
    ///
    /// `bases`: on a host that cannot read packs, where the parent's bytes are read from and those of this content are
    /// kept for the next backup; `skipsNoise`: only those that compress.
    package func beginContent(
        parent: ContentReference?, _ reader: ChunkReader, bases: DeltaBases? = nil, skipsNoise: Bool = false
    ) {
        content.copy = bases?.newCopy(skipsNoise: skipsNoise)
        guard let parent, parent.size >= UInt64(DeltaChunks.minimumChunk) else { return }
        let copy = reader.canRead ? nil : bases?.copy(of: parent.id)
        guard reader.canRead || copy != nil else { return }
        content.counterparts = try? Counterparts(reader, parent: parent, maximumChunk: maximumChunk, copy: copy)
    }

    /// Room to put the next bytes of the content into; at least 64 KiB. Blocks while all slabs are in use.
    package func space() throws -> UnsafeMutableRawBufferPointer {
        let minimum = 64 << 10
        if let slab, slab.memory.count - filled >= minimum {
            return UnsafeMutableRawBufferPointer(rebasing: slab.memory[filled...])
        }
        flush()
        let fresh = try writer.takeSlab()
        let partial = filled - chunkStart
        if let slab, partial > 0 {
            fresh.memory.copyMemory(from: UnsafeRawBufferPointer(rebasing: slab.memory[chunkStart..<filled]))
        }
        slab = fresh
        chunkStart = 0
        filled = partial
        return UnsafeMutableRawBufferPointer(rebasing: fresh.memory[filled...])
    }

    /// The first `count` bytes of the last `space` were filled.
    package func advance(_ count: Int) throws {
        guard count > 0 else { return }
        filled += count
        content.size += UInt64(count)
        writer.countRead(UInt64(count))
        while filled > chunkStart, let length = cut(atEnd: false) { try emit(length) }
    }

    /// Appends bytes from elsewhere.
    package func append(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while !rest.isEmpty {
            let target = try space()
            let count = min(target.count, rest.count)
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: rest[..<count]))
            try advance(count)
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    /// Ends the content; its chunks are on their way. The next byte belongs to the next content.
    package func endContent() throws -> PendingContent {
        while filled > chunkStart, let length = cut(atEnd: true) { try emit(length) }
        let finished = content
        finished.isFinished = true
        content = PendingContent()
        scan = Chunker.Scan()
        return finished
    }

    /// Forgets the content in progress, for a file that has to be read again. What was cut already is stored, but
    /// nothing refers to it.
    package func discardContent() {
        content = PendingContent()
        scan = Chunker.Scan()
        chunkStart = filled
    }

    /// Hands all that was cut to the workers; called before waiting for a content.
    package func flush() {
        guard let batch, !batch.segments.isEmpty else { return }
        self.batch = nil
        batchPlain = 0
        writer.submit(batch)
    }

    private func cut(atEnd: Bool) -> Int? {
        guard let slab else { return nil }
        return chunker.cut(
            UnsafeRawBufferPointer(rebasing: slab.memory[chunkStart..<filled]), atEnd: atEnd, resuming: &scan)
    }

    /// The next `length` bytes are a chunk.
    private func emit(_ length: Int) throws {
        guard let slab else { return }
        let plain = TarMemberWriter.memberSize(dataSize: length)
        if let batch,
            batch.slab !== slab || batch.byteCount + length > groupSize
                || batchPlain + plain > 2 * groupSize
        {
            flush()
        }
        let position = writer.completion.expect(content, length: length)
        var current = batch ?? ChunkBatch(slab: slab, keepsLocally: keepsLocally)
        batch = nil  // so that appending does not copy the segments
        current.segments.append(
            ChunkBatch.Segment(
                offset: chunkStart, length: length, content: content, position: position, start: content.handedOut))
        content.handedOut += UInt64(length)
        current.byteCount += length
        batch = current
        batchPlain += plain
        chunkStart += length
        scan = Chunker.Scan()
        if current.byteCount >= groupSize { flush() }
    }
}
