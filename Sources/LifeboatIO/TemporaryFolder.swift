// SPDX-License-Identifier: Apache-2.0

package import Glibc

/// A new folder of mode 0700 that `remove()` takes away with all it holds.
package struct TemporaryFolder: Sendable {
    package let path: String

    /// Creates `<parent>/<prefix>XXXXXX`; the parent defaults to `$TMPDIR` or /tmp.
    package init(prefix: String = "lifeboat-", in parent: String? = nil) throws(SystemCallError) {
        let folder = parent ?? getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(folder)/\(prefix)XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemCallError("create a folder in", folder) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Removes the folder and everything below it, following no symbolic link.
    package func remove() throws(SystemCallError) { try FileTree.remove(path) }
}

/// Whole folders.
package enum FileTree {
    /// Removes `path` and everything below it, following no symbolic link. A path that does not exist is fine.
    package static func remove(_ path: String) throws(SystemCallError) {
        if unlink(path) == 0 || errno == ENOENT { return }
        let unlinkError = errno
        guard unlinkError == EISDIR || unlinkError == EPERM else {
            throw SystemCallError("remove", path, errorNumber: unlinkError)
        }
        guard let stream = opendir(path) else { throw SystemCallError("open", path) }
        defer { closedir(stream) }
        try removeContents(of: dirfd(stream), stream, path)
        guard rmdir(path) == 0 else { throw SystemCallError("remove", path) }
    }

    private static func removeContents(
        of descriptor: Int32, _ stream: OpaquePointer, _ path: String
    ) throws(SystemCallError) {
        while let entry = readdir(stream) {
            // Kept as C bytes: names need not be UTF-8.
            var name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name == [0x2E] || name == [0x2E, 0x2E] { continue }
            name.append(0)
            let shown = "\(path)/\(String(decoding: name.dropLast(), as: UTF8.self))"
            let cName = name.map { CChar(bitPattern: $0) }
            if unlinkat(descriptor, cName, 0) == 0 { continue }
            guard errno == EISDIR || errno == EPERM else { throw SystemCallError("remove", shown) }
            let child = openat(descriptor, cName, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard child >= 0, let childStream = fdopendir(child) else { throw SystemCallError("open", shown) }
            defer { closedir(childStream) }
            try removeContents(of: child, childStream, shown)
            guard unlinkat(descriptor, cName, AT_REMOVEDIR) == 0 else { throw SystemCallError("remove", shown) }
        }
    }

    /// Creates `path` and its missing parents.
    package static func createFolders(_ path: String, mode: mode_t = 0o700) throws(SystemCallError) {
        if mkdir(path, mode) == 0 || errno == EEXIST { return }
        guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
            throw SystemCallError("create folder", path)
        }
        try createFolders(String(path[..<slash]), mode: mode)
        if mkdir(path, mode) != 0, errno != EEXIST { throw SystemCallError("create folder", path) }
    }

    /// Names in a folder, in no order; none when there is no such folder. Names that are no UTF-8 are repaired.
    package static func names(in folder: String) throws(SystemCallError) -> [String] {
        guard let stream = opendir(folder) else {
            if errno == ENOENT { return [] }
            throw SystemCallError("open", folder)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { throw SystemCallError("read", folder) }
                return names
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
    }
}
