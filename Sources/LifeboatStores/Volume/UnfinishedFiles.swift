// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatFormats
import LifeboatIO
import Synchronization

/// Names and counts of the files of one extraction that get their names only when they are whole. A killed extraction
/// leaves nothing but whole files and temporary ones; the next run with the same token removes the temporary ones and
/// keeps the files whose content is right.
package final class UnfinishedFiles: Sendable {
    /// Whether an earlier run with this token may have left files.
    package let isResumed: Bool
    /// A name in the root that belongs to the extraction and not to the tree.
    let marker: [UInt8]
    private let prefix: [UInt8]
    private let number = Atomic<UInt64>(0)
    private let kept = Atomic<UInt64>(0)

    /// `token`: letters and digits, chosen at random by the first run. `marker`: name of the file that holds it.
    package init(token: String, marker: String, isResumed: Bool) {
        self.isResumed = isResumed
        self.marker = Array(marker.utf8)
        prefix = Array(".lifeboat-\(token)-".utf8)
    }

    /// Bytes of content that an earlier run had written already.
    package var keptBytes: UInt64 { kept.load(ordering: .relaxed) }

    func countKept(_ bytes: UInt64) { kept.add(bytes, ordering: .relaxed) }

    /// A name that no other file has, ended by a NUL.
    func temporaryName() -> [UInt8] {
        prefix + Array("\(number.add(1, ordering: .relaxed).newValue)\(AtomicFile.temporarySuffix)".utf8) + [0]
    }

    /// Removes the temporary files that an earlier run left in this directory.
    func removeLeftovers(in folder: FolderDescriptor) throws(Errno) {
        let reopened = try ([0x2E, 0] as [UInt8]).withCName { name throws(Errno) in
            FolderDescriptor(owning: try openDescriptor(folder.raw, name, O_RDONLY | O_DIRECTORY, mode: 0))
        }
        let names = withUnsafeTemporaryAllocation(byteCount: 32 << 10, alignment: 16) { scratch in
            FolderNames(reopened, scratch: scratch)
        }
        if let failure = names.failure { throw failure }
        for start in names.starts where names.name(at: start).starts(with: prefix) {
            try (Array(names.name(at: start)) + [0]).withCName { name throws(Errno) in
                guard unlinkat(folder.raw, name, 0) == 0 || errno == ENOENT else { throw Errno(errno) }
            }
        }
    }
}

extension FolderTarget {
    /// Opens a file that gets its name when it is whole. After an interruption the file that has the name already is
    /// compared first, and stays when it is right.
    func createUnfinished(
        _ entry: TreeEntry, _ folder: FolderDescriptor, _ name: [UInt8], _ unfinished: UnfinishedFiles
    ) throws(Errno) -> FileWriter {
        let temporary = unfinished.temporaryName()
        if unfinished.isResumed {
            if entry.path.isEmpty { try unfinished.removeLeftovers(in: folder) }
            if let standing = try openStanding(folder, name, entry) {
                return FileWriter(
                    owning: standing, entry, folder: folder, name: temporary, target: self, origin: .standing,
                    finalName: name)
            }
        }
        let descriptor = try Self.createTemporary(folder, temporary, entry)
        return FileWriter(
            owning: descriptor, entry, folder: folder, name: temporary, target: self, finalName: name)
    }

    static func createTemporary(
        _ folder: FolderDescriptor, _ name: [UInt8], _ entry: TreeEntry
    ) throws(Errno) -> Int32 {
        try name.withCName { name throws(Errno) in
            try openBeneath(folder.raw, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: UInt32(entry.mode & 0o777))
        }
    }

    /// A regular file which an earlier run may have finished; nil: it has to be made. One with holes is: what is in
    /// its holes would have to be read too.
    private func openStanding(
        _ folder: FolderDescriptor, _ name: [UInt8], _ entry: TreeEntry
    ) throws(Errno) -> Int32? {
        let descriptor: Int32
        do throws(Errno) {
            descriptor = try name.withCName { name throws(Errno) in
                try openBeneath(folder.raw, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, mode: 0)
            }
        } catch {
            if [ENOENT, ELOOP, ENXIO, ENODEV, EACCES, EPERM].contains(error.number) { return nil }
            throw error
        }
        let file = OwnedDescriptor(owning: descriptor)
        let status = try FileStatus.of(file.raw)
        guard status.isFile else { return nil }
        FileFlags.allowChanges(file.raw)
        return entry.extents == nil && status.size == entry.size ? file.release() : nil
    }
}
