// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// A live folder as a place where content of a tree may be found, while services go on writing to it: nothing of it is
/// believed before it was compared with its digest where nobody writes to it any more.
struct LiveModel: Sendable {
    /// Smaller files are as soon fetched as found: they lie many to a frame in the repository.
    static let smallest: UInt64 = 128 << 10

    private let root: FolderDescriptor

    /// Nil when there is no folder at `path`.
    init?(_ path: String) {
        guard let raw = try? openDescriptor(AT_FDCWD, path, OpenFlags.path | O_DIRECTORY | O_NOFOLLOW, mode: 0) else {
            return nil
        }
        root = FolderDescriptor(owning: raw)
    }

    /// Where content of a file that was just created as `target` may be found. Where the file system can, the new file
    /// shares the blocks of the live one.
    func origin(of entry: TreeEntry, for target: Int32) -> FileWriter.Origin {
        guard let content = entry.content, content.size >= Self.smallest, entry.extents == nil,
            entry.fileFlags & FileFlags.noCopyOnWrite == 0,
            let raw = try? (entry.path + [0]).withCName({ name throws(Errno) in
                try openBeneath(root.raw, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, mode: 0)
            })
        else { return .nowhere }
        let file = OwnedDescriptor(owning: raw)
        guard let status = try? FileStatus.of(file.raw), status.isFile, status.size >= Self.smallest else {
            return .nowhere
        }
        if (try? FileClone.clone(file.raw, to: target)) == true { return .cloned }
        return .other(file.release())
    }
}
