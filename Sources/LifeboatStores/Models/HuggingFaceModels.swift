// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats

/// The repositories of a Hugging Face cache: `models--ORG--NAME/{refs,blobs,snapshots}`. A snapshot is whole when every
/// link of it leads to a blob, and every shard its index names is there; then it works offline.
struct HuggingFaceModels {
    /// Downloads in progress and their locks; tokens; the chunk cache, which is made anew.
    static let excluded = ["*.incomplete", ".locks", "/token", "/stored_tokens", "/xet"]
    private static let indexLimit = 32 << 20
    /// Of `trees/<commit>.json`, as huggingface_hub 2 writes it.
    private static let treeVersion: UInt64 = 1

    private let listing: ModelListing
    private var catalog = ModelCatalog(layout: .huggingFace)

    /// Where the repositories are: the folder itself, or the `hub` in it.
    static func hub(_ listing: ModelListing) -> String {
        listing.hasFolder("hub") && !listing.paths.contains { $0.hasPrefix("models--") } ? "hub/" : ""
    }

    static func catalog(_ listing: ModelListing) -> ModelCatalog {
        var models = HuggingFaceModels(listing: listing)
        let hub = hub(listing)
        for path in listing.paths where path.hasPrefix(hub) && listing.hasFolder(path) {
            let name = path.dropFirst(hub.count)
            guard !name.contains("/"), let repository = Repository(String(name)) else { continue }
            models.read(repository, at: path)
        }
        return models.catalog
    }

    private init(listing: ModelListing) { self.listing = listing }

    struct Repository: Equatable {
        var name: String
        /// Nil for models.
        var type: String?

        /// From `models--org--name`, `datasets--…`, `spaces--…`.
        init?(_ folder: String) {
            guard let split = folder.firstRange(of: "--") else { return nil }
            switch folder[..<split.lowerBound] {
            case "models": type = nil
            case "datasets": type = "dataset"
            case "spaces": type = "space"
            default: return nil
            }
            let name = folder[split.upperBound...]
            guard !name.isEmpty else { return nil }
            // Organisations have no `--` in their names.
            guard let second = name.firstRange(of: "--") else {
                self.name = String(name)
                return
            }
            self.name = "\(name[..<second.lowerBound])/\(name[second.upperBound...])"
        }
    }

    private mutating func read(_ repository: Repository, at folder: String) {
        var commits: [String: [String]] = [:]
        let prefix = "\(folder)/snapshots/"
        for path in listing.paths where path.hasPrefix(prefix) {
            let rest = path.dropFirst(prefix.count)
            let commit = String(rest.prefix { $0 != "/" })
            let kind = listing.entries[path]?.kind
            commits[commit, default: []] += kind == .file || kind == .symbolicLink ? [path] : []
        }
        var refs: [String: [ModelRef]] = [:]
        let references = "\(folder)/refs/"
        for path in listing.paths where path.hasPrefix(references) && listing.size(path) != nil {
            let commit = (try? listing.read(path, limit: 4096)).map { String(decoding: $0, as: UTF8.self) } ?? ""
            let trimmed = String(commit.prefix { !$0.isWhitespace })
            // Asking for a file that is not there, or downloading into another folder, leaves one alone: a usual state.
            if commits[trimmed] == nil {
                catalog.remarks.append(
                    "\(repository.name): '\(path)' names commit '\(trimmed)', of which no file was downloaded")
            } else {
                refs[trimmed, default: []].append(
                    ModelRef(name: String(path.dropFirst(references.count)), path: path))
            }
        }
        for commit in commits.keys.sorted() {
            read(repository, folder, commit, commits[commit] ?? [], refs[commit])
        }
    }

    private mutating func read(
        _ repository: Repository, _ folder: String, _ commit: String, _ paths: [String], _ refs: [ModelRef]?
    ) {
        let name = "\(repository.name)@\(commit)"
        let prefix = "\(folder)/snapshots/\(commit)/"
        var files: [ModelFile] = []
        for path in paths {
            let shown = String(path.dropFirst(prefix.count))
            if let size = listing.size(path) {
                // A cache on a file system without links: the file itself.
                files.append(ModelFile(name: shown, path: path, size: size, content: nil))
                continue
            }
            guard let target = listing.target(of: path), target.hasPrefix("\(folder)/"),
                let size = listing.size(target)
            else {
                missing(shown, path, name)
                continue
            }
            let blob = target.split(separator: "/").last ?? ""
            let content = target.hasPrefix("\(folder)/blobs/") ? ContentName(blobName: blob) : nil
            files.append(ModelFile(name: shown, path: target, size: size, content: content))
        }
        for problem in ModelShards.problems(files, listing) {
            catalog.problems.append(ModelProblem(model: name, reason: problem.reason))
        }
        checkTree(name, "\(folder)/trees/\(commit).json", files)
        var pull = ["hf", "download", repository.name, "--revision", commit]
        if let type = repository.type { pull += ["--repo-type", type] }
        catalog.models.append(Model(name: name, digest: "commit:\(commit)", files: files, pull: pull, refs: refs))
    }

    private mutating func missing(_ shown: String, _ path: String, _ model: String) {
        let target = listing.target(of: path)
        // What is being downloaded is excluded from the listing's paths, and seen by its name beside the blob.
        if let target, isBeingDownloaded(target) {
            catalog.remarks.append("\(model): '\(shown)' is being downloaded and is not in this snapshot")
        } else {
            catalog.problems.append(
                ModelProblem(model: model, reason: "'\(shown)' is a link to '\(target ?? "?")', which is missing"))
        }
    }

    /// Whether a download of this blob is in progress: `<blob>.incomplete`, since huggingface_hub 2
    /// `<blob>.<8 hexadecimal digits>.incomplete`.
    private func isBeingDownloaded(_ blob: String) -> Bool {
        if ModelListing.exists(listing.place("\(blob).incomplete")) { return true }
        guard let slash = blob.lastIndex(of: "/") else { return false }
        let name = blob[blob.index(after: slash)...]
        let names = (try? ModelListing.names(in: listing.place(String(blob[..<slash])))) ?? []
        return names.contains { $0.hasPrefix("\(name).") && $0.hasSuffix(".incomplete") }
    }

    /// Newer caches keep a list of all files of a commit, with sizes. A download may have been of some only.
    private mutating func checkTree(_ model: String, _ path: String, _ files: [ModelFile]) {
        guard listing.size(path) != nil, let document = try? listing.json(path, limit: Self.indexLimit),
            case .object(let tree)? = Self.files(of: document)
        else { return }
        for file in files {
            guard let entry = tree[file.name], let size = entry["lfs_size"]?.count ?? entry["size"]?.count else {
                continue
            }
            if size != file.size {
                catalog.problems.append(
                    ModelProblem(model: model, reason: "'\(file.name)' has \(file.size) bytes instead of \(size)"))
            }
        }
        let absent = tree.keys.filter { name in !files.contains { $0.name == name } }.count
        if absent > 0 { catalog.remarks.append("\(model): \(absent) of \(tree.count) files were never downloaded") }
    }

    /// The list itself: `{"format_version": 1, "files": {…}}`, of early versions without that frame. Nil for a version
    /// that is not known.
    private static func files(of document: JSONValue) -> JSONValue? {
        guard let version = document["format_version"] else { return document }
        return version.count == treeVersion ? document["files"] : nil
    }
}
