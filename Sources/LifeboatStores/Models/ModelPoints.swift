// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// The models there were when the point was fixed, and their files.
final class ModelTreePoint: CapturePoint {
    private let store: ModelsStore
    private let root: String
    private let catalog: ModelCatalog
    private let cancellation: Cancellation
    private let tree: ModelTreeSource
    private let source: CountedSource
    private let lastProblems = Monitor<[LifeboatError]>([])

    init(store: ModelsStore, root: String, catalog: ModelCatalog, cancellation: Cancellation) {
        self.store = store
        self.root = root
        self.catalog = catalog
        self.cancellation = cancellation
        let (layout, manifests) = (catalog.layout, catalog.manifests)
        let folder = FolderSource(
            root, FolderSource.Options(exclude: ExcludePatterns(catalog.layout.excluded), staysOnVolume: false))
        tree = ModelTreeSource(folder, contents: catalog.contents(in: root)) { path in
            // A manifest that came since names blobs the walk may have passed.
            guard layout == .ollama, OllamaModels.trees.contains(where: { path.hasPrefix("\($0)/") }) else {
                return true
            }
            return manifests.contains(path)
        }
        source = CountedSource(tree)
    }

    var method: String { "file walk, digests compared" }

    var parts: [CapturePart] { [.tree(name: VolumeStore.partName, source: source)] }

    /// Models that were whole when the point was fixed and still are. What is wrong with others are `problems`.
    func facts() throws -> StoreFacts {
        var now = try store.catalogWithDigests(cancellation)
        // Models that came since are not in the snapshot; what is wrong with them is no matter of it either.
        let names = Set(catalog.models.map(\.name)).union(catalog.problems.map(\.model))
        now.models.removeAll { !names.contains($0.name) }
        now.problems = catalog.problems + now.problems.filter { names.contains($0.model) } + unread()
        lastProblems.withLock { [problems = store.problems(now)] in $0 = problems }
        var facts = store.facts(now)
        let counts = source.counts ?? VolumeCounts()
        facts.texts[StoreFacts.fileSystem] = MountTable.identity(of: root)
        facts.counts["files"] = counts.files
        facts.counts["bytes"] = counts.bytes
        return facts
    }

    /// Files of models that went away since the point was fixed, or whose content was not what it should be.
    private func unread() -> [ModelProblem] {
        let damaged = tree.damaged
        return catalog.models.flatMap { model in
            model.files.compactMap { file -> ModelProblem? in
                if let reason = damaged[file.path] {
                    return ModelProblem(model: model.name, reason: "'\(file.path)': \(reason)")
                }
                guard !ModelListing.exists(file.path.isEmpty ? root : "\(root)/\(file.path)") else { return nil }
                return ModelProblem(model: model.name, reason: "'\(file.path)' was removed during the backup")
            }
        }
    }

    var problems: [LifeboatError] { lastProblems.withLock { $0 } }

    func release() {}
}

/// The list of models, made when it is read.
final class ModelLockPoint: CapturePoint {
    private let store: ModelsStore
    private let cancellation: Cancellation
    private let made = Monitor<(bytes: [UInt8], catalog: ModelCatalog)?>(nil)

    init(store: ModelsStore, cancellation: Cancellation) {
        self.store = store
        self.cancellation = cancellation
    }

    var method: String { "list of models" }

    var parts: [CapturePart] {
        [.stream(name: ModelsStore.lockName) { MemorySource(try self.lock().bytes) }]
    }

    func facts() throws -> StoreFacts { store.facts(try lock().catalog) }

    var problems: [LifeboatError] { made.withLock { $0 }.map { store.problems($0.catalog) } ?? [] }

    private func lock() throws -> (bytes: [UInt8], catalog: ModelCatalog) {
        try made.withLock { made in
            if let made { return made }
            let lock = try store.lock(cancellation)
            made = lock
            return lock
        }
    }

    func release() {}
}
