// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// Holds indexes against what packs really have. Thread-safe.
struct IndexAudit: Sendable {
    /// What one index says of one pack.
    struct Finding: Sendable, Equatable {
        var index: Digest
        /// A record places a chunk where the pack does not have it, or names a size the pack does not have.
        var isWrong: Bool
        /// Every chunk of the pack has its record.
        var isComplete: Bool
        /// The index tells all of the pack, and nothing else of it.
        var isRight: Bool { !isWrong && isComplete }
    }

    private let indexes: [MappedIndex]
    /// Per index, per pack number: records that point into the pack.
    private let recordCounts: [[Int]]
    private let mentions: [Digest: [(index: Int, pack: Int)]]

    /// Reads every record of the indexes once; they must have passed `structuralProblem`. Of mapped indexes no more
    /// stays in memory than what is in use.
    init(_ indexes: [MappedIndex]) {
        self.indexes = indexes
        var mentions: [Digest: [(index: Int, pack: Int)]] = [:]
        recordCounts = indexes.enumerated().map { number, index in
            var counts = Array(repeating: 0, count: index.packCount)
            for position in 0..<index.chunkCount {
                if let pack = index.packNumber(at: position) { counts[pack] += 1 }
            }
            for pack in 0..<index.packCount { mentions[index.pack(pack).name, default: []].append((number, pack)) }
            index.forgetPages()
            return counts
        }
        self.mentions = mentions
    }

    /// Whether some index names the pack, and all that do with this size.
    func isNamed(_ pack: Digest, size: UInt64) -> Bool {
        guard let mentions = mentions[pack] else { return false }
        return mentions.allSatisfy { indexes[$0.index].pack($0.pack).storedSize == size }
    }

    /// The most records that one of the indexes has of the pack.
    func recordCount(of pack: Digest) -> Int {
        (mentions[pack] ?? []).map { recordCounts[$0.index][$0.pack] }.max() ?? 0
    }

    /// What each index that names the pack has to do with what is in it.
    func findings(on contents: PackContents) throws -> [Finding] {
        try (mentions[contents.name] ?? []).map { mention in
            let index = indexes[mention.index]
            defer { index.forgetPages() }
            var right = 0
            var isComplete = true
            for position in contents.chunks.indices {
                let matching = try index.count(of: contents.chunks[position].id, at: contents.location(at: position))
                right += matching
                if matching == 0 { isComplete = false }
            }
            let isWrong =
                index.pack(mention.pack).storedSize != contents.storedSize
                || right != recordCounts[mention.index][mention.pack]
            return Finding(index: index.name, isWrong: isWrong, isComplete: isComplete)
        }
    }
}

extension MappedIndex {
    /// Records of that chunk at exactly that place.
    func count(of id: Digest, at location: ChunkLocation) throws -> Int {
        guard var position = position(of: id) else { return 0 }
        var count = 0
        while position < chunkCount, chunkID(position) == id {
            if try self.location(at: position) == location { count += 1 }
            position += 1
        }
        return count
    }

    /// What is wrong with the tables as such; nil when every record can be followed and found.
    package func structuralProblem() throws -> String? {
        for number in 0..<frameCount where frame(number).pack >= packCount { return "frame \(number) names no pack" }
        for position in 0..<chunkCount {
            let location: ChunkLocation
            do {
                location = try self.location(at: position)
            } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                return error.summary
            }
            if position > 0, chunkID(position) < chunkID(position - 1) { return "its chunks are not in order" }
            guard let pack = packNumber(at: position) else { return "chunk \(position) names no pack" }
            guard UInt64(location.frameOffset) + UInt64(location.frameLength) <= self.pack(pack).storedSize else {
                return "chunk \(position) lies in a frame beyond the end of its pack"
            }
        }
        return nil
    }
}
