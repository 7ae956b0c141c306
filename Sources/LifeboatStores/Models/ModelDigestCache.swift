// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Digests of model files by what the file system says of them, so that a file of 40 GB is read once and not every night.
/// A file that was changed has another change time; one that changed a moment ago is not kept. Losing the cache costs
/// reading everything once.
struct ModelDigestCache {
    /// Nil: nothing is kept.
    private let path: String?
    private var digests: [String: String] = [:]
    private var isChanged = false

    private static let mostEntries = 100_000
    private static let longest = 64 << 20

    /// Reads what an earlier run left in `folder`. A cache that cannot be read is an empty one.
    init(folder: String?) {
        path = folder.map { "\($0)/model-digests" }
        guard let path, let file = try? OwnedDescriptor.open(path, O_RDONLY | O_NOFOLLOW),
            let status = try? FileStatus.of(file.raw), status.size <= UInt64(Self.longest)
        else { return }
        var bytes = [UInt8](repeating: 0, count: Int(status.size))
        let raw = file.raw
        guard (try? bytes.withUnsafeMutableBytes { try DescriptorIO.read(raw, into: $0, path) }) == bytes.count else {
            return
        }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 2, ContentName(blobName: words[1])?.kind == .sha256 else { continue }
            digests[String(words[0])] = String(words[1])
        }
    }

    /// SHA-256 of the file, read only when it is not known.
    mutating func sha256(_ path: String, _ cancellation: Cancellation) throws -> String {
        let before = try Self.status(path)
        let key = Self.key(before)
        if let known = digests[key] { return known }
        let now = changeClock()
        let digest = try ContentDigest.sha256(path, cancellation)
        let after = try Self.status(path)
        guard Self.key(after) == key else { throw ModelFileError("it changed while it was read") }
        if changeFactsHold(before, examinedAt: now) {
            if digests.count >= Self.mostEntries { digests.removeAll() }
            digests[key] = digest
            isChanged = true
        }
        return digest
    }

    /// Keeps what was learnt. A cache that cannot be written is done without.
    func save() {
        guard let path, isChanged else { return }
        let text = digests.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)\n" }.joined()
        if let slash = path.lastIndex(of: "/") { try? FileTree.createFolders(String(path[..<slash])) }
        try? AtomicFile.write(text, to: path)
    }

    private static func status(_ path: String) throws -> FileStatus {
        do throws(Errno) {
            return try FileStatus.at(AT_FDCWD, path)
        } catch {
            throw SystemCallError("examine", path, errorNumber: error.number)
        }
    }

    private static func key(_ status: FileStatus) -> String {
        let modified = "\(status.modificationTime.seconds).\(status.modificationTime.nanoseconds)"
        let changed = "\(status.changeTime.seconds).\(status.changeTime.nanoseconds)"
        return "\(status.volume):\(status.inode):\(status.size):\(modified):\(changed)"
    }
}
