// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatIO

/// A set of digests that only grows, in bounded memory: the first 98,304 are kept in memory, more go to a file.
///
/// The file is an extendible hash table of 4 KiB pages. The first bits of a digest select its page through a directory
/// in memory (4 bytes a page); a full page is split in two. A look-up reads one page and an insertion writes one, at
/// any size: 5,000,000 digests take about 230 MB of disk space and 1 MiB of memory. The file has no name and goes away
/// with the process. Where it cannot be written, the digests that follow stay in memory.
///
/// Not thread-safe: the owner guards it.
package final class DigestSet {
    /// In memory: all of them before the file is opened, later those that could not be written to it.
    private var recent: Set<Digest> = []
    private var table: DigestTable?
    private var canSpill = true
    private let folder: String
    private let memoryLimit: Int

    /// What a `Set` of 4 MiB has capacity for.
    package static let usualMemoryLimit = 98_304

    /// `folder`: where the file is made. `memoryLimit`: number of digests that are kept in memory.
    package init(folder: String, memoryLimit: Int = DigestSet.usualMemoryLimit) {
        self.folder = folder
        self.memoryLimit = memoryLimit
    }

    /// True when the digest was not in the set. Throws when the file cannot be read back.
    package func insert(_ id: Digest) throws -> Bool {
        guard let table else {
            let isNew = recent.insert(id).inserted
            if isNew, recent.count >= memoryLimit, canSpill { try spill() }
            return isNew
        }
        if !recent.isEmpty, recent.contains(id) { return false }
        switch try table.insert(id) {
        case .inserted: return true
        case .present: return false
        case .refused: return recent.insert(id).inserted
        }
    }

    /// Moves everything to a file; what the file does not take stays.
    private func spill() throws {
        canSpill = false
        // No disk space for it is no reason to fail: the set works in memory, too.
        guard let fresh = try? DigestTable(folder: folder) else { return }
        recent = try recent.filter { try fresh.insert($0) == .refused }
        table = fresh
    }
}

/// The file of a `DigestSet`. Not thread-safe.
private final class DigestTable {
    enum Outcome { case inserted, present, refused }

    // A page: number of digests (4 bytes), number of leading bits they share (4 bytes), zeros to 32, the digests.
    private static let pageSize = 4096
    private static let headerSize = 32
    private static let capacity = (pageSize - headerSize) / Digest.byteCount
    /// The directory grows to 2^24 entries (64 MiB, for 10^9 digests) and no further.
    private static let maximumDepth: UInt32 = 24
    /// Nor beyond so many entries a page: of digests spread evenly it has two to four. Those that were made to begin
    /// alike stay in memory instead.
    private static let entriesPerPage = 64

    private let file: OwnedDescriptor
    private let place: String
    /// Page numbers by the first `depth` bits of a digest.
    private var directory: [UInt32] = [0]
    private var depth: UInt32 = 0
    private var pageCount: UInt32 = 1
    /// No more is written after the first failure; what was written stays readable.
    private var isFull = false
    private let page: UnsafeMutableRawBufferPointer
    private let split: UnsafeMutableRawBufferPointer

    init(folder: String) throws {
        place = "a file in \(folder)"
        file = try OwnedDescriptor.unnamed(in: folder)
        page = .allocate(byteCount: Self.pageSize, alignment: 64)
        split = .allocate(byteCount: Self.pageSize, alignment: 64)
        page.initializeMemory(as: UInt8.self, repeating: 0)
        split.initializeMemory(as: UInt8.self, repeating: 0)
        try write(page, 0)
    }

    deinit {
        page.deallocate()
        split.deallocate()
    }

    func insert(_ id: Digest) throws -> Outcome {
        while true {
            let number = directory[slot(of: id)]
            let count = try DescriptorIO.read(file.raw, at: Self.offset(number), into: page, place)
            guard count == Self.pageSize else { throw SystemCallError("read", place, errorNumber: EIO) }
            let used = min(Int(Self.field(page, 0)), Self.capacity)
            for position in 0..<used where Self.digest(page, position) == id { return .present }
            if isFull { return .refused }
            do {
                if used < Self.capacity {
                    Self.put(id, page, used)
                    try write(page, number)
                    return .inserted
                }
                guard try splitPage(number, used) else { return .refused }
            } catch {
                isFull = true
                return .refused
            }
        }
    }

    /// Distributes the digests of a full page, which is in `page`, over it and a new one. False when there is no bit
    /// left to tell them apart.
    private func splitPage(_ number: UInt32, _ used: Int) throws(SystemCallError) -> Bool {
        let shared = Self.field(page, 4)
        guard shared < Self.maximumDepth, shared <= depth else { return false }
        if shared == depth {
            guard directory.count < Self.entriesPerPage * Int(pageCount) else { return false }
            directory = directory.flatMap { [$0, $0] }
            depth += 1
        }
        let first = Self.digest(page, 0)
        var kept = 0
        var moved = 0
        for position in 0..<used {
            let id = Self.digest(page, position)
            if id.prefix >> UInt64(63 - shared) & 1 == 0 {
                Self.put(id, page, kept)
                kept += 1
            } else {
                Self.put(id, split, moved)
                moved += 1
            }
        }
        Self.setFields(page, kept, shared + 1)
        Self.setFields(split, moved, shared + 1)
        // The new page first: until the directory names it, the old one is complete.
        try write(split, pageCount)
        try write(page, number)
        // The directory entries of both are one run; its second half gets the new page.
        let run = 1 << Int(depth - shared)
        let start = shared == 0 ? 0 : Int(first.prefix >> UInt64(64 - shared)) << Int(depth - shared)
        for position in start + run / 2..<start + run { directory[position] = pageCount }
        pageCount += 1
        return true
    }

    private func slot(of id: Digest) -> Int { depth == 0 ? 0 : Int(id.prefix >> UInt64(64 - depth)) }

    private func write(_ page: UnsafeMutableRawBufferPointer, _ number: UInt32) throws(SystemCallError) {
        try DescriptorIO.write(file.raw, at: Self.offset(number), UnsafeRawBufferPointer(page), place)
    }

    private static func offset(_ number: UInt32) -> UInt64 { UInt64(number) * UInt64(pageSize) }

    private static func field(_ page: UnsafeMutableRawBufferPointer, _ offset: Int) -> UInt32 {
        page.load(fromByteOffset: offset, as: UInt32.self)
    }

    private static func setFields(_ page: UnsafeMutableRawBufferPointer, _ count: Int, _ shared: UInt32) {
        page.storeBytes(of: UInt32(count), toByteOffset: 0, as: UInt32.self)
        page.storeBytes(of: shared, toByteOffset: 4, as: UInt32.self)
    }

    private static func digest(_ page: UnsafeMutableRawBufferPointer, _ position: Int) -> Digest {
        let start = headerSize + position * Digest.byteCount
        return Digest(UnsafeRawBufferPointer(rebasing: page[start..<start + Digest.byteCount]))
    }

    /// Puts the digest at `position` and counts it as the last one.
    private static func put(_ id: Digest, _ page: UnsafeMutableRawBufferPointer, _ position: Int) {
        let start = headerSize + position * Digest.byteCount
        id.copyBytes(to: UnsafeMutableRawBufferPointer(rebasing: page[start..<start + Digest.byteCount]))
        page.storeBytes(of: UInt32(position + 1), toByteOffset: 0, as: UInt32.self)
    }
}
