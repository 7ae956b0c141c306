// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatIO

/// The folder of a Chroma server on this host: its SQLite file and the files of its indexes, as one.
///
/// They belong together: the text of a record is in SQLite, its vector in an index file or, until that is written, in
/// SQLite. So the folder is copied while SQLite's lock is held, which holds up the server's writes, and only a copy
/// during which no file changed counts. What is captured is the copy, so writers go on once it is made.
package struct ChromaFolderStore: DataStore {
    let path: String
    /// Counts and queries the collections, when it runs; nil: files alone are compared.
    let server: ChromaStore?
    private let volume: VolumeStore
    private let runner: any ProcessRunner

    package init(path: String, server: ChromaStore? = nil, runner: any ProcessRunner) {
        self.path = path
        self.server = server
        self.runner = runner
        volume = VolumeStore(path: path)
    }

    package var kind: String { "chroma" }
    package var subject: String { "Chroma folder '\(path)'" }

    private func copy() throws -> ChromaFolderCopy {
        try ChromaFolderCopy(VolumePlace.resolved(path), runner)
    }

    package func probe() throws -> StoreProbe {
        let copy = try copy()
        var probe = StoreProbe()
        probe.estimatedBytes = try copy.check()
        try copy.clearUp()
        if let server {
            do {
                probe.engineVersion = try server.api.release()
            } catch {
                // It may be stopped for the backup, and rightly so.
                probe.warnings.append(
                    LifeboatError.converting(error, "the collections in \(subject) cannot be counted"))
            }
        }
        return probe
    }

    package func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
        try cancellation.check()
        let copy = try copy()
        _ = try copy.check()
        // Asked first: while the lock is held the server may not answer. Nil: it does not run.
        let contents = try? server?.contents(cancellation)
        do {
            try copy.make(cancellation)
            return ChromaFolderPoint(copy, contents)
        } catch {
            copy.remove()
            throw error
        }
    }

    package func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] {
        try volume.preflightRestore(content)
    }

    package func stagingRoom(_ content: any RestoreContent) throws -> StagingRoom? {
        try volume.stagingRoom(content)
    }

    package func asideBytes(_ state: StagedState) throws -> UInt64? { try volume.asideBytes(state) }

    package func planStaging(_ restoreID: String) throws -> StagedState { try volume.planStaging(restoreID) }

    package func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        try volume.stage(content, state, progress: progress, cancellation: cancellation)
    }

    package func swap(_ state: StagedState) throws { try volume.swap(state) }

    package func swapBack(_ state: StagedState) throws { try volume.swapBack(state) }

    package func discard(_ state: StagedState) throws { try volume.discard(state) }

    /// The files, and what the server that runs on them counts and finds.
    package func verify(_ content: any RestoreContent) throws -> [FactDifference] {
        let differences = try volume.verify(content)
        guard let server, content.streamSize(ChromaContents.part) != nil else { return differences }
        return differences + (try server.differences(server.contents(content, withRecords: false)))
    }
}

/// A copy of the folder, until it is released.
private struct ChromaFolderPoint: CapturePoint {
    private let copy: ChromaFolderCopy
    private let source: CountedSource
    private let contents: ChromaContents?
    let parts: [CapturePart]

    init(_ copy: ChromaFolderCopy, _ contents: ChromaContents?) {
        self.copy = copy
        self.contents = contents
        source = CountedSource(FolderSource(copy.place, FolderSource.Options()))
        var parts: [CapturePart] = [.tree(name: VolumeStore.partName, source: source)]
        if let contents {
            parts.append(
                .stream(name: ChromaContents.part) {
                    MemorySource(try JSONText.encode(contents, pretty: true) + [0x0A])
                })
        }
        self.parts = parts
    }

    var method: String { "folder copied under its lock" }

    func facts() throws -> StoreFacts {
        var facts = try VolumeStore.facts(source)
        if let known = contents?.facts {
            facts.counts.merge(known.counts) { first, _ in first }
            facts.texts.merge(known.texts) { first, _ in first }
        }
        return facts
    }

    func release() { copy.remove() }
}
