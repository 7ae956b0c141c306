// SPDX-License-Identifier: Apache-2.0

/// Foretells how long phases of a recovery take, from what earlier ones took on this host. Pure.
///
/// The model is a fixed cost and a rate for each phase and component. Sizes that differ tell the two apart; of equal
/// ones the assumed fixed cost is taken off, and the rest is the rate.
package struct RecoveryRates: Sendable, Equatable {
    /// So many measurements of a phase and component count, the newest.
    package static let window = 10
    /// Sizes further apart than this tell the fixed cost from the rate.
    private static let spread = 1.5

    private let measurements: [PhaseMeasurement]

    package init(_ measurements: [PhaseMeasurement] = []) {
        self.measurements = measurements.filter { $0.seconds.isFinite && $0.seconds >= 0 }
            .sorted { $0.time < $1.time }
    }

    /// `component` and `store` nil: a phase of the whole stack.
    package func estimate(
        _ phase: String, stack: String, component: String? = nil, store: String? = nil, bytes: UInt64
    ) -> PhaseEstimate {
        let (cost, basis, count) = cost(phase, stack: stack, component: component, store: store)
        return PhaseEstimate(seconds: cost.seconds(for: bytes), basis: basis, measurements: count)
    }

    /// The model of one phase, with where it comes from.
    package func cost(
        _ phase: String, stack: String, component: String? = nil, store: String? = nil
    ) -> (cost: PhaseCost, basis: PhaseEstimate.Basis, measurements: Int) {
        let assumed = PhaseCost.assumed(phase, store: store)
        let ofPhase = measurements.filter { $0.phase == phase && $0.store == store }
        let own = ofPhase.filter { $0.stack == stack && $0.component == component }.suffix(Self.window)
        if let cost = Self.fit(Array(own), assumed) { return (cost, .component, own.count) }
        // The services of another stack say nothing about those of this one.
        let alike = store == nil ? [] : ofPhase.suffix(Self.window)
        if let cost = Self.fit(Array(alike), assumed) { return (cost, .store, alike.count) }
        return (assumed, .assumed, 0)
    }

    /// Nil without measurements.
    static func fit(_ measurements: [PhaseMeasurement], _ assumed: PhaseCost) -> PhaseCost? {
        guard !measurements.isEmpty else { return nil }
        let sizes = measurements.map { Double($0.bytes) }
        let times = measurements.map(\.seconds)
        let smallest = sizes.min() ?? 0
        let largest = sizes.max() ?? 0
        guard largest > 0 else {
            // How it grows with size was never seen.
            return PhaseCost(fixedSeconds: median(times), secondsPerByte: assumed.secondsPerByte)
        }
        if largest > smallest * spread, let line = line(sizes, times) { return line }
        let time = median(times)
        let fixed = min(assumed.fixedSeconds, time)
        return PhaseCost(fixedSeconds: fixed, secondsPerByte: (time - fixed) / median(sizes))
    }

    /// Sizes this close to each other are one: several runs of the same data.
    private static let sameSize = 1.05
    /// Seconds below which times are as uncertain as each other; above, their variance grows with them.
    private static let leastTime = 0.5

    /// What one size took: the median, so that a single slow run among several (a cold cache, other work on the host)
    /// does not bend the line.
    private struct Point {
        var size: Double
        var time: Double
        var weight: Double

        init(_ runs: [(size: Double, time: Double)]) {
            size = RecoveryRates.median(runs.map(\.size))
            time = RecoveryRates.median(runs.map(\.time))
            weight = Double(runs.count) / (RecoveryRates.leastTime + time)
        }
    }

    private static func points(_ sizes: [Double], _ times: [Double]) -> [Point] {
        var groups: [[(size: Double, time: Double)]] = []
        for (size, time) in zip(sizes, times).sorted(by: { ($0.0, $0.1) < ($1.0, $1.1) }) {
            if let first = groups.last?.first?.size, size <= first * sameSize {
                groups[groups.count - 1].append((size, time))
            } else {
                groups.append([(size, time)])
            }
        }
        return groups.map(Point.init)
    }

    /// The weighted least squares line with neither part below zero; nil when the sizes tell nothing.
    private static func line(_ sizes: [Double], _ times: [Double]) -> PhaseCost? {
        let points = points(sizes, times)
        func sum(_ value: (Point) -> Double) -> Double { points.reduce(0) { $0 + $1.weight * value($1) } }
        let weight = sum { _ in 1 }
        let (meanSize, meanTime) = (sum(\.size) / weight, sum(\.time) / weight)
        let variance = sum { ($0.size - meanSize) * ($0.size - meanSize) }
        guard variance > 0 else { return nil }
        let slope = sum { ($0.size - meanSize) * ($0.time - meanTime) } / variance
        if slope <= 0 {
            // Larger went no slower: the size explains nothing.
            return PhaseCost(fixedSeconds: points.map(\.time).reduce(0, +) / Double(points.count))
        }
        let fixed = meanTime - slope * meanSize
        if fixed >= 0 { return PhaseCost(fixedSeconds: fixed, secondsPerByte: slope) }
        // Through the origin: larger is slower than in proportion, and nothing takes less than no time.
        return PhaseCost(fixedSeconds: 0, secondsPerByte: sum { $0.size * $0.time } / sum { $0.size * $0.size })
    }

    private static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
    }

    /// How long work of these lengths takes when so many pieces run at a time, each begun in this order as soon as a
    /// place is free.
    package static func elapsed(_ seconds: [Double], lanes: Int) -> Double {
        var ends = [Double](repeating: 0, count: max(1, lanes))
        for length in seconds {
            let first = ends.indices.min { ends[$0] < ends[$1] } ?? 0
            ends[first] += length
        }
        return ends.max() ?? 0
    }
}
