// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// Collections of vectors: empty ones are always in a sample.
extension SampledContent {
    static func chroma(_ content: any RestoreContent, _ draw: SampleDraw) throws -> SampledContent? {
        var contents = try decode(ChromaContents.self, ChromaContents.part, content)
        let all = contents.collections
        // The files of a server lie together.
        guard all.allSatisfy({ content.streamSize($0.part) != nil }) else { return nil }
        let filled = all.filter { $0.records > 0 }
        let chosen = draw.chosen(of: filled.map(\.place))
        contents.collections = all.filter { $0.records == 0 || chosen.contains($0.place) }
        let left = filled.filter { !chosen.contains($0.place) }
        let (facts, leftOut) = parted(content.facts) { fact in
            left.contains { fact == ChromaContents.recordsPrefix + $0.place || fact == "dimension:\($0.place)" }
        }
        return try collections(
            content, taken: chosen.count, all: filled.count, parts: contents.collections.map(\.part), facts, leftOut,
            absent: Set(left.flatMap { [$0.place, $0.name] }), (ChromaContents.part, contents))
    }

    static func qdrant(_ content: any RestoreContent, _ draw: SampleDraw) throws -> SampledContent {
        var contents = try decode(QdrantContents.self, QdrantContents.part, content)
        let all = contents.collections
        let filled = all.filter { $0.possiblePoints.upperBound > 0 }
        let chosen = draw.chosen(of: filled.map(\.name))
        contents.collections = all.filter { $0.possiblePoints.upperBound == 0 || chosen.contains($0.name) }
        let left = filled.filter { !chosen.contains($0.name) }
        let (facts, leftOut) = parted(content.facts) { fact in
            left.contains { collection in
                let name = collection.factName
                return ["points:\(name)", QdrantContents.vectorsPrefix + name].contains(fact)
                    || fact.hasPrefix("payload-index:\(name):")
                    || collection.aliases.contains { fact == "alias:\($0)" }
            }
        }
        return try collections(
            content, taken: chosen.count, all: filled.count, parts: contents.collections.map(\.part), facts, leftOut,
            absent: Set(left.flatMap { [$0.name] + $0.aliases }), (QdrantContents.part, contents))
    }

    private static func collections(
        _ content: any RestoreContent, taken: Int, all: Int, parts: [String], _ facts: StoreFacts,
        _ leftOut: StoreFacts, absent: Set<String>, _ list: (part: String, contents: some Encodable)
    ) throws -> SampledContent {
        let bytes = try JSONText.encode(list.contents, pretty: true) + [0x0A]
        let part = list.part
        return SampledContent(
            content, .collections, taken: taken, all: all,
            bytes: parts.reduce(0) { $0 + (content.streamSize($1) ?? 0) }, facts: facts, leftOut: leftOut,
            absent: absent, stream: { name, _ in name == part ? MemorySource(bytes) : nil })
    }

    private static func decode<Contents: Decodable>(
        _ type: Contents.Type, _ part: String, _ content: any RestoreContent
    ) throws -> Contents {
        let subject = "the list of collections in the snapshot"
        return try JSONText.decode(
            type, try content.openStream(part).readAll(limit: ChromaContents.limit, subject), subject)
    }

    /// The facts, and of them those that are left out.
    private static func parted(
        _ facts: StoreFacts, _ isLeft: (_ name: String) -> Bool
    ) -> (kept: StoreFacts, left: StoreFacts) {
        let kept = StoreFacts(
            counts: facts.counts.filter { !isLeft($0.key) }, texts: facts.texts.filter { !isLeft($0.key) })
        let left = StoreFacts(
            counts: facts.counts.filter { isLeft($0.key) }, texts: facts.texts.filter { isLeft($0.key) })
        return (kept, left)
    }
}
