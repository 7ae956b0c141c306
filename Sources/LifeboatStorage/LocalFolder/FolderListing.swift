// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatIO

/// One page of a `LocalFolderStore`'s listing: a walk in key order that holds no more names of a folder than the page
/// has room for.
///
/// Bytewise key order is the order of names in which a folder counts as `name/`. Every name here is ASCII, for which
/// `<` of String is bytewise.
struct FolderListing {
    let root: String
    let prefix: String
    /// Only keys behind this one.
    let after: String?
    let limit: Int

    private var objects: [ObjectInfo] = []

    init(root: String, prefix: String, after: String?, limit: Int) {
        self.root = root
        self.prefix = prefix
        self.after = after
        self.limit = limit
    }

    /// Walks until the page is full. Folders and files that vanish meanwhile are passed over.
    consuming func page() throws(SystemCallError) -> ObjectPage {
        // The folder all keys of the prefix lie in: `packs/` for `packs/ab`.
        let folder = prefix.lastIndex(of: "/").map { String(prefix[..<$0]) } ?? ""
        // A prefix that is no part of any key has no objects, and must not lead out of the root.
        guard folder.isEmpty || ObjectKey(folder) != nil, try Self.isFolderWithoutLinks(root: root, folder) else {
            return ObjectPage(objects: [], next: nil)
        }
        // One more than asked for tells whether there is a next page.
        try walk(folder)
        guard objects.count > limit else { return ObjectPage(objects: objects, next: nil) }
        objects.removeLast(objects.count - limit)
        return ObjectPage(objects: objects, next: ObjectPageToken(objects[limit - 1].key.text))
    }

    private mutating func walk(_ folder: String) throws(SystemCallError) {
        let base = folder.isEmpty ? "" : folder + "/"
        let path = folder.isEmpty ? root : "\(root)/\(folder)"
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return }
            throw SystemCallError("open folder", path)
        }
        let opened = OwnedDescriptor(owning: descriptor)
        var last: String?
        while objects.count <= limit {
            let batch = try names(in: folder, base, behind: last)
            for name in batch.names {
                if name.hasSuffix("/") {
                    try walk(base + name.dropLast())
                } else if let key = ObjectKey(base + name), let size = try Self.fileSize(name, in: opened, path) {
                    objects.append(ObjectInfo(key: key, size: size))
                }
                if objects.count > limit { return }
            }
            guard batch.truncated, let end = batch.names.last else { return }
            last = end
        }
    }

    /// The first names of the folder in key order that can matter: behind `last`, behind `after` and with the prefix.
    private func names(
        in folder: String, _ base: String, behind last: String?
    ) throws(SystemCallError) -> (names: [String], truncated: Bool) {
        let keep = limit + 1 - objects.count
        var names: [String] = []
        var truncated = false
        try Self.forEachName(in: folder.isEmpty ? root : "\(root)/\(folder)") { name, isFolder in
            if isFolder { name += "/" }
            if let last, name <= last { return }
            let key = base + name
            guard isFolder ? overlapsPrefix(key) : key.hasPrefix(prefix) else { return }
            // A folder in which `after` lies still has keys behind it.
            if let after, key <= after, !(isFolder && after.hasPrefix(key)) { return }
            if !isFolder, key.hasSuffix(AtomicFile.temporarySuffix) { return }
            names.append(name)
            if names.count >= keep + max(keep, 4096) {
                names.sort()
                names.removeLast(names.count - keep)
                truncated = true
            }
        }
        names.sort()
        if names.count > keep {
            names.removeLast(names.count - keep)
            truncated = true
        }
        return (names, truncated)
    }

    private func overlapsPrefix(_ folder: String) -> Bool { folder.hasPrefix(prefix) || prefix.hasPrefix(folder) }

    /// Folders directly in `folder` of the store, as keys.
    static func subfolders(root: String, folder: String) throws(SystemCallError) -> [String] {
        var result: [String] = []
        try forEachName(in: folder.isEmpty ? root : "\(root)/\(folder)") { name, isFolder in
            if isFolder { result.append(folder.isEmpty ? name : "\(folder)/\(name)") }
        }
        return result
    }

    /// Calls `body` with each regular file and folder whose name can be part of a key. No folder: no calls.
    private static func forEachName(
        in path: String, _ body: (_ name: inout String, _ isFolder: Bool) -> Void
    ) throws(SystemCallError) {
        guard let stream = opendir(path) else {
            if errno == ENOENT { return }
            throw SystemCallError("open folder", path)
        }
        defer { closedir(stream) }
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { throw SystemCallError("read folder", path) }
                return
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            // Also drops `.`, `..` and what is no UTF-8 (repaired, it holds a character no key has).
            guard var component = ObjectKey(name)?.text else { continue }
            var type = Int(entry.pointee.d_type)
            if type == Int(DT_UNKNOWN) {
                var status = Glibc.stat()
                guard lstat("\(path)/\(name)", &status) == 0 else {
                    if errno == ENOENT { continue }
                    throw SystemCallError("look at", "\(path)/\(name)")
                }
                let format = status.st_mode & S_IFMT
                type = format == S_IFDIR ? Int(DT_DIR) : format == S_IFREG ? Int(DT_REG) : Int(DT_UNKNOWN)
            }
            if type == Int(DT_DIR) || type == Int(DT_REG) { body(&component, type == Int(DT_DIR)) }
        }
    }

    /// Nil when it vanished or is no regular file any more.
    private static func fileSize(
        _ name: String, in folder: borrowing OwnedDescriptor, _ path: String
    ) throws(SystemCallError) -> UInt64? {
        var status = Glibc.stat()
        guard fstatat(folder.raw, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            if errno == ENOENT { return nil }
            throw SystemCallError("look at", "\(path)/\(name)")
        }
        return status.st_mode & S_IFMT == S_IFREG ? UInt64(max(0, status.st_size)) : nil
    }

    private static func isFolderWithoutLinks(root: String, _ folder: String) throws(SystemCallError) -> Bool {
        var path = root
        for component in folder.split(separator: "/") {
            path += "/\(component)"
            var status = Glibc.stat()
            guard lstat(path, &status) == 0 else {
                if errno == ENOENT || errno == ENOTDIR { return false }
                throw SystemCallError("look at", path)
            }
            guard status.st_mode & S_IFMT == S_IFDIR else { return false }
        }
        return true
    }
}
