// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// What a capture of Qdrant holds beside the snapshots: the part `collections`.
struct QdrantContents: Codable, Sendable, Equatable {
    struct Collection: Codable, Sendable, Equatable {
        /// Its own name on the server.
        var name: String
        /// The stream that holds its snapshot.
        var part: String
        /// Aliases that pointed to it.
        var aliases: [String]
        /// The policy names it by its aliases: they move to a new collection at the swap. False: by its own name.
        var usedByAlias: Bool
        /// File name, size and SHA-256 as the server gave them.
        var snapshot: QdrantAPI.Snapshot
        /// Counted before the snapshot was made.
        var points: Int64
        /// Counted after it; another number when something was writing meanwhile.
        var pointsAfter: Int64
        /// As the server describes it: vectors, sharding, indexing.
        var config: JSONValue
        /// Indexed fields of the payload and their types.
        var payloadSchema: [String: String]

        /// What applications call it.
        var usedNames: [String] { usedByAlias ? aliases : [name] }

        /// What facts call it: the same before a restore and after it.
        var factName: String { usedByAlias ? aliases.first ?? name : name }

        /// For people, with the aliases that the policy names it by.
        var shown: String { QdrantNames.shown(name, aliases: usedByAlias ? aliases : []) }

        func isCalled(_ word: String) -> Bool { name == word || aliases.contains(word) }

        /// What a restored collection may count.
        var possiblePoints: ClosedRange<Int64> { min(points, pointsAfter)...max(points, pointsAfter) }
    }

    var format = 1
    var server: String
    var collections: [Collection]

    static let part = "collections"
    /// Of the fact that every collection has.
    static let vectorsPrefix = "vectors:"
    /// Of the fact that says which collection an alias is for.
    static let aliasPrefix = "alias:"
    static let limit = 64 << 20
    static let snapshotSuffix = ".snapshot"

    /// Names of streams become files of a loose restore: at most 255 bytes without a slash.
    static func partName(_ collection: String, number: Int) -> String {
        let escaped = RESTClient.escaped(collection) + snapshotSuffix
        return escaped.utf8.count <= 200 ? escaped : "collection-\(number)\(snapshotSuffix)"
    }

    /// The settings that a restored collection must share, as comparable text.
    static func vectors(_ config: JSONValue) throws -> String {
        let params = config.value(at: "params")
        var vectors: [String: JSONValue] = [:]
        for key in ["vectors", "sparse_vectors"] {
            if let value = params?.value(at: key), value != .null, value != .object([:]) { vectors[key] = value }
        }
        return String(decoding: try JSONText.encode(vectors), as: UTF8.self)
    }

    /// Those of these names or aliases, each once.
    func chosen(_ names: [String], of subject: String) throws -> [Collection] {
        for name in names where !collections.contains(where: { $0.isCalled(name) }) {
            throw PartNames.missing(
                name, "collection", of: subject, among: collections.flatMap { [$0.name] + $0.aliases })
        }
        return collections.filter { collection in names.contains(where: collection.isCalled) }
    }

    func facts() throws -> StoreFacts {
        var facts = StoreFacts()
        facts.texts["server"] = server
        for collection in collections {
            if collection.points == collection.pointsAfter {
                facts.counts["points:\(collection.factName)"] = collection.points
            } else {
                let range = collection.possiblePoints
                facts.texts["points:\(collection.factName)"] = "\(range.lowerBound) to \(range.upperBound)"
            }
            facts.texts[Self.vectorsPrefix + collection.factName] = try Self.vectors(collection.config)
            for (field, kind) in collection.payloadSchema {
                facts.texts["payload-index:\(collection.factName):\(field)"] = kind
            }
            if collection.usedByAlias { continue }
            for alias in collection.aliases { facts.texts["\(Self.aliasPrefix)\(alias)"] = collection.name }
        }
        return facts
    }
}
