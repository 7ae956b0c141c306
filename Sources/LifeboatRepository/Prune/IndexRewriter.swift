// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatStorage

/// Writes indexes anew, without packs that are gone, many small ones as one. The new ones are durable before the first
/// old one goes: whenever this ends, every chunk that is kept is in an index.
struct IndexRewriter {
    let repository: Repository

    /// Replaces the indexes of those names by others that leave out `dropped` packs.
    func rewrite(_ names: [Digest], of indexes: IndexSet, dropping dropped: Set<Digest>) throws {
        guard !names.isEmpty else { return }
        let wanted = Set(names)
        var pending: [PackContents] = []
        var pendingChunks = 0
        var written: [Digest: Int] = [:]
        for index in indexes.all where wanted.contains(index.name) {
            defer { index.forgetPages() }
            for pack in try contents(of: index, dropping: dropped) {
                // A pack that two of them name in the same way is named once.
                guard written[pack.name] != pack.chunks.count else { continue }
                written[pack.name] = pack.chunks.count
                pending.append(pack)
                pendingChunks += pack.chunks.count
                if pendingChunks >= PrunePlanner.chunksPerMergedIndex {
                    _ = try repository.storeIndex(pending)
                    pending = []
                    pendingChunks = 0
                }
            }
        }
        if !pending.isEmpty { _ = try repository.storeIndex(pending) }
        for name in names { _ = try repository.delete(RepositoryLayout.index(name)) }
    }

    /// What an index says, pack by pack.
    func contents(of index: MappedIndex, dropping dropped: Set<Digest>) throws -> [PackContents] {
        var packs: [PackContents?] = (0..<index.packCount).map { number in
            let pack = index.pack(number)
            guard !dropped.contains(pack.name) else { return nil }
            return PackContents(name: pack.name, storedSize: pack.storedSize, frames: [], chunks: [])
        }
        // Position of a frame among those of its pack.
        var positions = [Int](repeating: 0, count: index.frameCount)
        for number in 0..<index.frameCount {
            let frame = index.frame(number)
            guard frame.pack < index.packCount else {
                throw RepositoryError.damaged(
                    RepositoryLayout.index(index.name).text, "frame \(number) names a pack that is not there")
            }
            positions[number] = packs[frame.pack]?.frames.count ?? 0
            packs[frame.pack]?.frames.append(
                PackContents.Frame(offset: frame.offset, length: frame.length, plainLength: frame.plainLength))
        }
        for record in 0..<index.chunkCount {
            let place = try index.location(at: record)
            guard let frame = index.frameNumber(at: record) else { continue }
            packs[index.frame(frame).pack]?.chunks.append(
                PackContents.Chunk(
                    id: index.chunkID(record), frame: positions[frame], offset: place.offset, length: place.length,
                    bases: place.bases))
        }
        return packs.compactMap { $0 }
    }
}
