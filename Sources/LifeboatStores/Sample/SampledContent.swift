// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatFormats
package import LifeboatIO

/// A share of what a snapshot holds of a component, as if that were all it held: for a quick drill. Whole files, tables
/// and collections, at least one of each kind; its facts are those of what is in it.
///
/// Stores need not know: of folders the listing is thinned out, of databases the dump, of vectors the list of collections.
package struct SampledContent: RestoreContent {
    package enum Unit: String, Sendable, Codable { case files, tables, collections }

    /// How a stream that is not passed on as it is comes about.
    typealias Stream = @Sendable (_ name: String, _ content: any RestoreContent) throws -> (any ByteSource)?

    /// What was drawn.
    package let unit: Unit
    package let taken: Int
    package let all: Int
    /// Plain bytes of what is in it; nil: told by reading it.
    package let bytes: UInt64?
    package let facts: StoreFacts
    /// The facts of what is not in it.
    package let leftOut: StoreFacts
    /// Names of collections and aliases that are not in it.
    private let absent: Set<String>
    private let content: any RestoreContent
    private let stream: Stream

    init(
        _ content: any RestoreContent, _ unit: Unit, taken: Int, all: Int, bytes: UInt64?, facts: StoreFacts,
        leftOut: StoreFacts = StoreFacts(), absent: Set<String> = [],
        stream: @escaping Stream = { _, _ in nil }
    ) {
        self.content = content
        self.unit = unit
        self.taken = taken
        self.all = all
        self.bytes = bytes
        self.facts = facts
        self.leftOut = leftOut
        self.absent = absent
        self.stream = stream
    }

    /// Draws from what a store of this kind captured. `limited` gives the same content with trees that hold only what
    /// it is asked for and says yes to. Nil: it cannot be parted, and is taken whole (Redis, SQLite, the files of a
    /// server, what a command wrote).
    package static func drawn(
        from content: any RestoreContent, kind: String, _ draw: SampleDraw,
        limited: (_ takes: @escaping @Sendable (TreeEntry) -> Bool) throws -> any RestoreContent
    ) throws -> SampledContent? {
        switch kind {
        case "volume": try volume(content, draw, limited)
        case "models": try models(content, draw, limited)
        case "postgres": postgres(content, draw)
        case "chroma": try chroma(content, draw)
        case "qdrant": try qdrant(content, draw)
        default: nil
        }
    }

    /// Everything there is was drawn.
    package var isWhole: Bool { taken == all }

    /// Whether a collection, by its name or an alias, is in it.
    package func holds(collection: String) -> Bool { !absent.contains(collection) }

    // MARK: - What stores ask

    package var engineVersion: String? { content.engineVersion }
    package var isPartial: Bool { true }

    package func openStream(_ name: String) throws -> any ByteSource {
        try stream(name, content) ?? content.openStream(name)
    }

    package func streamSize(_ name: String) -> UInt64? { content.streamSize(name) }

    package func listTree(_ name: String, _ body: (TreeEntry) throws -> Void) throws {
        try content.listTree(name, body)
    }

    package func extractTree(_ name: String, into target: any FileTreeTarget, cancellation: Cancellation) throws {
        try content.extractTree(name, into: target, cancellation: cancellation)
    }
}

// MARK: - Folders

extension SampledContent {
    typealias Limited = (_ takes: @escaping @Sendable (TreeEntry) -> Bool) throws -> any RestoreContent

    private static func volume(
        _ content: any RestoreContent, _ draw: SampleDraw, _ limited: Limited
    ) throws -> SampledContent {
        let sample = try TreeSample(content, VolumeStore.partName, draw)
        var facts = content.facts
        let counts = sample.taken
        facts.counts.merge(
            [
                "files": counts.files, "folders": counts.folders, "links": counts.links, "specials": counts.specials,
                "bytes": counts.bytes,
            ]
        ) { $1 }
        return try tree(sample, facts, StoreFacts(), limited)
    }

    static func tree(
        _ sample: TreeSample, _ facts: StoreFacts, _ leftOut: StoreFacts, _ limited: Limited
    ) throws -> SampledContent {
        SampledContent(
            try limited { sample.takes($0) }, .files, taken: Int(sample.taken.files), all: Int(sample.all.files),
            bytes: UInt64(clamping: sample.taken.bytes), facts: facts, leftOut: leftOut)
    }
}

// MARK: - Tables

extension SampledContent {
    private static let rows = "rows:"

    /// Tables without rows are always in it: there is nothing to leave out.
    private static func postgres(_ content: any RestoreContent, _ draw: SampleDraw) -> SampledContent {
        let facts = content.facts
        let tables = facts.counts.filter { $0.value > 0 && isRows($0.key) }.keys.sorted()
        let left = Set(tables).subtracting(draw.chosen(of: tables))
        var kept = facts
        kept.counts = facts.counts.filter { !left.contains($0.key) }
        return SampledContent(
            content, .tables, taken: tables.count - left.count, all: tables.count, bytes: nil, facts: kept,
            leftOut: StoreFacts(counts: facts.counts.filter { left.contains($0.key) }),
            stream: { name, content in
                guard let prefix = prefix(ofDump: name), !left.isEmpty else { return nil }
                return CustomArchiveSample(try content.openStream(name), "the dump '\(name)'") { table in
                    left.contains(prefix + rows + table)
                }
            })
    }

    private static func isRows(_ fact: String) -> Bool {
        // Of several databases each name begins with that of its database.
        fact.hasPrefix(rows) || fact.drop { $0 != "/" }.dropFirst().hasPrefix(rows)
    }

    /// What the facts of a dump's database begin with; nil for another stream.
    private static func prefix(ofDump name: String) -> String? {
        if name == PostgresParts.dump { return "" }
        let suffix = ".\(PostgresParts.dump)"
        return name.hasSuffix(suffix) ? "\(name.dropLast(suffix.count))/" : nil
    }
}
