// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

@Suite struct VolumeStoreTests {
    private struct Content: RestoreContent {
        var tree: TreeCopy
        var facts = StoreFacts()
        var failsAfterExtraction = false

        var engineVersion: String? { nil }
        func openStream(_ name: String) throws -> any ByteSource { throw LifeboatError("no stream '\(name)'") }
        func streamSize(_ name: String) -> UInt64? { nil }
        func extractTree(_ name: String, into target: any FileTreeTarget, cancellation: Cancellation) throws {
            #expect(name == "files")
            try tree.extract(into: target)
            if failsAfterExtraction { throw LifeboatError("a chunk is damaged") }
        }
    }

    private func capture(_ store: VolumeStore) throws -> (TreeCopy, StoreFacts) {
        let point = try store.fixPoint(Cancellation())
        defer { point.release() }
        guard case .tree(let name, let source) = try #require(point.parts.first) else {
            throw LifeboatError("not a tree")
        }
        #expect(name == "files")
        return (try TreeCopy(walking: source), try point.facts())
    }

    private func volume(_ scratch: Scratch) throws -> VolumeStore {
        try scratch.folder("data")
        try scratch.folder("data/sub")
        try scratch.write("data/a", "as it was")
        try scratch.write("data/sub/b", "b")
        return VolumeStore(path: scratch("data"))
    }

    private func names(_ scratch: Scratch) throws -> [String] {
        try TreeCopy(of: scratch.path).paths.filter { !$0.isEmpty && !$0.contains("/") }
    }

    @Test func aVolumeIsStagedSwappedVerifiedAndCleanedUp() throws {
        let scratch = try Scratch()
        let store = try volume(scratch)
        let (saved, facts) = try capture(store)
        #expect(facts.counts == ["files": 2, "folders": 2, "links": 0, "specials": 0, "bytes": 10])
        try scratch.write("data/a", "spoilt")
        try scratch.write("data/more", "more")
        let content = Content(tree: saved, facts: facts)
        #expect(try store.preflightRestore(content).isEmpty)
        let state = try store.planStaging("r1")
        try store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
        #expect(try TreeCopy(of: scratch("data"))["more"] != nil)
        for _ in 0..<2 { try store.swap(state) }
        #expect(try TreeCopy(of: scratch("data")).portable == saved.portable)
        #expect(try TreeCopy(of: scratch("data.lifeboat-r1")).content("a") == Array("spoilt".utf8))
        #expect(try store.verify(content).isEmpty)
        for _ in 0..<2 { try store.swapBack(state) }
        #expect(try TreeCopy(of: scratch("data")).content("a") == Array("spoilt".utf8))
        try store.swap(state)
        for _ in 0..<2 { try store.discard(state) }
        #expect(try TreeCopy(of: scratch("data")).contents == saved.contents)
        #expect(try names(scratch) == ["data"])
    }

    @Test func discardingWithoutASwapLeavesTheLiveData() throws {
        let scratch = try Scratch()
        let store = try volume(scratch)
        let (saved, facts) = try capture(store)
        let before = try TreeCopy(of: scratch("data"))
        let state = try store.planStaging("r1")
        try store.swapBack(state)
        try store.stage(
            Content(tree: saved, facts: facts), state, progress: SilentProgress(), cancellation: Cancellation())
        try store.discard(state)
        #expect(try TreeCopy(of: scratch("data")).portable == before.portable)
        #expect(try names(scratch) == ["data"])
    }

    @Test func aFailedStagingIsNotSwappedInAndCanBeRepeated() throws {
        let scratch = try Scratch()
        let store = try volume(scratch)
        let (saved, facts) = try capture(store)
        let state = try store.planStaging("r1")
        var content = Content(tree: saved, facts: facts, failsAfterExtraction: true)
        #expect(throws: LifeboatError.self) {
            try store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
        }
        #expect(throws: LifeboatError.self) { try store.swap(state) }
        try store.swapBack(state)
        content.failsAfterExtraction = false
        try store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
        try store.swap(state)
        try store.discard(state)
        #expect(try names(scratch) == ["data"])
    }

    @Test func aVolumeThatIsGoneComesBack() throws {
        let scratch = try Scratch()
        let store = try volume(scratch)
        let (saved, facts) = try capture(store)
        try TreeRemoval.remove(scratch("data"))
        let content = Content(tree: saved, facts: facts)
        #expect(try store.verify(content).map(\.name) == ["folders"])
        let state = try store.planStaging("r1")
        try store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
        for _ in 0..<2 { try store.swap(state) }
        #expect(try TreeCopy(of: scratch("data")).portable == saved.portable)
        for _ in 0..<2 { try store.swapBack(state) }
        #expect(try names(scratch) == ["data.lifeboat-r1", "data.lifeboat-r1.staged"])
        try store.swap(state)
        try store.discard(state)
        #expect(try names(scratch) == ["data"])
        #expect(try TreeCopy(of: scratch("data")).contents == saved.contents)
    }

    @Test func aVolumeComesBackWhereNotEvenItsFolderIs() throws {
        let scratch = try Scratch()
        let (saved, facts) = try capture(try volume(scratch))
        let content = Content(tree: saved, facts: facts)
        let store = VolumeStore(path: scratch("new/host/data"))
        let warnings = try store.preflightRestore(content)
        #expect(warnings.map(\.message) == ["folder '\(scratch("new/host"))' does not exist: the restore makes it"])
        #expect(try store.stagingRoom(content)?.place == scratch("new/host/data"))
        let state = try store.planStaging("r1")
        #expect(access(scratch("new"), F_OK) != 0)
        try store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
        for _ in 0..<2 { try store.swap(state) }
        for _ in 0..<2 { try store.discard(state) }
        #expect(try TreeCopy(of: scratch("new/host/data")).contents == saved.contents)
        #expect(try store.preflightRestore(content).isEmpty)
        // A link to what is not mounted is not written over.
        symlink(scratch("gone"), scratch("link"))
        for path in ["link", "link/data"] {
            let dangling = #expect(throws: LifeboatError.self) {
                try VolumeStore(path: scratch(path)).preflightRestore(content)
            }
            #expect(dangling?.causes == ["it is a link to something that does not exist"])
        }
    }

    @Test func dataNobodyPlannedForAreNeverRemovedOrExchanged() throws {
        let scratch = try Scratch()
        let store = try volume(scratch)
        let (saved, facts) = try capture(store)
        let content = Content(tree: saved, facts: facts)
        let state = try store.planStaging("r1")
        try store.stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
        // Somebody put another folder in place of the live one, and the live one where the staged one was.
        #expect(rename(scratch("data.lifeboat-r1"), scratch("elsewhere")) == 0)
        #expect(rename(scratch("data"), scratch("data.lifeboat-r1")) == 0)
        try scratch.folder("data")
        #expect(throws: LifeboatError.self) { try store.swap(state) }
        #expect(throws: LifeboatError.self) { try store.swapBack(state) }
        #expect(throws: LifeboatError.self) { try store.discard(state) }
        #expect(try TreeCopy(of: scratch("data.lifeboat-r1")).contents == saved.contents)
        // And a path of a journal that is no sibling of the volume.
        for staged in [scratch("data"), "/", scratch("elsewhere")] {
            var forged = state
            forged.values["staged"] = staged
            #expect(throws: LifeboatError.self) { try store.discard(forged) }
        }
        #expect(throws: LifeboatError.self) { try store.planStaging("../x") }
        #expect(throws: LifeboatError.self) { try store.planStaging("r1") }
    }

    @Test func aLinkToTheVolumeStaysALink() throws {
        let scratch = try Scratch()
        _ = try volume(scratch)
        #expect(symlink("data", scratch("pointer")) == 0)
        let store = VolumeStore(path: scratch("pointer"))
        let (saved, facts) = try capture(store)
        #expect(saved.paths == ["", "a", "sub", "sub/b"])
        let state = try store.planStaging("r1")
        try store.stage(
            Content(tree: saved, facts: facts), state, progress: SilentProgress(), cancellation: Cancellation())
        try store.swap(state)
        try store.discard(state)
        #expect(try names(scratch) == ["data", "pointer"])
    }

    @Test func anEmptyVolumeIsTold() throws {
        let scratch = try Scratch()
        let store = try volume(scratch)
        let (saved, facts) = try capture(store)
        try TreeRemoval.remove(scratch("data/a"))
        #expect(try store.verify(Content(tree: saved, facts: facts)).isEmpty)
        try TreeRemoval.remove(scratch("data/sub"))
        #expect(
            try store.verify(Content(tree: saved, facts: facts))
                == [FactDifference(name: "files", expected: "2", found: "0")])
    }

    @Test func probesTellWhatIsMissing() throws {
        let scratch = try Scratch()
        let store = try volume(scratch)
        #expect(try store.probe() == StoreProbe())
        #expect(throws: SystemCallError.self) { try VolumeStore(path: scratch("missing")).probe() }
        #expect(store.kind == "volume")
        #expect(store.subject == "folder '\(scratch("data"))'")
    }

    @Test func mountPointsAndLackOfSpaceAreFoundBefore() throws {
        let scratch = try Scratch()
        let store = try volume(scratch)
        let (saved, _) = try capture(store)
        let huge = Content(tree: saved, facts: StoreFacts(counts: ["bytes": 1 << 62]))
        #expect(throws: LifeboatError.self) { try store.preflightRestore(huge) }
        try scratch.folder("data/mounted here")
        guard geteuid() == 0, mount("none", scratch("data/mounted here"), "tmpfs", 0, "size=1m") == 0 else {
            print("skipped: mounting needs root")
            return
        }
        try scratch.write("data/mounted here/keep", "keep")
        defer { umount(scratch("data/mounted here")) }
        #expect(throws: LifeboatError.self) { try store.planStaging("r1") }
        #expect(throws: LifeboatError.self) {
            try VolumeStore(path: scratch("data/mounted here")).preflightRestore(Content(tree: saved))
        }
        // Removal does not enter a mount point.
        #expect(throws: SystemCallError.self) { try TreeRemoval.remove(scratch("data")) }
        #expect(try TreeCopy(of: scratch("data/mounted here")).content("keep") == Array("keep".utf8))
    }

    @Test func removalTakesAnyDepthAndFollowsNoLink() throws {
        let scratch = try Scratch()
        try scratch.folder("outside")
        try scratch.write("outside/file", "x")
        try scratch.folder("tree")
        var folder = open(scratch("tree"), O_RDONLY | O_DIRECTORY)
        for level in 0..<700 {
            #expect(mkdirat(folder, "folder", 0o755) == 0)
            #expect(symlinkat(scratch("outside"), folder, "link") == 0)
            if level % 100 == 0 { close(openat(folder, "file", O_CREAT | O_WRONLY, 0o600)) }
            let next = openat(folder, "folder", O_RDONLY | O_DIRECTORY)
            close(folder)
            folder = next
        }
        close(folder)
        try TreeRemoval.remove(scratch("tree"))
        try TreeRemoval.remove(scratch("tree"))
        #expect(try names(scratch) == ["outside"])
        #expect(try TreeCopy(of: scratch("outside")).paths == ["", "file"])
    }
}
