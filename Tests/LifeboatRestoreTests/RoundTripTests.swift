// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatBackup
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatRestore
import LifeboatServices
import LifeboatStorage
import LifeboatStores
import LifeboatTesting
import Testing

/// Folders of this machine, backed up into a real repository and restored.
struct RoundTripTests {
    /// A folder with a volume to protect, a repository, and a place for state.
    struct Host {
        let folder: TemporaryFolder
        let repository: Repository
        let store: VolumeStore

        var live: String { "\(folder.path)/live/docs" }
        var journal: RestoreJournal { RestoreJournal(stateFolder: "\(folder.path)/state") }

        init() throws {
            // In memory where there is such a place: this is not about the disk.
            folder = try TemporaryFolder(
                prefix: "lifeboat-host-", in: access("/dev/shm", W_OK) == 0 ? "/dev/shm" : nil)
            let objects = try LocalFolderStore.create(at: "\(folder.path)/repository")
            _ = try Repository.create(
                in: objects, chunker: ChunkerParameters(minimum: 4096, average: 16384, maximum: 65536),
                clock: SystemClock())
            repository = try Repository.open(objects, cacheRoot: "\(folder.path)/cache")
            store = VolumeStore(path: "\(folder.path)/live/docs")
            try FileTree.createFolders("\(folder.path)/live/docs/deep/deeper")
        }

        func fill(_ word: String) throws {
            for number in 0..<120 {
                let text = String(repeating: "\(word) \(number)\n", count: number * 3)
                try AtomicFile.write(text, to: "\(live)/\(number % 3 == 0 ? "deep/" : "")file-\(number)", mode: 0o640)
            }
            var random = SplitMix64(seed: UInt64(word.utf8.count))
            let large = String(
                decoding: (0..<5_000_000 / 8).flatMap { _ in
                    withUnsafeBytes(of: random.next() & 0x7F7F_7F7F_7F7F_7F7F) { Array($0) }
                }, as: UTF8.self)
            try AtomicFile.write(large, to: "\(live)/deep/deeper/large")
            for link in ["\(live)/link", "\(live)/hard"] { unlink(link) }
            #expect(symlink("deep/deeper/large", "\(live)/link") == 0)
            #expect(link("\(live)/file-1", "\(live)/hard") == 0)
            #expect(chmod("\(live)/deep", 0o555) == 0)
        }

        func backUp() throws -> Snapshot {
            let engine = BackupEngine(
                repository: repository,
                settings: BackupEngine.settings(processors: 2, components: 1, compressionLevel: 3),
                clock: SystemClock(), progress: SilentProgress(), cancellation: Cancellation())
            let outcome = try engine.run(
                BackupRequest(
                    stack: "demo", host: "here",
                    components: [BackupComponent(name: "documents", store: store, source: live)], policyText: nil,
                    lifeboatVersion: "0"))
            #expect(outcome.problems == [])
            return outcome.snapshot
        }

        func loose(_ snapshot: Snapshot, to target: String) throws -> LooseRestore.Outcome {
            let restore = LooseRestore(
                ChunkReader(repository, try repository.openIndexes()), clock: SystemClock(),
                progress: SilentProgress(), cancellation: Cancellation()
            ) { try FolderTarget($0, $1) }
            return try restore.run(snapshot, to: target, options: LooseRestore.Options(threads: 2))
        }

        func stack(_ health: FolderHealth) -> RestoreStack {
            RestoreStack(
                name: "demo", stores: ["documents": store], services: nil, allServices: [], health: health)
        }

        func restore(
            _ snapshot: Snapshot, _ health: FolderHealth, inPlace: Bool = false, verifiesData: Bool = false,
            progress: any ProgressSink = SilentProgress()
        ) throws -> RestoreOutcome {
            let id = RestoreRequest.newID(SystemClock().now())
            var request = RestoreRequest(
                id: id, stack: "demo", snapshot: snapshot,
                targets: [
                    RestoreRequest.Target(
                        name: "documents", store: store.kind, subject: store.subject,
                        staged: try store.planStaging(id), canWriteInPlace: true)
                ], created: SystemClock().now())
            request.healthProbes = 1
            request.inPlace = inPlace ? ["documents"] : []
            request.verifiesData = verifiesData
            let executor = RestoreExecutor(
                stack: stack(health), journal: journal, clock: SystemClock(), progress: progress)
            let source = try RepositorySource(
                repository, snapshot, components: ["documents"], options: RepositoryContent.Options(threads: 2),
                progress: SilentProgress())
            return try executor.execute(try RestorePlanner.plan(request), from: source, cancellation: Cancellation())
        }

        /// The captured volume as its store sees it.
        func content(_ snapshot: Snapshot) throws -> any RestoreContent {
            try RepositorySource(
                repository, snapshot, components: ["documents"], options: RepositoryContent.Options(threads: 2),
                progress: SilentProgress()
            ).content(of: "documents")
        }

        /// The tree of a folder as mtree text, content by its digest; the change facts of this machine left out.
        func listing(_ path: String) throws -> String {
            let walk = try FolderSource(path).walk(Cancellation())
            defer { walk.close() }
            var text: [UInt8] = []
            while var item = try walk.next() {
                try walk.complete(&item)
                item.entry.changeFacts = nil
                if let opener = item.opener {
                    let file = try opener.open()
                    defer { file.close() }
                    var bytes = [UInt8](repeating: 0, count: Int(item.entry.size) + 1)
                    var done = 0
                    while true {
                        let count = try bytes.withUnsafeMutableBytes {
                            try file.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[done...]))
                        }
                        if count == 0 { break }
                        done += count
                    }
                    item.entry.content = ContentReference(
                        id: BLAKE3.hash(Array(bytes[..<done])), depth: 0, size: UInt64(done))
                }
                MtreeEncoder.append(item.entry, to: &text)
            }
            return String(decoding: text, as: UTF8.self)
        }

        /// What is beside the volume: staged data would be here.
        func siblings() throws -> [String] {
            guard let stream = opendir("\(folder.path)/live") else { throw SystemCallError("open", folder.path) }
            defer { closedir(stream) }
            var names: [String] = []
            while let entry = readdir(stream) {
                names.append(
                    withUnsafeBytes(of: &entry.pointee.d_name) {
                        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                    })
            }
            return names.filter { $0 != "." && $0 != ".." }.sorted()
        }
    }

    /// Healthy while a file of the volume says so.
    struct FolderHealth: RestoreHealth {
        var refuses = false
        func awaitHealth(
            skipping: Set<String>, _ progress: any ProgressSink, _ cancellation: Cancellation
        ) throws {
            if refuses { throw LifeboatError("the stack is not healthy") }
        }
    }

    @Test func aLooseRestoreRecreatesThePathBelowTheFolder() throws {
        let host = try Host()
        defer { try? host.folder.remove() }
        try host.fill("first")
        let before = try host.listing(host.live)
        let snapshot = try host.backUp()
        let target = "\(host.folder.path)/out"
        let outcome = try host.loose(snapshot, to: target)
        #expect(outcome.exitCode == .done)
        #expect(outcome.report.problems == [])
        #expect(outcome.components.map(\.paths) == [["\(target)\(host.live)"]])
        #expect(try host.listing("\(target)\(host.live)") == before)

        let again = try #require(throws: LifeboatError.self) { _ = try host.loose(snapshot, to: target) }
        #expect(again.message.contains("exists already"))
    }

    @Test func aStackRestoreBringsYesterdayBackAndLeavesNothingBeside() throws {
        let host = try Host()
        defer { try? host.folder.remove() }
        try host.fill("first")
        let before = try host.listing(host.live)
        let snapshot = try host.backUp()
        #expect(chmod("\(host.live)/deep", 0o755) == 0)
        try host.fill("second")
        #expect(try host.listing(host.live) != before)
        let outcome = try host.restore(snapshot, FolderHealth())
        #expect(try host.listing(host.live) == before)
        #expect(try host.siblings() == ["docs"])
        #expect(outcome.components.map(\.name) == ["documents"])
        #expect(try host.journal.records().records == [])
    }

    @Test func aStackRestoreOfALostVolumeBringsItBack() throws {
        let host = try Host()
        defer { try? host.folder.remove() }
        try host.fill("first")
        let before = try host.listing(host.live)
        let snapshot = try host.backUp()
        #expect(chmod("\(host.live)/deep", 0o755) == 0)
        try FileTree.remove(host.live)
        _ = try host.restore(snapshot, FolderHealth())
        #expect(try host.listing(host.live) == before)
        #expect(try host.siblings() == ["docs"])
    }

    @Test func anUnhealthyStackHasItsOldFilesBack() throws {
        let host = try Host()
        defer { try? host.folder.remove() }
        try host.fill("first")
        let snapshot = try host.backUp()
        #expect(chmod("\(host.live)/deep", 0o755) == 0)
        try host.fill("second")
        let before = try host.listing(host.live)
        let error = try #require(throws: LifeboatError.self) {
            _ = try host.restore(snapshot, FolderHealth(refuses: true))
        }
        #expect(error.exitCode == .rolledBack)
        #expect(try host.listing(host.live) == before)
        #expect(try host.siblings() == ["docs"])
    }

    @Test func aDamagedRepositoryFailsBeforeTheSwapAndLeavesTheLiveFilesAlone() throws {
        let host = try Host()
        defer { try? host.folder.remove() }
        try host.fill("first")
        let snapshot = try host.backUp()
        #expect(chmod("\(host.live)/deep", 0o755) == 0)
        try host.fill("second")
        let before = try host.listing(host.live)
        let objects = "\(host.folder.path)/repository"
        let packs = try host.repository.store.listAll(prefix: RepositoryLayout.packPrefix)
        for pack in packs {
            let path = "\(objects)/\(pack.key.text)"
            // A flipped bit is found while staging, a short or missing pack by the verification before it.
            for (damage, phase) in [(Damage.flip, "stage"), (.cut, "verify"), (.remove, "verify")] {
                let good = try read(path)
                try damage.apply(to: path, good)
                let error = try #require(throws: LifeboatError.self) { _ = try host.restore(snapshot, FolderHealth()) }
                #expect(error.exitCode == .damagedRepository, "\(phase)")
                #expect(try host.listing(host.live) == before)
                #expect(try host.siblings() == ["docs"])
                let loose = "\(host.folder.path)/loose-\(phase)-\(pack.key.text.suffix(20))-\(damage)"
                #expect(try host.loose(snapshot, to: loose).exitCode == .damagedRepository)
                unlink(path)
                try good.withUnsafeBytes { _ = try AtomicFile.write([$0], to: path, mode: 0o444) }
            }
        }
        _ = try host.restore(snapshot, FolderHealth())
        #expect(try host.listing(host.live) != before)
    }

    private enum Damage {
        case flip, cut, remove

        func apply(to path: String, _ good: [UInt8]) throws {
            unlink(path)
            var bytes = good
            switch self {
            case .remove: return
            case .cut: bytes.removeLast(bytes.count / 2)
            case .flip: for position in stride(from: 20, to: bytes.count, by: 97) { bytes[position] ^= 1 }
            }
            try bytes.withUnsafeBytes { _ = try AtomicFile.write([$0], to: path, mode: 0o444) }
        }
    }

    private func read(_ path: String) throws -> [UInt8] {
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        var status = stat()
        #expect(fstat(file.raw, &status) == 0)
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        #expect(Glibc.read(file.raw, &bytes, bytes.count) == bytes.count)
        return bytes
    }
}
