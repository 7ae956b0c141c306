// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// How the files of a model store lie.
package enum ModelLayout: String, Sendable, Codable, CaseIterable {
    /// Manifests that name content-addressed blobs: the folder `OLLAMA_MODELS` names.
    case ollama
    /// Snapshots of links to content-addressed blobs: `HF_HOME`, or the `hub` in it.
    case huggingFace = "huggingface"
    /// Model files by themselves: GGUF, safetensors, FAISS …
    case files
}

/// What of a model store a snapshot holds.
package enum ModelKeep: String, Sendable {
    /// Every file.
    case bytes
    /// Names, digests, sizes and where it came from.
    case manifest
}

/// A digest by which a file is known.
struct ContentName: Equatable, Hashable, Codable {
    enum Kind: String, Codable {
        case sha256
        /// SHA-1 of `blob <size>`, NUL and the content, as git names files.
        case gitBlob = "git-sha1"
    }

    var kind: Kind
    /// Lower-case digits.
    var hex: String

    /// A name of 64 or 40 lower-case hexadecimal digits.
    init?(blobName: some StringProtocol) {
        guard blobName.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }) else { return nil }
        switch blobName.utf8.count {
        case 64: kind = .sha256
        case 40: kind = .gitBlob
        default: return nil
        }
        hex = String(blobName)
    }

    init(sha256 hex: String) { (kind, self.hex) = (.sha256, hex) }

    var text: String { "\(kind.rawValue):\(hex)" }
}

/// One file a model needs.
struct ModelFile: Equatable, Codable {
    /// As the model calls it: its path in the store, or in its snapshot.
    var name: String
    /// Where its bytes lie, below the store's folder.
    var path: String
    var size: UInt64
    /// Nil when nothing is known but the size.
    var content: ContentName?
}

/// A model: what has to be there together.
struct Model: Equatable, Codable {
    /// `llama3:8b`, `org/name@<commit>`, `folder/file.gguf`.
    var name: String
    /// What identifies its content: the manifest's digest, the commit, the file's digest.
    var digest: String
    var files: [ModelFile]
    /// Words that fetch it again; nil when nobody knows where it came from.
    var pull: [String]?
    /// Names that stand for its commit in a Hugging Face cache (`main`); nil when there are none.
    var refs: [ModelRef]?

    /// The commit of a repository of a Hugging Face cache.
    var commit: String { digest.hasPrefix("commit:") ? String(digest.dropFirst(7)) : digest }

    /// Of its files, each counted once.
    var size: UInt64 {
        var paths: Set<String> = []
        return files.reduce(0) { paths.insert($1.path).inserted ? $0 &+ $1.size : $0 }
    }

    /// For people.
    var sourceText: String {
        guard var pull else { return "nothing is known of where it came from" }
        // Lists of earlier versions name the program that `hf` replaced.
        if pull.first == "huggingface-cli" { pull[0] = "hf" }
        return "fetch it with: \(pull.joined(separator: " "))"
    }
}

/// A name of a commit, and where the cache keeps it.
struct ModelRef: Equatable, Codable {
    var name: String
    /// Of the file that holds the commit, below the store's folder.
    var path: String

    /// What writes it.
    func command(commit: String, in folder: String) -> String {
        let parent = path.lastIndex(of: "/").map { "\(folder)/\(path[..<$0])" } ?? folder
        return "mkdir -p '\(parent)' && printf %s \(commit) > '\(folder)/\(path)'"
    }
}

/// What is wrong with a model store, by model.
struct ModelProblem: Equatable, Hashable {
    var model: String
    var reason: String

    var text: String { "\(model): \(reason)" }
}

/// All models of a store, and what is wrong with it.
struct ModelCatalog: Equatable {
    var layout: ModelLayout
    var models: [Model] = []
    var problems: [ModelProblem] = []
    /// Worth knowing, and no fault of a model that is used: downloads in progress, references to what is not there.
    var remarks: [String] = []
    /// Files that belong to no model, and that fetching the models does not bring back.
    var others: [LeftOutFile] = []
    /// Paths of the documents models are named by, where there are such.
    var manifests: Set<String> = []

    /// What the content of a file must be, by path; `root` is the store's folder.
    func contents(in root: String) -> [String: ModelContent] {
        var contents: [String: ModelContent] = [:]
        for file in models.flatMap(\.files) {
            guard let content = file.content else { continue }
            let place = file.path.isEmpty ? root : "\(root)/\(file.path)"
            contents[file.path] = ModelContent(content: content, size: file.size, place: place)
        }
        return contents
    }
}

/// The catalogue as a snapshot keeps it: enough to fetch every model again and to know it when it is there.
struct ModelLock: Codable, Equatable {
    static let version = 1
    /// Longer ones are no work of ours.
    static let longest = 256 << 20

    var version = Self.version
    var layout: ModelLayout
    var models: [Model]
    /// Files of the store that the list does not cover; nil when there are none.
    var leftOut: [LeftOutFile]?
}

/// A file that `keep: manifest` does not keep.
struct LeftOutFile: Equatable, Codable {
    /// Below the store's folder.
    var path: String
    /// Of a link: zero.
    var size: UInt64
}
