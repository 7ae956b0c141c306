// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
package import LifeboatFormats
package import LifeboatIO
package import LifeboatRepository
package import LifeboatStorage

/// A repository in a temporary folder with a tree in it: what extraction is tested against.
package struct StoredTree: Sendable {
    package let folder: TemporaryFolder
    package let store: LocalFolderStore
    package let repository: Repository
    /// The mtree text.
    package let tree: ContentReference
    /// As stored, with the references of their content.
    package let entries: [TreeEntry]

    /// Stores the contents of the files among `entries` (by path; a file without one keeps the content it has), then
    /// the tree itself. `entries` are in tree order, the root first.
    package init(
        _ entries: [TreeEntry], contents: [[UInt8]: [UInt8]],
        chunker: ChunkerParameters = ChunkerParameters(minimum: 4096, average: 16384, maximum: 65536)
    ) throws {
        folder = try TemporaryFolder(prefix: "lifeboat-tree-")
        store = try LocalFolderStore.create(at: "\(folder.path)/repository")
        _ = try Repository.create(in: store, chunker: chunker, clock: SystemClock())
        repository = try Repository.open(store, cacheRoot: "\(folder.path)/cache")
        // The files first and the listing by another writer: it is in a pack of its own, so that tests can damage one
        // without the other.
        let files = entries.filter { contents[$0.path] != nil }
        let references = try Self.write(files.map { contents[$0.path] ?? [] }, to: repository)
        let byPath = Dictionary(uniqueKeysWithValues: zip(files.map(\.path), references))
        var stored = entries
        for position in stored.indices {
            stored[position].content = byPath[stored[position].path] ?? stored[position].content
        }
        self.entries = stored
        var text = MtreeEncoder.header
        for entry in stored { MtreeEncoder.append(entry, to: &text) }
        tree = try Self.write([text], to: repository)[0]
    }

    private static func write(_ contents: [[UInt8]], to repository: Repository) throws -> [ContentReference] {
        let writer = try RepositoryWriter(repository, WriterSettings(workers: 2, contentWriters: 2))
        do {
            let target = writer.makeContentWriter()
            var pending: [PendingContent] = []
            for content in contents {
                try content.withUnsafeBytes { try target.append($0) }
                pending.append(try target.endContent())
            }
            target.flush()
            let references = try pending.map { try writer.reference(to: $0) }
            _ = try writer.finish()
            return references
        } catch {
            writer.abandon()
            throw error
        }
    }

    package func remove() throws { try folder.remove() }

    package func reader() throws -> ChunkReader { ChunkReader(repository, try repository.openIndexes()) }

    /// Files of the packs, ascending.
    package func packPaths() throws -> [String] {
        try store.listAll(prefix: RepositoryLayout.packPrefix).map { "\(folder.path)/repository/\($0.key.text)" }
    }
}
