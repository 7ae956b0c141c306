// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStorage

/// Copies the frames that are still needed out of wasteful packs into new ones, as they are: what was compressed once
/// is not compressed again. Every frame is decoded and its chunks are hashed on the way.
struct Repacker {
    let repository: Repository
    let cancellation: Cancellation
    let progress: any ProgressSink

    struct Result {
        /// Packs whose needed chunks are all in new packs now, under an index.
        var moved: [Digest] = []
        var bytesWritten: UInt64 = 0
        var packsWritten = 0
        /// Packs with a frame that cannot be read or is wrong; they stay as they are.
        var problems: [LifeboatError] = []
    }

    /// Chunk records that are held in memory at once.
    private static let recordsAtOnce = 65_536

    private struct Frame {
        var frame: PackContents.Frame
        var members: [FrameMember] = []
    }

    /// What an upload thread hands back.
    private struct Uploaded: Sendable {
        var packs: [PackContents] = []
    }

    func run(_ names: [Digest], _ survey: PruneSurvey) throws -> Result {
        var result = Result()
        var rest = names[...]
        while !rest.isEmpty {
            var batch: Set<Digest> = []
            var records = 0
            while let name = rest.first, batch.isEmpty || records < Self.recordsAtOnce {
                batch.insert(name)
                records += survey.numbers[name].map { survey.packs[$0].chunks } ?? 0
                rest.removeFirst()
            }
            try copy(batch, survey, &result)
        }
        return result
    }

    private func copy(_ names: Set<Digest>, _ survey: PruneSurvey, _ result: inout Result) throws {
        let frames = try neededFrames(of: names, survey)
        let maximumChunk = repository.config.chunker.maximum
        let packs = PackAssembler(
            maximumFrame: ChunkWorker.maximumFrame(maximumChunk: maximumChunk), repository.sealing)
        let uploaded = Monitor(Uploaded())
        let store = repository.store
        let uploader = BlockingThread<Void>(name: "uploader") {
            do {
                try packs.uploadPacks(to: store) { pack in uploaded.withLock { $0.packs.append(pack) } }
            } catch {
                packs.abandon()
                throw error
            }
        }
        do {
            let decompressor = try ZstdDecompressor()
            let reader = ChunkReader(repository, survey.indexes)
            for name in names.sorted() {
                try cancellation.check()
                var counters = ProgressCounters()
                counters.current = RepositoryLayout.pack(name).text
                progress.report(.counters(counters))
                do {
                    for frame in (frames[name] ?? [:]).values.sorted(by: { $0.frame.offset < $1.frame.offset }) {
                        let bytes = try read(frame.frame, of: name)
                        try verify(bytes, frame, of: name, decompressor, reader)
                        try bytes.withUnsafeBytes {
                            try packs.append($0, plainLength: Int(frame.frame.plainLength), members: frame.members)
                        }
                    }
                    result.moved.append(name)
                } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                    result.problems.append(error)
                }
            }
            packs.close()
            try uploader.join()
        } catch {
            packs.abandon()
            // The upload's own failure is the reason, when it is one.
            do { try uploader.join() } catch let failure as LifeboatError where failure.exitCode == .interrupted {
                throw error
            }
            throw error
        }
        let written = uploaded.withLock { $0.packs }
        result.packsWritten += written.count
        result.bytesWritten += written.reduce(0) { $0 + $1.storedSize }
        if !written.isEmpty { _ = try repository.storeIndex(written) }
    }

    /// The used frames of the packs, with all the chunks they hold.
    private func neededFrames(
        of names: Set<Digest>, _ survey: PruneSurvey
    ) throws -> [Digest: [UInt32: Frame]] {
        var frames: [Digest: [UInt32: Frame]] = [:]
        for (number, index) in survey.indexes.all.enumerated() {
            let isWanted = (0..<index.packCount).map { names.contains(index.pack($0).name) }
            defer { index.forgetPages() }
            guard isWanted.contains(true) else { continue }
            for record in 0..<index.chunkCount {
                guard let frameNumber = index.frameNumber(at: record), survey.usedFrames[number][frameNumber],
                    let pack = index.packNumber(at: record), isWanted[pack]
                else { continue }
                let place = try index.location(at: record)
                frames[place.pack, default: [:]][
                    place.frameOffset,
                    default: Frame(
                        frame: PackContents.Frame(
                            offset: place.frameOffset, length: place.frameLength, plainLength: place.framePlainLength))
                ].members.append(
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
        let limit = ChunkWorker.maximumFrame(maximumChunk: repository.config.chunker.maximum)
        guard frame.length <= limit else {
            throw RepositoryError.damaged(key.text, "the index gives one of its frames an impossible size")
        }
        var bytes = [UInt8](repeating: 0, count: Int(frame.length))
        try bytes.withUnsafeMutableBytes { try repository.read(key, at: UInt64(frame.offset), into: $0) }
        return bytes
    }

    private func verify(
        _ bytes: [UInt8], _ frame: Frame, of pack: Digest, _ decompressor: ZstdDecompressor, _ reader: ChunkReader
    ) throws {
        let key = RepositoryLayout.pack(pack)
        let limit = ChunkWorker.maximumPlain(maximumChunk: repository.config.chunker.maximum)
        guard frame.frame.plainLength <= limit else {
            throw RepositoryError.damaged(key.text, "the index gives one of its frames an impossible size")
        }
        let plain = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(frame.frame.plainLength), alignment: 64)
        defer { plain.deallocate() }
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
