// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Extended attributes, POSIX ACLs and capabilities among them.
package enum ExtendedAttributes {
    /// Where they are read from or set on.
    package enum Subject {
        /// An open file or folder.
        case descriptor(Int32)
        /// Something that must not be opened (a link, a fifo, a device …): `name` in an open folder. Reached through
        /// /proc/self/fd, since kernels before 6.13 have no call for it.
        case named(UnsafePointer<CChar>, in: Int32)
    }

    /// All attributes in bytewise order of their names; none on file systems without them.
    package static func all(_ subject: Subject) throws(Errno) -> [(name: [UInt8], value: [UInt8])] {
        let names: [UInt8]
        do throws(Errno) {
            names = try read { buffer, size in list(subject, buffer, size) }
        } catch {
            if error.number == EOPNOTSUPP || error.number == ENOSYS { return [] }
            throw error
        }
        if names.isEmpty { return [] }
        var attributes: [(name: [UInt8], value: [UInt8])] = []
        for name in names.split(separator: 0) {
            let cName = Array(name) + [0]
            do throws(Errno) {
                let value = try read { buffer, size in get(subject, cName, buffer, size) }
                attributes.append((Array(name), value))
            } catch {
                // Taken away since it was listed; or listed by a file system that does not give it to anyone.
                if error.number == ENODATA || error.number == EOPNOTSUPP { continue }
                throw error
            }
        }
        attributes.sort { $0.name.lexicographicallyPrecedes($1.name) }
        return attributes
    }

    /// Sets one attribute. `name` holds no NUL.
    package static func set(_ subject: Subject, name: [UInt8], value: [UInt8]) throws(Errno) {
        let cName = name + [0]
        let result = cName.withUnsafeBytes { cName in
            let cName = cName.assumingMemoryBound(to: CChar.self).baseAddress
            return value.withUnsafeBytes { value -> Int32 in
                switch subject {
                case .descriptor(let descriptor): fsetxattr(descriptor, cName, value.baseAddress, value.count, 0)
                case .named(let object, let folder):
                    withProcessPath(object, folder) { lsetxattr($0, cName, value.baseAddress, value.count, 0) }
                }
            }
        }
        if result != 0 { throw Errno(errno) }
    }

    /// Takes one attribute away; one that is not there is fine.
    package static func remove(_ subject: Subject, name: [UInt8]) throws(Errno) {
        let cName = name + [0]
        let result = cName.withUnsafeBytes { cName in
            let cName = cName.assumingMemoryBound(to: CChar.self).baseAddress
            return switch subject {
            case .descriptor(let descriptor): fremovexattr(descriptor, cName)
            case .named(let object, let folder): withProcessPath(object, folder) { lremovexattr($0, cName) }
            }
        }
        if result != 0, errno != ENODATA { throw Errno(errno) }
    }

    /// Takes away all attributes of an open file but those named; what may not be taken away stays.
    package static func removeAll(_ descriptor: Int32, but names: [[UInt8]]) throws(Errno) {
        for attribute in try all(.descriptor(descriptor)) where !names.contains(attribute.name) {
            do throws(Errno) {
                try remove(.descriptor(descriptor), name: attribute.name)
            } catch {
                guard [EPERM, EACCES, EOPNOTSUPP].contains(error.number) else { throw error }
            }
        }
    }

    private static func list(_ subject: Subject, _ buffer: UnsafeMutableRawPointer?, _ size: Int) -> Int {
        let buffer = buffer?.assumingMemoryBound(to: CChar.self)
        switch subject {
        case .descriptor(let descriptor): return flistxattr(descriptor, buffer, size)
        case .named(let object, let folder): return withProcessPath(object, folder) { llistxattr($0, buffer, size) }
        }
    }

    private static func get(
        _ subject: Subject, _ name: [UInt8], _ buffer: UnsafeMutableRawPointer?, _ size: Int
    ) -> Int {
        name.withUnsafeBytes { name in
            let name = name.assumingMemoryBound(to: CChar.self).baseAddress
            switch subject {
            case .descriptor(let descriptor): return fgetxattr(descriptor, name, buffer, size)
            case .named(let object, let folder):
                return withProcessPath(object, folder) { lgetxattr($0, name, buffer, size) }
            }
        }
    }

    /// Calls with a small buffer, and again with what it takes when that is not enough.
    private static func read(_ call: (UnsafeMutableRawPointer?, Int) -> Int) throws(Errno) -> [UInt8] {
        var failure: Int32 = 0
        let small = withUnsafeTemporaryAllocation(byteCount: 512, alignment: 16) { buffer -> [UInt8]? in
            let count = call(buffer.baseAddress, buffer.count)
            if count == 0 { return [] }
            if count > 0 { return [UInt8](UnsafeRawBufferPointer(rebasing: buffer[..<count])) }
            failure = errno
            return nil
        }
        if let small { return small }
        while failure == ERANGE {
            let size = call(nil, 0)
            if size < 0 { throw Errno(errno) }
            var count = 0
            let bytes = [UInt8](unsafeUninitializedCapacity: size + 64) { buffer, filled in
                count = call(buffer.baseAddress, buffer.count)
                failure = count < 0 ? errno : 0
                filled = max(0, count)
            }
            // Grown between the two calls: measure again.
            if failure == 0 { return bytes }
        }
        throw Errno(failure)
    }

    /// `/proc/self/fd/<folder>/<name>`, which names that object without following it.
    private static func withProcessPath<Result>(
        _ name: UnsafePointer<CChar>, _ folder: Int32, _ body: (UnsafePointer<CChar>) -> Result
    ) -> Result {
        var path = Array("/proc/self/fd/\(folder)/".utf8CString.dropLast())
        path.append(contentsOf: UnsafeBufferPointer(start: name, count: strlen(name) + 1))
        return path.withUnsafeBufferPointer { body($0.baseAddress!) }  // never empty
    }
}

/// File flags as chattr(1) sets them.
package enum FileFlags {
    /// The bits a restore can set: s, u, c, S, i, a, d, A, j, t, D, T, C, P, x of chattr(1) (linux/fs.h). The others
    /// tell how the file system stores the file.
    package static let settable: UInt32 = 0x0000_00FF | 0x0003_C000 | 0x0080_0000 | 0x2000_0000 | 0x0200_0000
    package static let immutable: UInt32 = 0x10
    package static let appendOnly: UInt32 = 0x20
    /// No copy-on-write; some file systems take it only on an empty file.
    package static let noCopyOnWrite: UInt32 = 0x0080_0000

    /// The settable flags of an open regular file or folder; 0 where the file system has none.
    package static func get(_ descriptor: Int32) throws(Errno) -> UInt32 {
        var flags: UInt32 = 0
        if lifeboat_get_flags(descriptor, &flags) == 0 { return flags & settable }
        if isUnsupported(errno) { return 0 }
        throw Errno(errno)
    }

    /// Sets the settable flags to exactly these.
    package static func set(_ descriptor: Int32, _ flags: UInt32) throws(Errno) {
        var current: UInt32 = 0
        guard lifeboat_get_flags(descriptor, &current) == 0 else { throw Errno(errno) }
        let wanted = current & ~settable | flags & settable
        if wanted == current { return }
        guard lifeboat_set_flags(descriptor, wanted) == 0 else { throw Errno(errno) }
    }

    /// Clears the flags that forbid changes, where they are set and this process may. A failure shows when the file is
    /// changed.
    package static func allowChanges(_ descriptor: Int32) {
        guard let flags = try? get(descriptor), flags & (immutable | appendOnly) != 0 else { return }
        try? set(descriptor, flags & ~(immutable | appendOnly))
    }

    /// The same for the regular file or directory `name` in an open directory, never through a link: true when flags that
    /// forbade changes are gone.
    package static func allowChanges(to name: UnsafePointer<CChar>, in folder: Int32) -> Bool {
        let raw = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard raw >= 0 else { return false }
        let file = OwnedDescriptor(owning: raw)
        guard let flags = try? get(file.raw), flags & (immutable | appendOnly) != 0 else { return false }
        return (try? set(file.raw, flags & ~(immutable | appendOnly))) != nil
    }

    private static func isUnsupported(_ number: Int32) -> Bool {
        number == ENOTTY || number == EOPNOTSUPP || number == ENOSYS || number == EINVAL
    }
}

/// Where the data of a sparse file is.
package enum DataExtents {
    /// More than this are not told apart: the rest counts as data, holes and all.
    package static let limit = 65_536

    /// Data extents within the first `size` bytes, ascending and disjoint; nil when there is no hole or the file
    /// system cannot tell. Moves the file position.
    package static func of(_ descriptor: Int32, size: UInt64) throws(Errno) -> [(offset: UInt64, length: UInt64)]? {
        guard let end = Int(exactly: size) else { throw Errno(EFBIG) }
        var extents: [(offset: UInt64, length: UInt64)] = []
        var position = 0
        while position < end {
            let data = lseek(descriptor, position, Int32(LIFEBOAT_SEEK_DATA))
            if data < 0 {
                if errno == ENXIO { break }
                if errno == EINVAL || errno == EOPNOTSUPP { return nil }
                throw Errno(errno)
            }
            if data >= end { break }
            var hole = extents.count == limit - 1 ? end : lseek(descriptor, data, Int32(LIFEBOAT_SEEK_HOLE))
            if hole < 0 {
                // Cut off at the same time: the read will find out.
                guard errno == ENXIO else { throw Errno(errno) }
                hole = end
            }
            hole = min(hole, end)
            if hole <= data { break }
            extents.append((UInt64(data), UInt64(hole - data)))
            position = hole
        }
        if extents.count == 1, extents[0].offset == 0, extents[0].length == size { return nil }
        return extents
    }
}

/// Makes everything written to the file system of this descriptor durable: syncfs(2).
package func synchronizeFileSystem(_ descriptor: Int32) throws(Errno) {
    if lifeboat_syncfs(descriptor) != 0 { throw Errno(errno) }
}

/// The device number of a node.
package func deviceNumber(major: UInt32, minor: UInt32) -> UInt64 { lifeboat_device(major, minor) }
