// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// Holds a restored path against the listing in the snapshot.
///
/// Services run again by then, and may write, rename and remove. What they touched shows in times: a restored file and
/// folder have those of the snapshot until somebody changes them. So a file counts as lost when it is not there and its
/// folder was not touched, or has another size and was not touched itself. Contents were compared with their digests while
/// they were staged.
struct PartComparison {
    private struct Folder {
        var path: [UInt8]
        var isUntouched: Bool
    }

    private let root: String
    private let part: String

    /// `root`: the live volume.
    init(_ root: String, _ part: String) {
        self.root = root
        self.part = part
    }

    func differences(_ content: any RestoreContent) throws -> [FactDifference] {
        let path = "\(root)/\(part)"
        guard try InodeExchange.inode(path) != nil else {
            return [FactDifference(name: "path:\(part)", expected: "there", found: nil)]
        }
        let walk = try FolderSource(path, FolderSource.Options(staysOnVolume: false)).walk(Cancellation())
        defer { walk.close() }
        var current = try walk.next()
        var folders: [Folder] = []
        var (expected, lost) = (VolumeCounts(), VolumeCounts())
        let selection = PathSelection([Array(part.utf8)])
        try content.listTree(VolumeStore.partName) { wanted in
            guard selection.chooses(wanted.path) else { return }
            // The snapshot has no content of it: it was not restored.
            if wanted.kind == .file, wanted.hardLink == nil, wanted.content == nil { return }
            let below = Array(wanted.path.dropFirst(part.utf8.count + 1))
            while let item = current, treeOrder(item.entry.path, below) { current = try walk.next() }
            while let last = folders.last, !PathSelection.isBelow(below, last.path) { folders.removeLast() }
            let live = current.flatMap { $0.entry.path == below && $0.note != .vanished ? $0.entry : nil }
            let isInUntouched = folders.last?.isUntouched ?? true
            expected.add(wanted)
            if let live, live.kind == wanted.kind {
                let isUntouched = live.modificationTime == wanted.modificationTime
                if live.kind == .directory { folders.append(Folder(path: below, isUntouched: isUntouched)) }
                if isUntouched, live.kind == .file, live.size < wanted.size, wanted.hardLink == nil {
                    lost.bytes += Int64(clamping: wanted.size - live.size)
                }
            } else {
                if wanted.kind == .directory { folders.append(Folder(path: below, isUntouched: isInUntouched)) }
                if isInUntouched { lost.add(wanted) }
            }
        }
        let counts = expected.facts
        return lost.facts.filter { $0.value > 0 }.sorted { $0.key < $1.key }.map { name, missing in
            let count = counts[name] ?? 0
            return FactDifference(name: "\(name):\(part)", expected: "\(count)", found: "\(count - missing)")
        }
    }
}
