// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

@Suite struct VolumeRoundTripTests {
    /// Captures `tree`, extracts it to `copy`, captures that, and compares all but inodes.
    private func roundTrip(_ scratch: Scratch, _ tree: String = "tree") throws -> TreeCopy {
        let original = try TreeCopy(of: scratch(tree))
        let target = try FolderTarget(scratch("copy"))
        try original.extract(into: target)
        #expect(target.shortfalls().isEmpty)
        let copy = try TreeCopy(of: scratch("copy"))
        for (expected, found) in zip(original.portable, copy.portable) { #expect(expected == found) }
        #expect(original.portable.count == copy.portable.count)
        #expect(original.contents == copy.contents)
        #expect(original.entries.allSatisfy { $0.problem == nil })
        return original
    }

    @Test func everyKindOfObjectSurvives() throws {
        let scratch = try Scratch()
        try scratch.folder("tree", mode: 0o750)
        try scratch.folder("tree/deep")
        try scratch.folder("tree/sticky", mode: 0o1777)
        try scratch.write("tree/empty", "")
        try scratch.write("tree/a.txt", "hello", mode: 0o640)
        try scratch.write("tree/program", "#!/bin/sh\n", mode: 0o6755)
        try scratch.write("tree/secret", "x", mode: 0o000)
        try scratch.write("tree/deep/large", SplitMix64.bytes(1, 3_000_000))
        #expect(symlink("../no where\n", scratch("tree/link")) == 0)
        #expect(mkfifo(scratch("tree/pipe"), 0o620) == 0)
        #expect(mknod(scratch("tree/socket"), S_IFSOCK | 0o755, 0) == 0)
        #expect(link(scratch("tree/a.txt"), scratch("tree/deep/same")) == 0)
        #expect(link(scratch("tree/link"), scratch("tree/link2")) == 0)
        if geteuid() == 0 {
            #expect(mknod(scratch("tree/null"), S_IFCHR | 0o666, UInt(deviceNumber(major: 1, minor: 3))) == 0)
            #expect(mknod(scratch("tree/loop"), S_IFBLK | 0o660, UInt(deviceNumber(major: 7, minor: 700))) == 0)
            #expect(lchown(scratch("tree/a.txt"), 12345, 54321) == 0)
            #expect(lchown(scratch("tree/link"), 1, 2) == 0)
            #expect(chown(scratch("tree/deep"), 33, 34) == 0)
        }
        var times = (timespec(tv_sec: 1, tv_nsec: 1), timespec(tv_sec: -5, tv_nsec: 123_456_789))
        withUnsafePointer(to: &times) {
            let times = UnsafeRawPointer($0).assumingMemoryBound(to: timespec.self)
            for name in ["a.txt", "link", "pipe", "sticky", "socket"] {
                #expect(utimensat(AT_FDCWD, scratch("tree/\(name)"), times, AT_SYMLINK_NOFOLLOW) == 0)
            }
        }
        let tree = try roundTrip(scratch)
        #expect(tree["deep/same"]?.hardLink == Array("a.txt".utf8))
        #expect(tree["link2"]?.hardLink == Array("link".utf8))
        #expect(tree["link"]?.linkTarget == Array("../no where\n".utf8))
        #expect(tree["program"]?.mode == 0o6755)
        #expect(tree["a.txt"]?.modificationTime == Timestamp(seconds: -5, nanoseconds: 123_456_789))
        #expect(tree["socket"]?.kind == .socket)
        #expect(
            tree.paths == tree.entries.map(\.path).sorted(by: treeOrder).map { String(decoding: $0, as: UTF8.self) })
    }

    @Test func anyNameAndAnyDepthSurvives() throws {
        let scratch = try Scratch()
        try scratch.folder("tree")
        let tree = open(scratch("tree"), O_RDONLY | O_DIRECTORY)
        defer { close(tree) }
        var names: [[UInt8]] = (1...255).filter { $0 != 0x2F && $0 != 0x2E }.map { [UInt8($0)] }
        names += [Array(repeating: 0x61, count: 255), [0xFF, 0xFE, 0x0A], Array("..a".utf8), Array("...".utf8)]
        for name in names {
            (name + [0]).withUnsafeBytes {
                let file = openat(tree, $0.assumingMemoryBound(to: CChar.self).baseAddress!, O_CREAT | O_WRONLY, 0o644)
                #expect(file >= 0)
                _ = name.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
                close(file)
            }
        }
        // 300 levels of 60 bytes: 18 kB of path, and more levels than folders are kept open.
        var folder = dup(tree)
        let long = String(repeating: "d", count: 60)
        for _ in 0..<300 {
            #expect(mkdirat(folder, long, 0o755) == 0)
            let next = openat(folder, long, O_RDONLY | O_DIRECTORY)
            close(folder)
            folder = next
        }
        let file = openat(folder, "bottom", O_CREAT | O_WRONLY, 0o644)
        #expect(Glibc.write(file, "deep", 4) == 4)
        close(file)
        // Above and below in tree order, so that the walk comes back up.
        close(folder)
        let copy = try roundTrip(scratch)
        let bottom = try #require(copy.entries.first { $0.path.count > 18_000 && $0.kind == .file })
        #expect(copy.contents[bottom.path] == Array("deep".utf8))
        #expect(copy.entries.count == names.count + 302)
    }

    @Test func attributesAccessListsAndFlagsSurvive() throws {
        let scratch = try Scratch()
        try scratch.folder("tree")
        try scratch.folder("tree/folder")
        try scratch.write("tree/file", "data", mode: 0o444)
        try scratch.write("tree/frozen", "frozen")
        try scratch.write("tree/log", "log")
        #expect(link(scratch("tree/frozen"), scratch("tree/frozen2")) == 0)
        #expect(symlink("x", scratch("tree/link")) == 0)
        let file = try OwnedDescriptor.open(scratch("tree/file"), O_RDONLY)
        try ExtendedAttributes.set(.descriptor(file.raw), name: Array("user.empty".utf8), value: [])
        try ExtendedAttributes.set(
            .descriptor(file.raw), name: Array("user.bytes=,\u{e9} x".utf8), value: Array(0...255) + Array(0...255))
        let folder = try OwnedDescriptor.open(scratch("tree/folder"), O_RDONLY)
        try ExtendedAttributes.set(.descriptor(folder.raw), name: Array("user.note".utf8), value: [1, 2, 3])
        try run("setfacl", "-m", "u:12345:rwx,g:54321:r", scratch("tree/file"))
        try run("setfacl", "-m", "u:12345:rwx,d:u:777:rw,d:m::rwx", scratch("tree/folder"))
        if geteuid() == 0 {
            let top = try OwnedDescriptor.open(scratch("tree"), O_RDONLY)
            try "link\0".withCStringBytes {
                try ExtendedAttributes.set(.named($0, in: top.raw), name: Array("trusted.onlink".utf8), value: [7])
            }
            // CAP_NET_RAW, revision 2.
            try ExtendedAttributes.set(
                .descriptor(file.raw), name: Array("security.capability".utf8),
                value: [1, 0, 0, 2, 0, 0x20, 0, 0] + Array(repeating: 0, count: 12))
            for (name, flags) in [
                ("frozen", FileFlags.immutable | 0x40), ("log", FileFlags.appendOnly), ("folder", 0x80),
            ] {
                let object = try OwnedDescriptor.open(scratch("tree/\(name)"), O_RDONLY)
                try FileFlags.set(object.raw, flags)
            }
        }
        let tree = try roundTrip(scratch)
        #expect(tree["file"]?.extendedAttributes.contains { $0.name == Array("system.posix_acl_access".utf8) } == true)
        #expect(
            tree["folder"]?.extendedAttributes.contains { $0.name == Array("system.posix_acl_default".utf8) } == true)
        if geteuid() == 0 {
            #expect(tree["file"]?.extendedAttributes.contains { $0.name == Array("security.capability".utf8) } == true)
            #expect(tree["frozen"]?.fileFlags == FileFlags.immutable | 0x40)
            #expect(tree["log"]?.fileFlags == FileFlags.appendOnly)
            #expect(tree["link"]?.extendedAttributes == [.init(name: Array("trusted.onlink".utf8), value: [7])])
        }
    }

    @Test func holesStayHolesAndAreNotRead() throws {
        let scratch = try Scratch()
        try scratch.folder("tree")
        try scratch.write("tree/allhole", "")
        #expect(truncate(scratch("tree/allhole"), 1 << 40) == 0)
        let file = try OwnedDescriptor.open(scratch("tree/sparse"), O_RDWR | O_CREAT, mode: 0o644)
        let piece = SplitMix64.bytes(9, 100_000)
        for offset: UInt64 in [0, 1 << 22, 17_179_881_529] {
            try piece.withUnsafeBytes { try DescriptorIO.write(file.raw, at: offset, $0, "sparse") }
        }
        #expect(ftruncate(file.raw, (1 << 35)) == 0)
        let preallocated = try OwnedDescriptor.open(scratch("tree/preallocated"), O_RDWR | O_CREAT, mode: 0o644)
        #expect(posix_fallocate(preallocated.raw, 0, 8 << 20) == 0)
        let tree = try roundTrip(scratch)
        #expect(tree["allhole"]?.extents == [])
        #expect(tree["allhole"]?.size == 1 << 40)
        #expect(tree["sparse"]?.extents?.count == 3)
        #expect((tree.content("sparse")?.count ?? .max) < 400_000)
        var status = stat()
        #expect(stat(scratch("copy/sparse"), &status) == 0)
        #expect(status.st_blocks * 512 < 1 << 20)
        #expect(status.st_size == 1 << 35)
    }

    @Test func aSingleFileOrLinkIsATreeToo() throws {
        let scratch = try Scratch()
        try scratch.write("one", "only me", mode: 0o600)
        #expect(symlink("one", scratch("pointer")) == 0)
        for name in ["one", "pointer"] {
            let original = try TreeCopy(of: scratch(name))
            #expect(original.entries.map(\.path) == [[]])
            try original.extract(into: try FolderTarget(scratch("copy-\(name)")))
            let copy = try TreeCopy(of: scratch("copy-\(name)"))
            #expect(copy.portable == original.portable)
            #expect(copy.contents == original.contents)
        }
        #expect(throws: SystemCallError.self) { try TreeCopy(of: scratch("missing")) }
    }

    @Test func aWalkOfManyNamesIsInOrderAtAnyReadAhead() throws {
        let scratch = try Scratch()
        try scratch.folder("tree")
        var random = SplitMix64(seed: 4)
        for folder in ["a", "a.b", "a-b", "z"] {
            try scratch.folder("tree/\(folder)")
            for _ in 0..<1500 { try scratch.write("tree/\(folder)/\(random.next() % 100_000)", "") }
            try scratch.folder("tree/\(folder)/50000x")
            try scratch.write("tree/\(folder)/50000x/y", "y")
        }
        let expected = try TreeCopy(of: scratch("tree"), .init(threads: 0)).paths
        #expect(expected.count > 5000)
        #expect(
            expected.map { Array($0.utf8) } == expected.map { Array($0.utf8) }.sorted(by: treeOrder))
        for (threads, ahead) in [(1, 1), (2, 100), (4, 16_384)] {
            #expect(try TreeCopy(of: scratch("tree"), .init(threads: threads, readAhead: ahead)).paths == expected)
        }
    }

    private func run(_ program: String, _ arguments: String...) throws {
        let result = try SystemProcessRunner().run(ProcessCommand(program, arguments), deadline: 30)
        guard result.termination.succeeded else {
            throw LifeboatError("\(program) failed", causes: [result.standardError])
        }
    }
}

extension SplitMix64 {
    static func bytes(_ seed: UInt64, _ count: Int) -> [UInt8] {
        var generator = SplitMix64(seed: seed)
        return generator.bytes(count)
    }
}

extension String {
    /// The text, which ends in a NUL of its own, as C bytes.
    func withCStringBytes(_ body: (UnsafePointer<CChar>) throws -> Void) throws {
        try withCString { try body($0) }
    }
}
