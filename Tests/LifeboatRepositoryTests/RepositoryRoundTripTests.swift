// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatStorage
import LifeboatTesting
import Testing

@Suite struct RepositoryRoundTripTests {
    /// Contents of every kind of size: none, tiny ones that share a frame, one chunk, many chunks, repeats.
    private func contents(seed: UInt64) -> [[UInt8]] {
        var random = SplitMix64(seed: seed)
        var contents: [[UInt8]] = [[], [7], Array("hello".utf8)]
        for size in [100, 1000, 4095, 4096, 70_000, 262_143, 262_144, 1_000_000, 9_000_000] {
            contents.append((0..<size).map { _ in UInt8(truncatingIfNeeded: random.next() & 0x3F) })
        }
        for number in 0..<300 { contents.append(Array("file number \(number), a small one\n".utf8)) }
        contents.append(contents[11])
        contents.append([UInt8](repeating: 0, count: 12_000_000))
        return contents
    }

    @Test func everyContentComesBackAsItWas() throws {
        let fixture = try RepositoryFixture()
        defer { fixture.remove() }
        let contents = contents(seed: 1)
        let (references, statistics) = try fixture.store(contents)
        for (content, reference) in zip(contents, references) {
            #expect(reference.size == UInt64(content.count))
            #expect(try fixture.read(reference) == content)
        }
        #expect(statistics.bytesRead >= UInt64(contents.reduce(0) { $0 + $1.count }))
        #expect(statistics.bytesNew < statistics.bytesRead)
    }

    @Test func theSameContentsAgainStoreNothing() throws {
        let fixture = try RepositoryFixture()
        defer { fixture.remove() }
        let contents = contents(seed: 2)
        let first = try fixture.store(contents)
        let second = try fixture.store(contents)
        #expect(second.references == first.references)
        #expect(second.statistics.bytesStored == 0)
        #expect(second.statistics.chunksNew == 0)
    }

    @Test func chunkListsOfSeveralLevelsComeBack() throws {
        let tiny = ChunkerParameters(minimum: 64, average: 256, maximum: 1024)
        let fixture = try RepositoryFixture(chunker: tiny)
        defer { fixture.remove() }
        var random = SplitMix64(seed: 3)
        let content = (0..<400_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        let (references, _) = try fixture.store([content])
        #expect(references[0].depth >= 2)
        #expect(try fixture.read(references[0]) == content)
    }

    @Test func manyIndexesAreStoredWhenOneWouldTakeTooMuchMemory() throws {
        let tiny = ChunkerParameters(minimum: 64, average: 256, maximum: 1024)
        let fixture = try RepositoryFixture(chunker: tiny)
        defer { fixture.remove() }
        var random = SplitMix64(seed: 4)
        let content = (0..<40_000_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        let settings = WriterSettings(workers: 2, contentWriters: 2, chunksPerIndex: 50_000)
        let (references, _) = try fixture.store([content], settings: settings)
        #expect(try fixture.store.listAll(prefix: RepositoryLayout.indexPrefix).count > 1)
        #expect(try fixture.read(references[0]) == content)
        #expect(try fixture.store([content]).statistics.chunksNew == 0)
    }

    @Test func chunksOfAMissingPackAreStoredAgain() throws {
        let fixture = try RepositoryFixture()
        defer { fixture.remove() }
        let contents = contents(seed: 5)
        let first = try fixture.store(contents)
        for pack in try fixture.store.listAll(prefix: RepositoryLayout.packPrefix) {
            _ = try fixture.store.delete(pack.key)
        }
        let second = try fixture.store(contents)
        #expect(second.references == first.references)
        #expect(second.statistics.chunksNew == first.statistics.chunksNew)
        for (content, reference) in zip(contents, second.references) {
            #expect(try fixture.read(reference) == content)
        }
    }

    @Test func aRepositoryIsCreatedOnce() throws {
        let fixture = try RepositoryFixture()
        defer { fixture.remove() }
        #expect(throws: LifeboatError.self) { try Repository.create(in: fixture.store, clock: SystemClock()) }
    }

    @Test func anEmptyFolderIsNoRepository() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let store = try LocalFolderStore(opening: folder.path)
        let error = #expect(throws: LifeboatError.self) { try Repository.open(store, cacheRoot: folder.path) }
        #expect(error?.exitCode == .noRepository)
    }

    @Test func everyByteOfTheConfigCounts() throws {
        let fixture = try RepositoryFixture()
        defer { fixture.remove() }
        let bytes = try fixture.store.get(RepositoryLayout.config, limit: 1 << 20)
        for position in bytes.indices {
            var damaged = bytes
            damaged[position] ^= 0x01
            #expect(throws: (any Error).self) { try RepositoryConfig(decoding: damaged) }
        }
    }
}
