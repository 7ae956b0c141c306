// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Where a chunk is, as an index tells.
package struct ChunkLocation: Sendable, Equatable {
    /// The pack that holds it.
    package var pack: Digest
    /// Byte range of the zstd frame in the stored pack.
    package var frameOffset: UInt32
    package var frameLength: UInt32
    /// Length of the decoded frame, tar headers and padding included.
    package var framePlainLength: UInt32
    /// Byte range of the chunk's data in the decoded frame; of its patch when it has bases.
    package var offset: UInt32
    package var length: UInt32
    /// The chunks that, joined, the stored patch is undone with: none (the data is the chunk), one or two.
    package var bases: [Digest]

    package init(
        pack: Digest, frameOffset: UInt32, frameLength: UInt32, framePlainLength: UInt32, offset: UInt32,
        length: UInt32, bases: [Digest] = []
    ) {
        self.pack = pack
        self.frameOffset = frameOffset
        self.frameLength = frameLength
        self.framePlainLength = framePlainLength
        self.offset = offset
        self.length = length
        self.bases = bases
    }

    package var isDelta: Bool { !bases.isEmpty }
}

/// What a pack holds: made when it is written, or by reading it again.
package struct PackContents: Sendable, Equatable {
    package struct Frame: Sendable, Equatable {
        package var offset: UInt32
        package var length: UInt32
        package var plainLength: UInt32
        package init(offset: UInt32, length: UInt32, plainLength: UInt32) {
            self.offset = offset
            self.length = length
            self.plainLength = plainLength
        }
    }

    package struct Chunk: Sendable, Equatable {
        package var id: Digest
        /// Position in `frames`.
        package var frame: Int
        /// Byte range in the decoded frame: of the data, or of the patch when there are bases.
        package var offset: UInt32
        package var length: UInt32
        /// The chunks that, joined, the patch is undone with: none, one or two.
        package var bases: [Digest]
        /// Length of the chunk itself.
        package var plainLength: UInt32

        /// `plainLength` is `length` unless given: it differs for deltas.
        package init(
            id: Digest, frame: Int, offset: UInt32, length: UInt32, bases: [Digest] = [], plainLength: UInt32? = nil
        ) {
            self.id = id
            self.frame = frame
            self.offset = offset
            self.length = length
            self.bases = bases
            self.plainLength = plainLength ?? length
        }
    }

    package var name: Digest
    package var storedSize: UInt64
    package var frames: [Frame]
    package var chunks: [Chunk]

    package init(name: Digest, storedSize: UInt64, frames: [Frame], chunks: [Chunk]) {
        self.name = name
        self.storedSize = storedSize
        self.frames = frames
        self.chunks = chunks
    }
}

/// The index file of format 1, byte by byte (docs/repository-format.md, "Index"). All numbers are little-endian.
///
/// ```
/// 0   8  magic "LBINDEX1"
/// 8   4  packs P      12  4  frames F      16  4  chunks C      20  4  bases B
/// 24 16  random: makes the name unique      40  24  zero
/// 64           P × 40   pack: digest 32, stored size 8
/// then         F × 16   frame: pack 4, offset 4, length 4, plain length 4
/// then         C × 48   chunk: id 32, frame 4, offset 4, length 4, base 4
/// then         B × 32   base: id of a chunk
/// ```
/// The base of a chunk is 0 for none, or 1 + position of its base; plus 2^31 when it has two, that one and the next.
/// Chunks ascend by id (equal ids may repeat), packs by digest, frames by pack and offset.
enum IndexFormat {
    static let magic: [UInt8] = Array("LBINDEX1".utf8)
    static let headerSize = 64
    static let packSize = 40
    static let frameSize = 16
    static let chunkSize = 48
    static let baseSize = 32
    /// In the base of a chunk: there is a second one behind the first.
    static let secondBase: UInt32 = 1 << 31
    /// No chunk has more bases.
    static let maximumBases = 2

    /// The bytes of one index over `packs`, which may come in any order. `salt` is random: an index that was deleted
    /// must never come back under its old name, or a prune on another host that is late would delete it again.
    static func encode(_ packs: [PackContents], salt: (UInt64, UInt64)) -> [UInt8] {
        let sorted = packs.sorted { $0.name < $1.name }
        let frameCount = sorted.reduce(0) { $0 + $1.frames.count }
        let chunkCount = sorted.reduce(0) { $0 + $1.chunks.count }
        let chunks = sortedChunks(sorted, count: chunkCount)
        let bases = BaseTable(chunks)
        let size =
            headerSize + sorted.count * packSize + frameCount * frameSize + chunkCount * chunkSize
            + bases.ids.count * baseSize
        return [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            var writer = Writer(UnsafeMutableRawBufferPointer(buffer))
            writer.append(magic)
            for number in [sorted.count, frameCount, chunkCount, bases.ids.count] { writer.append(UInt32(number)) }
            writer.append(salt.0)
            writer.append(salt.1)
            writer.appendZeros(headerSize - 40)
            for pack in sorted {
                writer.append(pack.name)
                writer.append(pack.storedSize)
            }
            for (number, pack) in sorted.enumerated() {
                for frame in pack.frames {
                    writer.append(UInt32(number))
                    writer.append(frame.offset)
                    writer.append(frame.length)
                    writer.append(frame.plainLength)
                }
            }
            for chunk in chunks {
                writer.append(chunk.id)
                writer.append(UInt32(chunk.frame))
                writer.append(chunk.offset)
                writer.append(chunk.length)
                writer.append(bases.field(chunk.bases))
            }
            for id in bases.ids { writer.append(id) }
            count = writer.position
        }
    }

    /// All chunks by id, their frame numbers counted over all packs.
    private static func sortedChunks(_ packs: [PackContents], count: Int) -> [PackContents.Chunk] {
        var chunks: [PackContents.Chunk] = []
        chunks.reserveCapacity(count)
        var firstFrame = 0
        for pack in packs {
            for var chunk in pack.chunks {
                chunk.frame += firstFrame
                chunks.append(chunk)
            }
            firstFrame += pack.frames.count
        }
        chunks.sort { $0.id < $1.id }
        return chunks
    }

    /// The bases of all chunks, each single one and each pair once.
    private struct BaseTable {
        private(set) var ids: [Digest] = []
        private var positions: [[Digest]: UInt32] = [:]

        init(_ chunks: [PackContents.Chunk]) {
            for chunk in chunks where !chunk.bases.isEmpty && positions[chunk.bases] == nil {
                positions[chunk.bases] = UInt32(ids.count + 1)
                ids += chunk.bases
            }
        }

        func field(_ bases: [Digest]) -> UInt32 {
            (positions[bases] ?? 0) | (bases.count > 1 ? IndexFormat.secondBase : 0)
        }
    }

    private struct Writer {
        let buffer: UnsafeMutableRawBufferPointer
        var position = 0

        init(_ buffer: UnsafeMutableRawBufferPointer) { self.buffer = buffer }

        mutating func append(_ bytes: [UInt8]) {
            UnsafeMutableRawBufferPointer(rebasing: buffer[position..<position + bytes.count]).copyBytes(from: bytes)
            position += bytes.count
        }

        mutating func append<Number: FixedWidthInteger>(_ number: Number) {
            buffer.storeBytes(of: number.littleEndian, toByteOffset: position, as: Number.self)
            position += MemoryLayout<Number>.size
        }

        mutating func append(_ digest: Digest) {
            digest.copyBytes(to: UnsafeMutableRawBufferPointer(rebasing: buffer[position..<position + 32]))
            position += 32
        }

        mutating func appendZeros(_ count: Int) {
            for _ in 0..<count { append(UInt8(0)) }
        }
    }
}
