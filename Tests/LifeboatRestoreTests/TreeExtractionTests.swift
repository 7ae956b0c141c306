// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatRestore
import LifeboatStores
import LifeboatTesting
import Testing

struct TreeExtractionTests {
    private func path(_ text: String) -> [UInt8] { Array(text.utf8) }

    private func entry(_ path: String, _ kind: TreeEntry.Kind, size: Int = 0) -> TreeEntry {
        var entry = TreeEntry(
            path: self.path(path), kind: kind, mode: kind == .directory ? 0o755 : 0o644, userID: 1000, groupID: 1000,
            modificationTime: Timestamp(seconds: 1_600_000_000, nanoseconds: 5))
        entry.size = UInt64(size)
        return entry
    }

    private func noise(_ count: Int, seed: UInt64) -> [UInt8] {
        var random = SplitMix64(seed: seed)
        return [UInt8](unsafeUninitializedCapacity: count + 8) { buffer, initialized in
            let bytes = UnsafeMutableRawBufferPointer(buffer)
            for start in stride(from: 0, to: count, by: 8) {
                bytes.storeBytes(of: random.next(), toByteOffset: start, as: UInt64.self)
            }
            initialized = count
        }
    }

    /// A tree with some of everything: `files` small files over several folders, a medium and two large ones, links.
    private func someTree(files: Int = 300) throws -> (StoredTree, [[UInt8]: [UInt8]]) {
        var entries = [entry("", .directory)]
        var contents: [[UInt8]: [UInt8]] = [:]
        func add(_ name: String, _ bytes: [UInt8]) {
            entries.append(entry(name, .file, size: bytes.count))
            contents[path(name)] = bytes
        }
        for number in 0..<files {
            let folder = "d\(number / 20)"
            for name in [folder, "\(folder)/deep"] where !entries.contains(where: { $0.path == path(name) }) {
                entries.append(entry(name, .directory))
            }
            add("\(folder)/f\(number)", noise(number * 13 % 3000, seed: UInt64(number)))
        }
        entries.append(entry("empty", .directory))
        add("large", noise(9 << 20, seed: 1))
        add("larger", noise(5 << 20, seed: 2))
        add("medium", noise(1 << 20, seed: 3))
        add("nothing", [])
        var link = entry("symlink", .symbolicLink)
        link.linkTarget = path("d0/f1")
        entries.append(link)
        entries.append(entry("pipe", .fifo))
        for number in 0..<5 {
            var hard = entry("x\(number)", .file, size: 9 << 20)
            hard.hardLink = path("large")
            entries.append(hard)
        }
        entries.sort { treeOrder($0.path, $1.path) }
        return (try StoredTree(entries, contents: contents), contents)
    }

    private func extract(
        _ stored: StoredTree, into target: MemoryTree, selection: PathSelection = .everything,
        cancellation: Cancellation = Cancellation(), threads: Int = 3
    ) throws -> ExtractionReport {
        var options = TreeExtraction.Options(threads: threads)
        options.selection = selection
        let extraction = TreeExtraction(
            try stored.reader(), options: options,
            counters: RestoreCounters(SilentProgress(), filesTotal: nil, bytesTotal: nil), cancellation: cancellation)
        return try extraction.extract(stored.tree, into: target) { RestorePath.shown($0, in: "/srv") }
    }

    @Test func everyObjectOfATreeComesBack() throws {
        let (stored, contents) = try someTree()
        defer { try? stored.remove() }
        let target = MemoryTree()
        let report = try extract(stored, into: target)
        let objects = target.objects
        #expect(target.violations == [])
        #expect(target.isSynchronized)
        #expect(objects.count == stored.entries.count)
        for entry in stored.entries {
            let object = try #require(objects[entry.path])
            #expect(object.entry == entry)
            #expect(object.isFinished)
            #expect(object.bytes == contents[entry.hardLink ?? entry.path] ?? [])
        }
        #expect(report.problems == [])
        #expect(report.exitCode == .done)
        #expect(report.files == UInt64(contents.count))
        #expect(report.folders == UInt64(stored.entries.count { $0.kind == .directory }))
        #expect(report.links == 6)
        #expect(report.specials == 1)
        #expect(report.bytes == UInt64(contents.values.reduce(0) { $0 + $1.count }))
    }

    @Test func moreHardLinksThanAreHeldAtOnce() throws {
        var entries = [entry("", .directory), entry("a", .file, size: 3)]
        for number in 0..<5000 {
            var link = entry("l\(pad(number, 5))", .file, size: 3)
            link.hardLink = path("a")
            entries.append(link)
        }
        let stored = try StoredTree(entries, contents: [path("a"): [1, 2, 3]])
        defer { try? stored.remove() }
        let target = MemoryTree()
        let report = try extract(stored, into: target)
        #expect(target.violations == [])
        #expect(report.links == 5000)
        #expect(target.objects[path("l04999")]?.bytes == [1, 2, 3])
    }

    @Test func aSelectionBringsItsFoldersAndTellsOfLinksToWhatWasNotChosen() throws {
        let (stored, contents) = try someTree()
        defer { try? stored.remove() }
        let target = MemoryTree()
        let selection = PathSelection([path("d3/f61"), path("empty"), path("x1")])
        let report = try extract(stored, into: target, selection: selection)
        #expect(Set(target.objects.keys) == [[], path("d3"), path("d3/f61"), path("empty")])
        #expect(target.objects[path("d3/f61")]?.bytes == contents[path("d3/f61")])
        #expect(report.problems.map(\.path) == [path("x1")])
        #expect(report.problems.first?.error.causes == ["it is a hard link to '/srv/large', which was not chosen"])
        #expect(report.exitCode == .incomplete)
    }

    @Test func aMissingPackCostsTheFilesInItAndNoOther() throws {
        let (stored, contents) = try someTree()
        defer { try? stored.remove() }
        let reader = try stored.reader()
        let listing = try #require(try reader.indexSet.locations(of: stored.tree.id).first?.pack.hex)
        let victim = try #require(try stored.packPaths().first { !$0.contains(listing) })
        try expectLosses(stored, contents, after: { unlink(victim) == 0 })
    }

    @Test func aFlippedByteCostsTheFilesInItsFrameAndNoOther() throws {
        let (stored, contents) = try someTree(files: 60)
        defer { try? stored.remove() }
        let content = try #require(stored.entries.first { $0.path == path("d1/f25") }?.content)
        let location = try #require(try stored.reader().indexSet.locations(of: content.id).first)
        let pack = try #require(try stored.packPaths().first { $0.contains(location.pack.hex) })
        try flip(pack, at: UInt64(location.frameOffset) + UInt64(location.frameLength) / 2)
        let report = try expectLosses(stored, contents, after: { true })
        // Small files share a frame; in one that did not shrink a byte belongs to a single file.
        #expect((1..<60).contains(report.count(.damaged)))
    }

    @Test func aLargeFileWithALossIsNotRestoredAndTheLossIsTold() throws {
        let bytes = noise(6 << 20, seed: 9)
        let stored = try StoredTree(
            [entry("", .directory), entry("large", .file, size: bytes.count)], contents: [path("large"): bytes])
        defer { try? stored.remove() }
        let content = try #require(stored.entries[1].content)
        let reader = try stored.reader()
        let chunks = try ChunkSequence(reader, content)
        var third: (id: Digest, offset: UInt64, length: UInt32)?
        for _ in 0..<3 { third = try chunks.next() }
        let lost = try #require(third)
        let location = try #require(try reader.indexSet.locations(of: lost.id).first)
        let pack = try #require(try stored.packPaths().first { $0.contains(location.pack.hex) })
        try flip(pack, at: UInt64(location.frameOffset) + UInt64(location.frameLength) / 2)
        let target = MemoryTree()
        let report = try extract(stored, into: target)
        #expect(report.exitCode == .damagedRepository)
        let problem = try #require(report.problems.first)
        let range = "\(lost.offset)..<\(lost.offset + UInt64(lost.length))"
        #expect(problem.error.causes.first == "lost ranges: \(range)")
        #expect(problem.error.message.contains("/srv/large"))
        #expect(target.objects[path("large")] == nil)
        #expect(target.violations == [])
        #expect(report.bytes == 0)
    }

    @Test func aDamagedListingRestoresWhatComesBeforeTheDamage() throws {
        var entries = [entry("", .directory)]
        for number in 0..<3000 { entries.append(entry("folder-\(pad(number, 5))", .directory)) }
        let stored = try StoredTree(entries, contents: [:])
        defer { try? stored.remove() }
        let reader = try stored.reader()
        let chunks = try ChunkSequence(reader, stored.tree)
        var last: Digest?
        while let chunk = try chunks.next() { last = chunk.id }
        let lost = try #require(last)
        let location = try #require(try reader.indexSet.locations(of: lost).first)
        let pack = try #require(try stored.packPaths().first { $0.contains(location.pack.hex) })
        // The mark of the frame: no byte of a tar header, which no chunk needs.
        try flip(pack, at: UInt64(location.frameOffset))
        let target = MemoryTree()
        let report = try extract(stored, into: target)
        #expect(report.exitCode == .damagedRepository)
        #expect(report.problems.count == 1)
        #expect(target.objects.count < entries.count)
        #expect(target.violations == [])
    }

    @Test func whatTheSnapshotLacksIsTold() throws {
        var unread = entry("a", .file, size: 10)
        unread.problem = "permission denied (EACCES)"
        var changed = entry("b", .file, size: 3)
        changed.problem = "changed while it was read"
        let stored = try StoredTree([entry("", .directory), unread, changed], contents: [path("b"): [1, 2, 3]])
        defer { try? stored.remove() }
        let target = MemoryTree()
        let report = try extract(stored, into: target)
        #expect(report.problems.map(\.kind) == [.notInSnapshot, .unsure])
        #expect(
            report.problems.map { $0.error.causes }
                == [[unread.problem], [changed.problem]].map { $0.compactMap(\.self) })
        #expect(target.objects[path("a")] == nil)
        #expect(target.objects[path("b")]?.bytes == [1, 2, 3])
        #expect(report.exitCode == .incomplete)
    }

    @Test func aRefusedFolderTakesWhatIsBelowItAndNothingElse() throws {
        let (stored, _) = try someTree(files: 60)
        defer { try? stored.remove() }
        let refused = path("d1")
        let target = MemoryTree(refusal: { $0 == refused ? LifeboatError("no") : nil })
        let report = try extract(stored, into: target)
        let below = stored.entries.count { PathSelection.isBelow($0.path, refused) }
        #expect(report.count(.notWritten) == UInt64(below + 1))
        #expect(target.objects.count == stored.entries.count - below - 1)
        #expect(target.violations == [])
    }

    @Test func aFullDiskEndsTheExtraction() throws {
        let (stored, _) = try someTree(files: 100)
        defer { try? stored.remove() }
        for victim in ["d2/f50", "large", "d4"] {
            let full = path(victim)
            let target = MemoryTree(refusal: {
                $0 == full ? SystemCallError("write to", "x", errorNumber: ENOSPC) : nil
            })
            let error = try #require(throws: SystemCallError.self) { _ = try extract(stored, into: target) }
            #expect(error.errorNumber == ENOSPC)
            #expect(!target.isSynchronized)
        }
    }

    @Test func cancellationEndsTheExtraction() throws {
        let (stored, _) = try someTree(files: 100)
        defer { try? stored.remove() }
        let cancellation = Cancellation()
        let trigger = path("d2/f50")
        let target = MemoryTree(onCreate: { if $0 == trigger { cancellation.cancel() } })
        let error = try #require(throws: LifeboatError.self) {
            _ = try extract(stored, into: target, cancellation: cancellation)
        }
        #expect(error == .interrupted)
        #expect(target.objects.count < stored.entries.count)
    }

    @discardableResult
    private func expectLosses(
        _ stored: StoredTree, _ contents: [[UInt8]: [UInt8]], after damage: () throws -> Bool
    ) throws -> ExtractionReport {
        #expect(try damage())
        let target = MemoryTree()
        let report = try extract(stored, into: target)
        #expect(report.exitCode == .damagedRepository)
        #expect(target.violations == [])
        let damaged = Set(report.problems.map(\.path))
        #expect(!damaged.isEmpty)
        let objects = target.objects
        for entry in stored.entries where !damaged.contains(entry.path) {
            if let first = entry.hardLink, damaged.contains(first) { continue }
            let object = try #require(objects[entry.path])
            #expect(object.bytes == contents[entry.hardLink ?? entry.path] ?? [])
        }
        return report
    }

    private func flip(_ path: String, at offset: UInt64) throws {
        #expect(chmod(path, 0o600) == 0)
        let file = try OwnedDescriptor.open(path, O_RDWR)
        var byte: UInt8 = 0
        #expect(pread(file.raw, &byte, 1, off_t(offset)) == 1)
        byte ^= 0x10
        #expect(pwrite(file.raw, &byte, 1, off_t(offset)) == 1)
    }
}
