// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatStorage
import LifeboatTesting
import Testing

@Suite struct LocalFolderStoreTests {
    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = try TemporaryFolder()
        defer { #expect(throws: Never.self) { try folder.remove() } }
        try body(folder.path)
    }

    private func key(_ text: String) throws -> ObjectKey { try #require(ObjectKey(text)) }

    private func put(_ store: any ObjectStore, _ text: String, _ bytes: [UInt8]) throws {
        let key = try key(text)
        try bytes.withUnsafeBytes { try store.put(key, [$0]) }
    }

    private func putIfAbsent(_ store: any ObjectStore, _ text: String, _ bytes: [UInt8]) throws -> Bool {
        let key = try key(text)
        return try bytes.withUnsafeBytes { try store.putIfAbsent(key, [$0]) }
    }

    private func write(_ path: String, _ text: String) throws { try AtomicFile.write(text, to: path) }

    private func names(in folder: String) throws -> [String] {
        let stream = try #require(opendir(folder))
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
        }
        return names.filter { $0 != "." && $0 != ".." }.sorted()
    }

    private func error(_ body: () throws -> Void) -> StorageError? {
        do { try body() } catch { return error as? StorageError }
        return nil
    }

    @Test func aMissingFolderIsNoRepository() throws {
        try withFolder { folder in
            try write("\(folder)/file", "")
            for path in ["\(folder)/none", "\(folder)/none/deeper", "\(folder)/file", "\(folder)/file/x"] {
                let failure = try #require(error { _ = try LocalFolderStore(opening: path) })
                #expect(failure.kind == .notFound)
                #expect(failure.lifeboatError.exitCode == .noRepository)
                #expect(failure.lifeboatError.hint != nil)
                #expect(failure.lifeboatError.message == "cannot open the repository's folder '\(path)'")
            }
        }
    }

    @Test func foldersAreForTheOwnerAndObjectsToo() throws {
        try withFolder { folder in
            let store = try LocalFolderStore.create(at: "\(folder)/a/b/repository//")
            try put(store, "packs/ab/x", [1])
            #expect(try putIfAbsent(store, "packs/ab/y", [1]))
            for (path, mode) in [
                ("a", 0o700), ("a/b/repository", 0o700), ("a/b/repository/packs/ab", 0o700),
                ("a/b/repository/packs/ab/x", 0o600), ("a/b/repository/packs/ab/y", 0o600),
            ] as [(String, mode_t)] {
                var status = stat()
                #expect(lstat("\(folder)/\(path)", &status) == 0)
                #expect(status.st_mode & 0o7777 == mode, "\(path)")
            }
            #expect(store.properties.location == "\(folder)/a/b/repository")
            _ = try LocalFolderStore.create(at: "\(folder)/a/b/repository")
        }
    }

    @Test func theFolderMayBeALinkButNothingInIt() throws {
        try withFolder { folder in
            _ = try LocalFolderStore.create(at: "\(folder)/real")
            _ = try LocalFolderStore.create(at: "\(folder)/outside/ab")
            try write("\(folder)/outside/ab/secret", "secret")
            #expect(symlink("real", "\(folder)/link") == 0)
            let store = try LocalFolderStore(opening: "\(folder)/link")
            try put(store, "x", [1])
            #expect(try store.get(try key("x"), limit: 1) == [1])

            #expect(symlink("../outside", "\(folder)/real/packs") == 0)
            #expect(symlink("../outside/ab/secret", "\(folder)/real/object") == 0)
            #expect(symlink("nowhere", "\(folder)/real/dangling") == 0)
            #expect(error { _ = try store.get(try key("packs/ab/secret"), limit: 99) } != nil)
            #expect(error { _ = try store.stat(try key("packs/ab/secret")) } != nil)
            #expect(error { _ = try store.delete(try key("packs/ab/secret")) } != nil)
            #expect(error { try put(store, "packs/ab/new", [1]) } != nil)
            #expect(error { _ = try putIfAbsent(store, "packs/ab/new", [1]) } != nil)
            #expect(error { _ = try store.get(try key("object"), limit: 99) }?.kind == .notFound)
            #expect(error { _ = try putIfAbsent(store, "object", [1]) } != nil)
            #expect(error { _ = try putIfAbsent(store, "dangling", [1]) } != nil)
            #expect(try store.listAll(prefix: "").map(\.key.text) == ["x"])
            #expect(try store.listAll(prefix: "packs/ab/") == [])
            // A put replaces the link itself, not what it points to.
            try put(store, "object", [2])
            #expect(try store.get(try key("object"), limit: 99) == [2])
            #expect(try names(in: "\(folder)/outside/ab") == ["secret"])
            #expect(try names(in: "\(folder)/real") == ["dangling", "object", "packs", "x"])
        }
    }

    @Test func onlyRegularFilesWithKeyNamesAreObjects() throws {
        try withFolder { folder in
            let store = try LocalFolderStore(opening: folder)
            try put(store, "a", [1])
            try write("\(folder)/not a key", "x")
            #expect(mkfifo("\(folder)/fifo", 0o600) == 0)
            #expect(mkdir("\(folder)/empty", 0o700) == 0)
            #expect(try store.listAll(prefix: "").map(\.key.text) == ["a"])
            #expect(try store.stat(try key("fifo")) == nil)
            #expect(error { _ = try store.get(try key("fifo"), limit: 9) }?.kind == .notFound)
        }
    }

    @Test func unfinishedPutsNeverShow() throws {
        try withFolder { folder in
            let store = try LocalFolderStore(opening: folder)
            try put(store, "packs/x", [1])
            let temporary = "packs/y.123-456\(AtomicFile.temporarySuffix)"
            try write("\(folder)/\(temporary)", "half")
            #expect(try store.listAll(prefix: "").map(\.key.text) == ["packs/x"])
            #expect(try store.stat(try key(temporary)) == nil)
            #expect(error { _ = try store.get(try key(temporary), limit: 9) }?.kind == .notFound)
            #expect(error { try put(store, temporary, [1]) } != nil)
            #expect(try !store.delete(try key(temporary)))
        }
    }

    @Test func leftoversOfDeadWritersAreRemoved() throws {
        try withFolder { folder in
            let store = try LocalFolderStore(opening: folder)
            try put(store, "packs/ab/x", [1])
            let suffix = AtomicFile.temporarySuffix
            // The largest process number of Linux is below 2^22.
            let dead = "packs/ab/x.99999999-1\(suffix)"
            let living = "packs/ab/x.\(getpid())-2\(suffix)"
            let nobodys = "packs/x\(suffix)"
            for path in [dead, living, nobodys] { try write("\(folder)/\(path)", "half") }
            func present() throws -> Set<String> {
                Set(try names(in: "\(folder)/packs/ab") + (try names(in: "\(folder)/packs")))
            }
            let now = SystemClock().now()
            func remove(after seconds: Int64) throws -> Int {
                try store.removeLeftovers(untouchedFor: 3600, clock: FixedClock(now.adding(seconds: seconds)))
            }
            #expect(try remove(after: 60) == 0)
            #expect(try present().count == 5)
            #expect(try remove(after: 3700) == 1)
            #expect(try !present().contains("x.99999999-1\(suffix)"))
            #expect(try remove(after: 8 * 86_400) == 1)
            #expect(try present() == ["ab", "x", "x\(suffix)"])
        }
    }

    @Test func aVanishedFolderIsAnErrorAndNotEmpty() throws {
        try withFolder { folder in
            let store = try LocalFolderStore.create(at: "\(folder)/repository")
            try put(store, "x", [1])
            #expect(rename("\(folder)/repository", "\(folder)/away") == 0)
            func expectErrors() throws {
                let calls: [() throws -> Void] = [
                    { _ = try store.stat(try self.key("x")) }, { _ = try store.listAll(prefix: "") },
                    { _ = try store.get(try self.key("x"), limit: 9) }, { try self.put(store, "y", [1]) },
                    { _ = try self.putIfAbsent(store, "y", [1]) }, { _ = try store.delete(try self.key("x")) },
                    { try store.removeLeftovers(untouchedFor: 1, clock: SystemClock()) },
                ]
                for call in calls {
                    let failure = try #require(error(call))
                    #expect(failure.kind == .other)
                    #expect(failure.lifeboatError.causes.contains { $0.contains("is gone") })
                }
            }
            try expectErrors()
            // As an unmounted disk leaves its mount point.
            #expect(mkdir("\(folder)/repository", 0o700) == 0)
            try expectErrors()
            #expect(try names(in: "\(folder)/repository") == [])
            #expect(rmdir("\(folder)/repository") == 0)
            #expect(rename("\(folder)/away", "\(folder)/repository") == 0)
            #expect(try store.get(try key("x"), limit: 9) == [1])
        }
    }

    @Test func aFolderRemovedByHandIsMadeAgain() throws {
        try withFolder { folder in
            let store = try LocalFolderStore(opening: folder)
            try put(store, "packs/ab/x", [1])
            try FileTree.remove("\(folder)/packs")
            #expect(try putIfAbsent(store, "packs/ab/y", [2]))
            #expect(try store.listAll(prefix: "").map(\.key.text) == ["packs/ab/y"])
        }
    }

    @Test func aFileInPlaceOfAFolderIsAnError() throws {
        try withFolder { folder in
            let store = try LocalFolderStore(opening: folder)
            try put(store, "a", [1])
            #expect(error { try put(store, "a/b", [1]) }?.kind == .other)
            #expect(error { _ = try store.stat(try key("a/b")) } != nil)
            #expect(try store.get(try key("a"), limit: 9) == [1])
        }
    }

    @Test func errorsCarryTheWordsOfTheSystem() throws {
        try withFolder { folder in
            let store = try LocalFolderStore(opening: folder)
            // One component of 300 bytes is a key, and too long for any Linux file system.
            let failure = try #require(error { try put(store, String(repeating: "n", count: 300), [1]) })
            #expect(failure.kind == .other)
            #expect(failure.lifeboatError.causes.contains { $0.contains("ENAMETOOLONG") })
        }
    }

    /// Needs the right to mount: a file system of 1 MiB.
    @Test(.enabled(if: getuid() == 0, "mounting needs root")) func aFullDiskLeavesNoPartOfAnObject() throws {
        try withFolder { folder in
            let disk = "\(folder)/disk"
            #expect(mkdir(disk, 0o700) == 0)
            guard mount("tmpfs", disk, "tmpfs", 0, "size=1m") == 0 else {
                Issue.record("cannot mount a tmpfs: \(SystemCallError.describe(errno))", severity: .warning)
                return
            }
            defer { umount2(disk, Int32(MNT_DETACH)) }
            let store = try LocalFolderStore(opening: disk)
            try put(store, "config.json", [1, 2, 3])
            let large = [UInt8](repeating: 7, count: 2 << 20)
            for call in [
                { _ = try self.putIfAbsent(store, "packs/x", large) }, { try self.put(store, "config.json", large) },
            ] as [() throws -> Void] {
                let failure = try #require(error(call))
                #expect(failure.kind == .full)
                #expect(failure.lifeboatError.causes.contains { $0.contains("ENOSPC") })
                #expect(failure.lifeboatError.hint != nil)
            }
            #expect(try names(in: "\(disk)/packs") == [])
            #expect(try store.get(try key("config.json"), limit: 9) == [1, 2, 3])
            // A delete works on a full disk, and then there is room.
            #expect(try putIfAbsent(store, "packs/y", Array(large[..<900_000])))
            #expect(error { _ = try putIfAbsent(store, "packs/z", Array(large[..<900_000])) }?.kind == .full)
            #expect(try store.delete(try key("packs/y")))
            #expect(try putIfAbsent(store, "packs/z", Array(large[..<900_000])))
        }
    }

    @Test func hugeFoldersAreListedPageByPage() throws {
        try withFolder { folder in
            let store = try LocalFolderStore(opening: folder)
            #expect(mkdir("\(folder)/index", 0o700) == 0)
            // More names than one pass keeps, folders without objects among them.
            var expected: [String] = []
            for number in 0..<9000 {
                let path = "index/\(pad((number * 7919) % 9000, 5))"
                if number % 9 == 0 {
                    #expect(mkdir("\(folder)/\(path)", 0o700) == 0)
                } else {
                    let file = open("\(folder)/\(path)", O_WRONLY | O_CREAT, 0o600)
                    #expect(file >= 0)
                    close(file)
                    expected.append(path)
                }
            }
            expected.sort()
            #expect(try store.listAll(prefix: "index/").map(\.key.text) == expected)
            let page = try store.list(prefix: "index/", after: ObjectPageToken(expected[4000]), limit: 3)
            #expect(page.objects.map(\.key.text) == Array(expected[4001...4003]))
            #expect(page.next == ObjectPageToken(expected[4003]))
        }
    }
}

private struct FixedClock: Clock {
    let time: Timestamp
    init(_ time: Timestamp) { self.time = time }
    func now() -> Timestamp { time }
    func monotonicSeconds() -> Double { 0 }
    func sleep(seconds: Double) {}
}
