// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatStorage
import LifeboatTesting
import Testing

/// The local copies of indexes: merged when they are many, taken for sound while nothing touched them, and found out
/// when they are not.
@Suite struct IndexCacheTests {
    private static func digest(_ random: inout SplitMix64) -> Digest {
        Digest(bigEndianWords: random.next(), random.next(), random.next(), random.next())
    }

    /// Files of the fixture's local cache with that suffix, whole paths.
    private static func cached(_ fixture: RepositoryFixture, _ suffix: String) throws -> [String] {
        let cache = "\(fixture.folder.path)/cache"
        return try FileManager.default.subpathsOfDirectory(atPath: cache).filter { $0.hasSuffix(suffix) }.sorted()
            .map { "\(cache)/\($0)" }
    }

    /// Changes a byte, and the note beside the file so that it takes the file for the one that was hashed: what a disk
    /// does that forgets.
    private static func damageSilently(_ path: String, at offset: Int, _ mask: UInt8) throws {
        let file = try OwnedDescriptor.open(path, O_RDWR)
        var byte: [UInt8] = [0]
        _ = try byte.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, at: UInt64(offset), into: $0, path) }
        byte[0] ^= mask
        try byte.withUnsafeBytes { try DescriptorIO.write(file.raw, at: UInt64(offset), $0, path) }
        let status = try FileStatus.of(file.raw)
        let note = "\(path).seen"
        var fields = String(decoding: try #require(FileManager.default.contents(atPath: note)), as: UTF8.self)
            .split(separator: " ").map(String.init)
        try #require(fields.count == 7)
        fields[5] = "\(status.modificationTime.seconds).\(status.modificationTime.nanoseconds)"
        fields[6] = "\(status.changeTime.seconds).\(status.changeTime.nanoseconds)\n"
        try AtomicFile.write(fields.joined(separator: " "), to: note)
    }

    private static func size(_ path: String) throws -> Int {
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        return Int(try FileStatus.of(file.raw).size)
    }

    /// Contents in an index each.
    private static func fill(_ fixture: RepositoryFixture, _ count: Int) throws -> [(ContentReference, [UInt8])] {
        var random = SplitMix64(seed: 7)
        return try (0..<count).map { _ in
            let bytes = (0..<3000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            return (try fixture.store([bytes]).references[0], bytes)
        }
    }

    @Test func oneTableOfManyIndexesSaysWhatTheySay() throws {
        let fixture = try RepositoryFixture(inMemory: true)
        defer { fixture.remove() }
        var random = SplitMix64(seed: 42)
        let shared = (0..<50).map { _ in Self.digest(&random) }
        // Ids that begin alike defeat a search that trusts in uniform ones.
        let alike = (0..<300).map { Digest(bigEndianWords: 1 << 63, 0, 0, UInt64($0)) }
        var ids = shared + alike
        var single: [MappedIndex] = []
        for number in 0..<40 {
            var pack = PackContents(name: Self.digest(&random), storedSize: 1 << 20, frames: [], chunks: [])
            var own = shared.filter { _ in random.next() % 4 == 0 } + (0..<200).map { _ in Self.digest(&random) }
            if number % 10 == 0 { own += alike }
            // A chunk may stand in one index more often than a search reads at once.
            if number == 3 { own += Array(repeating: shared[0], count: 150) }
            ids += own
            for (position, id) in own.enumerated() {
                pack.frames.append(
                    PackContents.Frame(offset: UInt32(position) << 8, length: 200, plainLength: UInt32(number) + 600))
                let bases = position % 5 == 0 ? [] : [shared[position % 50]] + (position % 3 == 0 ? [shared[1]] : [])
                pack.chunks.append(
                    PackContents.Chunk(
                        id: id, frame: position, offset: UInt32(position % 100), length: 500, bases: bases))
            }
            single.append(try fixture.repository.storeIndex([pack]))
        }
        let merged = try fixture.repository.openIndexes()
        #expect(try Self.cached(fixture, ".merged").count == 1)
        let plain = IndexSet(single)
        #expect(merged.recordCount == plain.recordCount)
        func sorted(_ places: [ChunkLocation]) -> [String] { places.map { "\($0)" }.sorted() }
        for id in Set(ids) {
            #expect(try sorted(merged.locations(of: id)) == sorted(plain.locations(of: id)))
            #expect(try merged.bases(of: id) == plain.bases(of: id))
        }
        for _ in 0..<1000 {
            let unknown = Self.digest(&random)
            #expect(try merged.locations(of: unknown).isEmpty)
            #expect(!merged.contains(unknown))
        }
        #expect(try merged.locations(of: Digest(bigEndianWords: 0, 0, 0, 0)).isEmpty)
        #expect(try merged.locations(of: Digest(bigEndianWords: .max, .max, .max, .max)).isEmpty)
    }

    @Test func packsThatCannotBeCountedOnAreLeftOut() throws {
        let fixture = try RepositoryFixture(inMemory: true)
        defer { fixture.remove() }
        let contents = try Self.fill(fixture, 20)
        var indexes = try fixture.repository.openIndexes()
        let lost = try #require(try indexes.locations(of: contents[3].0.id).first).pack
        try indexes.restrict { name, _ in name != lost }
        for (number, content) in contents.enumerated() { #expect(indexes.contains(content.0.id) == (number != 3)) }
        // The same when a backup looks: the pack is gone.
        unlink("\(fixture.root)/\(RepositoryLayout.pack(lost).text)")
        let found = try fixture.repository.openIndexesForWriting()
        for (number, content) in contents.enumerated() { #expect(found.contains(content.0.id) == (number != 3)) }
    }

    @Test func newIndexesAreFoundBesideTheTableAndGoneOnesAreNot() throws {
        let fixture = try RepositoryFixture(inMemory: true)
        defer { fixture.remove() }
        let contents = try Self.fill(fixture, 30)
        let table = try Self.cached(fixture, ".merged")
        #expect(table.count == 1)
        // The last ones are not in it.
        for (reference, bytes) in contents { #expect(try fixture.read(reference) == bytes) }
        #expect(try Self.cached(fixture, ".merged") == table)
        let names = try fixture.store.listAll(prefix: RepositoryLayout.indexPrefix).map(\.key)
        for key in names { _ = try fixture.store.delete(key) }
        #expect(try fixture.repository.openIndexes().recordCount == 0)
        #expect(try !fixture.repository.openIndexes().contains(contents[0].0.id))
    }

    @Test func aCopyThatChangedIsHashedAndReplaced() throws {
        let fixture = try RepositoryFixture(inMemory: true)
        defer { fixture.remove() }
        let contents = try Self.fill(fixture, 20)
        for suffix in [".idx", ".merged"] {
            for path in try Self.cached(fixture, suffix) {
                let file = try OwnedDescriptor.open(path, O_RDWR)
                #expect(ftruncate(file.raw, 100) == 0)
            }
        }
        for (reference, bytes) in contents { #expect(try fixture.read(reference) == bytes) }
    }

    /// Notes that are garbage cost a hash, nothing else.
    @Test func aNoteThatIsWrongOrGoneChangesNothing() throws {
        let fixture = try RepositoryFixture(inMemory: true)
        defer { fixture.remove() }
        let contents = try Self.fill(fixture, 20)
        for (number, path) in try Self.cached(fixture, ".seen").enumerated() {
            if number % 2 == 0 { unlink(path) } else { try AtomicFile.write("seen\n", to: path) }
        }
        for (reference, bytes) in contents { #expect(try fixture.read(reference) == bytes) }
    }

    /// Whatever byte of whatever copy goes wrong unnoticed: what is read is right, or is looked for again with copies
    /// that are. `count` contents are searched one by one, or merged.
    @Test(arguments: [5, 20])
    func aCopyThatIsDamagedUnnoticedNeverGivesWrongBytes(count: Int) throws {
        let fixture = try RepositoryFixture(inMemory: true)
        defer { fixture.remove() }
        let contents = try Self.fill(fixture, count)
        _ = try fixture.repository.openIndexes()
        let suffix = count > 16 ? ".merged" : ".idx"
        var random = SplitMix64(seed: UInt64(count))
        for _ in 0..<60 {
            let paths = try Self.cached(fixture, suffix)
            let path = try #require(paths.isEmpty ? nil : paths[Int(random.next() % UInt64(paths.count))])
            try Self.damageSilently(
                path, at: Int(random.next() % UInt64(Self.size(path))), UInt8(1 << (random.next() % 8)))
            for (reference, bytes) in contents { #expect(try fixture.read(reference) == bytes) }
        }
    }
}
