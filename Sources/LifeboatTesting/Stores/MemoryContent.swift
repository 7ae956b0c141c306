// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatIO
package import LifeboatStores

/// What a store captured, kept in memory and given back to it: a backup without a repository.
package struct MemoryContent: RestoreContent {
    package var engineVersion: String?
    package var facts: StoreFacts
    package var streams: [String: [UInt8]]

    package init(_ facts: StoreFacts, streams: [String: [UInt8]]) {
        self.facts = facts
        self.streams = streams
    }

    /// Captures a store of streams whole: point, parts, facts.
    package init(capturing store: any DataStore, while body: () throws -> Void = {}) throws {
        engineVersion = try store.probe().engineVersion
        let point = try store.fixPoint(Cancellation())
        defer { point.release() }
        try body()
        streams = [:]
        for part in point.parts {
            guard case .stream(let name, let open) = part else { throw LifeboatError("'\(part.name)' is no stream") }
            streams[name] = try Self.bytes(of: try open())
        }
        facts = try point.facts()
    }

    package static func bytes(of source: any ByteSource) throws -> [UInt8] {
        defer { source.close() }
        var bytes: [UInt8] = []
        // An odd size, so that reads end inside of whatever the source has as a unit.
        var buffer = [UInt8](repeating: 0, count: 100_003)
        while true {
            let count = try buffer.withUnsafeMutableBytes { try source.read(into: $0) }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
        }
    }

    package func openStream(_ name: String) throws -> any ByteSource {
        guard let bytes = streams[name] else { throw LifeboatError("no stream '\(name)'") }
        return MemoryBytes(bytes)
    }

    package func streamSize(_ name: String) -> UInt64? { streams[name].map { UInt64($0.count) } }

    package func extractTree(_ name: String, into target: any FileTreeTarget, cancellation: Cancellation) throws {
        throw LifeboatError("no tree '\(name)'")
    }
}

private final class MemoryBytes: ByteSource {
    private var bytes: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { self.bytes = bytes[...] }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let count = min(buffer.count, bytes.count)
        buffer.copyBytes(from: bytes.prefix(count))
        bytes = bytes.dropFirst(count)
        return count
    }

    func close() {}
}
