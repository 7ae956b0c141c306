// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Files that are read whole: keys, records, remembered facts.
package enum SmallFile {
    /// All bytes of the regular file `path`; nil when there is none. A larger file than `limit` throws EFBIG.
    /// Never waits for a fifo. Blocking.
    package static func contents(
        _ path: String, limit: Int = 16 << 20
    ) throws(SystemCallError) -> [UInt8]? {
        let file: OwnedDescriptor
        do throws(SystemCallError) {
            file = try OwnedDescriptor.open(path, O_RDONLY | O_NONBLOCK)
        } catch {
            guard error.errorNumber == ENOENT else { throw error }
            return nil
        }
        var status = stat()
        guard fstat(file.raw, &status) == 0 else { throw SystemCallError("examine", path) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw SystemCallError("read", path, errorNumber: EINVAL) }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
        defer { buffer.deallocate() }
        var bytes: [UInt8] = []
        while true {
            let count = try DescriptorIO.read(file.raw, into: buffer, path)
            bytes += UnsafeRawBufferPointer(rebasing: buffer[..<count])
            guard bytes.count <= limit else { throw SystemCallError("read", path, errorNumber: EFBIG) }
            if count < buffer.count { return bytes }
        }
    }
}
