// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats

/// Reads the listing of a folder as far as it can be read: chunks that are lost leave gaps, lines that make no sense are
/// passed over, and folders whose own line is lost are made up so that what is in them keeps its place. Used on one
/// thread.
struct TreeSalvage {
    /// What is there instead of the whole text.
    enum Item {
        case entry(TreeEntry)
        /// Lines are lost or cannot be read; what they named is not known.
        case gap
    }

    private let reader: ChunkReader
    private static let root = TreeEntry(
        path: [], kind: .directory, mode: 0o700, userID: 0, groupID: 0, modificationTime: Timestamp(seconds: 0))

    init(_ reader: ChunkReader) { self.reader = reader }

    /// Hands over the items of a tree in order: entries ascend and each has its parent before it.
    func walk(_ content: ContentReference, _ visit: (Item) throws -> Void) throws {
        var lines = Lines()
        var folders: [[UInt8]] = []
        var previous: [UInt8]?
        func emit(_ entry: TreeEntry) throws -> Bool {
            if let previous {
                guard treeOrder(previous, entry.path) else { return false }
            } else if !entry.path.isEmpty {
                var root = Self.root
                root.problem = Self.lostAttributes
                try visit(.gap)
                _ = try emit(root)
            }
            while let folder = folders.last, !Self.isBelow(entry.path, folder) { folders.removeLast() }
            if !entry.path.isEmpty {
                let depth = folders.last.map { $0.isEmpty ? 0 : $0.count { $0 == 0x2F } + 1 } ?? 0
                let components = entry.path.split(separator: 0x2F)
                for count in depth..<(components.count - 1) {
                    var folder = Self.root
                    folder.path = Array(components[...count].joined(separator: [0x2F]))
                    folder.problem = Self.lostAttributes
                    // Something that is no folder stands in its place: the line makes no sense.
                    guard let before = previous, treeOrder(before, folder.path) else { return false }
                    previous = folder.path
                    folders.append(folder.path)
                    try visit(.entry(folder))
                }
            }
            if entry.kind == .directory { folders.append(entry.path) }
            previous = entry.path
            try visit(.entry(entry))
            return true
        }
        func take(_ line: [UInt8]) throws {
            if line.first == UInt8(ascii: "#") { return }
            guard let entry = Self.entry(line), try emit(entry) else { return try visit(.gap) }
        }
        try pieces(content.id, content.depth) { piece in
            if let bytes = piece {
                for line in lines.feed(bytes) { try take(line) }
            } else {
                lines.skip()
                try visit(.gap)
            }
        }
        if lines.hasRest || previous == nil { try visit(.gap) }
    }

    static let lostAttributes = "its line in the listing was lost; owner, mode and time are made up"

    private static func isBelow(_ path: [UInt8], _ folder: [UInt8]) -> Bool {
        folder.isEmpty || (path.count > folder.count && path[folder.count] == 0x2F && path.starts(with: folder))
    }

    /// The entry of one line; nil when it is not one.
    private static func entry(_ line: [UInt8]) -> TreeEntry? {
        // Alone when it is the root, else below a root made up for it.
        for start in [MtreeEncoder.header, belowRoot] {
            var parser = MtreeParser()
            parser.feed(start + line + [0x0A])
            if start.count > MtreeEncoder.header.count, (try? parser.next()) == nil { return nil }
            if let entry = try? parser.next() { return entry }
        }
        return nil
    }

    private static let belowRoot: [UInt8] = {
        var text = MtreeEncoder.header
        MtreeEncoder.append(root, to: &text)
        return text
    }()

    /// Text cut into lines; the parts of lines beside a gap are dropped.
    private struct Lines {
        private var rest: [UInt8] = []
        private var skipsToNewline = false

        var hasRest: Bool { !rest.isEmpty || skipsToNewline }

        mutating func skip() {
            rest = []
            skipsToNewline = true
        }

        mutating func feed(_ bytes: [UInt8]) -> [[UInt8]] {
            var lines: [[UInt8]] = []
            for part in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
                if part.offset > 0 {
                    if skipsToNewline { skipsToNewline = false } else { lines.append(rest) }
                    rest = []
                }
                rest += part.element
            }
            return lines
        }
    }

    /// The bytes of a content chunk by chunk; nil where some are lost.
    private func pieces(_ id: Digest, _ depth: UInt8, _ visit: ([UInt8]?) throws -> Void) throws {
        guard depth <= 8 else { return try visit(nil) }
        guard depth > 0 else { return try visit(chunk(id)) }
        // Records are followed as long as the list has no gap: behind one nobody knows where they begin.
        var records: [UInt8] = []
        var isBroken = false
        try pieces(id, depth - 1) { piece in
            guard !isBroken, let piece else {
                isBroken = true
                return
            }
            records += piece
            while records.count >= ChunkList.recordSize {
                let record = records.withUnsafeBytes { ChunkList.decode($0) }
                records.removeFirst(ChunkList.recordSize)
                try visit(chunk(record.id))
            }
        }
        if isBroken || !records.isEmpty { try visit(nil) }
    }

    private func chunk(_ id: Digest) throws -> [UInt8]? {
        do {
            return try reader.withChunk(id) { Array($0) }
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            return nil
        }
    }
}
