// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatStorage

extension Repository {
    /// Indexes over what is in packs that none of `indexes` names, made from the packs themselves: so that a damaged or
    /// lost index does not take with it what it named. Reads these packs whole. Nothing is stored in the repository.
    /// `begins` is called with their number before the first is read; it is not when there are none.
    func indexUnnamedPacks(_ indexes: IndexSet, _ begins: (_ packs: Int) -> Void) throws -> [MappedIndex] {
        let named = try indexes.packNames()
        let unnamed = try objects(RepositoryLayout.packPrefix).compactMap { RepositoryLayout.packName($0.key) }
            .filter { !named.contains($0) }
        guard !unnamed.isEmpty else { return [] }
        begins(unnamed.count)
        let examiner = try PackExaminer(self)
        var found = NewIndexes(self, stores: false)
        for pack in unnamed {
            do {
                switch try examiner.verdict(on: pack) {
                case .sound(let contents): try found.add(contents)
                case .damaged:
                    guard let rest = try examiner.remains(of: pack), !rest.chunks.isEmpty else { continue }
                    try found.add(rest)
                }
            } catch let error as LifeboatError where error.exitCode == .wrongKey {
                // For other readers: what is in it cannot be had here.
                continue
            }
        }
        try found.seal()
        return found.indexes
    }
}

extension ChunkReader {
    /// For a command that gives back data: reports damaged indexes, and looks for chunks that cannot be had in packs that
    /// no index names, as warnings to `progress`.
    package convenience init(
        _ repository: Repository, _ indexes: IndexSet, cacheLimit: Int = usualCacheLimit,
        reportingTo progress: any ProgressSink
    ) {
        for damage in indexes.damagedIndexes { progress.report(.warning(damage)) }
        self.init(repository, indexes, cacheLimit: cacheLimit) { packs in
            progress.report(
                .warning(
                    LifeboatError(
                        "what no index names is looked for in \(packs) packs: an index is damaged or missing",
                        hint: "Run 'lifeboat repair' to write indexes anew.", exitCode: .damagedRepository)))
        }
    }
}
