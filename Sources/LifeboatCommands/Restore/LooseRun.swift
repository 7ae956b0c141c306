// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatRepository
import LifeboatRestore
import LifeboatStores

/// `lifeboat restore … --to FOLDER`
struct LooseRun {
    let to: String
    let paths: [String]

    func run(_ command: Restore, _ session: CommandSession) throws -> ExitCode {
        let repository = try command.location.openForReading(session, for: .reading)
        let found = try command.chosen.snapshot(
            command.snapshot, repository, command.selection, command.location, session)
        let reader = try session.reader(repository)
        var options = LooseRestore.Options(threads: session.context.host.processors)
        options.components = command.chosen.component
        if !paths.isEmpty { (options.components, options.selection) = try chosen(found, reader) }
        let restore = LooseRestore(
            reader, clock: session.context.clock, progress: session.progress, cancellation: session.cancellation
        ) { path, unfinished in
            // The folder the root lies in; the root itself is made by the target.
            let parent = path[..<(path.lastIndex(of: "/") ?? path.startIndex)]
            if !parent.isEmpty { try FileTree.createFolders(String(parent), mode: 0o755) }
            return try FolderTarget(path, unfinished)
        }
        let folder = session.context.absolutePath(to)
        let outcome: LooseRestore.Outcome
        do {
            outcome = try restore.run(found, to: folder, options: options)
        } catch {
            session.progress.finish()
            if UnfinishedRestore.exists(in: folder) {
                session.note(
                    "the restore to '\(EscapedName.line(folder))' is unfinished: the same command continues it")
            }
            throw error
        }
        session.progress.finish()
        if let kept = outcome.keptBytes {
            session.note("an interrupted restore was continued: \(ByteCount(kept)) were there already")
        }
        for problem in outcome.report.problems { try session.problem(problem.error) }
        let untold = outcome.report.problemCount - UInt64(outcome.report.problems.count)
        if untold > 0 { try session.problem(LifeboatError("and \(counted(untold, "more problem"))")) }
        for problem in outcome.incomplete {
            try session.problem(
                LifeboatError("the snapshot is not complete", causes: [problem], exitCode: .incomplete))
        }
        try session.emitReport(LooseReport(snapshot: found.id.hex, folder: folder, outcome: outcome))
        return outcome.exitCode
    }

    /// Paths of one volume, as `ls` shows them.
    private func chosen(_ snapshot: Snapshot, _ reader: ChunkReader) throws -> ([String], PathSelection) {
        let places = SnapshotPlaces(snapshot: snapshot)
        var component: String?
        var selected: [[UInt8]] = []
        for path in paths {
            guard case .tree(let tree, let place) = try places.place(path) else {
                throw LifeboatError(
                    "'\(path)' is not a path of a volume", hint: "Write a stream with 'lifeboat cat'.", exitCode: .usage
                )
            }
            guard component == nil || component == tree.component.name else {
                throw LifeboatError(
                    "--path names files of several components", hint: "Restore them one at a time.", exitCode: .usage)
            }
            component = tree.component.name
            let found = try place.candidates.first { candidate in
                try Subtree(tree.part.entries(reader), at: candidate, recursive: false).next() != nil
            }
            guard let found else { throw places.missing(path, "there is no such file or folder") }
            selected.append(found)
        }
        return (component.map { [$0] } ?? [], PathSelection(selected))
    }
}

private struct LooseReport: OutputRendering {
    static let messageType = "summary"
    let snapshot: String
    let folder: String
    let components: [LooseRestore.Component]
    let files: UInt64
    let folders: UInt64
    let links: UInt64
    let specials: UInt64
    let bytes: UInt64
    let problems: UInt64
    let complete: Bool
    let seconds: Double

    init(snapshot: String, folder: String, outcome: LooseRestore.Outcome) {
        self.snapshot = snapshot
        self.folder = folder
        components = outcome.components
        files = outcome.report.files
        folders = outcome.report.folders
        links = outcome.report.links
        specials = outcome.report.specials
        bytes = outcome.report.bytes
        problems = outcome.report.problemCount
        complete = outcome.exitCode == .done
        seconds = outcome.seconds
    }

    var text: String {
        var line =
            "restored \(counted(files, "file")) (\(ByteCount(bytes))) of snapshot \(snapshot.prefix(12)) to "
            + "'\(EscapedName.line(folder))' in \(DurationText.short(seconds))"
        if !complete { line += "\nINCOMPLETE: \(counted(problems, "problem"))" }
        return line
    }
}
