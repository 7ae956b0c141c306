// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// A real embedding model in the layouts it is met in: kept, lost, restored and compared; one bit of it flipped, and
/// named.
@Suite(.enabled(if: ModelFixture.isThere)) struct ModelsStoreTests {
    enum Kind: String, CaseIterable, Sendable {
        case ollama, huggingFace, files

        func make(_ folder: String) throws {
            switch self {
            case .ollama: try ModelFixture.makeOllama(folder)
            case .huggingFace: try ModelFixture.makeHuggingFace(folder)
            case .files: try ModelFixture.makeFiles(folder)
            }
        }

        var models: [String] {
            switch self {
            case .ollama: ["hf.co/user/other:Q4", "listed:1b", "minilm:latest"]
            case .huggingFace:
                [
                    "org/words@\(ModelFixture.commit)",
                    "sentence-transformers/all-MiniLM-L6-v2@\(ModelFixture.commit)",
                ]
            case .files:
                [
                    "indexes/flat.faiss", "indexes/graph.index", "indexes/ids.faiss", "minilm-f16.gguf",
                    "model.safetensors",
                ]
            }
        }

        /// The largest file: the weights.
        func weights(_ folder: String) throws -> String {
            let tree = try FolderSource(folder).walk(Cancellation())
            defer { tree.close() }
            var largest: (path: String, size: UInt64) = ("", 0)
            while let item = try tree.next() {
                if item.entry.size > largest.size {
                    largest = (String(decoding: item.entry.path, as: UTF8.self), item.entry.size)
                }
            }
            return largest.path
        }
    }

    struct Content: RestoreContent {
        var tree: TreeCopy?
        var lock: [UInt8]?
        var facts: StoreFacts

        var engineVersion: String? { nil }
        func openStream(_ name: String) throws -> any ByteSource {
            try MemoryContent(facts, streams: lock.map { ["models.lock.json": $0] } ?? [:]).openStream(name)
        }
        func streamSize(_ name: String) -> UInt64? {
            name == "models.lock.json" ? lock.map { UInt64($0.count) } : nil
        }
        func extractTree(_ name: String, into target: any FileTreeTarget, cancellation: Cancellation) throws {
            guard name == "files", let tree else { throw LifeboatError("no tree '\(name)'") }
            try tree.extract(into: target)
        }
    }

    private func capture(_ store: ModelsStore) throws -> Content {
        let point = try store.fixPoint(Cancellation())
        defer { point.release() }
        var (tree, lock): (TreeCopy?, [UInt8]?) = (nil, nil)
        for part in point.parts {
            switch part {
            case .tree(_, let source): tree = try TreeCopy(walking: source)
            case .stream(_, let open): lock = try MemoryContent.bytes(of: try open())
            }
        }
        return Content(tree: tree, lock: lock, facts: try point.facts())
    }

    private func problems(_ point: any CapturePoint) throws -> String {
        defer { point.release() }
        _ = try point.facts()
        return point.problems.map(\.description).joined(separator: "\n")
    }

    private func models(_ facts: StoreFacts) -> [String] {
        facts.texts.keys.filter { $0.hasPrefix("model:") }.map { String($0.dropFirst(6)) }.sorted()
    }

    @Test(arguments: Kind.allCases) func `models come back as they were, and a flipped bit is named`(_ kind: Kind)
        throws
    {
        let scratch = try Scratch()
        let folder = scratch("models")
        try kind.make(folder)
        let store = ModelsStore(path: folder, cacheFolder: scratch("cache"))
        let probe = try store.probe()
        let size = try #require(probe.estimatedBytes)
        #expect(size > 40_000_000)
        let content = try capture(store)
        #expect(models(content.facts) == kind.models)
        let problems = content.tree?.entries.compactMap(\.problem) ?? []
        #expect(problems.isEmpty)
        let paths = content.tree?.paths ?? []
        #expect(!paths.contains { $0.contains("partial") || $0.hasSuffix(".incomplete") || $0.hasSuffix(".lock") })
        #expect(try store.verify(content).isEmpty)
        let before = try TreeCopy(of: folder)

        // Destroyed, restored, compared byte for byte.
        try TreeRemoval.remove(folder)
        #expect(try !store.verify(content).isEmpty)
        #expect(try store.preflightRestore(content).isEmpty)
        let state = try store.planStaging("r1")
        try store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
        for _ in 0..<2 { try store.swap(state) }
        #expect(try store.verify(content).isEmpty)
        let after = try TreeCopy(of: folder)
        let same = after.portable == (content.tree?.portable ?? []) && after.contents == content.tree?.contents
        #expect(same)
        let whole = Set(before.paths).subtracting(after.paths)
        #expect(whole.allSatisfy { $0.contains("-partial") || $0.hasSuffix(".incomplete") || $0.hasPrefix(".locks") })
        try store.discard(state)

        // A bit of the weights, where no header speaks of it.
        let weights = try kind.weights(folder)
        try ModelFixture.flip("\(folder)/\(weights)", at: 40_000_000)
        let differences = try store.verify(content)
        #expect(differences.count == (kind == .files ? 1 : 1))
        let named = "\(differences)"
        #expect(named.contains(kind == .huggingFace ? "all-MiniLM" : kind == .ollama ? "minilm:latest" : "safetensors"))
        guard kind != .files else { return }
        // And at the next capture: the content is not what its name says.
        let damaged = try capture(store)
        let entry = damaged.tree?[weights]
        #expect(entry?.problem?.contains("its content is sha256:") == true)
    }

    @Test(arguments: [Kind.ollama, .huggingFace])
    func `a list of models says what to fetch and knows what is there`(_ kind: Kind) throws {
        let scratch = try Scratch()
        let folder = scratch("models")
        try kind.make(folder)
        let store = ModelsStore(path: folder, keep: .manifest)
        let content = try capture(store)
        let lock = try #require(content.lock)
        #expect(content.tree == nil && lock.count < 20_000)
        #expect(models(content.facts) == kind.models)
        #expect(try store.preflightRestore(content).isEmpty)
        #expect(try store.verify(content).isEmpty)
        let weights = try kind.weights(folder)

        if kind == .huggingFace {
            let reference = "\(folder)/models--sentence-transformers--all-MiniLM-L6-v2/refs/main"
            unlink(reference)
            let lost = try store.verify(content)
            #expect(lost.count == 1 && lost[0].name.hasPrefix("reference 'main'") && !lost[0].isLoss)
            try AtomicFile.write(ModelFixture.commit, to: reference)
        }
        try ModelFixture.flip("\(folder)/\(weights)", at: 1_000_000)
        #expect(try store.preflightRestore(content).isEmpty, "names and sizes are right")
        let flipped = try store.verify(content)
        #expect(flipped.count == 1 && flipped[0].found?.contains("not whole") == true && !flipped[0].isLoss)

        try TreeRemoval.remove("\(folder)/\(weights)")
        #expect(try store.preflightRestore(content).count == 1)
        try TreeRemoval.remove(folder)
        let warnings = try store.preflightRestore(content)
        #expect(warnings.count == kind.models.count)
        let text = warnings.map(\.description).joined(separator: "\n")
        switch kind {
        case .ollama:
            #expect(text.contains("ollama pull minilm:latest") && text.contains("ollama pull hf.co/user/other:Q4"))
        default:
            let command =
                "hf download sentence-transformers/all-MiniLM-L6-v2 --revision \(ModelFixture.commit)"
            #expect(text.contains(command) && text.contains("--repo-type dataset"))
            // A fetch by commit writes no reference: the list keeps it.
            #expect(text.contains("printf %s \(ModelFixture.commit) > '\(folder)/models--sentence-transformers"))
        }
        // Nothing is staged and nothing exchanged; what is missing is no loss of the restore.
        let state = try store.planStaging("r1")
        try store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
        try store.swap(state)
        let missing = try store.verify(content)
        #expect(missing.count == kind.models.count && missing.allSatisfy { !$0.isLoss && $0.found == nil })
        try store.swapBack(state)
        try store.discard(state)
        #expect(access(folder, F_OK) != 0)
    }

    @Test func `what an Ollama store lacks is named by model`() throws {
        let scratch = try Scratch()
        let folder = scratch("models")
        try ModelFixture.makeOllama(folder)
        let manifest = "\(folder)/manifests/registry.ollama.ai/library/minilm"
        // A model that came after the point was fixed is not half there.
        let store = ModelsStore(path: folder, layout: .ollama)
        let point = try store.fixPoint(Cancellation())
        try scratch.write("models/manifests/registry.ollama.ai/library/minilm/late", "{\"layers\":[{\"digest\":\"\"}]}")
        guard case .tree(_, let source) = point.parts[0] else { return }
        let late = try TreeCopy(walking: source)
        #expect(!late.paths.contains { $0.hasSuffix("/late") } && late.paths.contains { $0.hasSuffix("/latest") })
        #expect(models(try point.facts()) == Kind.ollama.models)
        unlink("\(manifest)/late")
        // One whose files go away meanwhile is.
        let gone = try store.fixPoint(Cancellation())
        let weights = try Kind.ollama.weights(folder)
        try Rename.exchange("\(folder)/\(weights)", "\(manifest)/latest")
        try TreeRemoval.remove("\(manifest)/latest")
        unlink("\(folder)/\(weights)")
        #expect(try problems(gone).contains("removed during the backup"))
        // Missing, cut, spoilt.
        try scratch.write("models/manifests/registry.ollama.ai/library/minilm/cut", "{\"layers\": [")
        try scratch.write(
            "models/manifests/registry.ollama.ai/library/minilm/out",
            "{\"layers\":[{\"digest\":\"sha256:../../etc/passwd\",\"size\":1}]}")
        let lack = String(repeating: "a", count: 64)
        try scratch.write(
            "models/manifests/registry.ollama.ai/library/minilm/lack",
            "{\"layers\":[{\"digest\":\"sha256:\(lack)\",\"size\":1}]}")
        let text = try problems(try store.fixPoint(Cancellation()))
        for expected in ["'minilm:cut'", "'minilm:out'", "'minilm:lack'", "'blobs/sha256-\(lack)' is missing"] {
            #expect(text.contains(expected), "\(text)")
        }
        // Empty: a server that was killed leaves one. What is there of all models is captured all the same.
        try scratch.write("models/manifests/registry.ollama.ai/library/minilm/none", "")
        let content = try capture(store)
        #expect(models(content.facts) == ["hf.co/user/other:Q4", "listed:1b"])
        #expect(content.facts.texts["incomplete:minilm:none"] != nil)
        #expect(content.tree?.paths.contains { $0.hasSuffix("/minilm/none") } == true)
        #expect(try store.verify(content).isEmpty, "only what was whole is compared")
    }

    @Test func `what a Hugging Face cache lacks is named by model`() throws {
        let scratch = try Scratch()
        let hub = scratch("home/hub")
        try scratch.folder("home")
        try scratch.write("home/token", "hf_canary")
        try ModelFixture.makeHuggingFace(hub)
        let repository = "\(hub)/models--sentence-transformers--all-MiniLM-L6-v2"
        let snapshot = "\(repository)/snapshots/\(ModelFixture.commit)"
        let store = ModelsStore(path: scratch("home"))
        let content = try capture(store)
        #expect(models(content.facts) == Kind.huggingFace.models)
        #expect(content.tree?["token"] == nil && content.tree?["hub/CACHEDIR.TAG"] != nil)
        // One that is being downloaded is told, and no damage.
        let next = String(repeating: "b", count: 64)
        #expect(symlink("../../blobs/\(next)", "\(snapshot)/next.bin") == 0)
        try scratch.write("home/hub/models--sentence-transformers--all-MiniLM-L6-v2/blobs/\(next).incomplete", "part")
        #expect(try store.probe().warnings.contains { $0.message.contains("being downloaded") })
        #expect(try models(capture(store).facts) == Kind.huggingFace.models)
        // Shards, sizes, references.
        unlink("\(repository)/blobs/\(next).incomplete")
        let base = "home/hub/models--sentence-transformers--all-MiniLM-L6-v2"
        try scratch.write(
            "\(base)/snapshots/\(ModelFixture.commit)/model.safetensors.index.json",
            "{\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\",\"b\":\"model.safetensors\"}}")
        try scratch.write("\(base)/refs/other", String(repeating: "c", count: 40))
        try scratch.folder("\(base)/trees")
        try scratch.write(
            "\(base)/trees/\(ModelFixture.commit).json",
            "{\"config.json\":{\"size\":1},\"model.safetensors\":{\"size\":134,\"lfs_size\":90868376},\"x\":{\"size\":1}}"
        )
        let text = try problems(try store.fixPoint(Cancellation()))
        for expected in [
            "'next.bin' is a link to '", "'model-00001-of-00002.safetensors' is missing",
            "'config.json' has 612 bytes instead of 1",
        ] {
            #expect(text.contains(expected), "\(text)")
        }
        let told = try store.probe().warnings.map(\.message).joined(separator: "\n")
        #expect(told.contains("of which no file was downloaded") && told.contains("1 of 3 files were never downloaded"))
        // As huggingface_hub 2 writes the list.
        try scratch.write(
            "\(base)/trees/\(ModelFixture.commit).json",
            #"{"format_version":1,"files":{"config.json":{"size":2,"blob_id":"x"}}}"#)
        #expect(try problems(try store.fixPoint(Cancellation())).contains("'config.json' has 612 bytes instead of 2"))
        try scratch.write("\(base)/trees/\(ModelFixture.commit).json", #"{"format_version":2,"files":[]}"#)
        #expect(try !problems(try store.fixPoint(Cancellation())).contains("'config.json'"))
        // A blob whose download has begun, as huggingface_hub 2 names it.
        try scratch.write(
            "home/hub/models--sentence-transformers--all-MiniLM-L6-v2/blobs/\(next).0a1b2c3d.incomplete", "part")
        #expect(try store.probe().warnings.contains { $0.message.contains("being downloaded") })
        #expect(!text.contains("'model.safetensors' is missing"), "\(text)")
    }

    @Test func `digests of files are read once and not believed after a change`() throws {
        let scratch = try Scratch()
        try scratch.folder("models")
        for name in ["a", "b"] { try scratch.write("models/\(name).bin", SplitMix64.bytes(1, 100_000)) }
        let store = ModelsStore(path: scratch("models"), cacheFolder: scratch("cache"))
        let first = try capture(store).facts
        // A file that changed a moment ago is not remembered: it might change again unseen.
        usleep(50_000)
        let second = try capture(store).facts
        #expect(first == second)
        let cache = scratch("cache/model-digests")
        let file = try OwnedDescriptor.open(cache, O_RDONLY)
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = try bytes.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, cache) }
        var lines = String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n").map(String.init)
        #expect(lines.count == 2)
        // The cache is believed: it says something else now, and so does the store.
        let forged = String(repeating: "d", count: 64)
        lines = lines.map { "\($0.prefix { $0 != " " }) \(forged)" }
        try AtomicFile.write(lines.joined(separator: "\n") + "\n", to: cache)
        #expect(try capture(store).facts.texts["model:a.bin"]?.hasPrefix("sha256:\(forged)") == true)
        // But not for a file that changed, not when it is spoilt, and never by a verification.
        try scratch.write("models/a.bin", SplitMix64.bytes(2, 100_000))
        #expect(try capture(store).facts.texts["model:a.bin"]?.hasPrefix("sha256:\(forged)") == false)
        try scratch.write("cache/model-digests", "nonsense\n\0\0 \(forged)\n")
        let third = try capture(store).facts
        #expect(third.texts["model:b.bin"] == first.texts["model:b.bin"])
        #expect(try store.verify(Content(tree: nil, lock: nil, facts: third)).isEmpty)
    }
}
