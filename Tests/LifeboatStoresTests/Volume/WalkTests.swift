// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Synchronization
import Testing

@Suite struct VolumeWalkTests {
    private func capture(
        _ path: String, during change: () throws -> Void
    ) throws -> (entry: TreeEntry, bytes: [UInt8], outcome: FileReadOutcome) {
        let walk = try FolderSource(path).walk(Cancellation())
        defer { walk.close() }
        while var item = try walk.next() {
            guard let opener = item.opener else { continue }
            let file = try opener.open()
            defer { file.close() }
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 1000)
            var isFirst = true
            while true {
                let count = try buffer.withUnsafeMutableBytes { try file.read(into: $0) }
                if count == 0 { break }
                bytes += buffer[..<count]
                if isFirst { try change() }
                isFirst = false
            }
            let outcome = try file.finish(&item.entry)
            return (item.entry, bytes, outcome)
        }
        throw LifeboatError("no file in the tree")
    }

    @Test func aFileThatIsLeftAloneIsConsistent() throws {
        let scratch = try Scratch()
        try scratch.write("file", String(repeating: "x", count: 5000))
        usleep(60_000)
        let result = try capture(scratch("file")) {}
        #expect(result.outcome == .consistent)
        #expect(result.entry.size == 5000)
        #expect(result.entry.changeFacts != nil)
    }

    @Test func aFileThatGrowsEndsWhereItEndedWhenItWasOpened() throws {
        let scratch = try Scratch()
        try scratch.write("file", String(repeating: "x", count: 5000))
        let result = try capture(scratch("file")) {
            let file = try OwnedDescriptor.open(scratch("file"), O_WRONLY | O_APPEND)
            try [UInt8](repeating: 1, count: 9000).withUnsafeBytes { try DescriptorIO.write(file.raw, $0, "file") }
        }
        #expect(result.outcome == .changed)
        #expect(result.bytes == Array(repeating: 0x78, count: 5000))
        #expect(result.entry.size == 5000)
        #expect(result.entry.changeFacts == nil)
    }

    @Test func aFileThatShrinksGivesWhatWasRead() throws {
        let scratch = try Scratch()
        try scratch.write("file", String(repeating: "x", count: 5000))
        let result = try capture(scratch("file")) { #expect(truncate(scratch("file"), 2500) == 0) }
        #expect(result.outcome == .changed)
        #expect(result.bytes.count == 2500)
        #expect(result.entry.size == 2500)
    }

    @Test func aSparseFileThatShrinksKeepsExtentsThatFitItsContent() throws {
        let scratch = try Scratch()
        let file = try OwnedDescriptor.open(scratch("file"), O_RDWR | O_CREAT)
        for offset: UInt64 in [0, 1 << 20, 1 << 21] {
            try [UInt8](repeating: 7, count: 4096).withUnsafeBytes {
                try DescriptorIO.write(file.raw, at: offset, $0, "file")
            }
        }
        let result = try capture(scratch("file")) { #expect(truncate(scratch("file"), 1 << 20 + 100) == 0) }
        #expect(result.outcome == .changed)
        #expect(UInt64(result.bytes.count) == result.entry.contentSize)
        let last = try #require(result.entry.extents?.last)
        #expect(last.offset + last.length <= result.entry.size)
    }

    @Test func aFileWrittenInPlaceOfTheSameSizeIsNoticed() throws {
        let scratch = try Scratch()
        try scratch.write("file", String(repeating: "x", count: 5000))
        usleep(30_000)
        let result = try capture(scratch("file")) {
            let file = try OwnedDescriptor.open(scratch("file"), O_WRONLY)
            try [UInt8](repeating: 1, count: 5000).withUnsafeBytes {
                try DescriptorIO.write(file.raw, at: 0, $0, "file")
            }
        }
        #expect(result.outcome == .changed)
    }

    @Test func aFileWrittenJustBeforeHasNoTrustedFacts() throws {
        let scratch = try Scratch()
        try scratch.write("file", "x")
        #expect(try capture(scratch("file")) {}.entry.changeFacts == nil)
    }

    @Test func whatVanishesOrIsReplacedBetweenWalkAndOpenIsTold() throws {
        let scratch = try Scratch()
        try scratch.folder("tree")
        for name in ["fifo", "gone", "link", "new", "shared", "shared2"] where name != "shared2" {
            try scratch.write("tree/\(name)", name)
        }
        #expect(link(scratch("tree/shared"), scratch("tree/shared2")) == 0)
        let walk = try FolderSource(scratch("tree")).walk(Cancellation())
        defer { walk.close() }
        var openers: [String: any FileOpener] = [:]
        while let item = try walk.next() { openers[String(decoding: item.entry.path, as: UTF8.self)] = item.opener }
        #expect(openers["shared2"] == nil)
        for name in ["fifo", "gone", "link", "new", "shared"] { #expect(unlink(scratch("tree/\(name)")) == 0) }
        #expect(mkfifo(scratch("tree/fifo"), 0o644) == 0)
        #expect(symlink("/etc/passwd", scratch("tree/link")) == 0)
        try scratch.write("tree/new", "replaced by a rename")
        try scratch.write("tree/shared", "not what shared2 is")
        #expect(throws: FileTreeError.replaced(path: "fifo")) { try openers["fifo"]?.open() }
        #expect(throws: FileTreeError.vanished(path: "gone")) { try openers["gone"]?.open() }
        #expect(throws: FileTreeError.replaced(path: "link")) { try openers["link"]?.open() }
        #expect(throws: FileTreeError.replaced(path: "shared")) { try openers["shared"]?.open() }
        let file = try #require(try openers["new"]?.open())
        var buffer = [UInt8](repeating: 0, count: 100)
        #expect(try buffer.withUnsafeMutableBytes { try file.read(into: $0) } == 20)
        file.close()
    }

    @Test func aFolderReplacedByALinkIsNotFollowed() throws {
        let scratch = try Scratch()
        try scratch.folder("tree")
        try scratch.folder("tree/a")
        try scratch.write("tree/a/file", "inside")
        try scratch.folder("outside")
        try scratch.write("outside/file", "outside")
        let walk = try FolderSource(scratch("tree")).walk(Cancellation())
        var opener: (any FileOpener)?
        while let item = try walk.next() { opener = item.opener ?? opener }
        walk.close()
        #expect(rename(scratch("tree/a"), scratch("tree/b")) == 0)
        #expect(symlink(scratch("outside"), scratch("tree/a")) == 0)
        // The folder it knows is still open, or opened again and not recognised: never what is outside.
        if let file = try? opener?.open() {
            var buffer = [UInt8](repeating: 0, count: 100)
            let count = try buffer.withUnsafeMutableBytes { try file.read(into: $0) }
            #expect(buffer[..<count].elementsEqual("inside".utf8))
            file.close()
        }
    }

    @Test func aTreeThatChangesAllTheTimeIsWalkedToItsEnd() throws {
        let scratch = try Scratch()
        try scratch.folder("tree")
        let stop = Atomic<Bool>(false)
        let path = scratch.path
        try withExtendedLifetime(scratch) {
            try runConcurrently([
                (
                    "churn",
                    {
                        var random = SplitMix64(seed: 8)
                        while !stop.load(ordering: .acquiring) {
                            let folder = "\(path)/tree/\(random.next() % 20)"
                            let file = "\(folder)/\(random.next() % 50)"
                            switch random.next() % 6 {
                            case 0: mkdir(folder, 0o755)
                            case 1: rename(folder, "\(path)/tree/\(random.next() % 20)")
                            case 2: symlink("/etc", file)
                            case 3: unlink(file)
                            default: close(open(file, O_CREAT | O_WRONLY, 0o644))
                            }
                        }
                    }
                ),
                (
                    "walk",
                    {
                        defer { stop.store(true, ordering: .releasing) }
                        for _ in 0..<40 {
                            let copy = try TreeCopy(of: "\(path)/tree")
                            let paths = copy.entries.map(\.path)
                            #expect(paths == paths.sorted(by: treeOrder))
                            #expect(Set(paths).count == paths.count)
                        }
                    }
                ),
            ])
        }
    }

    @Test(arguments: [
        ("*.tmp", "a/b.tmp", true), ("*.tmp", "a/b.tmpx", false), ("b?d", "bad", true), ("b?d", "x/bad", true),
        ("/a", "a", true), ("/a", "x/a", false), ("a/b", "a/b", true), ("a/b", "x/a/b", false), ("a/*", "a/b", true),
        ("a/*", "a/b/c", false), ("a/**", "a/b/c", true), ("**/c", "c", true), ("**/c", "a/b/c", true),
        ("**/c", "a/bc", false), ("a/**/c", "a/c", true), ("a/**/c", "a/x/y/c", true), ("a/**/c", "a/xc", false),
        ("[a-c]x", "bx", true), ("[!a-c]x", "bx", false), ("[]]", "]", true), ("[", "[", true), ("\\*", "*", true),
        ("\\*", "x", false), ("**", "anything", true), ("a*b*c", "aXbYbZc", true), ("a*b*c", "aXbYbZ", false),
        ("cache/", "x/cache", true), ("x/*.log", "x/.log", true), ("x/a**z", "x/a/b/z", true), ("", "a", false),
        ("*/*/*", "a/b/c", true), ("*a*a*a*a*a*a*b", String(repeating: "a", count: 200), false),
    ])
    func globsMatchAsDocumented(pattern: String, path: String, matches: Bool) {
        let components = path.split(separator: "/", omittingEmptySubsequences: false)
        let name = Array(components[components.count - 1].utf8)
        let folder = Array(components.dropLast().joined(separator: "/").utf8)
        #expect(ExcludePatterns([pattern]).matches(name: name[...], in: folder) == matches)
    }

    @Test func excludedFoldersAndTaggedCachesAreLeftOut() throws {
        let scratch = try Scratch()
        for folder in ["tree", "tree/keep", "tree/skip", "tree/cache", "tree/fake"] { try scratch.folder(folder) }
        for file in ["keep/a.tmp", "keep/b", "skip/c", "cache/d", "fake/e"] { try scratch.write("tree/\(file)", "x") }
        try scratch.write("tree/cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# cache")
        try scratch.write("tree/fake/CACHEDIR.TAG", "Signature: nothing")
        let exclude = ExcludePatterns(["*.tmp", "/skip"])
        let all = try TreeCopy(of: scratch("tree"), .init(exclude: exclude))
        #expect(
            all.paths == [
                "", "cache", "cache/CACHEDIR.TAG", "cache/d", "fake", "fake/CACHEDIR.TAG", "fake/e", "keep", "keep/b",
            ])
        let some = try TreeCopy(of: scratch("tree"), .init(exclude: exclude, excludesCaches: true))
        #expect(some.paths == all.paths.filter { $0 != "cache/d" })
        #expect(some.notes[Array("cache".utf8)] == .cacheFolder)
    }

    @Test func mountPointsStayEmptyUnlessWanted() throws {
        let scratch = try Scratch()
        try scratch.folder("tree")
        try scratch.folder("tree/mounted")
        guard geteuid() == 0, mount("none", scratch("tree/mounted"), "tmpfs", 0, "size=1m") == 0 else {
            print("skipped: mounting needs root")
            return
        }
        defer { umount(scratch("tree/mounted")) }
        try scratch.write("tree/mounted/file", "x")
        let one = try TreeCopy(of: scratch("tree"))
        #expect(one.paths == ["", "mounted"])
        #expect(one.notes[Array("mounted".utf8)] == .mountPoint)
        #expect(
            try TreeCopy(of: scratch("tree"), .init(staysOnVolume: false)).paths == ["", "mounted", "mounted/file"])
    }

    @Test func cancellationEndsAWalk() throws {
        let scratch = try Scratch()
        try scratch.folder("tree")
        try scratch.write("tree/a", "")
        let cancellation = Cancellation()
        let walk = try FolderSource(scratch("tree")).walk(cancellation)
        _ = try walk.next()
        cancellation.cancel()
        #expect(throws: LifeboatError.self) { try walk.next() }
        walk.close()
        walk.close()
    }
}
