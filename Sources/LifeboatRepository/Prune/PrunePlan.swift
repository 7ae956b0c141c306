// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// How much a prune may do.
package struct PruneOptions: Sendable, Equatable {
    /// Wasted bytes that are left in packs, as a share of all that is kept.
    package var maximumUnused = 0.05
    /// Packs that are partly used stay as they are.
    package var repacks = true
    /// Seconds between condemning and deleting.
    package var grace = 12.0 * 3600
    /// Seconds to wait for leases to end.
    package var wait = 0.0
    /// Even when the number of snapshots or packs fell unexpectedly.
    package var force = false
    package var dryRun = false
    /// Packs to move whatever they waste, and no others: those for other readers than today's. Nil in a prune.
    package var rewrap: Set<Digest>?
    package var leases = LeaseSettings()

    package init() {}
}

/// What a prune would do or did first: a value, printable.
package struct PrunePlan: Sendable, Equatable {
    package struct Packs: Sendable, Equatable, Encodable {
        package var count = 0
        package var bytes: UInt64 = 0

        package init() {}

        mutating func add(_ pack: PackUse) {
            count += 1
            bytes += pack.size ?? 0
        }
    }

    /// Names for the executor, in the order it takes them.
    package var delete: [Digest] = []
    package var condemn: [Digest] = []
    package var repack: [Digest] = []
    /// Indexes that are written anew: they name packs that are gone or go, or there are too many small ones.
    package var indexes: [Digest] = []

    package var deleted = Packs()
    /// Nothing needs them; condemned now.
    package var unused = Packs()
    /// Partly used; their chunks move to new packs, and they are condemned.
    package var repacked = Packs()
    /// Bytes of the repacked ones that move.
    package var movedBytes: UInt64 = 0
    /// Condemned already, and not to be deleted yet.
    package var waiting = Packs()
    /// Unused, but maybe written by a backup that runs.
    package var postponed = Packs()
    package var kept = Packs()
    /// Wasted bytes in those that are kept.
    package var wastedBytes: UInt64 = 0
    /// Chunks that are stored anew, since what they are deltas of takes space nobody else needs, and the bytes that
    /// are freed so, by estimate.
    package var rewrittenChunks = 0
    package var rewrittenBytes: UInt64 = 0
    /// Bytes of all deltas that would be free if they were stored anew, by estimate.
    package var excessBytes: UInt64 = 0
}

/// Makes plans. Pure.
enum PrunePlanner {
    /// Index files below this many chunks are merged…
    static let smallIndex = 32_768
    /// … when there are so many of them, into indexes of up to this many chunks.
    static let mergeableIndexes = 16
    static let chunksPerMergedIndex = 131_072

    static func plan(
        _ survey: PruneSurvey, _ memory: PruneMemory, _ options: PruneOptions, now: MeasuredMoment
    ) -> PrunePlan {
        var plan = PrunePlan()
        let leases = Set(survey.liveLeases.map(\.id))
        var cleared: Set<Digest> = []
        for batch in memory.batches {
            guard
                PruneRules.isCleared(
                    leasesThen: Set(batch.leases), leasesNow: leases, waited: batch.age.seconds(at: now),
                    grace: options.grace)
            else { continue }
            cleared.formUnion(batch.packs)
        }
        let backupsRun = survey.liveLeases.contains { $0.kind == .backup }
        let isOlder = leases.isDisjoint(with: memory.leasesThen)
        let known = isOlder ? Set(memory.listedPacks) : []
        var partly: [PackUse] = []
        for pack in survey.packs where pack.size != nil {
            if pack.isCondemned {
                if PruneRules.mayDelete(
                    isCondemned: true, isCleared: cleared.contains(pack.name), isNeeded: pack.isNeeded,
                    readersRun: !survey.readers.isEmpty)
                {
                    plan.delete.append(pack.name)
                    plan.deleted.add(pack)
                } else {
                    plan.waiting.add(pack)
                    // Still needed: what is needed moves, so that the pack can go one day.
                    if pack.isNeeded, options.repacks { plan.movedBytes += pack.neededBytes }
                }
            } else if PruneRules.mayCondemn(
                isNeeded: pack.isNeeded, backupsRun: backupsRun, isOlderThanTheirLeases: known.contains(pack.name))
            {
                plan.condemn.append(pack.name)
                plan.unused.add(pack)
            } else if !pack.isNeeded {
                plan.postponed.add(pack)
            } else {
                plan.kept.add(pack)
                plan.wastedBytes += pack.wastedBytes
                partly.append(pack)
            }
        }
        plan.excessBytes = survey.selection.families.reduce(0) { $0 + $1.excess }
        if let rewrap = options.rewrap {
            for pack in partly where rewrap.contains(pack.name) { move(pack, &plan) }
        } else if options.repacks {
            chooseRepacks(partly, options, &plan)
        }
        plan.indexes = indexesToRewrite(survey, plan)
        return plan
    }

    /// The most wasteful packs, until what is left is within the limit.
    private static func chooseRepacks(_ packs: [PackUse], _ options: PruneOptions, _ plan: inout PrunePlan) {
        func share(_ pack: PackUse) -> Double { Double(pack.wastedBytes) / Double(max(1, pack.frameBytes)) }
        let needed = packs.reduce(0.0) { $0 + Double($1.neededBytes) }
        let limit = needed * options.maximumUnused - Double(plan.excessBytes)
        for pack in packs.sorted(by: { (share($1), $0.name) < (share($0), $1.name) }) {
            guard Double(plan.wastedBytes) > limit, pack.wastedBytes > 0 else { break }
            move(pack, &plan)
        }
    }

    /// The families that waste the largest share of what they take, until what all waste is within half of the limit,
    /// which the unused bytes of packs share.
    static func familiesToRewrite(_ survey: PruneSurvey, _ options: PruneOptions) -> [DeltaFamily] {
        let families = survey.selection.families
        let needed = survey.packs.reduce(0.0) { $0 + Double($1.neededBytes) }
        var excess = families.reduce(0.0) { $0 + Double($1.excess) }
        var chosen: [DeltaFamily] = []
        for family in families.sorted(by: { ($0.share, $0.bytes) > ($1.share, $1.bytes) }) {
            guard excess > needed * options.maximumUnused / 2, family.excess > 0 else { break }
            chosen.append(family)
            excess -= Double(family.excess)
        }
        return chosen
    }

    /// A pack that was to be kept is rewritten.
    private static func move(_ pack: PackUse, _ plan: inout PrunePlan) {
        plan.repack.append(pack.name)
        plan.repacked.add(pack)
        plan.movedBytes += pack.neededBytes
        plan.kept.count -= 1
        plan.kept.bytes -= pack.size ?? 0
        plan.wastedBytes -= pack.wastedBytes
    }

    private static func indexesToRewrite(_ survey: PruneSurvey, _ plan: PrunePlan) -> [Digest] {
        let going = Set(plan.delete)
        var dirty: [Digest] = []
        var small: [Digest] = []
        for (number, index) in survey.indexes.all.enumerated() {
            let names = survey.packNumbers[number].map { survey.packs[$0] }
            if names.contains(where: { going.contains($0.name) || isDroppable($0) }) {
                dirty.append(index.name)
            } else if index.chunkCount < smallIndex {
                small.append(index.name)
            }
        }
        return small.count >= mergeableIndexes ? dirty + small : dirty
    }

    /// Indexes need not name it any more: it is gone, and nothing misses it.
    static func isDroppable(_ pack: PackUse) -> Bool { pack.size == nil && !pack.isNeeded }
}
