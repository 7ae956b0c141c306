// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatStores

extension RepositoryContent {
    private static let buffer = 1 << 20

    /// Reads every byte of the component, or of what is chosen of it, and keeps none; throws what a restore of it would.
    func readAll(_ selection: ContentSelection?, _ cancellation: Cancellation) throws {
        for part in parts where selection?.includes(part) ?? true {
            switch part.kind {
            case .stream: try drain(part.name, cancellation)
            case .tree:
                try extractTree(
                    part.name, selection?.trees[part.name] ?? .everything, into: NowhereTarget(),
                    cancellation: cancellation)
            }
        }
    }

    private func drain(_ name: String, _ cancellation: Cancellation) throws {
        let source = try openStream(name)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.buffer, alignment: 16)
        defer { buffer.deallocate() }
        while try source.read(into: buffer) > 0 { try cancellation.check() }
    }
}

/// Takes a tree and keeps nothing of it: what is written to it was read and verified.
struct NowhereTarget: FileTreeTarget {
    private final class File: FileContentTarget {
        func write(_ bytes: UnsafeRawBufferPointer, atContentOffset offset: UInt64) throws {}
        func finish() throws {}
    }

    func create(_ entry: TreeEntry) throws -> (any FileContentTarget)? {
        entry.kind == .file && entry.hardLink == nil ? File() : nil
    }

    func finishFolder(_ entry: TreeEntry) throws {}
    func synchronize() throws {}
}
