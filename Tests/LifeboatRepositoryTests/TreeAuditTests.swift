// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatRepository
import Testing

@Suite struct TreeAuditTests {
    private static func entry(_ path: String, _ kind: TreeEntry.Kind, size: UInt64 = 0) -> TreeEntry {
        var entry = TreeEntry(
            path: Array(path.utf8), kind: kind, mode: 0o755, userID: 0, groupID: 0,
            modificationTime: Timestamp(seconds: 0))
        entry.size = size
        return entry
    }

    private static func problems(_ entries: [TreeEntry]) -> [String?] {
        var audit = TreeAudit()
        return entries.map { audit.problem(of: $0) }
    }

    @Test func `what lies below a link, a file or a file as root cannot be written`() {
        let sound = Self.problems([
            Self.entry("", .directory), Self.entry("a", .directory), Self.entry("a/b", .file),
            Self.entry("a/b.txt", .file), Self.entry("c", .symbolicLink), Self.entry("c.txt", .file),
        ])
        #expect(sound.allSatisfy { $0 == nil })
        for kind in [TreeEntry.Kind.symbolicLink, .file, .fifo] {
            let found = Self.problems([
                Self.entry("", .directory), Self.entry("c", kind), Self.entry("c/d", .directory),
                Self.entry("c/d/e", .file), Self.entry("f", .file),
            ])
            #expect(found.map { $0 == nil } == [true, true, false, false, true])
        }
        #expect(Self.problems([Self.entry("", .file), Self.entry("a", .file)]).map { $0 == nil } == [true, false])
    }

    @Test(arguments: [1, 2, 100]) func `a hard link has to name a file of the tree`(limit: Int) throws {
        func link(_ path: String, to target: String, _ kind: TreeEntry.Kind = .file) -> TreeEntry {
            var entry = Self.entry(path, kind)
            entry.hardLink = Array(target.utf8)
            return entry
        }
        func broken(_ entries: [TreeEntry]) throws -> [String] {
            try HardLinkAudit(limit: limit).problems { body in
                for entry in entries { try body(entry) }
            }.map { String(decoding: $0.path, as: UTF8.self) }
        }
        let sound = [
            Self.entry("", .directory), Self.entry("a", .file), Self.entry("b", .directory),
            link("b/c", to: "a"), Self.entry("d", .symbolicLink), link("e", to: "d", .symbolicLink), link("f", to: "a"),
        ]
        #expect(try broken(sound) == [])
        #expect(try broken(sound.filter { $0.path != Array("a".utf8) }).contains("b/c"))
        #expect(
            try broken(sound + [link("g", to: "b"), link("h", to: "f"), link("i", to: "d"), link("j", to: "aa")])
                == ["g", "h", "i", "j"])
    }

    @Test func `sizes and extents have to fit`() {
        var sparse = Self.entry("", .file, size: 100)
        sparse.extents = [.init(offset: 10, length: 20), .init(offset: 50, length: 50)]
        sparse.content = ContentReference(id: BLAKE3.emptyDigest, depth: 0, size: 70)
        #expect(Self.problems([sparse]) == [nil])
        var beyond = sparse
        beyond.size = 99
        #expect(Self.problems([beyond]) != [nil])
        beyond.problem = "it changed while it was read"
        #expect(Self.problems([beyond]) == [nil])
        var short = sparse
        short.content?.size = 69
        #expect(Self.problems([short]) != [nil])
        #expect(Self.problems([Self.entry("", .file, size: .max)]) != [nil])
    }
}
