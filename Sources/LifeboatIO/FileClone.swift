// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Files that share blocks on disk until one of them is changed (btrfs, XFS, bcachefs …).
package enum FileClone {
    /// Makes an empty open file share everything of another one on the same file system; false when the file system
    /// cannot. Other failures throw.
    package static func clone(_ source: Int32, to target: Int32) throws(Errno) -> Bool {
        if lifeboat_clone_file(target, source) == 0 { return true }
        // ETXTBSY: a swap file. EPERM: immutable or append-only.
        if [EOPNOTSUPP, ENOTTY, EXDEV, EINVAL, ENOSYS, EPERM, ETXTBSY, EBADF, EISDIR].contains(errno) { return false }
        throw Errno(errno)
    }
}
