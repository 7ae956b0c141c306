// SPDX-License-Identifier: Apache-2.0

internal import CLibArchive
internal import Glibc
internal import LifeboatIO

/// libarchive's result convention: ARCHIVE_OK, or a code with errno and words kept in the handle.
enum ArchiveResult {
    /// The failure `result` of the last call on `archive` as a `FormatError`. Call it before any other.
    static func error(_ result: Int32, of archive: OpaquePointer, _ operation: String) -> FormatError {
        let number = unsafe archive_errno(archive)
        var text = "libarchive gives no reason"
        if let words = unsafe archive_error_string(archive) { text = unsafe String(cString: words) }
        let kind: FormatError.Kind
        switch number {
        case ENOMEM: kind = .outOfMemory
        case ENAMETOOLONG, ERANGE, EILSEQ, EINVAL, ENOTSUP: kind = .unsupported
        case ENOSPC, EDQUOT, EFBIG, EPIPE, EIO, EBADF, ECONNRESET:
            kind = .output
            text += ": \(SystemCallError.describe(number))"
        default: kind = .library
        }
        return FormatError(
            kind, operation, code: Int(number != 0 ? number : result),
            text.prefix(1).lowercased() + text.dropFirst())
    }
}
