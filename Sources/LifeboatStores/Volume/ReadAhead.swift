// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Up to this many names are examined as one unit of work.
private let segmentLength = 1024

/// One object as its folder's listing and statx(2) found it.
struct WalkedEntry: Sendable {
    /// Where its name begins in the listing's names.
    var nameStart: UInt32
    /// Type from the listing (`DT_REG` …), for objects that cannot be examined.
    var listedType: UInt8
    /// errno of statx; 0 when `status` holds.
    var failure: Int32
    var status: FileStatus
}

/// A run of names of one folder, examined together.
final class WalkSegment: @unchecked Sendable {
    // Sendable: the results are written by the thread that moved the state to running, before it moves it to done,
    // and read by others after that; the state itself changes under the reader's lock.
    let names: Range<Int>
    fileprivate(set) var state = WorkState.waiting
    fileprivate(set) var entries: [WalkedEntry] = []
    /// The folders among the entries that are walked, in their order.
    fileprivate(set) var folders: [WalkListing] = []

    init(_ names: Range<Int>) { self.names = names }

    /// Lets the results go; the walk is past them.
    fileprivate func clear() {
        entries = []
        folders = []
    }
}

enum WorkState { case waiting, running, done }

/// One folder and what is in it.
final class WalkListing: @unchecked Sendable {
    // Sendable: as WalkSegment.
    let folder: TrackedFolder
    fileprivate(set) var state = WorkState.waiting
    fileprivate(set) var names = FolderNames()
    fileprivate(set) var segments: [WalkSegment] = []
    /// Why the folder could not be read, or not to its end.
    fileprivate(set) var failure: Errno?
    fileprivate(set) var isCacheFolder = false
    /// Names of database files with a log beside them.
    fileprivate(set) var databases: Set<[UInt8]> = []

    init(_ folder: TrackedFolder) { self.folder = folder }

    /// Lets the names go; the walk is past them.
    func clear() {
        names = FolderNames()
        segments = []
        databases = []
    }
}

/// What a walk leaves out.
struct WalkRules: Sendable {
    var exclude: ExcludePatterns
    var excludesCaches: Bool
    var staysOnVolume: Bool
    var rootVolume: UInt64
    /// Paths longer than this are not walked into: their lines in the tree would be too long.
    static let longestPath = 1 << 20
}

/// Lists and examines folders ahead of the walk, nearest in tree order first: a stack of work, topmost what the walk
/// reaches next. What the walk needs and nobody has begun, the walk's own thread does.
final class ReadAhead: Sendable {
    private enum Work {
        case list(WalkListing)
        case examine(WalkListing, WalkSegment)
    }

    private struct State {
        var stack: [Work] = []
        /// Entries examined and not yet taken by the walk.
        var pending = 0
        var isClosed = false
    }

    private let state = Monitor(State())
    private let cache: FolderCache
    private let rules: WalkRules
    /// No thread reads further ahead than about this many entries.
    private let limit: Int

    init(cache: FolderCache, rules: WalkRules, limit: Int) {
        self.cache = cache
        self.rules = rules
        self.limit = limit
    }

    /// The body of a reading thread: works until `close`.
    func run() {
        let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
        defer { scratch.deallocate() }
        while let work = take() {
            switch work {
            case .list(let listing): list(listing, scratch)
            case .examine(let listing, let segment): examine(listing, segment)
            }
        }
    }

    func add(_ listing: WalkListing) {
        state.update { $0.stack.append(.list(listing)) }
    }

    func close() {
        state.update { state in
            state.isClosed = true
            state.stack.removeAll()
        }
    }

    /// Returns when the folder is listed.
    func finish(_ listing: WalkListing, _ scratch: UnsafeMutableRawBufferPointer) {
        let isMine = state.wait { _ -> Bool? in
            switch listing.state {
            case .done: return false
            case .running: return nil
            case .waiting:
                listing.state = .running
                return true
            }
        }
        if isMine { list(listing, scratch) }
    }

    /// Returns when the names of the segment are examined.
    func finish(_ segment: WalkSegment, of listing: WalkListing) {
        let isMine = state.wait { _ -> Bool? in
            switch segment.state {
            case .done: return false
            case .running: return nil
            case .waiting:
                segment.state = .running
                return true
            }
        }
        if isMine { examine(listing, segment) }
    }

    /// The walk has taken all entries of a segment.
    func release(_ segment: WalkSegment) {
        segment.clear()
        state.update { $0.pending -= segment.names.count }
    }

    private func take() -> Work? {
        state.wait { state -> Work?? in
            if state.isClosed { return .some(nil) }
            guard state.pending < limit else { return nil }
            while let work = state.stack.popLast() {
                switch work {
                case .list(let listing):
                    guard listing.state == .waiting else { continue }
                    listing.state = .running
                case .examine(_, let segment):
                    guard segment.state == .waiting else { continue }
                    segment.state = .running
                }
                return .some(work)
            }
            return nil
        }
    }

    private func list(_ listing: WalkListing, _ scratch: UnsafeMutableRawBufferPointer) {
        var names = FolderNames()
        var failure: Errno?
        do throws(Errno) {
            let folder = try listing.folder.open()
            names = FolderNames(folder, scratch: scratch)
            failure = names.failure
            if rules.excludesCaches, isCacheFolder(folder, names) {
                listing.isCacheFolder = true
                names.keep { $0.elementsEqual(cacheTag) }
            } else if !rules.exclude.isEmpty {
                names.keep { !rules.exclude.matches(name: $0, in: listing.folder.path) }
            }
        } catch {
            failure = error
        }
        listing.names = names
        listing.failure = failure
        listing.databases = LogGroup.databases(in: names)
        if names.count <= segmentLength {
            // The usual folder is examined at once, by the thread that has it open.
            let segment = WalkSegment(0..<names.count)
            segment.state = .running
            listing.segments = [segment]
            let found = examineNames(listing, segment)
            state.update { state in
                segment.entries = found.entries
                segment.folders = found.folders
                segment.state = .done
                listing.state = .done
                state.pending += segment.names.count
                guard !state.isClosed else { return }
                for folder in found.folders.reversed() { state.stack.append(.list(folder)) }
            }
            return
        }
        let segments = stride(from: 0, to: names.count, by: segmentLength).map { start in
            WalkSegment(start..<min(names.count, start + segmentLength))
        }
        state.update { state in
            listing.segments = segments
            listing.state = .done
            guard !state.isClosed else { return }
            for segment in segments.reversed() { state.stack.append(.examine(listing, segment)) }
        }
    }

    private func examine(_ listing: WalkListing, _ segment: WalkSegment) {
        let found = examineNames(listing, segment)
        state.update { state in
            segment.entries = found.entries
            segment.folders = found.folders
            segment.state = .done
            state.pending += segment.names.count
            guard !state.isClosed else { return }
            for folder in found.folders.reversed() { state.stack.append(.list(folder)) }
        }
    }

    private func examineNames(
        _ listing: WalkListing, _ segment: WalkSegment
    ) -> (entries: [WalkedEntry], folders: [WalkListing]) {
        if segment.names.isEmpty { return ([], []) }
        var entries: [WalkedEntry] = []
        var folders: [WalkListing] = []
        entries.reserveCapacity(segment.names.count)
        let folder: FolderDescriptor
        do throws(Errno) {
            folder = try listing.folder.open()
        } catch {
            for index in segment.names {
                entries.append(
                    WalkedEntry(
                        nameStart: listing.names.starts[index], listedType: listing.names.types[index],
                        failure: error.number, status: FileStatus()))
            }
            return (entries, [])
        }
        listing.names.bytes.withUnsafeBytes { bytes in
            // Not empty: there are names.
            let base = bytes.baseAddress!.assumingMemoryBound(to: CChar.self)
            for index in segment.names {
                let start = listing.names.starts[index]
                var entry = WalkedEntry(
                    nameStart: start, listedType: listing.names.types[index], failure: 0, status: FileStatus())
                do throws(Errno) {
                    entry.status = try FileStatus.at(folder.raw, base + Int(start))
                    if entry.status.isFolder, let child = child(listing, start, entry.status) { folders.append(child) }
                } catch {
                    entry.failure = error.number
                }
                entries.append(entry)
            }
        }
        return (entries, folders)
    }

    /// The listing of a subfolder; nil when it is not walked.
    private func child(_ listing: WalkListing, _ start: UInt32, _ status: FileStatus) -> WalkListing? {
        if !walks(status) { return nil }
        let name = Array(listing.names.name(at: start))
        let path = WalkRules.path(of: name[...], in: listing.folder.path)
        if path.count > WalkRules.longestPath { return nil }
        return WalkListing(
            TrackedFolder(
                parent: listing.folder, path: path, name: name + [0], identity: status.identity, cache: cache))
    }

    /// Whether a folder is on the file system the walk stays on.
    func walks(_ status: FileStatus) -> Bool { !rules.staysOnVolume || status.volume == rules.rootVolume }

    private func isCacheFolder(_ folder: FolderDescriptor, _ names: FolderNames) -> Bool {
        guard names.contains(cacheTag) else { return false }
        let cName = cacheTag.map { CChar(bitPattern: $0) } + [0]
        guard
            let descriptor = try? openDescriptor(folder.raw, cName, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, mode: 0)
        else { return false }
        let file = OwnedDescriptor(owning: descriptor)
        return withUnsafeTemporaryAllocation(byteCount: cacheTagSignature.utf8.count, alignment: 1) { buffer in
            // A tag that cannot be read marks nothing: its folder is kept.
            guard (try? DescriptorIO.read(file.raw, into: buffer, "CACHEDIR.TAG")) == buffer.count else { return false }
            return buffer.elementsEqual(cacheTagSignature.utf8)
        }
    }
}

/// Cache Directory Tagging Specification: this name, a regular file that begins with this signature.
private let cacheTag = Array("CACHEDIR.TAG".utf8)
private let cacheTagSignature = "Signature: 8a477f597d28d172789f06886806bc55"

extension WalkRules {
    /// The path of `name` in the folder of this path.
    static func path(of name: ArraySlice<UInt8>, in folder: [UInt8]) -> [UInt8] {
        if folder.isEmpty { return Array(name) }
        return [UInt8](capacity: folder.count + 1 + name.count) { (path: inout OutputSpan<UInt8>) in
            for byte in folder { path.append(byte) }
            path.append(0x2F)
            for byte in name { path.append(byte) }
        }
    }
}
