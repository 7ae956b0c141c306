// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats

/// Stores of models. Model files are drawn one by one, repositories of a Hugging Face cache whole, so that what is drawn
/// can be held against its digest. Models of an Ollama store share their blobs: of those files are drawn, each compared
/// with its content's digest as it is read, and models are not compared.
extension SampledContent {
    private static let model = "model:"

    static func models(
        _ content: any RestoreContent, _ draw: SampleDraw, _ limited: Limited
    ) throws -> SampledContent? {
        // A list of models has no tree.
        guard content.streamSize(ModelsStore.lockName) == nil else { return nil }
        let layout = content.facts.texts["layout"].flatMap { ModelLayout(rawValue: $0) }
        let sample = try TreeSample(content, VolumeStore.partName, draw) { path in
            layout == .huggingFace ? Self.repository(path)?.folder ?? path : path
        }
        let absent = layout == .huggingFace ? try absentRepositories(content, sample) : []
        func isLeft(_ fact: String) -> Bool {
            guard fact.hasPrefix(model), sample.taken.files < sample.all.files else { return false }
            let name = fact.dropFirst(model.count)
            return switch layout {
            case .files: !sample.takesFile(String(name))
            // `org/name@<commit>`
            case .huggingFace: absent.contains(String(name.prefix(upTo: name.lastIndex(of: "@") ?? name.endIndex)))
            case .ollama, nil: true
            }
        }
        var facts = content.facts
        facts.counts["models"] = nil
        facts.counts["files"] = sample.taken.files
        facts.counts["bytes"] = sample.taken.bytes
        facts.texts = facts.texts.filter { !isLeft($0.key) }
        let leftOut = StoreFacts(texts: content.facts.texts.filter { isLeft($0.key) })
        return try tree(sample, facts, leftOut, limited)
    }

    /// The repository a path lies in: its folder, and what it is called.
    private static func repository(_ path: [UInt8]) -> (folder: [UInt8], name: String)? {
        var folder: [UInt8] = []
        for part in path.split(separator: UInt8(ascii: "/")).prefix(2) {
            folder += (folder.isEmpty ? [] : [UInt8(ascii: "/")]) + part
            if let repository = HuggingFaceModels.Repository(String(decoding: part, as: UTF8.self)) {
                return (folder, repository.name)
            }
        }
        return nil
    }

    /// Names of repositories with files that are not in the sample.
    private static func absentRepositories(_ content: any RestoreContent, _ sample: TreeSample) throws -> Set<String> {
        var absent: Set<String> = []
        try content.listTree(VolumeStore.partName) { entry in
            guard entry.kind == .file, !sample.takes(entry), let found = repository(entry.path) else { return }
            absent.insert(found.name)
        }
        return absent
    }
}
