// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// The files that say what a stack is: its policy, its Compose files, its env files. Captured one by one, as a tree below
/// the deepest folder that contains all of them.
///
/// A restore into the stack works with the files that are there, so it never replaces them: they come back with
/// `restore --component project --to DIR`.
package struct ProjectStore: DataStore {
    /// Name of the component and of the store.
    package static let kind = "project"
    static let partName = "files"

    private let files: [String]
    private let leftOut: [String]
    private let remarks: [LifeboatError]

    /// `files`: absolute paths; links are followed. `leftOut`: what belongs to the project and is not captured on
    /// purpose. `remarks`: warnings of who collected them.
    package init(files: [String], leftOut: [String], remarks: [LifeboatError]) {
        self.files = files
        self.leftOut = leftOut
        self.remarks = remarks
    }

    package var kind: String { Self.kind }
    package var subject: String { "files of the project" }

    /// The deepest folder that contains all files; `/` for none.
    package var folder: String {
        let parents = files.map { Array($0.split(separator: "/").dropLast()) }
        guard var common = parents.first else { return "/" }
        for parent in parents.dropFirst() {
            common = zip(common, parent).prefix { $0 == $1 }.map(\.0)
        }
        return "/" + common.joined(separator: "/")
    }

    package func probe() throws -> StoreProbe { StoreProbe() }

    package func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
        let source = ProjectTree(folder, files)
        return ProjectPoint(
            source: source, folder: folder, leftOut: leftOut, warnings: remarks,
            counts: try source.count(cancellation))
    }

    // MARK: - Restore

    /// Why a restore into the stack does not take it.
    package static var isNotPutInPlace: LifeboatError {
        LifeboatError(
            "the files of the project are not restored into a stack", causes: ["a restore works with those it has"],
            hint: "Get them with 'lifeboat restore latest --component \(kind) --to DIR'.", exitCode: .usage)
    }

    package func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] {
        throw Self.isNotPutInPlace
    }
    package func planStaging(_ restoreID: String) throws -> StagedState { throw Self.isNotPutInPlace }
    package func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws { throw Self.isNotPutInPlace }
    package func swap(_ state: StagedState) throws { throw Self.isNotPutInPlace }
    package func swapBack(_ state: StagedState) throws { throw Self.isNotPutInPlace }
    package func verify(_ content: any RestoreContent) throws -> [FactDifference] { throw Self.isNotPutInPlace }
    package func discard(_ state: StagedState) throws { throw Self.isNotPutInPlace }
}

private struct ProjectPoint: CapturePoint {
    let source: ProjectTree
    let folder: String
    let leftOut: [String]
    let warnings: [LifeboatError]
    let counts: VolumeCounts

    var method: String { "file copy" }
    var parts: [CapturePart] { [.tree(name: ProjectStore.partName, source: source)] }

    func facts() throws -> StoreFacts {
        var facts = StoreFacts(counts: counts.facts, texts: ["folder": folder])
        if !leftOut.isEmpty { facts.texts["left_out"] = leftOut.joined(separator: ", ") }
        return facts
    }

    func release() {}
}

/// Single files of a folder, with the folders on the way to them.
private struct ProjectTree: FileTreeSource {
    private let folder: String
    /// By path below the folder.
    private let files: [[UInt8]: String]

    init(_ folder: String, _ files: [String]) {
        self.folder = folder
        let prefix = folder == "/" ? 1 : folder.utf8.count + 1
        self.files = Dictionary(files.map { (Array($0.utf8.dropFirst(prefix)), $0) }) { first, _ in first }
    }

    func walk(_ cancellation: Cancellation) throws -> any FileTreeWalk {
        var folders: Set<[UInt8]> = [[]]
        for path in files.keys {
            for (position, byte) in path.enumerated() where byte == 0x2F { folders.insert(Array(path[..<position])) }
        }
        var items: [FileTreeItem] = []
        for path in (Array(files.keys) + folders).sorted(by: treeOrder) {
            items.append(try files[path].map { try item($0, path, cancellation) } ?? item(path))
        }
        return ListedWalk(items)
    }

    func count(_ cancellation: Cancellation) throws -> VolumeCounts {
        let walk = try walk(cancellation)
        var counts = VolumeCounts()
        while let item = try walk.next() { counts.add(item.entry) }
        return counts
    }

    /// What a link leads to is captured in its place: it may lie outside of the folder.
    private func item(_ file: String, _ path: [UInt8], _ cancellation: Cancellation) throws -> FileTreeItem {
        let walk = try FolderSource(try VolumePlace.resolved(file)).walk(cancellation)
        defer { walk.close() }
        guard var item = try walk.next(), item.entry.kind == .file else {
            throw LifeboatError("'\(file)' is no regular file", hint: "Name a file there, or set 'project: false'.")
        }
        item.entry.path = path
        return item
    }

    private func item(_ path: [UInt8]) throws -> FileTreeItem {
        let below = String(decoding: path, as: UTF8.self)
        let shown = path.isEmpty ? folder : "\(folder == "/" ? "" : folder)/\(below)"
        let resolved = try VolumePlace.resolved(shown)
        do throws(Errno) {
            var entry = TreeEntry(path, try FileStatus.at(AT_FDCWD, resolved))
            entry.changeFacts = nil
            return FileTreeItem(entry: entry)
        } catch {
            throw SystemCallError("examine", shown, errorNumber: error.number)
        }
    }
}

/// A walk whose entries are known.
private final class ListedWalk: FileTreeWalk {
    private var items: ArraySlice<FileTreeItem>

    init(_ items: [FileTreeItem]) { self.items = items[...] }

    func next() throws -> FileTreeItem? { items.popFirst() }
    func complete(_ item: inout FileTreeItem) throws {}
    func close() {}
}
