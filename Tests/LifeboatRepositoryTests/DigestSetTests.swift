// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatRepository
import LifeboatTesting
import Testing

@Suite struct DigestSetTests {
    @Test func aSetThatOutgrowsItsMemoryKnowsEveryDigest() throws {
        let folder = try TemporaryFolder(prefix: "lifeboat-digests-")
        defer { try? folder.remove() }
        let set = DigestSet(folder: folder.path, memoryLimit: 100)
        var random = SplitMix64(seed: 21)
        var ids: [Digest] = []
        for _ in 0..<20_000 {
            let id = Digest(bigEndianWords: random.next(), random.next(), random.next(), random.next())
            ids.append(id)
            #expect(try set.insert(id))
            // One from before, whether it is in memory, in the file, or just moved there.
            #expect(try !set.insert(ids[Int.random(in: ids.indices, using: &random)]))
        }
        for id in ids { #expect(try !set.insert(id)) }
        // The file has no name.
        #expect(try FileTree.names(in: folder.path).isEmpty)
    }

    @Test func digestsThatBeginAlikeAreToldApart() throws {
        let folder = try TemporaryFolder(prefix: "lifeboat-digests-")
        defer { try? folder.remove() }
        let set = DigestSet(folder: folder.path, memoryLimit: 10)
        // More than a page has space for, and no bit of the first word differs.
        for number in 0..<1000 as Range<UInt64> {
            #expect(try set.insert(Digest(bigEndianWords: 7, 0, 0, number)))
        }
        for number in 0..<1000 as Range<UInt64> {
            #expect(try !set.insert(Digest(bigEndianWords: 7, 0, 0, number)))
        }
        #expect(try set.insert(Digest(bigEndianWords: 8, 0, 0, 0)))
    }

    @Test func withoutAPlaceForItsFileItStaysInMemory() throws {
        let folder = try TemporaryFolder(prefix: "lifeboat-digests-")
        defer { try? folder.remove() }
        try AtomicFile.write("no folder", to: "\(folder.path)/file")
        let set = DigestSet(folder: "\(folder.path)/file", memoryLimit: 10)
        for number in 0..<100 as Range<UInt64> {
            #expect(try set.insert(Digest(bigEndianWords: number, 1, 2, 3)))
            #expect(try !set.insert(Digest(bigEndianWords: number, 1, 2, 3)))
        }
    }
}
