// SPDX-License-Identifier: Apache-2.0

package import LifeboatFormats

/// One difference between two trees.
package struct TreeChange: Sendable, Equatable {
    package enum Kind: String, Sendable, Equatable, CaseIterable {
        case added
        case removed
        /// Another kind of object is there now.
        case replaced
        /// Other content, or another target of a link.
        case modified
        /// The same content with other attributes.
        case attributes
    }

    /// What differs about an object that is in both trees.
    package enum Aspect: String, Sendable, Equatable, CaseIterable {
        case content, linkTarget, hardLink, device, mode, owner, time, extendedAttributes, flags, problem
    }

    package var kind: Kind
    /// In ascending order of `Aspect`'s cases; empty for `added`, `removed` and `replaced`.
    package var aspects: [Aspect]
    /// Nil when it is only in the new tree.
    package var old: TreeEntry?
    /// Nil when it is only in the old tree.
    package var new: TreeEntry?

    /// Of the entry, below the root of the tree.
    package var path: [UInt8] { new?.path ?? old?.path ?? [] }
}

/// Compares two trees by walking them side by side: constant memory, whatever their size.
package struct TreeDifference {
    private let old: any TreeEntries
    private let new: any TreeEntries
    private var oldEntry: TreeEntry?
    private var newEntry: TreeEntry?

    /// Reads the first entry of both.
    package init(from old: any TreeEntries, to new: any TreeEntries) throws {
        self.old = old
        self.new = new
        oldEntry = try old.next()
        newEntry = try new.next()
    }

    /// The next difference in `treeOrder`; nil at the end.
    package mutating func next() throws -> TreeChange? {
        while true {
            switch (oldEntry, newEntry) {
            case (nil, nil): return nil
            case (let before?, nil):
                oldEntry = try old.next()
                return TreeChange(kind: .removed, aspects: [], old: before, new: nil)
            case (nil, let after?):
                newEntry = try new.next()
                return TreeChange(kind: .added, aspects: [], old: nil, new: after)
            case (let before?, let after?):
                if before.path == after.path {
                    oldEntry = try old.next()
                    newEntry = try new.next()
                    if let change = Self.compare(before, after) { return change }
                } else if treeOrder(before.path, after.path) {
                    oldEntry = try old.next()
                    return TreeChange(kind: .removed, aspects: [], old: before, new: nil)
                } else {
                    newEntry = try new.next()
                    return TreeChange(kind: .added, aspects: [], old: nil, new: after)
                }
            }
        }
    }

    /// Two entries of one path; nil when a restore of either gives the same.
    private static func compare(_ old: TreeEntry, _ new: TreeEntry) -> TreeChange? {
        guard old.kind == new.kind else { return TreeChange(kind: .replaced, aspects: [], old: old, new: new) }
        var aspects: [TreeChange.Aspect] = []
        if hasOtherContent(old, new) { aspects.append(.content) }
        if old.linkTarget != new.linkTarget { aspects.append(.linkTarget) }
        if old.hardLink != new.hardLink { aspects.append(.hardLink) }
        if (old.deviceMajor, old.deviceMinor) != (new.deviceMajor, new.deviceMinor) { aspects.append(.device) }
        if old.mode != new.mode { aspects.append(.mode) }
        if (old.userID, old.groupID) != (new.userID, new.groupID) { aspects.append(.owner) }
        if old.modificationTime != new.modificationTime { aspects.append(.time) }
        if old.extendedAttributes != new.extendedAttributes { aspects.append(.extendedAttributes) }
        if old.fileFlags != new.fileFlags { aspects.append(.flags) }
        if old.problem != new.problem { aspects.append(.problem) }
        guard !aspects.isEmpty else { return nil }
        let changesData = aspects.contains { [.content, .linkTarget, .device].contains($0) }
        return TreeChange(kind: changesData ? .modified : .attributes, aspects: aspects, old: old, new: new)
    }

    private static func hasOtherContent(_ old: TreeEntry, _ new: TreeEntry) -> Bool {
        guard old.kind == .file else { return false }
        if old.size != new.size { return true }
        switch (old.content, new.content) {
        case (let before?, let after?): return before != after || old.extents != new.extents
        case (nil, nil) where old.hardLink == new.hardLink:
            // The change shows at the entry both are links to.
            return false
        default:
            // One of them is a hard link now: its content stands elsewhere in the tree. Unlike times tell of a write.
            return old.modificationTime != new.modificationTime
        }
    }
}
