// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Staging, exchange and removal of a volume, provable at any moment, also by a later process: see `InodeExchange`.
struct VolumeSwap {
    private let exchange: InodeExchange

    /// The live path.
    var live: String { exchange.live }
    /// Where the staged data are, and after the swap the old ones.
    var staged: String { exchange.staged }
    private var guests: VolumeGuests { exchange.guests }
    private var marker: StagingMarker { StagingMarker(path: "\(staged).staged") }

    private init(live: String, staged: String, liveInode: UInt64?, _ guests: VolumeGuests) {
        exchange = InodeExchange(noun: "volume", live: live, staged: staged, liveInode: liveInode, guests: guests)
    }

    static func plan(
        _ place: VolumePlace, _ restoreID: String, _ guests: VolumeGuests = VolumeGuests([])
    ) throws -> VolumeSwap {
        guard !restoreID.isEmpty, !restoreID.utf8.contains(0x2F) else {
            throw LifeboatError("'\(restoreID)' cannot be part of a folder's name")
        }
        let swap = VolumeSwap(
            live: place.path, staged: DerivedName.beside(place.path, restoreID),
            liveInode: try InodeExchange.inode(place.path), guests)
        if try InodeExchange.inode(swap.staged) != nil {
            throw LifeboatError(
                "there is something at '\(swap.staged)' already", hint: "Look at it, and remove it if it is a leftover."
            )
        }
        return swap
    }

    init(_ state: StagedState) throws {
        guard let live = state.values["live"], let staged = state.values["staged"],
            DerivedName.isBeside(staged, live), let inode = state.values["live_inode"],
            inode == "none" || UInt64(inode) != nil
        else { throw LifeboatError("the journal does not say where the staged volume is") }
        self.init(
            live: live, staged: staged, liveInode: UInt64(inode), VolumeGuests(encoded: state.values["guests"] ?? ""))
    }

    /// What the journal keeps.
    var state: StagedState {
        var values = [
            "live": live, "staged": staged, "live_inode": exchange.liveInode.map { "\($0)" } ?? "none",
        ]
        if !guests.isEmpty { values["guests"] = guests.encoded }
        return StagedState(values)
    }

    /// Takes out of the staged data what belongs to others there (an older snapshot may hold it), and makes the folders
    /// they need.
    func makeRoomForGuests() throws { try guests.makeRoom(staged, like: live) }

    /// Removes what an interrupted staging of the same restore left, and makes the folders above that are missing.
    func prepareStaging() throws {
        if try stagedInode() != nil { throw LifeboatError("volume '\(live)' is staged already at '\(staged)'") }
        try removeStaged()
        try VolumePlace.makeFolders(above: staged)
    }

    /// Says that the staged data are whole. They must be durable already.
    func markStaged() throws {
        guard let inode = try InodeExchange.inode(staged) else {
            throw SystemCallError("open", staged, errorNumber: ENOENT)
        }
        try marker.write([inode])
    }

    /// Whether the staging is complete.
    func isStaged() throws -> Bool { try stagedInode() != nil }

    /// Whether the restored data is the live one.
    func isSwapped() throws -> Bool {
        guard let new = try stagedInode() else { return false }
        return try InodeExchange.inode(live) == new
    }

    func swap() throws {
        guard let new = try stagedInode() else {
            throw LifeboatError("volume '\(live)' cannot be swapped", causes: ["its staging is not complete"])
        }
        try exchange.swap(new)
    }

    func swapBack() throws {
        // Never staged as a whole: never swapped.
        guard let new = try stagedInode() else { return }
        try exchange.swapBack(new)
    }

    func discard() throws {
        try exchange.prepareRemoval(try stagedInode())
        try removeStaged()
        try marker.remove()
    }

    private func removeStaged() throws {
        let place = try VolumePlace(staged)
        guard place.path == staged else {
            throw exchange.unknownState(try InodeExchange.inode(live), try InodeExchange.inode(staged))
        }
        try TreeRemoval.remove(staged)
    }

    /// From the marker; nil when the staging is not complete.
    private func stagedInode() throws -> UInt64? { try marker.read()?.first }
}
