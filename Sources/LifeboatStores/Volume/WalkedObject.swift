// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// The object a walk begins at.
struct WalkedRoot: Sendable {
    /// Its parent folder, or itself when the path has no last name of its own (`/`, `.`, `..`).
    let parent: FolderDescriptor
    /// Its name in `parent`, ended by a NUL.
    let name: [UInt8]
    let status: FileStatus
    /// Open when it is a folder that can be read.
    let folder: FolderDescriptor?
    /// Why it could not be opened.
    let failure: Errno?

    init(_ path: String) throws(SystemCallError) {
        let place = RootPlace(path)
        name = place.name
        let cName = name.map { CChar(bitPattern: $0) }
        do throws(Errno) {
            parent = FolderDescriptor(
                owning: try openDescriptor(AT_FDCWD, place.parent, OpenFlags.path | O_DIRECTORY, mode: 0))
            status = try FileStatus.at(parent.raw, cName)
        } catch {
            throw SystemCallError("open", path, errorNumber: error.number)
        }
        guard status.isFolder else {
            folder = nil
            failure = nil
            return
        }
        do throws(Errno) {
            let opened = try FolderDescriptor.open(parent.raw, cName)
            guard try FileStatus.of(opened.raw).identity == status.identity else { throw Errno(ESTALE) }
            folder = opened
            failure = nil
        } catch {
            folder = nil
            failure = error
        }
    }
}

/// An object of a walk and the way back to it; opens it when it is a regular file.
final class WalkedObject: FileOpener {
    enum Place: Sendable {
        case root(WalkedRoot)
        case folder(TrackedFolder)
    }

    private let place: Place
    let path: [UInt8]
    /// Holds the name, ended by a NUL, at `nameStart`.
    private let name: [UInt8]
    private let nameStart: Int
    /// As the walk found it.
    let status: FileStatus
    private let changes: ChangedFiles?

    /// `changes` gets the path when the file is not what the walk found any more when it is opened.
    init(
        place: Place, path: [UInt8], name: [UInt8], nameStart: Int = 0, status: FileStatus,
        changes: ChangedFiles? = nil
    ) {
        self.changes = changes
        self.place = place
        self.path = path
        self.name = name
        self.nameStart = nameStart
        self.status = status
    }

    /// The path for people.
    var shownPath: String { String(decoding: path.isEmpty ? Array(name.dropLast()) : path, as: UTF8.self) }

    private func folder() throws(Errno) -> FolderDescriptor {
        switch place {
        case .root(let root): root.parent
        case .folder(let folder): try folder.open()
        }
    }

    private func withName<Result>(
        _ body: (UnsafePointer<CChar>) throws(Errno) -> Result
    ) throws(Errno) -> Result {
        try name.withUnsafeBufferPointer { bytes throws(Errno) -> Result in
            // Never empty: every name ends in a NUL.
            try body(UnsafeRawPointer(bytes.baseAddress! + nameStart).assumingMemoryBound(to: CChar.self))
        }
    }

    /// Whether there is something of this name in the same folder.
    func hasSibling(_ name: String) -> Bool {
        guard case .folder = place, let folder = try? folder() else { return false }
        return (try? FileStatus.at(folder.raw, name)) != nil
    }

    /// The first bytes, at most `count`, of the file of this name in the same folder.
    func beginning(ofSibling name: String, _ count: Int) -> [UInt8]? {
        guard case .folder = place, let folder = try? folder(),
            let raw = try? openDescriptor(
                folder.raw, Array(name.utf8).map { CChar(bitPattern: $0) } + [0],
                O_RDONLY | O_NOFOLLOW | O_NONBLOCK, mode: 0)
        else { return nil }
        let file = OwnedDescriptor(owning: raw)
        var bytes = [UInt8](repeating: 0, count: count)
        guard let read = try? bytes.withUnsafeMutableBytes({ try DescriptorIO.read(file.raw, into: $0, name) }) else {
            return nil
        }
        return Array(bytes[..<read])
    }

    func linkTarget() throws(Errno) -> [UInt8] {
        let folder = try folder()
        var capacity = max(256, Int(clamping: min(status.size, 1 << 20)) + 1)
        while true {
            var failure: Int32 = 0
            let target = try withName { name throws(Errno) -> [UInt8] in
                [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
                    let length = buffer.withMemoryRebound(to: CChar.self) {
                        // Never empty: the capacity is at least 256.
                        readlinkat(folder.raw, name, $0.baseAddress!, capacity)
                    }
                    if length < 0 { failure = errno }
                    count = max(0, length)
                }
            }
            if failure != 0 { throw Errno(failure) }
            if target.count < capacity { return target }
            capacity *= 2
        }
    }

    /// Extended attributes, flags of folders, and whether the change facts hold. False: there is nothing of that name any
    /// more.
    func complete(_ entry: inout TreeEntry) -> Bool {
        let now = changeClock()
        do throws(Errno) {
            let folder = try folder()
            let fresh = try withName { name throws(Errno) in try FileStatus.at(folder.raw, name) }
            guard fresh.identity == status.identity, fresh.mode & S_IFMT == status.mode & S_IFMT else {
                throw Errno(ESTALE)
            }
            var updated = TreeEntry(entry.path, fresh)
            updated.linkTarget = entry.linkTarget
            updated.problem = entry.problem
            if !changeFactsHold(fresh, examinedAt: now) { updated.changeFacts = nil }
            entry = updated
            try completeAttributes(&entry, folder)
            return true
        } catch {
            entry.changeFacts = nil
            entry.addProblem(FolderWalk.problem("its attributes cannot be read", error))
            return error.number != ENOENT
        }
    }

    private func completeAttributes(_ entry: inout TreeEntry, _ folder: FolderDescriptor) throws(Errno) {
        if entry.kind == .directory {
            do throws(Errno) {
                let opened = try withName { name throws(Errno) in try FolderDescriptor.open(folder.raw, name) }
                entry.fileFlags = try FileFlags.get(opened.raw)
                entry.setAttributes(try ExtendedAttributes.all(.descriptor(opened.raw)))
                return
            } catch {
                // A folder that may not be read: its attributes may, its flags are not to be had.
                if error.number != EACCES && error.number != EPERM { throw error }
            }
        }
        let attributes = try withName { name throws(Errno) in
            try ExtendedAttributes.all(.named(name, in: folder.raw))
        }
        entry.setAttributes(attributes)
    }

    func open() throws -> any FileContentSource {
        do throws(Errno) {
            let folder = try folder()
            var flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | OpenFlags.noAccessTime
            let descriptor = try withName { name throws(Errno) -> Int32 in
                while true {
                    do throws(Errno) {
                        return try openDescriptor(folder.raw, name, flags, mode: 0)
                    } catch {
                        // Reading without touching the access time is for the owner.
                        guard error.number == EPERM, flags & OpenFlags.noAccessTime != 0 else { throw error }
                        flags &= ~OpenFlags.noAccessTime
                    }
                }
            }
            let file = OwnedDescriptor(owning: descriptor)
            let now = changeClock()
            let opened = try FileStatus.of(file.raw)
            guard opened.isFile, opened.volume == status.volume else { throw Errno(ELOOP) }
            // Other names of the walk's file may have become hard links to this entry.
            if opened.inode != status.inode, status.links > 1 { throw Errno(ELOOP) }
            if !opened.isSame(as: status) { changes?.add(path) }
            return try FileCapture(consume file, opened, examinedAt: now, shownPath)
        } catch {
            switch error.number {
            case ENOENT, ESTALE, ENOTDIR: throw FileTreeError.vanished(path: shownPath)
            case ELOOP, ENXIO: throw FileTreeError.replaced(path: shownPath)
            default:
                throw FileTreeError.unreadable(
                    SystemCallError("open", shownPath, errorNumber: error.number))
            }
        }
    }
}

/// Files that changed between the walk and their opening: each is read as one state, but not of the time of the walk.
/// Thread-safe.
final class ChangedFiles: Sendable {
    private struct State {
        var paths: Set<[UInt8]> = []
        /// Beyond the limit they are only counted.
        var more = 0
    }

    private static let limit = 10_000
    private let state = Monitor(State())

    func add(_ path: [UInt8]) {
        state.withLock { state in
            if state.paths.count < Self.limit {
                state.paths.insert(path)
            } else if !state.paths.contains(path) {
                state.more += 1
            }
        }
    }

    var count: Int { state.withLock { $0.paths.count + $0.more } }

    /// How many of those that are known by name lie below a folder (empty: anywhere).
    func count(below folder: String) -> Int {
        let prefix = folder.isEmpty ? [] : Array(folder.utf8) + [0x2F]
        return state.withLock { state in state.paths.count { $0.starts(with: prefix) } }
    }
}

/// The clock the kernel stamps files with.
func changeClock() -> Timestamp {
    var time = timespec()
    // Cannot fail for this clock and a valid pointer.
    clock_gettime(CLOCK_REALTIME_COARSE, &time)
    return Timestamp(seconds: Int64(time.tv_sec), nanoseconds: Int32(time.tv_nsec))
}

/// Whether any change after the moment `now`, when `status` was found, must leave another change time.
///
/// The kernel stamps with the tick of its clock (at most 10 ms); a file that changed within the last two ticks may
/// change again and keep its stamp. File systems that keep whole seconds, and FAT's two, need as much more.
func changeFactsHold(_ status: FileStatus, examinedAt now: Timestamp) -> Bool {
    let margin = status.changeTime.nanoseconds == 0 ? 2.1 : 0.02
    return now.seconds(since: status.changeTime) > margin
}

extension TreeEntry {
    mutating func addProblem(_ text: String) {
        problem = problem.map { "\($0); \(text)" } ?? text
    }

    mutating func setAttributes(_ attributes: [(name: [UInt8], value: [UInt8])]) {
        extendedAttributes = attributes.map { ExtendedAttribute(name: $0.name, value: $0.value) }
    }
}
