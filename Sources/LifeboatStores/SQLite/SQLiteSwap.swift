// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Exchange of a database file together with the files SQLite keeps beside it: a log or journal left at the live path
/// would be played into the restored database.
///
/// The old database's sidecars move to the staged name before the exchange, so that what is aside is whole; those the
/// restored database gets once its program runs move away before it is exchanged back. Which database is live, told by
/// its inode, says whose sidecars are whose: every step can be repeated after a crash anywhere.
struct SQLiteSwap {
    /// Rollback journal, write-ahead log and the shared memory that goes with it.
    static let sidecars = ["-journal", "-wal", "-shm"]

    private let main: VolumeSwap

    /// The live path.
    var live: String { main.live }
    /// Where the restored database is, and after the swap the old one.
    var staged: String { main.staged }
    /// Where the sidecars of the restored database go when it is exchanged back.
    private var aside: String { "\(staged).new" }

    private init(main: VolumeSwap) { self.main = main }

    init(_ state: StagedState) throws { main = try VolumeSwap(state) }

    static func plan(_ place: VolumePlace, _ restoreID: String) throws -> SQLiteSwap {
        SQLiteSwap(main: try VolumeSwap.plan(place, restoreID))
    }

    var state: StagedState { main.state }

    func prepareStaging() throws { try main.prepareStaging() }

    func markStaged() throws { try main.markStaged() }

    func swap() throws {
        guard try main.isStaged() else {
            throw LifeboatError("database '\(live)' cannot be swapped", causes: ["its staging is not complete"])
        }
        if try !main.isSwapped() {
            try checkUnused()
            try moveSidecars(live, staged)
        }
        try main.swap()
        try moveSidecars(aside, live)
    }

    func swapBack() throws {
        if try main.isSwapped() {
            try checkUnused()
            try moveSidecars(live, aside)
        }
        try main.swapBack()
        try moveSidecars(staged, live)
    }

    func discard() throws {
        if try main.isSwapped() {
            // While the marker still says so: after it is gone nothing tells whose these are.
            for suffix in Self.sidecars { try remove(staged + suffix) }
        } else {
            try moveSidecars(staged, live)
        }
        for suffix in Self.sidecars { try remove(aside + suffix) }
        try main.discard()
    }

    /// A program that has the database open would go on writing to the file that is put aside.
    private func checkUnused() throws {
        guard access(live, F_OK) == 0 else { return }
        let user: String
        switch try HotJournalCopy.lockHolder(live) {
        case .nobody: return
        case .process(let id): user = "process \(id)"
        case .unknown: user = "another program"
        }
        throw LifeboatError(
            "database '\(live)' is in use", causes: ["\(user) holds a lock on it"],
            hint: "Stop the program, or name it under 'services' in the policy, so that a restore stops it.")
    }

    private func moveSidecars(_ old: String, _ new: String) throws {
        var moved = false
        for suffix in Self.sidecars where access(old + suffix, F_OK) == 0 {
            guard try Rename.withoutReplacing(old + suffix, to: new + suffix) else {
                throw LifeboatError(
                    "'\(old + suffix)' cannot be moved to '\(new + suffix)'", causes: ["there is something already"],
                    hint: "Both are kept. Find out which of them belongs to '\(live)' and move the other away.")
            }
            moved = true
        }
        if moved { try AtomicFile.synchronizeFolder(of: live) }
    }

    private func remove(_ path: String) throws {
        guard unlink(path) == 0 || errno == ENOENT else { throw SystemCallError("remove", path) }
    }
}
