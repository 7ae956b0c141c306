// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// A record of this host, read whole.
enum SmallFile {
    private static let limit = 16 << 20

    static func read(_ path: String) throws -> [UInt8] {
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = try buffer.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, path) }
            bytes += buffer[..<count]
            if count < buffer.count { return bytes }
            guard bytes.count < limit else { throw LifeboatError("'\(path)' is larger than \(limit) bytes") }
        }
    }
}
