// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats

/// The models of an Ollama store: `manifests/HOST/NAMESPACE/MODEL/TAG`, in newer versions `manifests-v2` of the same
/// form whose tags are links to blobs, and `blobs/sha256-<digest>`.
struct OllamaModels {
    static let trees = ["manifests-v2", "manifests"]
    /// Downloads in progress: `-partial`, `-partial-3`. Nothing refers to them.
    static let excluded = ["/blobs/*-partial*"]
    private static let manifestLimit = 4 << 20
    private static let deepest = 4

    private let listing: ModelListing
    private var catalog = ModelCatalog(layout: .ollama)
    /// Blobs a model needs, each once.
    private var needed: [ModelFile] = []

    static func catalog(_ listing: ModelListing) -> ModelCatalog {
        var models = OllamaModels(listing: listing)
        for tree in trees { models.read(tree) }
        return models.catalog
    }

    private init(listing: ModelListing) { self.listing = listing }

    private mutating func read(_ tree: String) {
        for path in listing.paths where path.hasPrefix("\(tree)/") {
            guard let entry = listing.entries[path], entry.kind == .file || entry.kind == .symbolicLink else {
                continue
            }
            let words = path.split(separator: "/").dropFirst().map(String.init)
            // Not a manifest: what a file manager leaves, a tag that is being written.
            guard words.count >= 3, !words.contains(where: { $0.hasPrefix(".") }) else { continue }
            let name = Self.name(words)
            catalog.manifests.insert(path)
            do {
                try read(path, entry, name)
            } catch {
                catalog.problems.append(
                    ModelProblem(model: name, reason: LifeboatError.converting(error).message))
            }
        }
    }

    /// `llama3:8b` for what comes from Ollama's own registry, else with host and namespace.
    static func name(_ words: [String]) -> String {
        var words = words
        let tag = words.removeLast()
        if ["registry.ollama.ai", "ollama.com"].contains(words[0]) {
            words.removeFirst()
            if words.count > 1, words[0] == "library" { words.removeFirst() }
        }
        return "\(words.joined(separator: "/")):\(tag)"
    }

    private mutating func read(_ path: String, _ entry: TreeEntry, _ name: String) throws {
        var document = path
        needed = []
        if entry.kind == .symbolicLink {
            guard let target = listing.target(of: path), let size = listing.size(target) else {
                throw LifeboatError("its manifest '\(path)' is a link that leads nowhere")
            }
            document = target
            if let content = Self.content(ofBlob: target) {
                needed.append(ModelFile(name: target, path: target, size: size, content: content))
            }
        }
        let bytes = try listing.read(document, limit: Self.manifestLimit)
        let digest = try RunningDigestText.sha256(bytes)
        try collect(document, depth: 0)
        // A tag that stands in both trees is one model.
        if let known = catalog.models.firstIndex(where: { $0.name == name }) {
            let missing = needed.filter { !catalog.models[known].files.contains($0) }
            catalog.models[known].files += missing
        } else {
            catalog.models.append(
                Model(name: name, digest: "sha256:\(digest)", files: needed, pull: ["ollama", "pull", name]))
        }
        for file in needed {
            switch listing.size(file.path) {
            case nil: catalog.problems.append(ModelProblem(model: name, reason: "'\(file.path)' is missing"))
            case file.size: break
            case let size?:
                catalog.problems.append(
                    ModelProblem(
                        model: name, reason: "'\(file.path)' has \(size) bytes instead of \(file.size)"))
            }
        }
    }

    /// The blobs a manifest names; a list of manifests names manifests that are blobs.
    private mutating func collect(_ document: String, depth: Int) throws {
        guard depth < Self.deepest else { throw LifeboatError("its manifests name each other") }
        let manifest = try listing.json(document, limit: Self.manifestLimit)
        let layers = (manifest["layers"]?.items ?? []) + (manifest["config"].map { [$0] } ?? [])
        let children = manifest["manifests"]?.items ?? []
        guard !layers.isEmpty || !children.isEmpty else {
            throw LifeboatError("its manifest '\(document)' names no layers")
        }
        for layer in layers {
            // Models of a cloud service have a config without a digest.
            guard let digest = layer["digest"]?.string, !digest.isEmpty else { continue }
            try need(digest, layer["size"]?.count, document)
        }
        for child in children {
            guard let digest = child["digest"]?.string else { continue }
            let path = try need(digest, child["size"]?.count, document)
            if listing.size(path) != nil { try collect(path, depth: depth + 1) }
        }
    }

    @discardableResult
    private mutating func need(_ digest: String, _ size: UInt64?, _ document: String) throws -> String {
        guard digest.hasPrefix("sha256:") || digest.hasPrefix("sha256-"),
            let content = ContentName(blobName: digest.dropFirst(7).lowercased()), content.kind == .sha256
        else { throw LifeboatError("its manifest '\(document)' names a blob that cannot be: '\(digest)'") }
        let path = "blobs/sha256-\(content.hex)"
        if !needed.contains(where: { $0.path == path }) {
            needed.append(
                ModelFile(name: path, path: path, size: size ?? listing.size(path) ?? 0, content: content))
        }
        return path
    }

    /// Of a path below `blobs`: what its name says its content is.
    static func content(ofBlob path: String) -> ContentName? {
        guard path.hasPrefix("blobs/sha256-"), let content = ContentName(blobName: path.dropFirst(13)) else {
            return nil
        }
        return content.kind == .sha256 ? content : nil
    }
}

/// SHA-256 of bytes in memory.
enum RunningDigestText {
    static func sha256(_ bytes: [UInt8]) throws -> String {
        let digest = try RunningDigest(.sha256)
        try digest.update(bytes)
        return try digest.finish()
    }
}
