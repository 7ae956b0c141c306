// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
package import LifeboatFormats
import LifeboatIO
package import LifeboatStores

/// A captured tree in memory: what an engine would keep in a repository.
package struct TreeCopy: Sendable {
    package var entries: [TreeEntry] = []
    package var contents: [[UInt8]: [UInt8]] = [:]
    package var notes: [[UInt8]: FileTreeNote] = [:]
    package var outcomes: [[UInt8]: FileReadOutcome] = [:]

    /// Captures a folder, reading every file.
    package init(of path: String, _ options: FolderSource.Options = FolderSource.Options()) throws {
        try self.init(walking: FolderSource(path, options))
    }

    package init(walking source: any FileTreeSource) throws {
        let walk = try source.walk(Cancellation())
        defer { walk.close() }
        var buffer = [UInt8](repeating: 0, count: 70_001)
        while var item = try walk.next() {
            if let note = item.note { notes[item.entry.path] = note }
            if let opener = item.opener {
                do {
                    let file = try opener.open()
                    defer { file.close() }
                    var bytes: [UInt8] = []
                    while true {
                        let count = try buffer.withUnsafeMutableBytes { try file.read(into: $0) }
                        if count == 0 { break }
                        bytes += buffer[..<count]
                    }
                    outcomes[item.entry.path] = try file.finish(&item.entry)
                    contents[item.entry.path] = bytes
                    item.entry.content = ContentReference(
                        id: BLAKE3.emptyDigest, depth: 0, size: UInt64(bytes.count))
                } catch {
                    item.entry.problem = LifeboatError.converting(error).description
                }
            } else {
                try walk.complete(&item)
            }
            entries.append(item.entry)
        }
    }

    package subscript(_ path: String) -> TreeEntry? { entries.first { $0.path == Array(path.utf8) } }
    package func content(_ path: String) -> [UInt8]? { contents[Array(path.utf8)] }
    package var paths: [String] { entries.map { String(decoding: $0.path, as: UTF8.self) } }

    package func without(_ path: String) -> TreeCopy {
        var copy = self
        copy.entries.removeAll { $0.path == Array(path.utf8) }
        return copy
    }

    /// Entries without what differs between two copies of a tree: inodes and change times.
    package var portable: [TreeEntry] {
        entries.map { entry in
            var entry = entry
            entry.changeFacts = nil
            return entry
        }
    }

    /// Writes the tree as an extraction does: folders, then the rest on two threads, links last, folders finished
    /// deepest first.
    package func extract(into target: any FileTreeTarget) throws {
        let links = entries.filter { $0.hardLink != nil }
        let folders = entries.filter { $0.kind == .directory }
        let others = entries.filter { $0.kind != .directory && $0.hardLink == nil }
        for entry in folders { _ = try target.create(entry) }
        let contents = contents
        try runConcurrently(
            (0..<2).map { half in
                (
                    name: "extract-\(half)",
                    body: {
                        for (index, entry) in others.enumerated() where index % 2 == half {
                            guard let file = try target.create(entry) else { continue }
                            let bytes = contents[entry.path] ?? []
                            // Two pieces, the later one first: any order must do.
                            let middle = bytes.count / 2
                            try bytes.withUnsafeBytes { bytes in
                                try file.write(
                                    UnsafeRawBufferPointer(rebasing: bytes[middle...]), atContentOffset: UInt64(middle))
                                try file.write(UnsafeRawBufferPointer(rebasing: bytes[..<middle]), atContentOffset: 0)
                            }
                            try file.finish()
                        }
                    }
                )
            })
        for entry in links { _ = try target.create(entry) }
        for entry in folders.reversed() { try target.finishFolder(entry) }
        try target.synchronize()
    }
}
