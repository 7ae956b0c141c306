// SPDX-License-Identifier: Apache-2.0

package import LifeboatFormats

/// Whether the entries of a tree can be written as they stand: a tree may be well-formed and call for what no file system
/// can hold. Takes the entries in the tree's order. Pure, constant memory; used on one thread.
package struct TreeAudit {
    /// The last entry that is not a directory: what lies below it would follow it at once.
    private var leaf: [UInt8]?
    /// Some entry is a hard link: `HardLinkAudit` says whether what it names is there.
    package private(set) var hasHardLinks = false

    package init() {}

    /// Why the next entry cannot be written; nil when it can.
    package mutating func problem(of entry: TreeEntry) -> String? {
        if let leaf, Self.isBelow(entry.path, leaf) {
            return "it lies below '\(String(decoding: leaf, as: UTF8.self))', which is not a directory"
        }
        leaf = entry.kind == .directory ? nil : entry.path
        if entry.hardLink != nil { hasHardLinks = true }
        guard entry.kind == .file else { return nil }
        guard entry.size <= UInt64(Int64.max) else { return "its size is larger than any file" }
        // What changed while it was read may not add up, and says so.
        guard entry.problem == nil else { return nil }
        if let last = entry.extents?.last {
            let (end, overflows) = last.offset.addingReportingOverflow(last.length)
            guard !overflows, end <= entry.size else { return "its data lies beyond its size" }
        }
        if let content = entry.content, content.size != entry.contentSize {
            return "its content does not have the size that it is said to have"
        }
        return nil
    }

    private static func isBelow(_ path: [UInt8], _ parent: [UInt8]) -> Bool {
        if parent.isEmpty { return !path.isEmpty }
        return path.count > parent.count && path[parent.count] == UInt8(ascii: "/") && path.starts(with: parent)
    }
}
