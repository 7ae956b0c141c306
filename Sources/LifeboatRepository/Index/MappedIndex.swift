// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatIO
import LifeboatStorage

/// One index file, memory-mapped read-only and searched in place: opening it touches its header and nothing else.
/// Thread-safe.
package final class MappedIndex: @unchecked Sendable {
    // Sendable: the mapping is private, read-only, and never changes after init.
    private let memory: UnsafeRawBufferPointer
    package let name: Digest
    package let packCount: Int
    package let frameCount: Int
    package let chunkCount: Int
    private let framesStart: Int
    private let chunksStart: Int
    private let baseCount: Int
    private let basesStart: Int
    private let isMapped: Bool

    /// Number of bases, counting both of a pair.
    var baseIDCount: Int { baseCount }

    /// Maps `path`, a file that nobody changes or truncates (the cache replaces files, never edits them).
    /// Its bytes must have `digest`: a note beside it may say so (`CheckedCopy`), unless they are to be hashed `always`.
    /// A file below `mappedFrom` bytes is read: a process may have only so many mappings, and each costs 64 KiB of memory
    /// when it is touched.
    package init(
        path: String, name: Digest, digest: Digest, always: Bool, mappedFrom: Int = MappedIndex.usuallyMappedFrom
    ) throws {
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        guard
            try CheckedCopy.require(digest, of: file, path, note: path + CheckedCopy.suffix, always: always)
        else { throw Self.damaged(name, "its bytes do not have the digest in its name") }
        var status = stat()
        guard fstat(file.raw, &status) == 0 else { throw SystemCallError("examine", path) }
        let size = Int(status.st_size)
        guard size >= IndexFormat.headerSize else { throw Self.damaged(name, "it is shorter than its header") }
        isMapped = size >= mappedFrom
        let bytes = try Self.memory(of: file, size, path, mapped: isMapped)
        do {
            let counts = try Self.counts(bytes, name)
            packCount = counts.packs
            frameCount = counts.frames
            chunkCount = counts.chunks
            baseCount = counts.bases
        } catch {
            Self.release(bytes, mapped: isMapped)
            throw error
        }
        memory = bytes
        self.name = name
        framesStart = IndexFormat.headerSize + packCount * IndexFormat.packSize
        chunksStart = framesStart + frameCount * IndexFormat.frameSize
        basesStart = chunksStart + chunkCount * IndexFormat.chunkSize
    }

    /// Copies `bytes`, which are known to be those of the index, into memory: where no cache takes them.
    package init(_ bytes: UnsafeRawBufferPointer, name: Digest) throws {
        guard bytes.count >= IndexFormat.headerSize else {
            throw Self.damaged(name, "it is shorter than its header")
        }
        let counts = try Self.counts(bytes, name)
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 64)
        copy.copyMemory(from: bytes)
        memory = UnsafeRawBufferPointer(copy)
        isMapped = false
        self.name = name
        packCount = counts.packs
        frameCount = counts.frames
        chunkCount = counts.chunks
        baseCount = counts.bases
        framesStart = IndexFormat.headerSize + packCount * IndexFormat.packSize
        chunksStart = framesStart + frameCount * IndexFormat.frameSize
        basesStart = chunksStart + chunkCount * IndexFormat.chunkSize
    }

    deinit { Self.release(memory, mapped: isMapped) }

    package static let usuallyMappedFrom = 64 << 10

    private static func memory(
        of file: borrowing OwnedDescriptor, _ size: Int, _ path: String, mapped isMapped: Bool
    ) throws -> UnsafeRawBufferPointer {
        guard isMapped else {
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 64)
            do throws(SystemCallError) {
                // Shorter than it was a moment ago: what is missing is zero, which no index is.
                let count = try DescriptorIO.read(file.raw, at: 0, into: buffer, path)
                for position in count..<size { buffer[position] = 0 }
            } catch {
                buffer.deallocate()
                throw error
            }
            return UnsafeRawBufferPointer(buffer)
        }
        guard let mapped = mmap(nil, size, PROT_READ, MAP_PRIVATE, file.raw, 0), mapped != MAP_FAILED else {
            throw SystemCallError("map", path)
        }
        let memory = UnsafeRawBufferPointer(start: mapped, count: size)
        MappedPages.add(memory)
        return memory
    }

    private static func release(_ memory: UnsafeRawBufferPointer, mapped isMapped: Bool) {
        if isMapped {
            MappedPages.unmap(memory)
        } else {
            memory.deallocate()
        }
    }

    /// Gives the memory of mapped pages back; they are read again when they are touched.
    func forgetPages() {
        guard isMapped else { return }
        madvise(UnsafeMutableRawPointer(mutating: memory.baseAddress), memory.count, MADV_DONTNEED)
    }

    package var byteCount: Int { memory.count }

    private static func damaged(_ name: Digest, _ reason: String) -> LifeboatError {
        RepositoryError.damaged(RepositoryLayout.index(name).text, reason)
    }

    private static func counts(
        _ bytes: UnsafeRawBufferPointer, _ name: Digest
    ) throws -> (packs: Int, frames: Int, chunks: Int, bases: Int) {
        guard bytes[..<8].elementsEqual(IndexFormat.magic) else {
            throw damaged(name, "it is not an index of format 1")
        }
        func number(_ offset: Int) -> Int {
            Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        }
        let (packs, frames, chunks, bases) = (number(8), number(12), number(16), number(20))
        // Each factor is below 2^32 and each record below 2^6: no overflow in 64 bits.
        let expected =
            IndexFormat.headerSize + packs * IndexFormat.packSize + frames * IndexFormat.frameSize
            + chunks * IndexFormat.chunkSize + bases * IndexFormat.baseSize
        guard expected == bytes.count else { throw damaged(name, "its size is not what its header says") }
        return (packs, frames, chunks, bases)
    }

    private func number(_ offset: Int) -> UInt32 {
        UInt32(littleEndian: memory.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    private func digest(_ offset: Int) -> Digest {
        Digest(UnsafeRawBufferPointer(rebasing: memory[offset..<offset + 32]))
    }

    /// Digest and stored size of the pack at `position`.
    package func pack(_ position: Int) -> (name: Digest, storedSize: UInt64) {
        let offset = IndexFormat.headerSize + position * IndexFormat.packSize
        return (
            digest(offset), UInt64(littleEndian: memory.loadUnaligned(fromByteOffset: offset + 32, as: UInt64.self))
        )
    }

    /// First eight bytes of the id at `position`, as a number.
    private func prefix(_ position: Int) -> UInt64 {
        UInt64(
            bigEndian: memory.loadUnaligned(
                fromByteOffset: chunksStart + position * IndexFormat.chunkSize, as: UInt64.self))
    }

    /// Whether the id at `position`, which begins with `prefix`, is smaller: two that begin alike are told apart by the
    /// rest.
    private func isSmaller(_ position: Int, _ prefix: UInt64, _ id: Digest) -> Bool {
        prefix == id.prefix ? self.id(position) < id : prefix < id.prefix
    }

    package func chunkID(_ position: Int) -> Digest {
        noteReads(MappedPages.record)
        return id(position)
    }

    private func id(_ position: Int) -> Digest { digest(chunksStart + position * IndexFormat.chunkSize) }

    private func noteReads(_ reads: Int) {
        if isMapped { MappedPages.note(reads) }
    }

    /// Position of the first record of that id; nil when there is none.
    ///
    /// Ids are uniform, so the search interpolates: a few probes at any size.
    package func position(of id: Digest) -> Int? {
        noteReads(MappedPages.search)
        var low = 0
        var high = chunkCount
        let wanted = id.prefix
        var lowValue: UInt64 = 0
        var highValue = UInt64.max
        // Invariant: every record before `low` is smaller, every record from `high` on is not smaller.
        while high - low > 8 {
            let span = Double(highValue &- lowValue)
            // In an index whose ids are not in order the values say nothing: the guess has to stay inside.
            let fraction = span > 0 && wanted >= lowValue ? min(Double(wanted - lowValue) / span, 1) : 0.5
            // One step inside the range, so that it always shrinks.
            let guess = min(max(low + Int(fraction * Double(high - low)), low), high - 1)
            let value = prefix(guess)
            if isSmaller(guess, value, id) {
                low = guess + 1
                lowValue = value
                // A record just beyond often bounds the rest: probe a little to the right.
                let right = min(guess + 8, high - 1)
                if right >= low, !isSmaller(right, prefix(right), id) {
                    high = right + 1
                    highValue = prefix(right)
                    break
                }
            } else {
                high = guess
                highValue = value
                let left = max(guess - 8, low)
                if left < high, isSmaller(left, prefix(left), id) {
                    low = left + 1
                    lowValue = prefix(left)
                    break
                }
            }
        }
        // Binary search on whole ids over what is left (long only when prefixes repeat).
        while low < high {
            let middle = low + (high - low) / 2
            if self.id(middle) < id { low = middle + 1 } else { high = middle }
        }
        return low < chunkCount && self.id(low) == id ? low : nil
    }

    /// Positions of all records of that id, which stand side by side; empty when there is none.
    package func records(of id: Digest) -> Range<Int> {
        guard let first = position(of: id) else { return 0..<0 }
        var end = first + 1
        while end < chunkCount, self.id(end) == id { end += 1 }
        return first..<end
    }

    /// The location in the record at `position`; throws when the record points outside its tables.
    package func location(at position: Int) throws -> ChunkLocation {
        noteReads(MappedPages.record)
        let record = chunksStart + position * IndexFormat.chunkSize
        let frame = Int(number(record + 32))
        guard frame < frameCount else { throw Self.damaged(name, "chunk \(position) names a frame that is not there") }
        let frameRecord = framesStart + frame * IndexFormat.frameSize
        let packNumber = Int(number(frameRecord))
        guard packNumber < packCount else { throw Self.damaged(name, "frame \(frame) names a pack that is not there") }
        let location = ChunkLocation(
            pack: pack(packNumber).name, frameOffset: number(frameRecord + 4), frameLength: number(frameRecord + 8),
            framePlainLength: number(frameRecord + 12), offset: number(record + 36), length: number(record + 40),
            bases: try bases(at: position))
        guard UInt64(location.offset) + UInt64(location.length) <= UInt64(location.framePlainLength) else {
            throw Self.damaged(name, "chunk \(position) reaches beyond its frame")
        }
        return location
    }

    /// The bases of the chunk in the record at `position`; empty when it is stored whole. Throws when the record names
    /// one that is not there.
    package func bases(at position: Int) throws -> [Digest] {
        let field = number(chunksStart + position * IndexFormat.chunkSize + 44)
        guard field != 0 else { return [] }
        let first = Int(field & ~IndexFormat.secondBase) - 1
        let count = field & IndexFormat.secondBase == 0 ? 1 : 2
        guard first >= 0, first + count <= baseCount else {
            throw Self.damaged(name, "chunk \(position) names a base that is not there")
        }
        return (first..<first + count).map { digest(basesStart + $0 * IndexFormat.baseSize) }
    }

    /// The frame number and the place of the record at `position`; nil when the record is damaged.
    func frameNumber(at position: Int) -> Int? {
        let frame = Int(number(chunksStart + position * IndexFormat.chunkSize + 32))
        return frame < frameCount ? frame : nil
    }

    /// Pack number, offset, stored and decoded length of the frame at `position`.
    func frame(_ position: Int) -> (pack: Int, offset: UInt32, length: UInt32, plainLength: UInt32) {
        let record = framesStart + position * IndexFormat.frameSize
        return (Int(number(record)), number(record + 4), number(record + 8), number(record + 12))
    }

    /// The pack number of the record at `position`, for a quick test against a set; nil when the record is damaged.
    func packNumber(at position: Int) -> Int? {
        let frame = Int(number(chunksStart + position * IndexFormat.chunkSize + 32))
        guard frame < frameCount else { return nil }
        let pack = Int(number(framesStart + frame * IndexFormat.frameSize))
        return pack < packCount ? pack : nil
    }
}
