// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatIO

/// Removes whole trees of any depth with a bounded number of open folders; follows no link and enters no mount point,
/// so that nothing outside is touched; takes away the flags that forbid removing.
struct TreeRemoval {
    /// Deeper folders are moved to the top first.
    private static let deepest = 128

    private let root: FolderDescriptor
    private var moved = 0

    /// Removes `path` and everything below it; a path that does not exist is fine.
    static func remove(_ path: String) throws(SystemCallError) {
        let place = RootPlace(path)
        do throws(Errno) {
            let parent = FolderDescriptor(
                owning: try openDescriptor(AT_FDCWD, place.parent, OpenFlags.path | O_DIRECTORY, mode: 0))
            try place.name.withCName { name throws(Errno) in
                if try unlink(name, parent) { return }
                var removal = TreeRemoval(root: try openFolder(name, parent))
                try removal.empty(removal.root, depth: 0)
                guard unlinkat(parent.raw, name, AT_REMOVEDIR) == 0 else { throw Errno(errno) }
            }
        } catch {
            if error.number == ENOENT { return }
            throw SystemCallError("remove", path, errorNumber: error.number)
        }
    }

    private init(root: FolderDescriptor) { self.root = root }

    /// Takes away everything but a folder; false when it is one.
    private static func unlink(_ name: UnsafePointer<CChar>, _ parent: FolderDescriptor) throws(Errno) -> Bool {
        if unlinkat(parent.raw, name, 0) == 0 || errno == ENOENT { return true }
        if errno == EISDIR { return false }
        guard errno == EPERM else { throw Errno(errno) }
        let status = try FileStatus.at(parent.raw, name)
        if status.isFolder { return false }
        guard status.isFile else { throw Errno(EPERM) }
        let file = OwnedDescriptor(
            owning: try openBeneath(parent.raw, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, mode: 0, sameVolume: true))
        try FileFlags.set(file.raw, 0)
        guard unlinkat(parent.raw, name, 0) == 0 else { throw Errno(errno) }
        return true
    }

    /// Opens a folder for being emptied: writable again, whatever its mode and flags.
    private static func openFolder(
        _ name: UnsafePointer<CChar>, _ parent: FolderDescriptor
    ) throws(Errno) -> FolderDescriptor {
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
        let folder: FolderDescriptor
        do throws(Errno) {
            folder = FolderDescriptor(owning: try openBeneath(parent.raw, name, flags, mode: 0, sameVolume: true))
        } catch {
            guard error.number == EACCES, fchmodat(parent.raw, name, 0o700, AT_SYMLINK_NOFOLLOW) == 0 else {
                throw error
            }
            folder = FolderDescriptor(owning: try openBeneath(parent.raw, name, flags, mode: 0, sameVolume: true))
        }
        if try FileFlags.get(folder.raw) & (FileFlags.immutable | FileFlags.appendOnly) != 0 {
            try FileFlags.set(folder.raw, 0)
        }
        // Without the rights to write and search the owner can remove nothing. Root needs none; a failure shows below.
        _ = fchmod(folder.raw, 0o700)
        return folder
    }

    private mutating func empty(_ folder: FolderDescriptor, depth: Int) throws(Errno) {
        let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 32 << 10, alignment: 16)
        defer { scratch.deallocate() }
        while true {
            // Names that were moved here while the others were removed come with the next listing.
            _ = lseek(folder.raw, 0, SEEK_SET)
            let names = FolderNames(folder, scratch: scratch)
            if let failure = names.failure, names.count == 0 { throw failure }
            if names.count == 0 { return }
            for start in names.starts {
                let name = Array(names.name(at: start)) + [0]
                try remove(name, in: folder, depth: depth)
            }
            if depth > 0 { return }
        }
    }

    private mutating func remove(_ name: [UInt8], in folder: FolderDescriptor, depth: Int) throws(Errno) {
        let isGone = try name.withCName { name throws(Errno) in try Self.unlink(name, folder) }
        if isGone { return }
        if depth >= Self.deepest {
            moved += 1
            let top = Array("lifeboat-removed-\(moved)".utf8) + [0]
            let result = try name.withCName { name throws(Errno) in
                try top.withCName { top throws(Errno) in renameat(folder.raw, name, root.raw, top) == 0 ? 0 : errno }
            }
            if result != 0 { throw Errno(result) }
            return
        }
        let child = try name.withCName { name throws(Errno) in try Self.openFolder(name, folder) }
        try empty(child, depth: depth + 1)
        try name.withCName { name throws(Errno) in
            guard unlinkat(folder.raw, name, AT_REMOVEDIR) == 0 else { throw Errno(errno) }
        }
    }
}
