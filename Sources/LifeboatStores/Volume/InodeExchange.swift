// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// The exchange of two places of one file system, provable at any moment, also by a later process.
///
/// Two inode numbers tell what is where: that of the live data, noted in the plan, and that of the staged data, which a
/// marker keeps from when its staging is complete. A rename moves an inode and keeps its number.
struct InodeExchange {
    /// What it is for people: `volume`, `path`.
    let noun: String
    let live: String
    /// Where the staged data are, and after the swap the old ones.
    let staged: String
    /// Inode of the live data when the restore was planned; nil when there were none.
    let liveInode: UInt64?
    /// What in the live data belongs to others and stays live.
    let guests: VolumeGuests

    /// `new`: the inode of the staged data.
    func swap(_ new: UInt64) throws {
        let (atLive, atStaged) = (try Self.inode(live), try Self.inode(staged))
        if atLive != new || atStaged != liveInode {
            guard atLive == liveInode, atStaged == new else { throw unknownState(atLive, atStaged) }
            try exchange(live, staged)
        }
        try guests.move(from: staged, to: live)
    }

    func swapBack(_ new: UInt64) throws {
        let (atLive, atStaged) = (try Self.inode(live), try Self.inode(staged))
        if atLive != liveInode {
            guard atLive == new, atStaged == liveInode else { throw unknownState(atLive, atStaged) }
            try exchange(staged, live)
        }
        try guests.move(from: staged, to: live)
    }

    /// Throws unless what is at `staged` may be removed: old data only when the new ones are live, anything else only when
    /// it is not the old data. Moves out of it what belongs to others. `new` nil: nothing was ever staged as a whole.
    func prepareRemoval(_ new: UInt64?) throws {
        let (atLive, atStaged) = (try Self.inode(live), try Self.inode(staged))
        guard let atStaged else { return }
        let isOld = atStaged == liveInode
        guard atStaged != atLive, !isOld || (new != nil && atLive == new), isOld || new == nil || atStaged == new
        else { throw unknownState(atLive, atStaged) }
        // Never removed with the old data.
        try guests.move(from: staged, to: live)
    }

    /// `second` to `first`: with the data there in exchange, or as the first there; makes it durable.
    private func exchange(_ first: String, _ second: String) throws {
        if liveInode != nil {
            try Rename.exchange(first, second)
        } else {
            guard try Rename.withoutReplacing(second, to: first) else {
                throw LifeboatError("there is something at '\(first)' now", hint: "Move it away, then try again.")
            }
        }
        try AtomicFile.synchronizeFolder(of: live)
        if RootPlace(live).parent != RootPlace(staged).parent { try AtomicFile.synchronizeFolder(of: staged) }
    }

    func unknownState(_ atLive: UInt64?, _ atStaged: UInt64?) -> LifeboatError {
        func text(_ inode: UInt64?) -> String { inode.map { "inode \($0)" } ?? "nothing" }
        return LifeboatError(
            "\(noun) '\(live)' is not as the restore left it",
            causes: [
                "at '\(live)' is \(text(atLive)), at '\(staged)' is \(text(atStaged)); before the restore it was "
                    + text(liveInode)
            ],
            hint: "Both are kept. Look which one is right, put it at '\(live)' and remove the other.")
    }

    /// Nil when there is nothing.
    static func inode(_ path: String) throws(SystemCallError) -> UInt64? {
        do throws(Errno) {
            return try FileStatus.at(AT_FDCWD, path).inode
        } catch {
            if error.number == ENOENT { return nil }
            throw SystemCallError("examine", path, errorNumber: error.number)
        }
    }
}

/// Inode numbers of staged data, in a file that exists only when the staging is complete.
struct StagingMarker {
    let path: String

    /// Says that the staged data are whole. They must be durable already.
    func write(_ inodes: [UInt64]) throws {
        try AtomicFile.write(inodes.map { "\($0)\n" }.joined(), to: path)
    }

    /// Nil when the staging is not complete.
    func read() throws -> [UInt64]? {
        let descriptor: Int32
        do throws(Errno) {
            descriptor = try openDescriptor(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW, mode: 0)
        } catch {
            if error.number == ENOENT { return nil }
            throw SystemCallError("open", path, errorNumber: error.number)
        }
        let file = OwnedDescriptor(owning: descriptor)
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        let count = try buffer.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, path) }
        let lines = String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n")
        let inodes = lines.compactMap { UInt64($0) }
        guard !inodes.isEmpty, inodes.count == lines.count, count < buffer.count else {
            throw LifeboatError("'\(path)' is damaged", hint: "Look at both folders before you remove one.")
        }
        return inodes
    }

    func remove() throws {
        guard unlink(path) == 0 || errno == ENOENT else { throw SystemCallError("remove", path) }
    }
}
