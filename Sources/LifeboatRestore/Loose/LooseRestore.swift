// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatFormats
import LifeboatIO
package import LifeboatRepository
package import LifeboatStores

/// Extracts a snapshot, or components of it, into a folder: no stack, no services, nothing replaced. What cannot be
/// restored is reported and the rest goes on. A run that was killed is continued by the next one: files get their names
/// when they are whole, and whole ones are kept when their content is right.
package struct LooseRestore: Sendable {
    package struct Options: Sendable {
        /// Names of components; empty: all.
        package var components: [String] = []
        /// Which paths of each tree.
        package var selection = PathSelection.everything
        /// Threads that create files.
        package var threads: Int

        package init(threads: Int) { self.threads = threads }
    }

    package struct Component: Codable, Sendable, Equatable {
        package var name: String
        /// What was made for it.
        package var paths: [String]
        package var files: UInt64
        package var bytes: UInt64
        package var problems: UInt64
    }

    package struct Outcome: Sendable, Equatable {
        package var components: [Component]
        package var report: ExtractionReport
        /// What the backup already lacked, by component.
        package var incomplete: [String]
        /// What this user or the file system could not set (owners without root …).
        package var warnings: [LifeboatError]
        package var seconds: Double
        /// Bytes that an earlier, unfinished run had restored; nil when there was none.
        package var keptBytes: UInt64?

        /// 13 for damage, 3 for what is missing, 0 when all is there.
        package var exitCode: ExitCode {
            report.exitCode == .done && !incomplete.isEmpty ? .incomplete : report.exitCode
        }
    }

    private let reader: ChunkReader
    private let clock: any Clock
    private let progress: any ProgressSink
    private let cancellation: Cancellation
    /// Opens the path of a tree or a file, whose parent exists: nothing is there, an empty folder, or what an earlier
    /// run left.
    package typealias Target = @Sendable (_ path: String, UnfinishedFiles) throws -> any FileTreeTarget
    private let target: Target

    package init(
        _ reader: ChunkReader, clock: any Clock, progress: any ProgressSink, cancellation: Cancellation,
        target: @escaping Target
    ) {
        self.reader = reader
        self.clock = clock
        self.progress = progress
        self.cancellation = cancellation
        self.target = target
    }

    /// Throws before anything is written when a component is unknown or something stands where it goes.
    package func run(_ snapshot: Snapshot, to folder: String, options: Options) throws -> Outcome {
        let start = clock.monotonicSeconds()
        let components = try chosen(snapshot, options.components)
        let root = Self.trimmed(folder)
        let layout = try LooseLayout(components, below: root)
        let record = UnfinishedRestore.Record(
            repository: snapshot.manifest.repositoryID.hex, snapshot: snapshot.id.hex,
            components: components.map(\.name),
            paths: options.selection.paths.sorted { $0.lexicographicallyPrecedes($1) },
            token: String(UInt64.random(in: (1 << 60)...UInt64.max), radix: 16))
        let unfinished = try UnfinishedRestore.begin(in: root, record) {
            for item in layout.items { try Self.refuseExisting(item) }
        }
        let counters = RestoreCounters(
            progress, filesTotal: components.clampedSum(\.files),
            bytesTotal: components.clampedSum(\.bytes))
        var outcome = Outcome(components: [], report: ExtractionReport(), incomplete: [], warnings: [], seconds: 0)
        for component in components {
            progress.report(.phaseStarted(name: "restore", detail: component.name))
            let begin = clock.monotonicSeconds()
            var report = ExtractionReport()
            let items = layout.items.filter { $0.component == component.name }
            for item in items {
                let (extracted, shortfalls) = try extract(
                    item, of: component, snapshot, options, counters, unfinished.files)
                report.add(extracted)
                outcome.warnings += shortfalls
            }
            outcome.components.append(
                Component(
                    name: component.name, paths: items.map(\.path), files: report.files, bytes: report.bytes,
                    problems: report.problemCount))
            outcome.report.add(report)
            outcome.incomplete += component.problems.map { "component '\(component.name)': \($0)" }
            progress.report(.phaseEnded(name: "restore", seconds: clock.monotonicSeconds() - begin))
        }
        try unfinished.end()
        if unfinished.files.isResumed { outcome.keptBytes = unfinished.files.keptBytes }
        outcome.seconds = clock.monotonicSeconds() - start
        return outcome
    }

    private func chosen(_ snapshot: Snapshot, _ names: [String]) throws -> [Manifest.Component] {
        for name in names where snapshot.manifest.component(name) == nil {
            throw LifeboatError(
                "snapshot '\(snapshot.id.shortHex)' holds no component '\(name)'",
                causes: ["it has: \(snapshot.manifest.components.map(\.name).joined(separator: ", "))"],
                exitCode: .usage)
        }
        return snapshot.manifest.components.filter { names.isEmpty || names.contains($0.name) }
    }

    private static func trimmed(_ folder: String) -> String {
        var folder = folder
        while folder.count > 1, folder.hasSuffix("/") { folder.removeLast() }
        // The root: paths below it start with the slash that joins them.
        return folder == "/" ? "" : folder
    }

    /// What is there stays as it is; only an empty folder is not in the way of a tree.
    private static func refuseExisting(_ item: LooseLayout.Item) throws {
        var status = stat()
        guard lstat(item.path, &status) == 0 else {
            guard errno == ENOENT || errno == ENOTDIR else { throw SystemCallError("examine", item.path) }
            return
        }
        if item.file == nil, status.st_mode & S_IFMT == S_IFDIR, try isEmptyFolder(item.path) { return }
        throw LifeboatError(
            "'\(item.path)' exists already",
            hint: "Choose an empty folder with --to, or move that away: lifeboat replaces nothing here.")
    }

    private static func isEmptyFolder(_ path: String) throws -> Bool {
        guard let stream = opendir(path) else { throw SystemCallError("open", path) }
        defer { closedir(stream) }
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { throw SystemCallError("read", path) }
                return true
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name != [0x2E], name != [0x2E, 0x2E], name != Array(UnfinishedRestore.name.utf8) { return false }
        }
    }

    private func extract(
        _ item: LooseLayout.Item, of component: Manifest.Component, _ snapshot: Snapshot, _ options: Options,
        _ counters: RestoreCounters, _ unfinished: UnfinishedFiles
    ) throws -> (ExtractionReport, [LifeboatError]) {
        var extraction = TreeExtraction.Options(threads: options.threads)
        let path = item.path
        let place: @Sendable ([UInt8]) -> String = { RestorePath.shown($0, in: path) }
        let target: any FileTreeTarget
        let report: ExtractionReport
        if item.file == nil {
            try Self.createParents(of: path, mode: 0o755)
            target = try self.target(path, unfinished)
            extraction.selection = options.selection
            report = try TreeExtraction(reader, options: extraction, counters: counters, cancellation: cancellation)
                .extract(item.part.content, into: target, place: place)
        } else {
            // A dump holds all that the database held: its folder and file are for their owner alone.
            try Self.createParents(of: item.folder, mode: 0o755)
            try Self.createParents(of: path, mode: 0o700)
            target = try self.target(path, unfinished)
            // A tree of one file, so that several threads fill it.
            var entries = [Self.file(item.part.content, snapshot)]
            report = try TreeExtraction(reader, options: extraction, counters: counters, cancellation: cancellation)
                .extract({ entries.popLast() }, into: target, place: place)
        }
        return (report, target.shortfalls())
    }

    private static func createParents(of path: String, mode: mode_t) throws {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return }
        try FileTree.createFolders(String(path[..<slash]), mode: mode)
    }

    private static func file(_ content: ContentReference, _ snapshot: Snapshot) -> TreeEntry {
        var entry = TreeEntry(
            path: [], kind: .file, mode: 0o600, userID: geteuid(), groupID: getegid(),
            modificationTime: snapshot.manifest.frozen)
        entry.size = content.size
        entry.content = content
        return entry
    }
}
