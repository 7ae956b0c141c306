// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats

/// Marks every chunk that manifests need: streams, lists of every depth, trees and the files in them.
///
/// Memory: one bit a record, and for trees what is left of the last line of each of their chunks, so that a tree that
/// shares most of its chunks with another is read only where it differs. Anything that cannot be read throws: what is
/// not understood must not be deleted.
final class ReferenceMarker {
    private let marks: ChunkMarks
    private let reader: ChunkReader
    private let cancellation: Cancellation

    private struct ListKey: Hashable {
        var position: ChunkMarks.Position
        var depth: UInt8
    }

    private var walkedLists: Set<ListKey> = []
    private var walkedTrees: Set<ListKey> = []
    /// By digest of (what was left of the line before, id of the chunk): the line that is not ended at its end.
    private var treeChunks: [Digest: [UInt8]] = [:]

    init(_ marks: ChunkMarks, _ repository: Repository, cancellation: Cancellation) {
        self.marks = marks
        self.cancellation = cancellation
        reader = ChunkReader(repository, marks.indexes, cacheLimit: 16 << 20)
    }

    func mark(_ manifest: Manifest) throws {
        for component in manifest.components {
            for part in component.parts {
                try cancellation.check()
                try mark(part.content)
                if part.kind == .tree { try markTree(part.content) }
            }
        }
    }

    private func position(of id: Digest) throws -> ChunkMarks.Position {
        guard let position = try marks.mark(id) else {
            throw RepositoryError.missing("chunk \(id.shortHex)", "a snapshot needs it, and no index has it")
        }
        return position
    }

    /// The content's chunks and those of its lists.
    private func mark(_ content: ContentReference) throws {
        guard content.size > 0 else { return }
        let position = try position(of: content.id)
        if content.depth == 0, content.size != ContentSource.unknownSize { try marks.note(content.size, of: position) }
        guard content.depth > 0,
            walkedLists.insert(ListKey(position: position, depth: content.depth)).inserted
        else { return }
        try mark(
            ContentReference(id: content.id, depth: content.depth - 1, size: ContentSource.unknownSize))
        let chunks = try ChunkSequence(reader, content)
        while let chunk = try chunks.next() {
            try marks.note(UInt64(chunk.length), of: self.position(of: chunk.id))
        }
    }

    /// What the entries of a tree refer to. Each chunk of the text is read once for every line that leads into it.
    private func markTree(_ content: ContentReference) throws {
        guard content.size > 0 else { return }
        let top = try position(of: content.id)
        guard walkedTrees.insert(ListKey(position: top, depth: content.depth)).inserted else { return }
        let chunks = try ChunkSequence(reader, content)
        var rest: [UInt8] = []
        var isFirst = true
        while let chunk = try chunks.next() {
            try cancellation.check()
            let key = Self.key(rest, chunk.id)
            if !isFirst, let known = treeChunks[key] {
                rest = known
                continue
            }
            try reader.withChunk(chunk.id) { rest.append(contentsOf: $0) }
            rest = try markLines(rest, isFirst: isFirst)
            guard rest.count <= MtreeParser.longestLine else {
                throw RepositoryError.damaged("tree \(content.id.shortHex)", "it has a line that never ends")
            }
            if !isFirst, rest.count <= Self.longestRemembered { treeChunks[key] = rest }
            isFirst = false
        }
        guard rest.isEmpty else { throw RepositoryError.damaged("tree \(content.id.shortHex)", "it is cut short") }
    }

    /// Longer rests are not kept: the chunk is read again.
    private static let longestRemembered = 1 << 12

    private static func key(_ rest: [UInt8], _ id: Digest) -> Digest {
        var hasher = BLAKE3Hasher()
        rest.withUnsafeBytes { hasher.update($0) }
        id.bytes.withUnsafeBytes { hasher.update($0) }
        return hasher.finalize()
    }

    /// Marks what whole lines refer to; gives what is behind the last newline.
    private func markLines(_ text: [UInt8], isFirst: Bool) throws -> [UInt8] {
        guard let end = text.lastIndex(of: 0x0A) else { return text }
        var parser = MtreeParser()
        var lines = text[...end]
        if isFirst {
            guard lines.starts(with: MtreeEncoder.header) else {
                throw RepositoryError.damaged("a tree", "it does not begin like one")
            }
        } else {
            // A parser wants a whole tree: header and root go before lines from its middle.
            let hasRoot = lines.starts(with: [UInt8(ascii: "."), UInt8(ascii: " ")])
            parser.feed(hasRoot ? MtreeEncoder.header : Self.opening)
            while try parser.next() != nil {}
        }
        while let start = lines.first.map({ _ in lines.startIndex }) {
            let piece = lines[start..<min(lines.endIndex, start + 256 << 10)]
            parser.feed(Array(piece))
            while let entry = try parser.next() {
                if let content = entry.content { try mark(content) }
            }
            lines = lines[piece.endIndex...]
        }
        return Array(text[(end + 1)...])
    }

    private static let opening: [UInt8] = {
        var text = MtreeEncoder.header
        MtreeEncoder.append(
            TreeEntry(
                path: [], kind: .directory, mode: 0o755, userID: 0, groupID: 0,
                modificationTime: Timestamp(seconds: 0)), to: &text)
        return text
    }()
}
