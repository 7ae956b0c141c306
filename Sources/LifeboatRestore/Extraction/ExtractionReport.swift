// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// One entry of a tree that is not, or not surely, what it was when it was captured.
package struct ExtractionProblem: Sendable, Equatable {
    package enum Kind: Sendable, Equatable, CaseIterable {
        /// The snapshot holds no content for it: it could not be read when the backup ran.
        case notInSnapshot
        /// The snapshot holds content that may mix two states of the file; it was restored.
        case unsure
        /// Chunks of it are missing from the repository or damaged.
        case damaged
        /// The place it is restored to refused it.
        case notWritten
    }

    package var kind: Kind
    /// Path below the root of the tree; empty for the root.
    package var path: [UInt8]
    package var error: LifeboatError

    package init(_ kind: Kind, path: [UInt8], error: LifeboatError) {
        self.kind = kind
        self.path = path
        self.error = error
    }
}

/// What an extraction did. Counts are exact; problems beyond `problemLimit` are counted but not kept.
package struct ExtractionReport: Sendable, Equatable {
    /// A repository that lost a pack can affect millions of files: so many are named.
    package static let problemLimit = 1000

    package var files: UInt64 = 0
    package var folders: UInt64 = 0
    /// Symbolic and hard links.
    package var links: UInt64 = 0
    /// Fifos, sockets, devices.
    package var specials: UInt64 = 0
    /// Bytes of file content written.
    package var bytes: UInt64 = 0
    package private(set) var problems: [ExtractionProblem] = []
    package private(set) var problemCounts: [ExtractionProblem.Kind: UInt64] = [:]
    /// Of the damaged ones, those that are only written for other readers than the key that was given.
    private var forOtherReaders: UInt64 = 0

    package init() {}

    package var problemCount: UInt64 { problemCounts.values.reduce(0, +) }

    package func count(_ kind: ExtractionProblem.Kind) -> UInt64 { problemCounts[kind] ?? 0 }

    package mutating func add(_ problem: ExtractionProblem) {
        problemCounts[problem.kind, default: 0] += 1
        if problem.kind == .damaged, problem.error.exitCode == .wrongKey { forOtherReaders += 1 }
        if problems.count < Self.problemLimit { problems.append(problem) }
    }

    package mutating func add(_ other: ExtractionReport) {
        files.addClamped(other.files)
        folders += other.folders
        links += other.links
        specials += other.specials
        bytes.addClamped(other.bytes)
        for (kind, count) in other.problemCounts { problemCounts[kind, default: 0] += count }
        forOtherReaders += other.forOtherReaders
        problems += other.problems.prefix(max(0, Self.problemLimit - problems.count))
    }

    /// What the report means for the exit status of a restore that goes on in spite of losses: damage outranks what is
    /// merely missing. What the key does not open is no damage.
    package var exitCode: ExitCode {
        if count(.damaged) > 0 { return forOtherReaders == count(.damaged) ? .wrongKey : .damagedRepository }
        return problemCount > 0 ? .incomplete : .done
    }
}
