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
        let catalog = try run.phase("open repository") {
            try SnapshotCatalog(repository, stack: request.stack, skippingSealed: true)
        }
        let previous = catalog.newest(stack: request.stack, host: request.host)
        let remembered = try repository.newestRemembered(stack: request.stack, host: request.host)
        var warnings = catalog.damaged.map { $0.wrapped("a snapshot of this stack cannot be used as parent") }
        let writer = try RepositoryWriter(repository, settings)
        do {
            let parentReader = ChunkReader(repository, writer.parentIndexes, cacheLimit: 8 << 20)
            var captures = run.phase("fix point in time") { fixPoints(request.components) }
            defer { for capture in captures { capture.point?.release() } }
            let frozen = clock.now()
            try run.phase("capture") {
                try captureAll(&captures, previous: previous?.manifest, writer, parentReader)
            }
            try cancellation.check()
            let totals = try run.phase("finish packs and index") { try writer.finish() }
            var manifest = Manifest(
                repositoryID: repository.config.repositoryID, stack: request.stack, host: request.host,
                sequence: max(previous?.manifest.sequence ?? 0, remembered?.sequence ?? 0) + 1,
                previous: previous?.id ?? remembered?.snapshot, started: started,
                lifeboat: request.lifeboatVersion)
            manifest.frozen = frozen
            manifest.ended = clock.now()
            manifest.components = captures.map(\.component)
            manifest.complete = captures.allSatisfy { $0.component.isComplete }
            manifest.policy = request.policyText
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
            warnings += captures.flatMap(\.warnings)
            return BackupOutcome(
                snapshot: snapshot, previous: previous, statistics: totals,
                files: captures.reduce(into: FileStatistics()) { $0.add($1.files) }, warnings: warnings,
                problems: captures.flatMap(\.problems), seconds: run.seconds, phases: run.phases)
        } catch {
            writer.abandon()
            throw error
        }
    }

    /// One component on its way through the backup.
    private struct Capture: Sendable {
        let input: BackupComponent
        var component: Manifest.Component
        var point: (any CapturePoint)?
        var files = FileStatistics()
        var warnings: [LifeboatError] = []
        var problems: [LifeboatError] = []

        /// The component is not complete: `error` says why.
        mutating func fail(_ error: any Error) {
            let told = LifeboatError.converting(error, "component '\(input.name)' could not be captured")
            problems.append(told)
            component.problems.append(told.causes.isEmpty ? told.message : told.causes.joined(separator: ": "))
        }
    }

    private func fixPoints(_ components: [BackupComponent]) -> [Capture] {
        components.map { input in
            var capture = Capture(
                input: input,
                component: Manifest.Component(
                    name: input.name, store: input.store.kind, source: input.source, method: ""))
            do {
                try cancellation.check()
                let probe = try input.store.probe()
                capture.component.engineVersion = probe.engineVersion
                capture.warnings += probe.warnings
                let point = try input.store.fixPoint(cancellation)
                capture.point = point
                capture.component.method = point.method
            } catch {
                capture.fail(error)
            }
            return capture
        }
    }

    /// Captures every component that has a point, a few at once. Throws only what ends the whole backup.
    private func captureAll(
        _ captures: inout [Capture], previous: Manifest?, _ writer: RepositoryWriter, _ parentReader: ChunkReader
    ) throws {
        let counters = CaptureCounters(progress, writer)
        let results = Monitor<[Int: Capture]>([:])
        let next = Monitor(0)
        let inputs = captures
        let bodies = (0..<min(Self.concurrentComponents, inputs.count)).map { number in
            (
                name: "capture-\(number)",
                body: { @Sendable () throws -> Void in
                    while true {
                        let index = next.withLock { next -> Int in
                            defer { next += 1 }
                            return next
                        }
                        guard index < inputs.count else { return }
                        var capture = inputs[index]
                        try self.captureComponent(
                            &capture, previous: previous, writer, parentReader, counters)
                        let done = capture
                        results.withLock { $0[index] = done }
                    }
                }
            )
        }
        try runConcurrently(bodies) { writer.stop() }
        let done = results.withLock { $0 }
        for (index, capture) in done { captures[index] = capture }
    }

    private func captureComponent(
        _ capture: inout Capture, previous: Manifest?, _ writer: RepositoryWriter, _ parentReader: ChunkReader,
        _ counters: CaptureCounters
    ) throws {
        guard let point = capture.point else { return }
        defer { point.release() }
        let old = previous?.component(capture.input.name)
        do {
            for part in point.parts {
                try cancellation.check()
                switch part {
                case .stream(let name, let open):
                    let parent = old?.parts.first { $0.name == name && $0.kind == .stream }?.content
                    let content = try captureStream(open, parent: parent, writer, parentReader, counters)
                    capture.component.parts.append(Manifest.Part(name: name, kind: .stream, content: content))
                    capture.component.files += 1
                    capture.component.bytes += content.size
                case .tree(let name, let source):
                    let result = try captureTree(
                        source, parent: try parentTree(old, part: name, source: capture.input.source, parentReader),
                        writer, parentReader, counters, source: capture.input.source)
                    capture.component.parts.append(Manifest.Part(name: name, kind: .tree, content: result.content))
                    capture.component.files += result.entries
                    capture.component.bytes += result.bytes
                    capture.files.add(result.statistics)
                    capture.problems += result.problems
                    if result.vanished > 0 {
                        capture.warnings.append(
                            LifeboatError(
                                "\(result.vanished) files of '\(capture.input.source)' went away while their folders were read"
                            ))
                    }
                    if result.problemCount > 0 {
                        capture.component.problems.append(
                            "\(result.problemCount) files or folders could not be read as one state")
                    }
                }
            }
            let facts = try point.facts()
            capture.component.counts = facts.counts
            capture.component.texts = facts.texts
            capture.warnings += point.warnings
        } catch {
            try cancellation.check()
            // A stage of the repository's side failed: that ends the backup. A store's failure ends its component.
            if let failure = writer.stageFailure { throw failure }
            capture.fail(error)
        }
        capture.component.warnings = capture.warnings.map(\.message)
    }

    private func captureStream(
        _ open: () throws -> any ByteSource, parent: ContentReference?, _ writer: RepositoryWriter,
        _ parentReader: ChunkReader, _ counters: CaptureCounters
    ) throws -> ContentReference {
        let source = try open()
        defer { source.close() }
        let target = writer.makeContentWriter()
        if let parent { target.beginContent(parent: parent, parentReader) }
        while true {
            try cancellation.check()
            let count = try source.read(into: try target.space())
            if count == 0 { break }
            try target.advance(count)
            counters.countBytes(count)
        }
        let content = try target.endContent()
        target.flush()
        return try writer.reference(to: content)
    }

    /// Yesterday's tree of the same folder, as the base of the merge-join.
    private func parentTree(
        _ old: Manifest.Component?, part: String, source: String, _ reader: ChunkReader
    ) throws -> MtreeReader? {
        guard let old, old.source == source, let tree = old.parts.first(where: { $0.name == part && $0.kind == .tree }),
            ContentPresence(reader).isComplete(tree.content)
        else { return nil }
        // Read it whole once: a damaged tree must not be noticed half-way through the merge.
        let probe = try ContentSource(reader, tree.content)
        do {
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            while try buffer.withUnsafeMutableBytes({ try probe.read(into: $0) }) > 0 {}
        } catch {
            progress.report(
                .warning(
                    LifeboatError.converting(
                        error, "yesterday's tree of '\(source)' cannot be used: reading every file")))
            return nil
        }
        return MtreeReader(try ContentSource(reader, tree.content))
    }

    private func captureTree(
        _ tree: any FileTreeSource, parent: MtreeReader?, _ writer: RepositoryWriter, _ parentReader: ChunkReader,
        _ counters: CaptureCounters, source: String
    ) throws -> TreeCapture.Result {
        let presence = ContentPresence(parentReader)
        let capture = try TreeCapture(
            tree, parent: parent, writer: writer, parentReader: parentReader, counters: counters,
            cancellation: cancellation,
            reuse: { presence.isComplete($0) },
            place: { path in
                path.isEmpty ? source : "\(source)/\(String(decoding: path, as: UTF8.self))"
            })
        return try capture.run()
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

extension FileStatistics {
    mutating func add(_ other: FileStatistics) {
        new += other.new
        changed += other.changed
        unchanged += other.unchanged
        removed += other.removed
    }
}
