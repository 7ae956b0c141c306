// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import LifeboatCore

/// A failed system call: which, on what, and errno. Converts to a message that names the path and what to do.
package struct SystemCallError: Error, LifeboatErrorConvertible, Equatable {
    /// What was attempted, as a verb phrase: `open`, `write to`, `rename`.
    package let operation: String
    /// The path or thing it was attempted on, for people (invalid UTF-8 is repaired).
    package let subject: String
    package let errorNumber: Int32

    /// Takes `errno` of the calling thread unless given: build it directly after the failed call.
    package init(_ operation: String, _ subject: String, errorNumber: Int32 = errno) {
        self.operation = operation
        self.subject = subject
        self.errorNumber = errorNumber
    }

    package var lifeboatError: LifeboatError {
        LifeboatError(
            "cannot \(operation) '\(subject)'", causes: [Self.describe(errorNumber)], hint: Self.hint(errorNumber))
    }

    /// `no space left on device (ENOSPC)`.
    package static func describe(_ errorNumber: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 128)
        lifeboat_strerror(errorNumber, &buffer, buffer.count)
        let bytes = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        let text = String(decoding: bytes, as: UTF8.self)
        let lowered = text.prefix(1).lowercased() + text.dropFirst()
        guard let name = names[errorNumber] else { return "\(lowered) (errno \(errorNumber))" }
        return "\(lowered) (\(name))"
    }

    private static func hint(_ errorNumber: Int32) -> String? {
        switch errorNumber {
        case ENOSPC: "Free some space on that file system, then run the same command again."
        case EDQUOT: "Raise the disk quota of this user or free some space, then run the same command again."
        case EACCES, EPERM: "Run as a user that may do this; a backup of a whole host runs as root."
        case EROFS: "The file system is mounted read-only: remount it, or choose another place."
        case EMFILE, ENFILE: "Raise the limit of open files (ulimit -n)."
        case EIO: "The disk or the file system reports an error: look at the kernel log (dmesg)."
        default: nil
        }
    }

    private static let names: [Int32: String] = [
        EPERM: "EPERM", ENOENT: "ENOENT", EINTR: "EINTR", EIO: "EIO", ENXIO: "ENXIO", EBADF: "EBADF",
        EAGAIN: "EAGAIN", ENOMEM: "ENOMEM", EACCES: "EACCES", EBUSY: "EBUSY", EEXIST: "EEXIST", EXDEV: "EXDEV",
        ENODEV: "ENODEV", ENOTDIR: "ENOTDIR", EISDIR: "EISDIR", EINVAL: "EINVAL", ENFILE: "ENFILE",
        EMFILE: "EMFILE", ETXTBSY: "ETXTBSY", EFBIG: "EFBIG", ENOSPC: "ENOSPC", ESPIPE: "ESPIPE", EROFS: "EROFS",
        EMLINK: "EMLINK", EPIPE: "EPIPE", ENAMETOOLONG: "ENAMETOOLONG", ENOTEMPTY: "ENOTEMPTY", ELOOP: "ELOOP",
        EDQUOT: "EDQUOT", ESTALE: "ESTALE", ENOTSUP: "ENOTSUP", ECONNREFUSED: "ECONNREFUSED",
        ETIMEDOUT: "ETIMEDOUT", ENODATA: "ENODATA", ENOSYS: "ENOSYS",
    ]
}
