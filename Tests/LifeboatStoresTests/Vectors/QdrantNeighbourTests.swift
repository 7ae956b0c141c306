// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

@Suite(.enabled(if: QdrantStandIn.shouldRun, .init(rawValue: QdrantStandIn.skipReason)))
struct QdrantNeighbourTests {
    @Test func storedVectorsOfEveryKindFindThemselvesAndWhatTheIndexLostIsNamed() throws {
        let qdrant = try QdrantStandIn()
        defer { qdrant.remove() }
        let state = try TemporaryFolder()
        defer { try? state.remove() }
        for distance in ["Dot", "Cosine", "Euclid", "Manhattan"] {
            try qdrant.create(distance.lowercased(), distance: distance)
            try qdrant.fill(distance.lowercased(), 10..<130)
        }
        try qdrant.create("empty")
        try qdrant.server.call(
            "PUT", "/collections/named",
            #"{"vectors":{"a":{"size":2,"distance":"Euclid"}},"sparse_vectors":{"s":{}}}"#)
        try qdrant.server.call("PUT", "/collections/sparse", #"{"vectors":{},"sparse_vectors":{"s":{}}}"#)
        let sparse = #""s":{"indices":[1,70000],"values":[0.5,2.25]}"#
        try qdrant.server.call(
            "PUT", "/collections/named/points",
            #"""
            {"points":[{"id":"5c56c793-69f3-4fbf-87e6-c4bf54c28c26","vector":{"a":[0.1,2],\#(sparse)}},
            {"id":7,"vector":{"a":[3,4]}},{"id":18446744073709551615,"vector":{"a":[5,4]}}]}
            """#)
        // The second is nearer to the first than that itself, by the product of their values.
        try qdrant.server.call(
            "PUT", "/collections/sparse/points",
            #"{"points":[{"id":1,"vector":{\#(sparse)}},{"id":2,"vector":{"s":{"indices":[1],"values":[90]}}}]}"#)
        try qdrant.alias("current", to: "cosine")

        let cancellation = Cancellation()
        let store = QdrantStore(url: qdrant.server.url, stateFolder: state.path)
        let names = try store.searchable(cancellation)
        #expect(names == ["cosine", "dot", "euclid", "manhattan", "named", "sparse"])
        for name in names + ["current"] {
            let report = try store.neighbours(in: name, cancellation)
            #expect(report.isGood && report.recall == 1 && report.queries > 0, "\(name): \(report)")
        }
        // One of the two points that can be asked for has two vectors.
        #expect(try store.neighbours(in: "named", cancellation).queries == 3)
        let empty = failure { _ = try store.neighbours(in: "empty", cancellation) }
        #expect(empty?.message.hasSuffix("is empty: it has nothing to find") == true)
        #expect(failure { _ = try store.neighbours(in: "absent", cancellation) } != nil)

        try qdrant.faults(#"{"search_loses":[10,129]}"#)
        let damaged = try store.neighbours(in: "current", cancellation)
        #expect(damaged.lost == ["10", "129"] && !damaged.isGood && (damaged.recall ?? 1) < 1)
        // Those whose lists do not hold them are as they were.
        #expect(try store.neighbours(in: "named", cancellation).isGood)
    }
}
