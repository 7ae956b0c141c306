// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// The RDB file a server is writing: read when it is done, from then on as one file, whatever replaces it. `close` may
/// come from any thread.
final class BackgroundSaveSource: ByteSource {
    private let control: RedisConnection
    private let subject: String
    private let cancellation: Cancellation
    private let open: @Sendable () throws -> any ByteSource
    private let closed = Cancellation()
    private let file = Monitor<(any ByteSource)?>(nil)

    init(
        _ control: RedisConnection, _ subject: String, _ cancellation: Cancellation,
        open: @escaping @Sendable () throws -> any ByteSource
    ) {
        self.control = control
        self.subject = subject
        self.cancellation = cancellation
        self.open = open
        control.stop = closed
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        if let file = file.withLock({ $0 }) { return try file.read(into: buffer) }
        while true {
            try cancellation.check()
            if closed.isCancelled { throw LifeboatError(subject, causes: ["it was ended before its time"]) }
            let info: RedisInfo
            do throws(RedisError) {
                info = try control.info()
            } catch {
                throw error.lifeboatError.wrapped(subject)
            }
            if info.number("rdb_bgsave_in_progress") == 0 {
                guard info["rdb_last_bgsave_status"] == "ok" else {
                    throw LifeboatError(
                        subject, causes: ["the server could not write its RDB file (rdb_last_bgsave_status is err)"],
                        hint: "Look at the log of the server, and whether its disk is full.")
                }
                break
            }
            Pause.milliseconds(50)
        }
        let opened = try open()
        file.withLock { $0 = opened }
        if closed.isCancelled { opened.close() }
        return try opened.read(into: buffer)
    }

    func close() {
        closed.cancel()
        file.withLock { $0 }?.close()
    }
}

/// A file of this host.
final class FileSource: ByteSource {
    private let path: String
    private let raw: Int32

    init(_ path: String) throws(SystemCallError) {
        self.path = path
        raw = try OwnedDescriptor.open(path, O_RDONLY | O_NOFOLLOW).release()
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        try DescriptorIO.read(raw, into: buffer, path)
    }

    /// The descriptor is closed with the object: a read may be under way.
    func close() {}

    deinit { Glibc.close(raw) }
}

/// Waits of loops that ask again.
enum Pause {
    static func milliseconds(_ milliseconds: UInt32) { usleep(milliseconds * 1000) }
}
