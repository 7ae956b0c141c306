// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Staging, exchange and removal of paths of a volume, provable at any moment, also by a later process: each is an
/// `InodeExchange` with its place in one staging folder.
///
/// What is exchanged is a path itself, or, where folders it is in do not exist in the live volume, the topmost of these:
/// the staging folder has them with all that belongs to them, so that one rename makes them and one takes them back.
struct VolumePartsSwap {
    /// The live volume.
    let live: String
    /// The folder with the staged paths, and after the swap the old ones.
    let staged: String
    /// Below the volume; empty: the volume itself, which does not exist.
    private let units: [String]
    private let exchanges: [InodeExchange]
    private let guests: VolumeGuests

    private var marker: StagingMarker { StagingMarker(path: "\(staged).staged") }

    /// Where the staging folder lies when it can be nowhere but in the volume: no part of a capture.
    static let pattern = "/\(mark)*"
    private static let mark = ".lifeboat-parts-"

    private init(live: String, staged: String, _ units: [String], _ inodes: [UInt64?], _ guests: VolumeGuests) {
        self.live = live
        self.staged = staged
        self.units = units
        self.guests = guests
        exchanges = zip(units, inodes).map { unit, inode in
            InodeExchange(
                noun: "path", live: Self.path(live, unit), staged: Self.path(staged, unit), liveInode: inode,
                guests: guests.below(unit))
        }
    }

    private static func path(_ root: String, _ unit: String) -> String { unit.isEmpty ? root : "\(root)/\(unit)" }

    /// Beside the volume, so that nobody who uses it sees what is staged; in it when it is a mount point.
    static func place(of volume: VolumePlace, _ restoreID: String) throws -> String {
        try VolumePlace.mountPoints().contains(volume.path)
            ? "\(volume.path)/\(mark)\(restoreID)" : DerivedName.beside(volume.path, restoreID)
    }

    static func plan(
        _ volume: VolumePlace, _ restoreID: String, _ paths: [String], _ guests: VolumeGuests
    ) throws -> VolumePartsSwap {
        guard !restoreID.isEmpty, !restoreID.utf8.contains(0x2F) else {
            throw LifeboatError("'\(restoreID)' cannot be part of a folder's name")
        }
        var units: [String] = []
        for path in paths {
            if let owner = guests.owner(of: path) {
                throw LifeboatError(
                    "path '\(path)' of folder '\(volume.path)' cannot be restored with it",
                    causes: ["'\(owner)' belongs to another component of the policy"],
                    hint: "Restore that component.", exitCode: .usage)
            }
            let unit = try unit(path, in: volume.path)
            if !units.contains(unit) { units.append(unit) }
        }
        let staged = try place(of: volume, restoreID)
        if try InodeExchange.inode(staged) != nil {
            throw LifeboatError(
                "there is something at '\(staged)' already", hint: "Look at it, and remove it if it is a leftover.")
        }
        let inodes = try units.map { try InodeExchange.inode(Self.path(volume.path, $0)) }
        return VolumePartsSwap(live: volume.path, staged: staged, units, inodes, guests)
    }

    /// The path, or the topmost folder on the way to it that does not exist. Links in the volume are not followed.
    private static func unit(_ path: String, in root: String) throws -> String {
        var unit = ""
        for name in path.split(separator: "/") {
            let folder = self.path(root, unit)
            guard let status = try status(folder) else { return unit }
            guard status.isFolder else {
                throw LifeboatError(
                    "path '\(path)' cannot be restored into folder '\(root)'",
                    causes: ["'\(folder)' is no folder there now"],
                    hint: unit.isEmpty ? "Restore the component as a whole." : "Restore '\(unit)' as a whole.")
            }
            unit = unit.isEmpty ? String(name) : "\(unit)/\(name)"
        }
        return unit
    }

    /// Nil when there is nothing.
    private static func status(_ path: String) throws(SystemCallError) -> FileStatus? {
        do throws(Errno) {
            return try FileStatus.at(AT_FDCWD, path)
        } catch {
            if error.number == ENOENT { return nil }
            throw SystemCallError("examine", path, errorNumber: error.number)
        }
    }

    init(_ state: StagedState) throws {
        let values = state.values
        guard let live = values["live"], let staged = values["staged"],
            DerivedName.isBeside(staged, live) || staged.hasPrefix("\(live)/\(Self.mark)"),
            let paths = values["paths"], let numbers = values["live_inodes"]
        else { throw Self.unreadable }
        let units = paths.split(separator: "\0", omittingEmptySubsequences: false).map(String.init)
        let inodes = numbers.split(separator: " ")
        guard units.count == inodes.count, inodes.allSatisfy({ $0 == "none" || UInt64($0) != nil }) else {
            throw Self.unreadable
        }
        self.init(
            live: live, staged: staged, units, inodes.map { UInt64($0) }, VolumeGuests(encoded: values["guests"] ?? ""))
    }

    private static let unreadable = LifeboatError("the journal does not say where the staged paths of a volume are")

    /// What the journal keeps.
    var state: StagedState {
        var values = [
            "live": live, "staged": staged, "paths": units.joined(separator: "\0"),
            "live_inodes": exchanges.map { $0.liveInode.map { "\($0)" } ?? "none" }.joined(separator: " "),
        ]
        if !guests.isEmpty { values["guests"] = guests.encoded }
        return StagedState(values)
    }

    // MARK: - Preflight

    /// That everything can be exchanged: no mount points in the way, all on one file system, rights to write.
    func checkPlaces() throws {
        let points = try VolumePlace.mountPoints()
        let beside = RootPlace(staged).parent
        for exchange in exchanges {
            let folder = RootPlace(exchange.live).parent
            for path in [exchange.live, folder] {
                try ExchangeFlags.check(path, way: "restore the whole component with --in-place")
            }
            for point in points where point == exchange.live || point.hasPrefix("\(exchange.live)/") {
                throw LifeboatError(
                    "'\(exchange.live)' cannot be exchanged", causes: ["'\(point)' is a mount point"],
                    hint: "Unmount '\(point)' for the time of the restore, or restore with --to DIR.")
            }
            guard try Self.status(folder)?.volume == Self.status(beside)?.volume else {
                throw LifeboatError(
                    "'\(exchange.live)' cannot be exchanged",
                    causes: ["it is on another file system than '\(beside)', where it would be staged"],
                    hint: "Restore it with --to DIR to a folder on its file system, then move it.")
            }
            for place in [folder, beside] where access(place, W_OK | X_OK) != 0 {
                throw SystemCallError("write to", place)
            }
        }
    }

    // MARK: - Staging

    /// Removes what an interrupted staging of the same restore left.
    func prepareStaging() throws {
        if try marker.read() != nil { throw LifeboatError("paths of '\(live)' are staged already at '\(staged)'") }
        try TreeRemoval.remove(staged)
    }

    /// Makes the staged objects fit for the exchange. Returns what is not as in the snapshot then.
    func allowExchange() -> [LifeboatError] {
        exchanges.compactMap { ExchangeFlags.clear($0.staged, live: $0.live) }
    }

    /// Takes out of the staged data what belongs to others there (an older snapshot may hold it), and makes the folders
    /// they need.
    func makeRoomForGuests() throws {
        for exchange in exchanges { try exchange.guests.makeRoom(exchange.staged, like: exchange.live) }
    }

    /// Says that the staged data are whole. They must be durable already.
    func markStaged() throws {
        try marker.write(
            exchanges.map { exchange in
                guard let inode = try InodeExchange.inode(exchange.staged) else {
                    throw SystemCallError("open", exchange.staged, errorNumber: ENOENT)
                }
                return inode
            })
    }

    // MARK: - Exchange

    func swap() throws {
        guard let new = try stagedInodes() else {
            throw LifeboatError("paths of '\(live)' cannot be swapped", causes: ["their staging is not complete"])
        }
        for (exchange, inode) in zip(exchanges, new) {
            try checkWay(to: exchange)
            try exchange.swap(inode)
        }
    }

    func swapBack() throws {
        // Never staged as a whole: never swapped.
        guard let new = try stagedInodes() else { return }
        for (exchange, inode) in zip(exchanges, new).reversed() {
            try checkWay(to: exchange)
            try exchange.swapBack(inode)
        }
    }

    func discard() throws {
        let new = try stagedInodes()
        for (position, exchange) in exchanges.enumerated() { try exchange.prepareRemoval(new?[position]) }
        try TreeRemoval.remove(staged)
        try marker.remove()
    }

    /// A folder on the way that was replaced by a link since the restore was planned would lead out of the volume.
    private func checkWay(to exchange: InodeExchange) throws {
        let folder = RootPlace(exchange.live).parent
        let resolved: String
        do throws(SystemCallError) {
            resolved = try VolumePlace.resolved(folder)
        } catch {
            // Nothing is there that could be exchanged: the exchange says which.
            if error.errorNumber == ENOENT || error.errorNumber == ENOTDIR { return }
            throw error
        }
        guard resolved == folder else {
            throw LifeboatError(
                "'\(exchange.live)' cannot be exchanged", causes: ["'\(folder)' is '\(resolved)' now"],
                hint: "Put the folder back where the link is, then try again.")
        }
    }

    private func stagedInodes() throws -> [UInt64]? {
        guard let inodes = try marker.read() else { return nil }
        guard inodes.count == exchanges.count else {
            throw LifeboatError(
                "'\(marker.path)' is damaged", hint: "Look at '\(staged)' and its counterparts before you remove any.")
        }
        return inodes
    }
}
