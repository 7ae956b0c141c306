// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// What a search for stored vectors found.
package struct NeighbourReport: Sendable, Equatable {
    /// Vectors that were searched for.
    package var queries: Int
    /// Of the true nearest neighbours, how many the index found, 0...1; nil: the collection is too large to know the
    /// true ones.
    package var recall: Double?
    /// Records whose own vector does not find them.
    package var lost: [String]

    package init(queries: Int, recall: Double?, lost: [String]) {
        self.queries = queries
        self.recall = recall
        self.lost = lost
    }

    /// An index is approximate, and a good one finds nearly all.
    package static let neededRecall = 0.8
    package var isGood: Bool { lost.isEmpty && (recall ?? 1) >= Self.neededRecall }
}

/// A store of vectors that can be searched.
package protocol NeighbourSearch: DataStore {
    /// Names of the collections, as `neighbours` takes them.
    func searchable(_ cancellation: Cancellation) throws -> [String]
    /// Searches for vectors of a collection, spread over it, and holds the answers against the distances themselves.
    func neighbours(in collection: String, _ cancellation: Cancellation) throws -> NeighbourReport
}

/// How far vectors are from each other.
enum VectorSpace: String {
    case squared = "l2"
    case cosine
    case inner = "ip"

    func distance(_ left: [Float], _ right: [Float]) -> Double {
        var (product, difference, leftLength, rightLength) = (0.0, 0.0, 0.0, 0.0)
        for (one, other) in zip(left, right) {
            let (one, other) = (Double(one), Double(other))
            product += one * other
            difference += (one - other) * (one - other)
            leftLength += one * one
            rightLength += other * other
        }
        switch self {
        case .squared: return difference
        case .inner: return 1 - product
        case .cosine:
            let length = (leftLength * rightLength).squareRoot()
            return length > 0 ? 1 - product / length : 1
        }
    }
}
