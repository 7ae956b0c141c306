// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatStorage
import Testing

/// A small repository with one snapshot, and what must come out of it.
private struct SmallRepository {
    let fixture: RepositoryFixture
    let contents: [[UInt8]]
    let references: [ContentReference]
    let snapshot: Snapshot

    init() throws {
        fixture = try RepositoryFixture(
            chunker: ChunkerParameters(minimum: 64, average: 128, maximum: 512), inMemory: true)
        contents = [Array("a first file\n".utf8), Array(repeating: 9, count: 300), (0..<900).map { UInt8($0 % 251) }]
        references = try fixture.store(contents).references
        var text = MtreeEncoder.header
        let time = Timestamp(seconds: 1_700_000_000)
        MtreeEncoder.append(
            TreeEntry(path: [], kind: .directory, mode: 0o755, userID: 0, groupID: 0, modificationTime: time),
            to: &text)
        for (number, reference) in references.enumerated() {
            var entry = TreeEntry(
                path: Array("file\(number)".utf8), kind: .file, mode: 0o644, userID: 0, groupID: 0,
                modificationTime: time)
            entry.size = reference.size
            entry.content = reference
            MtreeEncoder.append(entry, to: &text)
        }
        let tree = try fixture.store([text]).references[0]
        var manifest = Manifest(
            repositoryID: fixture.repository.config.repositoryID, stack: "small", host: "host", sequence: 1,
            previous: nil, started: time, lifeboat: "test")
        var component = Manifest.Component(name: "files", store: "volume", source: "/small", method: "walk")
        component.parts = [Manifest.Part(name: "files", kind: .tree, content: tree)]
        manifest.components = [component]
        manifest.complete = true
        snapshot = try SnapshotCatalog.commit(manifest, to: fixture.repository)
    }

    /// Opens the repository as a new process on another host would, and reads everything.
    func readAll() throws -> [[UInt8]] {
        let cache = try TemporaryFolder(in: "/dev/shm")
        defer { try? cache.remove() }
        let repository = try Repository.open(fixture.store, cacheRoot: cache.path)
        let found = try SnapshotCatalog(repository).find("latest")
        let reader = ChunkReader(repository, try repository.openIndexes())
        guard let tree = found.manifest.components.first?.parts.first?.content else { return [] }
        let entries = MtreeReader(try ContentSource(reader, tree))
        var files: [[UInt8]] = []
        while let entry = try entries.next() {
            guard let content = entry.content else { continue }
            let source = try ContentSource(reader, content)
            var bytes = [UInt8](repeating: 0, count: Int(content.size) + 1)
            let count = try bytes.withUnsafeMutableBytes { try source.readFully(into: $0) }
            files.append(Array(bytes[..<count]))
        }
        return files
    }

    /// A full check by a new process; opening may fail too, which counts as a finding.
    func findings() throws -> [String] {
        let cache = try TemporaryFolder(in: "/dev/shm")
        defer { try? cache.remove() }
        do {
            let repository = try Repository.open(fixture.store, cacheRoot: cache.path)
            let report = try RepositoryChecker(
                repository, threads: 1, progress: SilentProgress(), cancellation: Cancellation()
            ).run(readData: true)
            return report.problems.map { "\($0.object): \($0.reason)" }
        } catch let error as LifeboatError {
            return [error.message]
        }
    }
}

@Suite struct DamageTests {
    @Test func aHealthyRepositoryHasNoFindings() throws {
        let small = try SmallRepository()
        defer { small.fixture.remove() }
        #expect(try small.findings() == [])
        #expect(try small.readAll() == small.contents)
    }

    /// Flips every byte of every object, one at a time: the check names it, and a restore gives the right bytes or an
    /// error, never wrong bytes.
    @Test func noFlippedByteStaysUnnoticed() throws {
        let small = try SmallRepository()
        defer { small.fixture.remove() }
        for object in try small.fixture.store.listAll(prefix: "") {
            let path = "\(small.fixture.root)/\(object.key)"
            let original = try small.fixture.store.get(object.key, limit: 1 << 20)
            for position in original.indices {
                var damaged = original
                damaged[position] ^= 1 << UInt8(position % 8)
                try damaged.withUnsafeBytes { _ = try AtomicFile.write([$0], to: path, durable: false) }
                #expect(try !small.findings().isEmpty, "byte \(position) of \(object.key)")
                do {
                    let files = try small.readAll()
                    #expect(files == small.contents, "byte \(position) of \(object.key)")
                } catch is LifeboatError {
                } catch is StorageError {
                }
            }
            try original.withUnsafeBytes { _ = try AtomicFile.write([$0], to: path, durable: false) }
        }
        #expect(try small.findings() == [])
    }

    @Test func noTruncatedOrMissingObjectStaysUnnoticed() throws {
        let small = try SmallRepository()
        defer { small.fixture.remove() }
        for object in try small.fixture.store.listAll(prefix: "") {
            let path = "\(small.fixture.root)/\(object.key)"
            let original = try small.fixture.store.get(object.key, limit: 1 << 20)
            for length in Set([0, 1, original.count / 2, original.count - 1]) {
                try original[..<length].withUnsafeBytes { _ = try AtomicFile.write([$0], to: path, durable: false) }
                #expect(try !small.findings().isEmpty, "\(object.key) cut to \(length)")
            }
            #expect(try small.fixture.store.delete(object.key))
            let isOnlyManifest = object.key.text.hasPrefix(RepositoryLayout.snapshotPrefix)
            // Nothing in the repository itself remembers the newest manifest: signatures and host memory will.
            if !isOnlyManifest { #expect(try !small.findings().isEmpty, "\(object.key) removed") }
            try original.withUnsafeBytes { _ = try AtomicFile.write([$0], to: path, durable: false) }
        }
    }
}
