// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
package import LifeboatIO

/// The two streams a command prints to: results on one, everything else on the other.
package struct CommandOutput: Sendable {
    package var standard: any OutputStream
    package var error: any OutputStream

    package init(standard: any OutputStream, error: any OutputStream) {
        self.standard = standard
        self.error = error
    }

    /// Of this process.
    package static func process() -> CommandOutput {
        CommandOutput(
            standard: DescriptorStream(descriptor: STDOUT_FILENO, name: "standard output"),
            error: DescriptorStream(descriptor: STDERR_FILENO, name: "standard error"))
    }
}

/// Somewhere bytes can be printed to. Thread-safe; a call writes all or throws.
package protocol OutputStream: Sendable {
    func write(_ bytes: UnsafeRawBufferPointer) throws(SystemCallError)
}

extension OutputStream {
    package func write(_ text: String) throws(SystemCallError) {
        try write(Array(text.utf8))
    }

    package func write(_ bytes: [UInt8]) throws(SystemCallError) {
        // withUnsafeBytes of an array forgets the type of the error.
        let result = bytes.withUnsafeBytes { buffer in
            Result { () throws(SystemCallError) in try write(buffer) }
        }
        try result.get()
    }
}

/// An open descriptor, which stays open.
package struct DescriptorStream: OutputStream {
    private let descriptor: Int32
    private let name: String

    package init(descriptor: Int32, name: String) {
        self.descriptor = descriptor
        self.name = name
    }

    package func write(_ bytes: UnsafeRawBufferPointer) throws(SystemCallError) {
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
            if count >= 0 {
                done += count
            } else if errno == EAGAIN {
                // A terminal or pipe that somebody made non-blocking: wait until it takes more.
                var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                if poll(&request, 1, -1) < 0, errno != EINTR { throw SystemCallError("wait for", name) }
            } else if errno != EINTR {
                throw SystemCallError("write to", name)
            }
        }
    }
}

/// Nobody reads the results any more (`lifeboat ls … | head`): a listing stops here.
struct OutputClosed: Error {}

/// Buffered standard output for results. Used on the command's thread.
///
/// When the reader goes away, what is still written is dropped, so that the command ends with the exit code it would
/// have had; with `stopsWhenClosed` writing throws `OutputClosed` instead.
final class ResultWriter {
    private let stream: any OutputStream
    private let stopsWhenClosed: Bool
    private var buffer: [UInt8] = []
    private var isClosed = false
    private static let capacity = 64 << 10

    init(_ stream: any OutputStream, stopsWhenClosed: Bool = false) {
        self.stream = stream
        self.stopsWhenClosed = stopsWhenClosed
    }

    func write(_ text: String) throws { try write(Array(text.utf8)) }

    func write(_ bytes: [UInt8]) throws {
        buffer += bytes
        if buffer.count >= Self.capacity { try flush() }
    }

    /// Throws `OutputClosed` when the reader went away and writing is to stop then.
    func flush() throws {
        guard !buffer.isEmpty else { return }
        defer { buffer.removeAll(keepingCapacity: true) }
        guard !isClosed else { return }
        do {
            try stream.write(buffer)
        } catch {
            guard error.errorNumber == EPIPE else { throw error }
            isClosed = true
            if stopsWhenClosed { throw OutputClosed() }
        }
    }
}
