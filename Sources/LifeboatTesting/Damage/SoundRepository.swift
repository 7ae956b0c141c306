// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
package import LifeboatCore
package import LifeboatFormats
import LifeboatIO
import LifeboatRepository
package import LifeboatStorage

/// A small sound repository that is made once per process and copied for every damage: three snapshots of stack `files`
/// and one of stack `notes`, each with one pack and one index of its own. `table.sql` changes a little from snapshot to
/// snapshot and is stored as deltas; `big.bin` never changes; `old.txt` is in the first snapshot only; `changing.txt`
/// is another one in each.
package struct SoundRepository: Sendable {
    /// The snapshots in the order they were made.
    package enum Moment: Int, CaseIterable, Sendable { case first, second, third, notes }

    package struct Made: Sendable {
        package var id: Digest
        package var pack: ObjectKey
        package var index: ObjectKey
        package var manifest: ObjectKey
        /// Regular files by path below the folder that was backed up.
        package var files: [String: [UInt8]]
    }

    package let folder: String
    /// What opens it; nil when it is not encrypted.
    package let identity: AgeIdentity?
    package let objects: [ObjectKey: [UInt8]]
    package let made: [Made]

    package subscript(_ moment: Moment) -> Made { made[moment.rawValue] }

    /// The folder a stack is backed up from; it stays as the last snapshot found it.
    package func source(_ moment: Moment) -> String { "\(folder)/\(moment == .notes ? "notes" : "files")" }

    /// The id in its config.json.
    package func repositoryID() throws -> Digest {
        guard let bytes = objects[RepositoryLayout.config] else { throw LifeboatError("there is no config.json") }
        return try RepositoryConfig(decoding: bytes).repositoryID
    }

    private static let shared = Monitor<[Bool: SoundRepository]>([:])

    /// The one of this process; one of each kind.
    package static func get(encrypted: Bool = false) throws -> SoundRepository {
        try shared.withLock { known in
            if let known = known[encrypted] { return known }
            let new = try SoundRepository(encrypted: encrypted)
            known[encrypted] = new
            return new
        }
    }

    private init(encrypted: Bool) throws {
        let temporary = try TemporaryFolder(
            prefix: "lifeboat-sound-", in: access("/dev/shm", W_OK) == 0 ? "/dev/shm" : nil)
        atExit { try? temporary.remove() }
        folder = temporary.path
        var sources = SourceTrees()
        let repository = "\(folder)/repository"
        let store = try LocalFolderStore.create(at: repository)
        // Small chunks: a table of a megabyte has some twenty.
        identity = encrypted ? try AgeIdentity.generate() : nil
        if let identity { try Self.keep(identity, in: folder) }
        _ = try Repository.create(
            in: store, chunker: ChunkerParameters(minimum: 16 << 10, average: 64 << 10, maximum: 256 << 10),
            recipients: identity.map { [$0.recipient] } ?? [], trust: HostTrust(state: "\(folder)/state"),
            host: "testhost", clock: SystemClock())
        var made: [Made] = []
        var objects: [ObjectKey: [UInt8]] = [:]
        for moment in Moment.allCases {
            let stack = moment == .notes ? "notes" : "files"
            let files = sources.change(to: moment)
            try Self.write(files, to: "\(folder)/\(stack)")
            // Facts of files that were changed just before they are read are not trusted.
            SystemClock().sleep(seconds: 0.1)
            let run = try InProcessRunner(host: HostFacts(name: "testhost", userID: geteuid(), processors: 1)).run(
                ["backup", "--json", "-r", repository, "--stack", stack, "\(folder)/\(stack)"],
                environment: Self.environment(folder, state: "\(folder)/state", cache: "\(folder)/cache", identity),
                in: folder)
            guard run.exit == 0, let text = ScenarioFolder.field("snapshot", of: run.output),
                let id = Digest(hex: text)
            else { throw LifeboatError("a backup of the sound repository failed", causes: [run.description]) }
            var new: [ObjectKey: [UInt8]] = [:]
            for object in try store.listAll(prefix: "") where objects[object.key] == nil {
                new[object.key] = try store.get(object.key, limit: 1 << 24)
            }
            objects.merge(new) { $1 }
            func one(_ prefix: String) throws -> ObjectKey {
                let found = new.keys.filter { $0.text.hasPrefix(prefix) && !$0.text.hasSuffix(".minisig") }
                guard found.count == 1, let key = found.first else {
                    throw LifeboatError("a backup made \(found.count) objects in '\(prefix)', not one")
                }
                return key
            }
            made.append(
                Made(
                    id: id, pack: try one("packs/"), index: try one("index/"), manifest: try one("snapshots/"),
                    files: files))
        }
        self.objects = objects
        self.made = made
    }

    private static func keep(_ identity: AgeIdentity, in folder: String) throws {
        try AtomicFile.write("\(identity.secret().reveal { $0 })\n", to: "\(folder)/identity", mode: 0o600)
    }

    /// What lifeboat runs with: home, state and cache, and the key when there is one.
    static func environment(
        _ sound: String, state: String, cache: String, _ identity: AgeIdentity?
    ) -> [String: String] {
        var environment = ["HOME": sound, "LIFEBOAT_CACHE": cache, "LIFEBOAT_STATE": state]
        if identity != nil { environment["LIFEBOAT_IDENTITY"] = "\(sound)/identity" }
        return environment
    }

    private static func write(_ files: [String: [UInt8]], to folder: String) throws {
        try FileTree.createFolders("\(folder)/nested", mode: 0o755)
        unlink("\(folder)/old.txt")
        for (name, bytes) in files {
            let path = "\(folder)/\(name)"
            if let known = try? TextFile.read(path), known == bytes { continue }
            try bytes.withUnsafeBytes { _ = try AtomicFile.write([$0], to: path, durable: false) }
        }
        if access("\(folder)/link", F_OK) != 0 { _ = symlink("big.bin", "\(folder)/link") }
    }
}

/// The contents of the folders that are backed up.
private struct SourceTrees {
    private var random = SplitMix64(seed: 11)
    private var rows: [String] = []
    private var files: [String: [UInt8]] = [:]

    init() {
        // Rows of few words: a table of a megabyte that is small when compressed.
        let words = (0..<300).map { _ in String(random.next() % 100_000, radix: 36) }
        rows = (0..<20_000).map { number in
            let text = (0..<12).map { _ in words[Int(random.next() % 300)] }.joined(separator: " ")
            return "\(number)\t\(text)\n"
        }
        files["big.bin"] = random.bytes(200_000)
        files["empty"] = []
        for number in 0..<6 { files["small-\(number)"] = random.bytes(200 + 400 * number) }
        files["nested/deep.txt"] = Array("deep down\n".utf8)
        files["old.txt"] = random.bytes(40_000)
    }

    mutating func change(to moment: SoundRepository.Moment) -> [String: [UInt8]] {
        guard moment != .notes else {
            return [
                "a.txt": Array("a note\n".utf8), "b.txt": Array("another note\n".utf8), "c.bin": random.bytes(30_000),
            ]
        }
        if moment != .first {
            files["old.txt"] = nil
            for _ in 0..<60 {
                let row = Int(random.next() % UInt64(rows.count))
                rows[row] = "\(row)\tchanged \(random.next())\n"
            }
        }
        files["changing.txt"] = random.bytes(3000)
        files["table.sql"] = Array(rows.joined().utf8)
        return files
    }
}
