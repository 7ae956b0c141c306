// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Names one process for ever: a process id is given out again, and everything ends with a reboot.
package struct ProcessIdentity: Sendable, Equatable, Codable {
    package var processID: Int32
    /// Clock ticks from boot to its start: field 22 of `/proc/PID/stat` (proc(5)).
    package var startTicks: UInt64
    /// `/proc/sys/kernel/random/boot_id`.
    package var bootID: String

    package init(processID: Int32, startTicks: UInt64, bootID: String) {
        self.processID = processID
        self.startTicks = startTicks
        self.bootID = bootID
    }

    /// The calling process.
    package static func current() throws(SystemCallError) -> ProcessIdentity {
        let processID = getpid()
        guard let identity = try of(processID) else {
            throw SystemCallError("read", "/proc/\(processID)/stat", errorNumber: ENOENT)
        }
        return identity
    }

    /// The process that has this id now; nil when none has.
    package static func of(_ processID: Int32) throws(SystemCallError) -> ProcessIdentity? {
        guard let start = try startTicks(of: processID) else { return nil }
        return ProcessIdentity(processID: processID, startTicks: start, bootID: try currentBootID())
    }

    /// Whether that very process still runs. Ended but not yet waited for counts as gone.
    package func isAlive() throws(SystemCallError) -> Bool {
        guard bootID == (try Self.currentBootID()) else { return false }
        return try Self.startTicks(of: processID) == startTicks
    }

    /// Another one after every boot of the machine.
    package static func currentBootID() throws(SystemCallError) -> String {
        let path = "/proc/sys/kernel/random/boot_id"
        guard let text = try contents(of: path) else { throw SystemCallError("open", path, errorNumber: ENOENT) }
        return String(text.prefix { !$0.isNewline })
    }

    /// Nil when there is no such process, or it is a zombie.
    private static func startTicks(of processID: Int32) throws(SystemCallError) -> UInt64? {
        let path = "/proc/\(processID)/stat"
        guard let text = try contents(of: path) else { return nil }
        // The second field, the program's name in parentheses, may hold anything: go on after its last parenthesis.
        guard let end = text.lastIndex(of: ")") else { throw SystemCallError("understand", path, errorNumber: EINVAL) }
        let fields = text[text.index(after: end)...].split(separator: " ")
        // Field 3 (state) is the first of these, so field 22 is the twentieth.
        guard fields.count >= 20, let ticks = UInt64(fields[19]) else {
            throw SystemCallError("understand", path, errorNumber: EINVAL)
        }
        return ["Z", "X", "x"].contains(fields[0]) ? nil : ticks
    }

    /// A small file; nil when it does not exist.
    private static func contents(of path: String) throws(SystemCallError) -> String? {
        do throws(SystemCallError) {
            let file = try OwnedDescriptor.open(path, O_RDONLY)
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 1)
            defer { buffer.deallocate() }
            let count = try DescriptorIO.read(file.raw, into: buffer, path)
            return String(decoding: buffer[..<count], as: UTF8.self)
        } catch {
            // ESRCH: the process ended between open and read.
            if error.errorNumber == ENOENT || error.errorNumber == ESRCH { return nil }
            throw error
        }
    }
}
