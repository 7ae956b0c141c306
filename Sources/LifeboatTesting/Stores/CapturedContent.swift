// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatFormats
package import LifeboatIO
package import LifeboatStores

/// A captured component in memory: what a repository would give back to its store. A value, so that tests can damage
/// copies of it.
package struct CapturedContent: RestoreContent {
    package var engineVersion: String?
    package var facts: StoreFacts
    package var streams: [String: [UInt8]] = [:]
    package var trees: [String: TreeCopy] = [:]

    package init(engineVersion: String? = nil, facts: StoreFacts = StoreFacts()) {
        self.engineVersion = engineVersion
        self.facts = facts
    }

    /// Captures everything of a store; `during` runs after the point in time was fixed.
    package init(
        _ store: any DataStore, _ cancellation: Cancellation = Cancellation(), during: () throws -> Void = {}
    ) throws {
        engineVersion = try store.probe().engineVersion
        let point = try store.fixPoint(cancellation)
        defer { point.release() }
        try during()
        for part in point.parts {
            switch part {
            case .stream(let name, let open): streams[name] = try Self.readAll(try open())
            case .tree(let name, let source): trees[name] = try TreeCopy(walking: source)
            }
        }
        facts = try point.facts()
    }

    package func openStream(_ name: String) throws -> any ByteSource {
        guard let bytes = streams[name] else { throw LifeboatError("the snapshot holds no stream '\(name)'") }
        return ArraySource(bytes)
    }

    package func streamSize(_ name: String) -> UInt64? { streams[name].map { UInt64($0.count) } }

    package func listTree(_ name: String, _ body: (TreeEntry) throws -> Void) throws {
        guard let tree = trees[name] else { throw LifeboatError("the snapshot holds no tree '\(name)'") }
        for entry in tree.entries { try body(entry) }
    }

    /// With trees that hold only what it says yes to.
    package func taking(_ takes: (TreeEntry) -> Bool) -> CapturedContent {
        var copy = self
        for name in trees.keys { copy.trees[name]?.entries.removeAll { !takes($0) } }
        return copy
    }

    package func extractTree(
        _ name: String, into target: any FileTreeTarget, cancellation: Cancellation
    ) throws {
        guard let tree = trees[name] else { throw LifeboatError("the snapshot holds no tree '\(name)'") }
        try cancellation.check()
        try tree.extract(into: target)
    }

    package func extractTree(
        _ name: String, _ selection: PathSelection, into target: any FileTreeTarget, cancellation: Cancellation
    ) throws {
        guard var tree = trees[name] else { throw LifeboatError("the snapshot holds no tree '\(name)'") }
        try cancellation.check()
        tree.entries.removeAll { !selection.includes($0.path, isFolder: $0.kind == .directory) }
        try tree.extract(into: target)
    }

    /// A copy with changes.
    package func changing(
        engineVersion: String? = nil, facts change: (inout StoreFacts) -> Void = { _ in },
        streams edit: (inout [String: [UInt8]]) -> Void = { _ in }
    ) -> CapturedContent {
        var copy = self
        copy.engineVersion = engineVersion ?? self.engineVersion
        change(&copy.facts)
        edit(&copy.streams)
        return copy
    }

    /// All of a stream; closes it.
    package static func readAll(_ source: any ByteSource) throws -> [UInt8] {
        defer { source.close() }
        var all: [UInt8] = []
        // An odd size: nothing may depend on how a stream is cut.
        var buffer = [UInt8](repeating: 0, count: 50_001)
        while true {
            let count = try buffer.withUnsafeMutableBytes { try source.read(into: $0) }
            if count == 0 { return all }
            all.append(contentsOf: buffer[..<count])
        }
    }
}

/// Bytes in memory as a stream.
package final class ArraySource: ByteSource {
    private let bytes: [UInt8]
    private var position = 0
    private let onRead: (_ position: Int) throws -> Void

    /// `onRead` is called before each read.
    package init(_ bytes: [UInt8], onRead: @escaping (_ position: Int) throws -> Void = { _ in }) {
        self.bytes = bytes
        self.onRead = onRead
    }

    package func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        try onRead(position)
        let count = min(buffer.count, bytes.count - position)
        buffer.copyBytes(from: bytes[position..<position + count])
        position += count
        return count
    }

    package func close() {}
}
