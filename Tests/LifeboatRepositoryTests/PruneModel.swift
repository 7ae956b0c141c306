// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatRepository

/// The protocol of docs/decisions/0007 as steps over an abstract repository: which steps there are and in which order
/// is written down here once more, every decision is taken by `PruneRules`. `explore` tries all interleavings.
struct PruneModel {
    /// Ways to get it wrong, each of which the exploration has to find.
    enum Mutation: CaseIterable {
        case backupReusesCondemned, pruneIgnoresLeases, pruneDoesNotReadManifestsAgain, pruneDoesNotReadMarksAgain
        case leasesListedBeforeMarks, manifestsReadBeforeLeases, backupDoesNotAnnounce, backupIgnoresBrokenLease
        case deadLeasesAreNotBroken, packNamesRepeat, oneOfCondemnedIsKept
    }

    /// What runs: each takes its steps in order.
    enum Process {
        /// Makes a snapshot that needs one chunk; stores it when it may not reuse it. `again`: the pack it writes
        /// then, or the one with the same bytes when names repeat.
        case backup(chunk: UInt8, newPack: Int, samePack: Int)
        /// Condemns and deletes; when two packs hold a chunk it thinks more of `favourite`. `copies`: moves what is
        /// needed out of this pack first, into another.
        case prune(favourite: Int, copies: (from: Int, to: Int)?)
        /// Removes the manifest of that number.
        case forget(manifest: Int)
    }

    struct History {
        var name: String
        /// Chunks (bits) of each pack at the beginning; 0: not there.
        var packs: [UInt8]
        /// Chunks of each manifest at the beginning; 0: not there. One more for each backup follows.
        var manifests: [UInt8]
        var processes: [Process]
        var crashes: Int
    }

    /// Masks are sets of packs, manifests or processes by number.
    struct Local: Hashable {
        var step = 0
        var over = false
        var marksSeen: UInt16 = 0
        var packsSeen: UInt16 = 0
        var leasesSeen: UInt16 = 0
        var leasesAtMarks: UInt16 = 0
        var ownMarks: UInt16 = 0
        var chunksNeeded: UInt8 = 0
        var packsKept: UInt16 = 0
        var work: UInt16 = 0
        /// 0 first, 1 the look after the marks were made.
        var pass = 0
    }

    struct State: Hashable {
        var packs: [UInt8]
        var marks: UInt16 = 0
        var manifests: [UInt8]
        var leases: UInt16 = 0
        var broken: UInt16 = 0
        var pending: [UInt8]
        var locals: [Local]
        var crashesLeft: Int
    }

    let history: History
    let mutation: Mutation?

    /// Number of states, and the first one found in which a manifest needs a chunk that no pack has.
    func explore() -> (states: Int, violation: State?) {
        let start = State(
            packs: history.packs + Array(repeating: 0, count: 8 - history.packs.count),
            manifests: history.manifests + Array(repeating: 0, count: history.processes.count),
            pending: Array(repeating: 0, count: history.processes.count),
            locals: Array(repeating: Local(), count: history.processes.count), crashesLeft: history.crashes)
        var seen: Set<State> = [start]
        var open = [start]
        while let state = open.popLast() {
            if isViolated(state) { return (seen.count, state) }
            for next in successors(of: state) where seen.insert(next).inserted { open.append(next) }
        }
        return (seen.count, nil)
    }

    private func isViolated(_ state: State) -> Bool {
        let stored = state.packs.reduce(0, |)
        return state.manifests.contains { $0 & ~stored != 0 }
    }

    private func successors(of state: State) -> [State] {
        var result: [State] = []
        for (number, process) in history.processes.enumerated() where !state.locals[number].over {
            switch process {
            case .backup(let chunk, let new, let same):
                result += backup(state, number, chunk: chunk, newPack: mutation == .packNamesRepeat ? same : new)
            case .prune(let favourite, let copies): result += prune(state, number, favourite, copies)
            case .forget(let manifest):
                var next = state
                next.manifests[manifest] = 0
                next.locals[number].over = true
                result.append(next)
            }
            if state.crashesLeft > 0 {
                var crashed = state
                crashed.crashesLeft -= 1
                crashed.locals[number] = Local()
                crashed.locals[number].over = true
                result.append(crashed)
            }
        }
        return result
    }

    // MARK: - Backup

    private func backup(_ state: State, _ number: Int, chunk: UInt8, newPack: Int) -> [State] {
        var next = state
        let own: UInt16 = 1 << UInt16(number)
        func advance() { next.locals[number].step += 1 }
        switch state.locals[number].step {
        case 0: next.leases |= own
        case 1: next.locals[number].marksSeen = state.marks
        case 2:
            next.locals[number].packsSeen = Self.present(state)
        case 3:
            let local = state.locals[number]
            let reusable = state.packs.indices.contains { pack in
                local.packsSeen >> UInt16(pack) & 1 == 1 && contents(pack, state) & chunk != 0
                    && PruneRules.mayReuse(
                        isPresent: true,
                        isCondemned: mutation != .backupReusesCondemned && local.marksSeen >> UInt16(pack) & 1 == 1)
            }
            // Put-if-absent: a pack of that name that is there already is not written.
            if !reusable { next.packs[newPack] |= chunk }
        case 4: if mutation != .backupDoesNotAnnounce { next.pending[number] = chunk }
        case 5:
            if mutation != .backupIgnoresBrokenLease, mutation != .backupDoesNotAnnounce, state.broken & own != 0 {
                next.pending[number] = 0
                next.locals[number].step = 7
                return [next]
            }
        case 6: next.manifests[history.manifests.count + number] = chunk
        case 7: next.pending[number] = 0
        default:
            next.leases &= ~own
            next.locals[number] = Local()
            next.locals[number].over = true
            return [next]
        }
        advance()
        return [next]
    }

    /// What a pack holds as its index says: known also when the pack was deleted since it was listed.
    private func contents(_ pack: Int, _ state: State) -> UInt8 {
        pack < history.packs.count && history.packs[pack] != 0 ? history.packs[pack] : state.packs[pack]
    }

    private static func present(_ state: State) -> UInt16 {
        var mask: UInt16 = 0
        for (pack, chunks) in state.packs.enumerated() where chunks != 0 { mask |= 1 << UInt16(pack) }
        return mask
    }

    // MARK: - Prune

    private func prune(_ state: State, _ number: Int, _ favourite: Int, _ copies: (from: Int, to: Int)?) -> [State] {
        var next = state
        let local = state.locals[number]
        func advanced(_ state: State, to step: Int? = nil) -> State {
            var state = state
            state.locals[number].step = step ?? local.step + 1
            return state
        }
        // The order in which things are looked at; mutations swap it.
        var order = [0, 1, 2, 3]
        if mutation == .manifestsReadBeforeLeases { order = [0, 1, 3, 2] }
        switch local.step {
        case 0...3:
            switch order[local.step] {
            case 0:
                if local.pass == 0 || mutation != .pruneDoesNotReadMarksAgain {
                    next.locals[number].marksSeen = state.marks
                }
                return [advanced(next)]
            case 1:
                next.locals[number].packsSeen = Self.present(state)
                return [advanced(next)]
            case 2: return lookAtLeases(state, number).map { advanced($0) }
            default:
                if local.pass == 0 || mutation != .pruneDoesNotReadManifestsAgain {
                    next.locals[number].chunksNeeded = state.manifests.reduce(0, |) | state.pending.reduce(0, |)
                }
                return [advanced(next)]
            }
        case 4:
            next.locals[number].packsKept = keepers(local, state, favourite)
            if local.pass == 1 {
                next.locals[number].work = deletable(next.locals[number], state)
                return [advanced(next, to: 9)]
            }
            return [advanced(next)]
        case 5:
            // A needed pack is wasteful: what is needed of it moves.
            let kept = local.packsKept
            var unneeded = local.packsSeen & ~local.marksSeen & ~kept
            if let copies, kept >> UInt16(copies.from) & 1 == 1 {
                next.packs[copies.to] |= contents(copies.from, state) & local.chunksNeeded
                unneeded |= 1 << UInt16(copies.from)
            }
            next.locals[number].work = unneeded
            next.locals[number].ownMarks = unneeded
            if mutation == .leasesListedBeforeMarks { next.locals[number].leasesAtMarks = leasesOfBackups(state) }
            return [advanced(next)]
        case 6:
            // One mark a step.
            guard local.work != 0 else { return [advanced(next)] }
            let pack = local.work.trailingZeroBitCount
            next.marks |= 1 << UInt16(pack)
            next.locals[number].work &= ~(1 << UInt16(pack))
            return [next]
        case 7:
            if mutation != .leasesListedBeforeMarks { next.locals[number].leasesAtMarks = leasesOfBackups(state) }
            return [advanced(next)]
        case 8:
            next.locals[number].pass = 1
            return [advanced(next, to: 0)]
        case 9:
            guard local.work != 0 else { return [advanced(next)] }
            let pack = local.work.trailingZeroBitCount
            next.packs[pack] = 0
            next.locals[number].work &= ~(1 << UInt16(pack))
            return [next]
        default:
            // Marks of packs that are gone, as far as this prune saw.
            for pack in state.packs.indices
            where PruneRules.mayForget(isPresent: state.packs[pack] != 0, isNamedByIndex: false) {
                next.marks &= ~(1 << UInt16(pack))
            }
            next.locals[number] = Local()
            next.locals[number].over = true
            return [next]
        }
    }

    private func leasesOfBackups(_ state: State) -> UInt16 { state.leases }

    /// Each lease counts as live, or, rightly or wrongly, as dead: any process may be stopped for any time.
    private func lookAtLeases(_ state: State, _ number: Int) -> [State] {
        var results: [State] = []
        let leases = (0..<history.processes.count).filter { state.leases >> UInt16($0) & 1 == 1 }
        for choice in 0..<(1 << leases.count) {
            var next = state
            var live: UInt16 = 0
            for (position, lease) in leases.enumerated() {
                let mask: UInt16 = 1 << UInt16(lease)
                if choice >> position & 1 == 1 || state.broken & mask != 0 {
                    if mutation != .deadLeasesAreNotBroken { next.broken |= mask }
                } else {
                    live |= mask
                }
            }
            next.locals[number].leasesSeen = live
            results.append(next)
        }
        return results
    }

    private func keepers(_ local: Local, _ state: State, _ favourite: Int) -> UInt16 {
        var kept: UInt16 = 0
        for bit in 0..<8 where local.chunksNeeded >> UInt8(bit) & 1 == 1 {
            let holders = state.packs.indices.filter {
                local.packsSeen >> UInt16($0) & 1 == 1 && contents($0, state) >> UInt8(bit) & 1 == 1
            }
            let choices = PruneRules.keepers(
                among: holders.map { pack in
                    PruneRules.Candidate(
                        name: Self.name(pack), isPresent: true,
                        isCondemned: local.marksSeen >> UInt16(pack) & 1 == 1,
                        neededBytes: pack == favourite ? 2 : 1)
                })
            let keepsOne = mutation == .oneOfCondemnedIsKept && !choices.isEmpty
            for choice in keepsOne ? [choices[min(favourite, choices.count - 1)]] : choices {
                kept |= 1 << UInt16(holders[choice])
            }
        }
        return kept
    }

    private func deletable(_ local: Local, _ state: State) -> UInt16 {
        let ignoresLeases = mutation == .pruneIgnoresLeases
        var result: UInt16 = 0
        for pack in state.packs.indices where local.packsSeen >> UInt16(pack) & 1 == 1 {
            let mask: UInt16 = 1 << UInt16(pack)
            // Marks of others count from when they were first seen: here, in this look.
            let isOwn = local.ownMarks & mask != 0
            let isCleared = PruneRules.isCleared(
                leasesThen: ignoresLeases ? [] : Self.ids(isOwn ? local.leasesAtMarks : local.leasesSeen),
                leasesNow: Self.ids(local.leasesSeen), waited: 0, grace: 0)
            // What was marked in the first pass counts as condemned even for who does not look again.
            let isCondemned = local.marksSeen & mask != 0 || mutation == .pruneDoesNotReadMarksAgain && isOwn
            if PruneRules.mayDelete(
                isCondemned: isCondemned, isCleared: isCleared, isNeeded: local.packsKept & mask != 0, readersRun: false
            ) {
                result |= mask
            }
        }
        return result
    }

    private static func name(_ pack: Int) -> Digest { Digest(bigEndianWords: UInt64(pack), 0, 0, 0) }

    private static let leaseIDs = (0..<8).compactMap { LeaseID(String(repeating: "0", count: 31) + "\($0)") }

    private static func ids(_ mask: UInt16) -> Set<LeaseID> {
        Set(leaseIDs.indices.filter { mask >> UInt16($0) & 1 == 1 }.map { leaseIDs[$0] })
    }
}
