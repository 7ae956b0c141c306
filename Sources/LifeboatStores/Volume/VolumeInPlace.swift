// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatFormats
import LifeboatIO

extension VolumeStore: InPlaceStore {
    /// Needs no room beside the live data, and a mount point is as good as any folder.
    package func preflightInPlace(_ content: any RestoreContent) throws -> [LifeboatError] {
        let root = try WalkedRoot(try VolumePlace.resolved(path))
        guard root.folder != nil else {
            throw LifeboatError(
                "\(subject) cannot be restored in place", causes: ["it is not a folder"],
                hint: "Restore it without --in-place.")
        }
        guard access(path, W_OK | X_OK) == 0 else {
            try ExchangeFlags.checkChange(path)
            throw SystemCallError("write to", path)
        }
        let live = Int64(clamping: try occupied())
        let growth = max(0, (content.facts.counts["bytes"] ?? 0) - live)
        let free = try VolumePlace("\(path)/x").freeBytes()
        guard free > UInt64(growth) else {
            throw LifeboatError(
                "there is no room to restore \(subject) in place",
                causes: ["it grows by about \(ByteCount(UInt64(growth))), free are \(ByteCount(free))"],
                hint: "Free some space on that file system, or restore elsewhere with --to DIR.")
        }
        return []
    }

    package func writeInPlace(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        let root = try VolumePlace.resolved(path)
        try clear(root, content, cancellation)
        let target = try FolderTarget(root, existing: .update, last: LastFiles())
        try content.extractTree(Self.partName, into: target, cancellation: cancellation)
        // Not before nothing is missing: an extraction with losses is synchronised too.
        try target.synchronize()
        try target.putLastFiles()
        for shortfall in target.shortfalls() { progress.report(.warning(shortfall)) }
        progress.report(.note("\(ByteCount(target.reusedBytes)) of \(subject) were right already"))
    }

    /// Bytes of the files that are there.
    private func occupied() throws -> UInt64 {
        let walk = try self.walk(Cancellation())
        defer { walk.close() }
        var counts = VolumeCounts()
        while let item = try walk.next() { counts.add(item.entry) }
        return UInt64(clamping: counts.bytes)
    }

    /// Takes away what the snapshot does not have, or has as something else, and the files that come last. What the
    /// policy excludes, and what belongs to other components, stays, and the folders it is in.
    private func clear(_ root: String, _ content: any RestoreContent, _ cancellation: Cancellation) throws {
        let walk = try self.walk(cancellation)
        defer { walk.close() }
        var folders: [[UInt8]] = []
        var current = try walk.next()
        func remove(_ entry: TreeEntry) throws {
            if entry.path.isEmpty { return }
            if entry.kind == .directory {
                folders.append(entry.path)
            } else {
                try Self.unlink(root, entry.path, 0)
            }
        }
        try content.listTree(Self.partName) { wanted in
            try cancellation.check()
            while let item = current, treeOrder(item.entry.path, wanted.path) {
                try remove(item.entry)
                current = try walk.next()
            }
            guard let item = current, item.entry.path == wanted.path else { return }
            if (item.entry.kind == .directory) != (wanted.kind == .directory) || LastFiles.contains(wanted.path) {
                try remove(item.entry)
            }
            current = try walk.next()
        }
        while let item = current {
            try cancellation.check()
            try remove(item.entry)
            current = try walk.next()
        }
        // Deepest first. One that is not empty holds what stays.
        for folder in folders.reversed() { try Self.unlink(root, folder, AT_REMOVEDIR) }
    }

    /// Whether flags of the object or of its directory forbade the removal, and are gone.
    private static func allowRemoval(_ name: [UInt8]) -> Bool {
        guard let slash = name.lastIndex(of: 0x2F) else { return false }
        let parent = Array(name[..<slash]) + [0]
        let isFree = [parent, name].map { path in
            path.withUnsafeBytes { bytes in
                // Never empty: ended by a NUL.
                FileFlags.allowChanges(to: bytes.baseAddress!.assumingMemoryBound(to: CChar.self), in: AT_FDCWD)
            }
        }
        return isFree.contains(true)
    }

    private static func unlink(_ root: String, _ path: [UInt8], _ flags: Int32) throws {
        let shown = "\(root)/\(String(decoding: path, as: UTF8.self))"
        let name = Array("\(root)/".utf8) + path + [0]
        let result = name.withUnsafeBytes { bytes -> Int32 in
            // Never empty: ended by a NUL.
            unlinkat(AT_FDCWD, bytes.baseAddress!.assumingMemoryBound(to: CChar.self), flags) == 0 ? 0 : errno
        }
        if result == 0 || result == ENOENT { return }
        if result == EPERM, allowRemoval(name) { return try unlink(root, path, flags) }
        if flags == AT_REMOVEDIR, result == ENOTEMPTY || result == EEXIST { return }
        throw SystemCallError("remove", shown, errorNumber: result)
    }
}
