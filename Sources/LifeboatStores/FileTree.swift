// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatFormats

/// A file tree that can be walked and read: the capture side of a volume.
package protocol FileTreeSource: Sendable {
    /// Starts a walk; entries come in `treeOrder`, the root first.
    func walk(_ cancellation: Cancellation) throws -> any FileTreeWalk
}

/// One walk over a tree. Used on one thread; it reads ahead on threads of its own.
package protocol FileTreeWalk: AnyObject {
    /// The next entry with what lstat says (times, owner, size, change facts), but without extended attributes, flags,
    /// extents or content: unchanged files are never opened. Nil at the end. An object that cannot be examined comes
    /// as an item with `problem`; the walk goes on.
    func next() throws -> FileTreeItem?
    /// Fills in what `next` left out, except content: extended attributes, flags, extents.
    func complete(_ item: inout FileTreeItem) throws
    /// Ends the walk's threads. Idempotent.
    func close()
}

/// An entry of a walk.
package struct FileTreeItem: Sendable {
    package var entry: TreeEntry
    /// Opens a regular file for reading; may be called on another thread, while the walk goes on.
    package var opener: (any FileOpener)?
    package init(entry: TreeEntry, opener: (any FileOpener)? = nil) {
        self.entry = entry
        self.opener = opener
    }
}

/// Opens and reads one regular file found by a walk.
package protocol FileOpener: Sendable {
    /// Opens without following links, checks that it is still the same regular file.
    func open() throws -> any FileContentSource
}

/// An open regular file that is being captured.
package protocol FileContentSource: AnyObject {
    /// The next bytes of data; holes are skipped. 0 at the end.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int
    /// Examines the file again after the last byte: the entry as it is now (size, times, extents, attributes), and
    /// whether what was read is one consistent state of it.
    func finish(_ entry: inout TreeEntry) throws -> FileReadOutcome
    func close()
}

package enum FileReadOutcome: Sendable, Equatable {
    case consistent
    /// Size, times or inode moved while it was read: read it again, or report it.
    case changed
}

/// A place a tree is written to: the restore side of a volume. Thread-safe; never leaves its root.
package protocol FileTreeTarget: Sendable {
    /// Creates the object of this entry (folders with safe temporary permissions); a regular file is returned open.
    func create(_ entry: TreeEntry) throws -> (any FileContentTarget)?
    /// After everything below it exists: mode, owner, times of a folder. Called once per folder, deepest first.
    func finishFolder(_ entry: TreeEntry) throws
    /// Makes everything durable.
    func synchronize() throws
}

/// A regular file being written.
package protocol FileContentTarget: AnyObject, Sendable {
    /// Writes data at a position of the *content* (extents one after the other); any thread, any order.
    func write(_ bytes: UnsafeRawBufferPointer, atContentOffset offset: UInt64) throws
    /// Sets size, attributes, mode, owner, times; the file is complete.
    func finish() throws
}
