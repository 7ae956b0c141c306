// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// Files that were cut, lengthened or spoilt in their headers, each a real one before.
@Suite(.enabled(if: ModelFixture.isThere)) struct ModelFileTests {
    private static let names = [
        "minilm-f16.gguf", "model.safetensors", "indexes/flat.faiss", "indexes/ids.faiss", "indexes/graph.index",
    ]

    /// What a capture says of a store of files; nil when all is well.
    private func problem(_ folder: String) throws -> String? {
        let point = try ModelsStore(path: folder, layout: .files).fixPoint(Cancellation())
        defer { point.release() }
        _ = try point.facts()
        return point.problems.isEmpty ? nil : point.problems.map(\.description).joined(separator: "\n")
    }

    @Test func `files that were cut are named`() throws {
        let scratch = try Scratch()
        let folder = scratch("models")
        try ModelFixture.makeFiles(folder)
        #expect(try problem(folder) == nil)
        for name in Self.names {
            let path = "\(folder)/\(name)"
            let size = off_t(try FileStatus.at(AT_FDCWD, path).size)
            // A graph does not say how long it is; the others are exact, but for padding of a GGUF's last tensor.
            let cuts: [off_t] = name.hasSuffix(".index") ? [37, 3] : [size - 64, size / 2, 40, 3]
            for cut in cuts {
                #expect(truncate(path, cut) == 0)
                let text = try problem(folder)
                // An index of three bytes is no index any more.
                if name.hasSuffix(".index"), cut < 4 { continue }
                #expect(text?.contains(name) == true, "\(name) cut to \(cut): \(text ?? "nothing")")
            }
            try TreeRemoval.remove(path)
        }
    }

    @Test func `a header with any byte changed never crashes, and mostly is named`() throws {
        let scratch = try Scratch()
        let folder = scratch("models")
        try ModelFixture.makeFiles(folder)
        var random = SplitMix64(seed: 20_261_121)
        for name in Self.names {
            // Alone, so that a try costs one header: and short, since only the header matters.
            try TreeRemoval.remove(scratch("one"))
            try scratch.folder("one")
            let short = scratch("one/\(name.split(separator: "/").last ?? "")")
            let header = try read("\(folder)/\(name)", 3000)
            var named = 0
            for _ in 0..<60 {
                var spoilt = header
                spoilt[Int(random.next() % 64)] = UInt8(truncatingIfNeeded: random.next())
                let file = try OwnedDescriptor.open(short, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
                try spoilt.withUnsafeBytes { try DescriptorIO.write(file.raw, $0, short) }
                if try problem(scratch("one")) != nil { named += 1 }
            }
            #expect(named > 0 || name.hasSuffix(".index"), "\(name)")
        }
    }

    private func read(_ path: String, _ count: Int) throws -> [UInt8] {
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        var bytes = [UInt8](repeating: 0, count: count)
        let read = try bytes.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, path) }
        return Array(bytes[..<read])
    }

    @Test func `bytes that are too many or tensors that overlap are named`() throws {
        let scratch = try Scratch()
        try scratch.folder("models")
        func safetensors(_ header: String, data: Int) -> [UInt8] {
            let bytes = Array(header.utf8)
            return withUnsafeBytes(of: UInt64(bytes.count).littleEndian) { Array($0) } + bytes
                + [UInt8](repeating: 1, count: data)
        }
        let cases: [(String, Int, String?)] = [
            (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}   "#, 8, nil),
            (#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[0],"data_offsets":[0,0]}}"#, 0, nil),
            (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 9, "the file has 9"),
            (#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8, "instead of 12"),
            (
                #"{"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"I8","shape":[4],"data_offsets":[2,6]}}"#,
                6, "begins at 2 instead of 4"
            ),
            (#"{"a":{"dtype":"F32","shape":[18446744073709551615,9],"data_offsets":[0,8]}}"#, 8, "too many elements"),
            (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8, "has no place"),
            (#"{"a":3}"#, 0, "no list of tensors"), ("[]", 0, "does not begin with '{'"),
        ]
        for (header, data, expected) in cases {
            try scratch.write("models/model.safetensors", safetensors(header, data: data))
            let text = try problem(scratch("models"))
            if let expected {
                #expect(text?.contains(expected) == true, "\(header): \(text ?? "nothing")")
            } else {
                #expect(text == nil, "\(header)")
            }
        }
        try scratch.write("models/model.safetensors", [UInt8](repeating: 0xFF, count: 100))
        #expect(try problem(scratch("models"))?.contains("its header has") == true)
        try scratch.write("models/x.faiss", Array("IxFI".utf8) + [UInt8](repeating: 0, count: 60))
        #expect(try problem(scratch("models"))?.contains("0 vectors of 0 dimensions") == true)
    }

    @Test func `what FAISS and ggml write is taken as it is, and files that belong together are asked for`() throws {
        let scratch = try Scratch()
        let folder = scratch("models")
        try ModelFixture.makeMoreFiles(folder)
        let store = ModelsStore(path: folder, layout: .files)
        #expect(try problem(folder) == nil)
        #expect(try store.probe().warnings.isEmpty)
        // A kind nobody knows is taken, with a remark.
        try scratch.write("models/later.faiss", Array("IzZ9".utf8) + [UInt8](repeating: 0, count: 60))
        #expect(try problem(folder) == nil)
        #expect(try store.probe().warnings.map(\.message).contains { $0.contains("unknown kind 'IzZ9'") })
        // The lists of an index.
        #expect(truncate(scratch("models/lists.ivfdata"), 100) == 0)
        #expect(try problem(folder)?.contains("its lists in 'lists.ivfdata' have 100 bytes") == true)
        unlink(scratch("models/lists.ivfdata"))
        #expect(try problem(folder)?.contains("its lists are in 'lists.ivfdata', which is not in this store") == true)
        unlink(scratch("models/disk.faiss"))
        #expect(try problem(folder) == nil)
        // One of three files of a model, one that an index of shards names.
        unlink(scratch("models/split-00002-of-00003.gguf"))
        #expect(try problem(folder)?.contains("'split-00002-of-00003.gguf' is missing, one of 3 files") == true)
        unlink(scratch("models/split-00001-of-00003.gguf"))
        unlink(scratch("models/split-00003-of-00003.gguf"))
        try scratch.write("models/m.safetensors.index.json", Array(#"{"weight_map":{"a":"m-1.safetensors"}}"#.utf8))
        #expect(try problem(folder)?.contains("'m-1.safetensors' is missing, which 'm.safetensors.index.json'") == true)
        // A file git keeps elsewhere is no damage.
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
        try scratch.write("models/m-1.safetensors", Array(pointer.utf8))
        #expect(try problem(folder) == nil)
        #expect(try store.probe().warnings.map(\.message).contains { $0.contains("pointer of Git LFS") })
    }

    @Test func `an index that names its lists by an absolute path is told`() throws {
        let scratch = try Scratch()
        let folder = scratch("models")
        try ModelFixture.makeMoreFiles(folder)
        let path = "\(folder)/disk.faiss"
        var bytes = try read(path, 100_000)
        let name = Array("lists.ivfdata".utf8)
        let place = try #require(bytes.indices.last { bytes[$0...].starts(with: name) })
        let absolute = Array("/elsewhere/lists.ivfdata".utf8)
        bytes.replaceSubrange(place..<place + name.count, with: absolute)
        bytes[place - 8] = UInt8(absolute.count)
        try scratch.write("models/disk.faiss", bytes)
        let text = try ModelsStore(path: folder, layout: .files).probe().warnings.map(\.message).joined()
        #expect(text.contains("absolute path '/elsewhere/lists.ivfdata'"), "\(text)")
        #expect(try problem(folder) == nil)
    }
}
