// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

@Suite(.enabled(if: QdrantStandIn.shouldRun, .init(rawValue: QdrantStandIn.skipReason)))
struct QdrantRoundTripTests {
    /// Two collections that are used by name, one of them with named and sparse vectors, and one behind aliases.
    private func fill(_ qdrant: QdrantStandIn) throws {
        try qdrant.create("docs", distance: "Cosine")
        try qdrant.fill("docs", 0..<1200)
        try qdrant.server.call(
            "PUT", "/collections/docs/index?wait=true", #"{"field_name":"t","field_schema":"keyword"}"#)
        try qdrant.server.call(
            "PUT", "/collections/mixed",
            #"{"vectors":{"a":{"size":2,"distance":"Euclid"}},"sparse_vectors":{"s":{}}}"#)
        try qdrant.server.call(
            "PUT", "/collections/mixed/points",
            #"""
            {"points":[{"id":"5c56c793-69f3-4fbf-87e6-c4bf54c28c26","vector":{"a":[0.1,2],"s":{"indices":[1,70000],
            "values":[0.5,1e-30]}},"payload":{"deep":{"list":[1,2.0,{"x":null}]}}},
            {"id":18446744073709551615,"vector":{"a":[3,4]}}]}
            """#)
        try qdrant.create("chunks_v1")
        try qdrant.fill("chunks_v1", 0..<700, seed: 7)
        try qdrant.alias("chunks", to: "chunks_v1")
        try qdrant.alias("chunks_read", to: "chunks_v1")
    }

    private func everything(_ qdrant: QdrantStandIn) throws -> [String: String] {
        var all: [String: String] = [:]
        for name in ["docs", "mixed", "chunks"] { all[name] = try qdrant.everything(name) }
        return all
    }

    @Test func everythingComesBackWhateverHappenedMeanwhile() throws {
        let qdrant = try QdrantStandIn(key: Secret("canary-qdrant-key"))
        defer { qdrant.remove() }
        let state = try TemporaryFolder()
        defer { try? state.remove() }
        try fill(qdrant)
        let expected = try everything(qdrant)
        let store = QdrantStore(url: qdrant.server.url, key: qdrant.key, stateFolder: state.path)
        #expect(try store.probe().engineVersion == "1.19.0")

        let captured = try capture(store) {
            // What is written after the point is not in the snapshot.
            try qdrant.fill("docs", 1200..<1300)
            try qdrant.server.call("POST", "/collections/chunks/points/delete", #"{"points":[1,2,3]}"#)
        }
        #expect(
            Set(captured.streams.keys) == ["collections", "docs.snapshot", "mixed.snapshot", "chunks_v1.snapshot"])
        #expect(
            captured.facts.counts == ["points:docs": 1200, "points:mixed": 2, "points:chunks_v1": 700])
        #expect(captured.facts.texts["alias:chunks_read"] == "chunks_v1")
        #expect(captured.facts.texts["payload-index:docs:t"] == "keyword")
        #expect(captured.facts.texts["server"] == "1.19.0")
        #expect(try qdrant.leftovers() == [])
        #expect(try files(in: state.path) == [])
        #expect(!String(decoding: captured.streams["collections"] ?? [], as: UTF8.self).contains("canary"))

        // Live data that is newer, of other settings, and gone.
        try qdrant.fill("chunks", 0..<50, seed: 99)
        try qdrant.server.call("DELETE", "/collections/mixed")
        try qdrant.alias("kept", to: "docs")
        try qdrant.create("chunks_v2")
        try qdrant.alias("chunks_read", to: "chunks_v2")
        #expect(try restore(store, captured, "r1") == [])
        #expect(try everything(qdrant) == expected)
        #expect(try qdrant.collections() == ["chunks_v1", "chunks_v2", "docs", "mixed"])
        #expect(
            try qdrant.aliases() == ["chunks": "chunks_v1", "chunks_read": "chunks_v1", "kept": "docs"])
        #expect(try qdrant.server.text("GET", "/collections/docs").contains("keyword"))
        #expect(try qdrant.leftovers() == [])
        #expect(try files(in: state.path) == [])
        #expect(try store.points("chunks") == 700)

        // Once more, from what a restore made, into a server that lost everything.
        let again = try capture(store)
        for name in try qdrant.collections() { try qdrant.server.call("DELETE", "/collections/\(name)") }
        #expect(try restore(store, again, "r2") == [])
        #expect(try everything(qdrant) == expected)
        #expect(try qdrant.aliases()["kept"] == "docs")
        #expect(try qdrant.collections() == ["chunks_v1", "chunks_v2", "docs", "mixed"])
        #expect(try qdrant.leftovers() == [])

        // And it is all there after a crash of the server.
        qdrant.server.kill()
        try qdrant.server.start()
        #expect(try everything(qdrant) == expected)
    }

    @Test func collectionsComeBackByThemselves() throws {
        let qdrant = try QdrantStandIn()
        defer { qdrant.remove() }
        let state = try TemporaryFolder()
        defer { try? state.remove() }
        try fill(qdrant)
        let store = QdrantStore(
            url: qdrant.server.url, collections: ["docs", "mixed", "chunks"], stateFolder: state.path)
        let captured = try capture(store)
        let expected = try everything(qdrant)
        for name in ["docs", "mixed", "chunks"] {
            try qdrant.server.call(
                "POST", "/collections/\(name)/points/delete", #"{"points":[1,18446744073709551615]}"#)
        }
        let spoiled = try everything(qdrant)

        let one = store.limited(to: ["docs"])
        #expect(one.subject.hasPrefix("collection 'docs' of Qdrant"))
        let selection = try #require(try one.selection(of: captured))
        #expect(selection.streams == ["collections", "docs.snapshot"])
        #expect(selection.facts.counts == ["points:docs": 1200])
        #expect(selection.bytes < UInt64(captured.streams.values.reduce(0) { $0 + $1.count }))
        let staged = try stage(one, captured, "r1")
        #expect(staged.values.keys.filter { $0.hasPrefix("staged:") } == ["staged:docs"])
        try one.swap(staged)
        #expect(try one.verify(captured) == [])
        var now = try everything(qdrant)
        #expect(now["docs"] == expected["docs"])
        #expect(now["mixed"] == spoiled["mixed"] && now["chunks"] == spoiled["chunks"])
        #expect(try !store.verify(captured).isEmpty)
        try store.limited(to: ["docs"]).swapBack(staged)
        #expect(try everything(qdrant) == spoiled)
        try one.discard(staged)

        // By an alias, with another; what is not there is told.
        #expect(try restore(store.limited(to: ["chunks", "mixed"]), captured, "r2") == [])
        now = try everything(qdrant)
        #expect(now["docs"] == spoiled["docs"])
        #expect(now["mixed"] == expected["mixed"] && now["chunks"] == expected["chunks"])
        #expect(try qdrant.leftovers() == [])
        let missing = failure { _ = try store.limited(to: ["dosc"]).preflightRestore(captured) }
        #expect(missing?.exitCode == .usage && missing?.hint == "Did you mean 'docs'?", "\(missing?.description ?? "")")
    }

    @Test func aSwapGoesBackFromEveryStep() throws {
        let qdrant = try QdrantStandIn()
        defer { qdrant.remove() }
        let state = try TemporaryFolder()
        defer { try? state.remove() }
        try qdrant.create("docs")
        try qdrant.fill("docs", 0..<300)
        try qdrant.create("v1")
        try qdrant.fill("v1", 0..<100)
        try qdrant.alias("chunks", to: "v1")
        let store = QdrantStore(url: qdrant.server.url, collections: ["docs", "chunks"], stateFolder: state.path)
        let captured = try capture(store)
        try qdrant.fill("docs", 300..<400)
        try qdrant.fill("chunks", 100..<150)
        try qdrant.alias("other", to: "docs")
        let live = [try qdrant.everything("docs"), try qdrant.everything("chunks")]
        func look() throws -> [String] { [try qdrant.everything("docs"), try qdrant.everything("chunks")] }

        // Never swapped.
        let never = try stage(store, captured, "never")
        #expect(try qdrant.collections() == ["chunks_lifeboat_never", "docs", "docs_lifeboat_never", "v1"])
        try store.swapBack(never)
        try store.discard(never)
        try store.discard(never)
        #expect(try look() == live)
        #expect(try qdrant.collections() == ["docs", "v1"])

        // Swapped, back, and again; each twice.
        let twice = try stage(store, captured, "twice")
        for _ in 0..<2 {
            try store.swap(twice)
            try store.swap(twice)
            #expect(try store.verify(captured) == [])
            #expect(try qdrant.count("docs") == 300)
            try store.swapBack(twice)
            try store.swapBack(twice)
            #expect(try look() == live)
            #expect(try store.verify(captured).map(\.name).sorted() == ["points:chunks", "points:docs"])
        }
        #expect(try qdrant.aliases() == ["chunks": "v1", "other": "docs"])
        try store.discard(twice)
        #expect(try qdrant.collections() == ["docs", "v1"])

        // The disk is full while the live name is filled: it goes back.
        let half = try stage(store, captured, "half")
        try qdrant.server.call("PUT", "/stand-in/faults", #"{"upload_fails_after":1}"#)
        #expect(failure { try store.swap(half) } != nil)
        #expect(try !qdrant.collections().contains("docs"))
        #expect(failure { try store.discard(half) }?.message.contains("half exchanged") == true)
        try qdrant.faults("{}")
        try store.swapBack(half)
        #expect(try look() == live)
        try store.discard(half)
        #expect(try qdrant.collections() == ["docs", "v1"])
        #expect(try qdrant.leftovers() == [])
        #expect(try files(in: state.path) == [])
    }

    @Test func thePolicyChoosesByNameOrAlias() throws {
        let qdrant = try QdrantStandIn()
        defer { qdrant.remove() }
        let state = try TemporaryFolder()
        defer { try? state.remove() }
        try qdrant.create("v1")
        try qdrant.fill("v1", 0..<20)
        try qdrant.create("rest")
        try qdrant.alias("chunks", to: "v1")
        let byName = QdrantStore(url: qdrant.server.url, collections: ["v1"], stateFolder: state.path)
        let byAlias = QdrantStore(url: qdrant.server.url, collections: ["chunks"], stateFolder: state.path)
        let named = try capture(byName)
        #expect(named.facts.counts == ["points:v1": 20])
        try qdrant.fill("v1", 20..<30)
        #expect(try restore(byName, named, "n") == [])
        #expect(try qdrant.collections() == ["rest", "v1"])
        #expect(try qdrant.aliases() == ["chunks": "v1"])
        #expect(try qdrant.count("chunks") == 20)
        let aliased = try capture(byAlias)
        try qdrant.fill("v1", 20..<30)
        #expect(try restore(byAlias, aliased, "a") == [])
        #expect(try qdrant.collections() == ["chunks_lifeboat_a", "rest"])
        #expect(try qdrant.count("chunks") == 20)
        // A live alias where the snapshot had a collection: the alias moves.
        try qdrant.alias("v1", to: "rest")
        #expect(try restore(byName, named, "m") == [])
        #expect(try qdrant.count("v1") == 20)
        let missing = failure {
            _ = try capture(QdrantStore(url: qdrant.server.url, collections: ["no"], stateFolder: state.path))
        }
        #expect(missing?.message == "Qdrant at '\(qdrant.server.url)' has no collection or alias 'no'")
    }
}
