// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// The tables of many indexes as one, in a file of the local cache: one search finds every record of a chunk, however
/// many indexes there are. Thread-safe.
///
/// The file is read where it is looked at, a few hundred records at a time, and not mapped: mapped pages count as
/// memory of the process, and a disk that fails must not end it. Made by `IndexMerge`; it is a cache, its format may
/// change with every version:
///
/// ```
/// 0   8  magic "LBMERGE1"
/// 8   4  packs P      12  4  frames F      16  4  chunks C      20  4  bases B      24  4  indexes S      28  36  zero
/// 64           S × 48   index: name 32, its packs 4, its frames 4, its chunks 4, its bases 4; by name
/// then the tables of an index (see `IndexFormat`): packs and frames index by index, chunks by id, bases index by index
/// ```
final class MergedIndex: Sendable {
    static let magic: [UInt8] = Array("LBMERGE1".utf8)
    static let sourceSize = 48

    /// One index that is in it.
    struct Source: Sendable {
        var name: Digest
        /// Counted over all sources before it, and its own.
        var frames: Range<Int>
    }

    /// A record of a chunk.
    struct Place: Sendable {
        var frame: Int
        var offset: UInt32
        var length: UInt32
        var base: UInt32
    }

    private let file: OwnedDescriptor
    private let path: String
    /// By name.
    let sources: [Source]
    let packCount: Int
    let frameCount: Int
    let chunkCount: Int
    private let baseCount: Int
    private let packsStart: Int
    private let framesStart: Int
    private let chunksStart: Int
    private let basesStart: Int

    /// Opens `path`; its note has to say that it has the digest it was made with, or its bytes do.
    init(path: String, digest: Digest, always: Bool) throws {
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        guard try CheckedCopy.require(digest, of: file, path, note: path + CheckedCopy.suffix, always: always) else {
            throw Self.damaged("its bytes do not have the digest they were written with")
        }
        let reader = Reader(descriptor: file.raw, path: path)
        let header = try reader.bytes(at: 0, IndexFormat.headerSize)
        guard header[..<8].elementsEqual(Self.magic) else { throw Self.damaged("it is of another format") }
        let counts = header.withUnsafeBytes { header in
            (0..<5).map { Int(UInt32(littleEndian: header.loadUnaligned(fromByteOffset: 8 + 4 * $0, as: UInt32.self))) }
        }
        packCount = counts[0]
        frameCount = counts[1]
        chunkCount = counts[2]
        baseCount = counts[3]
        // Each factor is below 2^32 and each record below 2^6: no overflow in 64 bits.
        packsStart = IndexFormat.headerSize + counts[4] * Self.sourceSize
        framesStart = packsStart + packCount * IndexFormat.packSize
        chunksStart = framesStart + frameCount * IndexFormat.frameSize
        basesStart = chunksStart + chunkCount * IndexFormat.chunkSize
        var status = stat()
        guard fstat(file.raw, &status) == 0 else { throw SystemCallError("examine", path) }
        guard Int(status.st_size) == basesStart + baseCount * IndexFormat.baseSize else {
            throw Self.damaged("its size is not what its header says")
        }
        let table = try reader.bytes(at: IndexFormat.headerSize, counts[4] * Self.sourceSize)
        var frames = 0
        sources = table.withUnsafeBytes { table in
            (0..<counts[4]).map { number in
                let record = number * Self.sourceSize
                let own = Int(UInt32(littleEndian: table.loadUnaligned(fromByteOffset: record + 36, as: UInt32.self)))
                defer { frames += own }
                return Source(
                    name: Digest(UnsafeRawBufferPointer(rebasing: table[record..<record + 32])),
                    frames: frames..<frames + own)
            }
        }
        guard frames == frameCount else { throw Self.damaged("its frames are not those of its indexes") }
        self.file = file
        self.path = path
    }

    private static func damaged(_ reason: String) -> LifeboatError {
        RepositoryError.damaged("merged index of the local cache", reason)
    }

    /// Reads whole records; a short file is damage.
    private struct Reader {
        let descriptor: Int32
        let path: String

        func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
            guard try DescriptorIO.read(descriptor, at: UInt64(offset), into: buffer, path) == buffer.count else {
                throw MergedIndex.damaged("it is shorter than its header says")
            }
        }

        func bytes(at offset: Int, _ count: Int) throws -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: count)
            try bytes.withUnsafeMutableBytes { try read(at: offset, into: $0) }
            return bytes
        }

        /// Hands `count` bytes to `body`, on the stack where that is possible.
        func with<Result>(
            _ offset: Int, _ count: Int, _ body: (UnsafeRawBufferPointer) throws -> Result
        ) throws -> Result {
            try withUnsafeTemporaryAllocation(byteCount: count, alignment: 16) { buffer in
                try read(at: offset, into: buffer)
                return try body(UnsafeRawBufferPointer(buffer))
            }
        }
    }

    private var reader: Reader { Reader(descriptor: file.raw, path: path) }

    private static func id(_ records: UnsafeRawBufferPointer, _ number: Int) -> Digest {
        let start = number * IndexFormat.chunkSize
        return Digest(UnsafeRawBufferPointer(rebasing: records[start..<start + 32]))
    }

    /// Records that are read at once: 3 KiB.
    private static let blockRecords = 64
    /// Steps that trust in ids being uniform; after them the range is halved.
    private static let interpolations = 6

    /// Every record of the chunk; empty when it is unknown. Two or three reads at any size.
    func places(of id: Digest) throws -> [Place] {
        let block = Self.blockRecords
        return try withUnsafeTemporaryAllocation(byteCount: block * IndexFormat.chunkSize, alignment: 16) { buffer in
            var low = 0
            var high = chunkCount
            var lowValue: UInt64 = 0
            var highValue = UInt64.max
            var steps = 0
            // Invariant: every record before `low` is smaller, every record from `high` on is not smaller.
            while high - low > block {
                let span = Double(highValue &- lowValue)
                steps += 1
                let fraction =
                    steps <= Self.interpolations && span > 0 && id.prefix >= lowValue
                    ? min(Double(id.prefix &- lowValue) / span, 1) : 0.5
                let middle = low + Int(fraction * Double(high - low))
                let start = min(max(middle - block / 2, low), high - block)
                try read(start, block, buffer)
                let records = UnsafeRawBufferPointer(buffer)
                let first = Self.id(records, 0)
                let last = Self.id(records, block - 1)
                if !(first < id) {
                    high = start
                    highValue = first.prefix
                } else if last < id {
                    low = start + block
                    lowValue = last.prefix
                } else {
                    return try run(of: id, in: buffer, start, block)
                }
            }
            // A run of equal ids may begin at `high`.
            let count = min(block, chunkCount - low)
            guard count > 0 else { return [] }
            try read(low, count, buffer)
            return try run(of: id, in: buffer, low, count)
        }
    }

    private func read(_ position: Int, _ count: Int, _ buffer: UnsafeMutableRawBufferPointer) throws {
        try reader.read(
            at: chunksStart + position * IndexFormat.chunkSize,
            into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<(count * IndexFormat.chunkSize)]))
    }

    /// The records of that id, the first of which is among the `count` at `position`, which are in `buffer`, or right
    /// behind them.
    private func run(
        of id: Digest, in buffer: UnsafeMutableRawBufferPointer, _ position: Int, _ count: Int
    ) throws -> [Place] {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if Self.id(UnsafeRawBufferPointer(buffer), middle) < id { low = middle + 1 } else { high = middle }
        }
        var places: [Place] = []
        var start = position
        var end = count
        while true {
            let records = UnsafeRawBufferPointer(buffer)
            while low < end {
                guard Self.id(records, low) == id else { return places }
                let record = low * IndexFormat.chunkSize
                func number(_ offset: Int) -> UInt32 {
                    UInt32(littleEndian: records.loadUnaligned(fromByteOffset: record + offset, as: UInt32.self))
                }
                places.append(
                    Place(frame: Int(number(32)), offset: number(36), length: number(40), base: number(44)))
                low += 1
            }
            start += end
            end = min(Self.blockRecords, chunkCount - start)
            guard end > 0 else { return places }
            try read(start, end, buffer)
            low = 0
        }
    }

    /// Number of the index the record is of.
    func source(of place: Place) throws -> Int {
        var low = 0
        var high = sources.count
        while low < high {
            let middle = (low + high) / 2
            if sources[middle].frames.upperBound <= place.frame { low = middle + 1 } else { high = middle }
        }
        guard low < sources.count else { throw Self.damaged("a chunk names a frame that is not there") }
        return low
    }

    private func frame(of place: Place) throws -> (pack: Int, offset: UInt32, length: UInt32, plainLength: UInt32) {
        guard place.frame < frameCount else { throw Self.damaged("a chunk names a frame that is not there") }
        let frame = try reader.with(framesStart + place.frame * IndexFormat.frameSize, IndexFormat.frameSize) { frame in
            func number(_ offset: Int) -> UInt32 {
                UInt32(littleEndian: frame.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            }
            return (pack: Int(number(0)), offset: number(4), length: number(8), plainLength: number(12))
        }
        guard frame.pack < packCount else { throw Self.damaged("a frame names a pack that is not there") }
        return frame
    }

    /// The pack the record points into.
    func packNumber(of place: Place) throws -> Int { try frame(of: place).pack }

    /// Where the chunk is; throws when the record points outside its tables.
    func location(of place: Place) throws -> ChunkLocation {
        let frame = try frame(of: place)
        let pack = try reader.with(packsStart + frame.pack * IndexFormat.packSize, 32) { Digest($0) }
        guard UInt64(place.offset) + UInt64(place.length) <= UInt64(frame.plainLength) else {
            throw Self.damaged("a chunk reaches beyond its frame")
        }
        return ChunkLocation(
            pack: pack, frameOffset: frame.offset, frameLength: frame.length, framePlainLength: frame.plainLength,
            offset: place.offset, length: place.length, bases: try bases(of: place))
    }

    /// The bases of the chunk; empty when it is stored whole. Throws when the record names one that is not there.
    func bases(of place: Place) throws -> [Digest] {
        guard place.base != 0 else { return [] }
        let first = Int(place.base & ~IndexFormat.secondBase) - 1
        let count = place.base & IndexFormat.secondBase == 0 ? 1 : 2
        guard first >= 0, first + count <= baseCount else {
            throw Self.damaged("a chunk names a base that is not there")
        }
        return try reader.with(basesStart + first * IndexFormat.baseSize, count * IndexFormat.baseSize) { bases in
            (0..<count).map { number in
                let start = number * IndexFormat.baseSize
                return Digest(UnsafeRawBufferPointer(rebasing: bases[start..<start + IndexFormat.baseSize]))
            }
        }
    }

    /// Calls `body` with digest and stored size of every pack, in order; a pack that several indexes name comes again.
    func forEachPack(_ body: (_ name: Digest, _ storedSize: UInt64) -> Void) throws {
        var number = 0
        while number < packCount {
            let count = min(1024, packCount - number)
            try reader.with(packsStart + number * IndexFormat.packSize, count * IndexFormat.packSize) { packs in
                for pack in 0..<count {
                    let start = pack * IndexFormat.packSize
                    body(
                        Digest(UnsafeRawBufferPointer(rebasing: packs[start..<start + 32])),
                        UInt64(littleEndian: packs.loadUnaligned(fromByteOffset: start + 32, as: UInt64.self)))
                }
            }
            number += count
        }
    }
}
