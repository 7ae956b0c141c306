// SPDX-License-Identifier: Apache-2.0

import LifeboatServices
import LifeboatTesting
import Testing

@Suite struct ServiceGraphTests {
    @Test func `services come after what they need, side by side where they can`() {
        let graph = ServiceGraph([
            "api": ["db", "cache", "elsewhere"], "db": [], "cache": [], "web": ["api", "web"], "mail": [],
        ])
        #expect(graph.waves == [["cache", "db", "mail"], ["api"], ["web"]])
        #expect(graph.waves(of: ["web", "db", "nobody"]) == [["db"], ["web"]])
        #expect(ServiceGraph([:]).order.isEmpty)
    }

    @Test func `a circle ends too`() {
        #expect(ServiceGraph(["a": ["b"], "b": ["a"], "c": [], "d": ["a"]]).waves == [["c"], ["a", "b", "d"]])
    }

    @Test(arguments: 1...20) func `any graph gives each service once`(_ seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let names = (0..<12).map { "s\($0)" }
        var needs: [String: Set<String>] = [:]
        for (index, name) in names.enumerated() {
            // Without circles: only earlier ones are needed.
            needs[name] = Set(names[..<index].filter { _ in Bool.random(using: &random) })
        }
        let order = ServiceGraph(needs).order
        #expect(order.sorted() == names.sorted(), "seed \(seed)")
        for (index, name) in order.enumerated() {
            #expect(needs[name]?.isSubset(of: order[..<index]) == true, "seed \(seed)")
        }
    }
}
