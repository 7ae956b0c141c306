// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
package import LifeboatIO
import LifeboatRepository

/// Where a drill works: written down before anything is made, so that a drill that is killed leaves nothing unknown.
package struct SandboxRecord: Codable, Sendable, Equatable {
    package static let currentFormat = 1

    package var format: Int
    package var drill: String
    package var stack: String
    package var owner: ProcessIdentity
    package var created: Timestamp
    /// Everything the drill makes on this host is below it: files, sockets, the working folders of its processes.
    package var folder: String
    /// The Compose project of the sandbox; nil for engines.
    package var project: String?
    /// It ended and was asked to leave the sandbox: only `lifeboat drill clean` takes it away.
    package var isKept: Bool

    private enum CodingKeys: String, CodingKey {
        case format, drill, stack, owner, created, folder, project
        case isKept = "kept"
    }

    package init(drill: String, stack: String, owner: ProcessIdentity, created: Timestamp, folder: String) {
        format = Self.currentFormat
        self.drill = drill
        self.stack = stack
        self.owner = owner
        self.created = created
        self.folder = folder
        isKept = false
    }

    /// The Compose project a sandbox of this drill has.
    package static func project(of drill: String) -> String { "\(ComposeSandbox.namePrefix)\(drill)" }
}

/// The records of sandboxes on this host, a file each: `<state folder>/drills/<drill>.json`.
package struct SandboxJournal: Sendable {
    private static let suffix = ".json"
    private let folder: String

    package init(stateFolder: String) { folder = "\(stateFolder)/drills" }

    /// One drill of a stack at a time on a host. Throws `busy` when another process is at one.
    package func lock(stack: String) throws -> FileLock {
        try FileTree.createFolders(folder)
        guard let lock = try FileLock.tryLock("\(folder)/\(stack).lock") else {
            throw LifeboatError(
                "another lifeboat is drilling stack '\(stack)'",
                hint: "Wait until it is done, or end it and run this command again.", exitCode: .busy)
        }
        return lock
    }

    package func write(_ record: SandboxRecord) throws {
        do {
            try FileTree.createFolders(folder)
            let text = try CanonicalJSON.encode(record, pretty: true)
            _ = try text.withUnsafeBytes { try AtomicFile.write([$0], to: path(record.drill)) }
        } catch {
            throw LifeboatError.converting(error, "cannot write down where the drill works")
        }
    }

    package func remove(_ drill: String) throws {
        let path = path(drill)
        guard unlink(path) == 0 || errno == ENOENT else { throw SystemCallError("remove", path) }
    }

    private func path(_ drill: String) -> String { "\(folder)/\(drill)\(Self.suffix)" }

    /// Every record, ascending by drill; what cannot be read is told.
    package func records() throws -> (records: [SandboxRecord], unreadable: [LifeboatError]) {
        guard let stream = opendir(folder) else {
            if errno == ENOENT { return ([], []) }
            throw SystemCallError("open", folder)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasSuffix(Self.suffix) { names.append(name) }
        }
        var records: [SandboxRecord] = []
        var unreadable: [LifeboatError] = []
        for name in names.sorted() {
            do {
                guard let bytes = try SmallFile.contents("\(folder)/\(name)") else { continue }
                records.append(try CanonicalJSON.decode(SandboxRecord.self, from: bytes))
            } catch {
                unreadable.append(
                    LifeboatError.converting(error, "cannot read the record '\(folder)/\(name)' of a drill"))
            }
        }
        return (records, unreadable)
    }
}
