// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStorage

/// Copies what is still needed out of wasteful packs into new ones. A frame that is needed whole is copied as it is: what
/// was compressed once is not compressed again. Of other frames only the members that are needed are. Whatever is copied
/// is decoded, and hashed, on the way.
struct Repacker {
    let repository: Repository
    let cancellation: Cancellation
    let progress: any ProgressSink

    struct Result {
        /// Packs whose needed chunks are all in new packs now.
        var moved: [Digest] = []
        /// The new packs, and the indexes that were stored over them.
        var written: [PackContents] = []
        /// Packs with a frame that cannot be read or is wrong; they stay as they are.
        var problems: [LifeboatError] = []
    }

    /// Chunk records that are held in memory at once.
    private static let recordsAtOnce = 65_536

    private struct Frame {
        var frame: PackContents.Frame
        /// Those that are needed.
        var members: [FrameMember] = []
        var neededPlain = 0

        /// Nothing else is in it.
        var isNeededWhole: Bool { neededPlain >= Int(frame.plainLength) }
    }

    /// Copies the kept chunks of the packs of those names, and with `leavesCondemned` the copies that have to leave
    /// condemned packs.
    func run(_ names: [Digest], _ survey: PruneSurvey, leavesCondemned: Bool = true) throws -> Result {
        var result = Result()
        let indexes = survey.indexes.all
        let leaving = Set(
            (leavesCondemned ? survey.selection.moves : []).compactMap { move in
                indexes[Int(move.index)].packNumber(at: Int(move.record)).map {
                    indexes[Int(move.index)].pack($0).name
                }
            })
        var rest = (names + leaving.subtracting(names).sorted())[...]
        while !rest.isEmpty {
            var batch: Set<Digest> = []
            var records = 0
            while let name = rest.first, batch.isEmpty || records < Self.recordsAtOnce {
                batch.insert(name)
                records += survey.numbers[name].map { survey.packs[$0].chunks } ?? 0
                rest.removeFirst()
            }
            try copy(batch, whole: Set(names), survey, &result)
        }
        return result
    }

    private func copy(
        _ names: Set<Digest>, whole: Set<Digest>, _ survey: PruneSurvey, _ result: inout Result
    ) throws {
        let frames = try neededFrames(of: names, whole: whole, survey)
        let settings = WriterSettings(workers: 1, contentWriters: 1)
        let encoder = try FrameEncoder(
            repository.config.chunker, level: settings.compressionLevel, groupLevel: settings.groupCompressionLevel)
        let output = PackOutput(repository)
        var moved: [Digest] = []
        var problems: [LifeboatError] = []
        let written = try output.fill {
            let decompressor = try ZstdDecompressor()
            let reader = ChunkReader(repository, survey.indexes)
            func flush() throws {
                guard !encoder.members.isEmpty else { return }
                try output.append(encoder.finish(), plainLength: encoder.plainLength, members: encoder.members)
                encoder.begin()
            }
            for name in names.sorted() {
                try cancellation.check()
                var counters = ProgressCounters()
                counters.current = repository.packName(name)
                progress.report(.counters(counters))
                do {
                    for frame in (frames[name] ?? [:]).values.sorted(by: { $0.frame.offset < $1.frame.offset }) {
                        let bytes = try read(frame.frame, of: name)
                        let plain = UnsafeMutableRawBufferPointer.allocate(
                            byteCount: Int(frame.frame.plainLength), alignment: 64)
                        defer { plain.deallocate() }
                        try verify(bytes, frame, of: name, decompressor, reader, into: plain)
                        if frame.isNeededWhole {
                            try bytes.withUnsafeBytes {
                                try output.append(
                                    $0, plainLength: Int(frame.frame.plainLength), members: frame.members)
                            }
                            continue
                        }
                        for member in frame.members.sorted(by: { $0.offset < $1.offset }) {
                            if !encoder.fits(member.length) { try flush() }
                            // In bounds: `location(at:)` checked it.
                            let data = UnsafeRawBufferPointer(
                                rebasing: plain[member.offset..<member.offset + member.length])
                            if member.bases.isEmpty {
                                try encoder.append(data, member.id)
                            } else {
                                try encoder.append(
                                    patch: data, of: member.id, bases: member.bases, plainLength: member.plainLength)
                            }
                        }
                    }
                    // A frame that could not be read ends the copying of its pack, whose mark then stays away.
                    if whole.contains(name) { moved.append(name) }
                } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                    problems.append(error)
                }
            }
            try flush()
        }
        if !written.isEmpty { _ = try repository.storeIndex(written) }
        result.moved += moved
        result.problems += problems
        result.written += written
    }

    /// The frames of the packs that hold something to copy: what is kept of packs that go `whole`, what has to leave of
    /// the others.
    private func neededFrames(
        of names: Set<Digest>, whole: Set<Digest>, _ survey: PruneSurvey
    ) throws -> [Digest: [UInt32: Frame]] {
        var frames: [Digest: [UInt32: Frame]] = [:]
        let leaving = Set(survey.selection.moves)
        for (number, index) in survey.indexes.all.enumerated() {
            let isWanted = (0..<index.packCount).map { names.contains(index.pack($0).name) }
            defer { index.forgetPages() }
            guard isWanted.contains(true) else { continue }
            for record in 0..<index.chunkCount where survey.selection.kept[number][record] {
                guard let pack = index.packNumber(at: record), isWanted[pack] else { continue }
                let place = try index.location(at: record)
                guard
                    whole.contains(place.pack)
                        || leaving.contains(CopyPlace(index: Int32(number), record: Int32(record)))
                else { continue }
                let empty = Frame(
                    frame: PackContents.Frame(
                        offset: place.frameOffset, length: place.frameLength, plainLength: place.framePlainLength))
                frames[place.pack, default: [:]][place.frameOffset, default: empty].neededPlain +=
                    TarMemberWriter.memberSize(dataSize: Int(place.length))
                frames[place.pack, default: [:]][place.frameOffset, default: empty].members.append(
                    FrameMember(
                        id: index.chunkID(record), offset: Int(place.offset), length: Int(place.length),
                        bases: place.bases, plainLength: Int(place.length)))
            }
        }
        return frames
    }

    /// The stored bytes of a frame.
    private func read(_ frame: PackContents.Frame, of pack: Digest) throws -> [UInt8] {
        let key = RepositoryLayout.pack(pack)
        let maximumChunk = repository.config.chunker.maximum
        guard frame.length <= ChunkWorker.maximumFrame(maximumChunk: maximumChunk),
            frame.plainLength <= ChunkWorker.maximumPlain(maximumChunk: maximumChunk)
        else {
            throw RepositoryError.damaged(key.text, "the index gives one of its frames an impossible size")
        }
        var bytes = [UInt8](repeating: 0, count: Int(frame.length))
        try bytes.withUnsafeMutableBytes { try repository.read(key, at: UInt64(frame.offset), into: $0) }
        return bytes
    }

    /// Decodes the frame into `plain`, and hashes the members that are needed.
    private func verify(
        _ bytes: [UInt8], _ frame: Frame, of pack: Digest, _ decompressor: ZstdDecompressor, _ reader: ChunkReader,
        into plain: UnsafeMutableRawBufferPointer
    ) throws {
        let key = RepositoryLayout.pack(pack)
        do {
            try bytes.withUnsafeBytes { try decompressor.decompress($0, into: plain) }
        } catch let error as FormatError {
            throw RepositoryError.damaged(key.text, error.lifeboatError.message)
        }
        for chunk in frame.members {
            if !chunk.bases.isEmpty {
                try reader.verifyDelta(
                    chunk.id,
                    at: ChunkLocation(
                        pack: pack, frameOffset: frame.frame.offset, frameLength: frame.frame.length,
                        framePlainLength: frame.frame.plainLength, offset: UInt32(chunk.offset),
                        length: UInt32(chunk.length), bases: chunk.bases))
                continue
            }
            // In bounds: `location(at:)` checked it.
            let data = UnsafeRawBufferPointer(rebasing: plain[chunk.offset..<chunk.offset + chunk.length])
            guard BLAKE3.hash(data) == chunk.id else {
                throw RepositoryError.damaged(
                    key.text, "chunk '\(chunk.id.shortHex)' in it does not have the digest that is its name")
            }
        }
    }
}
