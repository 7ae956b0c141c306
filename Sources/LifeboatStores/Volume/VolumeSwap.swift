// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Staging, exchange and removal of a volume, provable at any moment, also by a later process.
///
/// Two inode numbers tell what is where: that of the live data, noted in the plan, and that of the staged data, in a
/// marker file beside it that exists only when the staging is complete. A rename moves an inode and keeps its number.
struct VolumeSwap {
    /// The live path.
    let live: String
    /// Where the staged data are, and after the swap the old ones.
    let staged: String
    /// Inode of the live data when the restore was planned; nil when there were none.
    let liveInode: UInt64?
    /// What in the live data belongs to others and stays live.
    let guests: VolumeGuests

    private var marker: String { "\(staged).staged" }

    private init(live: String, staged: String, liveInode: UInt64?, _ guests: VolumeGuests) {
        self.live = live
        self.staged = staged
        self.liveInode = liveInode
        self.guests = guests
    }

    static func plan(
        _ place: VolumePlace, _ restoreID: String, _ guests: VolumeGuests = VolumeGuests([])
    ) throws -> VolumeSwap {
        guard !restoreID.isEmpty, !restoreID.utf8.contains(0x2F) else {
            throw LifeboatError("'\(restoreID)' cannot be part of a folder's name")
        }
        let swap = VolumeSwap(
            live: place.path, staged: "\(place.path).lifeboat-\(restoreID)", liveInode: try inode(place.path),
            guests)
        if try inode(swap.staged) != nil {
            throw LifeboatError(
                "there is something at '\(swap.staged)' already", hint: "Look at it, and remove it if it is a leftover."
            )
        }
        return swap
    }

    init(_ state: StagedState) throws {
        guard let live = state.values["live"], let staged = state.values["staged"],
            staged.hasPrefix("\(live).lifeboat-"), let inode = state.values["live_inode"],
            inode == "none" || UInt64(inode) != nil
        else { throw LifeboatError("the journal does not say where the staged volume is") }
        self.init(
            live: live, staged: staged, liveInode: UInt64(inode), VolumeGuests(encoded: state.values["guests"] ?? ""))
    }

    /// What the journal keeps.
    var state: StagedState {
        var values = ["live": live, "staged": staged, "live_inode": liveInode.map { "\($0)" } ?? "none"]
        if !guests.isEmpty { values["guests"] = guests.encoded }
        return StagedState(values)
    }

    /// Takes out of the staged data what belongs to others there (an older snapshot may hold it), and makes the folders
    /// they need.
    func makeRoomForGuests() throws { try guests.makeRoom(staged, like: live) }

    /// Removes what an interrupted staging of the same restore left.
    func prepareStaging() throws {
        if try stagedInode() != nil { throw LifeboatError("volume '\(live)' is staged already at '\(staged)'") }
        try removeStaged()
    }

    /// Says that the staged data are whole. They must be durable already.
    func markStaged() throws {
        guard let inode = try Self.inode(staged) else { throw SystemCallError("open", staged, errorNumber: ENOENT) }
        try AtomicFile.write("\(inode)\n", to: marker)
    }

    /// Whether the staging is complete.
    func isStaged() throws -> Bool { try stagedInode() != nil }

    /// Whether the restored data is the live one.
    func isSwapped() throws -> Bool {
        guard let new = try stagedInode() else { return false }
        return try Self.inode(live) == new
    }

    func swap() throws {
        guard let new = try stagedInode() else {
            throw LifeboatError("volume '\(live)' cannot be swapped", causes: ["its staging is not complete"])
        }
        let (atLive, atStaged) = (try Self.inode(live), try Self.inode(staged))
        if atLive != new || atStaged != liveInode {
            guard atLive == liveInode, atStaged == new else { throw unknownState(atLive, atStaged) }
            try exchange(live, staged, hasBoth: liveInode != nil)
        }
        try guests.move(from: staged, to: live)
    }

    func swapBack() throws {
        // Never staged as a whole: never swapped.
        guard let new = try stagedInode() else { return }
        let (atLive, atStaged) = (try Self.inode(live), try Self.inode(staged))
        if atLive != liveInode {
            guard atLive == new, atStaged == liveInode else { throw unknownState(atLive, atStaged) }
            try exchange(staged, live, hasBoth: liveInode != nil)
        }
        try guests.move(from: staged, to: live)
    }

    func discard() throws {
        let new = try stagedInode()
        let (atLive, atStaged) = (try Self.inode(live), try Self.inode(staged))
        if let atStaged {
            // Old data go only when the new ones are live, anything else only when it is not the old data.
            let isOld = atStaged == liveInode
            guard atStaged != atLive, !isOld || (new != nil && atLive == new), isOld || new == nil || atStaged == new
            else { throw unknownState(atLive, atStaged) }
            // Never removed with the old data.
            try guests.move(from: staged, to: live)
        }
        try removeStaged()
        guard unlink(marker) == 0 || errno == ENOENT else { throw SystemCallError("remove", marker) }
    }

    private func removeStaged() throws {
        let place = try VolumePlace(staged)
        guard place.path == staged else { throw unknownState(try Self.inode(live), try Self.inode(staged)) }
        try TreeRemoval.remove(staged)
    }

    /// `staged` to `live`: with the data there in exchange, or as the first there; makes it durable.
    private func exchange(_ live: String, _ staged: String, hasBoth: Bool) throws {
        if hasBoth {
            try Rename.exchange(live, staged)
        } else {
            guard try Rename.withoutReplacing(staged, to: live) else {
                throw LifeboatError("there is something at '\(live)' now", hint: "Move it away, then try again.")
            }
        }
        try AtomicFile.synchronizeFolder(of: live)
    }

    private func unknownState(_ atLive: UInt64?, _ atStaged: UInt64?) -> LifeboatError {
        func text(_ inode: UInt64?) -> String { inode.map { "inode \($0)" } ?? "nothing" }
        return LifeboatError(
            "volume '\(live)' is not as the restore left it",
            causes: [
                "at '\(live)' is \(text(atLive)), at '\(staged)' is \(text(atStaged)); before the restore it was "
                    + text(liveInode)
            ],
            hint: "Both are kept. Look which one is right, put it at '\(live)' and remove the other.")
    }

    /// From the marker; nil when the staging is not complete.
    private func stagedInode() throws -> UInt64? {
        let descriptor: Int32
        do throws(Errno) {
            descriptor = try openDescriptor(AT_FDCWD, marker, O_RDONLY | O_NOFOLLOW, mode: 0)
        } catch {
            if error.number == ENOENT { return nil }
            throw SystemCallError("open", marker, errorNumber: error.number)
        }
        let file = OwnedDescriptor(owning: descriptor)
        var buffer = [UInt8](repeating: 0, count: 32)
        let count = try buffer.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, marker) }
        guard let inode = UInt64(String(decoding: buffer[..<count].dropLast(), as: UTF8.self)) else {
            throw LifeboatError("'\(marker)' is damaged", hint: "Look at both folders before you remove one.")
        }
        return inode
    }

    /// Nil when there is nothing.
    private static func inode(_ path: String) throws(SystemCallError) -> UInt64? {
        do throws(Errno) {
            return try FileStatus.at(AT_FDCWD, path).inode
        } catch {
            if error.number == ENOENT { return nil }
            throw SystemCallError("examine", path, errorNumber: error.number)
        }
    }
}
