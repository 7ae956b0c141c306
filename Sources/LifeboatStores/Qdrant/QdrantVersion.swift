// SPDX-License-Identifier: Apache-2.0

/// `1.19.0`, as the server's root path tells it.
package struct QdrantVersion: Sendable, Equatable, Comparable, CustomStringConvertible {
    package var major: Int
    package var minor: Int
    package var patch: Int

    package init(major: Int, minor: Int, patch: Int) {
        self.major = major
        self.minor = minor
        self.patch = patch
    }

    /// Reads `1.19.0`, `v1.19.0` and `1.19.1-dev`; nil for anything without two numbers.
    package init?(_ text: String) {
        let numbers = text.drop { $0 == "v" }.prefix { "0123456789.".contains($0) }.split(separator: ".")
            .map { Int($0) }
        guard numbers.count >= 2, let major = numbers[0], let minor = numbers[1] else { return nil }
        self.init(major: major, minor: minor, patch: numbers.count > 2 ? numbers[2] ?? 0 : 0)
    }

    package var description: String { "\(major).\(minor).\(patch)" }

    package static func < (left: QdrantVersion, right: QdrantVersion) -> Bool {
        (left.major, left.minor, left.patch) < (right.major, right.minor, right.patch)
    }

    /// Snapshots have had checksums, and collections have been asked for by `exists`, since this one.
    static let oldest = QdrantVersion(major: 1, minor: 8, patch: 0)

    /// Servers of these versions cannot load snapshots: "invalid type: null, expected usize" (qdrant/qdrant 7622).
    var cannotLoadSnapshots: Bool { major == 1 && minor == 16 && patch < 2 }

    /// Qdrant promises that a snapshot is read by its own minor version and by the next one.
    func canLoadSnapshot(of captured: QdrantVersion) -> Bool {
        major == captured.major && (minor == captured.minor || minor == captured.minor + 1) && !cannotLoadSnapshots
    }
}
