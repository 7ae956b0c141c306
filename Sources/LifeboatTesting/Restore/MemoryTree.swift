// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
package import LifeboatFormats
import LifeboatIO
package import LifeboatStores

/// A file tree in memory to restore into. It holds its callers to the contract of `FileTreeTarget`: parents first,
/// links after what they point to, folders finished last and once. Thread-safe.
package final class MemoryTree: FileTreeTarget {
    package struct Object: Sendable, Equatable {
        package var entry: TreeEntry
        package var bytes: [UInt8] = []
        package var isFinished = false
    }

    private struct State {
        var objects: [[UInt8]: Object] = [:]
        var violations: [String] = []
        var isSynchronized = false
    }

    private let state = Monitor(State())
    private let refusal: @Sendable (_ path: [UInt8]) -> (any Error)?
    private let onCreate: (@Sendable (_ path: [UInt8]) -> Void)?

    /// `refusal`: what creating that path fails with.
    package init(
        onCreate: (@Sendable (_ path: [UInt8]) -> Void)? = nil,
        refusal: @escaping @Sendable (_ path: [UInt8]) -> (any Error)? = { _ in nil }
    ) {
        self.onCreate = onCreate
        self.refusal = refusal
    }

    package var objects: [[UInt8]: Object] { state.withLock { $0.objects } }
    package var violations: [String] { state.withLock { $0.violations } }
    package var isSynchronized: Bool { state.withLock { $0.isSynchronized } }

    private static func parent(_ path: [UInt8]) -> [UInt8] {
        path.lastIndex(of: UInt8(ascii: "/")).map { Array(path[..<$0]) } ?? []
    }

    package func create(_ entry: TreeEntry) throws -> (any FileContentTarget)? {
        onCreate?(entry.path)
        if let refusal = refusal(entry.path) { throw refusal }
        return try state.withLock { state in
            let shown = String(decoding: entry.path, as: UTF8.self)
            if state.objects[entry.path] != nil { state.violations.append("'\(shown)' was created twice") }
            if !entry.path.isEmpty {
                guard let parent = state.objects[Self.parent(entry.path)], parent.entry.kind == .directory else {
                    throw LifeboatError("'\(shown)' has no folder")
                }
                if parent.isFinished { state.violations.append("'\(shown)' came after its folder was finished") }
            }
            var object = Object(entry: entry)
            if let first = entry.hardLink {
                guard let linked = state.objects[first] else { throw LifeboatError("'\(shown)' links to nothing") }
                object.bytes = linked.bytes
                object.isFinished = true
            } else if entry.kind == .file {
                state.objects[entry.path] = object
                return File(self, entry)
            } else if entry.kind != .directory {
                object.isFinished = true
            }
            state.objects[entry.path] = object
            return nil
        }
    }

    package func finishFolder(_ entry: TreeEntry) throws {
        state.withLock { state in
            let shown = String(decoding: entry.path, as: UTF8.self)
            if state.objects[entry.path]?.isFinished != false {
                state.violations.append("folder '\(shown)' was finished twice")
            }
            let prefix = entry.path.isEmpty ? [] : entry.path + [UInt8(ascii: "/")]
            for (path, object) in state.objects where path != entry.path && path.starts(with: prefix) {
                if !object.isFinished { state.violations.append("folder '\(shown)' was finished before its content") }
            }
            state.objects[entry.path]?.isFinished = true
        }
    }

    package func synchronize() throws { state.withLock { $0.isSynchronized = true } }

    private final class File: FileContentTarget {
        private let tree: MemoryTree
        private let entry: TreeEntry

        init(_ tree: MemoryTree, _ entry: TreeEntry) {
            self.tree = tree
            self.entry = entry
        }

        func write(_ bytes: UnsafeRawBufferPointer, atContentOffset offset: UInt64) throws {
            tree.state.withLock { state in
                let end = Int(offset) + bytes.count
                var object = state.objects[entry.path] ?? Object(entry: entry)
                state.objects[entry.path] = nil  // so that writing does not copy the bytes
                if object.isFinished { state.violations.append("a file was written after it was finished") }
                if object.bytes.count < end {
                    object.bytes += [UInt8](repeating: 0, count: end - object.bytes.count)
                }
                object.bytes.withUnsafeMutableBytes { target in
                    UnsafeMutableRawBufferPointer(rebasing: target[Int(offset)..<end]).copyMemory(from: bytes)
                }
                state.objects[entry.path] = object
            }
        }

        func finish() throws {
            tree.state.withLock { state in
                if state.objects[entry.path]?.isFinished != false {
                    state.violations.append("a file was finished twice")
                }
                state.objects[entry.path]?.isFinished = true
            }
        }
    }
}
