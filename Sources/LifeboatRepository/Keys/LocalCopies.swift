// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// What a host that cannot read the repository keeps of its own snapshots, so that the next backup is incremental:
/// manifests, trees and lists of chunks, in the clear, in the cache (mode 0600; it is this host's own data).
///
/// Losing it costs one full read of the sources, never data. Thread-safe; blocking.
struct LocalCopies: Sendable {
    let folder: String
    let health: CacheHealth

    /// Copies that no backup used for so long are removed.
    private static let lifetimeDays = 60

    private func chunkPath(_ id: Digest) -> String { "\(folder)/chunks/\(id.hex)" }
    private func manifestPath(_ id: Digest) -> String { "\(folder)/manifests/\(id.hex).json" }

    /// Keeps the plain bytes of a manifest under the id of its stored ones.
    func keepManifest(_ bytes: [UInt8], _ id: Digest) {
        bytes.withUnsafeBytes { keep($0, at: manifestPath(id)) }
    }

    func manifest(_ id: Digest) throws -> [UInt8]? { try SmallFile.contents(manifestPath(id)) }

    func keepChunk(_ bytes: UnsafeRawBufferPointer, _ id: Digest) { keep(bytes, at: chunkPath(id)) }

    /// The bytes of a chunk, verified; nil when there is no sound copy.
    func chunk(_ id: Digest) throws -> [UInt8]? {
        let path = chunkPath(id)
        guard let bytes = try SmallFile.contents(path), BLAKE3.hash(bytes) == id else { return nil }
        // Its time of change says when it was last of use; a failure only makes it older.
        utimensat(AT_FDCWD, path, nil, 0)
        return bytes
    }

    /// What cannot be kept costs the next backup a full read, as `health` says.
    private func keep(_ bytes: UnsafeRawBufferPointer, at path: String) {
        do {
            try FileTree.createFolders(String(path[..<(path.lastIndex(of: "/") ?? path.endIndex)]))
            try AtomicFile.write([bytes], to: path, durable: false)
        } catch {
            health.report(error)
        }
    }

    /// Removes copies no backup used lately. A copy that cannot be removed stays; it does no harm.
    func removeStale(now: Timestamp) {
        guard let stream = opendir("\(folder)/chunks") else { return }
        defer { closedir(stream) }
        let limit = now.seconds - Int64(Self.lifetimeDays * 86_400)
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard Digest(hex: name[...]) != nil else { continue }
            let path = "\(folder)/chunks/\(name)"
            var status = stat()
            guard lstat(path, &status) == 0, Int64(status.st_mtim.tv_sec) < limit else { continue }
            unlink(path)
        }
    }
}
