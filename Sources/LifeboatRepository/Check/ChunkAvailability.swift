// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats

/// Tells whether chunks and contents can be had: by the indexes where those can be believed, by reading where not.
/// Used on one thread.
final class ChunkAvailability {
    let reader: ChunkReader
    private let indexes: IndexSet
    /// Packs that are missing, damaged or wrongly indexed: a chunk in one counts only when it reads back right.
    private let suspects: Set<Digest>
    /// Chunks of suspect packs, tried once: their length, nil when they cannot be had.
    private var tried: [Digest: UInt32?] = [:]
    /// Lists without a missing chunk, with the size they are a list for.
    private var wholeLists: Set<ContentReference> = []

    init(_ reader: ChunkReader, suspects: Set<Digest>) {
        self.reader = reader
        indexes = reader.indexSet
        self.suspects = suspects
    }

    /// Whether the chunk can be had and is `length` bytes long.
    func isAvailable(_ id: Digest, length: UInt64) throws -> Bool {
        let locations = try indexes.locations(of: id)
        for location in locations where !suspects.contains(location.pack) {
            // How long the chunk of a delta is only decoding tells.
            if try location.isDelta ? areDecodable(location.bases) : UInt64(location.length) == length { return true }
        }
        guard locations.contains(where: { suspects.contains($0.pack) || $0.isDelta }) else { return false }
        return try lengthByReading(id) == length
    }

    /// Whether all of these chunks can be had, whatever their length.
    private func areDecodable(_ bases: [Digest], depthLeft: Int = IndexSet.depthLimit) throws -> Bool {
        for base in bases {
            let locations = try indexes.locations(of: base)
            let isPlain = locations.contains { !$0.isDelta && !suspects.contains($0.pack) }
            if isPlain { continue }
            guard depthLeft > 0, !locations.isEmpty else { return false }
            var isDecodable = false
            for location in locations where location.isDelta && !suspects.contains(location.pack) && !isDecodable {
                isDecodable = try areDecodable(location.bases, depthLeft: depthLeft - 1)
            }
            if !isDecodable, try lengthByReading(base) == nil { return false }
        }
        return true
    }

    /// The length of a chunk that has to be read to know whether it can be had; nil when it cannot.
    private func lengthByReading(_ id: Digest) throws -> UInt64? {
        if let known = tried[id] { return known.map(UInt64.init) }
        var found: UInt32?
        do {
            found = try reader.withChunk(id) { UInt32($0.count) }
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            found = nil
        }
        tried[id] = .some(found)
        return found.map(UInt64.init)
    }

    /// A chunk that cannot be had, or a content whose list cannot be followed, with the reason.
    struct Missing {
        var id: Digest
        var reason: String?
    }

    func isWhole(_ content: ContentReference) throws -> Bool { try missing(of: content).isEmpty }

    /// What cannot be had of a content; empty when all of it can.
    func missing(of content: ContentReference) throws -> [Missing] {
        guard content.size > 0 else { return [] }
        guard content.depth > 0 else {
            return try isAvailable(content.id, length: content.size) ? [] : [Missing(id: content.id, reason: nil)]
        }
        if wholeLists.contains(content) { return [] }
        var missing: [Missing] = []
        do {
            let chunks = try ChunkSequence(reader, content)
            while let chunk = try chunks.next() {
                if try !isAvailable(chunk.id, length: UInt64(chunk.length)) {
                    missing.append(Missing(id: chunk.id, reason: nil))
                }
            }
        } catch let error as LifeboatError where error.exitCode == .damagedRepository {
            missing.append(Missing(id: content.id, reason: error.summary))
        }
        if missing.isEmpty { wholeLists.insert(content) }
        return missing
    }
}
