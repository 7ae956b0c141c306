// SPDX-License-Identifier: Apache-2.0

internal import CLibArchive
internal import Glibc
internal import LifeboatCore

/// Owns one libarchive entry and fills it from tree entries.
@safe
final class ArchiveEntry {
    private let entry: OpaquePointer

    init() throws(FormatError) {
        guard let entry = unsafe archive_entry_new() else {
            throw FormatError(.outOfMemory, "write an archive", "not enough memory")
        }
        unsafe self.entry = unsafe entry
    }

    deinit { unsafe archive_entry_free(entry) }

    /// For libarchive calls while this lives.
    @unsafe var pointer: OpaquePointer { unsafe entry }

    /// Says everything `item` says, and nothing of the entry before. Names hold no NUL (checked by the caller).
    /// `sparse`: the extents, if holes are to be kept.
    func set(_ item: TreeEntry, sparse: [TreeEntry.Extent]?) throws(FormatError) {
        unsafe archive_entry_clear(entry)
        unsafe setName(item.path.isEmpty ? [0x2E] : item.path) { unsafe archive_entry_copy_pathname(entry, $0) }
        unsafe archive_entry_set_filetype(entry, UInt32(Self.fileType(of: item.kind)))
        unsafe archive_entry_set_perm(entry, UInt32(item.mode & 0o7777))
        unsafe archive_entry_set_uid(entry, Int64(item.userID))
        unsafe archive_entry_set_gid(entry, Int64(item.groupID))
        // Neither access nor change times: the archive of one snapshot is the same every time.
        unsafe archive_entry_set_mtime(
            entry, time_t(item.modificationTime.seconds), Int(item.modificationTime.nanoseconds))
        unsafe archive_entry_set_size(entry, 0)
        switch item.kind {
        case .symbolicLink:
            unsafe setName(item.linkTarget ?? []) { unsafe archive_entry_copy_symlink(entry, $0) }
        case .characterDevice, .blockDevice:
            unsafe archive_entry_set_rdevmajor(entry, dev_t(item.deviceMajor))
            unsafe archive_entry_set_rdevminor(entry, dev_t(item.deviceMinor))
        case .file, .directory, .fifo, .socket: break
        }
        if let target = item.hardLink {
            unsafe setName(target) { unsafe archive_entry_copy_hardlink(entry, $0) }
            // The first name brought the attributes.
            return
        }
        if item.kind == .file { unsafe archive_entry_set_size(entry, Int64(clamping: item.size)) }
        if let sparse { setExtents(sparse, size: item.size) }
        if item.fileFlags != 0 { unsafe archive_entry_set_fflags(entry, UInt(item.fileFlags), 0) }
        for attribute in item.extendedAttributes { try set(attribute) }
    }

    /// Replaces the time by one of whole seconds.
    func setModificationTime(_ seconds: Int64) { unsafe archive_entry_set_mtime(entry, time_t(seconds), 0) }

    private static func fileType(of kind: TreeEntry.Kind) -> mode_t {
        switch kind {
        case .file: Glibc.S_IFREG
        case .directory: Glibc.S_IFDIR
        case .symbolicLink: Glibc.S_IFLNK
        case .fifo: Glibc.S_IFIFO
        case .socket: Glibc.S_IFSOCK
        case .characterDevice: Glibc.S_IFCHR
        case .blockDevice: Glibc.S_IFBLK
        }
    }

    private func setName(_ bytes: [UInt8], _ body: (UnsafePointer<CChar>) -> Void) {
        let characters = bytes.map { CChar(bitPattern: $0) } + [0]
        unsafe characters.withUnsafeBufferPointer { buffer in
            // Never empty: it ends with a NUL.
            if let start = buffer.baseAddress { unsafe body(start) }
        }
    }

    private func setExtents(_ extents: [TreeEntry.Extent], size: UInt64) {
        for extent in extents where extent.length > 0 {
            unsafe archive_entry_sparse_add_entry(
                entry, Int64(clamping: extent.offset), Int64(clamping: extent.length))
        }
        // Nothing but a hole: an empty run of data at the end says so.
        if extents.allSatisfy({ $0.length == 0 }), size > 0 {
            unsafe archive_entry_sparse_add_entry(entry, Int64(clamping: size), 0)
        }
    }

    private func set(_ attribute: TreeEntry.ExtendedAttribute) throws(FormatError) {
        if attribute.name == Array("system.posix_acl_access".utf8) {
            return try setACL(attribute.value, type: ARCHIVE_ENTRY_ACL_TYPE_ACCESS)
        }
        if attribute.name == Array("system.posix_acl_default".utf8) {
            return try setACL(attribute.value, type: ARCHIVE_ENTRY_ACL_TYPE_DEFAULT)
        }
        unsafe setName(attribute.name.filter { $0 != 0 }) { name in
            unsafe attribute.value.withUnsafeBytes { value in
                unsafe archive_entry_xattr_add_entry(entry, name, value.baseAddress, value.count)
            }
        }
    }

    /// The kernel's form (linux/posix_acl_xattr.h): version 2 in 4 bytes, then 8 bytes an entry: tag and permissions in
    /// 2 bytes each, id in 4; all little-endian.
    private func setACL(_ value: [UInt8], type: Int32) throws(FormatError) {
        func number(_ offset: Int, _ count: Int) -> UInt32 {
            (0..<count).reduce(0) { $0 | UInt32(value[offset + $1]) << UInt32(8 * $1) }
        }
        guard value.count >= 4, value.count % 8 == 4, number(0, 4) == 2 else {
            throw FormatError(.unsupported, "write an archive", "an access control list is not in the kernel's form")
        }
        for offset in stride(from: 4, to: value.count, by: 8) {
            let tag: Int32
            switch number(offset, 2) {
            case 0x01: tag = ARCHIVE_ENTRY_ACL_USER_OBJ
            case 0x02: tag = ARCHIVE_ENTRY_ACL_USER
            case 0x04: tag = ARCHIVE_ENTRY_ACL_GROUP_OBJ
            case 0x08: tag = ARCHIVE_ENTRY_ACL_GROUP
            case 0x10: tag = ARCHIVE_ENTRY_ACL_MASK
            case 0x20: tag = ARCHIVE_ENTRY_ACL_OTHER
            default:
                throw FormatError(.unsupported, "write an archive", "an access control list has an unknown entry")
            }
            let named = tag == ARCHIVE_ENTRY_ACL_USER || tag == ARCHIVE_ENTRY_ACL_GROUP
            let id = named ? Int32(bitPattern: number(offset + 4, 4)) : -1
            let permissions = Int32(number(offset + 2, 2) & 0o7)
            guard unsafe archive_entry_acl_add_entry(entry, type, permissions, tag, id, nil) == ARCHIVE_OK else {
                throw FormatError(.unsupported, "write an archive", "an access control list cannot be expressed")
            }
        }
    }
}
