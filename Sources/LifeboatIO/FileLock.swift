// SPDX-License-Identifier: Apache-2.0

import Glibc

/// An exclusive flock(2) on a file, between processes and between holders in one process. Ends with this value, and with
/// the process however that ends.
package struct FileLock: ~Copyable, Sendable {
    private let file: OwnedDescriptor

    /// Takes the lock on `path`, which is created when missing; nil when somebody else holds it. Never waits.
    package static func tryLock(_ path: String) throws(SystemCallError) -> FileLock? {
        let file = try OwnedDescriptor.open(path, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600)
        while flock(file.raw, LOCK_EX | LOCK_NB) != 0 {
            if errno == EWOULDBLOCK { return nil }
            if errno != EINTR { throw SystemCallError("lock", path) }
        }
        return FileLock(file: file)
    }

    private init(file: consuming OwnedDescriptor) { self.file = file }

    /// Ends the lock here. Call it where what the lock protects is done: without a use of the value there, an optimized
    /// build may end its lifetime, and with it the lock, right after it was taken.
    package consuming func release() { flock(file.raw, LOCK_UN) }

    /// Unlocks by name: a child process that is just being started holds a copy of the descriptor until its exec, and
    /// would keep the lock a little longer.
    deinit { flock(file.raw, LOCK_UN) }
}
