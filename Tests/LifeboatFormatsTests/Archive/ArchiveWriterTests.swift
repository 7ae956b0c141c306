// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatTesting
import Testing

@Suite struct ArchiveWriterTests {
    private func contents(_ path: String) throws -> [UInt8] {
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        var status = stat()
        try #require(fstat(file.raw, &status) == 0)
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        let raw = file.raw
        _ = try bytes.withUnsafeMutableBytes { try DescriptorIO.read(raw, into: $0, path) }
        return bytes
    }

    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = try TemporaryFolder()
        defer { #expect(throws: Never.self) { try folder.remove() } }
        try body(folder.path)
    }

    private func item(size: Int, content: Int? = nil, _ change: (inout TreeEntry) -> Void = { _ in }) -> TreeEntry {
        var tree = ArchiveTree()
        tree.add("file", .file, mode: 0o644, data: [UInt8](repeating: 0, count: content ?? size)) {
            $0.size = UInt64(size)
            change(&$0)
        }
        return tree.entries[0].item
    }

    /// What adding `item` with `data` fails with, whether the archive could be ended after it, and its bytes.
    private func outcome(
        _ item: TreeEntry, _ data: [UInt8], _ format: ArchiveWriter.Format
    ) throws -> (kind: FormatError.Kind?, closes: Bool, bytes: [UInt8]) {
        let folder = try TemporaryFolder()
        defer { #expect(throws: Never.self) { try folder.remove() } }
        let path = "\(folder.path)/archive"
        let file = try OwnedDescriptor.open(path, O_WRONLY | O_CREAT)
        var kind: FormatError.Kind?
        var closes = false
        do {
            let writer = try ArchiveWriter(format, to: file.raw)
            do { _ = try writer.add(item, data: ArchiveTree.source(data)) } catch {
                kind = (error as? FormatError)?.kind
            }
            do {
                try writer.close()
                closes = true
            } catch {
                #expect(kind != nil)
            }
        }
        return (kind, closes, try contents(path))
    }

    @Test func theSameTreeGivesTheSameBytes() throws {
        let tree = ArchiveTree.everything()
        try withFolder { folder in
            try tree.write(.tar, to: "\(folder)/1")
            try tree.write(.tar, to: "\(folder)/2")
            let same = try contents("\(folder)/1") == contents("\(folder)/2")
            #expect(same)
        }
    }

    @Test func hugeHolesTakeNoSpace() throws {
        var tree = ArchiveTree()
        tree.add("void", .file, mode: 0o644, data: [1, 2, 3]) { item in
            item.size = 64 << 30
            item.extents = [TreeEntry.Extent(offset: 32 << 30, length: 3)]
        }
        try withFolder { folder in
            try tree.write(.tar, to: "\(folder)/archive")
            #expect(try contents("\(folder)/archive").count < 16_384)
        }
    }

    @Test(arguments: [ArchiveWriter.Format.tar, .tarZstandard(level: 1, threads: 1), .zip])
    func shortAndLongDataAreErrorsAndLeaveNoWholeArchive(format: ArchiveWriter.Format) throws {
        for (length, kind) in [(999, FormatError.Kind.truncated), (0, .truncated), (1001, .sizeMismatch)] {
            let result = try outcome(item(size: 1000), [UInt8](repeating: 7, count: length), format)
            #expect(result.kind == kind)
            #expect(!result.closes)
            if format == .tar {
                let hasEndMarker = result.bytes.count >= 1024 && result.bytes.suffix(1024).allSatisfy { $0 == 0 }
                #expect(!hasEndMarker)
            }
        }
        let whole = try outcome(item(size: 1000), [UInt8](repeating: 7, count: 1000), format)
        #expect(whole.kind == nil && whole.closes)
    }

    @Test func extentsThatContradictEachOtherAreRefused() throws {
        let cases: [[(UInt64, UInt64)]] = [
            [(0, 1000), (500, 10)], [(995, 10)], [(1001, 0)], [(UInt64.max, 1)], [(0, 5)], [(0, UInt64.max)],
        ]
        for extents in cases {
            let item = item(size: 1000, content: 10) {
                $0.extents = extents.map { TreeEntry.Extent(offset: $0, length: $1) }
            }
            let result = try outcome(item, [UInt8](repeating: 1, count: 10), .tar)
            #expect(result.kind == .unsupported)
            #expect(result.closes)
        }
    }

    @Test func whatAFormatCannotHoldIsSaidAndLeftOut() throws {
        var tree = ArchiveTree()
        tree.add("socket", .socket, mode: 0o644)
        tree.add("lost", .file, mode: 0o644)
        tree.add("a\0b", .file, mode: 0o644, data: [])
        for (item, _) in tree.entries {
            #expect(ArchiveWriter.refusal(of: item, in: .tar) != nil)
            let result = try outcome(item, [], .tar)
            #expect(result.kind == .unsupported && result.closes)
        }
        var links = ArchiveTree()
        links.add("hard", .file, mode: 0o644) { $0.hardLink = [0x61] }
        #expect(ArchiveWriter.refusal(of: links.entries[0].item, in: .tar) == nil)
        #expect(ArchiveWriter.refusal(of: links.entries[0].item, in: .zip) != nil)
    }

    @Test(arguments: [ArchiveWriter.Format.tar, .tarZstandard(level: 1, threads: 1), .zip])
    func aFullOutputIsAnErrorWithErrno(format: ArchiveWriter.Format) throws {
        let full = try OwnedDescriptor.open("/dev/full", O_WRONLY)
        var random = SplitMix64(seed: 42)
        // More than the buffers hold, and so little that only close() writes it.
        for size in [3 << 20, 10] {
            let data = random.bytes(size)
            var failure: FormatError?
            do {
                let writer = try ArchiveWriter(format, to: full.raw)
                _ = try writer.add(item(size: size), data: ArchiveTree.source(data))
                try writer.close()
            } catch { failure = error as? FormatError }
            #expect(failure?.kind == .output)
            #expect(failure?.code == Int(ENOSPC))
            #expect(failure?.text.contains("ENOSPC") == true)
        }
    }

    @Test func errorsOfTheSourceComeThroughAndEndTheArchive() throws {
        struct Unreadable: Error {}
        let null = try OwnedDescriptor.open("/dev/null", O_WRONLY)
        let writer = try ArchiveWriter(.tar, to: null.raw)
        #expect(throws: Unreadable.self) { _ = try writer.add(item(size: 10)) { _ in throw Unreadable() } }
        #expect(throws: FormatError.self) { try writer.close() }
        #expect(throws: FormatError.self) { _ = try writer.add(item(size: 0)) }
    }
}
