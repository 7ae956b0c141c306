// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Synchronization

/// A pipe to or from a child: one end for it, the other for us.
struct ProcessPipe {
    let reading: ProcessPipeEnd
    let writing: ProcessPipeEnd

    /// Bytes a pipe holds: the most a user may ask for by default (/proc/sys/fs/pipe-max-size). At the kernel's own
    /// 64 KiB a streamed dump costs many times the thread switches.
    static let capacity: Int32 = 1 << 20

    /// A nil capacity leaves the kernel's.
    init(_ program: String, capacity: Int32? = Self.capacity) throws(ProcessError) {
        var ends: [Int32] = [-1, -1]
        guard lifeboat_pipe_cloexec(&ends) == 0 else {
            throw .cannotStart(program: program, step: "make a pipe", errorNumber: errno)
        }
        reading = ProcessPipeEnd(owning: ends[0], program)
        writing = ProcessPipeEnd(owning: ends[1], program)
        // A user over the limit of pipe memory keeps the small pipe: slower, not wrong.
        if let capacity { _ = lifeboat_set_pipe_size(ends[1], capacity) }
    }
}

/// One end of a pipe. Used by one thread at a time; closing is idempotent.
final class ProcessPipeEnd: Sendable {
    let raw: Int32
    private let program: String
    private let isOpen = Atomic<Bool>(true)

    init(owning raw: Int32, _ program: String) {
        self.raw = raw
        self.program = program
    }

    deinit { close() }

    func close() {
        if isOpen.exchange(false, ordering: .acquiringAndReleasing) { Glibc.close(raw) }
    }

    /// Ours never blocks in the kernel, so that one poll can watch it together with other things.
    func makeNonBlocking() throws(ProcessError) {
        guard lifeboat_set_status_flags(raw, O_NONBLOCK) == 0 else {
            throw .cannotStart(program: program, step: "set up its standard streams", errorNumber: errno)
        }
    }

    /// The bytes there are; 0 at the end of file or when closed, nil when there are none yet.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(ProcessError) -> Int? {
        guard isOpen.load(ordering: .acquiring) else { return 0 }
        while true {
            let count = Glibc.read(raw, buffer.baseAddress, buffer.count)
            if count >= 0 { return count }
            if errno == EAGAIN { return nil }
            if errno != EINTR { throw .system(program: program, SystemCallError("read from", program)) }
        }
    }

    /// Writes what the pipe has room for; nil when it has none.
    func write(_ bytes: UnsafeRawBufferPointer) throws(ProcessError) -> Int? {
        guard isOpen.load(ordering: .acquiring) else { throw .inputClosed(program: program) }
        while true {
            let count = lifeboat_write_no_sigpipe(raw, bytes.baseAddress, bytes.count)
            if count >= 0 { return count }
            switch errno {
            case EAGAIN: return nil
            case EINTR: continue
            case EPIPE: throw .inputClosed(program: program)
            default: throw .system(program: program, SystemCallError("write to", program))
            }
        }
    }
}

/// poll(2) over descriptors; negative ones are skipped.
enum ProcessPoll {
    /// How often a wait looks at its cancellation.
    static let sliceMilliseconds: Int32 = 50

    /// Waits for any of them (for at most `milliseconds`, -1: for ever) and tells which have something: data, room, an
    /// end or an error. An interrupted wait gives none.
    static func wait(_ interests: [(descriptor: Int32, events: Int32)], milliseconds: Int32 = -1) -> [Bool] {
        var entries = interests.map { pollfd(fd: $0.descriptor, events: Int16($0.events), revents: 0) }
        guard poll(&entries, nfds_t(entries.count), milliseconds) > 0 else {
            return [Bool](repeating: false, count: entries.count)
        }
        return entries.map { $0.revents != 0 }
    }
}

/// Keeps the end of what a child prints on standard error, and the first line of it that says "error".
struct ProcessErrorTail {
    /// Documented with `ProcessResult.standardError`.
    static let defaultLimit = 16 << 10
    private let limit: Int
    private var bytes: [UInt8] = []
    private var isCut = false
    /// Of what was cut off.
    private var firstError: String?

    init(limit: Int = ProcessErrorTail.defaultLimit) { self.limit = limit }

    mutating func append(_ more: UnsafeRawBufferPointer) {
        bytes.append(contentsOf: more)
        guard bytes.count > 4 * limit else { return }
        let lost = bytes.count - limit
        if firstError == nil { firstError = Self.firstError(in: bytes[..<lost]) }
        bytes.removeFirst(lost)
        isCut = true
    }

    private static func firstError(in bytes: ArraySlice<UInt8>) -> String? {
        ProcessResult.firstError(in: String(decoding: bytes, as: UTF8.self))
    }

    var text: String {
        var tail = bytes.suffix(limit)
        let before = firstError ?? Self.firstError(in: bytes.dropLast(limit))
        // A cut may have halved a character: skip the rest of it.
        if isCut || tail.count < bytes.count { tail = tail.drop { $0 & 0xC0 == 0x80 } }
        return (before.map { "\($0)\n" } ?? "") + String(decoding: tail, as: UTF8.self)
    }
}
