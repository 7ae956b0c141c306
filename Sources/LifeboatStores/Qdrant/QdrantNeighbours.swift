// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Stored vectors are searched for twice: as applications do it, through the index, and with all vectors of the
/// collection looked at, which is the truth the index is held against. Dense vectors, named ones, several of a point, and
/// sparse ones alike.
extension QdrantStore: NeighbourSearch {
    private static let queries = 5
    /// Neighbours a search asks for.
    private static let neighbours = 5
    /// Looking at every vector of a larger collection takes long: it is done once.
    private static let largeCollection: Int64 = 100_000
    /// Points to search for are spread over the first so many.
    private static let listed = 10_000

    /// As applications call them; those without points or without vectors have nothing to find.
    package func searchable(_ cancellation: Cancellation) throws -> [String] {
        let names = try collections ?? api.collections(cancellation).filter { !QdrantNames.isStaged($0) }
        return try names.filter { name in
            try cancellation.check()
            let params = try api.describe(name, cancellation).config.value(at: "params")
            let hasVectors = ["vectors", "sparse_vectors"].contains { key in
                guard case .object(let vectors)? = params?.value(at: key) else { return false }
                return !vectors.isEmpty
            }
            return try hasVectors && api.count(name, cancellation) > 0
        }
    }

    package func neighbours(in collection: String, _ cancellation: Cancellation) throws -> NeighbourReport {
        let points = try api.count(collection, cancellation)
        guard points > 0 else {
            throw LifeboatError("collection '\(collection)' of \(subject) is empty: it has nothing to find")
        }
        let queries = points > Self.largeCollection ? 1 : Self.queries
        var report = NeighbourReport(queries: 0, recall: nil, lost: [])
        var (wanted, found) = (0, 0)
        for point in try samples(of: collection, queries, cancellation) {
            for (using, vector) in point.vectors {
                try cancellation.check()
                let search = QdrantAPI.Search(vector: vector, using: using, limit: Self.neighbours)
                let answer = try api.nearest(collection, search, isExact: false, cancellation)
                let truth = try api.nearest(collection, search, isExact: true, cancellation)
                report.queries += 1
                let match = Match(answer, truth)
                wanted += truth.count
                found += match.found
                // A larger vector may be nearer by the dot product, and others may be the very same.
                if let own = truth.first(where: { $0.id == point.id }), !match.finds(own) {
                    report.lost.append((point.id.text ?? "?") + (using.map { " by '\($0)'" } ?? ""))
                }
            }
        }
        guard report.queries > 0 else {
            throw LifeboatError("the points of collection '\(collection)' of \(subject) have no vectors to search for")
        }
        if wanted > 0 { report.recall = Double(found) / Double(wanted) }
        return report
    }

    /// Points spread over the collection, with their vectors.
    private func samples(
        of collection: String, _ count: Int, _ cancellation: Cancellation
    ) throws -> [QdrantAPI.Point] {
        let ids = try api.scroll(collection, from: nil, limit: Self.listed, withVectors: false, cancellation).map(\.id)
        let places = Set((0..<count).map { $0 * (ids.count - 1) / max(1, count - 1) }).sorted()
        return try places.flatMap { place -> [QdrantAPI.Point] in
            // Numbers of more than 63 bits cannot be asked for as they are.
            if case .number = ids[place] { return [] }
            return try api.scroll(collection, from: ids[place], limit: 1, withVectors: true, cancellation)
        }
    }

    /// What the index found, held against the truth.
    private struct Match {
        private let answer: [QdrantAPI.Hit]
        private let truth: [QdrantAPI.Hit]

        init(_ answer: [QdrantAPI.Hit], _ truth: [QdrantAPI.Hit]) {
            self.answer = answer
            self.truth = truth
        }

        /// Scores are of 32 bits, and added up in different orders.
        private static func isSame(_ left: Double, _ right: Double) -> Bool {
            abs(left - right) <= 1e-4 * max(1, abs(left), abs(right))
        }

        /// How many of the answer belong to the nearest; by the score, for several may be as near.
        var found: Int {
            guard let last = truth.last?.score else { return 0 }
            let hits = answer.count { hit in
                truth.contains { $0.id == hit.id } || Self.isSame(hit.score, last)
            }
            return min(hits, truth.count)
        }

        func finds(_ own: QdrantAPI.Hit) -> Bool {
            answer.contains { $0.id == own.id }
                || !answer.isEmpty && answer.allSatisfy { Self.isSame($0.score, own.score) }
        }
    }
}
