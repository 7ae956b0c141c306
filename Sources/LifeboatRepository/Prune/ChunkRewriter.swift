// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// Stores chunks anew that are deltas of chunks no snapshot needs any more: whole, or as deltas of chunks that are
/// needed. Nothing is marked or deleted by it: the old copies are unused once the new ones are in an index.
final class ChunkRewriter {
    private let survey: PruneSurvey
    private let graph: DeltaGraph
    private let choice: DeltaChoice
    private let cancellation: Cancellation
    private let progress: any ProgressSink
    private let maximumChunk: Int
    private let output: PackOutput
    private let encoder: FrameEncoder
    private let reader: ChunkReader
    private let compressor: ZstdDeltaCompressor
    private let wholeCompressor: ZstdCompressor
    private let decompressor: ZstdDecompressor
    private let prefix, patch, undone: UnsafeMutableRawBufferPointer

    /// Chunks that were stored anew, and how many deltas have to be undone for each.
    private var depths: [Int: Int] = [:]
    /// What those are deltas of now.
    private var bases: [Int: [Int]] = [:]
    /// Dead chunks: the live one that a delta of it can be made against from now on.
    private var successors: [Int: Int] = [:]

    struct Result {
        var packs: [PackContents] = []
        /// Chunks that cannot be read; they stay as they are.
        var problems: [LifeboatError] = []
    }

    init(
        _ repository: Repository, _ survey: PruneSurvey, cancellation: Cancellation, progress: any ProgressSink
    ) throws {
        self.survey = survey
        graph = survey.selection.graph
        choice = survey.selection.choice
        self.cancellation = cancellation
        self.progress = progress
        maximumChunk = repository.config.chunker.maximum
        output = PackOutput(repository)
        let settings = WriterSettings(workers: 1, contentWriters: 1)
        encoder = try FrameEncoder(
            repository.config.chunker, level: settings.compressionLevel, groupLevel: settings.groupCompressionLevel)
        reader = ChunkReader(repository, survey.indexes)
        compressor = try ZstdDeltaCompressor()
        wholeCompressor = try ZstdCompressor(level: settings.compressionLevel)
        decompressor = try ZstdDecompressor()
        prefix = .allocate(byteCount: maximumChunk, alignment: 64)
        patch = .allocate(byteCount: ZstdCompressor.bound(maximumChunk), alignment: 64)
        undone = .allocate(byteCount: maximumChunk, alignment: 64)
    }

    deinit {
        prefix.deallocate()
        patch.deallocate()
        undone.deallocate()
    }

    /// `chunks` are live, and in such an order that each comes after what it rests on.
    func run(_ chunks: [Int]) throws -> Result {
        var result = Result()
        encoder.begin()
        result.packs = try output.fill {
            for (number, chunk) in chunks.enumerated() {
                try cancellation.check()
                var counters = ProgressCounters()
                counters.filesDone = UInt64(number)
                counters.filesTotal = UInt64(chunks.count)
                progress.report(.counters(counters))
                do {
                    try rewrite(chunk)
                } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                    result.problems.append(error)
                }
            }
            try flush()
        }
        return result
    }

    private func flush() throws {
        guard !encoder.members.isEmpty else { return }
        try output.append(encoder.finish(), plainLength: encoder.plainLength, members: encoder.members)
        encoder.begin()
    }

    private func id(of chunk: Int) -> Digest {
        let place = survey.selection.places[chunk]
        return survey.indexes.all[Int(place.index)].chunkID(Int(place.record))
    }

    private func rewrite(_ chunk: Int) throws {
        let id = id(of: chunk)
        try reader.withChunk(id) { data in
            guard data.count <= maximumChunk else {
                throw RepositoryError.damaged("chunk \(id.shortHex)", "it is longer than a chunk may be")
            }
            var best: (bases: [Int], length: Int)?
            for bases in candidates(for: chunk) where best == nil {
                if let length = try delta(of: data, id, bases) { best = (bases, length) }
            }
            if let best {
                if !encoder.fits(best.length) { try flush() }
                try encoder.append(
                    patch: UnsafeRawBufferPointer(rebasing: patch[..<best.length]), of: id,
                    bases: best.bases.map { self.id(of: $0) }, plainLength: data.count)
                depths[chunk] = 1 + (best.bases.map(depth).max() ?? 0)
                bases[chunk] = best.bases
            } else {
                if !encoder.fits(data.count) { try flush() }
                try encoder.append(data, id)
                depths[chunk] = 0
            }
        }
        for base in graph.bases(of: Int(choice.chosen[chunk])) { succeed(base, by: chunk) }
    }

    /// The dead chunks that the chunk rested on have a live one in their place now.
    private func succeed(_ dead: Int, by chunk: Int) {
        guard !graph.chunks[dead].isLive, successors[dead] == nil else { return }
        successors[dead] = chunk
        guard choice.chosen[dead] >= 0 else { return }
        for base in graph.bases(of: Int(choice.chosen[dead])) { succeed(base, by: chunk) }
    }

    private func depth(_ chunk: Int) -> Int { depths[chunk] ?? Int(choice.depth[chunk]) }

    /// Bases to try, best first: none that rests on the chunk, since each is decoded before it.
    private func candidates(for chunk: Int) -> [[Int]] {
        var bases: [Int] = []
        for base in graph.bases(of: Int(choice.chosen[chunk])) {
            for live in usable(base) where live != chunk && !bases.contains(live) { bases.append(live) }
        }
        let pair = Array(bases.prefix(IndexFormat.maximumBases))
        return pair.count > 1 ? [pair] + pair.map { [$0] } : pair.isEmpty ? [] : [pair]
    }

    /// The chunk, or what stands in its place; when its chain is as long as it may be, what it rests on.
    private func usable(_ chunk: Int) -> [Int] {
        living(chunk).flatMap { live in
            // One that could not be stored anew rests on what it rested on before: so may this one.
            guard depth(live) >= DeltaChunks.maximumDepth else { return [live] }
            return (bases[live] ?? graph.bases(of: Int(choice.chosen[live]))).flatMap(usable)
        }
    }

    /// The chunk itself when it is live; else what stands in its place; else what it was a delta of.
    private func living(_ chunk: Int) -> [Int] {
        if graph.chunks[chunk].isLive { return [chunk] }
        if let successor = successors[chunk] { return [successor] }
        guard choice.chosen[chunk] >= 0 else { return [] }
        return graph.bases(of: Int(choice.chosen[chunk])).flatMap(living)
    }

    /// Length of the patch in `patch`; nil when it is not worth it.
    private func delta(of data: UnsafeRawBufferPointer, _ id: Digest, _ bases: [Int]) throws -> Int? {
        var end = 0
        for base in bases {
            let fits = try reader.withChunk(self.id(of: base)) { bytes in
                guard bytes.count <= prefix.count - end else { return false }
                UnsafeMutableRawBufferPointer(rebasing: prefix[end...]).copyMemory(from: bytes)
                end += bytes.count
                return true
            }
            guard fits else { return nil }
        }
        let base = UnsafeRawBufferPointer(rebasing: prefix[..<end])
        let limit = try wholeSize(of: data) / DeltaChunks.worthwhileDivisor
        guard
            let length = try compressor.compressIfFits(
                data, base: base, into: UnsafeMutableRawBufferPointer(rebasing: patch[..<limit]))
        else { return nil }
        let target = UnsafeMutableRawBufferPointer(rebasing: undone[..<data.count])
        try decompressor.decompress(
            UnsafeRawBufferPointer(rebasing: patch[..<length]), base: base, into: target)
        guard BLAKE3.hash(UnsafeRawBufferPointer(target)) == id else { throw LifeboatError.notComingBack(id) }
        return length
    }

    /// What the chunk takes by itself.
    private func wholeSize(of data: UnsafeRawBufferPointer) throws -> Int {
        guard !Compressibility.savesTooLittle(data) else { return data.count }
        return min(data.count, try wholeCompressor.compress(data, into: patch))
    }
}
