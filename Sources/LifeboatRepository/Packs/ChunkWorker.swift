// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// One worker of the data path: hash, look up, encode (by itself or as a delta), verify, append. Lives on one thread.
final class ChunkWorker {
    private let known: KnownChunks
    private let packs: PackAssembler
    private let local: LocalCopies
    private let tar: TarMemberWriter
    private let compressor, groupCompressor: ZstdCompressor
    private let decompressor: ZstdDecompressor
    private let maximumChunk: Int
    /// Made when the first chunk with a counterpart comes.
    private var deltaEncoder: DeltaEncoder?
    /// The decoded frame as it will be (tar members), the encoded frame, and the frame decoded again.
    private let plain, encoded, decoded: UnsafeMutableRawBufferPointer

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
        known: KnownChunks, packs: PackAssembler, local: LocalCopies, maximumChunk: Int, _ settings: WriterSettings
    ) throws {
        self.known = known
        self.packs = packs
        self.local = local
        self.maximumChunk = maximumChunk
        tar = try TarMemberWriter()
        compressor = try ZstdCompressor(level: settings.compressionLevel)
        groupCompressor = try ZstdCompressor(level: settings.groupCompressionLevel)
        decompressor = try ZstdDecompressor()
        let plainSize = Self.maximumPlain(maximumChunk: maximumChunk)
        plain = .allocate(byteCount: plainSize, alignment: 64)
        encoded = .allocate(byteCount: Self.maximumFrame(maximumChunk: maximumChunk), alignment: 64)
        decoded = .allocate(byteCount: plainSize, alignment: 64)
    }

    deinit {
        plain.deallocate()
        encoded.deallocate()
        decoded.deallocate()
    }

    /// Handles one batch: afterwards each of its chunks has an id and is stored or on its way into a pack.
    func process(_ batch: ChunkBatch) throws -> [Digest] {
        var ids: [Digest] = []
        ids.reserveCapacity(batch.segments.count)
        var members: [FrameMember] = []
        var plainLength = 0
        for segment in batch.segments {
            let data = UnsafeRawBufferPointer(
                rebasing: batch.slab.memory[segment.offset..<segment.offset + segment.length])
            let id = BLAKE3.hash(data)
            ids.append(id)
            if batch.keepsLocally { try local.keepChunk(data, id) }
            guard known.claim(id) else {
                segment.content.counterparts?.noteKnown(id, at: segment.start, length: segment.length)
                continue
            }
            let start = plainLength
            var member = FrameMember(
                id: id, offset: start + TarMemberWriter.blockSize, length: segment.length, plainLength: segment.length)
            if let delta = try delta(of: data, id, segment) {
                member.length = delta.patch.count
                member.bases = delta.bases
                plainLength += try tar.append(
                    name: DeltaName.text(id, bases: delta.bases), data: delta.patch, to: plain, at: start)
            } else {
                plainLength += try tar.append(name: id, data: data, to: plain, at: start)
            }
            members.append(member)
        }
        guard !members.isEmpty else { return ids }
        let source = UnsafeRawBufferPointer(rebasing: plain[..<plainLength])
        // Patches are compressed already, what is left to shrink are the headers.
        let isSingle = members.count == 1 && members[0].bases.isEmpty
        let frame = try encode(source, with: isSingle ? compressor : groupCompressor)
        try verify(frame, members: members, plainLength: plainLength)
        try packs.append(frame, plainLength: plainLength, members: members)
        return ids
    }

    /// The chunk as a patch of its counterpart in the parent of its content, when it has one and that is worth it.
    private func delta(
        of data: UnsafeRawBufferPointer, _ id: Digest, _ segment: ChunkBatch.Segment
    ) throws -> DeltaEncoder.Delta? {
        guard data.count >= DeltaChunks.minimumChunk, let counterparts = segment.content.counterparts else {
            return nil
        }
        let encoder = try deltaEncoder ?? DeltaEncoder(maximumChunk: maximumChunk)
        deltaEncoder = encoder
        // The buffers of the frame are free until the members of the batch are together.
        return try encoder.delta(of: data, id, at: segment.start, counterparts, patch: encoded, decoded: decoded)
    }

    /// The zstd frame of `source`, in `encoded`: compressed when that saves something, else raw blocks.
    private func encode(
        _ source: UnsafeRawBufferPointer, with compressor: ZstdCompressor
    ) throws -> UnsafeRawBufferPointer {
        let rawSize = RawZstdFrame.size(of: source.count)
        if !Compressibility.savesTooLittle(source) {
            let size = try compressor.compress(source, into: encoded)
            if size < rawSize - rawSize / 64 { return UnsafeRawBufferPointer(rebasing: encoded[..<size]) }
        }
        return UnsafeRawBufferPointer(rebasing: encoded[..<RawZstdFrame.write(source, into: encoded)])
    }

    /// Decodes the frame again and hashes every chunk in it: an encoder or memory fault stops the backup here, before
    /// anything is committed.
    private func verify(
        _ frame: UnsafeRawBufferPointer, members: [FrameMember], plainLength: Int
    ) throws {
        let target = UnsafeMutableRawBufferPointer(rebasing: decoded[..<plainLength])
        try decompressor.decompress(frame, into: target)
        for member in members {
            let range = member.offset..<member.offset + member.length
            let data = UnsafeRawBufferPointer(rebasing: target[range])
            // A patch was undone and hashed when it was made: here it must be the same still.
            let isSame =
                member.bases.isEmpty
                ? BLAKE3.hash(data) == member.id
                : data.elementsEqual(plain[range])
            guard isSame else { throw LifeboatError.notComingBack(member.id) }
        }
    }
}
