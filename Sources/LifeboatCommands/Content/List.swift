// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatFormats
import LifeboatRepository

/// `lifeboat ls`
struct List: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls", abstract: "List what a snapshot holds.",
        discussion: """
            PATH is an absolute path as it was on the host, COMPONENT:PATH, or a path below the only folder of the \
            snapshot. Without PATH everything that was backed up is listed: folders by their path, streams as \
            COMPONENT:PART. Names that are no printable text are shown with \\ooo for each such byte, and may be \
            typed like that.
            """)

    @Argument(help: "Id of the snapshot (4 digits or more), or 'latest'.")
    var snapshot: String

    @Argument(help: "What to list.")
    var path: String?

    @Flag(name: .shortAndLong, help: "Also mode, owner, group, size and time (UTC).")
    var long = false

    @Flag(name: [.customShort("R"), .long], help: "Also everything below.")
    var recursive = false

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var selection: SnapshotOptions
    @OptionGroup var output: OutputOptions

    var isListing: Bool { true }

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.openForReading(session, for: .reading)
        let found = try selection.find(snapshot, repository, location, session)
        let reader = try session.reader(repository, cacheLimit: 8 << 20)
        var listing = Listing(session: session, reader: reader, isLong: long)
        let places = SnapshotPlaces(snapshot: found)
        if let path {
            switch try places.place(path) {
            case .stream(let component, let part): try listing.print(part, of: component)
            case .tree(let tree, let place):
                guard try listing.print(tree, at: place, recursive: recursive) else {
                    throw places.missing(path, "there is no such file or folder")
                }
            }
        } else {
            for component in found.manifest.components {
                for part in component.parts {
                    switch part.kind {
                    case .stream: try listing.print(part, of: component)
                    case .tree:
                        let tree = SnapshotTree(component: component, part: part)
                        _ = try listing.print(tree, at: PathText(""), recursive: recursive)
                    }
                }
            }
        }
        if session.printsJSON { try session.emit(listing.summary) }
        return .done
    }

    private struct Listing {
        let session: CommandSession
        let reader: ChunkReader
        let isLong: Bool
        var summary = EntriesSummary(entries: 0, bytes: 0)

        mutating func print(_ part: Manifest.Part, of component: Manifest.Component) throws {
            try emit(EntryRow(part, of: component))
        }

        /// False when there is nothing at that path.
        mutating func print(_ tree: SnapshotTree, at path: PathText, recursive: Bool) throws -> Bool {
            for candidate in path.candidates {
                let subtree = Subtree(try tree.part.entries(reader), at: candidate, recursive: recursive)
                guard let first = try subtree.next() else { continue }
                // A folder is listed by what is in it.
                let only = try subtree.next()
                if first.kind != .directory || only == nil { try emit(EntryRow(first, in: tree)) }
                var next = only
                while let entry = next {
                    try session.cancellation.check()
                    try emit(EntryRow(entry, in: tree))
                    next = try subtree.next()
                }
                return true
            }
            return false
        }

        private mutating func emit(_ row: EntryRow) throws {
            var row = row
            row.isLong = isLong
            summary.entries += 1
            summary.bytes = summary.bytes &+ row.size
            try session.emit(row)
        }
    }
}
