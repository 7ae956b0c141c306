// SPDX-License-Identifier: Apache-2.0

import LifeboatRepository
import LifeboatTesting
import Testing

/// Space that deltas keep others from giving back.
@Suite struct PruneSpaceTests {
    @Test func whatSharedAPackWithBasesOfDeltasComesBack() throws {
        let fixture = try PruneFixture(chunker: RepositoryFixture.deltaChunker)
        defer { fixture.remove() }
        let repository = try fixture.open()
        var kept = PruneFixture.content(1, count: 3 << 20)
        let other = PruneFixture.content(2, count: 2 << 20)
        try fixture.backUp([kept, other], into: repository)
        // One of the contents, one of the tree.
        #expect(try fixture.packs == 2)
        var nights: [Snapshot] = []
        for night in 1...4 {
            kept.replaceSubrange(
                night * 700_000..<night * 700_000 + 2000, with: PruneFixture.content(UInt64(night)).prefix(2000))
            let contents = night == 4 ? [kept] : [kept, other]
            nights.append(try fixture.backUp(contents, into: repository, parents: fixture.newestReferences))
        }
        let all = try SnapshotCatalog(repository).snapshots
        for snapshot in all where snapshot.id != nights.last?.id { try fixture.forget(snapshot) }

        let first = try fixture.prune(repository) { $0.force = true }
        #expect(first.waiting.count == 0)
        #expect(try fixture.bytes < UInt64(kept.count) * 11 / 10)
        let second = try fixture.prune(repository) { $0.force = true }
        #expect(second.packsWritten == 0 && second.indexesRewritten == 0)
        #expect(second.condemned.count + second.deleted.count + second.waiting.count == 0)
        #expect(try fixture.problems() == [])
    }
}
