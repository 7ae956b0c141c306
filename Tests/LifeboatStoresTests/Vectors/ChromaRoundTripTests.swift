// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

@Suite(.enabled(if: ChromaServer.shouldRun, .init(rawValue: ChromaServer.skipReason)))
struct ChromaRoundTripTests {
    @Test func `a schema comes back, into a tenant that is not there`() throws {
        let chroma = try ChromaServer()
        defer { chroma.remove() }
        let state = try Scratch()
        for (name, more) in [
            ("plain", ""),
            (
                "keyed",
                #","schema":{"defaults":{},"keys":{"topic":{"string":{"string_inverted_index":"#
                    + #"{"enabled":false,"config":{}}}}}}"#
            ),
            ("known", #","configuration":{"embedding_function":{"type":"known","name":"default","config":{}}}"#),
        ] {
            try chroma.server.call("POST", ChromaServer.collections(), #"{"name":"\#(name)"\#(more)}"#)
        }
        func store(_ tenant: String) -> ChromaStore {
            ChromaStore(url: chroma.server.url, tenant: tenant, stateFolder: state.path)
        }
        func settings(_ name: String, _ tenant: String = "default_tenant") throws -> [JSONValue?] {
            let path = "/api/v2/tenants/\(tenant)/databases/default_database/collections/\(name)"
            let collection = try chroma.server.call("GET", path)
            return ["schema", "configuration_json", "metadata"].map { collection.value(at: $0) }
        }
        let names = ["plain", "keyed", "known"]
        let before = try names.map { try settings($0) }
        let captured = try capture(store("default_tenant"))
        for name in names { try chroma.server.call("DELETE", "\(ChromaServer.collections())/\(name)") }
        #expect(try restore(store("default_tenant"), captured, "r1") == [])
        #expect(try names.map { try settings($0) } == before)
        let other = store("other")
        #expect(try other.preflightRestore(captured).map(\.message).contains { $0.contains("no tenant 'other'") })
        #expect(try restore(other, captured, "r2") == [])
        #expect(try names.map { try settings($0, "other") } == before)
    }

    @Test func everythingComesBackWhateverHappenedMeanwhile() throws {
        let chroma = try ChromaServer()
        defer { chroma.remove() }
        let state = try TemporaryFolder()
        defer { try? state.remove() }
        _ = try chroma.create("docs", metadata: #"{"f":1.0,"i":1,"big":9007199254740993,"t":"ü"}"#)
        try chroma.fill("docs", 0..<2300)
        try chroma.deleteRecord("docs", 17)
        _ = try chroma.create("angles", space: "cosine", syncThreshold: 100)
        try chroma.fill("angles", 0..<300)
        try chroma.createDatabase("second.one")
        _ = try chroma.create("empty.one", database: "second.one")
        let expected = try chroma.everything("docs")
        let angles = try chroma.everything("angles")
        let settings = try chroma.server.call("GET", "\(ChromaServer.collections())/docs")
        let store = ChromaStore(url: chroma.server.url, stateFolder: state.path)
        #expect(try store.probe().estimatedBytes ?? 0 > 2_000_000)

        let captured = try capture(store) {
            // What is added after the point is not in the snapshot.
            try chroma.fill("docs", 2300..<2400)
        }
        #expect(
            Set(captured.streams.keys) == [
                "collections", "default_database.docs.jsonl", "default_database.angles.jsonl",
                "second%2Eone.empty.one.jsonl",
            ])
        #expect(
            captured.facts.counts == [
                "records:default_database/docs": 2299, "records:default_database/angles": 300,
                "records:second.one/empty.one": 0,
            ])
        #expect(try chroma.count("docs") == 2399)
        // Equal data is equal bytes, though the server gives metadata in another order each time.
        let again = try capture(store)
        #expect(again.streams["default_database.angles.jsonl"] == captured.streams["default_database.angles.jsonl"])

        try chroma.deleteRecord("docs", 5)
        try chroma.server.call("DELETE", "\(ChromaServer.databases())/second.one")
        #expect(try restore(store, captured, "r1") == [])
        #expect(try chroma.everything("docs") == expected)
        #expect(try chroma.everything("angles").count == angles.count)
        #expect(try chroma.collections() == ["angles", "docs"])
        #expect(try chroma.collections("second.one") == ["empty.one"])
        let restored = try chroma.server.call("GET", "\(ChromaServer.collections())/docs")
        for key in ["metadata", "configuration_json", "dimension", "name"] {
            #expect(restored.value(at: key) == settings.value(at: key), "\(key)")
        }
        #expect(try files(in: state.path) == [])
        #expect(try store.points("docs") == 2299)

        // Vectors that find themselves and the same bytes, after a crash and a second start too.
        chroma.server.kill()
        try chroma.server.start()
        #expect(try store.verify(captured) == [])
        chroma.server.stop()
        try chroma.server.start()
        #expect(try store.verify(captured) == [])
        #expect(try chroma.everything("docs") == expected)
        // By cosine the server keeps directions and lengths: what it gives back is off in the last bit, each time.
        #expect(try zip(chroma.everything("angles"), angles).allSatisfy { $0.prefix(12) == $1.prefix(12) })

        // Into a server that lost everything. It forgets the lists in the metadata of what is deleted as a whole, and
        // finds them again in the records that are added next: the restore notices.
        let third = try capture(store)
        #expect(third.streams["default_database.docs.jsonl"] == captured.streams["default_database.docs.jsonl"])
        for name in try chroma.collections() {
            try chroma.server.call("DELETE", "\(ChromaServer.collections())/\(name)")
        }
        #expect(try store.verify(third).map(\.found) == [nil, nil])
        #expect(try restore(store, third, "r2") == [])
        let last = try chroma.everything("docs")
        #expect(last.count == expected.count)
        let different = zip(last, expected).filter { $0 != $1 }
        #expect(different.isEmpty, "\(different.count): \(different.prefix(2))")
    }

    @Test func collectionsComeBackByThemselves() throws {
        let chroma = try ChromaServer()
        defer { chroma.remove() }
        let state = try TemporaryFolder()
        defer { try? state.remove() }
        try chroma.createDatabase("second")
        for name in ["docs", "other"] {
            _ = try chroma.create(name)
            try chroma.fill(name, 0..<40)
        }
        _ = try chroma.create("docs", database: "second")
        let store = ChromaStore(url: chroma.server.url, stateFolder: state.path)
        let captured = try capture(store)
        let expected = try chroma.everything("docs")
        for name in ["docs", "other"] { try chroma.deleteRecord(name, 7) }
        let other = try chroma.everything("other")

        let one = store.limited(to: ["default_database/docs"])
        let selection = try #require(try one.selection(of: captured))
        #expect(selection.streams == ["collections", "default_database.docs.jsonl"])
        #expect(selection.facts.counts == ["records:default_database/docs": 40])
        let staged = try stage(one, captured, "r1")
        try one.swap(staged)
        #expect(try one.verify(captured) == [])
        #expect(try chroma.everything("docs") == expected)
        #expect(try chroma.everything("other") == other)
        try store.limited(to: ["default_database/docs"]).swapBack(staged)
        #expect(try chroma.count("docs") == 39)
        try one.discard(staged)
        #expect(try chroma.collections() == ["docs", "other"])
        let unclear = failure { _ = try store.limited(to: ["docs"]).preflightRestore(captured) }
        #expect(unclear?.message.contains("several collections 'docs'") == true && unclear?.exitCode == .usage)
        let missing = failure { _ = try store.limited(to: ["othr"]).preflightRestore(captured) }
        #expect(missing?.exitCode == .usage && missing?.message.contains("holds no collection 'othr'") == true)
        #expect(try restore(store.limited(to: ["other"]), captured, "r2") == [])
        #expect(try chroma.count("other") == 40 && chroma.count("docs") == 39)
    }

    @Test func aSwapGoesBackFromEveryStep() throws {
        let chroma = try ChromaServer()
        defer { chroma.remove() }
        let state = try TemporaryFolder()
        defer { try? state.remove() }
        for name in ["one", "two", "gone"] {
            _ = try chroma.create(name)
            try chroma.fill(name, 0..<50)
        }
        let store = ChromaStore(url: chroma.server.url, database: "default_database", stateFolder: state.path)
        let captured = try capture(store)
        try chroma.fill("one", 50..<60)
        try chroma.server.call("DELETE", "\(ChromaServer.collections())/gone")
        let live = try chroma.everything("one")

        let never = try stage(store, captured, "never")
        #expect(try chroma.collections().count == 5)
        try store.swapBack(never)
        try store.discard(never)
        try store.discard(never)
        #expect(try chroma.collections() == ["one", "two"])

        let twice = try stage(store, captured, "twice")
        for _ in 0..<2 {
            try store.swap(twice)
            try store.swap(twice)
            #expect(try store.verify(captured) == [])
            try store.swapBack(twice)
            try store.swapBack(twice)
            #expect(try chroma.everything("one") == live)
            #expect(
                try store.verify(captured).map(\.name).sorted() == [
                    "records:default_database/gone", "records:default_database/one",
                ])
        }
        // A crash between the two renames of a collection.
        let staged = try #require(try chroma.collections().first { $0.hasPrefix("one-lifeboat-") })
        let number = try #require(staged.dropFirst("one-lifeboat-".count).first)
        let id = try chroma.id("one")
        try chroma.server.call(
            "PUT", "\(ChromaServer.collections())/\(id)", #"{"new_name":"one-lifeboat-old-\#(number)-twice"}"#)
        try store.swapBack(twice)
        #expect(try chroma.everything("one") == live)
        try store.discard(twice)
        #expect(try chroma.collections() == ["one", "two"])

        // The live collection was replaced since.
        let late = try stage(store, captured, "late")
        try chroma.server.call("DELETE", "\(ChromaServer.collections())/one")
        _ = try chroma.create("one")
        #expect(failure { try store.swap(late) }?.causes == ["it was created or replaced since the restore was staged"])
        try store.swapBack(late)
        try store.discard(late)
        #expect(try chroma.collections() == ["one", "two"])
        #expect(try chroma.count("one") == 0)
        #expect(try files(in: state.path) == [])
    }

    @Test func deletionsWhileItIsReadAreNoticed() throws {
        let chroma = try ChromaServer()
        defer { chroma.remove() }
        let state = try TemporaryFolder()
        defer { try? state.remove() }
        _ = try chroma.create("docs")
        try chroma.fill("docs", 0..<1500)
        let store = ChromaStore(url: chroma.server.url, stateFolder: state.path)
        let error = failure {
            _ = try capture(store) {
                try chroma.deleteRecord("docs", 3)
                try chroma.fill("docs", 1500..<1502)
            }
        }
        #expect(error?.causes == ["records were deleted since its point in time was fixed"])
        #expect(try capture(store).facts.counts == ["records:default_database/docs": 1501])
    }

    @Test func damageWrongServersAndUnknownDatabasesAreTold() throws {
        let chroma = try ChromaServer()
        defer { chroma.remove() }
        let state = try TemporaryFolder()
        defer { try? state.remove() }
        _ = try chroma.create("docs")
        try chroma.fill("docs", 0..<60)
        let url = chroma.server.url
        let store = ChromaStore(url: url, stateFolder: state.path)
        let captured = try capture(store)

        let part = "default_database.docs.jsonl"
        for edit in [
            { (bytes: inout [UInt8]) in bytes.removeLast(1000) },
            { $0.removeFirst(($0.firstIndex(of: 0x0A) ?? 0) + 1) },
            { $0[40] = 0x21 },
        ] as [(inout [UInt8]) -> Void] {
            let damaged = captured.changing(streams: { edit(&$0[part, default: []]) })
            let state = try store.planStaging("bad", of: damaged.facts)
            #expect(throws: (any Error).self) {
                try store.stage(damaged, state, progress: SilentProgress(), cancellation: Cancellation())
            }
            try store.discard(state)
            #expect(try chroma.collections() == ["docs"])
        }
        let database = failure { _ = try ChromaStore(url: url, database: "nowhere", stateFolder: state.path).probe() }
        #expect(database?.causes == ["it has: default_database"])
        let tenant = failure { _ = try ChromaStore(url: url, tenant: "nobody", stateFolder: state.path).probe() }
        #expect(tenant?.message == "cannot find tenant 'nobody' of Chroma at '\(url)'")
        let newer = failure {
            _ = try store.preflightRestore(
                captured.changing(streams: { streams in
                    streams["collections"] = Array(
                        String(decoding: streams["collections"] ?? [], as: UTF8.self)
                            .replacing(#""server" : "1.0.0""#, with: #""server" : "2.3.0""#).utf8)
                }))
        }
        #expect(newer?.causes == ["the snapshot is of Chroma 2.3.0, the server is 1.0.0"])

        // Killed while it is read: an error, and the server has nothing of ours.
        let point = try store.fixPoint(Cancellation())
        defer { point.release() }
        chroma.server.kill()
        let killed = failure { _ = try CapturedContent.readAll(try openPart(point, part)) }
        #expect(killed?.message == "cannot read the records of a collection of Chroma at '\(url)'")
        let down = failure { _ = try store.probe() }
        #expect(down?.hint == "Is the service running, and does it listen on this address?")
        try chroma.server.start()
        #expect(try store.verify(captured) == [])
    }
}
