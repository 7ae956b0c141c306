// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// An open folder that several threads share; closed with the last reference.
package final class FolderDescriptor: Sendable {
    package let raw: Int32

    /// Takes over `raw`, which nobody else may close.
    package init(owning raw: Int32) { self.raw = raw }

    deinit { _ = Glibc.close(raw) }

    /// Opens the folder `name` in `parent` (AT_FDCWD for a path); the last component is never followed.
    package static func open(_ parent: Int32, _ name: UnsafePointer<CChar>) throws(Errno) -> FolderDescriptor {
        FolderDescriptor(
            owning: try openDescriptor(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK, mode: 0))
    }
}

/// openat(2) with O_CLOEXEC added, retried on EINTR. The caller owns the descriptor.
package func openDescriptor(
    _ folder: Int32, _ name: UnsafePointer<CChar>, _ flags: Int32, mode: UInt32
) throws(Errno) -> Int32 {
    while true {
        let descriptor = openat(folder, name, flags | O_CLOEXEC, mode)
        if descriptor >= 0 { return descriptor }
        if errno != EINTR { throw Errno(errno) }
    }
}

/// openat2(2): `path` is resolved below `folder` and may pass no symbolic link, with `sameVolume` no mount point either
/// (EXDEV). The caller owns the descriptor.
package func openBeneath(
    _ folder: Int32, _ path: UnsafePointer<CChar>, _ flags: Int32, mode: UInt32, sameVolume: Bool = false
) throws(Errno) -> Int32 {
    while true {
        let descriptor = lifeboat_open_beneath(folder, path, flags | O_CLOEXEC, mode, sameVolume ? 1 : 0)
        if descriptor >= 0 { return descriptor }
        // EAGAIN: something was renamed at the same time, so that `..` could not be proven safe.
        if errno != EINTR, errno != EAGAIN { throw Errno(errno) }
    }
}

/// Flags of open(2) the Glibc module does not show.
package enum OpenFlags {
    /// A reference to the object only: no reading, nothing is opened in the sense of a device.
    package static let path = Int32(LIFEBOAT_O_PATH)
    /// Does not touch the access time; only for the owner or with CAP_FOWNER.
    package static let noAccessTime = Int32(LIFEBOAT_O_NOATIME)
}

/// The names in a folder.
package struct FolderNames: Sendable {
    /// All names one after the other, each ended by a NUL.
    package private(set) var bytes: [UInt8] = []
    /// Where each name begins, in bytewise order of the names.
    package private(set) var starts: [UInt32] = []
    /// Type of each name as readdir told it (`DT_REG` …, 0 when unknown), in the order of `starts`.
    package private(set) var types: [UInt8] = []
    /// Why the listing ended before the end of the folder.
    package private(set) var failure: Errno?

    package init() {}

    package var count: Int { starts.count }

    /// The name that begins at `start`, without its NUL.
    package func name(at start: UInt32) -> ArraySlice<UInt8> {
        var end = Int(start)
        while bytes[end] != 0 { end &+= 1 }
        return bytes[Int(start)..<end]
    }

    package func contains(_ name: [UInt8]) -> Bool {
        starts.contains { self.name(at: $0).elementsEqual(name) }
    }

    /// Drops the names that do not satisfy `condition`.
    package mutating func keep(where condition: (ArraySlice<UInt8>) -> Bool) {
        var kept = 0
        for index in starts.indices where condition(name(at: starts[index])) {
            starts[kept] = starts[index]
            types[kept] = types[index]
            kept += 1
        }
        starts.removeLast(starts.count - kept)
        types.removeLast(types.count - kept)
    }

    /// Reads all names of `folder`, which must be at its start, and sorts them. `buffer` is scratch memory, at least
    /// 32 KiB. A failure ends the list early and is kept in `failure`.
    package init(_ folder: FolderDescriptor, scratch buffer: UnsafeMutableRawBufferPointer) {
        var keys: [SortKey] = []
        while true {
            let count = lifeboat_getdents(folder.raw, buffer.baseAddress, buffer.count)
            if count == 0 { break }
            if count < 0 {
                if errno == EINTR { continue }
                failure = Errno(errno)
                break
            }
            // struct linux_dirent64: inode 8, offset 8, record length 2, type 1, name.
            var offset = 0
            while offset + 19 <= count {
                let length = Int(buffer.loadUnaligned(fromByteOffset: offset + 16, as: UInt16.self))
                guard length >= 20, offset + length <= count else { break }
                let record = UnsafeRawBufferPointer(rebasing: buffer[(offset + 19)..<(offset + length)])
                append(record, type: buffer[offset + 18], &keys)
                offset += length
            }
        }
        sort(&keys)
    }

    /// A name's first eight bytes as a big-endian number, which decide most comparisons.
    private struct SortKey {
        var prefix: UInt64
        var start: UInt32
        var type: UInt8
    }

    private mutating func append(_ record: UnsafeRawBufferPointer, type: UInt8, _ keys: inout [SortKey]) {
        var length = 0
        while length < record.count, record[length] != 0 { length &+= 1 }
        if length <= 2, record[0] == 0x2E, length == 1 || record[1] == 0x2E { return }
        if length == 0 { return }
        var prefix: UInt64 = 0
        for index in 0..<8 { prefix = prefix << 8 | (index < length ? UInt64(record[index]) : 0) }
        // 4 GiB of names in one folder are 16 million of the longest names: beyond any file system's limit here.
        guard let start = UInt32(exactly: bytes.count) else {
            failure = Errno(EOVERFLOW)
            return
        }
        keys.append(SortKey(prefix: prefix, start: start, type: type))
        bytes.append(contentsOf: record[..<length])
        bytes.append(0)
    }

    private mutating func sort(_ keys: inout [SortKey]) {
        bytes.withUnsafeBufferPointer { bytes in
            keys.sort { left, right in
                if left.prefix != right.prefix { return left.prefix < right.prefix }
                var first = Int(left.start)
                var second = Int(right.start)
                // Each name ends in a NUL, so that neither runs out of its own bytes before they differ.
                while bytes[first] == bytes[second] {
                    if bytes[first] == 0 { return false }
                    first &+= 1
                    second &+= 1
                }
                return bytes[first] < bytes[second]
            }
        }
        starts.reserveCapacity(keys.count)
        types.reserveCapacity(keys.count)
        for key in keys {
            starts.append(key.start)
            types.append(key.type)
        }
    }
}
