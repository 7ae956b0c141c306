// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats

/// Makes frames: tar members of chunks or patches, together in one zstd frame, which is decoded again and compared
/// before anybody gets it. `begin` → `append` … → `finish`. Lives on one thread.
final class FrameEncoder {
    private let tar: TarMemberWriter
    private let compressor, groupCompressor: ZstdCompressor
    private let decompressor: ZstdDecompressor
    /// The decoded frame as it will be: tar members; in `finish` the frame decoded again.
    private let plain: UnsafeMutableRawBufferPointer
    /// The encoded frame: scratch space for others until `finish`.
    let encoded: UnsafeMutableRawBufferPointer

    /// What was appended since `begin`, and how long the frame is decoded.
    private(set) var members: [FrameMember] = []
    private(set) var plainLength = 0
    /// Bytes of chunks and patches since `begin`, without headers and padding.
    private(set) var dataLength = 0

    private let groupSize: Int

    /// `level` is that of frames with one chunk, `groupLevel` that of the others.
    init(_ chunker: ChunkerParameters, level: Int, groupLevel: Int) throws {
        let maximumChunk = chunker.maximum
        groupSize = ChunkBatch.groupSize(chunker)
        tar = try TarMemberWriter()
        compressor = try ZstdCompressor(level: level)
        groupCompressor = try ZstdCompressor(level: groupLevel)
        decompressor = try ZstdDecompressor()
        let plainSize = ChunkWorker.maximumPlain(maximumChunk: maximumChunk)
        plain = .allocate(byteCount: plainSize, alignment: 64)
        encoded = .allocate(byteCount: ChunkWorker.maximumFrame(maximumChunk: maximumChunk), alignment: 64)
    }

    deinit {
        plain.deallocate()
        encoded.deallocate()
    }

    /// Starts a frame.
    func begin() {
        members.removeAll(keepingCapacity: true)
        plainLength = 0
        dataLength = 0
    }

    /// Whether a frame that has something already takes `count` more bytes and stays within what a group may have.
    func fits(_ count: Int) -> Bool {
        members.isEmpty
            || dataLength + count <= groupSize
                && plainLength + TarMemberWriter.memberSize(dataSize: count) <= 2 * groupSize
    }

    /// Adds a chunk as it is.
    func append(_ data: UnsafeRawBufferPointer, _ id: Digest) throws {
        let start = plainLength
        plainLength += try tar.append(name: id, data: data, to: plain, at: start)
        dataLength += data.count
        members.append(
            FrameMember(
                id: id, offset: start + TarMemberWriter.blockSize, length: data.count, plainLength: data.count))
    }

    /// Adds a chunk of `plainLength` bytes as a patch of its bases; the caller undid it and hashed what it gives.
    func append(patch: UnsafeRawBufferPointer, of id: Digest, bases: [Digest], plainLength length: Int) throws {
        let start = plainLength
        plainLength += try tar.append(name: DeltaName.text(id, bases: bases), data: patch, to: plain, at: start)
        dataLength += patch.count
        members.append(
            FrameMember(
                id: id, offset: start + TarMemberWriter.blockSize, length: patch.count, bases: bases,
                plainLength: length))
    }

    /// The frame of what was appended, verified; valid until the next `begin`, as are `members` and `plainLength`.
    func finish() throws -> UnsafeRawBufferPointer {
        let digests = storedDigests()
        let source = UnsafeRawBufferPointer(rebasing: plain[..<plainLength])
        // Patches are compressed already, what is left to shrink are the headers.
        let isSingle = members.count == 1 && members[0].bases.isEmpty
        let frame = try encode(source, with: isSingle ? compressor : groupCompressor)
        try verify(frame, digests)
        return frame
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

    /// The digest of what each member stores: its id, or that of its patch. Read before the frame is decoded over it.
    private func storedDigests() -> [Digest] {
        members.map { member in
            guard !member.bases.isEmpty else { return member.id }
            // A patch was undone and hashed when it was made: it must come back as it is.
            return BLAKE3.hash(UnsafeRawBufferPointer(rebasing: plain[member.stored]))
        }
    }

    /// Decodes the frame again, over the bytes it was made of, and hashes every chunk in it: an encoder or memory fault
    /// stops the run here, before anything refers to it.
    private func verify(_ frame: UnsafeRawBufferPointer, _ digests: [Digest]) throws {
        // A decoder that writes nothing must not pass for one that writes what was there before.
        plain[..<plainLength].initializeMemory(as: UInt8.self, repeating: 0)
        try decompressor.decompress(frame, into: UnsafeMutableRawBufferPointer(rebasing: plain[..<plainLength]))
        for (member, digest) in zip(members, digests)
        where BLAKE3.hash(UnsafeRawBufferPointer(rebasing: plain[member.stored])) != digest {
            throw LifeboatError.notComingBack(member.id)
        }
    }
}
