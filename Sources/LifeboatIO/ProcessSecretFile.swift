// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// A secret as a file for child programs, in memory only: it never touches a disk and is gone with this process,
/// however that ends. Only this user (and root) can open `path`.
package final class ProcessSecretFile: Sendable {
    /// Where a child of the same user can open it for as long as this object lives.
    package let path: String
    private let raw: Int32

    package init(_ content: String) throws(SystemCallError) {
        raw = lifeboat_memory_file("lifeboat-secret")
        path = "/proc/\(getpid())/fd/\(raw)"
        guard raw >= 0 else { throw SystemCallError("make", "a file in memory") }
        // Programs refuse password files that others may read.
        guard fchmod(raw, 0o600) == 0 else { throw SystemCallError("protect", "a file in memory") }
        let bytes = Array(content.utf8)
        let written = bytes.withUnsafeBytes { pwrite(raw, $0.baseAddress, $0.count, 0) }
        guard written == bytes.count else { throw SystemCallError("write to", "a file in memory") }
    }

    deinit { if raw >= 0 { close(raw) } }
}
