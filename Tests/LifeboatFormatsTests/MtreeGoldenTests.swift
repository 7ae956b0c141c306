// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import Testing

/// The text of format 1, kept for ever in fixtures/mtree, and what Debian's bsdtar makes of it.
@Suite struct MtreeGoldenTests {
    private static var fixture: String {
        let package = #filePath.split(separator: "/").dropLast(3).map { "/\($0)" }.joined()
        return "\(package)/fixtures/mtree/every-kind.mtree"
    }

    private static func text() throws -> [UInt8] {
        let file = try OwnedDescriptor.open(fixture, O_RDONLY)
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = try buffer.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, fixture) }
        return Array(buffer[..<count])
    }

    /// One entry of every kind and every keyword.
    private static var entries: [TreeEntry] {
        func entry(
            _ path: String, _ kind: TreeEntry.Kind, _ mode: UInt16, _ change: (inout TreeEntry) -> Void = { _ in }
        )
            -> TreeEntry
        {
            var entry = TreeEntry(
                path: Array(path.utf8), kind: kind, mode: mode, userID: 0, groupID: 50,
                modificationTime: Timestamp(seconds: 1_700_000_000, nanoseconds: 123_456_789))
            change(&entry)
            return entry
        }
        let id = Digest(bigEndianWords: 0x0123_4567_89AB_CDEF, 0, .max, 1)
        return [
            entry("", .directory, 0o755) {
                $0.changeFacts = .init(inode: 2, changeTime: Timestamp(seconds: 1_700_000_001))
            },
            entry("dev", .directory, 0o1777) { $0.fileFlags = 0x80 },
            entry("dev/block", .blockDevice, 0o660) { ($0.deviceMajor, $0.deviceMinor) = (8, 1) },
            entry("dev/null", .characterDevice, 0o666) { ($0.deviceMajor, $0.deviceMinor) = (1, 3) },
            entry("dev/pipe", .fifo, 0o600),
            entry("dev/socket", .socket, 0o755),
            entry("empty", .file, 0o644) {
                $0.content = ContentReference(id: BLAKE3.emptyDigest, depth: 0, size: 0)
            },
            entry("file #1 = a,b\\c*?[", .file, 0o4755) {
                $0.size = 5
                $0.content = ContentReference(id: id, depth: 0, size: 5)
                $0.changeFacts = .init(
                    inode: 12, changeTime: Timestamp(seconds: 1_700_000_002, nanoseconds: 1))
                $0.extendedAttributes = [
                    .init(name: Array("system.posix_acl_access".utf8), value: [2, 0, 0, 0]),
                    .init(name: Array("user.a b=c".utf8), value: []),
                ]
            },
            entry("hard", .file, 0o4755) {
                $0.size = 5
                $0.hardLink = Array("file #1 = a,b\\c*?[".utf8)
            },
            entry("link", .symbolicLink, 0o777) { $0.linkTarget = Array("../über\n".utf8) },
            entry("lost", .file, 0) { $0.problem = "it cannot be examined: permission denied (EACCES)" },
            entry("moving", .file, 0o600) {
                $0.modificationTime = Timestamp(seconds: -2, nanoseconds: 500_000_000)
                $0.size = 9
                $0.content = ContentReference(id: id, depth: 1, size: 7)
                $0.problem = "changed while it was read"
            },
            entry("sparse", .file, 0o600) {
                $0.size = 1 << 30
                $0.extents = [.init(offset: 0, length: 4096), .init(offset: 1 << 20, length: 10)]
                $0.content = ContentReference(id: id, depth: 2, size: 4106)
            },
            entry("void", .file, 0o600) {
                $0.size = 1 << 40
                $0.extents = []
                $0.content = ContentReference(id: BLAKE3.emptyDigest, depth: 0, size: 0)
            },
        ]
    }

    @Test func theTextIsTheOneOfFormat1() throws {
        var text = MtreeEncoder.header
        for entry in Self.entries { MtreeEncoder.append(entry, to: &text) }
        #expect(String(decoding: text, as: UTF8.self) == String(decoding: try Self.text(), as: UTF8.self))
    }

    @Test func theTextIsReadBack() throws {
        var parser = MtreeParser()
        parser.feed(try Self.text())
        var entries: [TreeEntry] = []
        while let entry = try parser.next() { entries.append(entry) }
        try parser.finish()
        #expect(entries == Self.entries)
    }

    @Test func bsdtarListsEveryEntryWithoutComplaint() throws {
        let listed = try OutsideTool.run("bsdtar", ["-tf", Self.fixture])
        #expect(listed.standardError == "")
        #expect(listed.lines.count == Self.entries.count)
        #expect(listed.lines.contains("./dev/null"))
        #expect(listed.lines.contains("./file #1 = a,b\\\\c*?["))
        let archive = try OutsideTool.run("bsdtar", ["-tvf", "-"], input: try Self.text())
        #expect(archive.standardError == "")
        #expect(archive.lines.contains { $0.hasPrefix("crw-rw-rw-") && $0.contains("1,3") })
        #expect(archive.lines.contains { $0.hasPrefix("-rwsr-xr-x") && $0.contains(" 5 ") })
        #expect(archive.lines.contains { $0.hasPrefix("lrwxrwxrwx") && $0.contains("-> ../") })
    }
}
