// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// An open regular file that is being captured. Used on one thread at a time.
final class FileCapture: FileContentSource {
    /// Files from here on are looked at for holes even when they take all the blocks their size calls for:
    /// preallocated space is a hole too.
    private static let largeSize: UInt64 = 1 << 20

    private var descriptor: Int32
    private let opened: FileStatus
    private let examinedAt: Timestamp
    private let shownPath: String
    /// Data to read, ascending; nil: all of the file.
    private let extents: [TreeEntry.Extent]?
    private var extent = 0
    /// Bytes read of the current extent.
    private var position: UInt64 = 0
    /// Where the last byte read ends in the file.
    private var end: UInt64 = 0
    private var isCut = false
    private var isAtEnd = false

    /// Takes over the descriptor. `opened` is what it was at the moment `examinedAt`.
    init(
        _ file: consuming OwnedDescriptor, _ opened: FileStatus, examinedAt: Timestamp, _ shownPath: String
    ) throws(Errno) {
        self.opened = opened
        self.examinedAt = examinedAt
        self.shownPath = shownPath
        if opened.size >= Self.largeSize || opened.blocks &* 512 < opened.size {
            extents = try DataExtents.of(file.raw, size: opened.size)?.map {
                TreeEntry.Extent(offset: $0.offset, length: $0.length)
            }
        } else {
            extents = nil
        }
        if opened.size >= Self.largeSize {
            // Advice: a failure changes nothing.
            _ = posix_fadvise(file.raw, 0, 0, POSIX_FADV_SEQUENTIAL)
        }
        descriptor = file.release()
    }

    deinit { close() }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        var done = 0
        while done < buffer.count, !isAtEnd {
            let current: TreeEntry.Extent
            if let extents {
                guard extent < extents.count else {
                    isAtEnd = true
                    break
                }
                current = extents[extent]
            } else {
                current = TreeEntry.Extent(offset: 0, length: opened.size)
            }
            guard position < current.length else {
                if extents == nil { isAtEnd = true }
                extent += 1
                position = 0
                continue
            }
            let wanted = Int(min(UInt64(buffer.count - done), current.length - position))
            // Within off_t: below the size fstat gave.
            let count = pread(
                descriptor, buffer.baseAddress! + done, wanted, off_t(current.offset + position))
            if count < 0 {
                if errno == EINTR { continue }
                throw FileTreeError.unreadable(SystemCallError("read", shownPath))
            }
            if count == 0 {
                isCut = true
                isAtEnd = true
                break
            }
            position += UInt64(count)
            done += count
            end = current.offset + position
        }
        return done
    }

    func finish(_ entry: inout TreeEntry) throws -> FileReadOutcome {
        var flags: UInt32 = 0
        var attributes: [(name: [UInt8], value: [UInt8])] = []
        var problem: String?
        do throws(Errno) {
            flags = try FileFlags.get(descriptor)
            attributes = try ExtendedAttributes.all(.descriptor(descriptor))
        } catch {
            problem = FolderWalk.problem("its attributes cannot be read", error)
        }
        let now: FileStatus
        do throws(Errno) {
            now = try FileStatus.of(descriptor)
        } catch {
            throw FileTreeError.unreadable(SystemCallError("examine", shownPath, errorNumber: error.number))
        }
        var updated = TreeEntry(entry.path, now)
        updated.content = entry.content
        updated.problem = entry.problem
        updated.fileFlags = flags
        updated.setAttributes(attributes)
        if let problem { updated.addProblem(problem) }
        let isConsistent =
            !isCut && now.size == opened.size && now.modificationTime == opened.modificationTime
            && now.changeTime == opened.changeTime
        updated.size = opened.size
        updated.extents = extents
        if isCut { cut(&updated) }
        if !isConsistent || problem != nil || !changeFactsHold(opened, examinedAt: examinedAt) {
            updated.changeFacts = nil
        }
        entry = updated
        return isConsistent ? .consistent : .changed
    }

    /// The file ended before its size at opening: size and extents are those of what was read.
    private func cut(_ entry: inout TreeEntry) {
        entry.size = end
        guard let extents else { return }
        var read = Array(extents.prefix(extent))
        if extent < extents.count, position > 0 {
            read.append(TreeEntry.Extent(offset: extents[extent].offset, length: position))
        }
        entry.extents = read
    }

    func close() {
        guard descriptor >= 0 else { return }
        // Read-only: nothing can be lost by closing.
        _ = Glibc.close(descriptor)
        descriptor = -1
    }
}
