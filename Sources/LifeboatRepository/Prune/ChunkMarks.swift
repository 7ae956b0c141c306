// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// A fixed number of bits.
struct Bitmap: Sendable {
    private var words: [UInt64]

    init(count: Int) { words = [UInt64](repeating: 0, count: (count + 63) / 64) }

    subscript(position: Int) -> Bool {
        get { words[position >> 6] >> UInt64(position & 63) & 1 == 1 }
        set {
            if newValue {
                words[position >> 6] |= 1 << UInt64(position & 63)
            } else {
                words[position >> 6] &= ~(1 << UInt64(position & 63))
            }
        }
    }

    /// True when the bit was not set before.
    mutating func insert(_ position: Int) -> Bool {
        if self[position] { return false }
        self[position] = true
        return true
    }
}

/// Which records of all indexes hold chunks that some manifest needs: one bit a record. Used on one thread.
final class ChunkMarks {
    /// A chunk as its first record in the first index that has it: a number instead of a digest.
    struct Position: Hashable {
        var index: Int32
        var record: Int32
    }

    private(set) var indexes: IndexSet
    private var marked: [Bitmap]
    /// Bytes of marked chunks that are stored as deltas: indexes tell only those of the patches.
    private var lengths: [Position: UInt32] = [:]

    init(_ indexes: IndexSet) {
        self.indexes = indexes
        marked = indexes.all.map { Bitmap(count: $0.chunkCount) }
    }

    /// Marks every record of the chunk. Nil when no index has it; else its position.
    @discardableResult
    func mark(_ id: Digest) throws -> Position? {
        var first: Position?
        let all = indexes.all
        for number in try indexes.holders(of: id) {
            let index = all[number]
            guard let start = index.position(of: id) else { continue }
            if first == nil {
                first = Position(index: Int32(number), record: Int32(start))
                // All records of a chunk are marked together.
                if marked[number][start] { return first }
            }
            var record = start
            while record < index.chunkCount, index.chunkID(record) == id {
                marked[number][record] = true
                record += 1
            }
        }
        return first
    }

    func isMarked(_ index: Int, _ record: Int) -> Bool { marked[index][record] }

    /// Notes how many bytes a chunk has that was marked.
    func note(_ length: UInt64, of position: Position) throws {
        guard try !indexes.all[Int(position.index)].bases(at: Int(position.record)).isEmpty else { return }
        lengths[position] = UInt32(clamping: length)
    }

    /// What was noted of it.
    func length(of position: Position) -> UInt32? { lengths[position] }

    /// Adds an index that was not there before: its chunks that are marked already are marked in it too.
    func add(_ index: MappedIndex) throws {
        let all = indexes.all
        var marks = Bitmap(count: index.chunkCount)
        for record in 0..<index.chunkCount {
            let id = index.chunkID(record)
            marks[record] = try indexes.holders(of: id).contains { number in
                all[number].position(of: id).map { marked[number][$0] } ?? false
            }
        }
        indexes.add(index)
        marked.append(marks)
    }
}

/// The records of all indexes in ascending order of chunk id: equal ids come together, whatever index they are in.
struct MergedRecords {
    struct Record {
        var index: Int
        var position: Int
    }

    private let indexes: [MappedIndex]
    /// A binary heap of cursors, smallest id first, then lowest index.
    private var heap: [(id: Digest, index: Int, position: Int)] = []

    init(_ indexes: [MappedIndex]) {
        self.indexes = indexes
        for (number, index) in indexes.enumerated() where index.chunkCount > 0 {
            heap.append((index.chunkID(0), number, 0))
        }
        heap.sort { ($0.id, $0.index) < ($1.id, $1.index) }
    }

    /// The next chunk and all its records; nil at the end. `records` is reused.
    mutating func next(_ records: inout [Record]) -> Digest? {
        records.removeAll(keepingCapacity: true)
        guard let id = heap.first?.id else { return nil }
        while let top = heap.first, top.id == id {
            records.append(Record(index: top.index, position: top.position))
            advanceTop()
        }
        return id
    }

    private mutating func advanceTop() {
        let top = heap[0]
        let next = top.position + 1
        if next < indexes[top.index].chunkCount {
            heap[0] = (indexes[top.index].chunkID(next), top.index, next)
        } else {
            heap[0] = heap[heap.count - 1]
            heap.removeLast()
        }
        var parent = 0
        while true {
            let left = 2 * parent + 1
            guard left < heap.count else { return }
            let right = left + 1
            let child = right < heap.count && isBefore(right, left) ? right : left
            guard isBefore(child, parent) else { return }
            heap.swapAt(child, parent)
            parent = child
        }
    }

    private func isBefore(_ left: Int, _ right: Int) -> Bool {
        let (left, right) = (heap[left], heap[right])
        return left.id == right.id ? left.index < right.index : left.id < right.id
    }
}
