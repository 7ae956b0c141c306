// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository

/// `lifeboat cat`
struct Cat: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "cat", abstract: "Write one file or stream of a snapshot to standard output.",
        discussion: "Every byte is verified before it is written. A database dump is COMPONENT:PART, for instance "
            + "'database:dump'.")

    @Argument(help: "Id of the snapshot (4 digits or more), or 'latest'.")
    var snapshot: String

    @Argument(help: "An absolute path as it was on the host, COMPONENT:PATH or COMPONENT:PART.")
    var path: String

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var selection: SnapshotOptions
    @OptionGroup var output: OutputOptions

    var writesData: Bool { true }

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.openForReading(session, for: .reading)
        let found = try selection.find(snapshot, repository, location, session)
        let reader = try session.reader(repository)
        let places = SnapshotPlaces(snapshot: found)
        switch try places.place(path) {
        case .stream(_, let part): try copy(part.content, reader, session)
        case .tree(let tree, let place):
            guard let entry = try entry(at: place, in: tree, reader) else {
                throw places.missing(path, "there is no such file")
            }
            try copy(entry, reader, session)
            if let problem = entry.problem {
                try session.problem(
                    LifeboatError("'\(path)' is not one state of the file", causes: [problem], exitCode: .incomplete))
                return .incomplete
            }
        }
        return .done
    }

    /// The entry with the content: for a hard link the one it is a link to.
    private func entry(at place: PathText, in tree: SnapshotTree, _ reader: ChunkReader) throws -> TreeEntry? {
        for candidate in place.candidates {
            guard let found = try Subtree(tree.part.entries(reader), at: candidate, recursive: false).next() else {
                continue
            }
            guard let first = found.hardLink else { return found }
            return try Subtree(tree.part.entries(reader), at: first, recursive: false).next()
        }
        return nil
    }

    private func copy(_ entry: TreeEntry, _ reader: ChunkReader, _ session: CommandSession) throws {
        guard entry.kind == .file else {
            throw LifeboatError("'\(path)' is not a regular file", causes: ["it is a \(entry.kind.word)"])
        }
        guard let content = entry.content else {
            throw LifeboatError(
                "the snapshot holds no content of '\(path)'", causes: entry.problem.map { [$0] } ?? [],
                hint: "Look for it in another snapshot with 'lifeboat find'.", exitCode: .incomplete)
        }
        var file = SparseOutput(session.context.output.standard)
        guard let extents = entry.extents else { return try copy(content, reader, session) }
        let source = try ContentSource(reader, content)
        for extent in extents {
            try file.zeros(upTo: extent.offset)
            try file.copy(source, count: extent.length, session.cancellation)
        }
        try file.zeros(upTo: entry.size)
    }

    private func copy(_ content: ContentReference, _ reader: ChunkReader, _ session: CommandSession) throws {
        let source = try ContentSource(reader, content)
        var file = SparseOutput(session.context.output.standard)
        try file.copy(source, count: nil, session.cancellation)
    }
}

/// Writes a file with holes to a stream: holes become zeros.
private struct SparseOutput {
    private let stream: any OutputStream
    private var position: UInt64 = 0
    private var buffer = [UInt8](repeating: 0, count: 256 << 10)

    init(_ stream: any OutputStream) { self.stream = stream }

    /// Zeros from where the stream is up to `offset`.
    mutating func zeros(upTo offset: UInt64) throws {
        guard offset > position else { return }
        let zeros = [UInt8](repeating: 0, count: Int(min(offset - position, 256 << 10)))
        while position < offset {
            let count = Int(min(offset - position, UInt64(zeros.count)))
            try zeros.withUnsafeBytes { bytes in try stream.write(UnsafeRawBufferPointer(rebasing: bytes[..<count])) }
            position += UInt64(count)
        }
    }

    /// The next `count` bytes of the source; all of it when nil.
    mutating func copy(_ source: ContentSource, count: UInt64?, _ cancellation: Cancellation) throws {
        var rest = count ?? .max
        while rest > 0 {
            try cancellation.check()
            let wanted = Int(min(rest, UInt64(buffer.count)))
            let read = try buffer.withUnsafeMutableBytes {
                try source.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[..<wanted]))
            }
            if read == 0 {
                guard count == nil else {
                    throw LifeboatError(
                        "the content of the file is shorter than it should be", exitCode: .damagedRepository)
                }
                return
            }
            try buffer.withUnsafeBytes { try stream.write(UnsafeRawBufferPointer(rebasing: $0[..<read])) }
            position &+= UInt64(read)
            rest -= UInt64(read)
        }
    }
}
