// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// Files and folders of a volume, restored while all else in it stays.
@Suite struct PartialVolumeTests {
    /// Some folders deep, with a link; captured whole.
    private struct Bench {
        let scratch: Scratch
        let volume: VolumeStore
        let content: CapturedContent

        init(others: [String] = []) throws {
            scratch = try Scratch()
            for folder in ["data", "data/a", "data/a/deep", "data/b"] { try scratch.folder(folder, mode: 0o750) }
            try scratch.write("data/a/one", "one as it was", mode: 0o640)
            try scratch.write("data/a/deep/two", "two as it was")
            try scratch.write("data/b/three", "three as it was")
            try scratch.write("data/four", "four as it was")
            volume = VolumeStore(path: scratch("data"), others: others)
            content = try CapturedContent(volume)
        }

        func text(_ path: String) throws -> String {
            String(decoding: try TextFile.read(scratch("data/\(path)")), as: UTF8.self)
        }

        func exists(_ path: String) -> Bool { access(scratch("data/\(path)"), F_OK) == 0 }

        /// Everything but these paths: what nobody touched stays the very same.
        func rest(without paths: [String]) throws -> [TreeEntry] {
            try TreeCopy(of: scratch("data")).portable.filter { entry in
                let path = String(decoding: entry.path, as: UTF8.self)
                // The folders a path is in get another time.
                return !paths.contains { $0 == path || path.hasPrefix("\($0)/") || $0.hasPrefix("\(path)/") }
                    && !path.isEmpty
            }
        }

        func leftovers() throws -> [String] { try FileTree.names(in: scratch.path).filter { $0 != "data" } }

        func staged(_ store: PartialVolumeStore, _ id: String = "r1") throws -> StagedState {
            #expect(try store.preflightRestore(content).isEmpty)
            let state = try store.planStaging(id)
            try store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
            return state
        }
    }

    @Test func chosenPathsComeBackAndAllElseStays() throws {
        let bench = try Bench()
        let store = bench.volume.limited(to: ["four", "a/deep"])
        #expect(store.subject.hasPrefix("paths 'a/deep' and 'four' in folder '"))
        let selection = try #require(try store.selection(of: bench.content))
        #expect(selection.files == 2 && selection.bytes == 27)
        #expect(selection.facts.counts["folders"] == 1)
        for path in ["a/one", "a/deep/two", "b/three", "four"] { try bench.scratch.write("data/\(path)", "spoilt") }
        try bench.scratch.write("data/a/deep/new", "new")
        let rest = try bench.rest(without: ["four", "a/deep"])
        let state = try bench.staged(store)
        #expect(try bench.text("four") == "spoilt")
        try store.swap(state)
        try store.swap(state)
        #expect(try bench.text("four") == "four as it was")
        #expect(try bench.text("a/deep/two") == "two as it was")
        #expect(!bench.exists("a/deep/new"))
        #expect(try bench.text("a/one") == "spoilt")
        #expect(try bench.rest(without: ["four", "a/deep"]) == rest)
        #expect(try store.verify(bench.content) == [])
        #expect(try store.asideBytes(state) == 6 + 6 + 3)

        // Back, by a store made anew as in a later process, and once more.
        let later = bench.volume.limited(to: ["a/deep", "four"])
        try later.swapBack(state)
        try later.swapBack(state)
        #expect(try bench.text("a/deep/new") == "new")
        #expect(try bench.text("four") == "spoilt")
        #expect(try bench.rest(without: ["four", "a/deep"]) == rest)
        try later.swap(state)
        try later.discard(state)
        try later.discard(state)
        #expect(try bench.text("four") == "four as it was")
        #expect(try bench.leftovers() == [])
    }

    @Test func aPathWhoseFoldersAreGoneComesBackWithThem() throws {
        let bench = try Bench()
        try TreeRemoval.remove(bench.scratch("data/a"))
        let store = bench.volume.limited(to: ["a/deep/two"])
        let state = try bench.staged(store)
        #expect(!bench.exists("a"))
        try store.swap(state)
        #expect(try bench.text("a/deep/two") == "two as it was")
        #expect(!bench.exists("a/one"))
        var status = stat()
        #expect(lstat(bench.scratch("data/a"), &status) == 0 && status.st_mode & 0o777 == 0o750)
        #expect(try store.verify(bench.content) == [])
        try store.swapBack(state)
        #expect(!bench.exists("a"))
        try store.discard(state)
        #expect(try bench.leftovers() == [])
        // The whole volume may be gone.
        try TreeRemoval.remove(bench.scratch("data"))
        let again = try bench.staged(store, "r2")
        try store.swap(again)
        #expect(try bench.text("a/deep/two") == "two as it was")
        #expect(!bench.exists("b"))
        try store.discard(again)
        #expect(try bench.leftovers() == [])
    }

    @Test func inAVolumeThatIsAMountPointTheyAreStagedInIt() throws {
        let bench = try Bench()
        let data = bench.scratch("data")
        guard geteuid() == 0, mount("none", data, "tmpfs", 0, "size=4m") == 0 else {
            print("not tried: mounting needs root")
            return
        }
        defer { umount(data) }
        for folder in ["data/a", "data/a/deep"] { try bench.scratch.folder(folder, mode: 0o750) }
        try bench.scratch.write("data/a/deep/two", "spoilt")
        #expect(throws: LifeboatError.self) { try bench.volume.preflightRestore(bench.content) }
        let store = bench.volume.limited(to: ["a/deep"])
        let state = try bench.staged(store)
        #expect(try FileTree.names(in: bench.scratch.path) == ["data"])
        try store.swap(state)
        #expect(try bench.text("a/deep/two") == "two as it was")
        // What is staged in a volume is none of its data.
        let captured = try CapturedContent(bench.volume)
        #expect(
            captured.trees.values.allSatisfy { tree in
                tree.entries.allSatisfy { !String(decoding: $0.path, as: UTF8.self).contains("lifeboat") }
            })
        try store.swapBack(state)
        #expect(try bench.text("a/deep/two") == "spoilt")
        try store.swap(state)
        try store.discard(state)
        #expect(try bench.text("a/deep/two") == "two as it was")
        #expect(try FileTree.names(in: data).sorted() == ["a"])
        #expect(try bench.leftovers() == [])
    }

    @Test func ofModelsOnlyPlainFilesComeBackByPath() throws {
        let bench = try Bench()
        let store = ModelsStore(path: bench.scratch("data"), layout: .files).limited(to: ["a/one"])
        #expect(store.kind == "models")
        try bench.scratch.write("data/a/one", "spoilt")
        let files = bench.content.changing(facts: { $0.texts["layout"] = "files" })
        #expect(try restore(store, files, "r1") == [])
        #expect(try bench.text("a/one") == "one as it was")
        let blobs = bench.content.changing(facts: { $0.texts["layout"] = "ollama" })
        #expect(failure { _ = try store.preflightRestore(blobs) }?.exitCode == .usage)
    }

    @Test func ofPathsInsideEachOtherTheOuterOneCounts() throws {
        let bench = try Bench()
        let store = bench.volume.limited(to: ["a/deep/two", "a", "a/deep", "a"])
        #expect(store.subject.hasPrefix("path 'a' in"))
        try bench.scratch.write("data/a/one", "spoilt")
        let state = try bench.staged(store)
        try store.swap(state)
        #expect(try bench.text("a/one") == "one as it was")
        try store.discard(state)
    }

    @Test func whatIsNotInTheSnapshotIsToldWithWhatIsLike() throws {
        let bench = try Bench()
        let missing = failure { _ = try bench.volume.limited(to: ["a/deeep"]).preflightRestore(bench.content) }
        #expect(missing?.exitCode == .usage)
        #expect(missing?.message.hasPrefix("the snapshot holds no path 'a/deeep' of folder '") == true)
        #expect(missing?.hint == "Did you mean 'a/deep'?")
        #expect(missing?.causes == ["it holds 'a/deep', 'a/one'"])
    }

    @Test func aLinkOnTheWayIsNotFollowed() throws {
        let bench = try Bench()
        let store = bench.volume.limited(to: ["a/deep"])
        let state = try bench.staged(store)
        try bench.scratch.folder("outside")
        try bench.scratch.folder("outside/deep")
        #expect(rename(bench.scratch("data/a"), bench.scratch("data/was")) == 0)
        #expect(symlink(bench.scratch("outside"), bench.scratch("data/a")) == 0)
        #expect(failure { try store.swap(state) }?.message.contains("cannot be exchanged") == true)
        #expect(
            failure { _ = try store.preflightRestore(bench.content) }?.causes.first?.contains("is no folder there now")
                == true)
        #expect(try FileTree.names(in: bench.scratch("outside/deep")) == [])
    }

    @Test func aSwapThatFailsHalfWayGoesBack() throws {
        let bench = try Bench()
        let store = bench.volume.limited(to: ["a/one", "b", "four"])
        for path in ["a/one", "b/three", "four"] { try bench.scratch.write("data/\(path)", "spoilt") }
        let state = try bench.staged(store)
        // Somebody replaced it since: nobody knows what that is.
        #expect(rename(bench.scratch("data/four"), bench.scratch("data/moved")) == 0)
        try bench.scratch.write("data/four", "by somebody else")
        #expect(failure { try store.swap(state) }?.message.contains("is not as the restore left it") == true)
        #expect(try bench.text("b/three") == "three as it was")
        #expect(rename(bench.scratch("data/moved"), bench.scratch("data/four")) == 0)
        try store.swapBack(state)
        #expect(try ["a/one", "b/three", "four"].map(bench.text) == ["spoilt", "spoilt", "spoilt"])
        try store.discard(state)
        #expect(try bench.leftovers() == [])
    }

    @Test func whatBelongsToOtherComponentsStaysLive() throws {
        let bench = try Bench(others: ["a/app.db"])
        try bench.scratch.write("data/a/app.db", "live database")
        let store = bench.volume.limited(to: ["a"])
        let state = try bench.staged(store)
        try store.swap(state)
        #expect(try bench.text("a/app.db") == "live database")
        #expect(try store.verify(bench.content) == [])
        try store.swapBack(state)
        #expect(try bench.text("a/app.db") == "live database")
        try store.swap(state)
        try store.discard(state)
        #expect(try bench.text("a/app.db") == "live database")
        let owned = failure { _ = try bench.volume.limited(to: ["a/app.db"]).preflightRestore(bench.content) }
        #expect(owned?.exitCode == .usage, "\(owned?.description ?? "")")
    }

    @Test func losesAreToldButNotWhatServicesDid() throws {
        let bench = try Bench()
        let store = bench.volume.limited(to: ["a", "four"])
        let state = try bench.staged(store)
        try store.swap(state)
        try store.discard(state)
        // Services write, add and remove: times tell.
        try bench.scratch.write("data/a/one", "less")
        #expect(unlink(bench.scratch("data/a/deep/two")) == 0)
        try bench.scratch.write("data/a/more", "more")
        #expect(try store.verify(bench.content) == [])
        // What went without anybody touching its folder was never there.
        let times = try #require(bench.content.trees["files"]?["a/deep"]).modificationTime
        let moment = timespec(tv_sec: Int(times.seconds), tv_nsec: Int(times.nanoseconds))
        #expect(utimensat(AT_FDCWD, bench.scratch("data/a/deep"), [moment, moment], 0) == 0)
        #expect(
            try store.verify(bench.content) == [
                FactDifference(name: "bytes:a", expected: "26", found: "13"),
                FactDifference(name: "files:a", expected: "2", found: "1"),
            ])
        #expect(unlink(bench.scratch("data/four")) == 0)
        #expect(
            try store.verify(bench.content).last == FactDifference(name: "path:four", expected: "there", found: nil))
    }

    /// The contract of every store, over one folder of a volume.
    @Test(arguments: DataStoreContract.all) func contract(contract: DataStoreContract) throws {
        try contract.check(try PartFixture())
    }

    private struct PartFixture: DataStoreFixture {
        let scratch: Scratch

        init() throws {
            scratch = try Scratch()
            for folder in ["data", "data/in", "data/in/part", "data/in/part/sub"] { try scratch.folder(folder) }
            try scratch.write("data/in/part/sub/file", "as it was")
            try scratch.write("data/in/other", "other")
        }

        var store: any DataStore { VolumeStore(path: scratch("data")).limited(to: ["in/part"]) }
        var fixesPoint: Bool { false }

        func contents() throws -> String? {
            guard access(scratch("data/in/part"), F_OK) == 0 else { return nil }
            let tree = try TreeCopy(of: scratch("data/in/part"))
            return tree.portable.map { "\($0)" }.joined() + "\(tree.contents.sorted { "\($0.key)" < "\($1.key)" })"
        }

        func change() throws {
            try scratch.write("data/in/part/\(try TreeCopy(of: scratch("data/in/part")).entries.count)", "new")
        }

        func destroy() throws { try TreeRemoval.remove(scratch("data/in")) }

        func leftovers() throws -> [String] {
            try FileTree.names(in: scratch.path).filter { $0 != "data" }
                .map { scratch($0.hasSuffix(".staged") ? String($0.dropLast(7)) : $0) }
        }
    }
}
