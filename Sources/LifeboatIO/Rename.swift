// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// renameat2(2) with its flags.
package enum Rename {
    /// Exchanges two existing paths of one file system atomically.
    package static func exchange(_ first: String, _ second: String) throws(SystemCallError) {
        guard lifeboat_renameat2(AT_FDCWD, first, AT_FDCWD, second, UInt32(LIFEBOAT_RENAME_EXCHANGE)) == 0 else {
            throw SystemCallError("exchange with '\(second)'", first)
        }
    }

    /// Renames unless the new name exists; false when it does.
    package static func withoutReplacing(_ old: String, to new: String) throws(SystemCallError) -> Bool {
        if lifeboat_renameat2(AT_FDCWD, old, AT_FDCWD, new, UInt32(LIFEBOAT_RENAME_NOREPLACE)) == 0 { return true }
        if errno == EEXIST { return false }
        throw SystemCallError("rename to", new)
    }
}
