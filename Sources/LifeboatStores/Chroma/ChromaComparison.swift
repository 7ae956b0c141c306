// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// Compares every record of a restored collection with the snapshot, and mends what the server does to metadata.
///
/// Chroma (1.5.9, local) keeps lists of metadata by the number of a record's row, leaves them there when a collection is
/// deleted, and gives the numbers out again: a new record may come up with lists of a deleted one.
struct ChromaComparison {
    private static let batch = 500

    private let api: ChromaAPI
    private let collection: ChromaContents.Collection
    private let id: String
    private let cancellation: Cancellation

    /// `id`: of the restored collection.
    init(_ api: ChromaAPI, _ collection: ChromaContents.Collection, _ id: String, _ cancellation: Cancellation) {
        self.api = api
        self.collection = collection
        self.id = id
        self.cancellation = cancellation
    }

    /// How many records were mended. Throws when a record is not what the snapshot holds and cannot be mended.
    func run(_ open: () throws -> any ByteSource) throws -> Int {
        let mended = try compare(open, mends: true)
        // What was mended is looked at once more.
        if mended > 0 { _ = try compare(open, mends: false) }
        return mended
    }

    private func compare(_ open: () throws -> any ByteSource, mends: Bool) throws -> Int {
        let source = try open()
        defer { source.close() }
        let lines = LineReader(
            source, limit: ChromaStore.lineLimit, "the records of collection '\(collection.place)'")
        var restored = collection
        restored.id = id
        var wrong: [(wanted: ChromaRecord, found: ChromaRecord)] = []
        var mended = 0
        func mend() throws {
            if wrong.isEmpty { return }
            try api.update(collection.database, id, try Self.corrections(wrong), cancellation)
            mended += wrong.count
            wrong = []
        }
        try ChromaExport(api, restored, cancellation).run { line in
            let found = Array(line.dropLast())
            guard let wanted = try lines.next() else { throw different("it has more records") }
            if wanted == found { return }
            let records = (try ChromaRecord(wanted), try ChromaRecord(found))
            guard try isSame(records.0, records.1) else {
                throw different("record \(String(decoding: records.0.id, as: UTF8.self)) is another")
            }
            if records.0.metadata == records.1.metadata { return }
            guard mends else {
                throw different("metadata of record \(String(decoding: records.0.id, as: UTF8.self)) is another")
            }
            wrong.append(records)
            if wrong.count == Self.batch { try mend() }
        }
        guard try lines.next() == nil else { throw different("it has fewer records") }
        try mend()
        return mended
    }

    private func different(_ cause: String) -> LifeboatError {
        LifeboatError(
            "collection '\(collection.place)' was not restored as the snapshot holds it", causes: [cause],
            hint: "The live collection was not touched.")
    }

    /// All but metadata. By cosine the server keeps a vector as direction and length, and gives it back off in the last
    /// bits.
    private func isSame(_ wanted: ChromaRecord, _ found: ChromaRecord) throws -> Bool {
        guard wanted.id == found.id, wanted.document == found.document, wanted.uri == found.uri else { return false }
        if wanted.embedding == found.embedding { return true }
        guard collection.configuration?.contains(#""space":"cosine""#) == true else { return false }
        let (left, right) = (try wanted.floats(), try found.floats())
        let length = left.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
        return left.count == right.count
            && zip(left, right).allSatisfy { abs(Double($0) - Double($1)) <= 1e-6 * max(length, 1e-30) }
    }

    /// Sets what a record should have, and removes all else.
    private static func corrections(_ wrong: [(wanted: ChromaRecord, found: ChromaRecord)]) throws -> [UInt8] {
        var ids: [[UInt8]] = []
        var metadatas: [[UInt8]] = []
        for (wanted, found) in wrong {
            let (keep, has) = (try members(wanted.metadata), try members(found.metadata))
            let removed = has.keys.filter { keep[$0] == nil }.map { ($0, Array("null".utf8)) }
            let pairs = (keep.map { ($0.key, $0.value) } + removed).map { key, value in
                JSONScanner.quoted(key) + [UInt8(ascii: ":")] + value
            }
            ids.append(wanted.id)
            metadatas.append(
                [UInt8(ascii: "{")] + Array(pairs.joined(separator: [UInt8(ascii: ",")])) + [UInt8(ascii: "}")])
        }
        return Array(#"{"ids":["#.utf8) + Array(ids.joined(separator: [UInt8(ascii: ",")]))
            + Array(#"],"metadatas":["#.utf8) + Array(metadatas.joined(separator: [UInt8(ascii: ",")]))
            + Array("]}".utf8)
    }

    /// Members of an object as they are written; none of null.
    private static func members(_ metadata: [UInt8]) throws -> [String: [UInt8]] {
        var scanner = JSONScanner(metadata)
        if try scanner.null() { return [:] }
        var members: [String: [UInt8]] = [:]
        try scanner.object { key, scanner in members[key] = Array(metadata[try scanner.value()]) }
        return members
    }
}
