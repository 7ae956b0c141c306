// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// Writes chunks into new packs, each in a frame of its own, and an index over them. Used on one thread.
struct ChunkCopier {
    private let repository: Repository

    init(_ repository: Repository) { self.repository = repository }

    /// Copies what `reader` can read of `ids`; durable when it returns. Gives how many that were.
    func copy(_ ids: [Digest], from reader: ChunkReader, _ cancellation: Cancellation) throws -> UInt64 {
        guard !ids.isEmpty else { return 0 }
        let maximumChunk = repository.config.chunker.maximum
        let packs = PackAssembler(
            maximumFrame: ChunkWorker.maximumFrame(maximumChunk: maximumChunk), repository.sealing)
        let contents = Monitor<[PackContents]>([])
        let store = repository.store
        let uploader = BlockingThread<Void>(name: "uploader") {
            do {
                try packs.uploadPacks(to: store) { pack in contents.update { $0.append(pack) } }
            } catch {
                packs.abandon()
                throw error
            }
        }
        var copied: UInt64 = 0
        do {
            let encoder = try FrameEncoder(maximumChunk: maximumChunk)
            for id in ids {
                try cancellation.check()
                do {
                    try reader.withChunk(id) { try encoder.encode(id, $0, into: packs) }
                    copied += 1
                } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                    // Lost: the plan counted it, and no index will name it.
                    continue
                }
            }
        } catch {
            packs.abandon()
            // The upload's own failure is the reason, when it is one.
            do { try uploader.join() } catch let failure as LifeboatError where failure.exitCode == .interrupted {
                throw error
            }
            throw error
        }
        packs.close()
        try uploader.join()
        let written = contents.withLock { $0 }
        if !written.isEmpty { _ = try repository.storeIndex(written) }
        return copied
    }

    /// Encodes single chunks, and decodes each again before it is stored.
    private final class FrameEncoder {
        private let tar: TarMemberWriter
        private let compressor: ZstdCompressor
        private let decompressor: ZstdDecompressor
        private let plain, encoded: UnsafeMutableRawBufferPointer

        init(maximumChunk: Int) throws {
            tar = try TarMemberWriter()
            compressor = try ZstdCompressor(level: 3)
            decompressor = try ZstdDecompressor()
            plain = .allocate(byteCount: ChunkWorker.maximumPlain(maximumChunk: maximumChunk), alignment: 64)
            encoded = .allocate(byteCount: ChunkWorker.maximumFrame(maximumChunk: maximumChunk), alignment: 64)
        }

        deinit {
            plain.deallocate()
            encoded.deallocate()
        }

        func encode(_ id: Digest, _ data: UnsafeRawBufferPointer, into packs: PackAssembler) throws {
            let length = try tar.append(name: id, data: data, to: plain, at: 0)
            let source = UnsafeRawBufferPointer(rebasing: plain[..<length])
            var size = try compressor.compress(source, into: encoded)
            if size >= RawZstdFrame.size(of: length) { size = RawZstdFrame.write(source, into: encoded) }
            let frame = UnsafeRawBufferPointer(rebasing: encoded[..<size])
            let again = UnsafeMutableRawBufferPointer(rebasing: plain[..<length])
            try decompressor.decompress(frame, into: again)
            let start = TarMemberWriter.blockSize
            guard BLAKE3.hash(UnsafeRawBufferPointer(rebasing: again[start..<start + data.count])) == id else {
                throw LifeboatError(
                    "chunk '\(id.shortHex)' does not come back from its encoded form",
                    causes: ["the compressor or the memory of this machine is faulty; nothing was replaced"],
                    hint: "Test the memory of this machine before repairing again.")
            }
            try packs.append(
                frame, plainLength: length,
                members: [FrameMember(id: id, offset: start, length: data.count, plainLength: data.count)])
        }
    }
}
