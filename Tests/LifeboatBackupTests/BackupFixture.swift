// SPDX-License-Identifier: Apache-2.0

import LifeboatBackup
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatRestore
import LifeboatStorage
import LifeboatStores
import LifeboatTesting

/// A folder to back up, a repository beside it, and the way back.
struct BackupFixture {
    let folder: TemporaryFolder
    let store: LocalFolderStore
    let repository: Repository

    var source: String { "\(folder.path)/source" }

    init() throws {
        folder = try TemporaryFolder(prefix: "lifeboat-backup-")
        store = try LocalFolderStore.create(at: "\(folder.path)/repository")
        _ = try Repository.create(in: store, clock: SystemClock())
        repository = try Repository.open(store, cacheRoot: "\(folder.path)/cache")
        try FileTree.createFolders(source)
    }

    func remove() { try? folder.remove() }

    func write(_ bytes: [UInt8], to name: String) throws {
        let path = "\(source)/\(name)"
        if let slash = path.lastIndex(of: "/") { try FileTree.createFolders(String(path[..<slash])) }
        try bytes.withUnsafeBytes { _ = try AtomicFile.write([$0], to: path, mode: 0o644, durable: false) }
    }

    /// A few small files, an empty one, a large one, a link.
    func fill(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        for number in 0..<40 {
            try write(Array("file \(number) of \(seed)\n".utf8), to: "docs/\(number % 7)/\(number).txt")
        }
        try write([], to: "empty")
        try write(random.bytes(5_000_000), to: "models/weights.bin")
    }

    func backUp(
        _ components: [BackupComponent]? = nil, into repository: Repository? = nil,
        cancellation: Cancellation = Cancellation()
    ) throws -> BackupOutcome {
        let components =
            components ?? [BackupComponent(name: "files", store: VolumeStore(path: source), source: source)]
        let engine = BackupEngine(
            repository: repository ?? self.repository,
            settings: BackupEngine.settings(processors: 2, components: components.count, compressionLevel: 3),
            clock: SystemClock(), progress: SilentProgress(), cancellation: cancellation)
        return try engine.run(
            BackupRequest(
                stack: "test", host: "host", components: components, policyText: nil, lifeboatVersion: "test"))
    }

    /// Restores the newest complete snapshot below a new folder and tells whether it equals `source` in content,
    /// names, modes and times.
    func restoredEqualsSource() throws -> Bool {
        let snapshot = try SnapshotCatalog(repository).find("latest")
        let target = try TemporaryFolder(prefix: "lifeboat-restored-", in: folder.path)
        defer { try? target.remove() }
        let restore = LooseRestore(
            ChunkReader(repository, try repository.openIndexes()), clock: SystemClock(), progress: SilentProgress(),
            cancellation: Cancellation()
        ) { try FolderTarget($0, $1) }
        let outcome = try restore.run(snapshot, to: target.path, options: LooseRestore.Options(threads: 2))
        guard outcome.exitCode == .done else { return false }
        let compare = try SystemProcessRunner().run(
            ProcessCommand(
                "bash",
                [
                    "-euc",
                    "diff -r --no-dereference \"$1\" \"$2\" && cmp <(cd \"$1\" && find . -printf '%p %y %m %U %G %T@ %s\\n' | grep -v ' d ' | sort) <(cd \"$2\" && find . -printf '%p %y %m %U %G %T@ %s\\n' | grep -v ' d ' | sort)",
                    "compare", source, "\(target.path)\(source)",
                ]), deadline: 60)
        return compare.termination.succeeded
    }

    /// Copies the repository aside, for `bringRepositoryBack`.
    func keepRepository() throws { try copy("\(folder.path)/repository", to: "\(folder.path)/kept") }

    func bringRepositoryBack() throws {
        // The folder itself stays: the open store holds on to it.
        for name in ["packs", "index", "snapshots"] {
            try FileTree.remove("\(folder.path)/repository/\(name)")
            try copy("\(folder.path)/kept/\(name)", to: "\(folder.path)/repository/\(name)")
        }
    }

    private func copy(_ path: String, to target: String) throws {
        let result = try SystemProcessRunner().run(ProcessCommand("cp", ["-a", path, target]), deadline: 60)
        guard result.termination.succeeded else { throw LifeboatError(result.standardError) }
    }

    func findings() throws -> [String] {
        try RepositoryChecker(repository, threads: 1, progress: SilentProgress(), cancellation: Cancellation())
            .run(readData: true).problems.map { "\($0.object): \($0.reason)" }
    }
}
