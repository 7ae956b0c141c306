// SPDX-License-Identifier: Apache-2.0

package import LifeboatFormats
import LifeboatIO

/// Entries of one tree in `treeOrder`, the root first. Used on one thread.
package protocol TreeEntries: AnyObject {
    /// Nil at the end of a whole tree; everything else throws.
    func next() throws -> TreeEntry?
}

extension MtreeReader: TreeEntries {}

extension Manifest.Part {
    /// Reads the entries of a part of kind `tree`.
    package func entries(_ reader: ChunkReader) throws -> any TreeEntries {
        MtreeReader(try ContentSource(reader, content))
    }
}

/// What is at and below one path of a tree, in `treeOrder`; reads no further than it must. Constant memory.
package final class Subtree: TreeEntries {
    private let entries: any TreeEntries
    private let path: [UInt8]
    private let recursive: Bool
    private var isOver = false

    /// `path` without slashes at its ends, empty for the root. Without `recursive` only the entry itself and what
    /// lies directly in it.
    package init(_ entries: any TreeEntries, at path: [UInt8], recursive: Bool) {
        self.entries = entries
        self.path = path
        self.recursive = recursive
    }

    package func next() throws -> TreeEntry? {
        while !isOver, let entry = try entries.next() {
            if entry.path == path { return entry }
            if isBelow(entry.path) {
                if recursive || depth(entry.path) == 1 { return entry }
            } else if treeOrder(path, entry.path) {
                // Everything below a path follows it without a gap.
                isOver = true
            }
        }
        return nil
    }

    private func isBelow(_ other: [UInt8]) -> Bool {
        path.isEmpty || (other.count > path.count && other[path.count] == 0x2F && other.starts(with: path))
    }

    /// Components below `path`.
    private func depth(_ other: [UInt8]) -> Int {
        let rest = path.isEmpty ? other[...] : other[(path.count + 1)...]
        return rest.isEmpty ? 0 : rest.count { $0 == 0x2F } + 1
    }
}
