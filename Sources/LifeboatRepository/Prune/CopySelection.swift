// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatStorage

/// A record of an index: one copy of a chunk.
struct CopyPlace: Hashable, Sendable {
    var index: Int32
    var record: Int32
}

/// Which copies of the needed chunks are kept, and what could be stored in less space.
struct CopySelection {
    /// Per index, per record: the copy is kept.
    var kept: [Bitmap] = []
    /// Per index, per frame: bytes of decoded members that are kept.
    var neededPlain: [[UInt32]] = []
    /// Whole copies in condemned packs that have to be copied: of their chunks there is nothing anywhere else.
    var moves: [CopyPlace] = []
    /// Chunks that are or rest on deltas, and the choice among their copies.
    var graph = DeltaGraph()
    /// A copy of each chunk in `graph`: for its id.
    var places: [CopyPlace] = []
    /// Of the chunks in `graph`.
    var choice: DeltaChoice
    var families: [DeltaFamily] = []

    init() { choice = DeltaChoice(graph) }

    /// Chunks to store anew, and as what: see `ChunkRewriter`.
    func rewrites(_ families: [DeltaFamily]) -> [Int] {
        var chunks = Set(families.flatMap(\.members))
        for chunk in 0..<graph.chunkCount where graph.chunks[chunk].isLive && !choice.isReliable(chunk) {
            // What has a whole copy in a condemned pack is copied as it is.
            if choice.chosen[chunk] >= 0, !graph.copies[Int(choice.chosen[chunk])].isWhole { chunks.insert(chunk) }
        }
        // Whatever a chunk rests on comes before it.
        return chunks.sorted { (choice.depth[$0], $0) < (choice.depth[$1], $1) }
    }
}

/// Live chunks that are deltas of dead ones, and those dead ones: stored again without them, they may take less.
struct DeltaFamily: Sendable {
    /// The live chunks, by their numbers in the graph.
    var members: [Int] = []
    /// Stored bytes of all.
    var bytes: UInt64 = 0
    /// Stored bytes that would be free, by estimate.
    var excess: UInt64 = 0

    var share: Double { Double(excess) / Double(max(1, bytes)) }
}

/// Makes selections. Used on one thread.
struct CopySelector {
    let survey: PruneSurvey

    private var indexes: [MappedIndex]
    private var selection = CopySelection()
    /// Per pack: bytes of live copies in it, for choosing between equal copies.
    private var potential: [UInt64]
    /// By the position of a chunk: its number in the graph.
    private var numbers: [ChunkMarks.Position: Int] = [:]
    private var open: [Int] = []

    init(_ survey: PruneSurvey) {
        self.survey = survey
        indexes = survey.indexes.all
        potential = [UInt64](repeating: 0, count: survey.packs.count)
        selection.kept = indexes.map { Bitmap(count: $0.chunkCount) }
        selection.neededPlain = indexes.map { [UInt32](repeating: 0, count: $0.frameCount) }
    }

    /// Throws when a chunk that a manifest needs cannot be had.
    mutating func select() throws -> CopySelection {
        defer { for index in indexes { index.forgetPages() } }
        for (number, index) in indexes.enumerated() {
            for record in 0..<index.chunkCount where survey.live.isMarked(number, record) {
                guard let pack = try pack(number, record) else { continue }
                potential[pack] += UInt64(try index.location(at: record).length)
            }
            index.forgetPages()
        }
        try settleWholeChunks()
        try followDeltas()
        selection.choice = DeltaChoice(selection.graph)
        for copy in selection.choice.keptCopies {
            keep(Int(selection.graph.copies[copy].first), Int(selection.graph.copies[copy].second))
        }
        try findLost()
        selection.families = DeltaFamilies(selection.graph, selection.choice).all
        return selection
    }

    /// The pack of a record that counts; nil when the pack is not there, or another index tells of it.
    private func pack(_ index: Int, _ record: Int) throws -> Int? {
        guard let number = indexes[index].packNumber(at: record) else {
            throw RepositoryError.damaged(
                RepositoryLayout.index(indexes[index].name).text, "chunk \(record) points outside its tables")
        }
        let pack = survey.packNumbers[index][number]
        return survey.packs[pack].size != nil && survey.owners[pack] == index ? pack : nil
    }

    private mutating func keep(_ index: Int, _ record: Int) {
        guard selection.kept[index].insert(record), let frame = indexes[index].frameNumber(at: record),
            let length = try? indexes[index].location(at: record).length
        else { return }
        let size = UInt32(TarMemberWriter.memberSize(dataSize: Int(length)))
        let sum = selection.neededPlain[index][frame].addingReportingOverflow(size)
        selection.neededPlain[index][frame] = sum.overflow ? .max : sum.partialValue
    }

    /// Live chunks with a whole copy that is not condemned, and no delta that is not: one such copy is kept. The others go
    /// into the graph.
    private mutating func settleWholeChunks() throws {
        var merged = MergedRecords(indexes)
        var records: [MergedRecords.Record] = []
        var walked = 0
        while let id = merged.next(&records) {
            walked += 1
            if walked.isMultiple(of: Self.recordsInMemory) { for index in indexes { index.forgetPages() } }
            guard survey.live.isMarked(records[0].index, records[0].position) else { continue }
            var candidates: [PruneRules.Candidate] = []
            var places: [MergedRecords.Record] = []
            for record in records where try indexes[record.index].bases(at: record.position).isEmpty {
                guard let pack = try pack(record.index, record.position) else { continue }
                candidates.append(
                    PruneRules.Candidate(
                        name: survey.packs[pack].name, isPresent: true, isCondemned: survey.packs[pack].isCondemned,
                        neededBytes: potential[pack]))
                places.append(record)
            }
            if candidates.contains(where: { !$0.isCondemned }), try !hasUnmarkedDelta(records) {
                for choice in PruneRules.keepers(among: candidates) {
                    keep(places[choice].index, places[choice].position)
                }
            } else {
                _ = try number(of: id, records.map { ($0.index, $0.position) })
            }
        }
    }

    /// A delta of the chunk may take less than the whole: the graph decides.
    private func hasUnmarkedDelta(_ records: [MergedRecords.Record]) throws -> Bool {
        guard records.count > 1 else { return false }
        return try records.contains { record in
            guard try !indexes[record.index].bases(at: record.position).isEmpty,
                let pack = try pack(record.index, record.position)
            else { return false }
            return !survey.packs[pack].isCondemned
        }
    }

    /// Chunks in the order of their ids, so of all indexes by turns, after which their pages are given back.
    private static let recordsInMemory = 524_288

    /// The chunk's number in the graph; adds it, to be followed, when it is not there.
    private mutating func number(of id: Digest, _ records: [(index: Int, record: Int)]) throws -> Int {
        guard let first = records.first else { return try missing(id) }
        let position = ChunkMarks.Position(index: Int32(first.index), record: Int32(first.record))
        if let known = numbers[position] { return known }
        let isLive = survey.live.isMarked(first.index, first.record)
        // One that was settled: it is live, and one of its copies is kept already.
        let isSettled = isLive && records.contains { selection.kept[$0.index][$0.record] }
        let number = selection.graph.addChunk(isLive: isLive, isSettled: isSettled)
        selection.places.append(CopyPlace(index: position.index, record: position.record))
        numbers[position] = number
        if let length = survey.live.length(of: position) { selection.graph.setLength(length, of: number) }
        if !isSettled { open.append(number) }
        return number
    }

    /// A base that no index has: deltas of it cannot be decoded.
    private mutating func missing(_ id: Digest) throws -> Int {
        selection.places.append(CopyPlace(index: -1, record: -1))
        return selection.graph.addChunk(isLive: false)
    }

    private func records(of id: Digest) throws -> [(index: Int, record: Int)] {
        try survey.indexes.holders(of: id).flatMap { number in
            indexes[number].records(of: id).map { (number, $0) }
        }
    }

    /// Adds all copies of the chunks in the graph, and the chunks those rest on.
    private mutating func followDeltas() throws {
        while let chunk = open.popLast() {
            let place = selection.places[chunk]
            let id = indexes[Int(place.index)].chunkID(Int(place.record))
            for (index, record) in try records(of: id) {
                guard let pack = try pack(index, record), let frame = indexes[index].frameNumber(at: record) else {
                    continue
                }
                var bases: [Int] = []
                for base in try indexes[index].bases(at: record) {
                    bases.append(try number(of: base, records(of: base)))
                }
                let location = try indexes[index].location(at: record)
                let plain = TarMemberWriter.memberSize(dataSize: Int(location.length))
                if bases.isEmpty { selection.graph.setLength(location.length, of: chunk) }
                selection.graph.addCopy(
                    of: chunk, first: Int32(index), second: Int32(record),
                    length: UInt32(clamping: indexes[index].storedShare(ofFrame: frame, plain: UInt64(plain))),
                    isMarked: survey.packs[pack].isCondemned, bases: bases)
            }
        }
        for index in indexes { index.forgetPages() }
    }

    /// What cannot be decoded stops the prune; what only condemned packs hold whole has to move.
    private mutating func findLost() throws {
        for chunk in 0..<selection.graph.chunkCount
        where selection.graph.chunks[chunk].isLive && !selection.choice.isReliable(chunk) {
            let place = selection.places[chunk]
            guard selection.choice.isDecodable(chunk) else {
                let id = indexes[Int(place.index)].chunkID(Int(place.record))
                let packs = try records(of: id).compactMap { index, record in
                    try indexes[index].location(at: record).pack
                }
                throw LifeboatError(
                    "chunk '\(id.shortHex)' is needed by a snapshot, and the pack that holds it or what it is a delta "
                        + "of is missing or cut short",
                    causes: Set(packs).map { RepositoryLayout.pack($0).text }.sorted(),
                    hint: "Run 'lifeboat check'; prune deletes nothing until the repository is sound.",
                    exitCode: .damagedRepository)
            }
            let copy = selection.graph.copies[Int(selection.choice.chosen[chunk])]
            if copy.isWhole { selection.moves.append(CopyPlace(index: copy.first, record: copy.second)) }
        }
    }
}

extension MappedIndex {
    /// What `plain` bytes of the decoded frame take of its stored bytes, rounded up.
    func storedShare(ofFrame number: Int, plain: UInt64) -> UInt64 {
        let frame = frame(number)
        guard plain < UInt64(frame.plainLength) else { return UInt64(frame.length) }
        // Both factors are below 2^32.
        return (UInt64(frame.length) * plain + UInt64(frame.plainLength) - 1) / UInt64(frame.plainLength)
    }
}
