// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatStorage

/// What a prune knows of a pack.
struct PackUse: Sendable, Equatable {
    var name: Digest
    /// Stored bytes; nil when the store does not have it.
    var size: UInt64?
    var isCondemned = false
    /// Some index names it.
    var isIndexed = false
    /// Stored bytes of frames with a chunk that is kept for a manifest's sake here and in no other pack.
    var neededBytes: UInt64 = 0
    var neededChunks = 0
    /// Records of all its chunks.
    var chunks = 0

    init(name: Digest, size: UInt64?) {
        self.name = name
        self.size = size
    }

    var isNeeded: Bool { neededChunks > 0 }
    /// Stored bytes of all frames: the pack without its end and what it may be wrapped in.
    var frameBytes: UInt64 = 0
    var wastedBytes: UInt64 { frameBytes - min(frameBytes, neededBytes) }
}

/// The state of a repository as a prune has to know it, read in the order that the argument for safety rests on:
/// condemned packs, indexes, packs, leases, (dead ones broken), manifests, reading leases.
struct PruneSurvey {
    var indexes: IndexSet
    var packs: [PackUse] = []
    /// Number of a pack by its name.
    var numbers: [Digest: Int] = [:]
    /// Per index: its pack numbers as numbers in `packs`.
    var packNumbers: [[Int]] = []
    /// Per index, per frame: it holds a chunk that is kept for a manifest's sake.
    var usedFrames: [Bitmap] = []
    /// Leases nobody may overlook, by whom they may be held.
    var liveLeases: [ObservedLease] = []
    /// Live leases of kind `read` after the manifests were read.
    var readers: [ObservedLease] = []
    var strays: [ObjectKey] = []
    var snapshots = 0
    /// Snapshots that are not there, though retention did not remove them, and why that is known.
    var gone: [String] = []
    var marks: Set<Digest> = []
}

/// Takes surveys. Blocking; used on one thread.
struct PruneSurveyor {
    let repository: Repository
    let watch: LeaseWatch
    let progress: any ProgressSink
    let cancellation: Cancellation
    /// Off in a dry run: dead leases are not broken.
    let writes: Bool

    /// What looks like damage may be a snapshot that was forgotten, and its packs deleted by another prune, while this
    /// looked. It looks again before it says so, and as long as others go on changing what there is.
    func survey(_ memory: inout PruneMemory, _ moment: () -> MeasuredMoment) throws -> PruneSurvey {
        var seen: Set<ObjectKey>?
        for _ in 1..<Self.attempts {
            do {
                return try surveyOnce(&memory, moment)
            } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                try cancellation.check()
                let now = try Set(
                    [RepositoryLayout.indexPrefix, RepositoryLayout.snapshotPrefix].flatMap {
                        try repository.objects($0).map(\.key)
                    })
                guard now != seen else { throw error }
                seen = now
            }
        }
        return try surveyOnce(&memory, moment)
    }

    /// Bounds what others can make this wait for.
    private static let attempts = 20

    private func surveyOnce(_ memory: inout PruneMemory, _ moment: () -> MeasuredMoment) throws -> PruneSurvey {
        let condemned = try repository.condemnedPacks()
        var survey = PruneSurvey(indexes: try repository.openEachIndex())
        survey.marks = condemned
        try listPacks(&survey, condemned)
        var sightings = memory.leaseSightings
        let leases = try watch.observe(&sightings, now: moment())
        survey.strays = leases.strays
        for lease in leases.leases {
            switch lease.condition {
            case .gone: continue
            case .live: survey.liveLeases.append(lease)
            case .dead:
                if try writes && !watch.breakLease(lease.id) { survey.liveLeases.append(lease) }
            }
        }
        let marks = ChunkMarks(survey.indexes)
        let catalog = try markReferences(marks, announced: leases.announced)
        survey.snapshots = catalog.snapshots.count
        // The lists of what was forgotten after the manifests: each is written before a manifest goes.
        survey.gone = try SnapshotCatalog.chainProblems(
            catalog.snapshots, forgotten: RecordCheck(repository).forgotten(), repository
        ).filter { $0.gone != nil }.map { "snapshot \($0.snapshot.shortHex): \($0.reason)" }
        let after = try watch.observe(&sightings, now: moment())
        survey.readers = after.leases.filter { $0.kind == .read && $0.condition == .live }
        memory.leaseSightings = sightings
        try chooseKeepers(&survey, marks)
        return survey
    }

    private func listPacks(_ survey: inout PruneSurvey, _ condemned: Set<Digest>) throws {
        for object in try repository.objects(RepositoryLayout.packPrefix) {
            guard let name = RepositoryLayout.packName(object.key) else { continue }
            survey.numbers[name] = survey.packs.count
            survey.packs.append(PackUse(name: name, size: object.size))
        }
        for index in survey.indexes.all {
            survey.packNumbers.append(
                (0..<index.packCount).map { position in
                    let pack = index.pack(position)
                    let number: Int
                    if let known = survey.numbers[pack.name] {
                        number = known
                        // Cut short or grown: its chunks cannot be had.
                        if survey.packs[known].size != pack.storedSize { survey.packs[known].size = nil }
                    } else {
                        number = survey.packs.count
                        survey.numbers[pack.name] = number
                        survey.packs.append(PackUse(name: pack.name, size: nil))
                    }
                    survey.packs[number].isIndexed = true
                    return number
                })
            survey.usedFrames.append(Bitmap(count: index.frameCount))
            try countFrames(index, survey.packNumbers[survey.packNumbers.count - 1], &survey)
            index.forgetPages()
        }
        for number in survey.packs.indices where condemned.contains(survey.packs[number].name) {
            survey.packs[number].isCondemned = true
        }
    }

    /// A pack that several indexes name counts as the one that knows most of it says.
    private func countFrames(_ index: MappedIndex, _ numbers: [Int], _ survey: inout PruneSurvey) throws {
        var bytes = [UInt64](repeating: 0, count: index.packCount)
        for number in 0..<index.frameCount {
            let frame = index.frame(number)
            guard frame.pack < index.packCount else {
                throw RepositoryError.damaged(
                    RepositoryLayout.index(index.name).text, "frame \(number) names a pack that is not there")
            }
            bytes[frame.pack] += UInt64(frame.length)
        }
        for (pack, count) in zip(numbers, bytes) {
            survey.packs[pack].frameBytes = max(survey.packs[pack].frameBytes, count)
        }
    }

    /// Marks what manifests, committed and announced, refer to; gives the committed ones.
    private func markReferences(_ marks: ChunkMarks, announced: [ObjectKey]) throws -> SnapshotCatalog {
        let marker = ReferenceMarker(marks, repository, cancellation: cancellation)
        // Announced ones first: one that is committed meanwhile is found either here or there.
        for key in announced {
            do {
                try marker.mark(
                    CanonicalJSON.decode(
                        Manifest.self, from: repository.load(key, limit: Repository.documentLimit)))
            } catch let error as StorageError where error.kind == .notFound {
                continue
            }
        }
        let catalog = try SnapshotCatalog(repository)
        guard catalog.damaged.isEmpty else {
            throw LifeboatError(
                "\(catalog.damaged.count) snapshots cannot be read, so it is not known what they need",
                causes: catalog.damaged.map { ([$0.message] + $0.causes).joined(separator: ": ") },
                hint: "Run 'lifeboat check'; prune deletes nothing until the repository is sound.",
                exitCode: .damagedRepository)
        }
        for (number, snapshot) in catalog.snapshots.enumerated() {
            var counters = ProgressCounters()
            counters.filesDone = UInt64(number)
            counters.filesTotal = UInt64(catalog.snapshots.count)
            counters.current = "snapshot \(snapshot.id.shortHex)"
            progress.report(.counters(counters))
            do {
                try marker.mark(snapshot.manifest)
            } catch {
                let told = LifeboatError.converting(error)
                guard told.exitCode == .damagedRepository || told.exitCode == .failed else { throw told }
                throw told.wrapped(
                    "snapshot '\(snapshot.id.shortHex)' cannot be read whole, so it is not known what it needs",
                    hint: "Run 'lifeboat check'; prune deletes nothing until the repository is sound.")
            }
        }
        return catalog
    }

    /// Decides for every needed chunk in which pack it is kept.
    private func chooseKeepers(_ survey: inout PruneSurvey, _ marks: ChunkMarks) throws {
        let indexes = survey.indexes.all
        // First what each pack would be needed for if it were alone, then the choice by that.
        var potential = [UInt64](repeating: 0, count: survey.packs.count)
        for (number, index) in indexes.enumerated() {
            for record in 0..<index.chunkCount {
                let pack = survey.packNumbers[number][try Self.pack(of: record, in: index)]
                survey.packs[pack].chunks += 1
                if marks.marked[number][record] { potential[pack] += UInt64(try index.location(at: record).length) }
            }
            index.forgetPages()
        }
        var merged = MergedRecords(indexes)
        var records: [MergedRecords.Record] = []
        defer { for index in indexes { index.forgetPages() } }
        var walked = 0
        while let id = merged.next(&records) {
            walked += 1
            if walked.isMultiple(of: Self.recordsInMemory) { for index in indexes { index.forgetPages() } }
            guard marks.marked[records[0].index][records[0].position] else { continue }
            let places = try records.map { record in
                survey.packNumbers[record.index][try Self.pack(of: record.position, in: indexes[record.index])]
            }
            let choices = PruneRules.keepers(
                among: try zip(records, places).map { record, place in
                    let pack = survey.packs[place]
                    return PruneRules.Candidate(
                        name: pack.name, isPresent: pack.size != nil, isCondemned: pack.isCondemned,
                        isWhole: try indexes[record.index].bases(at: record.position).isEmpty,
                        neededBytes: potential[place])
                })
            guard !choices.isEmpty else {
                throw LifeboatError(
                    "chunk '\(id.shortHex)' is needed by a snapshot, and the pack that holds it is missing or cut short",
                    causes: Set(places).map { RepositoryLayout.pack(survey.packs[$0].name).text }.sorted(),
                    hint: "Run 'lifeboat check'; prune deletes nothing until the repository is sound.",
                    exitCode: .damagedRepository)
            }
            for choice in choices { keep(records[choice], in: places[choice], indexes, &survey) }
        }
    }

    /// Chunks in the order of their ids, so of all indexes by turns, after which their pages are given back.
    private static let recordsInMemory = 524_288

    private func keep(
        _ record: MergedRecords.Record, in pack: Int, _ indexes: [MappedIndex], _ survey: inout PruneSurvey
    ) {
        survey.packs[pack].neededChunks += 1
        // Checked by `pack(of:)`.
        guard let frame = indexes[record.index].frameNumber(at: record.position) else { return }
        if survey.usedFrames[record.index].insert(frame) {
            survey.packs[pack].neededBytes += UInt64(indexes[record.index].frame(frame).length)
        }
    }

    private static func pack(of record: Int, in index: MappedIndex) throws -> Int {
        guard let pack = index.packNumber(at: record) else {
            throw RepositoryError.damaged(
                RepositoryLayout.index(index.name).text, "chunk \(record) points outside its tables")
        }
        return pack
    }
}
