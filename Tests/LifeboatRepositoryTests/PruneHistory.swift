// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatStorage
import LifeboatTesting

/// A repository in memory that lives through random nights: contents are edited, taken back, replaced and removed;
/// snapshots are made, whose new chunks become deltas of those before; some are forgotten; prunes repack; backups and
/// prunes are killed at random calls of the store. Everything follows from the seed.
final class PruneHistory {
    static let chunker = ChunkerParameters(minimum: 16 << 10, average: 32 << 10, maximum: 128 << 10)

    /// A snapshot that was committed, and what went in.
    private struct Night {
        var snapshot: Snapshot
        var contents: [Int: [UInt8]]
        var references: [Int: ContentReference]
    }

    private let store = MemoryStore()
    private let folder: TemporaryFolder
    private let seed: UInt64
    private var random: SplitMix64
    private var nights: [Night] = []
    private var sequence: UInt64 = 0
    private var contents: [Int: [UInt8]] = [:]
    /// What contents were once, to come back one day.
    private var past: [[UInt8]] = []
    private var nextContent = 0
    private var caches = 0

    init(seed: UInt64) throws {
        self.seed = seed
        random = SplitMix64(seed: seed)
        folder = try TemporaryFolder(prefix: "lifeboat-history-", in: "/dev/shm")
        _ = try Repository.create(in: store, chunker: Self.chunker, clock: SystemClock())
    }

    func remove() { try? folder.remove() }

    /// Lives through it; gives what is wrong in the end, empty when nothing is.
    func run() throws -> [String] {
        for _ in 0..<chance(2...3) { addContent() }
        for _ in 0..<chance(3...9) {
            edit()
            try backUp()
            if chance(0...2) == 0 { try forget(keepingLast: chance(1...4)) }
            if chance(0...2) > 0 { try prune(isKilled: chance(0...3) == 0) }
        }
        try forget(keepingLast: chance(1...3))
        return try outcome()
    }

    private func chance(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }

    // MARK: - Data

    private func addContent() {
        let size = chance(20...260) << 10
        contents[nextContent] = chance(0...2) == 0 ? text(size) : random.bytes(size)
        nextContent += 1
    }

    /// Words, which compress to about a third.
    private func text(_ size: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < size { bytes += Array("\(UInt32.random(in: 0..<60_000, using: &random))\n".utf8) }
        return bytes
    }

    private func edit() {
        for number in contents.keys.sorted() {
            guard var bytes = contents[number] else { continue }
            switch chance(0...9) {
            case 0: continue
            case 1:
                // Something that was there before.
                if let old = past.randomElement(using: &random) { bytes = old }
            case 2:
                let start = chance(0...bytes.count - 1)
                bytes.replaceSubrange(
                    start..<min(bytes.count, start + chance(0...9000)), with: random.bytes(chance(0...9000)))
            default:
                for _ in 0..<chance(1...4) {
                    let length = min(bytes.count, chance(0...5) == 0 ? chance(1...30_000) : chance(1...1500))
                    let start = chance(0...bytes.count - length)
                    bytes.replaceSubrange(start..<start + length, with: random.bytes(length))
                }
            }
            if chance(0...2) == 0, let old = contents[number] { past.append(old) }
            if bytes.count < 400 << 10 { contents[number] = bytes }
        }
        if chance(0...5) == 0, contents.count > 1, let gone = contents.keys.sorted().randomElement(using: &random) {
            contents[gone] = nil
        }
        if chance(0...4) == 0 { addContent() }
    }

    // MARK: - Backups

    private func open(_ store: any ObjectStore) throws -> Repository {
        // A process that was killed may leave anything half in its cache.
        caches += 1
        return try Repository.open(store, cacheRoot: "\(folder.path)/cache\(caches / 4)")
    }

    private func faulty() -> FaultInjectingStore {
        let faulty = FaultInjectingStore(store)
        faulty.inject(
            chance(0...1) == 0 ? .failBefore(.transient) : .failAfter(.transient), at: chance(1...60), repeating: true)
        return faulty
    }

    private func backUp() throws {
        if chance(0...4) == 0 {
            do {
                _ = try backUp(contents, parent: nights.last?.references ?? [:], into: open(faulty()))
            } catch is LifeboatError {
            } catch is StorageError {
            }
            // It may have got as far as its manifest.
            let known = Set(nights.map(\.snapshot.id))
            let repository = try open(store)
            for snapshot in try SnapshotCatalog(repository).snapshots where !known.contains(snapshot.id) {
                let reader = ChunkReader(repository, try repository.openIndexes())
                var references: [ContentReference] = []
                let entries = try snapshot.manifest.components[0].parts[0].entries(reader)
                while let entry = try entries.next() { if let content = entry.content { references.append(content) } }
                nights.append(
                    Night(
                        snapshot: snapshot, contents: contents,
                        references: Dictionary(uniqueKeysWithValues: zip(contents.keys.sorted(), references))))
            }
        }
        nights.append(
            try backUp(contents, parent: nights.last?.references ?? [:], into: open(store)))
    }

    /// The steps of a backup. The parent of a content is the one of that number in the snapshot before.
    private func backUp(
        _ contents: [Int: [UInt8]], parent: [Int: ContentReference], into repository: Repository
    ) throws -> Night {
        let lease = try Lease.take(.backup, repository, host: "host")
        defer { lease.release() }
        let writer = try RepositoryWriter(repository, WriterSettings(workers: 1, contentWriters: 1))
        var references: [Int: ContentReference] = [:]
        let tree: ContentReference
        do {
            let reader = ChunkReader(repository, writer.parentIndexes)
            let presence = ContentPresence(reader)
            let target = writer.makeContentWriter()
            var pending: [(number: Int, content: PendingContent)] = []
            for (number, content) in contents.sorted(by: { $0.key < $1.key }) {
                if let before = parent[number], presence.isComplete(before) {
                    target.beginContent(parent: before, reader)
                }
                try content.withUnsafeBytes { try target.append($0) }
                pending.append((number, try target.endContent()))
            }
            target.flush()
            for (number, content) in pending { references[number] = try writer.reference(to: content) }
            let text = Self.tree(references)
            try text.withUnsafeBytes { try target.append($0) }
            let listing = try target.endContent()
            target.flush()
            tree = try writer.reference(to: listing)
            _ = try writer.finish()
        } catch {
            writer.abandon()
            throw error
        }
        sequence += 1
        var manifest = Manifest(
            repositoryID: repository.config.repositoryID, stack: "small", host: "host", sequence: sequence,
            previous: nil, started: Timestamp(seconds: 1_700_000_000 + Int64(sequence)), lifeboat: "test")
        var component = Manifest.Component(name: "files", store: "volume", source: "/small", method: "walk")
        component.parts = [Manifest.Part(name: "files", kind: .tree, content: tree)]
        manifest.components = [component]
        manifest.complete = true
        try lease.announce(manifest)
        return Night(
            snapshot: try SnapshotCatalog.commit(manifest, to: repository), contents: contents, references: references)
    }

    private static func tree(_ references: [Int: ContentReference]) -> [UInt8] {
        var text = MtreeEncoder.header
        let time = Timestamp(seconds: 1_700_000_000)
        MtreeEncoder.append(
            TreeEntry(path: [], kind: .directory, mode: 0o755, userID: 0, groupID: 0, modificationTime: time),
            to: &text)
        for (number, reference) in references.sorted(by: { $0.key < $1.key }) {
            var entry = TreeEntry(
                path: Array("file\(number + 10_000)".utf8), kind: .file, mode: 0o644, userID: 0, groupID: 0,
                modificationTime: time)
            entry.size = reference.size
            entry.content = reference
            MtreeEncoder.append(entry, to: &text)
        }
        return text
    }

    // MARK: - Retention

    private func forget(keepingLast count: Int) throws {
        while nights.count > count {
            let snapshot = nights.removeFirst().snapshot
            _ = try store.delete(
                RepositoryLayout.manifest(
                    stack: snapshot.manifest.stack, time: snapshot.manifest.frozen, id: snapshot.id))
        }
    }

    @discardableResult
    private func prune(isKilled: Bool) throws -> PruneOutcome? {
        var options = PruneOptions()
        options.grace = chance(0...3) == 0 ? 3600 : 0
        options.maximumUnused = [0, 0.05, 0.05, 0.2][chance(0...3)]
        options.force = true
        // Those that were killed are processes of this one, which lives.
        options.leases = LeaseSettings(deadAfter: 0, announcedManifestLifetime: 0)
        guard isKilled else { return try prune(open(store), options) }
        do {
            return try prune(open(faulty()), options)
        } catch is LifeboatError {
        } catch is StorageError {
        }
        return nil
    }

    private func prune(_ repository: Repository, _ options: PruneOptions) throws -> PruneOutcome {
        try Pruner(
            repository, host: "host", options: options, clock: SystemClock(), progress: SilentProgress(),
            cancellation: Cancellation()
        ).run()
    }

    // MARK: - The end

    private static func stored(_ store: MemoryStore) throws -> UInt64 {
        try [RepositoryLayout.packPrefix, RepositoryLayout.indexPrefix].reduce(0) { sum, prefix in
            try sum + store.listAll(prefix: prefix).reduce(0) { $0 + $1.size }
        }
    }

    /// Prunes with nobody else at work until nothing changes, and compares: every snapshot, and the bytes that are
    /// stored with those that the same snapshots take in a new repository.
    private func outcome() throws -> [String] {
        var problems: [String] = []
        var options = PruneOptions()
        options.grace = 0
        options.force = true
        options.leases = LeaseSettings(deadAfter: 0, announcedManifestLifetime: 0)
        let repository = try open(store)
        for _ in 0..<Self.prunes {
            let outcome = try prune(repository, options)
            problems += outcome.problems.map { "prune found: \($0)" }
        }
        let bytes = try Self.stored(store)
        let idle = try prune(repository, options)
        if idle.packsWritten + idle.condemned.count + idle.deleted.count + idle.waiting.count > 0 {
            problems.append(
                "prune \(Self.prunes + 1) still wrote \(idle.packsWritten) packs, condemned \(idle.condemned.count), "
                    + "deleted \(idle.deleted.count), left \(idle.waiting.count)")
        }
        problems += try check()
        let fresh = try Self.stored(storedAfresh())
        if Double(bytes) > Double(fresh) * 1.10 + Double(fresh) * 0.05 {
            problems.append(
                "\(bytes) bytes are stored for \(nights.count) snapshots that take \(fresh) in a new repository: "
                    + "\(Double(bytes) / Double(fresh)), \(idle.plan.wastedBytes) of them unused, \(idle.plan.excessBytes) in "
                    + "deltas of dead chunks")
        }
        return problems.map { "seed \(seed): \($0)" }
    }

    /// So many runs end it: the first moves what is needed and deletes what nothing needs, the second finds what the
    /// first could not yet judge.
    private static let prunes = 2

    private func check() throws -> [String] {
        let repository = try Repository.open(store, cacheRoot: "\(folder.path)/fresh")
        var problems = try RepositoryChecker(
            repository, threads: 1, progress: SilentProgress(), cancellation: Cancellation()
        ).run(readData: true).problems.map { "\($0.object): \($0.reason)" }
        let reader = ChunkReader(repository, try repository.openIndexes())
        let found = Set(try SnapshotCatalog(repository).snapshots.map(\.id))
        for night in nights {
            guard found.contains(night.snapshot.id) else {
                problems.append("snapshot \(night.snapshot.id.shortHex) is gone")
                continue
            }
            var contents: [[UInt8]] = []
            let entries = try night.snapshot.manifest.components[0].parts[0].entries(reader)
            while let entry = try entries.next() {
                guard let content = entry.content else { continue }
                let source = try ContentSource(reader, content)
                var bytes = [UInt8](repeating: 0, count: Int(content.size) + 1)
                let count = try bytes.withUnsafeMutableBytes { try source.readFully(into: $0) }
                contents.append(Array(bytes[..<count]))
            }
            if contents != night.contents.sorted(by: { $0.key < $1.key }).map(\.value) {
                problems.append("snapshot \(night.snapshot.id.shortHex) came back wrong")
            }
        }
        return problems
    }

    /// A new repository in which the snapshots that are kept are made again.
    private func storedAfresh() throws -> MemoryStore {
        let fresh = MemoryStore()
        _ = try Repository.create(in: fresh, chunker: Self.chunker, clock: SystemClock())
        let repository = try Repository.open(fresh, cacheRoot: "\(folder.path)/again")
        var parent: [Int: ContentReference] = [:]
        for night in nights {
            parent = try backUp(night.contents, parent: parent, into: repository).references
        }
        // As one index, as a prune leaves it.
        var options = PruneOptions()
        options.grace = 0
        options.repacks = false
        _ = try prune(repository, options)
        return fresh
    }
}
