// SPDX-License-Identifier: Apache-2.0

package import LifeboatFormats

/// Whether each hard link of a tree names an entry of the same tree that it can be a link to: of its kind, no directory,
/// and no link itself. That it comes before the link is a matter of the format. Reads the tree twice for every so many
/// links. Used on one thread.
package struct HardLinkAudit {
    /// A link to nothing.
    package struct Problem: Equatable {
        package var path: [UInt8]
        package var target: [UInt8]
    }

    private struct Target: Hashable {
        var path: [UInt8]
        var kind: TreeEntry.Kind
    }

    /// Targets that are remembered at once: paths of about 100 bytes take some 40 MB.
    package static let limit = 100_000

    private let limit: Int

    package init(limit: Int = Self.limit) { self.limit = limit }

    /// One link for every target that is not there. `read` hands all entries of the tree to its argument, in order.
    package func problems(_ read: ((TreeEntry) throws -> Void) throws -> Void) throws -> [Problem] {
        var problems: [Problem] = []
        // Links up to here were looked at.
        var done = 0
        while true {
            // What is not there yet, and a link to it.
            var wanted: [Target: [UInt8]] = [:]
            var number = 0
            var isComplete = true
            try read { entry in
                guard let path = entry.hardLink else { return }
                let target = Target(path: path, kind: entry.kind)
                number += 1
                guard number > done, isComplete else { return }
                if wanted[target] == nil {
                    guard wanted.count < limit else {
                        isComplete = false
                        done = number - 1
                        return
                    }
                    wanted[target] = entry.path
                }
            }
            if !wanted.isEmpty {
                try read { entry in
                    guard entry.hardLink == nil, entry.kind != .directory else { return }
                    wanted[Target(path: entry.path, kind: entry.kind)] = nil
                }
            }
            problems += wanted.map { Problem(path: $0.value, target: $0.key.path) }
            if isComplete { break }
        }
        return problems.sorted { $0.path.lexicographicallyPrecedes($1.path) }
    }
}
