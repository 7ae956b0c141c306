// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStorage

/// One chunk in a frame on its way into a pack.
struct FrameMember: Sendable {
    var id: Digest
    /// Where its data, or its patch, lies in the decoded frame.
    var offset: Int
    var length: Int
    /// What the patch is undone with; empty for plain data.
    var bases: [Digest] = []
    /// Length of the chunk itself.
    var plainLength: Int

    /// Where its data, or its patch, is in the decoded frame.
    var stored: Range<Int> { offset..<offset + length }
}

/// Joins frames into packs and stores full packs in the background: two buffers, one filling, one on its way out.
///
/// `append` is called by the workers; the upload thread runs `uploadPacks`. A frame never spans packs.
package final class PackAssembler: Sendable {
    /// A pack being filled. Touched by one thread at a time: under the lock while filling, by the uploader after.
    private final class Pack: @unchecked Sendable {
        // Sendable: filled under the lock, and the uploader's alone once it is taken out of there.
        let buffer: UnsafeMutableRawBufferPointer
        /// Plain bytes so far: what offsets of frames count.
        var size = 0
        /// Bytes in `buffer`: the same, or those of the age file the pack becomes.
        private(set) var storedSize = 0
        private let sealing: Sealing
        private var sealer: AgeWriter?
        var frames: [PackContents.Frame] = []
        var chunks: [PackContents.Chunk] = []

        /// Nothing is encrypted without recipients.
        init(capacity: Int, _ sealing: Sealing) throws {
            self.sealing = sealing
            guard
                let address = mmap(nil, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                address != MAP_FAILED
            else { throw SystemCallError("allocate", "a pack buffer of \(capacity) bytes") }
            buffer = UnsafeMutableRawBufferPointer(start: address, count: capacity)
        }

        deinit { munmap(buffer.baseAddress, buffer.count) }

        /// Adds bytes at the end; there is room for them.
        func append(_ bytes: UnsafeRawBufferPointer) throws {
            let target = UnsafeMutableRawBufferPointer(rebasing: buffer[storedSize...])
            if !sealing.isEncrypted {
                target.copyMemory(from: bytes)
                storedSize += bytes.count
            } else {
                do throws(AgeError) {
                    if sealer == nil {
                        let fresh = try AgeWriter(recipients: sealing.recipients, tag: sealing.readersTag)
                        target.copyBytes(from: fresh.header)
                        storedSize = fresh.header.count
                        sealer = fresh
                    }
                    let place = UnsafeMutableRawBufferPointer(rebasing: buffer[storedSize...])
                    storedSize += try sealer?.update(bytes, into: place) ?? 0
                } catch {
                    throw error.lifeboatError
                }
            }
            size += bytes.count
        }

        /// Ends the pack; gives the bytes to store.
        func finish() throws -> UnsafeRawBufferPointer {
            if let sealer {
                do throws(AgeError) {
                    storedSize += try sealer.finish(
                        into: UnsafeMutableRawBufferPointer(rebasing: buffer[storedSize...]))
                } catch {
                    throw error.lifeboatError
                }
            }
            return UnsafeRawBufferPointer(rebasing: buffer[..<storedSize])
        }

        func reset() {
            size = 0
            storedSize = 0
            sealer = nil
            frames.removeAll(keepingCapacity: true)
            chunks.removeAll(keepingCapacity: true)
        }
    }

    private struct State {
        var filling: Pack?
        var free: [Pack] = []
        var full: [Pack] = []
        var created = 0
        var closed = false
        var failed = false
    }

    /// A pack is sealed when the next frame would take it over this many bytes.
    static let targetSize = 16 << 20
    /// A pack is sealed when it has this many chunks: what is remembered of each until its index is stored takes memory.
    static let targetChunks = 32_768
    /// Packs of any writer of format 1 are at most this long, unless one frame is longer.
    static let longestPack = 32 << 20
    private static let bufferCount = 2

    private let monitor = Monitor(State())
    private let capacity: Int
    private let sealing: Sealing

    /// `maximumFrame` is the longest frame that will ever be appended.
    init(maximumFrame: Int, _ sealing: Sealing) {
        self.sealing = sealing
        let plain = max(Self.targetSize, maximumFrame) + Self.endFrameSize
        // An age header has less than 200 bytes a recipient.
        capacity =
            sealing.isEncrypted ? AgeWriter.sealedPayloadSize(plain) + 1024 + 200 * sealing.recipients.count : plain
    }

    /// Blocks of the end frame. There are 2^142 ways to cut 1024 zeros into so many.
    private static let endBlocks = 22

    /// Stored bytes of the end frame: header, and four a block.
    private static let endFrameSize = 7 + 4 * endBlocks

    /// The tar end marker as a frame of its own: it ends every pack.
    ///
    /// Its 1024 zeros are cut into run-length blocks at random places, so that no pack ever has the name of another:
    /// a deletion that was decided about a pack can then never strike one that was written later with the same chunks.
    package static func makeEndFrame() -> [UInt8] {
        let count = TarMemberWriter.endMarkerSize
        var cuts: Set<Int> = []
        while cuts.count < endBlocks - 1 { cuts.insert(Int.random(in: 1..<count)) }
        // RFC 8878: magic; one segment, content size in two bytes, less 256.
        var frame: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0x60, UInt8((count - 256) & 0xFF), UInt8((count - 256) >> 8)]
        var start = 0
        for cut in cuts.sorted() + [count] {
            // Block header: last block, type 1 (run-length), size; then the byte that is repeated.
            let header = (cut == count ? 1 : 0) | 1 << 1 | (cut - start) << 3
            frame += [UInt8(header & 0xFF), UInt8(header >> 8 & 0xFF), UInt8(header >> 16), 0]
            start = cut
        }
        return frame
    }

    /// Adds a frame that holds these members. Blocks while both buffers are full.
    func append(_ frame: UnsafeRawBufferPointer, plainLength: Int, members: [FrameMember]) throws {
        try monitor.wait { state throws -> Void? in
            if state.failed { throw LifeboatError.interrupted }
            guard let pack = try fillingPack(&state, roomFor: frame.count) else { return nil }
            let start = pack.size
            try pack.append(frame)
            let number = pack.frames.count
            // All below the pack's capacity, which is far below 2^32.
            pack.frames.append(
                PackContents.Frame(
                    offset: UInt32(start), length: UInt32(frame.count), plainLength: UInt32(plainLength)))
            for member in members {
                pack.chunks.append(
                    PackContents.Chunk(
                        id: member.id, frame: number, offset: UInt32(member.offset), length: UInt32(member.length),
                        bases: member.bases, plainLength: UInt32(member.plainLength)))
            }
            return ()
        }
    }

    /// The pack to append to; nil when the caller must wait for a buffer.
    private func fillingPack(_ state: inout State, roomFor size: Int) throws -> Pack? {
        if let pack = state.filling {
            let hasSpace =
                pack.size + size + Self.endFrameSize <= Self.targetSize && pack.chunks.count < Self.targetChunks
            if pack.size == 0 || hasSpace { return pack }
            state.full.append(pack)
            state.filling = nil
        }
        if let pack = state.free.popLast() {
            state.filling = pack
        } else if state.created < Self.bufferCount {
            state.filling = try Pack(capacity: capacity, sealing)
            state.created += 1
        }
        return state.filling
    }

    /// No more frames will come: the last pack goes out too.
    func close() {
        monitor.update { state in
            if let pack = state.filling, pack.size > 0 { state.full.append(pack) }
            state.filling = nil
            state.closed = true
        }
    }

    /// Wakes everyone with an error.
    func abandon() { monitor.update { $0.failed = true } }

    /// Stores full packs until `close` and all are out; `stored` is told of each after it is durable. The body of the
    /// upload thread.
    func uploadPacks(to store: any ObjectStore, stored: (PackContents) throws -> Void) throws {
        while true {
            let next: Pack?? = try monitor.wait { state throws(LifeboatError) -> Pack?? in
                if state.failed { throw LifeboatError.interrupted }
                if !state.full.isEmpty { return .some(state.full.removeFirst()) }
                return state.closed ? .some(nil) : nil
            }
            guard let pack = next ?? nil else { return }
            try stored(try upload(pack, to: store))
            pack.reset()
            monitor.update { $0.free.append(pack) }
        }
    }

    private func upload(_ pack: Pack, to store: any ObjectStore) throws -> PackContents {
        try Self.makeEndFrame().withUnsafeBytes { try pack.append($0) }
        let bytes = try pack.finish()
        let name = BLAKE3.hash(bytes)
        try store.putNamed(sealing.storedKey(RepositoryLayout.pack(name)), bytes)
        return PackContents(
            name: name, storedSize: UInt64(bytes.count), frames: pack.frames, chunks: pack.chunks)
    }
}
