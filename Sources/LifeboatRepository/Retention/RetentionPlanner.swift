// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Decides which snapshots of a stack are kept. Pure: the same input gives the same plan on every machine.
///
/// What holds for every plan:
/// - Applied again to what it keeps it removes nothing, however much later, unless a snapshot from the future has
///   meanwhile become one of the past.
/// - A snapshot makes way only for newer ones that hold all its components: a backup of one component never displaces
///   one of the whole stack. Every complete snapshot that nothing newer covers is kept; so is the newest a drill
///   verified, and whatever is pinned.
/// - Incomplete snapshots never count against complete ones. Those that no later complete one covers are thinned by
///   the same rules among themselves; the others are kept only by `within`, a pin or their host.
/// - Snapshots dated after `now` are kept and displace nothing.
package struct RetentionPlanner: Sendable {
    private let rules: RetentionRules
    private let calendar: RetentionCalendar
    private let now: Timestamp

    /// Throws for rules that would keep nothing.
    package init(rules: RetentionRules, calendar: RetentionCalendar, now: Timestamp) throws(LifeboatError) {
        try rules.validate()
        self.rules = rules
        self.calendar = calendar
        self.now = now
    }

    /// `pinned` and `verified` are ids of snapshots; those of no candidate do not matter.
    package func plan(
        stack: String, _ candidates: [RetentionCandidate], pinned: Set<Digest> = [], verified: Set<Digest> = []
    ) -> RetentionPlan {
        let sorted = candidates.sorted { ($0.time, $0.sequence, $0.id) < ($1.time, $1.sequence, $1.id) }
        let count = sorted.count
        var reasons = [[KeepReason]](repeating: [], count: count)

        // Newest first from here on.
        let past = sorted.indices.reversed().filter { sorted[$0].time <= now }
        let complete = past.filter { sorted[$0].complete }
        let cover = Cover(sorted, complete)
        let waiting = past.filter { !sorted[$0].complete && !cover.isCoveredByNewerComplete($0) }

        for index in sorted.indices where sorted[index].time > now { reasons[index].append(.future) }
        for row in [complete, waiting] {
            for index in last(row, sorted) { reasons[index].append(.last) }
            for period in RetentionPeriod.allCases {
                for (index, name) in newest(of: period, row, sorted) { reasons[index].append(.period(period, name)) }
            }
        }
        if let within = rules.within, let reference = (complete.first ?? past.first).map({ sorted[$0].time }) {
            for index in past where reference.seconds(since: sorted[index].time) <= within {
                reasons[index].append(.within)
            }
        }
        for index in sorted.indices where pinned.contains(sorted[index].id) { reasons[index].append(.pinned) }
        for index in complete where !cover.isCoveredByNewerComplete(index) { reasons[index].append(.newestComplete) }
        if let index = waiting.first { reasons[index].append(.newestIncomplete) }
        if let index = complete.first(where: { verified.contains(sorted[$0].id) }) {
            reasons[index].append(.drillVerified)
        }
        for index in newestOfHosts(sorted, complete) { reasons[index].append(.newestOfHost) }

        let decisions = sorted.indices.map { index in
            let removal: RemoveReason? =
                !reasons[index].isEmpty
                ? nil : !sorted[index].complete && cover.isCoveredByNewerComplete(index) ? .superseded : .noRule
            return RetentionPlan.Decision(snapshot: sorted[index], reasons: reasons[index], removal: removal)
        }
        return RetentionPlan(stack: stack, rules: rules, timeZone: calendar.zone.name, decisions: decisions)
    }

    /// Those of `row` (newest first) that fewer than `rules.last` newer ones of it cover.
    private func last(_ row: [Int], _ sorted: [RetentionCandidate]) -> [Int] {
        guard rules.last > 0 else { return [] }
        // A set of components, and how many of the row so far hold all of it.
        var counts: [Set<String>: Int] = [:]
        for index in row { counts[sorted[index].components] = 0 }
        var kept: [Int] = []
        for index in row {
            if counts[sorted[index].components, default: 0] < rules.last { kept.append(index) }
            for set in counts.keys where sorted[index].components.isSuperset(of: set) { counts[set, default: 0] += 1 }
        }
        return kept
    }

    /// Of each of the newest stretches of the calendar that occur in `row` (newest first), those that no newer one of
    /// the same stretch covers: one, unless they hold different components.
    private func newest(
        of period: RetentionPeriod, _ row: [Int], _ sorted: [RetentionCandidate]
    ) -> [(index: Int, name: String)] {
        let limit = rules.count(period)
        guard limit > 0 else { return [] }
        // By name and not by neighbourhood: where clocks are set back over midnight a day comes twice.
        var holdings: [String: [Set<String>]] = [:]
        var kept: [(index: Int, name: String)] = []
        for index in row {
            let name = calendar.name(of: period, at: sorted[index].time)
            let components = sorted[index].components
            guard let held = holdings[name] else {
                guard holdings.count < limit else { continue }
                holdings[name] = [components]
                kept.append((index, name))
                continue
            }
            if held.contains(where: { $0.isSuperset(of: components) }) { continue }
            holdings[name] = held + [components]
            kept.append((index, name))
        }
        return kept
    }

    /// For each host the snapshot with the highest number, and the newest complete one.
    private func newestOfHosts(_ sorted: [RetentionCandidate], _ complete: [Int]) -> Set<Int> {
        var newest: [String: Int] = [:]
        for index in sorted.indices {
            let host = sorted[index].host
            if let other = newest[host], sorted[other].sequence > sorted[index].sequence { continue }
            newest[host] = index
        }
        var indices = Set(newest.values)
        var seen: Set<String> = []
        for index in complete where seen.insert(sorted[index].host).inserted { indices.insert(index) }
        return indices
    }

    /// Which snapshots have a newer complete one that holds all their components.
    private struct Cover {
        private let covered: [Bool]

        init(_ sorted: [RetentionCandidate], _ complete: [Int]) {
            var covered = [Bool](repeating: false, count: sorted.count)
            // The newest complete snapshot of each set of components that holds all of it.
            var newest: [Set<String>: Int] = [:]
            for index in sorted.indices where newest[sorted[index].components] == nil {
                newest[sorted[index].components] =
                    complete.first { sorted[$0].components.isSuperset(of: sorted[index].components) } ?? -1
            }
            for index in sorted.indices {
                covered[index] = newest[sorted[index].components, default: -1] > index
            }
            self.covered = covered
        }

        func isCoveredByNewerComplete(_ index: Int) -> Bool { covered[index] }
    }
}
