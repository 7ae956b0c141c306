// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Record locks (fcntl(2)) on a part of a file, as database engines use them between processes.
package enum RangeLock {
    /// Takes a shared lock that belongs to this open descriptor: it ends when the descriptor is closed, not when any
    /// other descriptor of the file is. False when somebody holds an exclusive one. Never waits.
    package static func tryShared(
        _ descriptor: Int32, _ range: Range<Int64>
    ) throws(Errno) -> Bool {
        while lifeboat_lock_shared(descriptor, off_t(range.lowerBound), off_t(range.count)) != 0 {
            if errno == EAGAIN || errno == EACCES { return false }
            if errno != EINTR { throw Errno(errno) }
        }
        return true
    }

    /// Who holds a lock of any kind in the range, this process's own locks apart.
    package enum Holder: Equatable, Sendable {
        case nobody
        case process(Int32)
        /// A lock of an open file, or of a process of another namespace.
        case unknown
    }

    /// Looks, and takes nothing.
    package static func holder(_ descriptor: Int32, _ range: Range<Int64>) throws(Errno) -> Holder {
        switch lifeboat_lock_holder(descriptor, off_t(range.lowerBound), off_t(range.count)) {
        case 0: return .nobody
        case -2: throw Errno(errno)
        case let process where process > 0: return .process(process)
        default: return .unknown
        }
    }
}
