// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatIO

/// A folder (or a single file, link, device …) of this machine as the tree of a capture.
///
/// The last component of the path is not followed: a link is captured as a link.
package struct FolderSource: FileTreeSource {
    package struct Options: Sendable {
        package var exclude: ExcludePatterns
        /// Leave out what is in folders with a CACHEDIR.TAG.
        package var excludesCaches: Bool
        /// Keep folders other file systems are mounted on empty.
        package var staysOnVolume: Bool
        /// Threads that list and examine ahead.
        package var threads: Int
        /// Entries examined ahead, about.
        package var readAhead: Int

        package init(
            exclude: ExcludePatterns = ExcludePatterns([]), excludesCaches: Bool = false, staysOnVolume: Bool = true,
            threads: Int = 2, readAhead: Int = 16_384
        ) {
            self.exclude = exclude
            self.excludesCaches = excludesCaches
            self.staysOnVolume = staysOnVolume
            self.threads = threads
            self.readAhead = readAhead
        }
    }

    private let path: String
    private let options: Options
    private let changes: ChangedFiles?

    package init(_ path: String, _ options: Options = Options()) { self.init(path, options, changes: nil) }

    /// `changes` gets the paths of files that are opened and are not what the walk found any more.
    init(_ path: String, _ options: Options, changes: ChangedFiles?) {
        self.path = path
        self.options = options
        self.changes = changes
    }

    /// Throws when the root itself cannot be examined or its parent not be opened.
    package func walk(_ cancellation: Cancellation) throws -> any FileTreeWalk {
        try FolderWalk(path, options, cancellation, changes: changes)
    }
}
