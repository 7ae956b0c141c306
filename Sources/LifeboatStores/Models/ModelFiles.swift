// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats

/// Model files by themselves: each is a model, known by its digest.
struct ModelFiles {
    static let excluded = ["*.incomplete", "*.partial", "*.part", "*.tmp"]

    enum Format {
        case gguf, safetensors, faiss
        /// One whose inside is not looked at: code may be in it, or it has no size of its own.
        case opaque
    }

    /// By the name; of an index also by how it begins, since many programs name theirs `.index`.
    static func format(_ path: String, at place: String) -> Format? {
        let name = path.isEmpty ? place : path
        let ending = name.lastIndex(of: ".").map { name[name.index(after: $0)...].lowercased() } ?? ""
        switch ending {
        case "gguf": return .gguf
        case "safetensors": return .safetensors
        case "faiss": return .faiss
        case "index": return (try? FAISSFile.isIndex(place)) == true ? .faiss : nil
        case "onnx", "bin", "pt", "pth", "ggml", "npz", "npy", "pkl": return .opaque
        default: return nil
        }
    }

    /// What a look into a file found that is no damage.
    struct Findings {
        /// Files the model lies in, this one included.
        var shards = 1
        /// About this file, for people.
        var remark: String?
        var lists: FAISSFile.OnDiskLists?
    }

    /// Throws what is wrong with the inside of a file.
    static func check(_ format: Format, _ place: String) throws -> Findings {
        var findings = Findings()
        if try LargeFilePointer.isPointer(place) {
            findings.remark = "it is a pointer of Git LFS: the content was never fetched (git lfs pull)"
            return findings
        }
        switch format {
        case .gguf: findings.shards = try GGUFFile.check(place)
        case .safetensors: try SafetensorsFile.check(place)
        case .faiss:
            let found = try FAISSFile.check(place)
            findings.lists = found.lists
            if let kind = found.unknownKind {
                findings.remark = "it is an index of the unknown kind '\(kind)': its inside is not checked"
            }
        case .opaque: break
        }
        return findings
    }

    /// Without digests: those take reading every byte.
    static func catalog(_ listing: ModelListing) -> ModelCatalog {
        var catalog = ModelCatalog(layout: .files)
        for path in listing.paths {
            if listing.entries[path]?.kind == .symbolicLink {
                remark(onLink: path, listing, &catalog)
                continue
            }
            guard let size = listing.size(path), let format = format(path, at: listing.place(path)) else { continue }
            let name = path.isEmpty ? listing.root.split(separator: "/").last.map(String.init) ?? listing.root : path
            catalog.models.append(
                Model(
                    name: name, digest: "", files: [ModelFile(name: name, path: path, size: size, content: nil)],
                    pull: nil))
            examine(name, path, format, listing, &catalog)
        }
        let indexes = listing.paths.filter { $0.hasSuffix(".index.json") }.compactMap { path in
            listing.size(path).map { ModelFile(name: path, path: path, size: $0, content: nil) }
        }
        catalog.problems += ModelShards.problems(catalog.models.flatMap(\.files) + indexes, listing)
        return catalog
    }

    /// The model of a link is what it leads to, which is captured only when it lies in the store too.
    private static func remark(onLink path: String, _ listing: ModelListing, _ catalog: inout ModelCatalog) {
        guard format(path, at: path) != nil else { return }
        if let target = listing.target(of: path), listing.entries[target] != nil { return }
        let target = String(decoding: listing.entries[path]?.linkTarget ?? [], as: UTF8.self)
        catalog.remarks.append(
            "'\(path)' is a link to '\(target)', which is not in this store: the file is not in the snapshot")
    }

    /// Looks into the file `path` of a model and keeps what it finds.
    static func examine(
        _ model: String, _ path: String, _ format: Format, _ listing: ModelListing, _ catalog: inout ModelCatalog,
        shown: String? = nil
    ) {
        let prefix = shown.map { "'\($0)': " } ?? ""
        do {
            let findings = try check(format, listing.place(path))
            if let remark = findings.remark { catalog.remarks.append("\(model): \(prefix)\(remark)") }
            if findings.shards > 1, ShardName(shown ?? path) == nil {
                catalog.remarks.append(
                    "\(model): \(prefix)it is one of \(findings.shards) files, and its name does not tell the others")
            }
            if let lists = findings.lists { examine(lists, of: model, path, prefix, listing, &catalog) }
        } catch {
            catalog.problems.append(
                ModelProblem(model: model, reason: prefix + LifeboatError.converting(error).message))
        }
    }

    /// The file with the lists of an index has to be in the store, and an absolute path in an index leads a restored
    /// one to the live lists.
    private static func examine(
        _ lists: FAISSFile.OnDiskLists, of model: String, _ path: String, _ prefix: String, _ listing: ModelListing,
        _ catalog: inout ModelCatalog
    ) {
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
        let last = lists.path.split(separator: "/").last.map(String.init) ?? lists.path
        var places = ["\(folder)\(last)"]
        if lists.path.hasPrefix("\(listing.root)/") {
            places.insert(String(lists.path.dropFirst(listing.root.utf8.count + 1)), at: 0)
        } else if !lists.path.hasPrefix("/") {
            places.insert("\(folder)\(lists.path)", at: 0)
        }
        guard let size = places.lazy.compactMap({ listing.size($0) }).first else {
            catalog.problems.append(
                ModelProblem(
                    model: model, reason: "\(prefix)its lists are in '\(lists.path)', which is not in this store"))
            return
        }
        if size < lists.size {
            catalog.problems.append(
                ModelProblem(
                    model: model,
                    reason: "\(prefix)its lists in '\(lists.path)' have \(size) bytes instead of \(lists.size)"))
        }
        if lists.path.hasPrefix("/") {
            catalog.remarks.append(
                "\(model): \(prefix)it names its lists by the absolute path '\(lists.path)': restored elsewhere, it opens "
                    + "that file for writing unless it is read with IO_FLAG_ONDISK_SAME_DIR")
        }
    }
}

/// A small text that stands for a file git keeps elsewhere.
enum LargeFilePointer {
    private static let begin = Array("version https://git-lfs.github.com/spec/".utf8)
    /// git-lfs's own limit.
    private static let longest: UInt64 = 1024

    static func isPointer(_ path: String) throws -> Bool {
        var reader = try HeaderReader(path)
        guard reader.size < longest, reader.size >= UInt64(begin.count) else { return false }
        return try reader.bytes(begin.count) == begin
    }
}

extension ModelCatalog {
    /// What lies at `root`. With `layout` nil, what it looks like.
    static func read(_ root: String, layout: ModelLayout?, _ cancellation: Cancellation) throws -> ModelCatalog {
        let chosen = try layout ?? ModelLayout.found(at: root)
        let listing = try ModelListing(root, exclude: chosen.excluded, cancellation)
        var catalog =
            switch chosen {
            case .ollama: OllamaModels.catalog(listing)
            case .huggingFace: HuggingFaceModels.catalog(listing)
            case .files: ModelFiles.catalog(listing)
            }
        if chosen == .huggingFace {
            // A cache without links holds the files themselves, whose insides say whether they are whole.
            for model in catalog.models {
                for file in model.files where file.content == nil {
                    guard let format = ModelFiles.format(file.path, at: listing.place(file.path)) else { continue }
                    ModelFiles.examine(model.name, file.path, format, listing, &catalog, shown: file.name)
                }
            }
        }
        catalog.findOthers(listing)
        return catalog
    }

    /// Files that belong to no model, but for those that fetching models writes again.
    private mutating func findOthers(_ listing: ModelListing) {
        var known = manifests
        for model in models {
            known.formUnion(model.files.map(\.path))
            known.formUnion((model.refs ?? []).map(\.path))
        }
        for path in listing.paths where !known.contains(path) {
            guard let entry = listing.entries[path] else { continue }
            switch (layout, entry.kind) {
            case (_, .file): if layout == .huggingFace, Self.isBookkeeping(path) { continue }
            // Snapshots are links to the files of models.
            case (.files, .symbolicLink): break
            default: continue
            }
            others.append(LeftOutFile(path: path, size: listing.size(path) ?? 0))
        }
    }

    /// What a Hugging Face cache keeps about its models.
    private static func isBookkeeping(_ path: String) -> Bool {
        let parts = path.split(separator: "/")
        if parts.last == "CACHEDIR.TAG" || parts.last == "version.txt" { return true }
        guard let repository = parts.firstIndex(where: { HuggingFaceModels.Repository(String($0)) != nil }),
            repository + 1 < parts.count
        else { return false }
        return ["refs", "trees", ".no_exist"].contains(parts[repository + 1])
    }
}

extension ModelLayout {
    /// What no snapshot needs: downloads in progress, locks, tokens.
    var excluded: [String] {
        switch self {
        case .ollama: OllamaModels.excluded
        case .huggingFace: HuggingFaceModels.excluded
        case .files: ModelFiles.excluded
        }
    }

    /// By the folders that only one of them has.
    static func found(at root: String) throws -> ModelLayout {
        func has(_ name: String) -> Bool { ModelListing.exists("\(root)/\(name)") }
        if has("blobs"), OllamaModels.trees.contains(where: has) { return .ollama }
        if has("hub") { return .huggingFace }
        let names = (try? ModelListing.names(in: root)) ?? []
        return names.contains { HuggingFaceModels.Repository($0) != nil } ? .huggingFace : .files
    }
}
