// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatRepository
import LifeboatRestore
import LifeboatStorage
import LifeboatStores
import LifeboatTesting
import Testing

/// What a restore takes from the live files instead of fetching it, and what it writes over in place.
struct ReuseTests {
    private typealias Host = RoundTripTests.Host
    private typealias Health = RoundTripTests.FolderHealth

    /// Keeps what is told.
    private final class Notes: ProgressSink {
        private let notes = Monitor<[String]>([])
        func report(_ event: ProgressEvent) {
            if case .note(let text) = event { notes.withLock { $0.append(text) } }
        }
        var all: [String] { notes.withLock { $0 } }
    }

    private func withHost(_ body: (Host, Snapshot, _ before: String) throws -> Void) throws {
        let host = try Host()
        defer { try? host.folder.remove() }
        try host.fill("first")
        try FileTree.createFolders("\(host.live)/global")
        try AtomicFile.write("the key", to: "\(host.live)/global/pg_control")
        let before = try host.listing(host.live)
        let snapshot = try host.backUp()
        #expect(chmod("\(host.live)/deep", 0o755) == 0)
        try body(host, snapshot, before)
    }

    /// The large file with one byte changed in its middle, and all else as a day's work leaves it.
    private func disturb(_ host: Host) throws {
        let large = try OwnedDescriptor.open("\(host.live)/deep/deeper/large", O_RDWR)
        #expect(pwrite(large.raw, "\u{1}", 1, 2_500_000) == 1)
        try AtomicFile.write("longer than it was, and quite different", to: "\(host.live)/file-7")
        #expect(unlink("\(host.live)/file-8") == 0)
        try FileTree.createFolders("\(host.live)/new/folder")
        try AtomicFile.write("new", to: "\(host.live)/new/folder/file")
        // A folder where a file was, and a file where a folder was.
        #expect(unlink("\(host.live)/file-10") == 0)
        try FileTree.createFolders("\(host.live)/file-10/below")
        let added = try OwnedDescriptor.open("\(host.live)/file-11", O_RDONLY)
        // Not every file system in memory has them.
        try? ExtendedAttributes.set(.descriptor(added.raw), name: Array("user.added".utf8), value: [1])
    }

    private func inode(_ path: String) throws -> UInt64 { try FileStatus.at(AT_FDCWD, path).inode }

    @Test func stagingTakesWhatIsUnchangedFromTheLiveFiles() throws {
        try withHost { host, snapshot, before in
            try disturb(host)
            let notes = Notes()
            _ = try host.restore(snapshot, Health(), progress: notes)
            #expect(try host.listing(host.live) == before)
            let note = try #require(notes.all.first { $0.contains("were taken from the live data") })
            // All of 5 MB but the one chunk that changed.
            #expect(note.hasPrefix("4."), "\(note)")
            #expect(note.contains("MiB"))
        }
    }

    @Test func liveFilesThatMovedAreNoHelpAndNoHarm() throws {
        try withHost { host, snapshot, before in
            let large = try #require(try SmallFile.contents("\(host.live)/deep/deeper/large"))
            let shifted = [UInt8(ascii: "x")] + large
            try shifted.withUnsafeBytes { _ = try AtomicFile.write([$0], to: "\(host.live)/deep/deeper/large") }
            let notes = Notes()
            _ = try host.restore(snapshot, Health(), progress: notes)
            #expect(try host.listing(host.live) == before)
            #expect(!notes.all.contains { $0.contains("were taken") })
        }
    }

    @Test func inPlaceOnlyWhatDiffersIsWritten() throws {
        try withHost { host, snapshot, before in
            try disturb(host)
            let kept = try inode("\(host.live)/deep/deeper/large")
            let same = try inode("\(host.live)/file-100")
            let notes = Notes()
            let outcome = try host.restore(snapshot, Health(), inPlace: true, progress: notes)
            #expect(try host.listing(host.live) == before)
            #expect(try host.siblings() == ["docs"])
            #expect(try inode("\(host.live)/deep/deeper/large") == kept)
            #expect(try inode("\(host.live)/file-100") == same)
            #expect(notes.all.contains { $0.contains("were right already") && $0.contains("MiB") }, "\(notes.all)")
            #expect(outcome.steps.map(\.id).contains("write-in-place:documents"))
            #expect(!outcome.steps.map(\.id).contains("stage:documents"))
            #expect(try host.journal.records().records == [])
        }
    }

    @Test func aRestoreInPlaceThatFailsHalfWayHasNoKeyFileAndGoesOn() throws {
        try withHost { host, snapshot, before in
            try host.fill("second")
            let packs = try host.repository.store.listAll(prefix: RepositoryLayout.packPrefix)
            let largest = try #require(packs.max { $0.size < $1.size })
            let path = "\(host.folder.path)/repository/\(largest.key.text)"
            let good = try #require(try SmallFile.contents(path, limit: 1 << 28))
            func replace(_ bytes: [UInt8]) throws {
                unlink(path)
                try bytes.withUnsafeBytes { _ = try AtomicFile.write([$0], to: path, mode: 0o444) }
            }
            func write(_ cancellation: Cancellation = Cancellation()) throws {
                try host.store.writeInPlace(
                    host.content(snapshot), StagedState([:]), progress: SilentProgress(), cancellation: cancellation)
            }
            var spoilt = good
            // In the middle are the files, not the listing.
            for position in stride(from: spoilt.count / 3, to: spoilt.count / 2, by: 977) { spoilt[position] ^= 1 }
            try replace(spoilt)
            #expect(throws: LifeboatError.self) { try write() }
            #expect(try SmallFile.contents("\(host.live)/global/pg_control") == nil)
            let cancelled = Cancellation()
            cancelled.cancel()
            #expect(throws: LifeboatError.self) { try write(cancelled) }
            #expect(try SmallFile.contents("\(host.live)/global/pg_control") == nil)
            try replace(good)
            try write()
            #expect(try host.listing(host.live) == before)
            // And once more, with nothing left to do.
            try write()
            #expect(try host.listing(host.live) == before)
        }
    }

    @Test func inPlaceLeavesWhatThePolicyExcludesAndWhatBelongsToOthers() throws {
        let host = try Host()
        defer { try? host.folder.remove() }
        let store = VolumeStore(path: host.live, exclude: ["*.log"], others: ["shop/shop.db"])
        try AtomicFile.write("a", to: "\(host.live)/a")
        let excluding = Host.excluding(host, store)
        let snapshot = try excluding.backUp()
        try FileTree.createFolders("\(host.live)/shop")
        try FileTree.createFolders("\(host.live)/extra")
        for name in ["shop/shop.db", "shop/shop.db-wal", "shop/other", "today.log", "extra/b", "extra/b.log"] {
            try AtomicFile.write(name, to: "\(host.live)/\(name)")
        }
        try store.writeInPlace(
            excluding.content(snapshot), StagedState([:]), progress: SilentProgress(), cancellation: Cancellation())
        func exists(_ name: String) -> Bool { access("\(host.live)/\(name)", F_OK) == 0 }
        #expect(["a", "shop/shop.db", "shop/shop.db-wal", "today.log", "extra/b.log"].allSatisfy(exists))
        #expect(!exists("shop/other") && !exists("extra/b"))
    }

    @Test func everythingIsReadBeforeAnythingIsTouchedWhenAskedFor() throws {
        try withHost { host, snapshot, before in
            try disturb(host)
            let disturbed = try host.listing(host.live)
            let packs = try host.repository.store.listAll(prefix: RepositoryLayout.packPrefix)
            let largest = try #require(packs.max { $0.size < $1.size })
            let path = "\(host.folder.path)/repository/\(largest.key.text)"
            let good = try #require(try SmallFile.contents(path, limit: 1 << 28))
            var spoilt = good
            // In the middle are the files, not the listing.
            for position in stride(from: spoilt.count / 3, to: spoilt.count / 2, by: 977) { spoilt[position] ^= 1 }
            unlink(path)
            try spoilt.withUnsafeBytes { _ = try AtomicFile.write([$0], to: path, mode: 0o444) }
            let notes = Notes()
            let error = try #require(throws: LifeboatError.self) {
                _ = try host.restore(snapshot, Health(), verifiesData: true, progress: notes)
            }
            #expect(error.exitCode == .damagedRepository)
            #expect(notes.all.contains { $0.hasPrefix("verification of the data failed") })
            #expect(try host.listing(host.live) == disturbed)
            unlink(path)
            try good.withUnsafeBytes { _ = try AtomicFile.write([$0], to: path, mode: 0o444) }
            _ = try host.restore(snapshot, Health(), verifiesData: true)
            #expect(try host.listing(host.live) == before)
        }
    }
}

extension RoundTripTests.Host {
    /// The same host with another store of its folder.
    static func excluding(_ host: Self, _ store: VolumeStore) -> Self {
        Self(folder: host.folder, repository: host.repository, store: store)
    }

    private init(folder: TemporaryFolder, repository: Repository, store: VolumeStore) {
        self.folder = folder
        self.repository = repository
        self.store = store
    }
}
