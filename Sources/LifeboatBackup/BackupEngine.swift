// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatIO
package import LifeboatRepository
import LifeboatStores

/// Makes one snapshot: every store fixes its point in time, then everything streams into the repository, then the
/// manifest makes the snapshot exist.
///
/// A component that fails does not stop the others: the snapshot is kept, marked incomplete, and `problems` say why.
/// A failure of the repository itself throws, and leaves no snapshot. Blocking; one run per instance at a time.
package struct BackupEngine: Sendable {
    private let repository: Repository
    private let settings: WriterSettings
    private let clock: any Clock
    private let progress: any ProgressSink
    private let cancellation: Cancellation
    private let leases: LeaseSettings

    package init(
        repository: Repository, settings: WriterSettings, clock: any Clock, progress: any ProgressSink,
        cancellation: Cancellation, leases: LeaseSettings = LeaseSettings()
    ) {
        self.leases = leases
        self.repository = repository
        self.settings = settings
        self.clock = clock
        self.progress = progress
        self.cancellation = cancellation
    }

    /// Components that are captured at once: one that waits for its server leaves the machine to another.
    package static let concurrentComponents = 2
    /// A tree in capture writes two contents: files and its listing.
    private static let writersPerComponent = 2

    /// Settings for this machine: `processors` is the number of cores to use.
    package static func settings(processors: Int, components: Int, compressionLevel: Int) -> WriterSettings {
        WriterSettings(
            workers: max(1, processors),
            contentWriters: writersPerComponent * min(max(1, components), concurrentComponents),
            compressionLevel: compressionLevel)
    }

    package func run(_ request: BackupRequest) throws -> BackupOutcome {
        var run = Timeline(clock, progress)
        let started = clock.now()
        try repository.requireTrusted()
        // Before anything is read that the snapshot may refer to: no prune deletes it while the lease is held.
        let lease = try Lease.take(.backup, repository, host: request.host, settings: leases)
        // Does nothing after the one below.
        defer { lease.release() }
        // Before the listing: what this host remembers was there then.
        let remembered = try repository.newestRemembered(stack: request.stack, host: request.host)
        let catalog = try run.phase("open repository") {
            try SnapshotCatalog(repository, stack: request.stack, skippingSealed: true)
        }
        let previous = catalog.newest(stack: request.stack, host: request.host)
        let missing = try catalog.missingNewest(repository, stack: request.stack)
        let position = try repository.nextPosition(
            stack: request.stack, host: request.host, after: previous, remembered: remembered,
            damaged: catalog.damaged.count)
        var warnings: [LifeboatError] = []
        let unreadable = catalog.damaged.map {
            $0.wrapped("a snapshot of this stack cannot be read, and was not compared with")
        }
        let secrets = try SecretFingerprints.make(request.secrets, previous: previous?.manifest.secrets)
        warnings += secrets.warnings
        let writer = try RepositoryWriter(repository, settings)
        let deltaCache = repository.deltaCache(stack: request.stack, limit: request.deltaCache)
        let bases = Dictionary(
            request.components.compactMap { component in
                deltaCache.map { (component.name, $0.component(component.name)) }
            }, uniquingKeysWith: { first, _ in first })
        let hold = request.freeze.map {
            WriterHold($0, stack: request.stack, clock: clock, progress: progress)
        }
        // Does nothing unless writers could not be released: once more at the very end.
        defer { _ = hold?.release() }
        do {
            let reader = ComponentReader(
                writer: writer, parentReader: ChunkReader(repository, writer.parentIndexes, cacheLimit: 8 << 20),
                baselines: catalog.newestComponents(stack: request.stack, host: request.host), bases: bases,
                counters: CaptureCounters(progress, writer), progress: progress, cancellation: cancellation,
                cacheFolder: repository.cacheFolder)
            let evaluation = CheckEvaluation(request.checks)
            let captures = CaptureList(request.components)
            defer { captures.release() }
            let moment = try Moment(captures, evaluation, reader, cancellation).fix(hold, clock, progress, &run)
            warnings += moment.warnings
            try run.phase("capture") { try captures.captureAll(reader) }
            if hold == nil { try askLive(evaluation, captures) }
            try cancellation.check()
            let totals = try run.phase("finish packs and index") { try writer.finish() }
            if let shrinkGuard = request.shrinkGuard {
                captures.compare(shrinkGuard, catalog.snapshots, stack: request.stack, host: request.host)
            }
            let done = captures.all
            var manifest = Manifest(
                repositoryID: repository.config.repositoryID, stack: request.stack, host: request.host,
                sequence: position.sequence, previous: position.previous, started: started,
                lifeboat: request.lifeboatVersion)
            manifest.frozen = moment.frozen
            manifest.ended = clock.now()
            manifest.components = done.map(\.component)
            manifest.freeze = moment.freeze
            manifest.complete = done.allSatisfy { $0.component.isComplete } && moment.freeze?.problem == nil
            manifest.checks = request.checks.isEmpty ? nil : evaluation.results
            manifest.secrets = secrets.kept
            manifest.policy = request.policyText
            let pins = try PinLedger(repository, stack: request.stack, catalog, passingOverDamage: true).references
            manifest.pinned = pins.isEmpty ? nil : pins
            manifest.bytesRead = totals.bytesRead
            manifest.bytesNew = totals.bytesNew
            manifest.bytesStored = totals.bytesStored
            let snapshot = try run.phase("commit") {
                try lease.announce(manifest)
                return try SnapshotCatalog.commit(manifest, to: repository)
            }
            // The snapshot exists: a lease that cannot be given back dies by itself.
            if let failure = lease.release() { warnings.append(failure) }
            repository.removeStaleCopies(now: clock.now())
            deltaCache?.finish(
                done.compactMap { capture in
                    guard capture.component.isComplete else { return nil }
                    return bases[capture.name].map { (capture.name, $0) }
                }, now: clock.now())
            warnings += done.flatMap(\.warnings)
            return BackupOutcome(
                snapshot: snapshot, previous: previous, statistics: totals,
                files: done.reduce(into: FileStatistics()) { $0.add($1.files) }, warnings: warnings,
                problems: done.flatMap(\.problems) + Self.problems(manifest),
                repositoryProblems: unreadable + missing.map(\.error)
                    + writer.parentIndexes.damagedIndexes.map(Self.leftOut),
                heldProblem: moment.releaseProblem == nil ? nil : hold?.release(), seconds: run.seconds,
                phases: run.phases)
        } catch {
            writer.abandon()
            throw error
        }
    }

    /// Without a freeze a store that is read live has an answer when it was read.
    private func askLive(_ evaluation: CheckEvaluation, _ captures: CaptureList) throws {
        let live = captures.all.filter { $0.input.store.isReadLive }
        try evaluation.askComponents(
            Dictionary(uniqueKeysWithValues: live.map { ($0.name, $0.input.store as? any NumberSource) }), cancellation)
    }

    private static func leftOut(_ index: LifeboatError) -> LifeboatError {
        index.wrapped(
            "an index of the repository cannot be used; what only it names was stored again",
            hint: "Run 'lifeboat repair --yes': it writes the index anew from the packs.")
    }

    /// What is wrong with the snapshot as a whole.
    private static func problems(_ manifest: Manifest) -> [LifeboatError] {
        var problems: [LifeboatError] = []
        if let freeze = manifest.freeze, let problem = freeze.problem {
            problems.append(
                LifeboatError(
                    "the snapshot is not of one moment", causes: [problem],
                    hint: "It is kept, and marked as incomplete.", exitCode: .incomplete))
        }
        problems += manifest.failedChecks.map { check in
            guard check.values.allSatisfy({ $0.number != nil }) else {
                return LifeboatError(
                    "check '\(check.name)' could not be queried", causes: [check.explanation],
                    hint: "Whether it holds is not known. The snapshot is kept; correct the query or what answers it.",
                    exitCode: .incomplete)
            }
            return LifeboatError(
                "check '\(check.name)' does not hold", causes: [check.explanation, check.requirement],
                hint: manifest.freeze == nil
                    ? "Without a freeze the stores are not of one moment: set 'services.freeze' if it holds otherwise."
                    : "The stack itself was not consistent at that moment. The snapshot is kept, with this verdict.",
                exitCode: .incomplete)
        }
        return problems
    }
}

/// Names and lengths of the phases of one operation, told to the progress channel as they pass.
struct Timeline {
    private let clock: any Clock
    private let progress: any ProgressSink
    private let start: Double
    private(set) var phases: [(name: String, seconds: Double)] = []

    init(_ clock: any Clock, _ progress: any ProgressSink) {
        self.clock = clock
        self.progress = progress
        start = clock.monotonicSeconds()
    }

    var seconds: Double { clock.monotonicSeconds() - start }

    mutating func phase<Result>(_ name: String, _ body: () throws -> Result) rethrows -> Result {
        progress.report(.phaseStarted(name: name, detail: nil))
        let begin = clock.monotonicSeconds()
        let result = try body()
        let seconds = clock.monotonicSeconds() - begin
        phases.append((name, seconds))
        progress.report(.phaseEnded(name: name, seconds: seconds))
        return result
    }
}
