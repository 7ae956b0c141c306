// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
package import LifeboatCore
package import LifeboatFormats
import LifeboatIO
package import LifeboatRepository
import LifeboatRestore
import LifeboatStorage
import LifeboatStores

/// A copy of the sound repository in a folder of its own: damaged by the methods here, then looked at and repaired by
/// lifeboat in this process.
package struct DamagedRepository: Sendable {
    package let sound: SoundRepository
    private let temporary: TemporaryFolder
    package var path: String { temporary.path }
    package var root: String { "\(path)/repository" }

    package init(_ sound: SoundRepository) throws {
        self.sound = sound
        temporary = try TemporaryFolder(
            prefix: "lifeboat-damage-", in: access("/dev/shm", W_OK) == 0 ? "/dev/shm" : nil)
        for (key, bytes) in sound.objects { try write(bytes, key.text) }
        try Self.copyState(from: "\(sound.folder)/state", to: "\(path)/state")
    }

    /// A copy of another one as it is now.
    package init(copying other: DamagedRepository) throws {
        sound = other.sound
        temporary = try TemporaryFolder(
            prefix: "lifeboat-damage-", in: access("/dev/shm", W_OK) == 0 ? "/dev/shm" : nil)
        for (name, bytes) in try other.contents() { try write(bytes, name) }
        try Self.copyState(from: "\(other.path)/state", to: "\(path)/state")
        for name in ["identity", "no-identity"] where access("\(other.path)/\(name)", F_OK) == 0 {
            let bytes = try TextFile.read("\(other.path)/\(name)")
            _ = try bytes.withUnsafeBytes { try AtomicFile.write([$0], to: "\(path)/\(name)", mode: 0o600) }
        }
    }

    /// What the host signs with and remembers.
    private static func copyState(from source: String, to target: String) throws {
        try FileTree.createFolders(target)
        guard let stream = opendir(source) else { throw SystemCallError("open", source) }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name == "." || name == ".." { continue }
            if entry.pointee.d_type == UInt8(DT_DIR) {
                try copyState(from: "\(source)/\(name)", to: "\(target)/\(name)")
            } else {
                let bytes = try TextFile.read("\(source)/\(name)")
                _ = try bytes.withUnsafeBytes {
                    try AtomicFile.write([$0], to: "\(target)/\(name)", mode: 0o600, durable: false)
                }
            }
        }
    }

    package func remove() { try? temporary.remove() }

    // MARK: - Damage

    package func bytes(_ name: String) throws -> [UInt8] { try TextFile.read("\(root)/\(name)") }

    /// Writes a file of the repository, past the program.
    package func write(_ bytes: [UInt8], _ name: String) throws {
        let file = "\(root)/\(name)"
        if let slash = file.lastIndex(of: "/") { try FileTree.createFolders(String(file[..<slash])) }
        unlink(file)
        let descriptor = try OwnedDescriptor.open(file, O_WRONLY | O_CREAT | O_TRUNC)
        try bytes.withUnsafeBytes { try DescriptorIO.write(descriptor.raw, $0, file) }
    }

    package func remove(_ name: String) throws {
        guard unlink("\(root)/\(name)") == 0 else { throw SystemCallError("remove", name) }
    }

    package func change(_ name: String, _ body: (inout [UInt8]) throws -> Void) throws {
        var bytes = try bytes(name)
        try body(&bytes)
        try write(bytes, name)
    }

    /// Flips one bit, `offset` bytes from the beginning, or from the end when it is negative.
    package func flip(_ name: String, at offset: Int) throws {
        try change(name) { $0[offset < 0 ? $0.count + offset : offset] ^= 0x10 }
    }

    /// Flips a bit in the middle.
    package func flip(_ name: String) throws {
        try change(name) { $0[$0.count / 2] ^= 0x10 }
    }

    package func truncate(_ name: String, to count: Int) throws {
        try change(name) { $0.removeSubrange((count < 0 ? $0.count + count : count)...) }
    }

    /// Exchanges the contents of two objects.
    package func swap(_ one: String, _ other: String) throws {
        let (first, second) = (try bytes(one), try bytes(other))
        try write(second, one)
        try write(first, other)
    }

    package func rename(_ name: String, to other: String) throws {
        let bytes = try bytes(name)
        try remove(name)
        try write(bytes, other)
    }

    /// From now on lifeboat runs with a key that opens nothing here.
    package func useAnotherIdentity() throws {
        let other = try AgeIdentity.generate()
        try AtomicFile.write("\(other.secret().reveal { $0 })\n", to: "\(path)/identity", mode: 0o600)
    }

    /// From now on lifeboat runs without a key.
    package func useNoIdentity() throws { try AtomicFile.write("", to: "\(path)/no-identity") }

    // MARK: - What is in it

    package func pack(_ moment: SoundRepository.Moment) -> String { sound[moment].pack.text }
    package func index(_ moment: SoundRepository.Moment) -> String { sound[moment].index.text }
    package func manifest(_ moment: SoundRepository.Moment) -> String { sound[moment].manifest.text }

    /// Every file below the repository's folder by its name, leases left out.
    package func contents() throws -> [String: [UInt8]] {
        var result: [String: [UInt8]] = [:]
        var folders = [""]
        while let folder = folders.popLast() {
            guard let stream = opendir("\(root)/\(folder)") else { throw SystemCallError("open", folder) }
            defer { closedir(stream) }
            while let entry = readdir(stream) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name == "." || name == ".." || "\(folder)\(name)" == "leases" { continue }
                if entry.pointee.d_type == UInt8(DT_DIR) {
                    folders.append("\(folder)\(name)/")
                } else {
                    result["\(folder)\(name)"] = try bytes("\(folder)\(name)")
                }
            }
        }
        return result
    }

    /// Opens the repository with a cache of its own.
    package func open() throws -> Repository { try open(cache: "\(path)/kit-cache") }

    private func open(cache: String) throws -> Repository {
        try Repository.open(
            LocalFolderStore(opening: root), cacheRoot: cache,
            keys: sound.identity.map { [.identity($0)] } ?? [], trust: HostTrust(state: "\(path)/state"))
    }

    /// What the pack of a snapshot holds; while it is sound.
    package func packContents(_ moment: SoundRepository.Moment) throws -> PackContents {
        guard let name = RepositoryLayout.packName(sound[moment].pack) else { throw LifeboatError("not a pack") }
        return try PackExaminer(try open()).contents(of: name)
    }

    /// Where a frame lies in the pack.
    package func frame(_ moment: SoundRepository.Moment, holding id: Digest) throws -> PackContents.Frame {
        let contents = try packContents(moment)
        guard let chunk = contents.chunks.first(where: { $0.id == id }) else {
            throw LifeboatError("the pack does not hold chunk \(id.shortHex)")
        }
        return contents.frames[chunk.frame]
    }

    /// The first delta of a snapshot's pack.
    package func delta(_ moment: SoundRepository.Moment) throws -> PackContents.Chunk {
        guard let delta = try packContents(moment).chunks.first(where: { !$0.bases.isEmpty }) else {
            throw LifeboatError("the pack holds no delta")
        }
        return delta
    }

    /// A delta of the second snapshot that one of the third rests on.
    package func linkOfChain() throws -> Digest {
        let second = Set(try packContents(.second).chunks.filter { !$0.bases.isEmpty }.map(\.id))
        for chunk in try packContents(.third).chunks {
            if let link = chunk.bases.first(where: second.contains) { return link }
        }
        throw LifeboatError("no delta rests on another one")
    }

    /// The content of a file, or of the listing when `path` is nil.
    package func content(_ path: String?, in moment: SoundRepository.Moment) throws -> ContentReference {
        let repository = try open()
        let snapshot = try SnapshotCatalog.read(sound[moment].manifest, repository)
        guard let part = snapshot.manifest.components.first?.parts.first else { throw LifeboatError("no part") }
        guard let path else { return part.content }
        let entries = try part.entries(ChunkReader(repository, try repository.openIndexes()))
        while let entry = try entries.next() {
            if String(decoding: entry.path, as: UTF8.self) == path, let content = entry.content { return content }
        }
        throw LifeboatError("the snapshot holds no '\(path)'")
    }

    /// The first chunk of the bytes of a content.
    package func firstChunk(_ content: ContentReference) throws -> Digest {
        let repository = try open()
        let chunks = try ChunkSequence(ChunkReader(repository, try repository.openIndexes()), content)
        guard let first = try chunks.next() else { throw LifeboatError("the content is empty") }
        return first.id
    }

    /// Flips a bit in the middle of a chunk that is stored as it is, for it does not compress.
    package func flipChunk(_ moment: SoundRepository.Moment, _ id: Digest) throws {
        let repository = try open()
        let chunk = try ChunkReader(repository, try repository.openIndexes()).withChunk(id) { Array($0) }
        let middle = chunk[(chunk.count / 2)..<(chunk.count / 2 + 32)]
        guard let place = try bytes(pack(moment)).firstRange(of: middle) else {
            throw LifeboatError("the chunk is stored compressed")
        }
        try flip(pack(moment), at: place.lowerBound)
    }

    /// Overwrites the beginning of the frame that holds the chunk: nothing in it can be decoded.
    package func spoilFrame(_ moment: SoundRepository.Moment, holding id: Digest) throws {
        let frame = try frame(moment, holding: id)
        try change(pack(moment)) { for position in 0..<16 { $0[Int(frame.offset) + position] ^= 0xA5 } }
    }

    // MARK: - Lies with right digests

    /// Gives an index that was changed the name its bytes have now; nothing tells it from one that was written so.
    package func resealIndex(_ moment: SoundRepository.Moment) throws {
        let bytes = try bytes(index(moment))
        try rename(index(moment), to: RepositoryLayout.index(BLAKE3.hash(bytes)).text)
    }

    /// Puts an index over `packs` in the place of the snapshot's.
    package func replaceIndex(_ moment: SoundRepository.Moment, by packs: [PackContents]) throws {
        _ = try open().storeIndex(packs)
        try remove(index(moment))
    }

    /// Gives a pack that was changed the name its bytes have now, and makes its index name it so.
    package func resealPack(_ moment: SoundRepository.Moment, _ contents: PackContents) throws {
        let bytes = try bytes(pack(moment))
        var contents = contents
        contents.name = BLAKE3.hash(bytes)
        contents.storedSize = UInt64(bytes.count)
        try replaceIndex(moment, by: [contents])
        try rename(pack(moment), to: RepositoryLayout.pack(contents.name).text)
    }

    /// A second pack with all that the snapshot's pack holds, and its index; with a name before that one's in the order
    /// of names when that is asked for.
    package func duplicatePack(_ moment: SoundRepository.Moment, namedBefore: Bool = false) throws {
        var contents = try packContents(moment)
        let original = try bytes(pack(moment))
        let end = contents.frames.map { Int($0.offset + $0.length) }.max() ?? 0
        var bytes = original
        repeat {
            // The tar end marker, in an end frame of its own as every pack has.
            bytes = original[..<end] + PackAssembler.makeEndFrame()
            contents.name = BLAKE3.hash(bytes)
        } while namedBefore && RepositoryLayout.pack(contents.name).text > pack(moment)
        contents.storedSize = UInt64(bytes.count)
        try write(bytes, RepositoryLayout.pack(contents.name).text)
        _ = try open().storeIndex([contents])
    }

    // MARK: - Lifeboat

    /// Runs lifeboat on it, as a host that never saw it before unless `cache` names one of an earlier run.
    package func run(_ arguments: [String], cache: String? = nil) throws -> LifeboatRun {
        let own = "\(path)/cache-\(UInt32.random(in: 0...UInt32.max))"
        defer { if cache == nil { try? FileTree.remove(own) } }
        return try InProcessRunner(host: HostFacts(name: "testhost", userID: geteuid(), processors: 1)).run(
            arguments + ["-r", root],
            environment: environment(cache: cache.map { "\(path)/\($0)" } ?? own), in: path)
    }

    /// Another key than the repository's, or none.
    private var hasOwnKey: Bool {
        access("\(path)/identity", F_OK) == 0 || access("\(path)/no-identity", F_OK) == 0
    }

    private func environment(cache: String) -> [String: String] {
        var environment = SoundRepository.environment(
            sound.folder, state: "\(path)/state", cache: cache, sound.identity)
        if access("\(path)/identity", F_OK) == 0 { environment["LIFEBOAT_IDENTITY"] = "\(path)/identity" }
        if access("\(path)/no-identity", F_OK) == 0 { environment["LIFEBOAT_IDENTITY"] = nil }
        return environment
    }

    /// The snapshot that stands for the one of `moment` now: itself, or what a repair made of it.
    private func current(_ moment: SoundRepository.Moment, _ repository: Repository) throws -> Digest {
        let id = sound[moment].id
        return try SnapshotCatalog(repository).snapshots.first { $0.manifest.repairedFrom?.contains(id) == true }?.id
            ?? id
    }

    /// What a restore gave.
    package struct Restored: Sendable {
        package var exit: Int32
        /// What it said on standard error.
        package var messages: String
        /// Files that came back with other bytes than they had.
        package var wrong: [String]
        /// Files of the snapshot that did not come back.
        package var missing: [String]
    }

    /// Restores the snapshot, or what a repair made of it, into a new folder, and compares.
    package func restore(_ moment: SoundRepository.Moment) throws -> Restored {
        let target = "\(path)/restored"
        try FileTree.remove(target)
        defer { try? FileTree.remove(target) }
        var restored = Restored(exit: 0, messages: "", wrong: [], missing: [])
        if hasOwnKey {
            let run = try run(["restore", sound[moment].id.hex, "--to", target])
            (restored.exit, restored.messages) = (run.exit, run.error)
        } else {
            (restored.exit, restored.messages) = extract(moment, to: target)
        }
        for (name, expected) in sound[moment].files {
            let file = "\(target)\(sound.source(moment))/\(name)"
            guard access(file, F_OK) == 0 else {
                restored.missing.append(name)
                continue
            }
            if try !Self.isEqual(TextFile.read(file), expected) { restored.wrong.append(name) }
        }
        restored.wrong.sort()
        restored.missing.sort()
        return restored
    }

    /// What `restore --to` does, without its command line: a debug build takes longer to parse one than to restore.
    private func extract(_ moment: SoundRepository.Moment, to target: String) -> (exit: Int32, messages: String) {
        do {
            let cache = try TemporaryFolder(prefix: "cache-", in: path)
            defer { try? cache.remove() }
            let repository = try open(cache: cache.path)
            let id = (try? current(moment, repository)) ?? sound[moment].id
            let snapshot = try SnapshotCatalog(repository).find(id.hex)
            let outcome = try LooseRestore(
                ChunkReader(
                    repository, repository.openIndexes(passingOverDamage: true), reportingTo: SilentProgress()),
                clock: SystemClock(), progress: SilentProgress(),
                cancellation: Cancellation()
            ) { place, unfinished in
                try FileTree.createFolders(String(place[..<(place.lastIndex(of: "/") ?? place.startIndex)]))
                return try FolderTarget(place, unfinished)
            }.run(snapshot, to: target, options: LooseRestore.Options(threads: 1))
            let problems = outcome.report.problems.map { "\($0)" } + outcome.incomplete
            return (outcome.exitCode.rawValue, problems.joined(separator: "\n"))
        } catch {
            let told = LifeboatError.converting(error)
            return (told.exitCode.rawValue, told.description)
        }
    }

    /// Without a loop over bytes, which a debug build takes long for.
    private static func isEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        left.withUnsafeBytes { left in
            right.withUnsafeBytes { right in
                guard left.count == right.count else { return false }
                guard let first = left.baseAddress, let second = right.baseAddress else { return left.count == 0 }
                return memcmp(first, second, left.count) == 0
            }
        }
    }

    /// Backs up both stacks as they are.
    package func backUp() throws -> [LifeboatRun] {
        try [SoundRepository.Moment.third, .notes].map { moment in
            try run(["backup", "--stack", moment == .notes ? "notes" : "files", sound.source(moment)])
        }
    }
}
