// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatStorage

/// A new repository in a folder of its own, removed by `remove`.
struct RepositoryFixture {
    let folder: TemporaryFolder
    let store: LocalFolderStore
    let repository: Repository

    var root: String { "\(folder.path)/repository" }

    /// `inMemory` puts it on a memory file system, for tests that write thousands of small objects.
    init(chunker: ChunkerParameters = ChunkerParameters(), inMemory: Bool = false) throws {
        folder = try TemporaryFolder(prefix: "lifeboat-repository-", in: inMemory ? "/dev/shm" : nil)
        store = try LocalFolderStore.create(at: "\(folder.path)/repository")
        _ = try Repository.create(in: store, chunker: chunker, clock: SystemClock())
        repository = try Repository.open(store, cacheRoot: "\(folder.path)/cache")
    }

    func remove() { try? folder.remove() }

    static let settings = WriterSettings(workers: 2, contentWriters: 2)

    /// Stores the contents and gives their references, with everything durable.
    func store(
        _ contents: [[UInt8]], settings: WriterSettings = settings
    ) throws -> (references: [ContentReference], statistics: WriterStatistics) {
        let writer = try RepositoryWriter(repository, settings)
        do {
            let target = writer.makeContentWriter()
            var pending: [PendingContent] = []
            for content in contents {
                try content.withUnsafeBytes { try target.append($0) }
                pending.append(try target.endContent())
            }
            target.flush()
            let references = try pending.map { try writer.reference(to: $0) }
            return (references, try writer.finish())
        } catch {
            writer.abandon()
            throw error
        }
    }

    func read(_ reference: ContentReference) throws -> [UInt8] {
        let source = try ContentSource(ChunkReader(repository, repository.openIndexes()), reference)
        var bytes = [UInt8](repeating: 0, count: Int(reference.size) + 1)
        let count = try bytes.withUnsafeMutableBytes { try source.readFully(into: $0) }
        bytes.removeSubrange(count...)
        return bytes
    }
}
