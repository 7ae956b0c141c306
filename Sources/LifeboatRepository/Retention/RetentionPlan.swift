// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// What retention knows of one snapshot.
package struct RetentionCandidate: Sendable, Equatable {
    package var id: Digest
    package var host: String
    package var sequence: UInt64
    package var previous: Digest?
    /// When its stores were frozen.
    package var time: Timestamp
    package var complete: Bool
    /// Names of its components: a snapshot makes way only for one that holds all of them.
    package var components: Set<String>
    /// Ids it had before a repair or a rewrap: with it they are forgotten.
    package var earlierIDs: [Digest]

    package init(
        id: Digest, host: String, sequence: UInt64, previous: Digest? = nil, time: Timestamp, complete: Bool,
        components: Set<String>, earlierIDs: [Digest] = []
    ) {
        self.id = id
        self.host = host
        self.sequence = sequence
        self.previous = previous
        self.time = time
        self.complete = complete
        self.components = components
        self.earlierIDs = earlierIDs
    }

    package init(_ snapshot: Snapshot) {
        let manifest = snapshot.manifest
        self.init(
            id: snapshot.id, host: manifest.host, sequence: manifest.sequence, previous: manifest.previous,
            time: manifest.frozen, complete: manifest.complete, components: Set(manifest.components.map(\.name)),
            earlierIDs: manifest.earlierIDs)
    }
}

/// Why a snapshot is kept. A snapshot may have several reasons.
package enum KeepReason: Sendable, Equatable, CustomStringConvertible {
    /// One of the newest.
    case last
    /// The newest of a stretch of the calendar, which is named: `daily 2026-11-21`, `weekly 2026-W47`.
    case period(RetentionPeriod, String)
    case within
    case pinned
    /// No newer complete snapshot holds all its components.
    case newestComplete
    /// Incomplete, and no complete snapshot after it holds all its components; the newest of that kind.
    case newestIncomplete
    /// The newest a drill has proven.
    case drillVerified
    /// The newest, or the newest complete one, of its host: that host's next backup continues from it.
    case newestOfHost
    /// From a time that has not come yet. Some clock is wrong, so it says nothing about the others.
    case future

    package var description: String {
        switch self {
        case .last: "last"
        case .period(let period, let name): "\(period.rawValue) \(name)"
        case .within: "within"
        case .pinned: "pinned"
        case .newestComplete: "newest complete"
        case .newestIncomplete: "newest incomplete"
        case .drillVerified: "drill-verified"
        case .newestOfHost: "newest of host"
        case .future: "dated in the future"
        }
    }
}

/// Why a snapshot is removed.
package enum RemoveReason: String, Sendable, Equatable {
    case noRule = "no rule keeps it"
    case superseded = "incomplete, and a complete one came after it"
}

/// What retention does with the snapshots of one stack: a pure value, printable before anything is done.
package struct RetentionPlan: Sendable, Equatable {
    package struct Decision: Sendable, Equatable {
        package var snapshot: RetentionCandidate
        /// Empty: it is removed.
        package var reasons: [KeepReason]
        /// Why it is removed; nil when it is kept.
        package var removal: RemoveReason?

        package var isKept: Bool { removal == nil }
    }

    package let stack: String
    package let rules: RetentionRules
    /// Name of the zone whose calendar counts.
    package let timeZone: String
    /// Every snapshot of the stack, ascending by time, then id.
    package let decisions: [Decision]

    package var kept: [RetentionCandidate] { decisions.filter(\.isKept).map(\.snapshot) }
    package var removed: [RetentionCandidate] { decisions.filter { !$0.isKept }.map(\.snapshot) }

    /// More than half of the complete snapshots would go: a mistake in the rules more often than a wish. Incomplete ones
    /// do not count: after some bad nights most of them go at once when the first good one has come.
    package var removesMoreThanHalf: Bool { removedComplete * 2 > complete }

    package var complete: Int { decisions.count { $0.snapshot.complete } }
    package var removedComplete: Int { decisions.count { $0.snapshot.complete && !$0.isKept } }
}
