// SPDX-License-Identifier: Apache-2.0

/// Which entries of a tree are restored: everything, or chosen paths with all below them and the folders above them.
package struct PathSelection: Sendable, Equatable {
    package let paths: [[UInt8]]

    package static let everything = PathSelection([])

    /// `paths` are relative to the root of the tree, without a leading or trailing slash. None, or an empty path, is
    /// everything.
    package init(_ paths: [[UInt8]]) {
        self.paths = paths.contains([]) ? [] : paths
    }

    package var isEverything: Bool { paths.isEmpty }

    /// Whether the entry is chosen, or is a folder on the way to one that is.
    package func includes(_ path: [UInt8], isFolder: Bool) -> Bool {
        guard !paths.isEmpty, !path.isEmpty else { return true }
        return paths.contains { chosen in
            path == chosen || Self.isBelow(path, chosen) || isFolder && Self.isBelow(chosen, path)
        }
    }

    /// Whether the entry is chosen, or below one that is.
    package func chooses(_ path: [UInt8]) -> Bool {
        paths.isEmpty || paths.contains { path == $0 || Self.isBelow(path, $0) }
    }

    /// Whether `path` is inside the folder `folder`; everything but the root is inside the root.
    package static func isBelow(_ path: [UInt8], _ folder: [UInt8]) -> Bool {
        if folder.isEmpty { return !path.isEmpty }
        return path.count > folder.count && path[folder.count] == UInt8(ascii: "/") && path.starts(with: folder)
    }
}
