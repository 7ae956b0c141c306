// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatIO

/// One run of one process: its number alone is used again by the kernel. Tells people whose journal it is; whether a
/// restore is still at work is decided by its lock.
package struct ProcessIdentity: Codable, Sendable, Equatable {
    package var processID: Int32
    /// Clock ticks after boot at which it started (field 22 of /proc/PID/stat); nil when it cannot be read.
    package var startTicks: UInt64?
    /// /proc/sys/kernel/random/boot_id; nil when it cannot be read.
    package var bootID: String?

    private enum CodingKeys: String, CodingKey {
        case processID = "pid"
        case startTicks = "start_ticks"
        case bootID = "boot_id"
    }

    package init(processID: Int32, startTicks: UInt64?, bootID: String?) {
        self.processID = processID
        self.startTicks = startTicks
        self.bootID = bootID
    }

    /// The calling process.
    package static func current() -> ProcessIdentity {
        ProcessIdentity(
            processID: getpid(), startTicks: text("/proc/self/stat").flatMap(startTicks(inStat:)),
            bootID: text("/proc/sys/kernel/random/boot_id").map { String($0.prefix { !$0.isWhitespace }) })
    }

    /// Field 22 of a stat line. The second field, the name in parentheses, may hold spaces and parentheses itself.
    static func startTicks(inStat line: String) -> UInt64? {
        guard let nameEnd = line.lastIndex(of: ")") else { return nil }
        let fields = line[line.index(after: nameEnd)...].split(separator: " ")
        return fields.count > 19 ? UInt64(fields[19]) : nil
    }

    private static func text(_ path: String) -> String? {
        guard let file = try? OwnedDescriptor.open(path, O_RDONLY) else { return nil }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = try? buffer.withUnsafeMutableBytes { bytes throws(SystemCallError) in
            try DescriptorIO.read(file.raw, into: bytes, path)
        }
        return count.map { String(decoding: buffer[..<$0], as: UTF8.self) }
    }
}
