// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import LifeboatCore

/// What statx(2) says about a file-system object, never following a symbolic link.
package struct FileStatus: Sendable, Equatable {
    /// Identifies an object as long as it exists.
    package struct Identity: Hashable, Sendable {
        package var volume: UInt64
        package var inode: UInt64
        package init(volume: UInt64, inode: UInt64) {
            self.volume = volume
            self.inode = inode
        }
    }

    package var inode: UInt64
    package var size: UInt64
    /// 512-byte blocks in use.
    package var blocks: UInt64
    package var modificationTime: Timestamp
    package var changeTime: Timestamp
    /// Type and permission bits, as `st_mode`.
    package var mode: UInt32
    package var userID: UInt32
    package var groupID: UInt32
    package var links: UInt32
    /// Device number of the file system, major in the upper half.
    package var volume: UInt64
    package var deviceMajor: UInt32
    package var deviceMinor: UInt32

    package var identity: Identity { Identity(volume: volume, inode: inode) }
    package var isFile: Bool { mode & S_IFMT == S_IFREG }
    package var isFolder: Bool { mode & S_IFMT == S_IFDIR }

    /// Of `name` in an open folder; an empty name is the descriptor's own object.
    package static func at(_ folder: Int32, _ name: UnsafePointer<CChar>) throws(Errno) -> FileStatus {
        var status = lifeboat_status()
        while lifeboat_status_at(folder, name, &status) != 0 {
            if errno != EINTR { throw Errno(errno) }
        }
        return FileStatus(status)
    }

    /// Of an open descriptor.
    package static func of(_ descriptor: Int32) throws(Errno) -> FileStatus { try at(descriptor, "") }

    /// All zero: an object nothing is known about.
    package init() { self.init(lifeboat_status()) }

    private init(_ status: lifeboat_status) {
        inode = status.inode
        size = status.size
        blocks = status.blocks
        modificationTime = Timestamp(
            seconds: status.modified_seconds, nanoseconds: Int32(truncatingIfNeeded: status.modified_nanoseconds))
        changeTime = Timestamp(
            seconds: status.changed_seconds, nanoseconds: Int32(truncatingIfNeeded: status.changed_nanoseconds))
        mode = status.mode
        userID = status.user
        groupID = status.group
        links = status.links
        volume = UInt64(status.volume_major) << 32 | UInt64(status.volume_minor)
        deviceMajor = status.device_major
        deviceMinor = status.device_minor
    }
}

/// An error number without the thing it happened to: for hot paths, where the subject is named only when it is shown.
package struct Errno: Error, Equatable, Sendable {
    package let number: Int32
    package init(_ number: Int32) { self.number = number }
}
