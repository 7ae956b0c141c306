// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatStorage
import LifeboatTesting
import Testing

/// A repository in memory with snapshots of small trees, made and checked without the engine.
final class PruneFixture: @unchecked Sendable {
    // Sendable: a test uses it from one thread at a time; what it lets happen inside a call of the store happens while
    // the test waits for that call.
    let store = MemoryStore()
    let folder: TemporaryFolder
    private(set) var snapshots: [Digest: [[UInt8]]] = [:]
    /// References to the contents of the snapshot that was made last.
    private(set) var newestReferences: [ContentReference] = []
    private var sequence: UInt64 = 0
    private var newest: Digest?
    private let trust: HostTrust?

    /// `signs`: the host signs what it writes, names the snapshot before in each, and remembers the newest.
    init(
        signs: Bool = false, chunker: ChunkerParameters = ChunkerParameters(minimum: 64, average: 256, maximum: 1024)
    ) throws {
        folder = try TemporaryFolder(prefix: "lifeboat-prune-", in: "/dev/shm")
        trust = signs ? HostTrust(state: "\(folder.path)/state") : nil
        _ = try Repository.create(
            in: store, chunker: chunker, trust: trust, host: "host", clock: SystemClock())
    }

    func remove() { try? folder.remove() }

    func open(_ store: (any ObjectStore)? = nil, cache: String = "cache") throws -> Repository {
        try Repository.open(store ?? self.store, cacheRoot: "\(folder.path)/\(cache)", trust: trust)
    }

    /// Deterministic contents of a few thousand bytes.
    static func content(_ seed: UInt64, count: Int = 3000) -> [UInt8] {
        var random = SplitMix64(seed: seed)
        return random.bytes(count)
    }

    /// Stores contents and a tree that lists them, and commits a manifest; the steps of a backup. `parents`: what the
    /// first contents grew from.
    @discardableResult
    func backUp(
        _ contents: [[UInt8]], into repository: Repository, lease given: Lease? = nil,
        parents: [ContentReference] = [], beforeCommit: () throws -> Void = {}
    ) throws -> Snapshot {
        let lease = try given ?? Lease.take(.backup, repository, host: "host")
        defer { lease.release() }
        let references = try write(contents, repository, parents)
        var text = MtreeEncoder.header
        let time = Timestamp(seconds: 1_700_000_000)
        MtreeEncoder.append(
            TreeEntry(path: [], kind: .directory, mode: 0o755, userID: 0, groupID: 0, modificationTime: time),
            to: &text)
        for (number, reference) in references.enumerated() {
            var entry = TreeEntry(
                path: Array("file\(number + 100)".utf8), kind: .file, mode: 0o644, userID: 0, groupID: 0,
                modificationTime: time)
            entry.size = reference.size
            entry.content = reference
            MtreeEncoder.append(entry, to: &text)
        }
        let tree = try write([text], repository)[0]
        sequence += 1
        var manifest = Manifest(
            repositoryID: repository.config.repositoryID, stack: "small", host: "host", sequence: sequence,
            previous: trust == nil ? nil : newest, started: Timestamp(seconds: 1_700_000_000 + Int64(sequence)),
            lifeboat: "test")
        var component = Manifest.Component(name: "files", store: "volume", source: "/small", method: "walk")
        component.parts = [Manifest.Part(name: "files", kind: .tree, content: tree)]
        manifest.components = [component]
        manifest.complete = true
        try beforeCommit()
        try lease.announce(manifest)
        let snapshot = try SnapshotCatalog.commit(manifest, to: repository)
        snapshots[snapshot.id] = contents
        newestReferences = references
        newest = snapshot.id
        return snapshot
    }

    private func write(
        _ contents: [[UInt8]], _ repository: Repository, _ parents: [ContentReference] = []
    ) throws -> [ContentReference] {
        let writer = try RepositoryWriter(repository, WriterSettings(workers: 1, contentWriters: 1))
        do {
            let target = writer.makeContentWriter()
            var pending: [PendingContent] = []
            let reader = ChunkReader(repository, writer.parentIndexes)
            for (number, content) in contents.enumerated() {
                if number < parents.count { target.beginContent(parent: parents[number], reader) }
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

    /// Removes the manifest.
    func forget(_ snapshot: Snapshot) throws {
        let key = RepositoryLayout.manifest(
            stack: snapshot.manifest.stack, time: snapshot.manifest.frozen, id: snapshot.id)
        _ = try store.delete(key)
        snapshots[snapshot.id] = nil
    }

    /// Removes all but the newest `count` snapshots as `forget` does, and says so in a signed list.
    func forget(keepingLast count: Int, in repository: Repository) throws {
        let retention = Retention(repository, stack: "small")
        let zone = TimeZoneRules(name: "UTC", rule: try #require(PosixTimeZone("UTC0")))
        let plan = try retention.plan(
            RetentionRules(last: count), calendar: RetentionCalendar(zone: zone), now: SystemClock().now()
        ).plan
        _ = try retention.carryOut(plan, clock: SystemClock(), host: "host", cancellation: Cancellation())
        for gone in plan.removed { snapshots[gone.id] = nil }
    }

    func prune(
        _ repository: Repository, _ change: (inout PruneOptions) -> Void = { _ in }
    ) throws -> PruneOutcome {
        var options = PruneOptions()
        options.grace = 0
        change(&options)
        return try Pruner(
            repository, host: "host", options: options, clock: SystemClock(), progress: SilentProgress(),
            cancellation: Cancellation()
        ).run()
    }

    /// What is wrong: findings of a full check, and snapshots that do not give back what went in. As a new host sees it.
    func problems() throws -> [String] {
        let cache = try TemporaryFolder(prefix: "lifeboat-prune-cache-", in: "/dev/shm")
        defer { try? cache.remove() }
        let repository = try Repository.open(store, cacheRoot: cache.path, trust: trust)
        let report = try RepositoryChecker(
            repository, threads: 1, progress: SilentProgress(), cancellation: Cancellation()
        ).run(readData: true)
        var problems = report.problems.map { "\($0.object): \($0.reason)" }
        let catalog = try SnapshotCatalog(repository)
        problems += catalog.damaged.map(\.description)
        let found = Set(catalog.snapshots.map(\.id))
        problems += snapshots.keys.filter { !found.contains($0) }.map { "snapshot \($0.shortHex) is gone" }
        let reader = ChunkReader(repository, try repository.openIndexes())
        for snapshot in catalog.snapshots {
            guard let expected = snapshots[snapshot.id] else { continue }
            var contents: [[UInt8]] = []
            let part = snapshot.manifest.components[0].parts[0]
            let entries = try part.entries(reader)
            while let entry = try entries.next() {
                guard let content = entry.content else { continue }
                let source = try ContentSource(reader, content)
                var bytes = [UInt8](repeating: 0, count: Int(content.size) + 1)
                let count = try bytes.withUnsafeMutableBytes { try source.readFully(into: $0) }
                contents.append(Array(bytes[..<count]))
            }
            if contents != expected { problems.append("snapshot \(snapshot.id.shortHex) came back wrong") }
        }
        return problems
    }

    /// Stored bytes of packs and indexes.
    var bytes: UInt64 {
        get throws {
            try [RepositoryLayout.packPrefix, RepositoryLayout.indexPrefix].reduce(0) { sum, prefix in
                try sum + store.listAll(prefix: prefix).reduce(0) { $0 + $1.size }
            }
        }
    }

    func count(_ prefix: String) throws -> Int { try store.listAll(prefix: prefix).count }
    var packs: Int { get throws { try count(RepositoryLayout.packPrefix) } }
}
