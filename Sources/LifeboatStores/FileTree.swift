// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatFormats
package import LifeboatIO

/// A file tree that can be walked and read: the capture side of a volume.
package protocol FileTreeSource: Sendable {
    /// Starts a walk; entries come in `treeOrder`, the root first.
    func walk(_ cancellation: Cancellation) throws -> any FileTreeWalk
}

/// One walk over a tree. Used on one thread; it reads ahead on threads of its own.
package protocol FileTreeWalk: AnyObject {
    /// The next entry with what lstat says (times, owner, size, link target, device), but without extended attributes,
    /// flags, extents or content: unchanged files are never opened. `changeFacts` hold what was found, for comparing
    /// with an earlier tree; before such an entry is kept, `complete` or `FileContentSource.finish` decides whether
    /// they can be trusted. Nil at the end. An object that cannot be examined comes as an item with a `problem`; the
    /// walk goes on.
    func next() throws -> FileTreeItem?
    /// Fills in what `next` left out of everything but regular files: extended attributes, flags, and whether the
    /// change facts can be trusted. Does nothing for regular files (`FileContentSource.finish` does it for them, so
    /// that they are opened once) and for hard links to an earlier entry. What cannot be read becomes the entry's
    /// `problem`.
    func complete(_ item: inout FileTreeItem) throws
    /// Ends the walk's threads. Idempotent.
    func close()
}

/// An entry of a walk.
package struct FileTreeItem: Sendable {
    package var entry: TreeEntry
    /// Opens a regular file for reading; may be called on another thread, while the walk goes on. Nil for everything
    /// else and for hard links to an earlier entry.
    package var opener: (any FileOpener)?
    /// Why what is below or behind this entry is not in the walk, when that is no problem.
    package var note: FileTreeNote?
    /// The walk's own way back to the object, for `complete`.
    package var object: (any AnyObject & Sendable)?
    package init(
        entry: TreeEntry, opener: (any FileOpener)? = nil, note: FileTreeNote? = nil,
        object: (any AnyObject & Sendable)? = nil
    ) {
        self.entry = entry
        self.opener = opener
        self.note = note
        self.object = object
    }
}

package enum FileTreeNote: Sendable, Equatable {
    /// A folder another file system is mounted on; it is kept empty.
    case mountPoint
    /// A folder with a CACHEDIR.TAG; only the tag is kept.
    case cacheFolder
    /// Was there when its folder was listed and gone when it was examined: nothing is known of it but its path, so it
    /// does not belong in the tree. The entry has a `problem`.
    case vanished
}

/// Why a file of a walk cannot be read.
package enum FileTreeError: Error, Equatable, LifeboatErrorConvertible {
    /// Gone since it was examined.
    case vanished(path: String)
    /// Something else is there now: a link, a fifo, or another file where hard links were at stake.
    case replaced(path: String)
    case unreadable(SystemCallError)

    package var lifeboatError: LifeboatError {
        switch self {
        case .vanished(let path): LifeboatError("'\(path)' vanished before it was read")
        case .replaced(let path): LifeboatError("'\(path)' was replaced before it was read")
        case .unreadable(let error): error.lifeboatError
        }
    }
}

/// Opens and reads one regular file found by a walk.
package protocol FileOpener: Sendable {
    /// Opens without following links, checks that it is a regular file. One that was replaced by another regular file
    /// is read as it is now. Throws `FileTreeError`.
    func open() throws -> any FileContentSource
}

/// An open regular file that is being captured.
package protocol FileContentSource: AnyObject {
    /// The next bytes of data; holes are skipped. 0 at the end, which is where the file ended when it was opened: a
    /// file that grows cannot be read for ever. Throws `FileTreeError`.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int
    /// Examines the file again after the last byte and fills in the entry: owner, mode, times, attributes and flags as
    /// they are now; size and extents of what was read, so that the entry fits its content even when the file moved;
    /// change facts when they can be trusted, else nil. Says whether what was read is one consistent state.
    func finish(_ entry: inout TreeEntry) throws -> FileReadOutcome
    func close()
}

package enum FileReadOutcome: Sendable, Equatable {
    case consistent
    /// Size, times or inode moved while it was read: read it again, or report it.
    case changed
}

/// A place a tree is written to: the restore side of a volume. Thread-safe; never leaves its root.
///
/// A folder is created before what is in it, and the first name of a file before its hard links; beyond that any
/// thread may create and write anything in any order.
package protocol FileTreeTarget: Sendable {
    /// Creates the object of this entry (folders with safe temporary permissions); a regular file is returned open,
    /// also an empty one: it is complete after its `finish`. Throws for an entry that would leave the root.
    func create(_ entry: TreeEntry) throws -> (any FileContentTarget)?
    /// After everything below it exists: mode, owner, times of a folder. Called once per folder, deepest first.
    func finishFolder(_ entry: TreeEntry) throws
    /// After everything else: sets what makes objects unchangeable, and makes everything durable.
    func synchronize() throws
    /// What could not be restored though the rest was (owners without root, attributes the file system does not have),
    /// one warning a kind. Complete after `synchronize`.
    func shortfalls() -> [LifeboatError]
    /// Whether its files may have parts of their content already: they are asked before content is fetched.
    var canReuse: Bool { get }
}

extension FileTreeTarget {
    package var canReuse: Bool { false }

    package func shortfalls() -> [LifeboatError] { [] }
}

/// A regular file being written. Letting it go before `finish` removes it.
package protocol FileContentTarget: AnyObject, Sendable {
    /// Writes data at a position of the *content* (extents one after the other); any thread, any order.
    func write(_ bytes: UnsafeRawBufferPointer, atContentOffset offset: UInt64) throws
    /// Whether a piece of the content is there, or was put there from elsewhere on this host, after it was compared with
    /// its digest: then it counts as written. Any thread, any order; throws only when the file cannot be written.
    func reuses(_ digest: Digest, atContentOffset offset: UInt64, length: UInt32) throws -> Bool
    /// Sets size, attributes, mode, owner, times; the file is complete. Throws when content is missing.
    func finish() throws
}

extension FileContentTarget {
    package func reuses(_ digest: Digest, atContentOffset offset: UInt64, length: UInt32) throws -> Bool { false }
}
