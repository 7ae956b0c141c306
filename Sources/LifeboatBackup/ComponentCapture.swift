// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatStores

/// One component on its way through the backup.
struct ComponentCapture: Sendable {
    let input: BackupComponent
    var component: Manifest.Component
    /// Nil before it is fixed, and for a component that failed.
    var point: (any CapturePoint)?
    var isCaptured = false
    var files = FileStatistics()
    var warnings: [LifeboatError] = []
    var problems: [LifeboatError] = []

    init(_ input: BackupComponent) {
        self.input = input
        component = Manifest.Component(
            name: input.name, store: input.store.kind, source: input.source, method: "")
    }

    var name: String { input.name }
    var hasFailed: Bool { !component.problems.isEmpty }

    /// The component is not complete: `error` says why.
    mutating func fail(_ error: any Error) {
        let told = LifeboatError.converting(error, "component '\(input.name)' could not be captured")
        problems.append(told)
        component.problems.append(told.causes.isEmpty ? told.message : told.causes.joined(separator: ": "))
    }

    /// The component is not complete, though all its parts were read: the store says what is missing from it.
    mutating func lack(_ problem: LifeboatError) {
        problems.append(problem)
        component.problems.append(([problem.message] + problem.causes).joined(separator: ": "))
    }

    mutating func probe(_ cancellation: Cancellation) {
        do {
            try cancellation.check()
            let probe = try input.store.probe()
            component.engineVersion = probe.engineVersion
            warnings += probe.warnings
        } catch {
            fail(error)
        }
    }

    mutating func fixPoint(_ cancellation: Cancellation) {
        do {
            try cancellation.check()
            let point = try input.store.fixPoint(cancellation)
            self.point = point
            component.method = point.method
        } catch {
            fail(error)
        }
    }
}

/// Streams the parts of components into the repository. Thread-safe: one component on one thread at a time.
struct ComponentReader: Sendable {
    let writer: RepositoryWriter
    let parentReader: ChunkReader
    /// By name, the components that trees and streams are compared with: each of the newest snapshot that contains it.
    let baselines: [String: Manifest.Component]
    /// By name, the plain copies of components on a host that cannot read the repository.
    let bases: [String: DeltaBases]
    let counters: CaptureCounters
    let progress: any ProgressSink
    let cancellation: Cancellation
    /// For what is too large for memory.
    let cacheFolder: String

    /// What a first pass over a component that is read live left: the trees by part, whose files are in the repository.
    struct FirstPass {
        var trees: [String: TreeSpool] = [:]
        var files = FileStatistics()
    }

    /// Captures all parts; the point is released. `wasRead` is called when nothing more is read of the component, and
    /// its facts are known; it may change again from then on. Throws only what ends the whole backup.
    func capture(_ capture: inout ComponentCapture, after first: FirstPass? = nil, wasRead: () -> Void = {}) throws {
        capture.isCaptured = true
        guard let point = capture.point else { return wasRead() }
        defer { point.release() }
        let old = baselines[capture.input.name]
        do {
            let parts = point.parts
            // A failure to learn the facts leaves the component incomplete. What was read stays in the snapshot.
            var facts: Result<StoreFacts, any Error>?
            for (number, part) in parts.enumerated() {
                try cancellation.check()
                switch part {
                case .stream(let name, let open):
                    let parent = old?.parts.first { $0.name == name && $0.kind == .stream }?.content
                    let content = try captureStream(
                        open, parent: parent, bases[capture.input.name])
                    capture.component.parts.append(Manifest.Part(name: name, kind: .stream, content: content))
                    capture.component.files += 1
                    capture.component.bytes.addClamped(content.size)
                case .tree(let name, let source):
                    let isLast = number == parts.count - 1
                    let result = try captureTree(source, name, &capture, old, first?.trees[name]) {
                        guard isLast else { return }
                        facts = Result { try point.facts() }
                        wasRead()
                    }
                    capture.component.parts.append(Manifest.Part(name: name, kind: .tree, content: result.content))
                }
            }
            switch facts ?? Result(catching: { try point.facts() }) {
            case .success(let facts):
                capture.component.counts = facts.counts
                capture.component.texts = facts.texts
            case .failure(let error):
                try cancellation.check()
                capture.fail(error)
            }
            capture.warnings += point.warnings
            for problem in point.problems { capture.lack(problem) }
        } catch {
            try cancellation.check()
            // A stage of the repository's side failed: that ends the backup. A store's failure ends its component.
            if let failure = writer.stageFailure { throw failure }
            capture.fail(error)
        }
        wasRead()
        if let first { capture.files = capture.files.following(first.files) }
        capture.component.warnings = capture.warnings.map(\.message)
    }

    private func captureStream(
        _ open: () throws -> any ByteSource, parent: ContentReference?, _ bases: DeltaBases?
    ) throws -> ContentReference {
        let source = try open()
        defer { source.close() }
        let target = writer.makeContentWriter()
        if parent != nil || bases != nil { target.beginContent(parent: parent, parentReader, bases: bases) }
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

    private func captureTree(
        _ source: any FileTreeSource, _ name: String, _ capture: inout ComponentCapture, _ old: Manifest.Component?,
        _ spool: TreeSpool?, wasRead: () -> Void
    ) throws -> TreeCapture.Result {
        let shown = capture.input.source
        let tree: TreeCapture
        if let spool {
            // Everything the first pass saw is in the repository, or on its way: what did not change is not read again.
            tree = try TreeCapture(
                source, parent: spool.reader(), writer: writer, parentReader: parentReader,
                counters: CaptureCounters(SilentProgress(), writer), cancellation: cancellation, usesDeltas: false,
                bases: bases[capture.input.name], reuse: { _ in true }, place: Self.place(shown))
        } else {
            tree = try self.tree(
                source, name, old, shown, output: .repository, bases[capture.input.name])
        }
        let result = try tree.run(wasRead: wasRead)
        capture.component.files += result.entries
        capture.component.bytes.addClamped(result.bytes)
        capture.files.add(result.statistics)
        capture.problems += result.problems
        if result.vanished > 0 {
            capture.warnings.append(
                LifeboatError("\(result.vanished) files of '\(shown)' went away while their folders were read"))
        }
        if result.problemCount > 0 {
            capture.component.problems.append(
                "\(result.problemCount) files or folders could not be read as one state")
        }
        return result
    }

    /// Reads what a freeze would have to wait for: everything that changed since the snapshot before. Files that
    /// change meanwhile are read once more, inside the window. Nil when that is not possible: then all is read there.
    func firstPass(_ input: BackupComponent) throws -> FirstPass? {
        do {
            let point = try input.store.fixPoint(cancellation)
            defer { point.release() }
            var pass = FirstPass()
            for case .tree(let name, let source) in point.parts {
                let spool = try TreeSpool(in: cacheFolder)
                let tree = try tree(
                    source, name, baselines[input.name], input.source,
                    output: .spool(spool), bases[input.name])
                pass.files.add(try tree.run().statistics)
                pass.trees[name] = spool
            }
            return pass
        } catch {
            try cancellation.check()
            if let failure = writer.stageFailure { throw failure }
            return nil
        }
    }

    private func tree(
        _ source: any FileTreeSource, _ name: String, _ old: Manifest.Component?, _ shown: String,
        output: TreeCapture.TreeOutput, _ bases: DeltaBases?
    ) throws -> TreeCapture {
        let presence = ContentPresence(parentReader)
        return try TreeCapture(
            source, parent: try parentTree(old, part: name, source: shown), writer: writer, parentReader: parentReader,
            counters: counters, cancellation: cancellation, output: output, bases: bases,
            reuse: { presence.isComplete($0) },
            place: Self.place(shown))
    }

    private static func place(_ source: String) -> (_ path: [UInt8]) -> String {
        { path in path.isEmpty ? source : "\(source)/\(String(decoding: path, as: UTF8.self))" }
    }

    /// Yesterday's tree of the same folder, as the base of the merge-join.
    private func parentTree(
        _ old: Manifest.Component?, part: String, source: String
    ) throws -> MtreeReader? {
        guard let old, old.source == source, let tree = old.parts.first(where: { $0.name == part && $0.kind == .tree }),
            ContentPresence(parentReader).isComplete(tree.content)
        else { return nil }
        // Read it whole once: a damaged tree must not be noticed half-way through the merge.
        let probe = try ContentSource(parentReader, tree.content)
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
        return MtreeReader(try ContentSource(parentReader, tree.content))
    }
}

extension FileStatistics {
    mutating func add(_ other: FileStatistics) {
        new += other.new
        changed += other.changed
        unchanged += other.unchanged
        removed += other.removed
    }

    /// Of two passes: what this one found after `first`. A file that changed twice counts twice.
    func following(_ first: FileStatistics) -> FileStatistics {
        var both = FileStatistics()
        both.new = first.new + new
        both.changed = first.changed + changed
        both.removed = first.removed + removed
        both.unchanged = total > both.new + both.changed ? total - both.new - both.changed : 0
        return both
    }
}
