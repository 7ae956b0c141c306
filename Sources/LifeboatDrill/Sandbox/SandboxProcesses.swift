// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// The processes of a sandbox, found by its folder: it is where they work, or it is on their command line. So none is
/// lost that was started and not yet written down when a drill was killed.
enum SandboxProcesses {
    /// Seconds for an orderly end before SIGKILL.
    private static let grace = 10.0

    /// Those that run now, without the caller.
    static func running(in folder: String) throws -> [ProcessIdentity] {
        guard let stream = opendir("/proc") else { throw SystemCallError("open", "/proc") }
        defer { closedir(stream) }
        var found: [ProcessIdentity] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let id = Int32(name), id != getpid(), let identity = try ProcessIdentity.of(id),
                belongs(id, folder)
            else { continue }
            found.append(identity)
        }
        return found
    }

    private static func belongs(_ id: Int32, _ folder: String) -> Bool {
        if let place = link("/proc/\(id)/cwd"), isBelow(place, folder) { return true }
        // Gone meanwhile, or another user's: not one of ours.
        guard let words = try? SmallFile.contents("/proc/\(id)/cmdline", limit: 4 << 20) else { return false }
        let text = String(decoding: words, as: UTF8.self)
        var rest = text[...]
        while let range = rest.firstRange(of: folder) {
            let next = text[range.upperBound...].first
            if next == nil || !(next!.isLetter || next!.isNumber) { return true }
            rest = text[range.upperBound...]
        }
        return false
    }

    private static func isBelow(_ path: String, _ folder: String) -> Bool {
        // The kernel marks a folder that was removed.
        path == folder || path.hasPrefix("\(folder)/") || path == "\(folder) (deleted)"
    }

    private static func link(_ path: String) -> String? {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink(path, &buffer, buffer.count)
        guard count > 0 else { return nil }
        return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Ends all of them: SIGINT, which engines take for an orderly end, then SIGKILL. Throws when some stay.
    static func end(in folder: String, _ clock: any Clock) throws {
        let begin = clock.monotonicSeconds()
        var isFirst = true
        while true {
            let running = try running(in: folder)
            if running.isEmpty { return }
            let waited = clock.monotonicSeconds() - begin
            if waited > 2 * grace {
                throw LifeboatError(
                    "\(running.count) processes of the sandbox '\(folder)' cannot be ended",
                    causes: running.prefix(5).map { "process \($0.processID)" })
            }
            if isFirst || waited > grace {
                for process in running where try process.isAlive() {
                    kill(process.processID, isFirst ? SIGINT : SIGKILL)
                }
                isFirst = false
            }
            clock.sleep(seconds: 0.05)
        }
    }
}
