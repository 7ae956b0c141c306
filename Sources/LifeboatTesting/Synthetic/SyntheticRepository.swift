// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatFormats
import LifeboatIO
package import LifeboatRepository
package import LifeboatStorage

/// A repository as large as years of backups make it, made in minutes: what `scripts/bench` opens and prunes.
package struct SyntheticRepository {
    package let store: LocalFolderStore
    package let repository: Repository
    private let root: String
    private var random: SplitMix64

    /// Creates the repository `root`; its local cache goes below `cacheRoot`, and the key it is signed with to `state`,
    /// the state folder of whoever uses it afterwards.
    package init(
        root: String, cacheRoot: String, state: String, chunker: ChunkerParameters = ChunkerParameters(), seed: UInt64
    ) throws {
        self.root = root
        store = try LocalFolderStore.create(at: root)
        let trust = HostTrust(state: state)
        _ = try Repository.create(in: store, chunker: chunker, trust: trust, host: "synthetic", clock: SystemClock())
        repository = try Repository.open(store, cacheRoot: cacheRoot, trust: trust)
        random = SplitMix64(seed: seed)
    }

    private mutating func digest() -> Digest {
        Digest(bigEndianWords: random.next(), random.next(), random.next(), random.next())
    }

    /// Adds `count` index objects over `chunks` chunks each, in packs of `chunksPerPack`. Ids and names are random, and
    /// packs have the size the index says and holes for content: nothing can be read back, only found. Gives some ids.
    package mutating func addIndexes(_ count: Int, chunks: Int, chunksPerPack: Int) throws -> [Digest] {
        var samples: [Digest] = []
        let frame: UInt32 = 1 << 20
        for _ in 0..<count {
            var packs: [PackContents] = []
            var left = chunks
            while left > 0 {
                let here = min(left, chunksPerPack)
                var pack = PackContents(
                    name: digest(), storedSize: UInt64(here) * UInt64(frame), frames: [], chunks: [])
                for number in 0..<here {
                    pack.frames.append(
                        PackContents.Frame(offset: UInt32(number) * frame, length: frame, plainLength: frame + 1024))
                    pack.chunks.append(PackContents.Chunk(id: digest(), frame: number, offset: 512, length: frame))
                }
                try makeHollow(pack)
                packs.append(pack)
                left -= here
            }
            samples.append(packs[0].chunks[0].id)
            _ = try repository.storeIndex(packs)
        }
        return samples
    }

    private func makeHollow(_ pack: PackContents) throws {
        let path = "\(root)/\(RepositoryLayout.pack(pack.name).text)"
        let folder = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
        try FileTree.createFolders(folder)
        let file = try OwnedDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL)
        guard ftruncate(file.raw, off_t(pack.storedSize)) == 0 else { throw SystemCallError("lengthen", path) }
    }

    /// Adds snapshots of the stack `synthetic`, `interval` seconds apart from `begin` on: each has a stream of
    /// `newBytes` that no other has, and the stream of the one before it. `perIndex` of them share a pack and an index.
    package mutating func addSnapshots(
        _ count: Int, newBytes: Int, perIndex: Int, begin: Timestamp, interval: Int64
    ) throws {
        var previous: Digest?
        var inherited: ContentReference?
        var number = 0
        while number < count {
            let contents = (0..<min(perIndex, count - number)).map { _ in noise(newBytes) }
            for reference in try write(contents) {
                let time = Timestamp(seconds: begin.seconds + Int64(number) * interval)
                number += 1
                var manifest = Manifest(
                    repositoryID: repository.config.repositoryID, stack: "synthetic", host: "synthetic",
                    sequence: UInt64(number), previous: previous, started: time, lifeboat: "synthetic")
                var component = Manifest.Component(
                    name: "data", store: "command", source: "synthetic", method: "synthetic")
                component.parts = [Manifest.Part(name: "new", kind: .stream, content: reference)]
                if let inherited {
                    component.parts.append(Manifest.Part(name: "old", kind: .stream, content: inherited))
                }
                component.files = UInt64(component.parts.count)
                component.bytes = component.parts.reduce(0) { $0 + $1.content.size }
                manifest.components = [component]
                manifest.complete = true
                previous = try SnapshotCatalog.commit(manifest, to: repository).id
                inherited = reference
            }
        }
    }

    private mutating func noise(_ count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            let bytes = UnsafeMutableRawBufferPointer(buffer)
            var offset = 0
            while offset + 8 <= count {
                bytes.storeBytes(of: random.next(), toByteOffset: offset, as: UInt64.self)
                offset += 8
            }
            for rest in offset..<count { bytes[rest] = UInt8(truncatingIfNeeded: random.next()) }
            used = count
        }
    }

    private func write(_ contents: [[UInt8]]) throws -> [ContentReference] {
        let writer = try RepositoryWriter(repository, WriterSettings(workers: 2, contentWriters: 1))
        do {
            let target = writer.makeContentWriter()
            var pending: [PendingContent] = []
            for content in contents {
                try content.withUnsafeBytes { try target.append($0) }
                pending.append(try target.endContent())
            }
            target.flush()
            let references = try pending.map { try writer.reference(to: $0) }
            _ = try writer.finish()
            return references
        } catch {
            writer.abandon()
            throw error
        }
    }
}
