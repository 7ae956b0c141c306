// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

package struct ModelsPolicy: Sendable, Equatable {
    package enum Layout: String, Sendable, CaseIterable {
        case ollama, huggingface, files
    }

    package enum Keep: String, Sendable, CaseIterable {
        /// Every file.
        case bytes
        /// Names, digests, sizes and where to fetch it.
        case manifest
    }

    package var path: String
    /// Nil: what the folder looks like.
    package var layout: Layout?
    package var keep: Keep
    package init(path: String, layout: Layout? = nil, keep: Keep = .bytes) {
        self.path = path
        self.layout = layout
        self.keep = keep
    }
}

extension PolicyReader {
    mutating func models(_ node: LocatedNode, _ path: String) -> ModelsPolicy? {
        guard let fields = fields(node, path, known: ["path", "layout", "keep"]) else { return nil }
        let folder = required("path", in: fields).flatMap { self.path($0, fields.path("path")) }
        let layout = choice("layout", in: fields, among: ModelsPolicy.Layout.allCases.map(\.rawValue))
            .flatMap { ModelsPolicy.Layout(rawValue: $0) }
        let keep = choice("keep", in: fields, among: ModelsPolicy.Keep.allCases.map(\.rawValue))
            .flatMap { ModelsPolicy.Keep(rawValue: $0) }
        if layout == .files, keep == .manifest {
            report(
                "'\(fields.path("keep"))' cannot be manifest for files nobody knows the source of",
                at: fields["keep"]?.location ?? fields.location, hint: "Write 'keep: bytes'.")
        }
        return folder.map { ModelsPolicy(path: $0, layout: layout, keep: keep ?? .bytes) }
    }
}
