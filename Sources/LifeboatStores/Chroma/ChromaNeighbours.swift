// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

extension ChromaStore: NeighbourSearch {
    private static let queries: Int64 = 5
    /// Neighbours a search asks for.
    private static let neighbours = 5
    /// The true neighbours are known for collections up to so many records.
    private static let exactLimit: Int64 = 2000

    package func searchable(_ cancellation: Cancellation) throws -> [String] {
        try contents(cancellation).collections.filter { $0.records > 0 }.map(\.place)
    }

    package func neighbours(in name: String, _ cancellation: Cancellation) throws -> NeighbourReport {
        let collections = try contents(cancellation).collections
        guard let collection = collections.first(where: { $0.place == name || $0.name == name }) else {
            throw LifeboatError("\(subject) has no collection '\(name)'")
        }
        guard collection.records > 0 else {
            throw LifeboatError("collection '\(collection.place)' of \(subject) is empty: it has nothing to find")
        }
        let all = collection.records <= Self.exactLimit ? try records(collection, nil, cancellation) : nil
        let places = Set((0..<Self.queries).map { $0 * (collection.records - 1) / max(1, Self.queries - 1) }).sorted()
        let space = Self.space(collection)
        var report = NeighbourReport(queries: places.count, recall: nil, lost: [])
        var (wanted, found) = (0, 0)
        for place in places {
            try cancellation.check()
            guard let query = try all?[Int(place)] ?? records(collection, place, cancellation).first else { continue }
            let answer = try api.nearest(
                collection.database, collection.id, to: try query.numbers(), count: Self.neighbours)
            let name = try query.name()
            // Others may have the very same vector.
            let isFound = answer.ids.contains(name) || answer.distances.allSatisfy { ($0 ?? 1).magnitude < 1e-5 }
            if !isFound { report.lost.append(name) }
            guard let all else { continue }
            let vector = try query.floats()
            let nearest = try all.map { (name: try $0.name(), distance: space.distance(vector, try $0.floats())) }
                .sorted { $0.distance < $1.distance }.prefix(answer.ids.count)
            wanted += nearest.count
            // By distance, for several may be as far away.
            let limit = (nearest.last?.distance ?? 0) + 1e-5
            found += zip(answer.ids, answer.distances).count { id, distance in
                (distance ?? .infinity) <= limit || nearest.contains { $0.name == id }
            }
        }
        if wanted > 0 { report.recall = Double(found) / Double(wanted) }
        return report
    }

    private static func space(_ collection: ChromaContents.Collection) -> VectorSpace {
        let text = collection.configuration ?? ""
        return [.cosine, .inner].first { text.contains("\"space\":\"\($0.rawValue)\"") } ?? .squared
    }

    /// All records, or the one at a place, with their vectors.
    private func records(
        _ collection: ChromaContents.Collection, _ place: Int64?, _ cancellation: Cancellation
    ) throws -> [ChromaRecord] {
        var records: [ChromaRecord] = []
        let end = place.map { $0 + 1 } ?? collection.records
        var offset = place ?? 0
        while offset < end {
            let page = try ChromaPage(
                try api.get(
                    collection.database, collection.id, offset: offset, limit: Int(min(100, end - offset)),
                    include: ["embeddings"], bodyLimit: 64 << 20, cancellation))
            if page.lines.isEmpty { break }
            records += try page.lines.map { try ChromaRecord($0) }
            offset += Int64(page.lines.count)
        }
        return records
    }
}

extension ChromaRecord {
    fileprivate func name() throws -> String {
        var scanner = JSONScanner(id)
        return try scanner.string()
    }
}

extension ChromaFolderStore: NeighbourSearch {
    package func searchable(_ cancellation: Cancellation) throws -> [String] {
        try server?.searchable(cancellation) ?? []
    }

    package func neighbours(in collection: String, _ cancellation: Cancellation) throws -> NeighbourReport {
        guard let server else {
            throw LifeboatError("\(subject) cannot be searched: no server runs on it")
        }
        return try server.neighbours(in: collection, cancellation)
    }
}
