// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// One worker of the data path: hash, look up, encode (by itself or as a delta), verify, append. Lives on one thread.
final class ChunkWorker {
    private let known: KnownChunks
    private let packs: PackAssembler
    private let local: LocalCopies
    private let encoder: FrameEncoder
    private let maximumChunk: Int
    /// Made when the first chunk with a counterpart comes.
    private var deltaEncoder: DeltaEncoder?
    /// What a patch is undone into. Allocated with the first delta.
    private var undone: UnsafeMutableRawBufferPointer?

    /// Longest frame a worker makes from chunks up to `maximumChunk` bytes.
    static func maximumFrame(maximumChunk: Int) -> Int {
        let plain = maximumPlain(maximumChunk: maximumChunk)
        return max(ZstdCompressor.bound(plain), RawZstdFrame.size(of: plain))
    }

    /// Longest decoded frame: one largest chunk, or a group of small ones. A group of tiny chunks has more headers than
    /// data, so the limit for groups counts headers too.
    static func maximumPlain(maximumChunk: Int) -> Int {
        max(TarMemberWriter.memberSize(dataSize: maximumChunk), ContentWriter.maximumGroupPlain)
    }

    init(
        known: KnownChunks, packs: PackAssembler, local: LocalCopies, _ chunker: ChunkerParameters,
        _ settings: WriterSettings
    ) throws {
        self.known = known
        self.packs = packs
        self.local = local
        maximumChunk = chunker.maximum
        encoder = try FrameEncoder(
            chunker, level: settings.compressionLevel, groupLevel: settings.groupCompressionLevel)
    }

    deinit {
        undone?.deallocate()
    }

    /// Handles one batch: afterwards each of its chunks has an id and is stored or on its way into a pack.
    func process(_ batch: ChunkBatch) throws -> [Digest] {
        var ids: [Digest] = []
        ids.reserveCapacity(batch.segments.count)
        encoder.begin()
        // Chunks that are stored whole, and the one each took the place of.
        var beginnings: [(data: UnsafeRawBufferPointer, id: Digest, grewFrom: Digest, Counterparts)] = []
        for segment in batch.segments {
            let data = UnsafeRawBufferPointer(
                rebasing: batch.slab.memory[segment.offset..<segment.offset + segment.length])
            let id = BLAKE3.hash(data)
            ids.append(id)
            if batch.keepsLocally { local.keepChunk(data, id) }
            segment.content.copy?.write(data, at: segment.start)
            guard try known.claim(id) else {
                if let counterparts = segment.content.counterparts {
                    counterparts.noteKnown(id, at: segment.start, length: segment.length)
                    if let before = counterparts.replaced(by: id, at: segment.start, length: segment.length) {
                        beginnings.append((data, id, before, counterparts))
                    }
                }
                continue
            }
            if let delta = try delta(of: data, id, segment) {
                try encoder.append(patch: delta.patch, of: id, bases: delta.bases, plainLength: segment.length)
            } else {
                try encoder.append(data, id)
                if let counterparts = segment.content.counterparts,
                    let before = counterparts.endOfChain(at: segment.start, length: segment.length)
                {
                    beginnings.append((data, id, before, counterparts))
                }
            }
        }
        if !encoder.members.isEmpty {
            try packs.append(encoder.finish(), plainLength: encoder.plainLength, members: encoder.members)
        }
        for (data, id, before, counterparts) in beginnings {
            try storeAgain(before, asDeltaOf: data, id, counterparts)
        }
        return ids
    }

    /// Stores a chunk that others keep, too, as a delta of the one that follows it in its content. Once nothing else needs
    /// what its chain rests on, prune keeps this copy, and the two take what they take in a new repository.
    private func storeAgain(
        _ chunk: Digest, asDeltaOf data: UnsafeRawBufferPointer, _ id: Digest, _ counterparts: Counterparts
    ) throws {
        let (deltas, undone) = try deltaTools()
        guard
            let again = try deltas.delta(
                of: chunk, base: data, id, counterparts, patch: encoder.encoded, decoded: undone),
            known.claimAgain(chunk, bytes: again.plainLength)
        else { return }
        counterparts.noteReturn()
        encoder.begin()
        try encoder.append(
            patch: again.delta.patch, of: chunk, bases: again.delta.bases, plainLength: again.plainLength)
        try packs.append(encoder.finish(), plainLength: encoder.plainLength, members: encoder.members)
    }

    /// The chunk as a patch of its counterpart in the parent of its content, when it has one and that is worth it.
    private func delta(
        of data: UnsafeRawBufferPointer, _ id: Digest, _ segment: ChunkBatch.Segment
    ) throws -> DeltaEncoder.Delta? {
        guard data.count >= DeltaChunks.minimumChunk, let counterparts = segment.content.counterparts else {
            return nil
        }
        let (deltas, undone) = try deltaTools()
        // The buffer of the encoded frame is free until the members of the batch are together.
        return try deltas.delta(
            of: data, id, at: segment.start, counterparts, patch: encoder.encoded, decoded: undone)
    }

    private func deltaTools() throws -> (encoder: DeltaEncoder, undone: UnsafeMutableRawBufferPointer) {
        let deltas = try deltaEncoder ?? DeltaEncoder(maximumChunk: maximumChunk)
        deltaEncoder = deltas
        let buffer = undone ?? .allocate(byteCount: Self.maximumPlain(maximumChunk: maximumChunk), alignment: 64)
        undone = buffer
        return (deltas, buffer)
    }
}
