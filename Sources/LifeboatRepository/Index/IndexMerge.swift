// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// Writes a `MergedIndex` over index files of the local cache.
///
/// A merge of sorted runs: n chunks in k indexes take n · log k comparisons, and every table is read and written once,
/// front to back. Memory is bounded (`memory`), whatever n and k: each index has an equal share of it for the records
/// that come next. No file stays open, so that k may exceed the limit of open files.
struct IndexMerge: ~Copyable {
    /// An index file that was found sound.
    struct Input {
        var name: Digest
        var path: String
        var packs: Int
        var frames: Int
        var chunks: Int
        var bases: Int
    }

    /// Bytes for records that were read ahead, and what is read or written at once.
    private static let memory = 12 << 20
    private static let blockSize = 256 << 10
    /// Records that each index has room for at least.
    private static let minimumAhead = 8

    private let inputs: [Input]
    private let file: OwnedDescriptor
    private let path: String
    private var hasher = BLAKE3Hasher()
    private let output: UnsafeMutableRawBufferPointer
    private var used = 0

    /// Writes the merge of `inputs` as the new file `path`, which must not be there; gives its digest. Nil when it would
    /// have more records than its fields can count.
    static func write(_ inputs: [Input], to path: String) throws -> Digest? {
        let limit = Int(Int32.max)
        let totals = inputs.reduce(into: (packs: 0, frames: 0, chunks: 0, bases: 0)) { totals, input in
            totals.packs += input.packs
            totals.frames += input.frames
            totals.chunks += input.chunks
            totals.bases += input.bases
        }
        guard totals.packs < limit, totals.frames < limit, totals.chunks < limit, totals.bases < limit else {
            return nil
        }
        var merge = try IndexMerge(inputs.sorted { $0.name < $1.name }, path)
        try merge.putHeader(totals.packs, totals.frames, totals.chunks, totals.bases)
        try merge.copyPacks()
        try merge.copyFrames()
        try merge.mergeChunks()
        try merge.copyBases()
        try merge.flush()
        return merge.hasher.finalize()
    }

    private init(_ inputs: [Input], _ path: String) throws {
        self.inputs = inputs
        self.path = path
        file = try OwnedDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW)
        output = .allocate(byteCount: Self.blockSize, alignment: 64)
    }

    deinit { output.deallocate() }

    // MARK: - Output

    private mutating func flush() throws {
        let bytes = UnsafeRawBufferPointer(rebasing: output[..<used])
        hasher.update(bytes)
        try DescriptorIO.write(file.raw, bytes, path)
        used = 0
    }

    /// Room for `count` bytes, at most a block.
    private mutating func room(_ count: Int) throws -> UnsafeMutableRawBufferPointer {
        if used + count > output.count { try flush() }
        defer { used += count }
        return UnsafeMutableRawBufferPointer(rebasing: output[used..<used + count])
    }

    private mutating func putHeader(_ packs: Int, _ frames: Int, _ chunks: Int, _ bases: Int) throws {
        let header = try room(IndexFormat.headerSize)
        header.initializeMemory(as: UInt8.self, repeating: 0)
        header.copyBytes(from: MergedIndex.magic)
        for (number, count) in [packs, frames, chunks, bases, inputs.count].enumerated() {
            header.storeBytes(of: UInt32(count).littleEndian, toByteOffset: 8 + 4 * number, as: UInt32.self)
        }
        for input in inputs {
            let source = try room(MergedIndex.sourceSize)
            input.name.copyBytes(to: source)
            for (number, count) in [input.packs, input.frames, input.chunks, input.bases].enumerated() {
                source.storeBytes(of: UInt32(count).littleEndian, toByteOffset: 32 + 4 * number, as: UInt32.self)
            }
        }
    }

    // MARK: - Tables

    private static func read(_ path: String, at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        guard try DescriptorIO.read(file.raw, at: UInt64(offset), into: buffer, path) == buffer.count else {
            throw SystemCallError("read", path, errorNumber: EIO)
        }
    }

    /// Copies a table of every index, `adding` to the number that each record begins with, if it does.
    private mutating func copyTable(
        _ recordSize: Int, _ place: (Input) -> (start: Int, count: Int), adding: ((Input) -> Int)? = nil
    ) throws {
        var added = 0
        for input in inputs {
            let (start, count) = place(input)
            let atOnce = Self.blockSize / recordSize
            var done = 0
            while done < count {
                let records = min(atOnce, count - done)
                let target = try room(records * recordSize)
                try Self.read(input.path, at: start + done * recordSize, into: target)
                if adding != nil {
                    for record in 0..<records { Self.add(added, to: target, at: record * recordSize) }
                }
                done += records
            }
            added += adding?(input) ?? 0
        }
    }

    /// Wraps where the index is damaged: whoever reads the record checks it against its table.
    private static func add(_ number: Int, to records: UnsafeMutableRawBufferPointer, at offset: Int) {
        let old = UInt32(littleEndian: records.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        let new = old &+ UInt32(truncatingIfNeeded: number)
        records.storeBytes(of: new.littleEndian, toByteOffset: offset, as: UInt32.self)
    }

    private static func framesStart(_ input: Input) -> Int {
        IndexFormat.headerSize + input.packs * IndexFormat.packSize
    }

    private static func chunksStart(_ input: Input) -> Int { framesStart(input) + input.frames * IndexFormat.frameSize }

    private mutating func copyPacks() throws {
        try copyTable(IndexFormat.packSize, { (IndexFormat.headerSize, $0.packs) })
    }

    private mutating func copyFrames() throws {
        try copyTable(IndexFormat.frameSize, { (Self.framesStart($0), $0.frames) }, adding: { $0.packs })
    }

    private mutating func copyBases() throws {
        try copyTable(
            IndexFormat.baseSize, { (Self.chunksStart($0) + $0.chunks * IndexFormat.chunkSize, $0.bases) })
    }

    // MARK: - Chunks

    /// The records of one index that come next.
    private struct Run {
        var input: Int
        /// First frame and base of the index among those of all.
        var frame: Int
        var base: Int
        /// Records that were not read yet.
        var next: Int
        /// Records in its share of the memory, and the first that was not taken.
        var held = 0
        var taken = 0
    }

    private mutating func mergeChunks() throws {
        let share = max(Self.minimumAhead, Self.memory / IndexFormat.chunkSize / max(1, inputs.count))
        let size = IndexFormat.chunkSize
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: share * size * max(1, inputs.count), alignment: 64)
        defer { memory.deallocate() }
        var runs: [Run] = []
        var frame = 0
        var base = 0
        for (number, input) in inputs.enumerated() {
            runs.append(Run(input: number, frame: frame, base: base, next: 0))
            frame += input.frames
            base += input.bases
        }
        var heap = Heap(memory, share)
        for number in runs.indices {
            if try fill(&runs[number], memory, share) { heap.push(number, record: 0) }
        }
        while let top = heap.first {
            let offset = (top.run * share + top.record) * size
            let target = try room(size)
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory[offset..<offset + size]))
            Self.add(runs[top.run].frame, to: target, at: 32)
            if target.loadUnaligned(fromByteOffset: 44, as: UInt32.self) != 0 {
                Self.add(runs[top.run].base, to: target, at: 44)
            }
            runs[top.run].taken += 1
            if runs[top.run].taken == runs[top.run].held, try !fill(&runs[top.run], memory, share) {
                heap.removeFirst()
            } else {
                heap.replaceFirst(record: runs[top.run].taken)
            }
        }
    }

    /// Reads on; false at the end.
    private func fill(_ run: inout Run, _ memory: UnsafeMutableRawBufferPointer, _ share: Int) throws -> Bool {
        let input = inputs[run.input]
        let size = IndexFormat.chunkSize
        run.taken = 0
        run.held = min(share, input.chunks - run.next)
        guard run.held > 0 else { return false }
        let start = run.input * share * size
        try Self.read(
            input.path, at: Self.chunksStart(input) + run.next * size,
            into: UnsafeMutableRawBufferPointer(rebasing: memory[start..<start + run.held * size]))
        run.next += run.held
        return true
    }

    /// Runs by the id of their next record, smallest first, then by number.
    private struct Heap {
        struct Item {
            /// First eight bytes of the id: seldom are two the same.
            var prefix: UInt64
            var run: Int
            var record: Int
        }

        private let memory: UnsafeMutableRawBufferPointer
        private let share: Int
        private var items: [Item] = []

        init(_ memory: UnsafeMutableRawBufferPointer, _ share: Int) {
            self.memory = memory
            self.share = share
        }

        var first: Item? { items.first }

        private func item(_ run: Int, _ record: Int) -> Item {
            let offset = (run * share + record) * IndexFormat.chunkSize
            return Item(
                prefix: UInt64(bigEndian: memory.loadUnaligned(fromByteOffset: offset, as: UInt64.self)), run: run,
                record: record)
        }

        private func id(_ item: Item) -> Digest {
            let offset = (item.run * share + item.record) * IndexFormat.chunkSize
            return Digest(UnsafeRawBufferPointer(rebasing: memory[offset..<offset + 32]))
        }

        private func isBefore(_ left: Item, _ right: Item) -> Bool {
            if left.prefix != right.prefix { return left.prefix < right.prefix }
            let (leftID, rightID) = (id(left), id(right))
            return leftID == rightID ? left.run < right.run : leftID < rightID
        }

        mutating func push(_ run: Int, record: Int) {
            let new = item(run, record)
            var hole = items.count
            items.append(new)
            while hole > 0, isBefore(new, items[(hole - 1) / 2]) {
                items[hole] = items[(hole - 1) / 2]
                hole = (hole - 1) / 2
            }
            items[hole] = new
        }

        /// The first run goes on with `record`.
        mutating func replaceFirst(record: Int) { sink(item(items[0].run, record)) }

        mutating func removeFirst() {
            let last = items.removeLast()
            if !items.isEmpty { sink(last) }
        }

        /// Puts `new` in the place of the first.
        private mutating func sink(_ new: Item) {
            var hole = 0
            while true {
                var child = 2 * hole + 1
                guard child < items.count else { break }
                if child + 1 < items.count, isBefore(items[child + 1], items[child]) { child += 1 }
                guard isBefore(items[child], new) else { break }
                items[hole] = items[child]
                hole = child
            }
            items[hole] = new
        }
    }
}
