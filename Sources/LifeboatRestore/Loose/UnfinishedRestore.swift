// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatRepository
import LifeboatStores

/// The file that marks a directory as one that a restore writes to: it is there from before the first file until all
/// files are whole and durable. While a process restores, it holds a lock on it.
package final class UnfinishedRestore {
    /// Name of the file in the chosen directory.
    static let name = ".lifeboat-restore"
    private static let sizeLimit = 1 << 20

    /// What is restored. A run that restores the same goes on with what another one left.
    struct Record: Codable, Equatable {
        var format = 1
        var repository: String
        var snapshot: String
        /// Names, in the order of the snapshot.
        var components: [String]
        /// Chosen paths, sorted; empty: everything.
        var paths: [[UInt8]]
        /// Part of the names of temporary files.
        var token: String

        func restoresSame(as other: Record) -> Bool {
            var other = other
            other.token = token
            return self == other
        }
    }

    /// The files of this run.
    let files: UnfinishedFiles
    private let path: String
    private let descriptor: Int32

    private init(path: String, descriptor: Int32, files: UnfinishedFiles) {
        self.path = path
        self.descriptor = descriptor
        self.files = files
    }

    deinit { _ = close(descriptor) }

    /// Marks `folder`, which is created when it is not there, as one that `record` is restored to. Where an earlier run
    /// of the same restore did not end, its token counts. Before the first mark `requireFree` decides whether what is
    /// there allows a restore.
    ///
    /// Throws `busy` while another process restores to it, and when an unfinished restore of something else is there.
    static func begin(
        in folder: String, _ record: Record, requireFree: () throws -> Void
    ) throws -> UnfinishedRestore {
        let path = "\(folder)/\(name)"
        if access(path, F_OK) != 0 {
            try requireFree()
            if !folder.isEmpty { try FileTree.createFolders(folder, mode: 0o755) }
        }
        let file = try OwnedDescriptor.open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK)
        while flock(file.raw, LOCK_EX | LOCK_NB) != 0 {
            if errno == EWOULDBLOCK {
                throw LifeboatError(
                    "another lifeboat is restoring to '\(folder)'", hint: "Wait until it ends.", exitCode: .busy)
            }
            if errno != EINTR { throw SystemCallError("lock", path) }
        }
        var token = record.token
        let earlier = try read(path)
        if let earlier {
            guard earlier.restoresSame(as: record) else { throw other(earlier, in: folder) }
            token = earlier.token
        } else {
            // None, or one that was not written to its end: no file was restored yet.
            try requireFree()
            try write(record, file.raw, path)
        }
        return UnfinishedRestore(
            path: path, descriptor: file.release(),
            files: UnfinishedFiles(token: token, marker: name, isResumed: earlier != nil))
    }

    /// Whether a restore to `folder` did not end.
    package static func exists(in folder: String) -> Bool { access("\(folder)/\(name)", F_OK) == 0 }

    private static func read(_ path: String) throws -> Record? {
        guard let bytes = try SmallFile.contents(path, limit: sizeLimit) else { return nil }
        guard let record = try? CanonicalJSON.decode(Record.self, from: bytes), record.format == 1,
            !record.token.isEmpty, record.token.utf8.count <= 64, record.token.allSatisfy(\.isHexDigit)
        else { return nil }
        return record
    }

    private static func write(_ record: Record, _ descriptor: Int32, _ path: String) throws {
        let text = try CanonicalJSON.encode(record, pretty: true) + [0x0A]
        guard ftruncate(descriptor, 0) == 0 else { throw SystemCallError("write to", path) }
        try text.withUnsafeBytes { try DescriptorIO.write(descriptor, at: 0, $0, path) }
        try DescriptorIO.synchronize(descriptor, path)
        try AtomicFile.synchronizeFolder(of: path)
    }

    private static func other(_ record: Record, in folder: String) -> LifeboatError {
        LifeboatError(
            "'\(folder)' has an unfinished restore of something else",
            causes: [
                "snapshot \(record.snapshot.prefix(12)), components: \(record.components.joined(separator: ", "))"
                    + (record.paths.isEmpty ? "" : ", \(record.paths.count) chosen paths")
            ],
            hint: "Choose another directory with --to, run that restore again to finish it, or delete the directory.")
    }

    /// The restore ended: what could be restored is durable.
    func end() throws {
        guard unlink(path) == 0 || errno == ENOENT else { throw SystemCallError("remove", path) }
        try AtomicFile.synchronizeFolder(of: path)
    }
}
