// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// Reads the records of one collection, page by page, in constant memory.
struct ChromaExport {
    /// Asked for at once, by what records of this dimension are likely to take.
    private static let pageBytes = 4 << 20
    private static let maximumPage = 1000
    /// Documents may make a page many times longer than its vectors; beyond this smaller pages are asked for.
    private static let bodyLimit = 48 << 20

    private let api: ChromaAPI
    private let collection: ChromaContents.Collection
    private let cancellation: Cancellation

    init(_ api: ChromaAPI, _ collection: ChromaContents.Collection, _ cancellation: Cancellation) {
        self.api = api
        self.collection = collection
        self.cancellation = cancellation
    }

    /// Gives the lines to `sink`. Throws unless they are the records of the fixed point.
    func run(_ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
        // A float takes about 11 characters, a record with a short document about 2,000.
        var page = max(1, min(Self.maximumPage, Self.pageBytes / ((collection.dimension ?? 0) * 12 + 2000)))
        var offset: Int64 = 0
        var last: String?
        while offset < collection.records {
            try cancellation.check()
            let limit = Int(min(Int64(page), collection.records - offset))
            let answer: [UInt8]
            do {
                answer = try api.get(
                    collection.database, collection.id, offset: offset, limit: limit,
                    include: ["embeddings", "documents", "uris", "metadatas"], bodyLimit: Self.bodyLimit, cancellation)
            } catch let error as RESTError where error.isTooLong && page > 1 {
                page = max(1, limit / 4)
                continue
            }
            let records: ChromaPage
            do {
                records = try ChromaPage(answer)
            } catch {
                throw LifeboatError.converting(
                    error, "collection '\(collection.place)' of \(api.client.endpoint.subject) cannot be read")
            }
            guard (1...limit).contains(records.lines.count) else { throw changed() }
            for line in records.lines { try (line + [0x0A]).withUnsafeBytes { try sink($0) } }
            last = records.ids.last
            offset += Int64(records.lines.count)
        }
        guard last == collection.last else { throw changed() }
    }

    private func changed() -> LifeboatError {
        LifeboatError(
            "collection '\(collection.place)' of \(api.client.endpoint.subject) changed while it was read",
            causes: ["records were deleted since its point in time was fixed"],
            hint: "Stop what writes to it for the whole backup, or capture its folder: chroma: {path: …}.")
    }
}
