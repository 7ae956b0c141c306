// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatFormats
package import LifeboatIO
package import LifeboatRepository
package import LifeboatStores

/// A component of a snapshot as its store sees it in a restore. Thread-safe.
package struct RepositoryContent: RestoreContent {
    package struct Options: Sendable {
        /// Threads that create files.
        package var threads: Int
        /// Restore what an incomplete snapshot holds; what it lacks is a warning. Damage always fails.
        package var allowsIncomplete = false
        /// Of trees, only what it says yes to; nil: everything.
        package var takes: (@Sendable (TreeEntry) -> Bool)?

        package init(threads: Int) { self.threads = threads }
    }

    private let component: Manifest.Component
    private let reader: ChunkReader
    private let options: Options
    private let counters: RestoreCounters

    package init(
        _ component: Manifest.Component, _ reader: ChunkReader, options: Options, counters: RestoreCounters
    ) {
        self.component = component
        self.reader = reader
        self.options = options
        self.counters = counters
    }

    var parts: [Manifest.Part] { component.parts }

    package var engineVersion: String? { component.engineVersion }

    package var facts: StoreFacts { StoreFacts(counts: component.counts, texts: component.texts) }

    package func openStream(_ name: String) throws -> any ByteSource {
        let counters = counters
        let shown = "\(component.name)/\(name)"
        return ReadAheadSource(reader, try part(name, .stream).content) { bytes in
            counters.add(files: 0, bytes: UInt64(bytes), current: shown)
        }
    }

    package func streamSize(_ name: String) -> UInt64? {
        component.parts.first { $0.name == name && $0.kind == .stream }?.content.size
    }

    package func listTree(_ name: String, _ body: (TreeEntry) throws -> Void) throws {
        let entries = MtreeReader(try ContentSource(reader, try part(name, .tree).content))
        defer { entries.close() }
        while let entry = try entries.next() {
            if options.takes?(entry) != false { try body(entry) }
        }
    }

    /// Throws on the first kind of loss there is: a staged restore is whole or it is not swapped in.
    package func extractTree(_ name: String, into target: any FileTreeTarget, cancellation: Cancellation) throws {
        try extractTree(name, .everything, into: target, cancellation: cancellation)
    }

    package func extractTree(
        _ name: String, _ selection: PathSelection, into target: any FileTreeTarget, cancellation: Cancellation
    ) throws {
        let tree = try part(name, .tree)
        let source = component.source
        var choice = TreeExtraction.Options(threads: options.threads)
        choice.selection = selection
        choice.takes = options.takes
        let extraction = TreeExtraction(reader, options: choice, counters: counters, cancellation: cancellation)
        let report = try extraction.extract(tree.content, into: target) { RestorePath.shown($0, in: source) }
        let tolerated: Set<ExtractionProblem.Kind> = options.allowsIncomplete ? [.notInSnapshot, .unsure] : []
        let failures = report.problems.filter { !tolerated.contains($0.kind) }
        let count = report.problemCounts.filter { !tolerated.contains($0.key) }.values.reduce(0, +)
        for problem in report.problems where tolerated.contains(problem.kind) { counters.warn(problem.error) }
        guard count > 0 else { return }
        let named = failures.prefix(Self.namedFailures).map {
            ([$0.error.message] + $0.error.causes).joined(separator: ": ")
        }
        let rest = count > UInt64(named.count) ? ["and \(count - UInt64(named.count)) more"] : []
        throw LifeboatError(
            "component '\(component.name)' cannot be restored whole", causes: named + rest,
            hint: failures.first?.error.hint
                ?? "Restore what there is with --to DIR, or choose another snapshot.",
            exitCode: report.exitCode)
    }

    private static let namedFailures = 10

    private func part(_ name: String, _ kind: Manifest.Part.Kind) throws -> Manifest.Part {
        guard let part = component.parts.first(where: { $0.name == name && $0.kind == kind }) else {
            throw LifeboatError(
                "the snapshot holds no \(kind.rawValue) '\(name)' of component '\(component.name)'",
                causes: component.problems, exitCode: .incomplete)
        }
        return part
    }
}

/// Paths of trees for people.
package enum RestorePath {
    /// `path` below `root`; invalid UTF-8 is repaired.
    package static func shown(_ path: [UInt8], in root: String) -> String {
        if path.isEmpty { return root }
        let below = String(decoding: path, as: UTF8.self)
        return root.hasSuffix("/") ? root + below : "\(root)/\(below)"
    }
}
