// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
package import LifeboatIO

/// The first name that a walk met of each file with several names, until it has met all of them. In bounded memory: of
/// a tree in which every file has its other names far away, most first names wait in a file. Used on one thread.
package final class FirstNames {
    /// What is remembered of a file.
    fileprivate struct Known {
        var path: [UInt8]
        /// Names not met yet.
        var remaining: UInt32
        var facts: Facts
    }

    /// What tells a file from another one that got its inode number during the walk.
    fileprivate struct Facts: Equatable {
        var mode: UInt32
        var userID: UInt32
        var size: UInt64
        var modificationTime: Timestamp

        init(_ status: FileStatus) {
            self.init(
                mode: status.mode, userID: status.userID, size: status.size, modificationTime: status.modificationTime)
        }

        init(mode: UInt32, userID: UInt32, size: UInt64, modificationTime: Timestamp) {
            self.mode = mode
            self.userID = userID
            self.size = size
            self.modificationTime = modificationTime
        }
    }

    private var recent: [FileStatus.Identity: Known] = [:]
    private var table: FirstNameTable?
    private var canSpill = true
    private let memoryLimit: Int
    private let folder: String

    /// `memoryLimit`: number of files that are remembered in memory; about 300 bytes each.
    package init(memoryLimit: Int = 32_768) {
        self.memoryLimit = memoryLimit
        folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    }

    /// The name met before of a file with several; nil when `path` is the first. Throws when what was remembered
    /// cannot be read back.
    package func firstName(_ status: FileStatus, _ path: [UInt8]) throws -> [UInt8]? {
        let identity = status.identity
        let facts = Facts(status)
        let fresh = Known(path: path, remaining: status.links - 1, facts: facts)
        if var known = recent[identity] {
            guard known.facts == facts else {
                recent[identity] = fresh
                return nil
            }
            known.remaining -= 1
            recent[identity] = known.remaining == 0 ? nil : known
            return known.path
        }
        if let table, let found = try table.find(identity) {
            guard found.known.facts == facts else {
                try table.setRemaining(0, at: found.slot)
                recent[identity] = fresh
                return nil
            }
            try table.setRemaining(found.known.remaining - 1, at: found.slot)
            return found.known.path
        }
        if recent.count >= memoryLimit, try spilled(fresh, identity) { return nil }
        recent[identity] = fresh
        return nil
    }

    /// False when the file cannot be written: memory it is, then.
    private func spilled(_ known: Known, _ identity: FileStatus.Identity) throws -> Bool {
        guard canSpill else { return false }
        do {
            let table = try table ?? FirstNameTable(folder: folder)
            self.table = table
            if try table.insert(known, identity) { return true }
        } catch let error as SystemCallError
            where [ENOSPC, EDQUOT, EROFS, EACCES, ENOENT, EFBIG].contains(error.errorNumber)
        {
            // What is in the table stays readable; no more goes there.
        }
        canSpill = false
        return false
    }
}

/// A hash table in a sparse file without a name, and the paths in another. Used on one thread.
private final class FirstNameTable {
    // A slot: volume 8, inode 8, offset of the path + 1 or 0 for an empty slot 8, length of the path 4, names not met
    // yet 4, size 8, seconds 8, nanoseconds 4, mode 4, user 4, zero 4.
    private static let slotSize = 64
    private static let slotCount: UInt64 = 1 << 23
    /// Half of the slots, so that a search ends soon.
    private static let limit = 1 << 22
    private static let pageSize = 4096

    private let slots: OwnedDescriptor
    private let paths: OwnedDescriptor
    private let place: String
    private var pathsEnd: UInt64 = 0
    private var count = 0
    private let page = UnsafeMutableRawBufferPointer.allocate(byteCount: FirstNameTable.pageSize, alignment: 64)

    init(folder: String) throws(SystemCallError) {
        place = "a file in \(folder)"
        slots = try OwnedDescriptor.unnamed(in: folder)
        paths = try OwnedDescriptor.unnamed(in: folder)
        guard ftruncate(slots.raw, off_t(Self.slotCount) * off_t(Self.slotSize)) == 0 else {
            throw SystemCallError("extend", place)
        }
    }

    deinit { page.deallocate() }

    /// Where the search for a file begins.
    private static func start(_ identity: FileStatus.Identity) -> UInt64 {
        // Numbers of inodes follow each other: a multiplication spreads them (Fibonacci hashing).
        let key = identity.inode ^ (identity.volume &* 0xFF51_AFD7_ED55_8CCD)
        return (key &* 0x9E37_79B9_7F4A_7C15) >> 41
    }

    /// The slot of the file, in `page` at the given offset, or the empty one it would get.
    private func search(_ identity: FileStatus.Identity) throws(SystemCallError) -> (slot: UInt64, offset: Int) {
        var slot = Self.start(identity)
        let perPage = UInt64(Self.pageSize / Self.slotSize)
        while true {
            let first = slot / perPage * perPage
            let read = try DescriptorIO.read(slots.raw, at: first * UInt64(Self.slotSize), into: page, place)
            guard read == page.count else { throw SystemCallError("read", place, errorNumber: EIO) }
            while slot < first + perPage {
                let offset = Int(slot - first) * Self.slotSize
                let isEmpty = page.load(fromByteOffset: offset + 16, as: UInt64.self) == 0
                let isIt =
                    page.load(fromByteOffset: offset, as: UInt64.self) == identity.volume
                    && page.load(fromByteOffset: offset + 8, as: UInt64.self) == identity.inode
                if isEmpty || isIt { return (slot, offset) }
                slot += 1
            }
            if slot == Self.slotCount { slot = 0 }
        }
    }

    /// Nil when there is none whose names were not all met.
    func find(_ identity: FileStatus.Identity) throws -> (slot: UInt64, known: FirstNames.Known)? {
        let (slot, offset) = try search(identity)
        let start = page.load(fromByteOffset: offset + 16, as: UInt64.self)
        let remaining = page.load(fromByteOffset: offset + 28, as: UInt32.self)
        guard start > 0, remaining > 0 else { return nil }
        var path = [UInt8](repeating: 0, count: Int(page.load(fromByteOffset: offset + 24, as: UInt32.self)))
        let facts = FirstNames.Facts(
            mode: page.load(fromByteOffset: offset + 52, as: UInt32.self),
            userID: page.load(fromByteOffset: offset + 56, as: UInt32.self),
            size: page.load(fromByteOffset: offset + 32, as: UInt64.self),
            modificationTime: Timestamp(
                seconds: page.load(fromByteOffset: offset + 40, as: Int64.self),
                nanoseconds: page.load(fromByteOffset: offset + 48, as: Int32.self)))
        let read = try path.withUnsafeMutableBytes {
            try DescriptorIO.read(paths.raw, at: start - 1, into: $0, place)
        }
        guard read == path.count else { throw SystemCallError("read", place, errorNumber: EIO) }
        return (slot, FirstNames.Known(path: path, remaining: remaining, facts: facts))
    }

    /// False when the table is full. It has no entry of the file whose names were not all met.
    func insert(_ known: FirstNames.Known, _ identity: FileStatus.Identity) throws -> Bool {
        let (slot, offset) = try search(identity)
        let isEmpty = page.load(fromByteOffset: offset + 16, as: UInt64.self) == 0
        guard !isEmpty || count < Self.limit else { return false }
        try known.path.withUnsafeBytes { try DescriptorIO.write(paths.raw, at: pathsEnd, $0, place) }
        let record = UnsafeMutableRawBufferPointer(rebasing: page[..<Self.slotSize])
        record.storeBytes(of: identity.volume, toByteOffset: 0, as: UInt64.self)
        record.storeBytes(of: identity.inode, toByteOffset: 8, as: UInt64.self)
        record.storeBytes(of: pathsEnd + 1, toByteOffset: 16, as: UInt64.self)
        record.storeBytes(of: UInt32(known.path.count), toByteOffset: 24, as: UInt32.self)
        record.storeBytes(of: known.remaining, toByteOffset: 28, as: UInt32.self)
        record.storeBytes(of: known.facts.size, toByteOffset: 32, as: UInt64.self)
        record.storeBytes(of: known.facts.modificationTime.seconds, toByteOffset: 40, as: Int64.self)
        record.storeBytes(of: known.facts.modificationTime.nanoseconds, toByteOffset: 48, as: Int32.self)
        record.storeBytes(of: known.facts.mode, toByteOffset: 52, as: UInt32.self)
        record.storeBytes(of: known.facts.userID, toByteOffset: 56, as: UInt32.self)
        record.storeBytes(of: 0, toByteOffset: 60, as: UInt32.self)
        try DescriptorIO.write(slots.raw, at: slot * UInt64(Self.slotSize), UnsafeRawBufferPointer(record), place)
        pathsEnd += UInt64(known.path.count)
        if isEmpty { count += 1 }
        return true
    }

    func setRemaining(_ remaining: UInt32, at slot: UInt64) throws {
        try withUnsafeBytes(of: remaining) {
            try DescriptorIO.write(slots.raw, at: slot * UInt64(Self.slotSize) + 28, $0, place)
        }
    }
}
