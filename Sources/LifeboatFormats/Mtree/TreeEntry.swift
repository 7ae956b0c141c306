// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// A reference to stored content: the bytes themselves (`depth` 0) or a list of chunks that is itself content.
///
/// Content of size 0 has no chunk: its id is the BLAKE3 of nothing and its depth 0.
package struct ContentReference: Hashable, Sendable, Codable {
    /// BLAKE3 of the plain bytes of the chunk at the top.
    package var id: Digest
    /// 0: the chunk holds the data. n: the chunk (or content of depth n − 1 …) is a list of chunks.
    package var depth: UInt8
    /// Plain bytes of the whole content.
    package var size: UInt64

    package init(id: Digest, depth: UInt8, size: UInt64) {
        self.id = id
        self.depth = depth
        self.size = size
    }
}

/// One file-system object of a tree: what a line of the mtree text says.
package struct TreeEntry: Sendable, Equatable {
    package enum Kind: UInt8, Sendable, Equatable {
        case file, directory, symbolicLink, fifo, socket, characterDevice, blockDevice
    }

    /// A run of data inside a sparse file.
    package struct Extent: Sendable, Equatable {
        package var offset: UInt64
        package var length: UInt64
        package init(offset: UInt64, length: UInt64) {
            self.offset = offset
            self.length = length
        }
    }

    package struct ExtendedAttribute: Sendable, Equatable {
        /// With its namespace: `user.comment`, `system.posix_acl_access`, `security.capability`.
        package var name: [UInt8]
        package var value: [UInt8]
        package init(name: [UInt8], value: [UInt8]) {
            self.name = name
            self.value = value
        }
    }

    /// Facts that tell whether a file changed since it was read. Absent when they could not be trusted: the file was
    /// written so shortly before it was read that a later write may leave the same times.
    package struct ChangeFacts: Sendable, Equatable {
        package var inode: UInt64
        package var changeTime: Timestamp
        package init(inode: UInt64, changeTime: Timestamp) {
            self.inode = inode
            self.changeTime = changeTime
        }
    }

    /// Path below the tree's root, components separated by `/`, no `.` or `..`; empty for the root itself.
    /// Any byte but NUL.
    package var path: [UInt8]
    package var kind: Kind
    /// Permission bits with setuid, setgid and sticky: 0o0000...0o7777.
    package var mode: UInt16
    package var userID: UInt32
    package var groupID: UInt32
    package var modificationTime: Timestamp
    /// Apparent size of a regular file, holes included; 0 for everything else.
    package var size: UInt64 = 0
    /// Data of a regular file; nil for other kinds, for hard links to an earlier entry, and for content that could
    /// not be read. For a sparse file it holds the data extents one after the other.
    package var content: ContentReference?
    /// Data extents of a sparse file, ascending and disjoint; nil when the file has no holes.
    package var extents: [Extent]?
    /// Target of a symbolic link, verbatim.
    package var linkTarget: [UInt8]?
    /// Path of the earlier entry this one is a hard link to; such an entry has no content of its own.
    package var hardLink: [UInt8]?
    /// Device number of a device node.
    package var deviceMajor: UInt32 = 0
    package var deviceMinor: UInt32 = 0
    /// All extended attributes, POSIX ACLs among them, sorted by name.
    package var extendedAttributes: [ExtendedAttribute] = []
    /// The settable bits of FS_IOC_GETFLAGS (append-only, immutable, nodump, no-COW …); 0 when none.
    package var fileFlags: UInt32 = 0
    package var changeFacts: ChangeFacts?
    /// Why the content or an attribute is missing or unsure (`changed while it was read`); nil when all is well.
    package var problem: String?

    package init(
        path: [UInt8], kind: Kind, mode: UInt16, userID: UInt32, groupID: UInt32, modificationTime: Timestamp
    ) {
        self.path = path
        self.kind = kind
        self.mode = mode
        self.userID = userID
        self.groupID = groupID
        self.modificationTime = modificationTime
    }
}

/// Order of the entries of a tree: bytewise by path component, so a folder comes directly before what is in it
/// (`a`, `a/b`, `a.txt`, since `/` sorts before every other byte).
package func treeOrder(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    let common = min(left.count, right.count)
    for index in 0..<common where left[index] != right[index] {
        // The separator is smaller than any byte a name can hold.
        let leftKey = left[index] == 0x2F ? 0 : UInt16(left[index])
        let rightKey = right[index] == 0x2F ? 0 : UInt16(right[index])
        return leftKey < rightKey
    }
    return left.count < right.count
}
