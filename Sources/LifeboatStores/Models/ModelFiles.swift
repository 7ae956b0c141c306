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

    /// Throws what is wrong with the inside of a file.
    static func check(_ format: Format, _ place: String) throws {
        switch format {
        case .gguf: try GGUFFile.check(place)
        case .safetensors: try SafetensorsFile.check(place)
        case .faiss: try FAISSFile.check(place)
        case .opaque: break
        }
    }

    /// Without digests: those take reading every byte.
    static func catalog(_ listing: ModelListing) -> ModelCatalog {
        var catalog = ModelCatalog(layout: .files)
        for path in listing.paths {
            guard let size = listing.size(path), let format = format(path, at: listing.place(path)) else { continue }
            let name = path.isEmpty ? listing.root.split(separator: "/").last.map(String.init) ?? listing.root : path
            catalog.models.append(
                Model(
                    name: name, digest: "", files: [ModelFile(name: name, path: path, size: size, content: nil)],
                    pull: nil))
            do {
                try check(format, listing.place(path))
            } catch {
                catalog.problems.append(
                    ModelProblem(model: name, reason: LifeboatError.converting(error).message))
            }
        }
        return catalog
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
                    do {
                        try ModelFiles.check(format, listing.place(file.path))
                    } catch {
                        let reason = "'\(file.name)': \(LifeboatError.converting(error).message)"
                        catalog.problems.append(ModelProblem(model: model.name, reason: reason))
                    }
                }
            }
        }
        return catalog
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
