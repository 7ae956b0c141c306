// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Synchronization
import Testing

@Suite struct FolderTargetTests {
    private func entry(_ path: String, _ kind: TreeEntry.Kind = .file, link: String? = nil) -> TreeEntry {
        var entry = TreeEntry(
            path: Array(path.utf8), kind: kind, mode: kind == .directory ? 0o755 : 0o644, userID: geteuid(),
            groupID: getegid(), modificationTime: Timestamp(seconds: 1_700_000_000, nanoseconds: 5))
        entry.linkTarget = link.map { Array($0.utf8) }
        return entry
    }

    private func write(_ text: String, _ entry: TreeEntry, _ target: FolderTarget) throws {
        var entry = entry
        entry.size = UInt64(text.utf8.count)
        let file = try #require(try target.create(entry))
        try Array(text.utf8).withUnsafeBytes { try file.write($0, atContentOffset: 0) }
        try file.finish()
    }

    private func read(_ path: String) throws -> String {
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = try buffer.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, path) }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }

    @Test(arguments: [
        "..", "../x", "a/../../x", "/etc/x", "", "a//b", "a/", ".", "./x", "a\0b", "folder/..", "folder/.",
    ])
    func pathsThatLeaveTheTargetAreRefused(path: String) throws {
        let scratch = try Scratch()
        let target = try FolderTarget(scratch("target"))
        _ = try target.create(entry("", .directory))
        _ = try target.create(entry("folder", .directory))
        for kind in [TreeEntry.Kind.file, .directory, .fifo, .symbolicLink] {
            #expect(throws: LifeboatError.self) { _ = try target.create(entry(path, kind, link: "x")) }
        }
        #expect(try TreeCopy(of: scratch.path).paths == ["", "target", "target/folder"])
    }

    @Test func nothingIsCreatedBelowALinkOrAFile() throws {
        let scratch = try Scratch()
        try scratch.folder("outside")
        let target = try FolderTarget(scratch("target"))
        _ = try target.create(entry("", .directory))
        _ = try target.create(entry("link", .symbolicLink, link: scratch("outside")))
        try write("x", entry("file"), target)
        #expect(throws: LifeboatError.self) { _ = try target.create(entry("link/x")) }
        #expect(throws: LifeboatError.self) { _ = try target.create(entry("link/x", .directory)) }
        #expect(throws: LifeboatError.self) { _ = try target.create(entry("file/x")) }
        #expect(throws: LifeboatError.self) { _ = try target.create(entry("unknown/x")) }
        #expect(try TreeCopy(of: scratch("outside")).paths == [""])
    }

    @Test func hardLinksPointInsideOnly() throws {
        let scratch = try Scratch()
        try scratch.folder("outside")
        try scratch.write("outside/secret", "secret")
        let target = try FolderTarget(scratch("target"))
        _ = try target.create(entry("", .directory))
        _ = try target.create(entry("link", .symbolicLink, link: scratch("outside")))
        for first in [
            "../outside/secret", scratch("outside/secret"), "link/secret", "..", "", "a/../../outside/secret",
        ] {
            var hard = entry("hard")
            hard.hardLink = Array(first.utf8)
            #expect(throws: LifeboatError.self) { _ = try target.create(hard) }
        }
        // A hard link to a link is one to the link itself.
        var hard = entry("hard", .symbolicLink, link: scratch("outside"))
        hard.hardLink = Array("link".utf8)
        _ = try target.create(hard)
        #expect(try TreeCopy(of: scratch("target"))["link"]?.hardLink == Array("hard".utf8))
    }

    @Test func whatIsThereAlreadyIsRefusedUnlessAllowed() throws {
        let scratch = try Scratch()
        try scratch.folder("target")
        try scratch.write("target/a", "old")
        try scratch.folder("outside")
        #expect(symlink(scratch("outside"), scratch("target/folder")) == 0)
        #expect(throws: LifeboatError.self) { _ = try FolderTarget(scratch("target")).create(entry("", .directory)) }
        #expect(throws: LifeboatError.self) { _ = try FolderTarget(scratch("target/a")).create(entry("")) }
        let target = try FolderTarget(scratch("target"), allowsExisting: true)
        _ = try target.create(entry("", .directory))
        try write("new", entry("a"), target)
        // A link where a folder belongs is replaced, not followed.
        _ = try target.create(entry("folder", .directory))
        try write("in", entry("folder/b"), target)
        #expect(try read(scratch("target/a")) == "new")
        #expect(try read(scratch("target/folder/b")) == "in")
        #expect(try TreeCopy(of: scratch("outside")).paths == [""])
        #expect(throws: LifeboatError.self) { try write("x", entry("folder"), target) }
    }

    @Test func anUnfinishedOrIncompleteFileIsTakenAway() throws {
        let scratch = try Scratch()
        let target = try FolderTarget(scratch("target"))
        _ = try target.create(entry("", .directory))
        do {
            var half = entry("half")
            half.size = 10
            half.content = ContentReference(id: BLAKE3.emptyDigest, depth: 0, size: 10)
            let file = try #require(try target.create(half))
            try [1, 2, 3 as UInt8].withUnsafeBytes { try file.write($0, atContentOffset: 0) }
            #expect(throws: LifeboatError.self) {
                try [1, 2, 3 as UInt8].withUnsafeBytes { try file.write($0, atContentOffset: 8) }
            }
            #expect(throws: LifeboatError.self) { try file.finish() }
        }
        #expect(try TreeCopy(of: scratch("target")).paths == [""])
    }

    @Test func foldersAreClosedToOthersUntilTheyAreFinished() throws {
        let scratch = try Scratch()
        let target = try FolderTarget(scratch("target"))
        _ = try target.create(entry("", .directory))
        _ = try target.create(entry("open", .directory))
        #expect(try TreeCopy(of: scratch("target")).entries.map(\.mode) == [0o700, 0o700])
        try target.finishFolder(entry("open", .directory))
        try target.finishFolder(entry("", .directory))
        #expect(try TreeCopy(of: scratch("target")).entries.map(\.mode) == [0o755, 0o755])
        #expect(throws: LifeboatError.self) { try target.finishFolder(entry("", .directory)) }
    }

    @Test func nothingIsInheritedFromTheFolderAroundTheTarget() throws {
        let scratch = try Scratch()
        try scratch.folder("around")
        let set = try SystemProcessRunner().run(
            ProcessCommand("setfacl", ["-m", "d:u:777:rwx", scratch("around")]), deadline: 30)
        try #require(set.termination.succeeded)
        if geteuid() == 0 { #expect(chown(scratch("around"), 0, 4321) == 0) }
        #expect(chmod(scratch("around"), 0o2777) == 0)
        let target = try FolderTarget(scratch("around/target"))
        _ = try target.create(entry("", .directory))
        try write("x", entry("file"), target)
        try target.finishFolder(entry("", .directory))
        let copy = try TreeCopy(of: scratch("around/target"))
        #expect(copy.entries.allSatisfy { $0.extendedAttributes.isEmpty && $0.groupID == getegid() })
        #expect(copy.entries.map(\.mode) == [0o755, 0o644])
    }

    /// While files are extracted, another thread swaps folders of the target for links that lead outside.
    @Test func aLinkSwappedInDuringTheExtractionLeadsNowhere() throws {
        let scratch = try Scratch()
        try scratch.folder("outside")
        let stop = Atomic<Bool>(false)
        let path = scratch.path
        try withExtendedLifetime(scratch) {
            try runConcurrently([
                (
                    "swap",
                    {
                        var number = 0
                        while !stop.load(ordering: .acquiring) {
                            number += 1
                            let folder = "\(path)/target/f\(number % 40)"
                            guard rename(folder, "\(folder)-\(number)") == 0 else { continue }
                            symlink("\(path)/outside", folder)
                        }
                    }
                ),
                (
                    "extract",
                    {
                        defer { stop.store(true, ordering: .releasing) }
                        let target = try FolderTarget("\(path)/target")
                        _ = try target.create(entry("", .directory))
                        // More folders than are kept open, so that they are opened again.
                        for folder in 0..<400 {
                            _ = try? target.create(entry("f\(folder % 40)", .directory))
                            _ = try? target.create(entry("f\(folder % 40)/sub\(folder)", .directory))
                        }
                        for file in 0..<2000 {
                            try? write("x", entry("f\(file % 40)/x\(file)"), target)
                            try? write("x", entry("f\(file % 40)/sub\(file % 400)/x\(file)"), target)
                        }
                    }
                ),
            ])
        }
        #expect(try TreeCopy(of: scratch("outside")).paths == [""])
    }

    /// As an unprivileged user: unreadable objects are problems, owners a shortfall, and the rest works.
    @Test func withoutRootTheRestIsDoneAndWhatIsNotIsTold() throws {
        guard geteuid() == 0 else {
            print("skipped: becoming another user needs root")
            return
        }
        let scratch = try Scratch()
        #expect(chmod(scratch.path, 0o755) == 0)
        try scratch.folder("tree")
        try scratch.write("tree/open", "open")
        try scratch.write("tree/secret", "secret", mode: 0o600)
        try scratch.folder("tree/closed", mode: 0o700)
        try scratch.write("tree/closed/file", "x")
        try scratch.folder("tree/unsearchable", mode: 0o744)
        try scratch.write("tree/unsearchable/file", "x")
        try scratch.write("tree/setuid", "x", mode: 0o4755)
        for name in ["", "/open", "/secret", "/closed", "/unsearchable", "/unsearchable/file", "/setuid"] {
            #expect(chown(scratch("tree\(name)"), 12345, 12345) == 0)
        }
        #expect(chmod(scratch("tree/setuid"), 0o4755) == 0)
        try scratch.folder("home")
        #expect(chown(scratch("home"), 65534, 65534) == 0)
        let original = try asUser(65534) { try TreeCopy(of: scratch("tree")) }
        #expect(original["open"]?.problem == nil)
        #expect(original["secret"]?.problem?.contains("EACCES") == true)
        #expect(original["closed"]?.problem?.contains("EACCES") == true)
        #expect(original["unsearchable/file"]?.problem?.contains("EACCES") == true)
        #expect(original.paths.contains("closed/file") == false)
        let all = try TreeCopy(of: scratch("tree"))
        let whole = all.without("closed/file")
        let warnings = try asUser(65534) {
            let target = try FolderTarget(scratch("home/copy"))
            try whole.extract(into: target)
            return target.shortfalls()
        }
        #expect(warnings.map(\.message) == ["owner or group of 7 objects could not be restored"])
        let copy = try TreeCopy(of: scratch("home/copy"))
        #expect(copy["setuid"]?.mode == 0o755)
        #expect(copy["secret"]?.mode == 0o600)
        #expect(copy.content("secret") == Array("secret".utf8))
        #expect(copy["open"]?.userID == 65534)
    }

    /// Runs `body` on a thread of its own with the file-system rights of another user: setfsuid(2) is of one thread,
    /// is inherited by the threads it starts, and takes away the capabilities of root over files.
    private func asUser<Result: Sendable>(
        _ user: UInt32, _ body: @escaping @Sendable () throws -> Result
    ) throws -> Result {
        try BlockingThread<Result>(name: "other user") {
            _ = setfsgid(user)
            _ = setfsuid(user)
            return try body()
        }.join()
    }
}

// sys/fsuid.h, which the Glibc module leaves out.
@_silgen_name("setfsuid") private func setfsuid(_ user: UInt32) -> Int32
@_silgen_name("setfsgid") private func setfsgid(_ group: UInt32) -> Int32
