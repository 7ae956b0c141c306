// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import Synchronization

/// Who new files belong to and which permissions they get, so that they are changed only where they differ.
final class ProcessOwner: Sendable {
    let userID = geteuid()
    private let groupID = getegid()
    private let mask: UInt16?
    /// Set when the root folder is new, so that there are no access lists and groups to inherit below it.
    private let isTrusted = Atomic<Bool>(false)

    init() { mask = Self.fileCreationMask() }

    /// What the root folder, just made, says: some mounts give new files the group of their folder.
    func learn(_ root: FileStatus) {
        isTrusted.store(root.userID == userID && root.groupID == groupID, ordering: .releasing)
    }

    /// Whether a new file belongs to whom it should without being given away.
    func isOwner(_ entry: TreeEntry) -> Bool {
        isTrusted.load(ordering: .acquiring) && entry.userID == userID && entry.groupID == groupID
    }

    /// Whether a file created with the low bits of this mode has it.
    func hasMode(_ mode: UInt16) -> Bool {
        guard isTrusted.load(ordering: .acquiring), let mask else { return false }
        return mode & 0o7000 == 0 && mode & mask == 0
    }

    /// The umask, from /proc: umask(2) can only be read by changing it for all threads.
    private static func fileCreationMask() -> UInt16? {
        guard let file = try? OwnedDescriptor.open("/proc/self/status", O_RDONLY) else { return nil }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes { (try? DescriptorIO.read(file.raw, into: $0, "status")) ?? 0 }
        for line in buffer[..<count].split(separator: 0x0A) where line.starts(with: "Umask:".utf8) {
            let digits = String(decoding: line.dropFirst(6), as: UTF8.self).filter { $0.isNumber }
            return UInt16(digits, radix: 8)
        }
        return nil
    }
}

/// What could not be restored, counted by kind.
final class ShortfallLog: Sendable {
    enum Kind: Int, CaseIterable {
        case owner, mode, attributes, accessLists, flags, device

        var title: String {
            switch self {
            case .owner: "owner or group"
            case .mode: "permissions"
            case .attributes: "extended attributes"
            case .accessLists: "access lists"
            case .flags: "file flags"
            case .device: "device nodes"
            }
        }
    }

    private struct Shortfall {
        var count = 0
        var firstPath: [UInt8] = []
        var errorNumber: Int32 = 0
    }

    private let found = Mutex<[Kind: Shortfall]>([:])

    func add(_ kind: Kind, _ path: [UInt8], _ errorNumber: Int32) {
        found.withLock { found in
            if found[kind] == nil { found[kind] = Shortfall(firstPath: path, errorNumber: errorNumber) }
            found[kind]?.count += 1
        }
    }

    /// Whether an error says that this place or user cannot have it, rather than that something broke.
    static func isShortfall(_ error: Errno) -> Bool {
        [EPERM, EACCES, EOPNOTSUPP, ENOTTY, ENOSYS, EINVAL, ERANGE, E2BIG].contains(error.number)
    }

    var warnings: [LifeboatError] {
        let found = found.withLock { $0 }
        return Kind.allCases.compactMap { kind in
            guard let shortfall = found[kind] else { return nil }
            let path = shortfall.firstPath.isEmpty ? "." : String(decoding: shortfall.firstPath, as: UTF8.self)
            let objects = shortfall.count == 1 ? "1 object" : "\(shortfall.count) objects"
            return LifeboatError(
                "\(kind.title) of \(objects) could not be restored",
                causes: ["first on '\(path)': \(SystemCallError.describe(shortfall.errorNumber))"],
                hint: "Restore as root, to a file system that has them, to get everything back.")
        }
    }
}

/// An object whose metadata are set.
enum MetadataSubject {
    case file(Int32)
    case folder(FolderDescriptor)
    /// Not opened: a link, fifo, socket or device.
    case named([UInt8], in: FolderDescriptor)
}

extension FolderTarget {
    /// Owner, mode, attributes, flags and times, in the order in which none undoes another: a change of owner clears
    /// setuid bits and capabilities; access lists follow the mode; times come last but for the flags that forbid
    /// changes. `createdMode`: the mode the object has for sure.
    func setMetadata(of entry: TreeEntry, _ subject: MetadataSubject, createdMode: UInt16?) throws(Errno) {
        let isLink = entry.kind == .symbolicLink
        if !entry.extendedAttributes.isEmpty {
            // Written while the mode still lets the owner write.
            try setAttributes(of: entry, subject) { $0.starts(with: "user.".utf8) }
        }
        var mode = entry.mode
        if !owner.isOwner(entry), try !setOwner(of: entry, subject) {
            // Not its owner's program any more.
            mode &= 0o1777
        }
        if !isLink, createdMode != mode { try setMode(mode, entry, subject) }
        if !entry.extendedAttributes.isEmpty {
            try setAttributes(of: entry, subject) { !$0.starts(with: "user.".utf8) }
        }
        if entry.fileFlags != 0 { try setFlags(of: entry, subject) }
        try setTimes(of: entry, subject)
    }

    private func setOwner(of entry: TreeEntry, _ subject: MetadataSubject) throws(Errno) -> Bool {
        func change(_ user: UInt32, _ group: UInt32) throws(Errno) -> Int32 {
            switch subject {
            case .file(let descriptor): fchown(descriptor, user, group) == 0 ? 0 : errno
            case .folder(let folder): fchown(folder.raw, user, group) == 0 ? 0 : errno
            case .named(let name, let folder):
                try name.withCName { name throws(Errno) in
                    fchownat(folder.raw, name, user, group, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno
                }
            }
        }
        let result = try change(entry.userID, entry.groupID)
        if result == 0 { return true }
        guard ShortfallLog.isShortfall(Errno(result)) else { throw Errno(result) }
        // One's own file in a group one is in.
        if try change(.max, entry.groupID) == 0, entry.userID == owner.userID { return true }
        missing.add(.owner, entry.path, result)
        return false
    }

    private func setMode(_ mode: UInt16, _ entry: TreeEntry, _ subject: MetadataSubject) throws(Errno) {
        let result: Int32 =
            switch subject {
            case .file(let descriptor): fchmod(descriptor, mode_t(mode)) == 0 ? 0 : errno
            case .folder(let folder): fchmod(folder.raw, mode_t(mode)) == 0 ? 0 : errno
            case .named(let name, let folder):
                try name.withCName { name throws(Errno) in
                    fchmodat(folder.raw, name, mode_t(mode), AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno
                }
            }
        if result == 0 { return }
        guard ShortfallLog.isShortfall(Errno(result)) else { throw Errno(result) }
        missing.add(.mode, entry.path, result)
    }

    private func setAttributes(
        of entry: TreeEntry, _ subject: MetadataSubject, where condition: ([UInt8]) -> Bool
    ) throws(Errno) {
        for attribute in entry.extendedAttributes where condition(attribute.name) {
            guard !attribute.name.isEmpty, !attribute.name.contains(0) else { throw Errno(EINVAL) }
            do throws(Errno) {
                switch subject {
                case .file(let descriptor):
                    try ExtendedAttributes.set(
                        .descriptor(descriptor), name: attribute.name, value: attribute.value)
                case .folder(let folder):
                    try ExtendedAttributes.set(
                        .descriptor(folder.raw), name: attribute.name, value: attribute.value)
                case .named(let name, let folder):
                    try name.withCName { name throws(Errno) in
                        try ExtendedAttributes.set(
                            .named(name, in: folder.raw), name: attribute.name, value: attribute.value)
                    }
                }
            } catch {
                // ENOSPC: this file system has too little room for attributes. On a full disk other calls fail too.
                guard ShortfallLog.isShortfall(error) || error.number == ENOSPC else { throw error }
                let isAccessList = attribute.name.starts(with: "system.posix_acl".utf8)
                missing.add(isAccessList ? .accessLists : .attributes, entry.path, error.number)
            }
        }
    }

    private func setFlags(of entry: TreeEntry, _ subject: MetadataSubject) throws(Errno) {
        if entry.fileFlags & (FileFlags.immutable | FileFlags.appendOnly) != 0 { freeze(entry) }
        let flags = entry.fileFlags & ~(FileFlags.immutable | FileFlags.appendOnly)
        if flags == 0 { return }
        let descriptor: Int32
        switch subject {
        case .file(let file): descriptor = file
        case .folder(let folder): descriptor = folder.raw
        case .named: return
        }
        do throws(Errno) {
            try FileFlags.set(descriptor, flags)
        } catch {
            guard ShortfallLog.isShortfall(error) else { throw error }
            missing.add(.flags, entry.path, error.number)
        }
    }

    private func setTimes(of entry: TreeEntry, _ subject: MetadataSubject) throws(Errno) {
        // The access time is not kept: it becomes the modification time.
        let time = timespec(
            tv_sec: Int(entry.modificationTime.seconds), tv_nsec: Int(entry.modificationTime.nanoseconds))
        let times = (time, time)
        let result: Int32 = try withUnsafePointer(to: times) { pair throws(Errno) -> Int32 in
            let times = UnsafeRawPointer(pair).assumingMemoryBound(to: timespec.self)
            switch subject {
            case .file(let descriptor): return futimens(descriptor, times) == 0 ? 0 : errno
            case .folder(let folder): return futimens(folder.raw, times) == 0 ? 0 : errno
            case .named(let name, let folder):
                return try name.withCName { name throws(Errno) in
                    utimensat(folder.raw, name, times, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno
                }
            }
        }
        if result != 0 { throw Errno(result) }
    }
}
