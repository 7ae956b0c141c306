// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import Synchronization

/// A regular file being extracted; any thread may write. Removed again when it is let go unfinished, unless it was there
/// before.
final class FileWriter: FileContentTarget {
    private let descriptor: Int32
    private let entry: TreeEntry
    private let folder: FolderDescriptor
    private let name: [UInt8]
    private let target: FolderTarget
    /// Where each extent begins in the content, and the end of the last; nil when the file has no holes.
    private let starts: [UInt64]?
    private let written = Atomic<UInt64>(0)
    private let isFinished = Atomic<Bool>(false)
    private let origin: Origin
    /// The name that the whole file gets in place of `name`, ended by a NUL; nil: it has its name already.
    private let finalName: [UInt8]?
    /// The file that replaces `.standing`, once something of that is not as it should be.
    private let replacement = Mutex<Int32?>(nil)
    /// Pieces in a row that were not what they should be.
    private let misses = Atomic<Int>(0)

    /// Where pieces of the content may be already.
    enum Origin {
        case nowhere
        /// In this file, which is older than the extraction.
        case own
        /// In this file, which was made to share the blocks of another one.
        case cloned
        /// At the same places of another file, whose descriptor is closed with the writer.
        case other(Int32)
        /// In this file, which has its final name: it stays when all of it is right, and else is replaced.
        case standing
    }

    /// What was inserted or taken out moves all that follows: after so many misses nothing is looked for any more.
    private static let mostMisses = 8

    /// So many bytes of a file are written before the disk is set to work on them: while the next ones are decoded, and
    /// not when all of them are to be flushed at the end.
    private static let writingStep: UInt64 = 16 << 20

    /// Takes over the descriptor of the file `name` (ended by a NUL), just created in `folder`.
    init(
        owning descriptor: Int32, _ entry: TreeEntry, folder: FolderDescriptor, name: [UInt8], target: FolderTarget,
        origin: Origin = .nowhere, finalName: [UInt8]? = nil
    ) {
        self.origin = origin
        self.finalName = finalName
        self.descriptor = descriptor
        self.entry = entry
        self.folder = folder
        self.name = name
        self.target = target
        starts = entry.extents.map { extents in
            var starts: [UInt64] = [0]
            for extent in extents { starts.append((starts.last ?? 0) &+ extent.length) }
            return starts
        }
        if entry.fileFlags & FileFlags.noCopyOnWrite != 0 {
            // Taken only while the file is empty; whether it could be set, `finish` tells.
            try? FileFlags.set(descriptor, FileFlags.noCopyOnWrite)
        }
    }

    deinit {
        if case .other(let file) = origin { _ = close(file) }
        if isFinished.load(ordering: .acquiring) { return }
        _ = close(descriptor)
        if isOld { return }
        if isStanding {
            guard let file = replacement.withLock({ $0 }) else { return }
            _ = close(file)
        }
        removeTemporary()
    }

    func write(_ bytes: UnsafeRawBufferPointer, atContentOffset offset: UInt64) throws {
        let (end, overflow) = offset.addingReportingOverflow(UInt64(bytes.count))
        guard !overflow, end <= entry.contentSize ?? 0 else {
            throw LifeboatError(
                "the content of '\(target.shown(entry.path))' is longer than its entry says",
                exitCode: .damagedRepository)
        }
        if let starts, let extents = entry.extents {
            try write(bytes, at: offset, starts, extents)
        } else {
            try write(bytes, atFileOffset: offset)
        }
        let (before, after) = written.add(UInt64(bytes.count), ordering: .acquiringAndReleasing)
        if before / Self.writingStep != after / Self.writingStep { DescriptorIO.startWriting(try output()) }
    }

    /// Spreads the bytes over the extents they belong to.
    private func write(
        _ bytes: UnsafeRawBufferPointer, at offset: UInt64, _ starts: [UInt64], _ extents: [TreeEntry.Extent]
    ) throws {
        // The last extent that begins at or before the offset.
        var low = 0
        var high = extents.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= offset { low = middle } else { high = middle }
        }
        var rest = bytes
        var position = offset
        while !rest.isEmpty, low < extents.count {
            let within = position - starts[low]
            let count = Int(clamping: min(UInt64(rest.count), extents[low].length - within))
            try write(UnsafeRawBufferPointer(rebasing: rest[..<count]), atFileOffset: extents[low].offset &+ within)
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            position += UInt64(count)
            low += 1
        }
    }

    private func write(_ bytes: UnsafeRawBufferPointer, atFileOffset offset: UInt64) throws {
        let (end, overflow) = offset.addingReportingOverflow(UInt64(bytes.count))
        guard !overflow, end <= UInt64(Int64.max) else {
            throw SystemCallError("write to", target.shown(entry.path), errorNumber: EFBIG)
        }
        try DescriptorIO.write(try output(), at: offset, bytes, target.shown(entry.path))
    }

    /// The file that is written to: of a standing one a copy, which then replaces it.
    private func output() throws -> Int32 {
        guard isStanding else { return descriptor }
        return try replacement.withLock { replacement in
            if let replacement { return replacement }
            let file = OwnedDescriptor(
                owning: try target.describing("create", entry.path) { () throws(Errno) in
                    try FolderTarget.createTemporary(folder, name, entry)
                })
            do {
                try copyStanding(to: file.raw)
            } catch {
                removeTemporary()
                throw error
            }
            let raw = file.release()
            replacement = raw
            return raw
        }
    }

    private func copyStanding(to file: Int32) throws {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        var offset: UInt64 = 0
        while offset < entry.size {
            let count = try DescriptorIO.read(descriptor, at: offset, into: buffer, target.shown(entry.path))
            if count == 0 { return }
            try DescriptorIO.write(
                file, at: offset, UnsafeRawBufferPointer(rebasing: buffer[..<count]), target.shown(entry.path))
            offset += UInt64(count)
        }
    }

    private var isOld: Bool { if case .own = origin { true } else { false } }
    private var isStanding: Bool { if case .standing = origin { true } else { false } }

    func reuses(_ digest: Digest, atContentOffset offset: UInt64, length: UInt32) throws -> Bool {
        let source: Int32
        switch origin {
        case .nowhere: return false
        case .own, .cloned, .standing: source = descriptor
        case .other(let file): source = file
        }
        guard entry.extents == nil, isOld || misses.load(ordering: .relaxed) < Self.mostMisses,
            offset.addingReportingOverflow(UInt64(length)).partialValue <= entry.contentSize ?? 0
        else { return false }
        let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(length), alignment: 4096)
        defer { piece.deallocate() }
        // What cannot be read is fetched.
        guard (try? DescriptorIO.read(source, at: offset, into: piece, "live data")) == piece.count,
            BLAKE3.hash(UnsafeRawBufferPointer(piece)) == digest
        else {
            misses.add(1, ordering: .relaxed)
            return false
        }
        misses.store(0, ordering: .relaxed)
        if case .other = origin {
            try write(UnsafeRawBufferPointer(piece), atContentOffset: offset)
        } else {
            written.add(UInt64(length), ordering: .acquiringAndReleasing)
        }
        target.countReused(UInt64(length))
        return true
    }

    private var mayBeLonger: Bool {
        switch origin {
        case .own, .cloned: true
        case .nowhere, .other, .standing: false
        }
    }

    func finish() throws {
        let size = written.load(ordering: .acquiring)
        if let content = entry.content, size != content.size {
            throw LifeboatError(
                "'\(target.shown(entry.path))' is incomplete",
                causes: ["\(size) of \(content.size) bytes were written"],
                exitCode: .incomplete)
        }
        let made = replacement.withLock { $0 }
        let isKept = isStanding && made == nil
        let file = made ?? descriptor
        try target.describing("finish", entry.path) { () throws(Errno) in
            if entry.extents != nil || size != entry.size || mayBeLonger {
                guard let length = off_t(exactly: entry.size) else { throw Errno(EFBIG) }
                guard ftruncate(file, length) == 0 else { throw Errno(errno) }
            }
            let isNew = !isOld && !isKept
            if !isNew { try ExtendedAttributes.removeAll(file, but: entry.extendedAttributes.map(\.name)) }
            let created = isNew && target.owner.hasMode(entry.mode) ? entry.mode : nil
            try target.setMetadata(of: entry, .file(file), createdMode: created)
        }
        if made != nil { _ = close(descriptor) }
        isFinished.store(true, ordering: .releasing)
        do {
            // The last chance of a network file system to report a failed write.
            guard close(file) == 0 else { throw SystemCallError("close", target.shown(entry.path)) }
            if let finalName, !isKept {
                try target.describing("rename", entry.path) { () throws(Errno) in try rename(to: finalName) }
            }
        } catch {
            if finalName != nil, !isKept { removeTemporary() }
            throw error
        }
    }

    private func rename(to final: [UInt8]) throws(Errno) {
        try name.withCName { name throws(Errno) in
            try final.withCName { final throws(Errno) in
                guard renameat(folder.raw, name, folder.raw, final) == 0 else { throw Errno(errno) }
            }
        }
    }

    private func removeTemporary() {
        try? name.withCName { name throws(Errno) in _ = unlinkat(folder.raw, name, 0) }
    }
}
