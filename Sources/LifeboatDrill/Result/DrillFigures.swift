// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatRepository

/// What the snapshots of a stack say about its recovery point.
package enum RecoveryPoint {
    /// How far back gaps count, in seconds: an outage of long ago says nothing about today.
    package static let window = 30.0 * 86_400

    /// What one component, or the stack as a whole, would lose and would have lost.
    package struct Figures: Sendable, Equatable {
        /// Seconds since the newest complete snapshot; nil when there is none.
        package var age: Double?
        /// The longest time between two complete snapshots that ended within `window` before now.
        package var worst: Gap?

        package struct Gap: Sendable, Equatable {
            package var seconds: Double
            package var end: Timestamp
        }
    }

    /// The figures of each of `components`, by name: of complete snapshots those count that hold it. A backup of one
    /// component does nothing for the others.
    package static func figures(
        _ snapshots: [Snapshot], now: Timestamp, components: [String]
    ) -> [(name: String, figures: Figures)] {
        components.map { name in
            (name, figures(snapshots, now: now) { $0.complete && $0.component(name) != nil })
        }
    }

    /// The newest complete snapshot's age at `now`, and the worst gap between two complete ones that ended within
    /// `window` before it.
    ///
    /// Retention makes gaps, too; those are told from real ones by the numbers: every snapshot between the two must be
    /// there and not be complete. A snapshot dated after `now` counts for neither: when it was made is not known.
    package static func figures(
        _ snapshots: [Snapshot], now: Timestamp, isGood: (Manifest) -> Bool = { $0.complete }
    ) -> Figures {
        let limit = Timestamp(seconds: now.seconds &+ SnapshotCatalog.clockTolerance, nanoseconds: now.nanoseconds)
        let good = snapshots.filter { isGood($0.manifest) }
        var figures = Figures()
        figures.age = SnapshotCatalog.newestComplete(good, notAfter: limit).map {
            max(0, now.seconds(since: $0.manifest.frozen))
        }
        for (_, row) in Dictionary(grouping: snapshots, by: \.manifest.host) {
            var last: Snapshot?
            var number: UInt64 = 0
            for snapshot in row.sorted(by: { $0.manifest.sequence < $1.manifest.sequence }) {
                let manifest = snapshot.manifest
                if manifest.sequence != number &+ 1 { last = nil }
                number = manifest.sequence
                if manifest.frozen > limit {
                    last = nil
                    continue
                }
                guard isGood(manifest) else { continue }
                if let last, now.seconds(since: manifest.frozen) <= window {
                    let gap = manifest.frozen.seconds(since: last.manifest.frozen)
                    if gap > figures.worst?.seconds ?? 0 {
                        figures.worst = Figures.Gap(seconds: gap, end: manifest.frozen)
                    }
                }
                last = snapshot
            }
        }
        return figures
    }
}

extension DrillResult.Objectives {
    /// Takes the figures of each component, and of the stack the worst of them: a component without any complete
    /// snapshot has no age, and is named.
    package mutating func take(_ figures: [(name: String, figures: RecoveryPoint.Figures)]) {
        components = figures.map { name, figures in
            DrillResult.RecoveryPointOfComponent(
                name: name, age: figures.age, worstGap: figures.worst?.seconds, worstGapEnd: figures.worst?.end)
        }
        age = figures.compactMap(\.figures.age).max()
        let worst = figures.compactMap(\.figures.worst).max { $0.seconds < $1.seconds }
        worstGap = worst?.seconds
        worstGapEnd = worst?.end
    }
}

extension DrillResult {
    /// Settles verdict, costliest phase and advice from what was found. Pure.
    package mutating func conclude() {
        verified = findings.isEmpty && isFull && components.allSatisfy { $0.state != .failed }
        if !findings.isEmpty {
            verdict = .failed
            objectives.rta = nil
        } else {
            // How long a share takes says nothing about how long all of it would.
            let missesRTO = samplePercent == nil && objectives.missesRTO
            verdict = missesRTO || objectives.missesRPO ? .missed : .passed
        }
        let phases = phases.filter { $0.isRecovery && $0.of == nil }
        guard let costliest = phases.max(by: { $0.seconds < $1.seconds }), costliest.seconds > 0 else { return }
        self.costliest = costliest.component.map { "\(costliest.name) of '\($0)'" } ?? costliest.name
        advice = advice(on: costliest)
    }

    private func advice(on phase: Phase) -> String {
        let parts = self.phases.filter { $0.of == phase.name && $0.component == phase.component }
        let fetch = parts.first { $0.name == DrillPhase.fetch }?.seconds ?? 0
        let index = parts.first { $0.name == DrillPhase.indexes }?.seconds ?? 0
        switch phase.name {
        case DrillPhase.load where index > phase.seconds / 2:
            return "Most of it is building indexes: give the server more maintenance_work_mem and raise 'jobs' of"
                + " the component."
        case DrillPhase.load where fetch > phase.seconds / 2:
            return "It waits for the repository most of the time: a copy of the repository that is nearer or faster"
                + " helps, and so do more cores to decode it."
        case DrillPhase.load:
            return "The engine takes the data more slowly than the repository gives it: faster storage under it helps,"
                + " or leaving out of the component what can be made again."
        case DrillPhase.verify:
            return "Many small chunks have to be looked up: 'lifeboat prune' gathers them into fewer packs and indexes."
        case DrillPhase.start, DrillPhase.healthy:
            return "The engine takes long to come up with its data: look at its log for recovery or loading of files."
        case DrillPhase.prepare:
            return "A new engine takes long to be made: keep an empty one at hand on the host you would recover to."
        case DrillPhase.probes, DrillPhase.checks, DrillPhase.facts:
            return "Proving the recovery takes longest: cheaper queries in 'checks' and 'drill.probes' help."
        default:
            return "Look at the time line to see what it waits for."
        }
    }
}

/// Names of the phases, in the order of a drill.
package enum DrillPhase {
    package static let resolve = "resolve"
    package static let authenticate = "authenticate"
    package static let verify = "verify"
    package static let prepare = "prepare"
    package static let preflight = "preflight"
    /// A share of a component is drawn: only in a drill.
    package static let sample = "sample"
    package static let load = "load"
    /// Part of `load`: the time it waited for the repository.
    package static let fetch = "fetch"
    /// Part of `load`.
    package static let indexes = "indexes"
    package static let exchange = "exchange"
    package static let start = "start"
    package static let healthy = "healthy"
    /// What the exchange put aside is removed.
    package static let discard = "discard"
    package static let facts = "facts"
    package static let checks = "checks"
    package static let probes = "probes"
    package static let restart = "restart"
    package static let again = "healthy again"
    package static let factsAgain = "facts again"
    package static let checksAgain = "checks again"
    package static let tearDown = "tear down"
}
