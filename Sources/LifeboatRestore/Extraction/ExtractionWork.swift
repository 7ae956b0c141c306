// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatStores
import Synchronization

/// What the thread that reads the tree hands to those that create files.
enum ExtractionWork: Sendable {
    /// Consecutive small files and other objects: neighbours in the tree share frames, and often a folder.
    case entries([ExtractionEntry])
    /// Some consecutive chunks of a large file.
    case chunks(LargeFile, [ChunkPlace])
}

/// An entry with the folder it is in, which it keeps unfinished.
struct ExtractionEntry: Sendable {
    var entry: TreeEntry
    var folder: FolderNode?
}

/// A chunk and where it goes in the content of its file.
struct ChunkPlace: Sendable {
    var id: Digest
    var offset: UInt64
    var length: UInt32
}

/// A created folder that is finished (mode, owner, times) when everything below it exists.
///
/// Counts what is outstanding below it, plus one while the tree's reader is still inside; each of its subfolders counts
/// as one until it is finished itself, so that folders are finished deepest first.
final class FolderNode: Sendable {
    let entry: TreeEntry
    let parent: FolderNode?
    private let outstanding = Atomic<Int>(1)

    init(_ entry: TreeEntry, in parent: FolderNode?) {
        self.entry = entry
        self.parent = parent
        parent?.retain()
    }

    func retain() { outstanding.add(1, ordering: .relaxed) }

    /// True when this was the last: the caller finishes the folder, then releases its parent.
    func release() -> Bool { outstanding.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 }
}

/// A large file that several threads fill; the last one finishes it.
final class LargeFile: Sendable {
    let entry: TreeEntry
    let folder: FolderNode?
    private let target: Mutex<(any FileContentTarget)?>
    private let outstanding = Atomic<Int>(1)
    private let damage = Mutex(FileDamage())

    init(_ entry: TreeEntry, _ target: any FileContentTarget, in folder: FolderNode?) {
        self.entry = entry
        self.folder = folder
        self.target = Mutex(target)
    }

    /// The open file; nil once it was taken.
    var open: (any FileContentTarget)? { target.withLock { $0 } }

    /// Hands the file over, to be finished, or let go before its folder is finished.
    func take() -> (any FileContentTarget)? { target.withLock { $0.take() } }

    func retain() { outstanding.add(1, ordering: .relaxed) }

    /// True when this was the last run of chunks.
    func release() -> Bool { outstanding.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 }

    func addDamage(at offset: UInt64, length: UInt64, _ error: any Error) {
        damage.withLock { $0.add(at: offset, length: length, error) }
    }

    func addWriteFailure(_ error: any Error) {
        damage.withLock { if $0.writeFailure == nil { $0.writeFailure = error } }
    }

    var losses: FileDamage { damage.withLock { $0 } }
}

/// What of one file could not be restored.
struct FileDamage: Sendable {
    /// Ranges of the content, at most `namedRanges`.
    private(set) var ranges: [Range<UInt64>] = []
    private(set) var bytes: UInt64 = 0
    private(set) var reasons: [String] = []
    private(set) var hint: String?
    /// Everything that is lost was written for other readers than the key that was given.
    private(set) var isForOtherReaders = true
    var writeFailure: (any Error)?

    private static let namedRanges = 16
    private static let namedReasons = 4

    var isEmpty: Bool { reasons.isEmpty && writeFailure == nil }

    mutating func add(at offset: UInt64, length: UInt64, _ error: any Error) {
        bytes += length
        let (end, overflow) = offset.addingReportingOverflow(length)
        if !overflow, ranges.count < Self.namedRanges { ranges.append(offset..<end) }
        let told = LifeboatError.converting(error)
        let reason = ([told.message] + told.causes).joined(separator: ": ")
        if reasons.count < Self.namedReasons, !reasons.contains(reason) { reasons.append(reason) }
        if hint == nil { hint = told.hint }
        if told.exitCode != .wrongKey { isForOtherReaders = false }
    }

    func error(path: String) -> LifeboatError {
        let named = ranges.sorted { $0.lowerBound < $1.lowerBound }.map { "\($0.lowerBound)..<\($0.upperBound)" }
        return LifeboatError(
            "file '\(path)' cannot be restored: \(bytes) bytes of it are lost",
            causes: ["lost ranges: \(named.joined(separator: ", "))"] + reasons, hint: hint,
            exitCode: isForOtherReaders ? .wrongKey : .damagedRepository)
    }
}
