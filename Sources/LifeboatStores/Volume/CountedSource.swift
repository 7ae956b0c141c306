// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import Synchronization

/// A tree that counts what its walks meet.
final class CountedSource: FileTreeSource {
    private let source: any FileTreeSource
    private let lastCounts = Mutex<VolumeCounts?>(nil)

    init(_ source: any FileTreeSource) { self.source = source }

    /// Of the last walk that came to its end.
    var counts: VolumeCounts? { lastCounts.withLock { $0 } }

    func walk(_ cancellation: Cancellation) throws -> any FileTreeWalk {
        CountedWalk(try source.walk(cancellation), self)
    }

    fileprivate func ended(_ counts: VolumeCounts) { lastCounts.withLock { $0 = counts } }
}

private final class CountedWalk: FileTreeWalk {
    private let walk: any FileTreeWalk
    private let source: CountedSource
    private var counts = VolumeCounts()

    init(_ walk: any FileTreeWalk, _ source: CountedSource) {
        self.walk = walk
        self.source = source
    }

    func next() throws -> FileTreeItem? {
        guard let item = try walk.next() else {
            source.ended(counts)
            return nil
        }
        if item.note != .vanished { counts.add(item.entry) }
        return item
    }

    func complete(_ item: inout FileTreeItem) throws { try walk.complete(&item) }

    func close() { walk.close() }
}

extension VolumeCounts {
    mutating func add(_ entry: TreeEntry) {
        switch entry.kind {
        case .directory: folders += 1
        case .symbolicLink: links += 1
        case .file where entry.hardLink != nil: links += 1
        case .file:
            files += 1
            bytes = bytes.addingReportingOverflow(Int64(clamping: entry.size)).partialValue
        default: specials += 1
        }
    }
}
