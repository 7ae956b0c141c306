// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
package import LifeboatCore
import LifeboatIO

/// A store of models: an Ollama store, a Hugging Face cache, or model files.
///
/// With `keep: bytes` its folder is captured and restored as a volume, each file compared with the digest it is named by
/// when it is read, and the models that were there listed with digests and sizes. With `keep: manifest` only that list is
/// kept; a restore compares it with what is there and says what to fetch. Files of models are written once and never
/// changed, so nothing has to be held while they are read.
package struct ModelsStore: DataStore {
    /// The one part of `keep: manifest`.
    static let lockName = "models.lock.json"
    private static let modelFact = "model:"

    /// As the policy gives it.
    let path: String
    private let layout: ModelLayout?
    private let keep: ModelKeep
    private let cacheFolder: String?

    /// `layout` nil: what the folder looks like. `cacheFolder`: where digests of files are remembered between runs; nil:
    /// nowhere.
    package init(path: String, layout: ModelLayout? = nil, keep: ModelKeep = .bytes, cacheFolder: String? = nil) {
        self.path = path
        self.layout = layout
        self.keep = keep
        self.cacheFolder = cacheFolder
    }

    package var kind: String { "models" }
    package var subject: String { "models in '\(path)'" }

    /// The same folder, of which a restore takes these paths only: of model files, since the other layouts keep what
    /// belongs together in several places.
    package func limited(to paths: [String]) -> PartialVolumeStore { PartialVolumeStore(volume, kind: kind, paths) }

    /// Stages and swaps the folder of `keep: bytes`.
    private var volume: VolumeStore { VolumeStore(path: path) }

    package func probe() throws -> StoreProbe {
        let catalog = try catalog(Cancellation(), digests: false)
        var probe = StoreProbe()
        probe.warnings = remarks(catalog)
        if catalog.models.isEmpty {
            probe.warnings.append(
                LifeboatError(
                    "there are no models in '\(path)'", causes: ["it was read as layout '\(catalog.layout.rawValue)'"],
                    hint: "Correct 'path' or 'layout' of the component in the policy."))
        }
        switch keep {
        case .bytes: probe.estimatedBytes = catalog.models.reduce(0) { $0 &+ $1.size }
        case .manifest: probe.warnings += notKept(catalog)
        }
        return probe
    }

    /// So many things are named one by one; the rest is counted.
    private static let namedLimit = 20

    private func remarks(_ catalog: ModelCatalog) -> [LifeboatError] {
        var warnings = catalog.remarks.prefix(Self.namedLimit).map { LifeboatError($0) }
        let more = catalog.remarks.count - warnings.count
        if more > 0 { warnings.append(LifeboatError("there are \(more) more remarks about models in '\(path)'")) }
        return warnings
    }

    /// What `keep: manifest` leaves out, by name: models nobody can fetch again, and files that belong to no model.
    private func notKept(_ catalog: ModelCatalog) -> [LifeboatError] {
        func named(_ names: [String]) -> [String] {
            let more = names.count - Self.namedLimit
            return Array(names.prefix(Self.namedLimit)) + (more > 0 ? ["and \(more) more"] : [])
        }
        var warnings: [LifeboatError] = []
        let unknown = catalog.models.filter { $0.pull == nil }
        if !unknown.isEmpty {
            warnings.append(
                LifeboatError(
                    "'keep: manifest' does not keep \(unknown.count) models of '\(path)' whose origin is not known",
                    causes: named(unknown.map { "'\($0.name)', \(ByteCount($0.size))" }),
                    hint: "Use 'keep: bytes' for files that cannot be fetched again."))
        }
        if !catalog.others.isEmpty {
            let bytes = catalog.others.reduce(0) { $0 &+ $1.size }
            warnings.append(
                LifeboatError(
                    "'keep: manifest' leaves out \(catalog.others.count) files of '\(path)' that belong to no model "
                        + "(\(ByteCount(bytes)))",
                    causes: named(catalog.others.map { "'\($0.path)'" }),
                    hint: "The snapshot names all of them in \(Self.lockName). Use 'keep: bytes' to keep them."))
        }
        return warnings
    }

    /// The catalogue of what is there. With `digests`, files that are named by nothing are hashed.
    func catalog(_ cancellation: Cancellation, digests: Bool) throws -> ModelCatalog {
        let root = try VolumePlace.resolved(path)
        var catalog = try ModelCatalog.read(root, layout: layout, cancellation)
        guard digests else { return catalog }
        var cache = ModelDigestCache(folder: cacheFolder)
        defer { cache.save() }
        for model in catalog.models.indices {
            for file in catalog.models[model].files.indices where catalog.models[model].files[file].content == nil {
                let path = catalog.models[model].files[file].path
                do {
                    let hex = try cache.sha256(path.isEmpty ? root : "\(root)/\(path)", cancellation)
                    catalog.models[model].files[file].content = ContentName(sha256: hex)
                    if catalog.layout == .files { catalog.models[model].digest = "sha256:\(hex)" }
                } catch let error as LifeboatError where error.exitCode == .interrupted {
                    throw error
                } catch {
                    catalog.problems.append(
                        ModelProblem(
                            model: catalog.models[model].name, reason: LifeboatError.converting(error).message))
                }
            }
        }
        return catalog
    }

    package func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
        switch keep {
        case .manifest: return ModelLockPoint(store: self, cancellation: cancellation)
        case .bytes:
            let root = try VolumePlace.resolved(path)
            let catalog = try ModelCatalog.read(root, layout: layout, cancellation)
            return ModelTreePoint(store: self, root: root, catalog: catalog, cancellation: cancellation)
        }
    }

    /// Facts of a catalogue. A model that is not whole is no fact a restore compares; it is named with its first reason.
    func facts(_ catalog: ModelCatalog) -> StoreFacts {
        var facts = StoreFacts()
        facts.texts["layout"] = catalog.layout.rawValue
        facts.texts["keep"] = keep.rawValue
        var broken: [String: String] = [:]
        for problem in catalog.problems where broken[problem.model] == nil { broken[problem.model] = problem.reason }
        var whole: Set<String> = []
        for model in catalog.models where broken[model.name] == nil {
            whole.insert(model.name)
            facts.texts[Self.modelFact + model.name] = "\(model.digest), \(ByteCount(model.size))"
        }
        for (name, reason) in broken { facts.texts["incomplete:\(name)"] = reason }
        facts.counts["models"] = Int64(whole.count)
        return facts
    }

    /// What is wrong with the models of a catalogue, one error each.
    func problems(_ catalog: ModelCatalog) -> [LifeboatError] {
        var seen: Set<ModelProblem> = []
        let problems = catalog.problems.filter { seen.insert($0).inserted }
        var errors = problems.prefix(Self.namedLimit).map { problem in
            LifeboatError(
                "model '\(problem.model)' in '\(path)' is not whole", causes: [problem.reason],
                hint: "Fetch it again, or remove it. What there is of it is in the snapshot.", exitCode: .incomplete)
        }
        let more = problems.count - errors.count
        if more > 0 {
            errors.append(
                LifeboatError(
                    "\(more) more things are wrong with the models in '\(path)'", exitCode: .incomplete))
        }
        return errors
    }

    /// The list as a part of the snapshot, and the catalogue it was made of.
    func lock(_ cancellation: Cancellation) throws -> (bytes: [UInt8], catalog: ModelCatalog) {
        let catalog = try catalog(cancellation, digests: true)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        let lock = ModelLock(
            layout: catalog.layout, models: catalog.models, leftOut: catalog.others.isEmpty ? nil : catalog.others)
        return (Array(try encoder.encode(lock)) + [0x0A], catalog)
    }

    /// The catalogue with every digest that a snapshot keeps as a fact.
    func catalogWithDigests(_ cancellation: Cancellation) throws -> ModelCatalog {
        try catalog(cancellation, digests: layout == .files || isFiles)
    }

    private var isFiles: Bool {
        guard layout == nil, let root = try? VolumePlace.resolved(path) else { return false }
        return (try? ModelLayout.found(at: root)) == .files
    }

    // MARK: - Restore

    /// How the snapshot kept them: not how the policy says it now.
    private func kept(_ content: any RestoreContent) -> ModelKeep {
        content.streamSize(Self.lockName) == nil ? .bytes : .manifest
    }

    package func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] {
        switch kept(content) {
        case .bytes: return try volume.preflightRestore(content)
        case .manifest:
            let lock = try lock(of: content)
            return try missing(lock, thoroughly: false, Cancellation()).map { difference in
                LifeboatError(
                    "\(difference.name) is \(difference.found ?? "missing") in '\(path)'",
                    causes: [difference.expected], hint: "The restore goes on without it.")
            }
        }
    }

    package func stagingRoom(_ content: any RestoreContent) throws -> StagingRoom? {
        kept(content) == .bytes ? try volume.stagingRoom(content) : nil
    }

    package func asideBytes(_ state: StagedState) throws -> UInt64? {
        try isStaged(state) ? try volume.asideBytes(state) : nil
    }

    /// Both kinds plan a folder: which it is shows when there is content.
    package func planStaging(_ restoreID: String) throws -> StagedState {
        do {
            return try volume.planStaging(restoreID)
        } catch {
            // Of a list nothing is staged, wherever its folder is: a mount point, a path that is not there yet.
            guard keep == .manifest else { throw error }
            return Self.nothingStaged
        }
    }

    private static let nothingStaged = StagedState(["keep": ModelKeep.manifest.rawValue])

    package func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        guard kept(content) == .bytes else { return }
        guard state != Self.nothingStaged else {
            throw LifeboatError(
                "the snapshot holds the files of \(subject), and the policy says 'keep: manifest'",
                hint: "Change it to 'keep: bytes' for this restore.")
        }
        try volume.stage(content, state, progress: progress, cancellation: cancellation)
    }

    /// Whether there is anything to exchange: of a list nothing was staged.
    private func isStaged(_ state: StagedState) throws -> Bool {
        state == Self.nothingStaged ? false : try VolumeSwap(state).isStaged()
    }

    package func swap(_ state: StagedState) throws {
        if try isStaged(state) { try volume.swap(state) }
    }

    package func swapBack(_ state: StagedState) throws {
        if state != Self.nothingStaged { try volume.swapBack(state) }
    }

    package func discard(_ state: StagedState) throws {
        if state != Self.nothingStaged { try volume.discard(state) }
    }

    private func lock(of content: any RestoreContent) throws -> ModelLock {
        let source = try content.openStream(Self.lockName)
        defer { source.close() }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = try buffer.withUnsafeMutableBytes { try source.read(into: $0) }
            if count == 0 { break }
            bytes += buffer[..<count]
            guard bytes.count <= ModelLock.longest else {
                throw LifeboatError("the list of models in the snapshot is too long", exitCode: .damagedRepository)
            }
        }
        do {
            let lock = try JSONDecoder().decode(ModelLock.self, from: Data(bytes))
            guard lock.version == ModelLock.version else {
                throw LifeboatError(
                    "the list of models in the snapshot has version \(lock.version)", hint: "Use a newer lifeboat.")
            }
            return lock
        } catch let error as LifeboatError {
            throw error
        } catch {
            throw LifeboatError(
                "cannot read the list of models in the snapshot", causes: ["\(error)"], exitCode: .damagedRepository)
        }
    }

    /// Every model of the snapshot is there with its digest, and every byte of it is what it should be.
    package func verify(_ content: any RestoreContent) throws -> [FactDifference] {
        let cancellation = Cancellation()
        switch kept(content) {
        case .manifest: return try missing(try lock(of: content), thoroughly: true, cancellation)
        case .bytes: return try verifyBytes(content.facts, cancellation)
        }
    }

    private func verifyBytes(_ facts: StoreFacts, _ cancellation: Cancellation) throws -> [FactDifference] {
        let expected = facts.texts.filter { $0.key.hasPrefix(Self.modelFact) }
        guard ModelListing.exists(path) else {
            return expected.isEmpty ? [] : [FactDifference(name: "models", expected: "\(expected.count)", found: nil)]
        }
        let root = try VolumePlace.resolved(path)
        let layout = facts.texts["layout"].flatMap { ModelLayout(rawValue: $0) } ?? layout
        let catalog = try ModelCatalog.read(root, layout: layout, cancellation)
        var found: [String: String] = [:]
        for var model in catalog.models {
            if catalog.layout == .files, let file = model.files.first {
                let place = file.path.isEmpty ? root : "\(root)/\(file.path)"
                // Read anew: the cache of digests may speak of what was there before.
                model.digest = "sha256:\(try ContentDigest.sha256(place, cancellation))"
            }
            found[Self.modelFact + model.name] = "\(model.digest), \(ByteCount(model.size))"
        }
        var differences = expected.sorted { $0.key < $1.key }.compactMap { name, text in
            found[name] == text ? nil : FactDifference(name: name, expected: text, found: found[name])
        }
        let known = Set(expected.keys.map { $0.dropFirst(Self.modelFact.count) })
        let damaged = try damage(catalog, root, cancellation)
        // Models that were added since are the business of who added them.
        for problem in damaged where known.contains(problem.model[...]) {
            differences.append(
                FactDifference(name: Self.modelFact + problem.model, expected: "whole", found: problem.reason))
        }
        return differences
    }

    /// Problems of the catalogue and of the content of its files, each file read once.
    private func damage(
        _ catalog: ModelCatalog, _ root: String, _ cancellation: Cancellation
    ) throws -> [ModelProblem] {
        var problems = catalog.problems
        var results: [String: String?] = [:]
        for model in catalog.models {
            for file in model.files {
                guard let content = file.content else { continue }
                if results[file.path] == nil {
                    results[file.path] = try reason(file, content, root, cancellation)
                }
                if let reason = results[file.path] ?? nil {
                    problems.append(ModelProblem(model: model.name, reason: "'\(file.path)': \(reason)"))
                }
            }
        }
        return problems
    }

    private func reason(
        _ file: ModelFile, _ content: ContentName, _ root: String, _ cancellation: Cancellation
    ) throws -> String? {
        do {
            try ContentDigest.verify(file.path.isEmpty ? root : "\(root)/\(file.path)", content, cancellation)
            return nil
        } catch let error as ModelFileError {
            return error.reason
        } catch let error as SystemCallError where error.errorNumber == ENOENT {
            return "it is missing"
        }
    }

    /// What of a list is not there, or not what it was. With `thoroughly`, every byte is read; else names and sizes are
    /// compared.
    private func missing(
        _ lock: ModelLock, thoroughly: Bool, _ cancellation: Cancellation
    ) throws -> [FactDifference] {
        let root = try? VolumePlace.resolved(path)
        return try lock.models.flatMap { model -> [FactDifference] in
            let refs = (model.refs ?? []).filter { ref in
                guard let root else { return true }
                return !ModelListing.exists("\(root)/\(ref.path)")
            }
            // A fetch by commit writes no reference, and without one the model is not found by its name offline.
            let commands = refs.map { $0.command(commit: model.commit, in: path) }
            let found = try root.map { try state(model, $0, thoroughly, cancellation) } ?? "missing"
            if let found {
                let then = commands.isEmpty ? "" : "; then run: \(commands.joined(separator: "; "))"
                return [
                    FactDifference(
                        name: Self.modelFact + model.name, expected: "\(model.digest), \(model.sourceText)\(then)",
                        found: found == "missing" ? nil : found, isLoss: false)
                ]
            }
            return zip(refs, commands).map { ref, command in
                FactDifference(
                    name: "reference '\(ref.name)' of \(model.name)",
                    expected: "\(model.digest), write it with: \(command)",
                    found: nil, isLoss: false)
            }
        }
    }

    /// Nil when the model is whole; `missing` when nothing of it is there.
    private func state(
        _ model: Model, _ root: String, _ thoroughly: Bool, _ cancellation: Cancellation
    ) throws -> String? {
        var reasons: [String] = []
        var missing = 0
        for file in model.files {
            let place = file.path.isEmpty ? root : "\(root)/\(file.path)"
            var status = stat()
            guard stat(place, &status) == 0 else {
                missing += 1
                reasons.append("'\(file.name)' is missing")
                continue
            }
            if UInt64(clamping: status.st_size) != file.size {
                reasons.append("'\(file.name)' has \(status.st_size) bytes instead of \(file.size)")
            } else if thoroughly, let content = file.content,
                let reason = try reason(file, content, root, cancellation)
            {
                reasons.append("'\(file.name)': \(reason)")
            }
        }
        if missing == model.files.count, missing > 0 { return "missing" }
        guard let first = reasons.first else { return nil }
        return reasons.count > 1 ? "not whole (\(first) and \(reasons.count - 1) more)" : "not whole (\(first))"
    }
}
