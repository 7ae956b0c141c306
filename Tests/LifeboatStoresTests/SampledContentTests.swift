// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// Shares of what was captured, restored.
struct SampledContentTests {
    private func sample(
        _ content: CapturedContent, _ kind: String, share: Double, seed: String
    ) throws -> SampledContent {
        let drawn = try SampledContent.drawn(from: content, kind: kind, SampleDraw(share: share, seed: seed)) {
            content.taking($0)
        }
        return try #require(drawn)
    }

    private func restore(_ store: any DataStore, _ content: SampledContent, _ restoreID: String) throws
        -> [FactDifference]
    {
        _ = try store.preflightRestore(content)
        let state = try store.planStaging(restoreID, of: content.facts)
        defer { try? store.discard(state) }
        try store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
        try store.swap(state)
        return try store.verify(content)
    }

    @Test func aShareOfFilesIsTheSameForTheSameSeedAndNeverNone() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let tree = "\(folder.path)/tree"
        try FileTree.createFolders("\(tree)/below/deep")
        for number in 0..<400 {
            try AtomicFile.write("file \(number)", to: "\(tree)/\(number % 2 == 0 ? "below/" : "")f\(number)")
        }
        try AtomicFile.write("", to: "\(tree)/empty")
        let runner = SystemProcessRunner()
        _ = try runner.run(ProcessCommand("ln", ["\(tree)/f1", "\(tree)/z-second-name"]))
        _ = try runner.run(ProcessCommand("ln", ["-s", "f1", "\(tree)/link"]))
        let captured = try capture(VolumeStore(path: tree))
        let tenth = try sample(captured, "volume", share: 0.1, seed: "a")
        #expect(tenth.all == 401 && (15..<75).contains(tenth.taken), "\(tenth.taken)")
        #expect(tenth.facts.counts["files"] == Int64(tenth.taken) && tenth.facts.counts["folders"] == 3)

        var paths: [Set<String>] = []
        for seed in ["a", "a", "b"] {
            let place = "\(folder.path)/\(seed)-\(paths.count)"
            let store = VolumeStore(path: place)
            #expect(try restore(store, sample(captured, "volume", share: 0.1, seed: seed), "r1") == [])
            let restored = try TreeCopy(of: place)
            paths.append(Set(restored.paths))
            // A second name goes with the first.
            #expect((restored["z-second-name"] == nil) == (restored["f1"] == nil))
            #expect(restored["link"] != nil && restored["below/deep"] != nil)
            for (path, bytes) in restored.contents {
                #expect(captured.trees["files"]?.contents[path] == bytes)
            }
        }
        #expect(paths[0] == paths[1] && paths[0] != paths[2])
        for seed in 0..<20 {
            let least = try sample(captured, "volume", share: 1e-9, seed: "\(seed)")
            #expect(least.taken == 1 && (least.facts.counts["bytes"] ?? 0) > 0 && !least.isWhole)
        }
        #expect(try sample(captured, "volume", share: 1, seed: "a").isWhole)
    }

    @Test func modelFilesAreHeldAgainstTheirDigestsAndTheOthersAreLeftOut() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let models = "\(folder.path)/models"
        try FileTree.createFolders(models)
        for number in 0..<12 { try AtomicFile.write("weights of \(number)", to: "\(models)/m\(number).bin") }
        let captured = try capture(ModelsStore(path: models, layout: .files))
        let third = try sample(captured, "models", share: 0.3, seed: "a")
        let compared = third.facts.texts.keys.filter { $0.hasPrefix("model:") }
        let left = third.leftOut.texts.keys.filter { $0.hasPrefix("model:") }
        #expect(compared.count == third.taken && left.count == 12 - third.taken && !left.isEmpty)
        let store = ModelsStore(path: "\(folder.path)/restored", layout: .files)
        #expect(try restore(store, third, "r1") == [])
        try AtomicFile.write("others", to: "\(folder.path)/restored/\(compared.first?.dropFirst(6) ?? "")")
        #expect(try store.verify(third).map(\.name) == compared.prefix(1).map { $0 })
    }

    @Test func repositoriesOfACacheAreTakenWholeAndBlobsOfAnOllamaStoreOneByOne() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let made = try SystemProcessRunner().run(
            ProcessCommand(
                "bash",
                [
                    "-euc",
                    """
                    commit=$(printf %040d 7)
                    for n in 1 2 3 4 5 6; do
                        r=hub/models--org--m$n; mkdir -p $r/blobs $r/refs $r/snapshots/$commit
                        printf %s $commit >$r/refs/main
                        for f in weights config; do
                            echo "$f of $n" >new; d=$(sha256sum new | cut -c1-64); mv new $r/blobs/$d
                            ln -s ../../blobs/$d $r/snapshots/$commit/$f
                        done
                    done
                    mkdir -p ollama/blobs ollama/manifests/registry.ollama.ai/library/m
                    for n in 1 2 3 4 5 6; do
                        echo "weights of $n" >new; d=$(sha256sum new | cut -c1-64); s=$(stat -c %s new); mv new ollama/blobs/sha256-$d
                        echo '{"schemaVersion":2,"layers":[{"digest":"sha256:'$d'","size":'$s'}]}' \
                            >ollama/manifests/registry.ollama.ai/library/m/$n
                    done
                    """,
                ], workingDirectory: folder.path), deadline: 60)
        #expect(made.termination.succeeded, "\(made.standardError)")
        let cache = try capture(ModelsStore(path: "\(folder.path)/hub"))
        let half = try sample(cache, "models", share: 0.4, seed: "b")
        let compared = half.facts.texts.keys.filter { $0.hasPrefix("model:") }
        let left = half.leftOut.texts.keys.filter { $0.hasPrefix("model:") }
        // Three files each: two blobs, and the name of the commit.
        #expect(half.all == 18 && half.taken == 3 * compared.count && compared.count + left.count == 6)
        #expect(!compared.isEmpty && !left.isEmpty)
        let restored = ModelsStore(path: "\(folder.path)/half")
        #expect(try restore(restored, half, "r1") == [])
        let blobs = "\(folder.path)/half/models--org--\(compared[0].dropFirst(10).prefix { $0 != "@" })/blobs"
        let blob = try #require(try FileTree.names(in: blobs).first)
        try AtomicFile.write("others", to: "\(blobs)/\(blob)")
        #expect(try Set(restored.verify(half).map(\.name)) == [compared[0]])

        let store = try capture(ModelsStore(path: "\(folder.path)/ollama"))
        let some = try sample(store, "models", share: 0.5, seed: "a")
        #expect(some.all == 12 && (1..<12).contains(some.taken) && some.leftOut.texts.count == 6)
        #expect(try restore(ModelsStore(path: "\(folder.path)/some"), some, "r1") == [])
        #expect(try sample(store, "models", share: 1, seed: "a").leftOut.texts.isEmpty)
    }

    @Test(
        .enabled(if: QdrantStandIn.shouldRun && ChromaServer.shouldRun, "needs the Qdrant engine and Chroma"))
    func collectionsAreTakenWholeOrLeftOut() throws {
        let qdrant = try QdrantStandIn()
        defer { qdrant.remove() }
        let chroma = try ChromaServer()
        defer { chroma.remove() }
        let state = try TemporaryFolder()
        defer { try? state.remove() }
        for name in ["one", "two", "three"] {
            try qdrant.create(name)
            try qdrant.fill(name, 0..<20)
            _ = try chroma.create(name)
            try chroma.fill(name, 0..<20)
        }
        try qdrant.create("empty")
        try qdrant.alias("current", to: "two")
        let stores: [any DataStore] = [
            QdrantStore(url: qdrant.server.url, stateFolder: state.path),
            ChromaStore(url: chroma.server.url, stateFolder: state.path),
        ]
        for store in stores {
            let captured = try capture(store)
            let drawn = (0..<12).compactMap { try? sample(captured, store.kind, share: 0.4, seed: "\($0)") }
            #expect(drawn.allSatisfy { $0.taken == 2 && $0.all == 3 && !$0.isWhole })
            // By turns each of them.
            for name in ["one", "two", "three"] {
                #expect(drawn.contains { $0.holds(collection: name) } && drawn.contains { !$0.holds(collection: name) })
            }
            let without = try #require(drawn.first { !$0.holds(collection: "two") })
            #expect(without.leftOut.counts.values.map { $0 } == [20])
            #expect(without.facts.counts.values.filter { $0 == 20 }.count == 2)
            if store.kind == "qdrant" { #expect(!without.holds(collection: "current")) }
            for name in ["one", "two", "three"] {
                if store.kind == "qdrant" {
                    try qdrant.server.call("DELETE", "/collections/\(name)")
                } else {
                    try chroma.server.call("DELETE", "\(ChromaServer.collections())/\(name)")
                }
            }
            #expect(try restore(store, without, "r1") == [])
            let names = try store.kind == "qdrant" ? qdrant.collections() : chroma.collections()
            #expect(names.filter { $0 != "empty" }.sorted() == ["one", "three"])
        }
    }
}

/// Tables of a dump.
@Suite(.enabled(if: PostgresCluster.shouldRun, .init(rawValue: PostgresCluster.skipReason)))
struct SampledDumpTests {
    private static let schema = """
        CREATE TABLE authors (id int PRIMARY KEY, name text);
        CREATE TABLE books (id int PRIMARY KEY, author int, title text,
            CONSTRAINT written_by FOREIGN KEY (author) REFERENCES authors, CHECK (title <> ''));
        COMMENT ON CONSTRAINT written_by ON books IS 'somebody wrote it';
        CREATE INDEX by_title ON books (title);
        CREATE TABLE "odd ""name" (id bigserial PRIMARY KEY, next bigint REFERENCES "odd ""name");
        CREATE TABLE parted (d date NOT NULL, book int REFERENCES books) PARTITION BY RANGE (d);
        CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
        CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
        CREATE TABLE empty (n int);
        CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM books;
        INSERT INTO authors SELECT n, md5(n::text) FROM generate_series(1, 300) n;
        INSERT INTO books SELECT n, n, 'book ' || n FROM generate_series(1, 200) n;
        INSERT INTO "odd ""name" (next) SELECT n FROM generate_series(1, 50) n;
        INSERT INTO parted SELECT '2026-01-01'::date + n, n FROM generate_series(1, 200) n;
        SELECT lo_from_bytea(0, decode(repeat('ab', 100000), 'hex')), lo_from_bytea(0, 'second');
        """

    @Test(arguments: PostgresRelease.allCases.filter(\.shouldRun))
    func dataOfSomeTablesAndDefinitionsOfAllComeBack(_ release: PostgresRelease) throws {
        let cluster = try PostgresCluster.shared(release)
        let name = "sampled_\(UInt32.random(in: 0...UInt32.max))"
        try cluster.psql("CREATE DATABASE \(name)")
        defer { _ = try? cluster.psql("DROP DATABASE IF EXISTS \(name) WITH (FORCE)") }
        try cluster.psql(Self.schema, database: name)
        let captured = try cluster.store(name).captureAll()
        let drawn = try (0..<200).compactMap { seed in
            try SampledContent.drawn(from: captured, kind: "postgres", SampleDraw(share: 0.3, seed: "\(seed)")) { _ in
                captured
            }
        }
        // What points to something that is left out, what something that is left out points to, and what to itself.
        for kept in ["books", "authors", #""odd ""name""#] {
            let other = kept == "books" ? "authors" : "books"
            let content = try #require(
                drawn.first {
                    $0.facts.counts["rows:public.\(kept)"] != nil && $0.leftOut.counts["rows:public.\(other)"] != nil
                })
            #expect(content.unit == .tables && content.taken == 2 && content.all == 5)
            try cluster.psql("DROP DATABASE \(name) WITH (FORCE)")
            let store = cluster.store(name)
            let state = try store.planStaging("r1")
            try store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
            try store.swap(state)
            #expect(try store.verify(content) == [], "\(kept)")
            for (fact, rows) in content.facts.counts where fact.hasPrefix("rows:") {
                let count = try cluster.psql("SELECT count(*) FROM \(fact.dropFirst(5))", database: name)
                #expect(count == "\(rows)", "\(fact)")
            }
            for fact in content.leftOut.counts.keys {
                #expect(try cluster.psql("SELECT count(*) FROM \(fact.dropFirst(5))", database: name) == "0", "\(fact)")
            }
            let indexes = try cluster.psql(
                "SELECT count(*) FROM pg_indexes WHERE indexname = 'by_title'", database: name)
            #expect(indexes == "1")
            // Only what holds: of a table that points to itself its own.
            let keys = try cluster.psql(
                "SELECT coalesce(string_agg(conrelid::regclass::text, ',' ORDER BY 1), '') FROM pg_constraint"
                    + " WHERE contype = 'f' AND conparentid = 0", database: name)
            #expect(!keys.contains("books") && !keys.contains("parted"))
            if content.facts.counts[#"rows:public."odd ""name""#] != nil { #expect(keys == #""odd ""name""#) }
        }
    }
}
