// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
package import LifeboatFormats
import LifeboatIO
import Synchronization

/// A path of this machine a tree is extracted to.
///
/// Nothing leaves it: objects are created by single names (never `..`, never with a slash) in folders this target made
/// or found without passing a link, kept open or opened again from the root one component at a time, each proven to be
/// the same folder. A link swapped in at the same time fails the extraction.
package final class FolderTarget: FileTreeTarget {
    let path: String
    private let existing: Existing
    private var allowsExisting: Bool { existing != .refuse }
    /// Holds the root; outside the target.
    private let parent: FolderDescriptor
    private let rootName: [UInt8]
    private let cache = FolderCache()
    /// Folders by path, from their creation until they are finished.
    private let folders = Mutex<[[UInt8]: TrackedFolder]>([:])
    private let root = Mutex<TrackedFolder?>(nil)
    /// Objects whose flags forbid changes: set when all is done.
    private let frozen = Mutex<[(path: [UInt8], kind: TreeEntry.Kind, flags: UInt32)]>([])
    /// Files that are put in place when all else is done.
    private let last: LastFiles?
    /// How files come into being: under temporary names, until they are whole; nil: under their own.
    private let unfinished: UnfinishedFiles?
    private let model: LiveModel?
    private let reused = Atomic<UInt64>(0)
    let missing = ShortfallLog()
    let owner = ProcessOwner()

    /// What becomes of objects that are there already.
    enum Existing: Sendable {
        /// There must be nothing but an empty folder as the root.
        case refuse
        /// Folders are entered, everything else is replaced.
        case replace
        /// As `replace`, but of regular files only the pieces are written that differ.
        case update
    }

    /// The root becomes `path`, whose parent must exist. Unless `allowsExisting`, there must be nothing at `path` but
    /// an empty folder; else folders are entered and everything else is replaced.
    package convenience init(_ path: String, allowsExisting: Bool = false) throws {
        try self.init(path, existing: allowsExisting ? .replace : .refuse)
    }

    /// Like `allowsExisting`, but every file gets its name when it is whole.
    package convenience init(_ path: String, _ unfinished: UnfinishedFiles) throws {
        try self.init(path, existing: .replace, unfinished: unfinished)
    }

    /// `model`: a tree whose files may hold the same content at the same paths; it may change at any time. `last`: files
    /// that come into being under their names only at the end.
    init(
        _ path: String, existing: Existing, model: LiveModel? = nil, last: LastFiles? = nil,
        unfinished: UnfinishedFiles? = nil
    ) throws {
        self.path = path
        self.existing = existing
        self.model = model
        self.last = last
        self.unfinished = unfinished
        let place = RootPlace(path)
        rootName = place.name
        do throws(Errno) {
            parent = FolderDescriptor(
                owning: try openDescriptor(AT_FDCWD, place.parent, OpenFlags.path | O_DIRECTORY, mode: 0))
        } catch {
            throw SystemCallError("open", place.parent, errorNumber: error.number)
        }
    }

    package func create(_ entry: TreeEntry) throws -> (any FileContentTarget)? {
        let (folder, name) = try place(of: entry.path)
        return try describing("create", entry.path) { () throws(Errno) in
            if let hardLink = entry.hardLink {
                try link(hardLink, folder, name)
                return nil
            }
            switch entry.kind {
            case .directory:
                try createFolder(entry, folder, name)
                return nil
            case .file:
                return try createFile(entry, folder, last?.place(entry.path, name) ?? name)
            default:
                try createSpecial(entry, folder, name)
                return nil
            }
        }
    }

    private func createFile(
        _ entry: TreeEntry, _ folder: FolderDescriptor, _ name: [UInt8]
    ) throws(Errno) -> FileWriter {
        if let unfinished { return try createUnfinished(entry, folder, name, unfinished) }
        if existing == .update, let descriptor = try openFile(folder, name) {
            return FileWriter(owning: descriptor, entry, folder: folder, name: name, target: self, origin: .own)
        }
        let descriptor = try replacing(folder, name) { name throws(Errno) in
            try openBeneath(
                folder.raw, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: UInt32(entry.mode & 0o777))
        }
        let origin = model?.origin(of: entry, for: descriptor) ?? .nowhere
        return FileWriter(owning: descriptor, entry, folder: folder, name: name, target: self, origin: origin)
    }

    /// A regular file that is there, with no other name; nil: it has to be made.
    private func openFile(_ folder: FolderDescriptor, _ name: [UInt8]) throws(Errno) -> Int32? {
        let descriptor: Int32
        do throws(Errno) {
            descriptor = try name.withCName { name throws(Errno) in
                try openBeneath(folder.raw, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK, mode: 0)
            }
        } catch {
            if error.number == EPERM, allowChanges(folder, name) {
                return try openFile(folder, name)
            }
            // Whatever it is: it is replaced.
            if [ENOENT, ELOOP, EISDIR, ENXIO, ENODEV, EACCES, EPERM, ETXTBSY].contains(error.number) { return nil }
            throw error
        }
        let file = OwnedDescriptor(owning: descriptor)
        let status = try FileStatus.of(file.raw)
        guard status.isFile, status.links == 1 else { return nil }
        return file.release()
    }

    /// Whether a file was immutable or append-only, and is not any more.
    private func allowChanges(_ folder: FolderDescriptor, _ name: [UInt8]) -> Bool {
        (try? name.withCName { name throws(Errno) in FileFlags.allowChanges(to: name, in: folder.raw) }) ?? false
    }

    package var canReuse: Bool { existing == .update || model != nil || unfinished?.isResumed == true }

    func countReused(_ bytes: UInt64) {
        reused.add(bytes, ordering: .relaxed)
        unfinished?.countKept(bytes)
    }

    /// Bytes of content that were there already.
    var reusedBytes: UInt64 { reused.load(ordering: .relaxed) }

    /// The open folder an object belongs in, and its name there, ended by a NUL.
    private func place(of path: [UInt8]) throws -> (FolderDescriptor, [UInt8]) {
        if path.isEmpty { return (parent, rootName) }
        guard let split = SplitPath(path) else { throw unsafe(path) }
        guard let folder = folders.withLock({ $0[split.parent] }) else {
            throw LifeboatError(
                "refusing to create '\(shown(path))'", causes: ["what it is in is not a folder of this restore"])
        }
        return (try describing("open", split.parent) { () throws(Errno) in try folder.open() }, split.name)
    }

    private func unsafe(_ path: [UInt8]) -> LifeboatError {
        LifeboatError(
            "refusing to create '\(String(decoding: path, as: UTF8.self))'",
            causes: ["the path leads out of the folder or has an impossible name"], exitCode: .damagedRepository)
    }

    private func createFolder(_ entry: TreeEntry, _ folder: FolderDescriptor, _ name: [UInt8]) throws(Errno) {
        let isRoot = entry.path.isEmpty
        var existed = false
        let opened = try name.withCName { name throws(Errno) -> FolderDescriptor in
            if mkdirat(folder.raw, name, 0o700) != 0 {
                guard errno == EEXIST, isRoot || allowsExisting else { throw Errno(errno) }
                existed = true
                let status = try FileStatus.at(folder.raw, name)
                // The root is the user's word: a link there to a folder is followed.
                if !status.isFolder, !isRoot {
                    guard unlinkat(folder.raw, name, 0) == 0, mkdirat(folder.raw, name, 0o700) == 0 else {
                        throw Errno(errno)
                    }
                    existed = false
                }
            }
            if isRoot {
                return FolderDescriptor(owning: try openDescriptor(folder.raw, name, O_RDONLY | O_DIRECTORY, mode: 0))
            }
            return FolderDescriptor(
                owning: try openBeneath(folder.raw, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, mode: 0))
        }
        if existed, existing == .update { FileFlags.allowChanges(opened.raw) }
        if existed, let unfinished, unfinished.isResumed {
            // An earlier run may have finished it already.
            FileFlags.allowChanges(opened.raw)
            _ = fchmod(opened.raw, 0o700)
            try unfinished.removeLeftovers(in: opened)
        }
        if isRoot {
            let isEmpty = existed ? try self.isEmpty(opened) : true
            guard isEmpty || allowsExisting else { throw Errno(ENOTEMPTY) }
            if isEmpty { try prepareRoot(opened) }
        }
        let identity = try FileStatus.of(opened.raw).identity
        let above = isRoot ? nil : folders.withLock { $0[SplitPath(entry.path)?.parent ?? []] }
        let created = TrackedFolder(
            parent: above, path: entry.path, name: name, identity: identity, cache: cache,
            descriptor: isRoot ? opened : nil)
        if isRoot {
            root.withLock { $0 = created }
        } else {
            cache.keep(opened, of: created)
        }
        folders.withLock { $0[entry.path] = created }
    }

    private func isEmpty(_ folder: FolderDescriptor) throws(Errno) -> Bool {
        let names = withUnsafeTemporaryAllocation(byteCount: 32 << 10, alignment: 16) { scratch in
            FolderNames(folder, scratch: scratch)
        }
        if let failure = names.failure { throw failure }
        guard let marker = unfinished?.marker else { return names.count == 0 }
        return names.starts.allSatisfy { names.name(at: $0).elementsEqual(marker) }
    }

    /// A root that is empty: nothing below it inherits a group or an access list from where the target happens to be.
    private func prepareRoot(_ folder: FolderDescriptor) throws(Errno) {
        if fchmod(folder.raw, 0o700) != 0 {
            // Another user's empty folder: what it lets new files inherit is changed file by file.
            if errno == EPERM { return }
            throw Errno(errno)
        }
        for name in ["system.posix_acl_default", "system.posix_acl_access"] {
            do throws(Errno) {
                try ExtendedAttributes.remove(.descriptor(folder.raw), name: Array(name.utf8))
            } catch {
                if error.number != EOPNOTSUPP { throw error }
            }
        }
        owner.learn(try FileStatus.of(folder.raw))
    }

    private func createSpecial(_ entry: TreeEntry, _ folder: FolderDescriptor, _ name: [UInt8]) throws(Errno) {
        let made = try replacing(folder, name) { name throws(Errno) -> Bool in
            let result: Int32
            switch entry.kind {
            case .symbolicLink:
                result = ((entry.linkTarget ?? []) + [0]).withUnsafeBufferPointer { target in
                    // Never empty: ended by a NUL.
                    symlinkat(
                        UnsafeRawPointer(target.baseAddress!).assumingMemoryBound(to: CChar.self), folder.raw, name)
                }
            case .fifo: result = mknodat(folder.raw, name, S_IFIFO | 0o600, 0)
            case .socket: result = mknodat(folder.raw, name, S_IFSOCK | 0o600, 0)
            case .characterDevice, .blockDevice:
                let type = entry.kind == .blockDevice ? S_IFBLK : S_IFCHR
                let device = deviceNumber(major: entry.deviceMajor, minor: entry.deviceMinor)
                result = mknodat(folder.raw, name, type | 0o600, UInt(device))
                if result != 0, errno == EPERM {
                    missing.add(.device, entry.path, EPERM)
                    return false
                }
            case .file, .directory: throw Errno(EINVAL)
            }
            if result != 0 { throw Errno(errno) }
            return true
        }
        if made { try setMetadata(of: entry, .named(name, in: folder), createdMode: nil) }
    }

    /// Does what creates `name`; with `allowsExisting`, takes away what is there (folders not) and does it again.
    private func replacing<Result>(
        _ folder: FolderDescriptor, _ name: [UInt8], _ body: (UnsafePointer<CChar>) throws(Errno) -> Result
    ) throws(Errno) -> Result {
        try name.withCName { name throws(Errno) -> Result in
            do throws(Errno) {
                return try body(name)
            } catch {
                guard error.number == EEXIST, allowsExisting else { throw error }
                if unlinkat(folder.raw, name, 0) != 0 {
                    guard errno == EPERM, FileFlags.allowChanges(to: name, in: folder.raw),
                        unlinkat(folder.raw, name, 0) == 0
                    else { throw Errno(errno) }
                }
                return try body(name)
            }
        }
    }

    private func link(_ first: [UInt8], _ folder: FolderDescriptor, _ name: [UInt8]) throws(Errno) {
        guard let split = SplitPath(first) else { throw Errno(EXDEV) }
        let source = try openExisting(split.parent)
        if unfinished?.isResumed == true, try isLinked(source, split.name, folder, name) { return }
        _ = try replacing(folder, name) { name throws(Errno) in
            try split.name.withCName { first throws(Errno) in
                guard linkat(source.raw, first, folder.raw, name, 0) == 0 else { throw Errno(errno) }
            }
        }
    }

    /// Whether both names are of one object.
    private func isLinked(
        _ folder: FolderDescriptor, _ name: [UInt8], _ other: FolderDescriptor, _ otherName: [UInt8]
    ) throws(Errno) -> Bool {
        let first = try name.withCName { name throws(Errno) in try FileStatus.at(folder.raw, name) }
        let second: FileStatus
        do throws(Errno) {
            second = try otherName.withCName { name throws(Errno) in try FileStatus.at(other.raw, name) }
        } catch {
            guard error.number == ENOENT else { throw error }
            return false
        }
        return first.identity == second.identity
    }

    /// A folder of this target, finished or not, reached without passing a link.
    private func openExisting(_ path: [UInt8]) throws(Errno) -> FolderDescriptor {
        if let folder = folders.withLock({ $0[path] }) { return try folder.open() }
        guard let root = root.withLock({ $0 }) else { throw Errno(ENOENT) }
        var folder = try root.open()
        for component in path.split(separator: 0x2F, omittingEmptySubsequences: false) where !path.isEmpty {
            guard SplitPath.isName(component) else { throw Errno(EXDEV) }
            let above = folder
            folder = try (Array(component) + [0]).withCName { name throws(Errno) in
                FolderDescriptor(
                    owning: try openBeneath(
                        above.raw, name, OpenFlags.path | O_DIRECTORY | O_NOFOLLOW, mode: 0))
            }
        }
        return folder
    }

    package func finishFolder(_ entry: TreeEntry) throws {
        guard entry.kind == .directory, let folder = folders.withLock({ $0[entry.path] }) else {
            throw LifeboatError("'\(shown(entry.path))' is not a folder of this restore")
        }
        try describing("finish", entry.path) { () throws(Errno) in
            try setMetadata(of: entry, .folder(try folder.open()), createdMode: nil)
        }
        _ = folders.withLock { $0.removeValue(forKey: entry.path) }
    }

    func freeze(_ entry: TreeEntry) {
        // One that comes last is not there yet under its name.
        if last != nil, LastFiles.contains(entry.path) { return missing.add(.flags, entry.path, EPERM) }
        frozen.withLock { $0.append((entry.path, entry.kind, entry.fileFlags)) }
    }

    package func synchronize() throws {
        let frozen = frozen.withLock { all in
            let taken = all
            all = []
            return taken
        }
        // Deepest first: in an immutable folder nothing can be changed any more.
        for object in frozen.sorted(by: { treeOrder($1.path, $0.path) }) {
            try describing("set the flags of", object.path) { () throws(Errno) in try setFlags(object) }
        }
        try synchronizeFiles()
    }

    /// Gives the files that come last their names: all else is whole and durable.
    func putLastFiles() throws {
        guard let last, !last.isEmpty else { return }
        try last.finish { path, name, final in
            try self.describing("rename", path) { () throws(Errno) in
                let folder = try self.openExisting(SplitPath(path)?.parent ?? [])
                // The folder was finished before: it keeps its times.
                let time = try FileStatus.of(folder.raw).modificationTime
                try name.withCName { name throws(Errno) in
                    try final.withCName { final throws(Errno) in
                        guard renameat(folder.raw, name, folder.raw, final) == 0 else { throw Errno(errno) }
                    }
                }
                let moment = timespec(tv_sec: Int(time.seconds), tv_nsec: Int(time.nanoseconds))
                guard utimensat(folder.raw, ".", [moment, moment], 0) == 0 else { throw Errno(errno) }
            }
        }
        try synchronizeFiles()
    }

    private func synchronizeFiles() throws {
        let place = root.withLock { $0 }
        try describing("synchronise", []) { () throws(Errno) in
            guard let place else {
                // A single file: its folder's file system. The parent is open for reference only: syncfs wants more.
                let reopened = try ([0x2E, 0] as [UInt8]).withCName { name throws(Errno) in
                    FolderDescriptor(owning: try openDescriptor(parent.raw, name, O_RDONLY | O_DIRECTORY, mode: 0))
                }
                return try synchronizeFileSystem(reopened.raw)
            }
            try synchronizeFileSystem(try place.open().raw)
        }
    }

    private func setFlags(_ object: (path: [UInt8], kind: TreeEntry.Kind, flags: UInt32)) throws(Errno) {
        let isFolder = object.kind == .directory
        let descriptor: Int32
        if object.path.isEmpty {
            let flags = O_RDONLY | O_NONBLOCK | (isFolder ? O_DIRECTORY : O_NOFOLLOW)
            descriptor = try rootName.withCName { name throws(Errno) in
                try openDescriptor(parent.raw, name, flags, mode: 0)
            }
        } else {
            guard let split = SplitPath(object.path) else { throw Errno(EXDEV) }
            let folder = try openExisting(split.parent)
            descriptor = try split.name.withCName { name throws(Errno) in
                try openBeneath(
                    folder.raw, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | (isFolder ? O_DIRECTORY : 0), mode: 0)
            }
        }
        let file = OwnedDescriptor(owning: descriptor)
        do throws(Errno) {
            try FileFlags.set(file.raw, object.flags)
        } catch {
            guard ShortfallLog.isShortfall(error) else { throw error }
            missing.add(.flags, object.path, error.number)
        }
    }

    package func shortfalls() -> [LifeboatError] { missing.warnings }

    /// The path for people, from the target's own.
    func shown(_ path: [UInt8]) -> String {
        path.isEmpty ? self.path : "\(self.path)/\(String(decoding: path, as: UTF8.self))"
    }

    /// Runs `body`; its errno becomes an error with operation and path.
    func describing<Result>(
        _ operation: String, _ path: [UInt8], _ body: () throws(Errno) -> Result
    ) throws(LifeboatError) -> Result {
        do throws(Errno) {
            return try body()
        } catch {
            let failure = SystemCallError(operation, shown(path), errorNumber: error.number).lifeboatError
            if error.number == EEXIST || error.number == ENOTEMPTY {
                throw LifeboatError(
                    failure.message, causes: ["there is something already"],
                    hint: "Choose an empty folder, or allow existing files to be replaced.")
            }
            if error.number == ELOOP || error.number == EXDEV || error.number == ESTALE {
                throw LifeboatError(
                    failure.message,
                    causes: ["a folder on the way was replaced, or the path leads out of the target"])
            }
            throw failure
        }
    }
}

/// Parent path and NUL-ended name of a path below the root; nil unless every component is a possible name.
struct SplitPath {
    let parent: [UInt8]
    let name: [UInt8]

    init?(_ path: [UInt8]) {
        var start = 0
        var last = 0
        for end in 0...path.count where end == path.count || path[end] == 0x2F {
            guard Self.isName(path[start..<end]) else { return nil }
            last = start
            start = end + 1
        }
        parent = last == 0 ? [] : Array(path[..<(last - 1)])
        name = path[last...] + [0]
    }

    /// Whether these bytes can be the name of an object: not empty, no `.`, `..`, slash or NUL.
    static func isName(_ bytes: ArraySlice<UInt8>) -> Bool {
        if bytes.isEmpty || bytes.count <= 2 && bytes.allSatisfy({ $0 == 0x2E }) { return false }
        return !bytes.contains(0) && !bytes.contains(0x2F)
    }
}

extension [UInt8] {
    /// The bytes, which end in a NUL, as a C string.
    func withCName<Result>(
        _ body: (UnsafePointer<CChar>) throws(Errno) -> Result
    ) throws(Errno) -> Result {
        try withUnsafeBufferPointer { bytes throws(Errno) -> Result in
            // Never empty: ends in a NUL.
            try body(UnsafeRawPointer(bytes.baseAddress!).assumingMemoryBound(to: CChar.self))
        }
    }
}
