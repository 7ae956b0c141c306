// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO
import LifeboatStorage

/// What a prune did.
package struct PruneOutcome: Sendable {
    /// What was found and decided first.
    package var plan: PrunePlan
    package var deleted = PrunePlan.Packs()
    package var condemned = PrunePlan.Packs()
    /// Condemned packs that are still there.
    package var waiting = PrunePlan.Packs()
    package var packsWritten = 0
    package var bytesWritten: UInt64 = 0
    package var indexesRewritten = 0
    package var snapshots = 0
    /// Leases that keep condemned packs from being deleted: `backup on host 'a'`.
    package var waitsFor: [String] = []
    package var warnings: [LifeboatError] = []
    /// Damage that was found: exit code 13.
    package var problems: [LifeboatError] = []
    package var seconds = 0.0
}

/// Deletes what no snapshot needs, in two phases: docs/decisions/0007-two-phase-deletion.md. Safe beside backups,
/// restores and other prunes of any host, and to be killed at any moment. Blocking; one run per instance.
package struct Pruner {
    private let repository: Repository
    private let host: String
    private let options: PruneOptions
    private let clock: any Clock
    private let progress: any ProgressSink
    private let cancellation: Cancellation

    package init(
        _ repository: Repository, host: String, options: PruneOptions, clock: any Clock, progress: any ProgressSink,
        cancellation: Cancellation
    ) {
        self.repository = repository
        self.host = host
        self.options = options
        self.clock = clock
        self.progress = progress
        self.cancellation = cancellation
    }

    package func run() throws -> PruneOutcome {
        let begin = clock.monotonicSeconds()
        let lease = options.dryRun ? nil : try takeLease()
        defer { lease?.release() }
        let watch = LeaseWatch(repository: repository, settings: options.leases, own: lease?.record.id)
        let surveyor = PruneSurveyor(
            repository: repository, watch: watch, progress: progress, cancellation: cancellation,
            writes: !options.dryRun)
        let boot = try ProcessIdentity.current().bootID
        let moment = { MeasuredMoment(boot: boot, monotonic: clock.monotonicSeconds()) }
        var memory = PruneMemory.load(repository)

        progress.report(.phaseStarted(name: "survey", detail: nil))
        var survey = try surveyor.survey(&memory, moment)
        try refuseUnexpectedLoss(survey, memory)
        if !options.dryRun { try refuseSecondPrune(survey) }
        noteBatches(survey.marks, survey.liveLeases, &memory, now: moment())
        var plan = PrunePlanner.plan(survey, memory, options, now: moment())
        var outcome = PruneOutcome(plan: plan)
        outcome.snapshots = survey.snapshotCount
        outcome.waiting = plan.waiting
        if options.dryRun {
            if options.repacks {
                let families = PrunePlanner.familiesToRewrite(survey, options)
                outcome.plan.rewrittenChunks = survey.selection.rewrites(families).count
                outcome.plan.rewrittenBytes = families.reduce(0) { $0 + $1.excess }
            }
            outcome.seconds = clock.monotonicSeconds() - begin
            return outcome
        }

        try delete(plan, survey, &outcome)
        if options.repacks, try rewrite(&survey, &plan, memory, now: moment(), &outcome) { outcome.plan = plan }
        let condemned = try condemn(plan, survey, &outcome)
        try noteNewMarks(condemned, watch, &memory, moment)
        try memory.save(repository)
        var last = survey
        if !condemned.isEmpty || outcome.waiting.count > 0 {
            last = try finishWaiting(surveyor, &memory, moment, &outcome) ?? last
        }
        for key in last.strays { _ = try repository.store.delete(key) }
        try remember(watch, &memory, last, moment)
        outcome.seconds = clock.monotonicSeconds() - begin
        return outcome
    }

    /// On a full disk there is no room for a lease: a prune is safe without, only not seen by others.
    private func takeLease() throws -> Lease? {
        do {
            return try Lease.take(.prune, repository, host: host, settings: options.leases)
        } catch let error as StorageError where error.kind == .full {
            return nil
        }
    }

    /// Two at once are safe; the second only repeats what the first does.
    private func refuseSecondPrune(_ survey: PruneSurvey) throws {
        guard let other = survey.liveLeases.first(where: \.excludesPrune) else { return }
        throw other.busy(options.leases)
    }

    /// A listing that shows too little, a folder that was not mounted, somebody's rm: none of them may look like a
    /// repository that needs nothing.
    private func refuseUnexpectedLoss(_ survey: PruneSurvey, _ memory: PruneMemory) throws {
        guard !options.force else { return }
        let present = survey.packs.count { $0.size != nil }
        let hint = "Look with 'lifeboat snapshots' and 'lifeboat check'; if all is as it should be, add --force."
        if survey.snapshotCount == 0, present > 0 {
            throw LifeboatError(
                "the repository holds \(present) packs and no snapshot: prune would delete everything", hint: hint)
        }
        if !survey.gone.isEmpty {
            throw LifeboatError(
                "snapshots are gone that retention did not remove, and prune would delete what only they need",
                causes: survey.gone,
                hint: "Bring them back from a copy of the repository. If there is none, 'lifeboat repair --snapshots' "
                    + "notes that they are lost; or add --force.", exitCode: .damagedRepository)
        }
        let lost = unexplainedLoss(survey, memory)
        if lost * 2 > memory.snapshots {
            throw LifeboatError(
                "more than half of the snapshots are gone since the last prune on this host, and no list says that "
                    + "they were forgotten",
                causes: ["there were \(memory.snapshots), and \(lost) of them are gone so"], hint: hint)
        }
    }

    /// Snapshots that there were when the last prune on this host ended, that are not there any more, and that no
    /// signed list names. Of packs nobody has to ask: every one that a snapshot needs was found.
    private func unexplainedLoss(_ survey: PruneSurvey, _ memory: PruneMemory) -> Int {
        guard let known = memory.snapshotIDs else {
            return max(0, memory.snapshots - survey.snapshotCount - survey.forgotten.count)
        }
        return known.count { !survey.snapshots.contains($0) && !survey.forgotten.contains($0) }
    }

    // MARK: - Deleting

    /// Deletes what is cleared: indexes first, so that no index names what is gone; on a full disk the other way
    /// round, which the marks of condemnation make safe.
    private func delete(_ plan: PrunePlan, _ survey: PruneSurvey, _ outcome: inout PruneOutcome) throws {
        let going = Set(plan.delete)
        let dropped = going.union(survey.packs.filter(PrunePlanner.isDroppable).map(\.name))
        let rewriter = IndexRewriter(repository: repository)
        var indexesDone = false
        progress.report(.phaseStarted(name: "delete", detail: nil))
        do {
            try rewriter.rewrite(plan.indexes, of: survey.indexes, dropping: dropped)
            indexesDone = true
        } catch let error as StorageError where error.kind == .full {
            guard !going.isEmpty else {
                outcome.warnings.append(error.lifeboatError.wrapped("the indexes were not tidied: the store is full"))
                return
            }
        }
        for name in plan.delete {
            try cancellation.check()
            _ = try repository.delete(RepositoryLayout.pack(name))
            outcome.deleted.count += 1
            outcome.deleted.bytes += survey.numbers[name].flatMap { survey.packs[$0].size } ?? 0
        }
        if !indexesDone {
            do {
                try rewriter.rewrite(plan.indexes, of: survey.indexes, dropping: dropped)
                indexesDone = true
            } catch let error as StorageError where error.kind == .full {
                // The marks stay, so nobody takes what the indexes still name for lost.
                outcome.warnings.append(error.lifeboatError.wrapped("the indexes were not tidied: the store is full"))
            }
        }
        guard indexesDone else { return }
        outcome.indexesRewritten += plan.indexes.count
        for mark in survey.marks {
            let pack = survey.numbers[mark].map { survey.packs[$0] }
            guard
                PruneRules.mayForget(
                    isPresent: pack?.size != nil && !going.contains(mark),
                    isNamedByIndex: (pack?.isIndexed ?? false) && !dropped.contains(mark))
            else { continue }
            _ = try repository.store.delete(RepositoryLayout.condemned(mark))
        }
    }

    // MARK: - Storing anew

    /// Stores chunks anew that are deltas of chunks nobody needs, or of which condemned packs alone have what they rest
    /// on; surveys and plans again what that makes unused. False when there are none.
    private func rewrite(
        _ survey: inout PruneSurvey, _ plan: inout PrunePlan, _ memory: PruneMemory, now: MeasuredMoment,
        _ outcome: inout PruneOutcome
    ) throws -> Bool {
        let families = PrunePlanner.familiesToRewrite(survey, options)
        let chunks = survey.selection.rewrites(families)
        guard !chunks.isEmpty else { return false }
        progress.report(.phaseStarted(name: "repack", detail: nil))
        do {
            let result = try ChunkRewriter(
                repository, survey, cancellation: cancellation, progress: progress
            ).run(chunks)
            outcome.problems += result.problems
            guard !result.packs.isEmpty else { return false }
            outcome.packsWritten += result.packs.count
            outcome.bytesWritten += result.packs.reduce(0) { $0 + $1.storedSize }
            try survey.add(result.packs, repository.storeIndex(result.packs))
        } catch let error as StorageError where error.kind == .full {
            noteFull(error, &outcome)
            return false
        }
        // What was deleted is gone.
        for name in plan.delete {
            if let number = survey.numbers[name] { survey.packs[number].size = nil }
        }
        var next = PrunePlanner.plan(survey, memory, options, now: now)
        // To be deleted after it was looked at once more.
        for name in next.delete {
            if let pack = survey.numbers[name].map({ survey.packs[$0] }) { next.waiting.add(pack) }
        }
        next.delete = plan.delete
        next.deleted = plan.deleted
        next.rewrittenChunks = chunks.count
        next.rewrittenBytes = families.reduce(0) { $0 + $1.excess }
        plan = next
        outcome.waiting = plan.waiting
        return true
    }

    private func noteFull(_ error: StorageError, _ outcome: inout PruneOutcome) {
        outcome.warnings.append(
            error.lifeboatError.wrapped(
                "partly used packs stay as they are: the store is full",
                hint: "Run prune again once the unused packs are deleted."))
    }

    // MARK: - Condemning

    /// Moves what is needed out of wasteful packs, then marks them and the unused ones. Gives the marked packs.
    private func condemn(
        _ plan: PrunePlan, _ survey: PruneSurvey, _ outcome: inout PruneOutcome
    ) throws -> [Digest] {
        var packs: [Digest] = []
        if options.repacks, !plan.repack.isEmpty || !survey.selection.moves.isEmpty {
            progress.report(.phaseStarted(name: "repack", detail: nil))
            do {
                var rest = plan.repack[...]
                var isFirst = true
                repeat {
                    // What a step moved is condemned at once: a run that is ended later need not move it again.
                    let step = Self.nextStep(&rest, survey)
                    let result = try Repacker(repository: repository, cancellation: cancellation, progress: progress)
                        .run(step, survey, leavesCondemned: isFirst)
                    isFirst = false
                    outcome.packsWritten += result.written.count
                    outcome.bytesWritten += result.written.reduce(0) { $0 + $1.storedSize }
                    outcome.problems += result.problems
                    try mark(result.moved, survey, &outcome)
                    packs += result.moved
                } while !rest.isEmpty
            } catch let error as StorageError where error.kind == .full {
                noteFull(error, &outcome)
            }
        }
        progress.report(.phaseStarted(name: "condemn", detail: nil))
        try mark(plan.condemn, survey, &outcome)
        packs += plan.condemn
        outcome.waiting.count += outcome.condemned.count
        outcome.waiting.bytes += outcome.condemned.bytes
        return packs
    }

    /// Stored bytes that are moved before their packs are condemned, at least.
    private static let stepBytes: UInt64 = 1 << 30

    /// Takes the packs of the next step off `rest`.
    private static func nextStep(_ rest: inout ArraySlice<Digest>, _ survey: PruneSurvey) -> [Digest] {
        var step: [Digest] = []
        var bytes: UInt64 = 0
        while bytes < stepBytes, let name = rest.popFirst() {
            step.append(name)
            bytes += survey.numbers[name].flatMap { survey.packs[$0].size } ?? 0
        }
        return step
    }

    private func mark(_ packs: [Digest], _ survey: PruneSurvey, _ outcome: inout PruneOutcome) throws {
        for name in packs {
            // Empty, so that it fits on a full disk, and anybody may read it without a key.
            _ = try repository.store.putIfAbsent(RepositoryLayout.condemned(name), [])
            if let pack = survey.numbers[name].map({ survey.packs[$0] }) { outcome.condemned.add(pack) }
        }
    }

    /// Looks again, and deletes what is cleared by then, until nothing waits or the time is over. Nil when there was
    /// no reason to look.
    private func finishWaiting(
        _ surveyor: PruneSurveyor, _ memory: inout PruneMemory, _ moment: () -> MeasuredMoment,
        _ outcome: inout PruneOutcome
    ) throws -> PruneSurvey? {
        let begin = clock.monotonicSeconds()
        var last: PruneSurvey?
        while true {
            try cancellation.check()
            let shortest = memory.batches.map { options.grace - $0.age.seconds(at: moment()) }.min() ?? 0
            let left = options.wait - (clock.monotonicSeconds() - begin)
            if shortest > 0 {
                // Grace cannot end within the time there is: do not look in vain.
                guard shortest <= left else { return last }
                clock.sleep(seconds: min(shortest, 1))
                continue
            }
            progress.report(.phaseStarted(name: "survey", detail: "again"))
            let survey = try surveyor.survey(&memory, moment)
            last = survey
            noteBatches(survey.marks, survey.liveLeases, &memory, now: moment())
            var plan = PrunePlanner.plan(survey, memory, options, now: moment())
            plan.condemn = []
            plan.repack = []
            try delete(plan, survey, &outcome)
            outcome.waiting = plan.waiting
            let blockers = survey.liveLeases.filter { $0.kind != .prune }
            outcome.waitsFor = plan.waiting.count > 0 ? Set(blockers.map(\.described)).sorted() : []
            guard plan.waiting.count > 0, !blockers.isEmpty, clock.monotonicSeconds() - begin < options.wait else {
                return last
            }
            clock.sleep(seconds: min(1, options.wait))
        }
    }

    // MARK: - Memory

    /// Marks this host did not make count from when it saw them; those that are gone are forgotten.
    private func noteBatches(
        _ marks: Set<Digest>, _ leases: [ObservedLease], _ memory: inout PruneMemory, now: MeasuredMoment
    ) {
        var unknown = marks
        for number in memory.batches.indices {
            memory.batches[number].packs.removeAll { !marks.contains($0) }
            memory.batches[number].age = memory.batches[number].age.carried(to: now)
            unknown.subtract(memory.batches[number].packs)
        }
        memory.batches.removeAll { $0.packs.isEmpty }
        guard !unknown.isEmpty else { return }
        memory.batches.append(
            PruneMemory.Batch(
                packs: unknown.sorted(), leases: leases.filter { $0.kind != .prune }.map(\.id),
                age: ElapsedTime(now)))
    }

    private func noteNewMarks(
        _ packs: [Digest], _ watch: LeaseWatch, _ memory: inout PruneMemory, _ moment: () -> MeasuredMoment
    ) throws {
        guard !packs.isEmpty else { return }
        // After the last mark: whoever could have missed one holds a lease by now, or has ended.
        var sightings = memory.leaseSightings
        let leases = try watch.observe(&sightings, now: moment()).leases.filter { $0.condition != .gone }
        memory.leaseSightings = sightings
        noteBatches(
            Set(packs).union(memory.batches.flatMap(\.packs)), leases, &memory, now: moment())
    }

    /// What the next prune compares with.
    private func remember(
        _ watch: LeaseWatch, _ memory: inout PruneMemory, _ last: PruneSurvey, _ moment: () -> MeasuredMoment
    ) throws {
        let packs = try repository.objects(RepositoryLayout.packPrefix).compactMap {
            RepositoryLayout.packName($0.key)
        }
        var sightings = memory.leaseSightings
        let leases = try watch.observe(&sightings, now: moment()).leases
        memory.leaseSightings = sightings
        memory.snapshots = last.snapshotCount
        memory.snapshotIDs = last.snapshots.sorted()
        memory.packs = packs.count
        memory.listedPacks = packs
        memory.leasesThen = leases.filter { $0.condition == .live && $0.kind == .backup }.map(\.id)
        repository.forgetIndexes(
            except: Set(
                try repository.objects(RepositoryLayout.indexPrefix).compactMap {
                    RepositoryLayout.indexName($0.key)
                }))
        try memory.save(repository)
    }
}
