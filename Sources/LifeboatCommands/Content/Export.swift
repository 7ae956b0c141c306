// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatFormats
import LifeboatRepository
import LifeboatRestore

/// `lifeboat export`
struct Export: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Write a snapshot as one tar or zip archive.",
        discussion: "Volumes are at their path on the host, streams (database dumps) in a folder named by their "
            + "component. A tar archive keeps owners, times, extended attributes, ACLs, hard links and holes; a zip "
            + "archive keeps files, folders, links and modes. Exit code 3 when something could not be put into it.")

    @Argument(help: "Id of the snapshot (4 digits or more), or 'latest'.")
    var snapshot: String

    @Option(
        name: [.short, .long], parsing: .singleValue,
        help: ArgumentHelp("Only this component (repeatable).", valueName: "name"))
    var component: [String] = []

    @Option(
        name: .long, help: ArgumentHelp("tar, tar.zst or zip; else by the name of the output.", valueName: "format"))
    var format: ExportFormat?

    @Option(
        name: [.customShort("o"), .customLong("output")],
        help: ArgumentHelp("The archive; '-' is standard output. An existing file is not replaced.", valueName: "file"))
    var file: String

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var selection: SnapshotOptions
    @OptionGroup var output: OutputOptions

    var writesData: Bool { file == "-" }

    func run(_ session: CommandSession) throws -> ExitCode {
        guard let format = format ?? ExportFormat(fileName: file) else {
            throw LifeboatError(
                "the format of '\(file)' is not known", hint: "Add --format tar, tar.zst or zip.", exitCode: .usage)
        }
        let target = try ExportTarget(file, session.context)
        let repository = try location.openForReading(session, for: .reading)
        let found = try selection.find(snapshot, repository, location, session)
        let components = try chosen(found)
        let start = session.context.clock.monotonicSeconds()
        let processors = session.context.host.processors
        let reader = try session.reader(repository)
        var run = ArchiveExport(session: session, reader: reader, format: format.archive(threads: processors))
        do {
            try target.write { descriptor in
                try run.write(components, time: found.manifest.frozen, to: descriptor)
            }
        } catch {
            target.abandon()
            throw error
        }
        let incomplete = components.filter { !$0.isComplete }.map(\.name)
        for component in components where !component.isComplete {
            try session.problem(
                LifeboatError(
                    "component '\(component.name)' is not complete in the snapshot", causes: component.problems,
                    exitCode: .incomplete))
        }
        try session.emitReport(
            ExportReport(
                snapshot: found.id.hex, output: file, format: format.rawValue, entries: run.entries, bytes: run.bytes,
                missing: run.missing, incompleteComponents: incomplete,
                seconds: session.context.clock.monotonicSeconds() - start))
        return run.missing == 0 && incomplete.isEmpty ? .done : .incomplete
    }

    private func chosen(_ snapshot: Snapshot) throws -> [Manifest.Component] {
        for name in component where snapshot.manifest.component(name) == nil {
            throw LifeboatError(
                "snapshot \(snapshot.id.shortHex) holds no component '\(name)'",
                causes: ["it has: \(snapshot.manifest.components.map(\.name).joined(separator: ", "))"],
                exitCode: .usage)
        }
        return snapshot.manifest.components.filter { component.isEmpty || component.contains($0.name) }
    }
}

/// The word for `--format`.
enum ExportFormat: String, ExpressibleByArgument, CaseIterable {
    case tar
    case tarZstandard = "tar.zst"
    case zip

    /// By the suffix of a file name.
    init?(fileName: String) {
        if fileName.hasSuffix(".tar") {
            self = .tar
        } else if fileName.hasSuffix(".tar.zst") || fileName.hasSuffix(".tzst") {
            self = .tarZstandard
        } else if fileName.hasSuffix(".zip") {
            self = .zip
        } else {
            return nil
        }
    }

    func archive(threads: Int) -> ArchiveWriter.Format {
        switch self {
        case .tar: .tar
        case .tarZstandard: .tarZstandard(level: 3, threads: threads)
        case .zip: .zip
        }
    }
}

/// Puts components into an archive.
private struct ArchiveExport {
    let session: CommandSession
    let reader: ChunkReader
    let format: ArchiveWriter.Format
    private(set) var entries: UInt64 = 0
    private(set) var bytes: UInt64 = 0
    /// Objects that are not in the archive.
    private(set) var missing: UInt64 = 0
    private var counters = ProgressCounters()

    init(session: CommandSession, reader: ChunkReader, format: ArchiveWriter.Format) {
        self.session = session
        self.reader = reader
        self.format = format
    }

    mutating func write(_ components: [Manifest.Component], time: Timestamp, to descriptor: Int32) throws {
        counters.bytesTotal = components.clampedSum(\.bytes)
        counters.filesTotal = components.clampedSum(\.files)
        session.progress.report(.phaseStarted(name: "export", detail: nil))
        let archive = try ArchiveWriter(format, to: descriptor)
        for item in try LooseLayout(components, below: "").items {
            switch item.part.kind {
            case .tree: try add(item, to: archive)
            case .stream:
                var entry = TreeEntry(
                    path: Self.archivePath(item.path), kind: .file, mode: 0o600, userID: 0, groupID: 0,
                    modificationTime: time)
                entry.size = item.part.content.size
                entry.content = item.part.content
                try add(entry, to: archive)
            }
        }
        try archive.close()
    }

    /// Paths of an archive start nowhere: no leading slash.
    private static func archivePath(_ path: String) -> [UInt8] {
        var path = path[...]
        while path.first == "/" { path.removeFirst() }
        return path == "." ? [] : Array(path.utf8)
    }

    private mutating func add(_ item: LooseLayout.Item, to archive: ArchiveWriter) throws {
        let root = Self.archivePath(item.path)
        func below(_ path: [UInt8]) -> [UInt8] {
            path.isEmpty ? root : root.isEmpty ? path : root + [0x2F] + path
        }
        var copies = try HardLinkCopies(format == .zip ? item.part.entries(reader) : nil)
        let tree = try item.part.entries(reader)
        while var entry = try tree.next() {
            try session.cancellation.check()
            copies.fill(&entry)
            entry.path = below(entry.path)
            entry.hardLink = entry.hardLink.map(below)
            try add(entry, to: archive)
        }
    }

    private mutating func add(_ entry: TreeEntry, to archive: ArchiveWriter) throws {
        let name = EscapedName.text(entry.path)
        if entry.kind == .socket {
            // A socket has no content and is made anew by whoever listens on it.
            session.note("left out the socket '\(name)'")
            return
        }
        if let refusal = ArchiveWriter.refusal(of: entry, in: format) {
            return try leaveOut(name, [refusal] + (entry.problem.map { [$0] } ?? []))
        }
        do {
            let source = try entry.hardLink == nil ? entry.content.map { try ContentSource(reader, $0) } : nil
            let warning = try archive.add(entry) { buffer in try source?.read(into: buffer) ?? 0 }
            if let warning { session.warn(LifeboatError("'\(name)' lost something on its way", causes: [warning])) }
        } catch let error as FormatError where error.kind == .unsupported {
            return try leaveOut(name, LifeboatError.converting(error).causes)
        }
        entries += 1
        let size = entry.hardLink == nil ? entry.content?.size ?? 0 : 0
        bytes += size
        counters.filesDone = entries
        counters.bytesDone = bytes
        counters.current = name
        session.progress.report(.counters(counters))
        if let problem = entry.problem { try leaveOut(name, [problem]) }
    }

    private mutating func leaveOut(_ name: String, _ causes: [String]) throws {
        missing += 1
        try session.problem(
            LifeboatError(
                "'\(name)' is not, or not surely, whole in the archive", causes: causes, exitCode: .incomplete))
    }
}

/// Gives hard links the content of the file they are links to, for archives that hold no links. Remembers only files
/// with more than one name.
private struct HardLinkCopies {
    private var firsts: [[UInt8]: TreeEntry?] = [:]

    /// `entries` of the same tree, read once ahead; nil: links stay links.
    init(_ entries: (any TreeEntries)?) throws {
        guard let entries else { return }
        while let entry = try entries.next() {
            if let first = entry.hardLink { firsts[first] = .some(nil) }
        }
    }

    /// Called for every entry in order.
    mutating func fill(_ entry: inout TreeEntry) {
        if firsts.isEmpty { return }
        if firsts[entry.path] != nil { firsts[entry.path] = .some(entry) }
        guard let link = entry.hardLink, let first = firsts[link] ?? nil else { return }
        entry.hardLink = nil
        entry.content = first.content
        entry.extents = first.extents
        entry.size = first.size
    }
}

private struct ExportReport: OutputRendering {
    static let messageType = "summary"
    let snapshot: String
    let output: String
    let format: String
    let entries: UInt64
    let bytes: UInt64
    let missing: UInt64
    let incompleteComponents: [String]
    let seconds: Double

    var text: String {
        // With the archive on standard output this goes to standard error.
        let lost = missing == 0 ? "" : "; \(counted(missing, "object")) missing or unsure"
        return "exported \(counted(entries, "object")) (\(ByteCount(bytes))) of snapshot \(snapshot.prefix(12)) "
            + "to '\(EscapedName.line(output))' in \(DurationText.short(seconds))\(lost)"
    }
}
