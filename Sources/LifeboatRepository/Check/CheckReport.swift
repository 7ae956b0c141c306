// SPDX-License-Identifier: Apache-2.0

/// One thing that is wrong with a repository, and what it takes with it.
package struct CheckProblem: Sendable, Equatable, Codable {
    /// Object key, or `snapshot <id>`.
    package var object: String
    package var reason: String
    /// Short ids of the snapshots it touches.
    package var snapshots: [String]
    /// `<component>:<path>` it touches, at most `CheckReport.pathLimit`.
    package var paths: [String]
    /// All paths, also those not listed.
    package var pathCount: UInt64
    /// What to do about it, where a repair is not the answer.
    package var hint: String?

    package init(object: String, reason: String, hint: String? = nil) {
        self.object = object
        self.reason = reason
        self.hint = hint
        snapshots = []
        paths = []
        pathCount = 0
    }
}

/// What a check looked at and found.
package struct CheckReport: Sendable, Equatable, Codable {
    package var snapshots: UInt64 = 0
    package var packs: UInt64 = 0
    package var indexes: UInt64 = 0
    /// Records of all indexes.
    package var chunks: UInt64 = 0
    /// Packs that were read whole, and their bytes.
    package var packsRead: UInt64 = 0
    package var bytesRead: UInt64 = 0
    /// Whether all data was read, or only the structure and perhaps a sample.
    package var readData: Bool
    /// Share of the stored bytes that was to be read, in percent; nil when all or none was.
    package var samplePercent: Double?
    package var problems: [CheckProblem] = []
    /// Harmless things: packs that nothing refers to yet, foreign files.
    package var notes: [String] = []

    package init(_ coverage: DataCoverage) {
        readData = coverage == .all
        if case .sample(let percent) = coverage { samplePercent = percent }
    }

    package var isHealthy: Bool { problems.isEmpty }

    /// So many paths are named per problem.
    package static let pathLimit = 20

    /// Adds a problem; an object that has one already keeps its first reason.
    mutating func addProblem(_ object: String, _ reason: String, hint: String? = nil) {
        guard !problems.contains(where: { $0.object == object }) else { return }
        problems.append(CheckProblem(object: object, reason: reason, hint: hint))
    }

    /// Notes that the problem with `object` takes `path` of `snapshot` with it.
    mutating func addAffected(_ object: String, _ reason: String, snapshot: String, path: String) {
        addProblem(object, reason)
        guard let number = problems.firstIndex(where: { $0.object == object }) else { return }
        if problems[number].snapshots.last != snapshot { problems[number].snapshots.append(snapshot) }
        problems[number].pathCount += 1
        if problems[number].paths.count < Self.pathLimit { problems[number].paths.append(path) }
    }
}
