// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatRepository
import LifeboatStorage
import LifeboatTesting
import Testing

/// The repositories that `scripts/bench` measures with. It runs this suite with `LIFEBOAT_SYNTHETIC` set to a folder,
/// and gets them there in full size; otherwise they are small, and removed.
@Suite struct SyntheticRepositoryTests {
    /// The folder, and by how much the small sizes are multiplied.
    private static let wanted = getenv("LIFEBOAT_SYNTHETIC").map { String(cString: $0) }

    private static func withFolder(
        _ name: String, _ body: (_ root: String, _ cache: String, _ state: String) throws -> Void
    ) throws {
        func run(_ place: String) throws {
            try body("\(place)/repository", "\(place)/cache", "\(place)/state/lifeboat")
        }
        if let wanted { return try run("\(wanted)/\(name)") }
        let folder = try TemporaryFolder(prefix: "lifeboat-synthetic-")
        defer { try? folder.remove() }
        try run(folder.path)
    }

    private static func isWanted(_ name: String) -> Bool {
        guard wanted != nil, let chosen = getenv("LIFEBOAT_SYNTHETIC_ONLY") else { return true }
        return String(cString: chosen) == name
    }

    /// 10,000,000 chunks in 2,000 indexes and 312,500 packs.
    @Test func manyIndexesAreFoundAgain() throws {
        guard Self.isWanted("open") else { return }
        try Self.withFolder("open") { root, cache, state in
            let full = Self.wanted != nil
            var synthetic = try SyntheticRepository(root: root, cacheRoot: cache, state: state, seed: 1)
            let count = full ? 2000 : 40
            let chunks = full ? 5000 : 100
            let samples = try synthetic.addIndexes(count, chunks: chunks, chunksPerPack: 32)
            let indexes = try synthetic.repository.openIndexesForWriting()
            #expect(indexes.recordCount == count * chunks)
            for id in samples {
                #expect(indexes.contains(id))
                #expect(try indexes.locations(of: id).count == 1)
            }
        }
    }

    /// 10,000 snapshots of 1,000,000 chunks, one an hour.
    @Test func manySnapshotsAreThere() throws {
        guard Self.isWanted("prune") else { return }
        try Self.withFolder("prune") { root, cache, state in
            let full = Self.wanted != nil
            var synthetic = try SyntheticRepository(
                root: root, cacheRoot: cache, state: state,
                chunker: ChunkerParameters(minimum: 256, average: 1024, maximum: 4096),
                seed: 2)
            let count = full ? 10_000 : 40
            try synthetic.addSnapshots(
                count, newBytes: full ? 106_000 : 20_000, perIndex: full ? 10 : 2,
                begin: Timestamp(year: 2025, month: 1, day: 1), interval: 3600)
            #expect(try SnapshotCatalog(synthetic.repository).snapshots.count == count)
            let indexes = try synthetic.repository.openIndexes()
            #expect(indexes.recordCount >= (full ? 1_000_000 : 500))
        }
    }
}
