// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatTesting

/// A tree in memory with the content of its files, written as an archive.
struct ArchiveTree {
    /// `data` of a sparse file is that of its extents.
    var entries: [(item: TreeEntry, data: [UInt8])] = []

    mutating func add(
        _ path: String, _ kind: TreeEntry.Kind, mode: UInt16, data: [UInt8]? = nil,
        _ change: (inout TreeEntry) -> Void = { _ in }
    ) {
        add(Array(path.utf8), kind, mode: mode, data: data, change)
    }

    mutating func add(
        _ path: [UInt8], _ kind: TreeEntry.Kind, mode: UInt16, data: [UInt8]? = nil,
        _ change: (inout TreeEntry) -> Void = { _ in }
    ) {
        var item = TreeEntry(
            path: path, kind: kind, mode: mode, userID: 1234, groupID: 5678,
            modificationTime: Timestamp(seconds: 1_700_000_001, nanoseconds: 123_456_789))
        if let data {
            item.size = UInt64(data.count)
            item.content = ContentReference(
                id: Digest(bigEndianWords: 0, 0, 0, 0), depth: 0, size: UInt64(data.count))
        }
        change(&item)
        entries.append((item, data ?? []))
    }

    /// Gives `bytes` in pieces of at most `piece`.
    static func source(_ bytes: [UInt8], piece: Int = 70_001) -> (UnsafeMutableRawBufferPointer) -> Int {
        var position = 0
        return { buffer in
            let count = min(buffer.count, bytes.count - position, piece)
            buffer.copyBytes(from: bytes[position..<position + count])
            position += count
            return count
        }
    }

    /// Writes the archive to `path`; returns the warnings.
    @discardableResult
    func write(_ format: ArchiveWriter.Format, to path: String) throws -> [String] {
        let file = try OwnedDescriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC)
        let writer = try ArchiveWriter(format, to: file.raw)
        var warnings: [String] = []
        for (item, data) in entries where ArchiveWriter.refusal(of: item, in: format) == nil {
            if let warning = try writer.add(item, data: Self.source(data)) { warnings.append(warning) }
        }
        try writer.close()
        try file.close(path)
        return warnings
    }

    private static let hostileNames: [[UInt8]] = [
        Array("new\nline".utf8), Array("umlaut-\u{E4}".utf8), [0x6C, 0x61, 0x74, 0x69, 0x6E, 0x2D, 0xE4],
        Array("back\\slash *?'\"".utf8), [0x01, 0x7F, 0xFF], Array(String(repeating: "n", count: 255).utf8),
    ]

    /// Everything a tar holds, and a socket.
    static func everything() -> ArchiveTree {
        var random = SplitMix64(seed: 40)
        var tree = ArchiveTree()
        tree.add("", .directory, mode: 0o755)
        tree.add("docs", .directory, mode: 0o2775)
        tree.add("docs/empty", .file, mode: 0o600, data: [])
        tree.add("docs/large", .file, mode: 0o4711, data: random.bytes(700_001))
        tree.add("docs/hard", .file, mode: 0o4711) { $0.hardLink = Array("docs/large".utf8) }
        tree.add("docs/link", .symbolicLink, mode: 0o777) { $0.linkTarget = Array("../nowhere/\u{E4}".utf8) }
        tree.add("docs/text", .file, mode: 0o640, data: Array("hello\n".utf8)) {
            $0.extendedAttributes = [
                TreeEntry.ExtendedAttribute(name: Array("user.binary".utf8), value: [0, 1, 0x3D, 0x0A, 0xFF]),
                TreeEntry.ExtendedAttribute(name: Array("user.comment".utf8), value: Array("a note".utf8)),
            ]
        }
        tree.add("fifo", .fifo, mode: 0o622)
        tree.add("names", .directory, mode: 0o700)
        for name in hostileNames { tree.add(Array("names/".utf8) + name, .file, mode: 0o644, data: name) }
        tree.add("null", .characterDevice, mode: 0o666) {
            $0.deviceMajor = 1
            $0.deviceMinor = 3
        }
        tree.add("old", .file, mode: 0o400, data: [1]) { $0.modificationTime = Timestamp(seconds: 5, nanoseconds: 7) }
        tree.add("socket", .socket, mode: 0o755)
        let extents = [(4096, 8192), (1 << 20, 4096), (40 << 20, 100)]
        tree.add("sparse", .file, mode: 0o644, data: random.bytes(8192 + 4096 + 100)) { item in
            item.size = 64 << 20
            item.extents = extents.map { TreeEntry.Extent(offset: UInt64($0), length: UInt64($1)) }
        }
        tree.add("void", .file, mode: 0o644, data: []) { item in
            item.size = 8 << 20
            item.extents = []
        }
        return tree
    }
}
