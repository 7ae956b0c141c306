// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatIO

/// Small files of this host, read whole.
enum LocalFile {
    static func bytes(_ path: String) throws(SystemCallError) -> [UInt8] {
        let file = try OwnedDescriptor.open(path, O_RDONLY | O_NOFOLLOW)
        var bytes: [UInt8] = []
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 1)
        defer { buffer.deallocate() }
        while true {
            let count = try DescriptorIO.read(file.raw, into: buffer, path)
            if count == 0 { return bytes }
            bytes.append(contentsOf: buffer[..<count])
        }
    }
}
