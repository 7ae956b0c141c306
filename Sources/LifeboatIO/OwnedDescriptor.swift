// SPDX-License-Identifier: Apache-2.0

package import Glibc

/// Owns one open file descriptor. `close()` reports the error of close(2); going out of scope closes silently, for
/// error paths. Blocking calls: use on dedicated threads, never on the cooperative pool.
package struct OwnedDescriptor: ~Copyable, Sendable {
    /// The descriptor; valid as long as this value lives.
    package let raw: Int32

    /// Takes over `raw`, which nobody else may close.
    package init(owning raw: Int32) { self.raw = raw }

    deinit { _ = Glibc.close(raw) }

    /// Closes and reports what close(2) says: on some file systems this is where a write error surfaces.
    package consuming func close(_ subject: @autoclosure () -> String) throws(SystemCallError) {
        let descriptor = raw
        discard self
        guard Glibc.close(descriptor) == 0 else { throw SystemCallError("close", subject()) }
    }

    /// Gives the descriptor away: the caller closes it.
    package consuming func release() -> Int32 {
        let descriptor = raw
        discard self
        return descriptor
    }

    /// open(2) with O_CLOEXEC added, retried on EINTR.
    package static func open(
        _ path: String, _ flags: Int32, mode: mode_t = 0o600
    ) throws(SystemCallError) -> OwnedDescriptor {
        while true {
            let descriptor = Glibc.open(path, flags | O_CLOEXEC, mode)
            if descriptor >= 0 { return OwnedDescriptor(owning: descriptor) }
            if errno != EINTR { throw SystemCallError("open", path) }
        }
    }

    /// Opens a new empty file without a name for reading and writing: it goes away with the descriptor, however this
    /// process ends. `folder` is created when it is missing.
    package static func unnamed(in folder: String) throws(SystemCallError) -> OwnedDescriptor {
        try FileTree.createFolders(folder)
        let path = "\(folder)/\(String(UInt64.random(in: .min ... .max), radix: 36))\(AtomicFile.temporarySuffix)"
        let file = try open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW)
        guard unlink(path) == 0 else { throw SystemCallError("remove", path) }
        return file
    }
}

/// Whole-buffer reads and writes on a descriptor: short counts and EINTR are looped over, errors thrown.
package enum DescriptorIO {
    /// Reads until `buffer` is full or the end of file; returns the bytes read (fewer than asked only at the end).
    package static func read(
        _ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer, _ subject: @autoclosure () -> String
    ) throws(SystemCallError) -> Int {
        var done = 0
        while done < buffer.count {
            let count = Glibc.read(descriptor, buffer.baseAddress! + done, buffer.count - done)
            if count > 0 {
                done += count
            } else if count == 0 {
                break
            } else if errno != EINTR {
                throw SystemCallError("read", subject())
            }
        }
        return done
    }

    /// Like `read`, at `offset`, leaving the file position alone.
    package static func read(
        _ descriptor: Int32, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer,
        _ subject: @autoclosure () -> String
    ) throws(SystemCallError) -> Int {
        var done = 0
        while done < buffer.count {
            let count = pread(
                descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + off_t(done))
            if count > 0 {
                done += count
            } else if count == 0 {
                break
            } else if errno != EINTR {
                throw SystemCallError("read", subject())
            }
        }
        return done
    }

    /// Writes all of `buffer` at the file position.
    package static func write(
        _ descriptor: Int32, _ buffer: UnsafeRawBufferPointer, _ subject: @autoclosure () -> String
    ) throws(SystemCallError) {
        var done = 0
        while done < buffer.count {
            let count = Glibc.write(descriptor, buffer.baseAddress! + done, buffer.count - done)
            if count >= 0 {
                done += count
            } else if errno != EINTR {
                throw SystemCallError("write to", subject())
            }
        }
    }

    /// Writes all of `buffer` at `offset`.
    package static func write(
        _ descriptor: Int32, at offset: UInt64, _ buffer: UnsafeRawBufferPointer, _ subject: @autoclosure () -> String
    ) throws(SystemCallError) {
        var done = 0
        while done < buffer.count {
            let count = pwrite(
                descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + off_t(done))
            if count >= 0 {
                done += count
            } else if errno != EINTR {
                throw SystemCallError("write to", subject())
            }
        }
    }

    /// fsync(2). After a failure the data must be written anew from its source: never fsync the same descriptor again.
    package static func synchronize(
        _ descriptor: Int32, _ subject: @autoclosure () -> String
    ) throws(SystemCallError) {
        guard fsync(descriptor) == 0 else { throw SystemCallError("fsync", subject()) }
    }
}
