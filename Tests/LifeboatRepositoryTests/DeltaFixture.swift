// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatRepository
import LifeboatTesting

extension RepositoryFixture {
    /// Chunks of 64 KiB about, so that a content of a few megabytes has many.
    static let deltaChunker = ChunkerParameters(minimum: 16 << 10, average: 64 << 10, maximum: 256 << 10)

    /// Stores a content that grew from `parent`, as a backup of the next day does.
    func store(
        _ content: [UInt8], parent: ContentReference?
    ) throws -> (reference: ContentReference, statistics: WriterStatistics) {
        let writer = try RepositoryWriter(repository, Self.settings)
        do {
            let target = writer.makeContentWriter()
            if let parent { target.beginContent(parent: parent, ChunkReader(repository, writer.parentIndexes)) }
            try content.withUnsafeBytes { try target.append($0) }
            let pending = try target.endContent()
            target.flush()
            let reference = try writer.reference(to: pending)
            return (reference, try writer.finish())
        } catch {
            writer.abandon()
            throw error
        }
    }

    /// The ids of the chunks of a content, in its order.
    func chunks(of reference: ContentReference) throws -> [Digest] {
        let sequence = try ChunkSequence(ChunkReader(repository, try repository.openIndexes()), reference)
        var ids: [Digest] = []
        while let chunk = try sequence.next() { ids.append(chunk.id) }
        return ids
    }

    /// What a full check finds.
    func findings() throws -> [String] {
        try RepositoryChecker(
            repository, threads: 1, progress: SilentProgress(), cancellation: Cancellation()
        ).run(readData: true).problems.map { "\($0.object): \($0.reason)" }
    }
}

/// A table as a dump has it: rows of text that compress to about a third.
struct DeltaTable {
    private(set) var rows: [[UInt8]] = []
    private var random: SplitMix64
    private var nextRow = 0

    init(rows count: Int, seed: UInt64) {
        random = SplitMix64(seed: seed)
        rows = (0..<count).map { _ in row() }
    }

    var bytes: [UInt8] { Array(rows.joined()) }

    private mutating func row() -> [UInt8] {
        nextRow += 1
        let words = (0..<Int.random(in: 20...60, using: &random)).map { _ in
            String(UInt32.random(in: 0..<60_000, using: &random), radix: 36)
        }
        return Array("\(nextRow)\t\(words.joined(separator: " "))\n".utf8)
    }

    /// Changes a share of all rows where they are, each to a row of another length.
    mutating func change(share: Double) {
        for _ in 0..<Int(Double(rows.count) * share) { rows[Int.random(in: rows.indices, using: &random)] = row() }
    }

    /// Takes rows out all over the table and puts as many others at its end, as an update of PostgreSQL does.
    mutating func move(share: Double) {
        let count = Int(Double(rows.count) * share)
        for _ in 0..<count { rows.remove(at: Int.random(in: rows.indices, using: &random)) }
        for _ in 0..<count { rows.append(row()) }
    }

    mutating func insert(_ count: Int, at position: Int) {
        rows.insert(contentsOf: (0..<count).map { _ in row() }, at: position)
    }

    mutating func remove(_ count: Int, at position: Int) { rows.removeSubrange(position..<position + count) }
}
