// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Where a volume is, links in its path resolved: what a rename works on.
struct VolumePlace {
    /// Absolute; its last component may not exist.
    let path: String

    /// Throws when the parent does not exist, or when the path has no parent to put anything beside.
    init(_ path: String) throws {
        let resolved = try? Self.resolved(path)
        if let resolved {
            self.path = resolved
        } else {
            let place = RootPlace(path)
            let parent = try Self.resolved(place.parent)
            self.path =
                (parent == "/" ? "" : parent) + "/" + String(decoding: place.name.dropLast(), as: UTF8.self)
        }
        guard self.path != "/" else {
            throw LifeboatError(
                "the root of the file system cannot be restored in place",
                hint: "Restore it elsewhere with --to DIR, for example from a rescue system.")
        }
    }

    /// realpath(3).
    static func resolved(_ path: String) throws(SystemCallError) -> String {
        guard let resolved = realpath(path, nil) else { throw SystemCallError("open", path) }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// A mount point cannot be renamed, and one inside would go along with the old data.
    func checkMounts() throws {
        for point in try Self.mountPoints() {
            if point == path {
                throw LifeboatError(
                    "folder '\(path)' is a mount point and cannot be exchanged",
                    causes: ["a rename cannot replace the root of a file system"],
                    hint: "Restore with --to DIR to a folder on the same file system, then move the files in.")
            }
            if point.hasPrefix(path + "/") {
                throw LifeboatError(
                    "folder '\(path)' cannot be exchanged",
                    causes: ["'\(point)' in it is a mount point, which would stay with the old data"],
                    hint: "Unmount '\(point)' for the time of the restore, or restore with --to DIR.")
            }
        }
    }

    func checkWritable() throws(SystemCallError) {
        let parent = RootPlace(path).parent
        guard access(parent, W_OK | X_OK) == 0 else { throw SystemCallError("write to", parent) }
    }

    func freeBytes() throws(SystemCallError) -> UInt64 {
        let parent = RootPlace(path).parent
        do throws(Errno) {
            return try freeBytes(of: parent)
        } catch {
            throw SystemCallError("examine", parent, errorNumber: error.number)
        }
    }

    private func freeBytes(of parent: String) throws(Errno) -> UInt64 {
        var status = statvfs()
        guard statvfs(parent, &status) == 0 else { throw Errno(errno) }
        let (bytes, overflow) = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
        return overflow ? .max : bytes
    }

    /// What staging so many bytes beside it takes.
    func room(for bytes: UInt64) throws -> StagingRoom {
        let parent = RootPlace(path).parent
        do throws(Errno) {
            let device = try FileStatus.at(AT_FDCWD, parent).volume
            return StagingRoom(place: path, device: device, needed: bytes, free: try freeBytes(of: parent))
        } catch {
            throw SystemCallError("examine", parent, errorNumber: error.number)
        }
    }

    /// Field 5 of each line of /proc/self/mountinfo (proc(5)), octal escapes undone.
    static func mountPoints() throws -> [String] {
        let file = try OwnedDescriptor.open("/proc/self/mountinfo", O_RDONLY)
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = try buffer.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, "mountinfo") }
            text += buffer[..<count]
            if count < buffer.count { break }
        }
        return text.split(separator: 0x0A).compactMap { line in
            let fields = line.split(separator: 0x20)
            return fields.count > 4 ? unescaped(Array(fields[4])) : nil
        }
    }

    static func unescaped(_ field: [UInt8]) -> String {
        var bytes: [UInt8] = []
        var index = 0
        while index < field.count {
            if field[index] == 0x5C, index + 3 < field.count,
                let value = UInt8(String(decoding: field[(index + 1)...(index + 3)], as: UTF8.self), radix: 8)
            {
                bytes.append(value)
                index += 4
            } else {
                bytes.append(field[index])
                index += 1
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
