// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatIO
import Synchronization

/// A folder (or single file) of this machine.
///
/// Captured by walking it; its point in time is the time of the walk, so what writes to it is stopped by the freeze,
/// or its files are reported when they change while they are read. Restored into a sibling and exchanged by one rename.
package struct VolumeStore: DataStore {
    /// Name of the one part of a capture.
    static let partName = "files"

    /// As the policy gives it.
    let path: String
    private let options: FolderSource.Options
    private let liveDatabases: LiveDatabaseRule
    let others: VolumeGuests

    /// `exclude`: see `ExcludePatterns`. `others`: what in this folder belongs to other components, by paths below it:
    /// it is not captured, and a restore leaves it where it is.
    package init(
        path: String, exclude: [String] = [], excludeCaches: Bool = false, oneFileSystem: Bool = true,
        liveDatabases: LiveDatabaseRule = .refuse, others: [String] = []
    ) {
        self.path = path
        self.liveDatabases = liveDatabases
        self.others = VolumeGuests(others)
        options = FolderSource.Options(
            exclude: ExcludePatterns(exclude + self.others.patterns + [VolumePartsSwap.pattern]),
            excludesCaches: excludeCaches, staysOnVolume: oneFileSystem)
    }

    /// The same folder, of which a restore takes these paths only, each with all below it.
    package func limited(to paths: [String]) -> PartialVolumeStore { PartialVolumeStore(self, kind: kind, paths) }

    package var kind: String { "volume" }
    package var subject: String { "folder '\(path)'" }
    package var isReadLive: Bool { true }

    package func probe() throws -> StoreProbe {
        let root = try WalkedRoot(try VolumePlace.resolved(path))
        if let failure = root.failure { throw SystemCallError("open", path, errorNumber: failure.number) }
        var probe = StoreProbe()
        if root.folder == nil {
            guard root.status.isFile else {
                throw LifeboatError(
                    "'\(path)' is neither a folder nor a file", hint: "Name a folder as the volume's path.")
            }
            probe.estimatedBytes = root.status.size
        }
        return probe
    }

    package func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
        let resolved = try VolumePlace.resolved(path)
        let changes = ChangedFiles()
        return VolumePoint(
            CountedSource(FolderSource(resolved, options, changes: changes), path, liveDatabases), path, changes,
            MountTable.identity(of: resolved))
    }

    package func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] {
        let place = try VolumePlace(path)
        try place.checkMounts()
        try place.checkWritable()
        try ExchangeFlags.check(place.path, way: "write over it with --in-place")
        guard let room = try stagingRoom(content), room.needed >= room.free else { return place.warnings }
        throw LifeboatError(
            "there is no room to restore \(subject) beside the live data",
            causes: ["it takes \(ByteCount(room.needed)), free are \(ByteCount(room.free))"],
            hint: "Free some space on that file system, let it be written over with --in-place-when-full, or restore "
                + "elsewhere with --to DIR.")
    }

    /// Blocks that are shared with the live data count as if they were not.
    package func stagingRoom(_ content: any RestoreContent) throws -> StagingRoom? {
        guard let bytes = content.facts.counts["bytes"], bytes > 0 else { return nil }
        return try VolumePlace(path).room(for: UInt64(bytes))
    }

    package func asideBytes(_ state: StagedState) throws -> UInt64? {
        try Self.blocks(try VolumeSwap(state).staged)
    }

    /// Bytes on disk of all below a path; 0 when there is nothing.
    static func blocks(_ path: String) throws -> UInt64 {
        guard ModelListing.exists(path) else { return 0 }
        let walk = try FolderSource(path).walk(Cancellation())
        defer { walk.close() }
        var counts = VolumeCounts()
        while let item = try walk.next() { counts.add(item.entry) }
        return UInt64(clamping: counts.bytes)
    }

    package func planStaging(_ restoreID: String) throws -> StagedState {
        let place = try VolumePlace(path)
        try place.checkMounts()
        return try VolumeSwap.plan(place, restoreID, others).state
    }

    package func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        let swap = try VolumeSwap(state)
        try swap.prepareStaging()
        try Self.extract(
            content, .everything, to: swap.staged, like: swap.live, subject, progress: progress,
            cancellation: cancellation)
        if let warning = ExchangeFlags.clear(swap.staged, live: swap.live) { progress.report(.warning(warning)) }
        try swap.makeRoomForGuests()
        try swap.markStaged()
    }

    /// Writes what was captured, or some paths of it, below a new folder, durably; what is the same in the live files is
    /// taken from there.
    static func extract(
        _ content: any RestoreContent, _ selection: PathSelection, to folder: String, like live: String,
        _ subject: String, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        let target = try FolderTarget(folder, existing: .refuse, model: LiveModel(live))
        try content.extractTree(partName, selection, into: target, cancellation: cancellation)
        // Also when the extraction did it: what the swap puts in place must outlive a power cut.
        try target.synchronize()
        for shortfall in target.shortfalls() { progress.report(.warning(shortfall)) }
        if target.reusedBytes > 0 {
            progress.report(.note("\(ByteCount(target.reusedBytes)) of \(subject) were taken from the live data"))
        }
    }

    package func swap(_ state: StagedState) throws { try VolumeSwap(state).swap() }

    package func swapBack(_ state: StagedState) throws { try VolumeSwap(state).swapBack() }

    package func discard(_ state: StagedState) throws { try VolumeSwap(state).discard() }

    /// That the volume is there, of the kind it was, and not empty when it was not. Every file was compared with its
    /// digest while it was staged; after that the services own the volume and may rightly add and remove files, so
    /// that their number proves nothing.
    package func verify(_ content: any RestoreContent) throws -> [FactDifference] {
        let expected = content.facts.counts
        let root: WalkedRoot
        do throws(SystemCallError) {
            root = try WalkedRoot(path)
        } catch {
            guard error.errorNumber == ENOENT else { throw error }
            return [FactDifference(name: "folders", expected: "\(expected["folders"] ?? 1)", found: nil)]
        }
        guard let expectedFiles = expected["files"], expectedFiles > 0, root.status.isFolder else { return [] }
        let walk = try self.walk(Cancellation())
        defer { walk.close() }
        var counts = VolumeCounts()
        while let item = try walk.next() {
            counts.add(item.entry)
            if counts.files > 0 { return [] }
        }
        return [FactDifference(name: "files", expected: "\(expectedFiles)", found: "0")]
    }

    /// A walk over the live volume.
    func walk(_ cancellation: Cancellation) throws -> any FileTreeWalk {
        try FolderSource(try VolumePlace.resolved(path), options).walk(cancellation)
    }
}

/// What a walk met.
struct VolumeCounts: Sendable {
    var files: Int64 = 0
    var folders: Int64 = 0
    var links: Int64 = 0
    var specials: Int64 = 0
    /// Of regular files, each counted once.
    var bytes: Int64 = 0

    var total: Int64 { files + folders + links + specials }

    /// As a snapshot keeps them.
    var facts: [String: Int64] {
        ["files": files, "folders": folders, "links": links, "specials": specials, "bytes": bytes]
    }
}

/// The moment of a walk.
private struct VolumePoint: CapturePoint {
    private let source: CountedSource
    private let path: String
    private let changes: ChangedFiles
    private let fileSystem: String?

    /// `path` names the folder for people. `fileSystem`: what it lies on, where that is not the root's.
    init(_ source: CountedSource, _ path: String, _ changes: ChangedFiles, _ fileSystem: String?) {
        self.source = source
        self.path = path
        self.changes = changes
        self.fileSystem = fileSystem
    }

    var method: String { "file walk" }
    var parts: [CapturePart] { [.tree(name: VolumeStore.partName, source: source)] }

    func facts() throws -> StoreFacts {
        var facts = try VolumeStore.facts(source)
        facts.texts[StoreFacts.fileSystem] = fileSystem
        return facts
    }

    /// Databases in it, once it was walked, and files that are of a later time than the walk.
    var warnings: [LifeboatError] {
        let changed = changes.count
        guard changed > 0 else { return source.warnings }
        return source.warnings + [
            LifeboatError(
                "\(changed) files of '\(path)' changed after the folder was listed",
                causes: ["each is as it was when it was read, which is not the same time for all"],
                hint: "Let 'services.freeze' hold what writes there if they belong together.")
        ]
    }

    /// Databases of many files of which some changed while they were read: no state the database ever was in.
    var problems: [LifeboatError] { source.torn(changes) }

    func release() {}
}

extension VolumeStore {
    /// Counts of the last whole walk of a part, so that they cost nothing; walks when there was none.
    static func facts(_ source: CountedSource) throws -> StoreFacts {
        if source.counts == nil {
            let walk = try source.walk(Cancellation())
            defer { walk.close() }
            while try walk.next() != nil {}
        }
        return StoreFacts(counts: (source.counts ?? VolumeCounts()).facts)
    }
}
