// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Temporary files that a killed writer left behind (`<name>.<process>-<random>.lifeboat-tmp`).
enum Leftovers {
    private static let week = 7.0 * 86_400

    /// Removes those of writers that are gone from `folder` and the folders in it; see
    /// `LocalFolderStore.removeLeftovers`.
    static func remove(
        in folder: String, untouchedFor seconds: Double, now: Timestamp
    ) throws(SystemCallError) -> Int {
        guard let stream = opendir(folder) else {
            if errno == ENOENT { return 0 }
            throw SystemCallError("open folder", folder)
        }
        defer { closedir(stream) }
        var removed = 0
        var removedHere = false
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { throw SystemCallError("read folder", folder) }
                break
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard ObjectKey(name) != nil else { continue }
            let path = "\(folder)/\(name)"
            var status = Glibc.stat()
            guard lstat(path, &status) == 0 else {
                if errno == ENOENT { continue }
                throw SystemCallError("look at", path)
            }
            switch status.st_mode & S_IFMT {
            case S_IFDIR: removed += try remove(in: path, untouchedFor: seconds, now: now)
            case S_IFREG:
                guard let process = process(of: name) else { continue }
                let age = now.seconds(
                    since: Timestamp(
                        seconds: Int64(status.st_mtim.tv_sec), nanoseconds: Int32(status.st_mtim.tv_nsec)))
                guard age > seconds, age > week || !isRunning(process) else { continue }
                guard unlink(path) == 0 || errno == ENOENT else { throw SystemCallError("remove", path) }
                removed += 1
                removedHere = true
            default: continue
            }
        }
        if removedHere { try AtomicFile.synchronizeFolder(of: "\(folder)/.") }
        return removed
    }

    /// The process number in a temporary name; nil for other names.
    private static func process(of name: String) -> pid_t? {
        guard name.hasSuffix(AtomicFile.temporarySuffix) else { return nil }
        let stem = name.dropLast(AtomicFile.temporarySuffix.count)
        guard let mark = stem.split(separator: ".").last, let dash = mark.firstIndex(of: "-") else { return nil }
        return pid_t(mark[..<dash])
    }

    private static func isRunning(_ process: pid_t) -> Bool {
        guard process > 0 else { return false }
        // EPERM: it runs as another user.
        return kill(process, 0) == 0 || errno != ESRCH
    }
}
