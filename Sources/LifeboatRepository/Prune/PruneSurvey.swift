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
    /// Stored bytes of the copies that are kept in it; of a frame that is kept in part, its share.
    var neededBytes: UInt64 = 0
    /// It has a copy that is kept.
    var isNeeded = false
    /// Records of all its chunks.
    var chunks = 0

    init(name: Digest, size: UInt64?) {
        self.name = name
        self.size = size
    }

    /// Stored bytes of all frames: the pack without its end and what it may be wrapped in.
    var frameBytes: UInt64 = 0
    var wastedBytes: UInt64 { frameBytes - min(frameBytes, neededBytes) }
}

/// The state of a repository as a prune has to know it, read in the order that the argument for safety rests on:
/// condemned packs, indexes, packs, leases, (dead ones broken), manifests, reading leases.
struct PruneSurvey {
    /// The indexes, and which of their chunks manifests need.
    let live: ChunkMarks
    var packs: [PackUse] = []
    /// Number of a pack by its name.
    var numbers: [Digest: Int] = [:]
    /// Per index: its pack numbers as numbers in `packs`.
    var packNumbers: [[Int]] = []
    /// Per pack: the number of the index that knows most of it, which alone counts; -1 when none names it.
    var owners: [Int] = []
    /// The copies that are kept.
    var selection = CopySelection()
    /// Leases nobody may overlook, by whom they may be held.
    var liveLeases: [ObservedLease] = []
    /// Live leases of kind `read` after the manifests were read.
    var readers: [ObservedLease] = []
    var strays: [ObjectKey] = []
    /// Ids of the snapshots, and of those that a repair put others in the place of.
    var snapshots: Set<Digest> = []
    var snapshotCount = 0
    /// Snapshots that signed lists name as forgotten.
    var forgotten: Set<Digest> = []
    /// Snapshots that are not there, though retention did not remove them, and why that is known.
    var gone: [String] = []
    var marks: Set<Digest> = []

    init(_ indexes: IndexSet) { live = ChunkMarks(indexes) }

    var indexes: IndexSet { live.indexes }

    /// Adds what an index says. Packs that were not listed count as absent.
    mutating func register(_ index: MappedIndex, _ number: Int) throws {
        var chunks = [Int](repeating: 0, count: index.packCount)
        var bytes = [UInt64](repeating: 0, count: index.packCount)
        for frame in 0..<index.frameCount {
            let frame = index.frame(frame)
            guard frame.pack < index.packCount else {
                throw Self.damaged(index, "a frame names a pack that is not there")
            }
            bytes[frame.pack] += UInt64(frame.length)
        }
        for record in 0..<index.chunkCount {
            guard let pack = index.packNumber(at: record) else {
                throw Self.damaged(index, "chunk \(record) points outside its tables")
            }
            chunks[pack] += 1
        }
        var own: [Int] = []
        for position in 0..<index.packCount {
            let named = index.pack(position)
            let pack = self.number(of: named.name)
            own.append(pack)
            packs[pack].isIndexed = true
            // Cut short or grown: its chunks cannot be had.
            if packs[pack].size != named.storedSize { packs[pack].size = nil }
            packs[pack].isCondemned = marks.contains(named.name)
            guard owners[pack] < 0 || chunks[position] > packs[pack].chunks else { continue }
            owners[pack] = number
            packs[pack].chunks = chunks[position]
            packs[pack].frameBytes = bytes[position]
        }
        packNumbers.append(own)
        index.forgetPages()
    }

    private mutating func number(of pack: Digest) -> Int {
        if let known = numbers[pack] { return known }
        add(pack, size: nil)
        return packs.count - 1
    }

    mutating func add(_ pack: Digest, size: UInt64?) {
        numbers[pack] = packs.count
        var use = PackUse(name: pack, size: size)
        use.isCondemned = marks.contains(pack)
        packs.append(use)
        owners.append(-1)
    }

    private static func damaged(_ index: MappedIndex, _ reason: String) -> LifeboatError {
        RepositoryError.damaged(RepositoryLayout.index(index.name).text, reason)
    }

    /// Decides for every needed chunk which copies are kept, and what that makes of the packs.
    mutating func select() throws {
        var selector = CopySelector(self)
        selection = try selector.select()
        for pack in packs.indices {
            packs[pack].neededBytes = 0
            packs[pack].isNeeded = false
        }
        for (number, index) in indexes.all.enumerated() {
            for (frame, plain) in selection.neededPlain[number].enumerated() where plain > 0 {
                let pack = packNumbers[number][index.frame(frame).pack]
                packs[pack].isNeeded = true
                packs[pack].neededBytes += index.storedShare(ofFrame: frame, plain: UInt64(plain))
            }
            index.forgetPages()
        }
    }

    /// Adds packs that this prune has just written, under an index.
    mutating func add(_ written: [PackContents], _ index: MappedIndex) throws {
        for pack in written { add(pack.name, size: pack.storedSize) }
        try live.add(index)
        try register(index, indexes.all.count - 1)
        try select()
    }
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
        var seen = try present()
        for _ in 1..<Self.attempts {
            let failure: (any Error)?
            do {
                let survey = try surveyOnce(&memory, moment)
                guard !survey.gone.isEmpty else { return survey }
                failure = nil
            } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                failure = error
            }
            try cancellation.check()
            let now = try present()
            if now == seen {
                if let failure { throw failure }
                break
            }
            seen = now
        }
        return try surveyOnce(&memory, moment)
    }

    /// Bounds what others can make this wait for.
    private static let attempts = 20

    private func present() throws -> Set<ObjectKey> {
        try Set(
            [RepositoryLayout.indexPrefix, RepositoryLayout.snapshotPrefix].flatMap {
                try repository.objects($0).map(\.key)
            })
    }

    private func surveyOnce(_ memory: inout PruneMemory, _ moment: () -> MeasuredMoment) throws -> PruneSurvey {
        // What this host has seen before the manifests: one it commits from now on is not missed.
        let seen = try SnapshotCatalog.seen(repository)
        let condemned = try repository.condemnedPacks()
        var survey = PruneSurvey(try repository.openEachIndex())
        survey.marks = condemned
        for object in try repository.objects(RepositoryLayout.packPrefix) {
            guard let name = RepositoryLayout.packName(object.key) else { continue }
            survey.add(name, size: object.size)
        }
        for (number, index) in survey.indexes.all.enumerated() { try survey.register(index, number) }
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
        var references = PruneReferences(repository, progress: progress, cancellation: cancellation)
        let snapshots = try references.mark(&survey, announced: leases.announced)
        survey.snapshotCount = snapshots.count
        survey.snapshots = Set(snapshots.flatMap { [$0.id] + $0.manifest.earlierIDs })
        // The lists of what was forgotten after the manifests: each is written before a manifest goes.
        let forgotten = try RecordCheck(repository).tombstones()
        survey.forgotten = Set(forgotten.flatMap { $0.snapshots.map(\.snapshot) })
        survey.gone = try SnapshotCatalog.chainProblems(
            snapshots, forgotten: forgotten, repository, seen: seen
        ).filter { $0.gone != nil }.map { "snapshot \($0.snapshot.shortHex): \($0.reason)" }
        let after = try watch.observe(&sightings, now: moment())
        survey.readers = after.leases.filter { $0.kind == .read && $0.condition == .live }
        memory.leaseSightings = sightings
        try survey.select()
        return survey
    }
}
