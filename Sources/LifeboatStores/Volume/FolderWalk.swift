// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// The walk of a `FolderSource`.
final class FolderWalk: FileTreeWalk {
    /// A folder on the way from the root to where the walk is.
    private struct Frame {
        let listing: WalkListing
        var segment = 0
        var entry = 0
        /// Subfolders of the segment that were entered.
        var folders = 0
        /// Database files of this folder the walk has met, by name.
        var groups: [[UInt8]: LogGroup] = [:]
    }

    private let root: WalkedRoot
    private let reader: ReadAhead
    private let cancellation: Cancellation
    private var threads: [BlockingThread<Void>] = []
    private let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
    private var frames: [Frame] = []
    private var rootListing: WalkListing?
    private var isStarted = false
    private var isClosed = false
    private let firstNames = FirstNames()

    private let changes: ChangedFiles?

    init(
        _ path: String, _ options: FolderSource.Options, _ cancellation: Cancellation, changes: ChangedFiles? = nil
    ) throws {
        self.changes = changes
        let root = try WalkedRoot(path)
        self.root = root
        self.cancellation = cancellation
        let cache = FolderCache()
        let reader = ReadAhead(
            cache: cache,
            rules: WalkRules(
                exclude: options.exclude, excludesCaches: options.excludesCaches,
                staysOnVolume: options.staysOnVolume, rootVolume: root.status.volume),
            limit: max(1, options.readAhead))
        self.reader = reader
        guard root.status.isFolder else { return }
        let listing = WalkListing(
            TrackedFolder(
                parent: nil, path: [], name: root.name, identity: root.status.identity, cache: cache,
                descriptor: root.folder))
        rootListing = listing
        if root.folder != nil {
            reader.add(listing)
            for index in 0..<max(0, options.threads) {
                threads.append(BlockingThread(name: "walk-\(index)") { reader.run() })
            }
        }
    }

    deinit {
        close()
        scratch.deallocate()
    }

    func close() {
        if isClosed { return }
        isClosed = true
        reader.close()
        for thread in threads { _ = try? thread.join() }  // `run` throws nothing
        threads = []
        frames = []
    }

    func next() throws -> FileTreeItem? {
        try cancellation.check()
        if isClosed { return nil }
        if !isStarted {
            isStarted = true
            return try rootItem()
        }
        while let top = frames.indices.last {
            let listing = frames[top].listing
            guard frames[top].segment < listing.segments.count else {
                frames.removeLast()
                listing.clear()
                continue
            }
            let segment = listing.segments[frames[top].segment]
            if frames[top].entry == 0 { reader.finish(segment, of: listing) }
            let index = frames[top].entry
            guard index < segment.entries.count else {
                reader.release(segment)
                frames[top].segment += 1
                frames[top].entry = 0
                frames[top].folders = 0
                continue
            }
            frames[top].entry += 1
            return try item(segment.entries[index], listing, segment, top)
        }
        return nil
    }

    private func rootItem() throws -> FileTreeItem {
        let object = WalkedObject(place: .root(root), path: [], name: root.name, status: root.status)
        guard let rootListing else {
            return try item(of: root.status, path: [], object: object)
        }
        var entry = TreeEntry([], root.status)
        if root.folder == nil {
            entry.problem = Self.problem("the folder cannot be read", root.failure)
        } else {
            enter(rootListing, &entry)
        }
        var item = FileTreeItem(entry: entry, object: object)
        if rootListing.isCacheFolder { item.note = .cacheFolder }
        return item
    }

    /// Waits for the listing of a folder, notes what failed, and goes on inside it.
    private func enter(_ listing: WalkListing, _ entry: inout TreeEntry) {
        reader.finish(listing, scratch)
        if let failure = listing.failure {
            entry.problem = Self.problem("the folder cannot be read", failure)
        }
        frames.append(Frame(listing: listing))
    }

    private func item(
        _ found: WalkedEntry, _ listing: WalkListing, _ segment: WalkSegment, _ frame: Int
    ) throws -> FileTreeItem {
        let name = listing.names.name(at: found.nameStart)
        let path = WalkRules.path(of: name, in: listing.folder.path)
        if found.failure != 0 { return unexamined(found, path) }
        let status = found.status
        let object = WalkedObject(
            place: .folder(listing.folder), path: path, name: listing.names.bytes, nameStart: Int(found.nameStart),
            status: status, changes: changes)
        guard status.isFolder else {
            var item = try item(of: status, path: path, object: object)
            if !listing.databases.isEmpty { readTogether(&item, object, Array(name), listing, frame) }
            return item
        }
        var item = FileTreeItem(entry: TreeEntry(path, status), object: object)
        if !reader.walks(status) {
            item.note = .mountPoint
        } else if path.count > WalkRules.longestPath {
            item.entry.problem = "the path is too long: what is below it is not saved"
        } else {
            let child = segment.folders[frames[frame].folders]
            frames[frame].folders += 1
            enter(child, &item.entry)
            if child.isCacheFolder { item.note = .cacheFolder }
            if child.failure?.number == ENOENT { item.note = .vanished }
        }
        return item
    }

    /// A database file with logs, or a log of one the walk has met, is opened together with the others.
    private func readTogether(
        _ item: inout FileTreeItem, _ object: WalkedObject, _ name: [UInt8], _ listing: WalkListing, _ frame: Int
    ) {
        guard item.opener != nil else { return }
        if listing.databases.contains(name) {
            let group = LogGroup(listing.folder, database: name, walked: object.status)
            frames[frame].groups[name] = group
            item.opener = DatabaseOpener(object: object, group: group)
        } else if let base = LogGroup.base(of: name[...]), let group = frames[frame].groups[Array(base)] {
            item.opener = LogOpener(object: object, group: group, name: name)
            // Never taken from an earlier snapshot: it has to be of the same state as its database file.
            item.entry.changeFacts = nil
        }
    }

    /// Everything but folders.
    private func item(of status: FileStatus, path: [UInt8], object: WalkedObject) throws -> FileTreeItem {
        var item = FileTreeItem(entry: TreeEntry(path, status), object: object)
        if item.entry.kind == .symbolicLink {
            do throws(Errno) {
                item.entry.linkTarget = try object.linkTarget()
            } catch {
                item.entry.linkTarget = []
                item.entry.problem = Self.problem("the link cannot be read", error)
                if error.number == ENOENT || error.number == EINVAL { item.note = .vanished }
            }
        }
        if status.links > 1, let first = try firstNames.firstName(status, path) {
            item.entry.hardLink = first
            return item
        }
        if status.isFile { item.opener = object }
        return item
    }

    private func unexamined(_ found: WalkedEntry, _ path: [UInt8]) -> FileTreeItem {
        let kind: TreeEntry.Kind =
            switch Int(found.listedType) {
            case DT_DIR: .directory
            case DT_FIFO: .fifo
            case DT_SOCK: .socket
            default: .file
            }
        var entry = TreeEntry(
            path: path, kind: kind, mode: 0, userID: 0, groupID: 0, modificationTime: Timestamp(seconds: 0))
        if found.failure == ENOENT {
            entry.problem = "it vanished while its folder was read"
            return FileTreeItem(entry: entry, note: .vanished)
        }
        entry.problem = Self.problem("it cannot be examined", Errno(found.failure))
        return FileTreeItem(entry: entry)
    }

    func complete(_ item: inout FileTreeItem) throws {
        // An item of another walk, or one that could not be examined, has nothing to be completed with.
        guard let object = item.object as? WalkedObject else { return }
        if item.entry.kind == .file || item.entry.hardLink != nil { return }
        if !object.complete(&item.entry) { item.note = .vanished }
    }

    static func problem(_ what: String, _ error: Errno?) -> String {
        guard let error else { return what }
        return "\(what): \(SystemCallError.describe(error.number))"
    }
}

extension TreeEntry {
    /// What lstat says, change facts untested.
    init(_ path: [UInt8], _ status: FileStatus) {
        let kind: Kind =
            switch status.mode & S_IFMT {
            case S_IFDIR: .directory
            case S_IFLNK: .symbolicLink
            case S_IFIFO: .fifo
            case S_IFSOCK: .socket
            case S_IFCHR: .characterDevice
            case S_IFBLK: .blockDevice
            default: .file
            }
        self.init(
            path: path, kind: kind, mode: UInt16(status.mode & 0o7777), userID: status.userID,
            groupID: status.groupID, modificationTime: status.modificationTime)
        if kind == .file { size = status.size }
        if kind == .characterDevice || kind == .blockDevice {
            deviceMajor = status.deviceMajor
            deviceMinor = status.deviceMinor
        }
        changeFacts = ChangeFacts(inode: status.inode, changeTime: status.changeTime)
    }
}
