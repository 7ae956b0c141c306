// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats

/// Names that a restore derives from the name of live data (a database, a collection, a directory).
package enum DerivedName {
    /// Hexadecimal digits of the digest in a shortened name.
    static let digestDigits = 8

    /// `base` followed by `suffix`, in at most `limit` bytes of UTF-8. A `base` that does not fit, or is not the whole
    /// of `name` as it stands, is cut at a character boundary and followed by `_` and a digest of `name`: two names
    /// that begin alike give two derived names.
    ///
    /// A `limit` with no space for the digest and the suffix is exceeded; callers bound the suffix.
    package static func fitted(
        _ base: some StringProtocol, of name: String, suffix: String, limit: Int
    ) -> String {
        if base == name, base.utf8.count + suffix.utf8.count <= limit { return base + suffix }
        let end = "_" + BLAKE3.hash(Array(name.utf8)).hex.prefix(digestDigits) + suffix
        var prefix = String(base)
        while prefix.utf8.count + end.utf8.count > limit, !prefix.isEmpty { prefix.removeLast() }
        return prefix + end
    }

    /// What a restore stages beside a path begins with the path and this.
    package static let besideMark = ".lifeboat-"
    /// A file name has 255 bytes at most; the rest is for the restore's identifier and endings of files.
    private static let longestFileName = 180

    /// The part of a file name that names beside it begin with: all of it when it is short enough.
    static func fileBase(_ name: String) -> String { fitted(name, of: name, suffix: "", limit: longestFileName) }

    /// The path of what a restore stages beside `path`, on the same file system.
    static func beside(_ path: String, _ restoreID: String) -> String {
        let name = path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex
        return path[..<name] + fileBase(String(path[name...])) + besideMark + restoreID
    }

    /// Whether `staged` is such a path.
    static func isBeside(_ staged: String, _ path: String) -> Bool {
        guard let mark = staged.ranges(of: besideMark).last else { return false }
        let restoreID = String(staged[mark.upperBound...])
        // Restores of versions that shortened nothing have the whole name.
        return !restoreID.contains("/")
            && (staged == beside(path, restoreID) || staged == path + besideMark + restoreID)
    }
}
