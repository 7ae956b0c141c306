// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// A secret as a file for child programs, in memory only: it never touches a disk and is gone with this process,
/// however that ends. Only this user (and root) can open `path`.
package final class ProcessSecretFile: Sendable {
    /// Where a child of the same user can open it for as long as this object lives.
    package let path: String
    private let raw: Int32

    package convenience init(_ content: String) throws(SystemCallError) { try self.init(bytes: Array(content.utf8)) }

    package init(bytes: [UInt8]) throws(SystemCallError) {
        raw = lifeboat_memory_file("lifeboat-secret")
        path = "/proc/\(getpid())/fd/\(raw)"
        guard raw >= 0 else { throw SystemCallError("make", "a file in memory") }
        // Programs refuse password files that others may read.
        guard fchmod(raw, 0o600) == 0 else { throw SystemCallError("protect", "a file in memory") }
        var done = 0
        while done < bytes.count {
            let written = bytes.withUnsafeBytes { bytes in
                let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
                return pwrite(raw, rest.baseAddress, rest.count, off_t(done))
            }
            guard written > 0 else { throw SystemCallError("write to", "a file in memory") }
            done += written
        }
    }

    deinit { if raw >= 0 { close(raw) } }
}
