// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats

/// A share of the files of a captured tree, whole ones; folders, links and all else of it stay. Hard links go with the
/// file they are of. At least one file is in it, one with content where there is any.
///
/// Which files those are follows from the draw and their paths, so that nothing has to be remembered of large trees.
struct TreeSample: Sendable {
    private let draw: SampleDraw
    private let limit: UInt64
    /// What is drawn together, by the path of a file.
    private let group: @Sendable ([UInt8]) -> [UInt8]
    /// What is in the sample, and what there is.
    let taken: VolumeCounts
    let all: VolumeCounts

    /// Reads the listing of the tree, twice.
    init(
        _ content: any RestoreContent, _ tree: String, _ draw: SampleDraw,
        group: @escaping @Sendable ([UInt8]) -> [UInt8] = { $0 }
    ) throws {
        self.draw = draw
        self.group = group
        var all = VolumeCounts()
        // Lots of what has content, and of what has none.
        var (least, leastEmpty) = (UInt64.max, UInt64.max)
        try content.listTree(tree) { entry in
            all.add(entry)
            guard entry.kind == .file, entry.hardLink == nil else { return }
            let lot = draw.lot(group(entry.path))
            if entry.size > 0 { least = min(least, lot) } else { leastEmpty = min(leastEmpty, lot) }
        }
        let certain = least < .max ? least : leastEmpty < .max ? leastEmpty : 0
        let limit = max(draw.limit, certain)
        var taken = VolumeCounts()
        try content.listTree(tree) { entry in
            if Self.takes(entry, limit, draw, group) { taken.add(entry) }
        }
        self.limit = limit
        self.all = all
        self.taken = taken
    }

    func takes(_ entry: TreeEntry) -> Bool { Self.takes(entry, limit, draw, group) }

    /// Whether the file of this path is in the sample.
    func takesFile(_ path: String) -> Bool { draw.lot(group(Array(path.utf8))) <= limit }

    private static func takes(
        _ entry: TreeEntry, _ limit: UInt64, _ draw: SampleDraw, _ group: ([UInt8]) -> [UInt8]
    ) -> Bool {
        entry.kind != .file || draw.lot(group(entry.hardLink ?? entry.path)) <= limit
    }
}
