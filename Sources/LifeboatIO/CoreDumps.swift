// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Keeps passphrases and keys in memory out of files.
package enum CoreDumps {
    /// From now on neither this process nor its children leave core dumps, whoever asks for them: a limit of one byte
    /// is below what the kernel writes to a file, and the value by which it also skips handlers that are piped to
    /// (core(5); a limit of zero does not stop those).
    package static func disable() throws(SystemCallError) {
        var limit = rlimit(rlim_cur: 1, rlim_max: 1)
        guard setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit) == 0 else {
            throw SystemCallError("limit", "core dumps")
        }
    }
}
