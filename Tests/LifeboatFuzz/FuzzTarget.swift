// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatPolicy
import LifeboatRepository
import LifeboatStores

/// A parser of what others wrote: in the repository, in a policy, in the data of a stack. Whatever the bytes are, it
/// returns or throws; a trap ends the process.
enum FuzzTarget: String, CaseIterable, Sendable {
    case config, manifest, tree, index, lease, pin, forgotten, policy, rdb, archive, gguf, safetensors, faiss, age, pack

    /// Hands the bytes to the parser, and what came out of it to its users.
    func run(_ bytes: [UInt8]) {
        do {
            switch self {
            case .config: _ = try RepositoryConfig(decoding: bytes).ageRecipients()
            case .manifest: try manifest(bytes)
            case .tree: try tree(bytes)
            case .index: try index(bytes)
            case .lease: _ = try CanonicalJSON.decode(LeaseRecord.self, from: bytes).holderIsGone
            case .pin: _ = try CanonicalJSON.encode(CanonicalJSON.decode(Pin.self, from: bytes))
            case .forgotten: _ = try CanonicalJSON.encode(CanonicalJSON.decode(Tombstone.self, from: bytes))
            case .policy: policy(bytes)
            case .rdb: try rdb(bytes)
            case .archive: try archive(bytes)
            case .gguf: try file(bytes) { try GGUFFile.check($0) }
            case .safetensors: try file(bytes) { try SafetensorsFile.check($0) }
            case .faiss: try file(bytes) { try FAISSFile.check($0) }
            case .age: _ = try Age.open(bytes, keys: [Self.key.get()])
            case .pack: try pack(bytes)
            }
        } catch {
            // A refusal is what hostile bytes deserve; its text must be printable.
            _ = "\(LifeboatError.converting(error))"
        }
    }

    private func manifest(_ bytes: [UInt8]) throws {
        let manifest = try Manifest(decoding: bytes)
        let snapshot = Snapshot(id: BLAKE3.hash(bytes), manifest: manifest)
        var next = snapshot
        next.manifest.sequence += 1
        next.manifest.previous = snapshot.id
        _ = SnapshotChain.problems([snapshot, next], forgotten: [], seen: [:])
        let files = manifest.components.reduce(0) { $0 + $1.files }
        let size = manifest.components.reduce(0) { $0 + $1.bytes }
        _ = "\(files) \(ByteCount(size)) \(manifest.frozen.compact) \(manifest.frozen.adding(seconds: 86_400).rfc3339)"
        _ = try CanonicalJSON.encode(manifest)
    }

    private func tree(_ bytes: [UInt8]) throws {
        var entries: [TreeEntry] = []
        var parser = MtreeParser()
        var text: [UInt8] = []
        // In two pieces: a parser that streams must not care where they are cut.
        let half = bytes.count / 2
        for piece in [bytes[..<half], bytes[half...]] {
            parser.feed(Array(piece))
            while let entry = try parser.next() {
                text.removeAll(keepingCapacity: true)
                MtreeEncoder.append(entry, to: &text)
                entries.append(entry)
            }
        }
        try archive(entries)
        try parser.finish()
    }

    /// What libarchive makes of them.
    private func archive(_ entries: [TreeEntry]) throws {
        let null = try OwnedDescriptor.open("/dev/null", O_WRONLY)
        for format in [ArchiveWriter.Format.tar, .zip] {
            let writer = try ArchiveWriter(format, to: null.raw)
            for entry in entries where entry.size <= 1 << 16 && ArchiveWriter.refusal(of: entry, in: format) == nil {
                var left = entry.content?.size ?? 0
                _ = try? writer.add(entry) { buffer in
                    let count = Int(min(left, UInt64(buffer.count)))
                    left -= UInt64(count)
                    return count
                }
            }
        }
    }

    private func index(_ bytes: [UInt8]) throws {
        let index = try bytes.withUnsafeBytes { try MappedIndex($0, name: BLAKE3.hash($0)) }
        _ = try? index.structuralProblem()
        for position in 0..<min(index.chunkCount, 256) {
            let id = index.chunkID(position)
            _ = try? index.location(at: position)
            _ = try? index.bases(at: position)
            _ = index.position(of: id)
            _ = index.records(of: id)
        }
        var set = IndexSet([index])
        try set.restrict { _, size in size > 0 }
        for position in 0..<min(index.chunkCount, 16) {
            _ = set.contains(index.chunkID(position))
            _ = try? set.deltaDepth(of: index.chunkID(position), limit: 4)
        }
    }

    private func policy(_ bytes: [UInt8]) {
        do throws(PolicyDiagnostics) {
            _ = try PolicyParser.parse(String(decoding: bytes, as: UTF8.self), source: "lifeboat.yaml", folder: "/srv")
        } catch {
            _ = "\(error.lifeboatError)"
        }
    }

    private func rdb(_ bytes: [UInt8]) throws {
        var scanner = RDBScanner(now: 1_700_000_000_000)
        let half = bytes.count / 2
        for piece in [bytes[..<half], bytes[half...]] {
            try piece.withUnsafeBytes { try scanner.consume($0) }
        }
        try scanner.finish()
    }

    private func archive(_ bytes: [UInt8]) throws {
        var scanner = CustomArchiveScanner()
        let half = bytes.count / 2
        for piece in [bytes[..<half], bytes[half...]] {
            try piece.withUnsafeBytes { try scanner.consume($0) }
        }
        if let head = scanner.headSize { _ = try ArchiveContents(Array(bytes[..<min(head, bytes.count)])) }
        _ = try ArchiveContents(bytes)
        try scanner.finish()
    }

    private func pack(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { bytes in
            if let size = try? ZstdDecompressor.contentSize(of: bytes), size <= 1 << 20 {
                let plain = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(size), alignment: 64)
                defer { plain.deallocate() }
                try? ZstdDecompressor().decompress(bytes, into: plain)
            }
            var members = TarMemberReader(bytes)
            while try members.next() != nil {}
        }
    }

    /// Formats that are read in files.
    private func file(_ bytes: [UInt8], _ check: (String) throws -> Void) throws {
        let path = "\(try Self.scratch.get().path)/\(rawValue)"
        _ = try bytes.withUnsafeBytes { bytes in
            let file = try OwnedDescriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC)
            try DescriptorIO.write(file.raw, bytes, path)
        }
        try check(path)
    }

    /// What the corpus of `age` is sealed for.
    private static let key = Result {
        AgeKey.identity(
            try AgeIdentity(Secret("AGE-SECRET-KEY-1RFC0FHNCHEKWFU749GHN7V6FZD7AUSEQMU38V9X7Q77A0XYT6F7QZFN52Z")))
    }

    private static let scratch = Result { try TemporaryFolder(prefix: "lifeboat-fuzz-") }
}
