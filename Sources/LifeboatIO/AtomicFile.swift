// SPDX-License-Identifier: Apache-2.0

package import Glibc

/// The one way a file comes into being: temporary name in the same folder, fsync, rename, fsync of the folder.
/// A crash at any point leaves the old file or the new one, never a part of it.
package enum AtomicFile {
    /// Marks temporary names, so that leftovers of a crash are recognised and ignored or removed.
    package static let temporarySuffix = ".lifeboat-tmp"

    /// Writes the pieces, in order, as the whole content of `path`.
    ///
    /// Without `durable` a power loss may leave an empty or torn file: for copies that are checked when they are opened.
    /// With `replacing` false an existing file is left untouched and false is returned. Blocking.
    @discardableResult
    package static func write(
        _ pieces: [UnsafeRawBufferPointer], to path: String, mode: mode_t = 0o600, replacing: Bool = true,
        durable: Bool = true
    ) throws(SystemCallError) -> Bool {
        if !replacing, access(path, F_OK) == 0 { return false }
        let temporary = "\(path).\(getpid())-\(UInt32.random(in: .min ... .max))\(temporarySuffix)"
        let file = try OwnedDescriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: mode)
        do throws(SystemCallError) {
            for piece in pieces { try DescriptorIO.write(file.raw, piece, temporary) }
            if durable { try DescriptorIO.synchronize(file.raw, temporary) }
            try file.close(temporary)
            if replacing {
                guard rename(temporary, path) == 0 else { throw SystemCallError("rename to", path) }
            } else if link(temporary, path) == 0 {
                // link(2) is the put-if-absent of a POSIX folder: it fails when the name exists.
                unlink(temporary)
            } else if errno == EEXIST {
                unlink(temporary)
                return false
            } else if [EPERM, ENOTSUP, ENOSYS, EMLINK].contains(errno) {
                // A file system without hard links (FAT, some network mounts).
                guard try Rename.withoutReplacing(temporary, to: path) else {
                    unlink(temporary)
                    return false
                }
            } else {
                throw SystemCallError("create", path)
            }
            if durable { try synchronizeFolder(of: path) }
            return true
        } catch {
            unlink(temporary)
            throw error
        }
    }

    /// Writes text as the whole content of `path`.
    package static func write(
        _ text: String, to path: String, mode: mode_t = 0o600, replacing: Bool = true
    ) throws(SystemCallError) {
        let bytes = Array(text.utf8)
        let result = bytes.withUnsafeBytes { buffer in
            Result { () throws(SystemCallError) in
                try write([buffer], to: path, mode: mode, replacing: replacing)
            }
        }
        _ = try result.get()
    }

    /// fsync of the folder that holds `path`: makes a rename or unlink in it durable.
    package static func synchronizeFolder(of path: String) throws(SystemCallError) {
        var folder = path[..<(path.lastIndex(of: "/") ?? path.startIndex)]
        if folder.isEmpty { folder = path.hasPrefix("/") ? "/" : "." }
        let descriptor = try OwnedDescriptor.open(String(folder), O_RDONLY | O_DIRECTORY)
        try DescriptorIO.synchronize(descriptor.raw, String(folder))
    }
}
