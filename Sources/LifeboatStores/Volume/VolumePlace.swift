// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Where a volume is, links in its path resolved: what a rename works on.
struct VolumePlace {
    /// Absolute; it may not exist, nor folders above it.
    let path: String
    /// The nearest folder above it that exists: what is put beside it is on the file system of that.
    let folder: String

    /// Throws when the path has no parent to put anything beside.
    init(_ path: String) throws {
        let resolved: String?
        do throws(SystemCallError) {
            resolved = try Self.resolved(path)
        } catch {
            guard error.errorNumber == ENOENT else { throw error }
            resolved = nil
        }
        if let resolved {
            self.path = resolved
            folder = RootPlace(resolved).parent
        } else {
            let (folder, rest) = try Self.nearestFolder(above: path)
            self.path = (folder == "/" ? "" : folder) + "/" + rest
            self.folder = folder
        }
        guard self.path != "/" else {
            throw LifeboatError(
                "the root of the file system cannot be restored in place",
                hint: "Restore it elsewhere with --to DIR, for example from a rescue system.")
        }
    }

    /// With what of the path is below it. Nothing is at the path that could be opened.
    private static func nearestFolder(above path: String) throws -> (folder: String, rest: String) {
        guard try InodeExchange.inode(path) == nil else {
            throw LifeboatError(
                "cannot open '\(path)'", causes: ["it is a link to something that does not exist"],
                hint: "If that is on a file system that is not mounted, mount it; else remove the link.")
        }
        let place = RootPlace(path)
        let name = String(decoding: place.name.dropLast(), as: UTF8.self)
        do throws(SystemCallError) {
            return (try resolved(place.parent), name)
        } catch {
            guard error.errorNumber == ENOENT, name != "." else { throw error }
            let (folder, rest) = try nearestFolder(above: place.parent)
            return (folder, "\(rest)/\(name)")
        }
    }

    /// Makes the folders that a path lies in, durably.
    static func makeFolders(above path: String) throws {
        let folder = RootPlace(path).parent
        if try InodeExchange.inode(folder) != nil { return }
        try makeFolders(above: folder)
        guard mkdir(folder, 0o755) == 0 || errno == EEXIST else { throw SystemCallError("create folder", folder) }
        try AtomicFile.synchronizeFolder(of: folder)
    }

    /// What should make somebody look before data is put there.
    var warnings: [LifeboatError] {
        let parent = RootPlace(path).parent
        guard parent != folder else { return [] }
        return [
            LifeboatError(
                "folder '\(parent)' does not exist: the restore makes it",
                hint: "If a file system belongs there, mount it first.")
        ]
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
        guard access(folder, W_OK | X_OK) == 0 else { throw SystemCallError("write to", folder) }
    }

    func freeBytes() throws(SystemCallError) -> UInt64 {
        var status = statvfs()
        guard statvfs(folder, &status) == 0 else { throw SystemCallError("examine", folder) }
        let (bytes, overflow) = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
        return overflow ? .max : bytes
    }

    /// What staging so many bytes beside it takes.
    func room(for bytes: UInt64) throws -> StagingRoom {
        let device: UInt64
        do throws(Errno) {
            device = try FileStatus.at(AT_FDCWD, folder).volume
        } catch {
            throw SystemCallError("examine", folder, errorNumber: error.number)
        }
        return StagingRoom(place: path, device: device, needed: bytes, free: try freeBytes())
    }

    /// The paths of all mount points.
    static func mountPoints() throws -> [String] { try MountTable.read().map(\.point) }

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
