// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatStorage
import LifeboatTesting
import Testing

@Suite struct DeltaChunkTests {
    private func fixture() throws -> RepositoryFixture {
        try RepositoryFixture(chunker: RepositoryFixture.deltaChunker, inMemory: true)
    }

    @Test func scatteredChangesCostAFractionOfTheWhole() throws {
        let fixture = try fixture()
        defer { fixture.remove() }
        var table = DeltaTable(rows: 16_000, seed: 1)
        let first = try fixture.store(table.bytes, parent: nil)
        table.move(share: 0.01)
        let second = try fixture.store(table.bytes, parent: first.reference)
        #expect(second.statistics.deltas > second.statistics.chunksNew / 2)
        #expect(second.statistics.bytesStored * 8 < first.statistics.bytesStored)
        #expect(second.statistics.bytesNew > second.reference.size / 2)
        #expect(try fixture.read(second.reference) == table.bytes)
        #expect(try fixture.findings() == [])
    }

    @Test func aChainHasFourDeltasAtMostAndGoesOnFromTheNearestChunk() throws {
        let fixture = try fixture()
        defer { fixture.remove() }
        var table = DeltaTable(rows: 4_000, seed: 2)
        var reference = try fixture.store(table.bytes, parent: nil).reference
        var deepest: [Int] = []
        for _ in 2...8 {
            table.change(share: 0.01)
            reference = try fixture.store(table.bytes, parent: reference).reference
            #expect(try fixture.read(reference) == table.bytes)
            let indexes = try fixture.repository.openIndexes()
            deepest.append(
                try fixture.chunks(of: reference).map { try indexes.deltaDepth(of: $0, limit: 8) }.max() ?? 0)
        }
        #expect(deepest == [1, 2, 3, 4, 4, 4, 4])
        #expect(try fixture.findings() == [])
    }

    @Test func aChainAtItsEndWhoseBeginningIsTooDifferentBeginsAnew() throws {
        let fixture = try fixture()
        defer { fixture.remove() }
        var table = DeltaTable(rows: 3_000, seed: 3)
        var reference = try fixture.store(table.bytes, parent: nil).reference
        for _ in 1...4 {
            table.change(share: 0.2)
            reference = try fixture.store(table.bytes, parent: reference).reference
        }
        table.change(share: 0.2)
        let fifth = try fixture.store(table.bytes, parent: reference)
        let indexes = try fixture.repository.openIndexes()
        let depths = try fixture.chunks(of: fifth.reference).map { try indexes.deltaDepth(of: $0, limit: 8) }
        #expect(depths.contains(0) && depths.allSatisfy { $0 <= 4 })
        #expect(try fixture.read(fifth.reference) == table.bytes)
    }

    @Test func whatHasNothingInCommonIsStoredWhole() throws {
        let fixture = try fixture()
        defer { fixture.remove() }
        var random = SplitMix64(seed: 4)
        let first = try fixture.store(random.bytes(3_000_000), parent: nil)
        let other = random.bytes(3_000_000)
        let second = try fixture.store(other, parent: first.reference)
        #expect(second.statistics.deltas == 0)
        #expect(try fixture.read(second.reference) == other)
    }

    @Test func rowsPutInOrTakenOutInOnePlaceDoNotEndTheDeltasBehindIt() throws {
        let fixture = try fixture()
        defer { fixture.remove() }
        var table = DeltaTable(rows: 16_000, seed: 5)
        let first = try fixture.store(table.bytes, parent: nil)
        table.change(share: 0.01)
        table.insert(2_000, at: 5_000)
        let second = try fixture.store(table.bytes, parent: first.reference)
        // One row in eight is new; around the place where they went in whole chunks are.
        #expect(second.statistics.bytesStored * 2 < first.statistics.bytesStored)
        table.change(share: 0.01)
        table.remove(2_000, at: 9_000)
        let third = try fixture.store(table.bytes, parent: second.reference)
        #expect(third.statistics.bytesStored * 3 < first.statistics.bytesStored)
        #expect(try fixture.read(second.reference).count == Int(second.reference.size))
        #expect(try fixture.read(third.reference) == table.bytes)
    }

    @Test(arguments: 1...12 as ClosedRange<UInt64>)
    func contentsAfterRandomEditsComeBack(_ seed: UInt64) throws {
        let fixture = try fixture()
        defer { fixture.remove() }
        var random = SplitMix64(seed: seed)
        var bytes = DeltaTable(rows: 3_000, seed: seed).bytes
        var reference = try fixture.store(bytes, parent: nil).reference
        for day in 2...6 {
            for _ in 0..<Int.random(in: 0...60, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                let length = min(
                    bytes.count - at, Int.random(in: 0...(1 << Int.random(in: 0...16, using: &random)), using: &random))
                let fresh = random.bytes(Int.random(in: 0...length, using: &random))
                switch Int.random(in: 0...3, using: &random) {
                case 0: bytes.replaceSubrange(at..<at + length, with: fresh)
                case 1: bytes.insert(contentsOf: fresh, at: at)
                case 2: bytes.removeSubrange(at..<at + min(length, bytes.count / 4))
                default: bytes.insert(contentsOf: Array(bytes[at..<at + length]), at: at)
                }
            }
            let stored = try fixture.store(bytes, parent: reference)
            reference = stored.reference
            #expect(try fixture.read(reference) == bytes, "seed \(seed), day \(day)")
        }
        #expect(try fixture.findings() == [], "seed \(seed)")
    }

    /// Bases and contents of lengths around zstd's block and window sizes.
    @Test(arguments: [1, 127, 128, 129, 255, 256, 511, 512].map { $0 << 10 })
    func patchesAtTheBordersOfBlocksAndWindowsComeBack(_ size: Int) throws {
        let compressor = try ZstdDeltaCompressor()
        let decompressor = try ZstdDecompressor()
        var random = SplitMix64(seed: UInt64(size))
        for difference in [-1, 0, 1] {
            let base = random.bytes(size + difference)
            for other in [size - 1, size, size + 1] {
                var data = Array(base.prefix(other)) + random.bytes(max(0, other - base.count))
                data[data.count / 2] ^= 1
                var frame = [UInt8](repeating: 0, count: ZstdCompressor.bound(data.count))
                var out = [UInt8](repeating: 0, count: data.count)
                try base.withUnsafeBytes { base in
                    let length = try data.withUnsafeBytes { data in
                        try frame.withUnsafeMutableBytes { try compressor.compressIfFits(data, base: base, into: $0) }
                    }
                    let count = try #require(length)
                    #expect(count < max(200, data.count / 100))
                    try frame.withUnsafeBytes { frame in
                        try out.withUnsafeMutableBytes {
                            try decompressor.decompress(
                                UnsafeRawBufferPointer(rebasing: frame[..<count]), base: base, into: $0)
                        }
                    }
                }
                #expect(out == data)
            }
        }
    }
}

/// Deltas whose bases are lost or damaged.
@Suite struct DeltaDamageTests {
    /// A repository with a content and one that grew from it.
    private struct TwoDays {
        let fixture: RepositoryFixture
        let first, second: (reference: ContentReference, statistics: WriterStatistics)
        let firstPacks: Set<String>
        let today: [UInt8]

        init(seed: UInt64) throws {
            fixture = try RepositoryFixture(chunker: RepositoryFixture.deltaChunker, inMemory: true)
            var table = DeltaTable(rows: 4_000, seed: seed)
            first = try fixture.store(table.bytes, parent: nil)
            firstPacks = Set(try fixture.store.listAll(prefix: RepositoryLayout.packPrefix).map(\.key.text))
            table.change(share: 0.02)
            today = table.bytes
            second = try fixture.store(today, parent: first.reference)
        }

        /// Chunks of the second content that are deltas.
        func deltas() throws -> [Digest] {
            let indexes = try fixture.repository.openIndexes()
            return try fixture.chunks(of: second.reference).filter { try !indexes.bases(of: $0).isEmpty }
        }
    }

    @Test func aDeltaOnAMissingBaseIsAMissingChunk() throws {
        let days = try TwoDays(seed: 6)
        defer { days.fixture.remove() }
        let delta = try #require(try days.deltas().first)
        let base = try #require(try days.fixture.repository.openIndexes().bases(of: delta).first)
        for pack in days.firstPacks { #expect(try days.fixture.store.delete(try #require(ObjectKey(pack)))) }
        let repository = days.fixture.repository
        #expect(try !repository.openIndexesForWriting().contains(delta))
        #expect(try repository.openIndexes().contains(delta))
        let reader = ChunkReader(repository, try repository.openIndexesForWriting())
        let error = #expect(throws: LifeboatError.self) { try reader.withChunk(delta) { _ in } }
        #expect(error?.exitCode == .damagedRepository)
        #expect(error?.message.contains("its base '\(base.shortHex)' cannot be read") == true)
        #expect(!ContentPresence(reader).isComplete(days.second.reference))
        // The next backup brings back what it has, by itself.
        let again = try days.fixture.store(days.today, parent: days.second.reference)
        #expect(again.reference == days.second.reference)
        #expect(try days.fixture.read(again.reference) == days.today)
        #expect(
            ContentPresence(ChunkReader(repository, try repository.openIndexesForWriting())).isComplete(again.reference)
        )
    }

    @Test func aDeltaOnADamagedBaseIsNeverWrongAndTellsTheBase() throws {
        let days = try TwoDays(seed: 7)
        defer { days.fixture.remove() }
        let deltas = try days.deltas()
        for pack in days.firstPacks {
            let path = "\(days.fixture.root)/\(pack)"
            var bytes = try days.fixture.store.get(try #require(ObjectKey(pack)), limit: 1 << 30)
            // In every frame.
            for position in stride(from: 5_000, to: bytes.count - 100, by: 5_000) { bytes[position] ^= 0x10 }
            try bytes.withUnsafeBytes { _ = try AtomicFile.write([$0], to: path, durable: false) }
        }
        let reader = ChunkReader(days.fixture.repository, try days.fixture.repository.openIndexes())
        var named = 0
        for delta in deltas {
            let error = #expect(throws: LifeboatError.self) { try reader.withChunk(delta) { _ in } }
            if error?.message.contains("its base") == true { named += 1 }
        }
        #expect(named == deltas.count)
        // What cannot be read is no base: the next day is stored whole.
        let next = try days.fixture.store(days.today + [1], parent: days.second.reference)
        #expect(next.statistics.deltas == 0)
    }

    @Test func aDamagedDeltaIsFound() throws {
        let days = try TwoDays(seed: 8)
        defer { days.fixture.remove() }
        let delta = try #require(try days.deltas().first)
        let location = try #require(try days.fixture.repository.openIndexes().locations(of: delta).first)
        let key = RepositoryLayout.pack(location.pack)
        let path = "\(days.fixture.root)/\(key)"
        let original = try days.fixture.store.get(key, limit: 1 << 30)
        let indexes = try days.fixture.repository.openIndexes()
        var refused = 0
        let end = Int(location.frameOffset) + Int(location.frameLength)
        for position in stride(from: Int(location.frameOffset), to: end, by: 11) {
            var bytes = original
            bytes[position] ^= 0x04
            try bytes.withUnsafeBytes { _ = try AtomicFile.write([$0], to: path, durable: false) }
            // Right bytes (the digest was checked) or an error: what was hit may be a header.
            do {
                try ChunkReader(days.fixture.repository, indexes).withChunk(delta) { _ in }
            } catch let error as LifeboatError {
                #expect(error.exitCode == .damagedRepository)
                refused += 1
            }
        }
        // The frame may hold other chunks too.
        #expect(refused > 0)
        #expect(try days.fixture.findings().contains { $0.hasPrefix(key.text) })
    }

    @Test func packsAloneTellTheBases() throws {
        let days = try TwoDays(seed: 9)
        defer { days.fixture.remove() }
        let indexes = try days.fixture.repository.openIndexes()
        let examiner = try PackExaminer(days.fixture.repository)
        var deltas = 0
        for object in try days.fixture.store.listAll(prefix: RepositoryLayout.packPrefix) {
            let contents = try examiner.contents(of: try #require(RepositoryLayout.packName(object.key)))
            for chunk in contents.chunks {
                let frame = contents.frames[chunk.frame]
                let place = ChunkLocation(
                    pack: contents.name, frameOffset: frame.offset, frameLength: frame.length,
                    framePlainLength: frame.plainLength, offset: chunk.offset, length: chunk.length,
                    bases: chunk.bases)
                #expect(try indexes.locations(of: chunk.id).contains(place))
                if place.isDelta { deltas += 1 }
            }
        }
        #expect(deltas == Int(days.second.statistics.deltas) && deltas > 0)
    }
}
