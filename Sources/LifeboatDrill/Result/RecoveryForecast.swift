// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
package import LifeboatRestore

/// How long a recovery is expected to take, from what drills took. Pure.
package struct RecoveryForecast: Codable, Sendable, Equatable {
    package struct Span: Codable, Sendable, Equatable {
        package var seconds: Double
        package var least: Double
        package var most: Double

        static func + (left: Span, right: Span) -> Span {
            Span(seconds: left.seconds + right.seconds, least: left.least + right.least, most: left.most + right.most)
        }
    }

    package struct Line: Codable, Sendable, Equatable {
        /// Nil: the whole stack.
        package var component: String?
        package var bytes: UInt64
        package var today: Span
        package var twice: Span
        package var tenfold: Span
    }

    /// The whole stack first.
    package var lines: [Line]
    /// How many drills it rests on.
    package var drills: Int

    private static let none = Span(seconds: 0, least: 0, most: 0)

    /// `sizes`: what is to be recovered, by component. Nil when no drill says anything.
    package init?(_ results: [DrillResult], stack: String, sizes: [(name: String, store: String, bytes: UInt64)]) {
        let useful = results.filter { $0.stack == stack && $0.findings.isEmpty }
        // What the last drills went through is what the next recovery goes through.
        guard
            let widest = useful.last(where: \.isFull) ?? useful.last(where: { $0.samplePercent == nil }) ?? useful.last
        else { return nil }
        let model = ForecastModel(useful.flatMap(\.measurements), stack: stack)
        let common = widest.recoveryPhases(of: nil)
        func span(_ factor: UInt64, _ component: (name: String, store: String, bytes: UInt64)) -> Span {
            let last = useful.last { $0.components.contains { $0.name == component.name } }
            return (last?.recoveryPhases(of: component.name) ?? []).reduce(Self.none) {
                $0
                    + model.span(
                        $1, component: component.name, store: component.store,
                        bytes: component.bytes.multipliedReportingOverflow(by: factor).partialValue)
            }
        }
        let total = sizes.clampedSum(\.bytes)
        func whole(_ factor: UInt64) -> Span {
            common.reduce(sizes.reduce(Self.none) { $0 + span(factor, $1) }) {
                $0
                    + model.span(
                        $1, component: nil, store: nil,
                        bytes: total.multipliedReportingOverflow(by: factor).partialValue)
            }
        }
        lines =
            [Line(component: nil, bytes: total, today: whole(1), twice: whole(2), tenfold: whole(10))]
            + sizes.map {
                Line(component: $0.name, bytes: $0.bytes, today: span(1, $0), twice: span(2, $0), tenfold: span(10, $0))
            }
        drills = useful.count
    }

    /// The whole stack as it is now.
    package var today: Span { lines.first?.today ?? Self.none }
}

/// Expected times with what they may be off by.
private struct ForecastModel {
    private let rates: RecoveryRates
    private let measurements: [PhaseMeasurement]
    private let stack: String

    init(_ measurements: [PhaseMeasurement], stack: String) {
        self.measurements = measurements
        self.stack = stack
        rates = RecoveryRates(measurements)
    }

    func span(_ phase: String, component: String?, store: String?, bytes: UInt64) -> RecoveryForecast.Span {
        let phase = DrillResult.sharedName(phase)
        let (cost, basis, count) = rates.cost(phase, stack: stack, component: component, store: store)
        let seconds = cost.seconds(for: bytes)
        var share = basis == .component ? 0.1 : basis == .store ? 0.5 : 1
        if basis == .component {
            // As far as the model was off where it is known.
            let own = measurements.filter { $0.phase == phase && $0.component == component }
                .suffix(RecoveryRates.window)
            for measured in own {
                let expected = cost.seconds(for: measured.bytes)
                if expected > 0 { share = max(share, abs(measured.seconds / expected - 1)) }
            }
            if count < 3 { share = max(share, 0.3) }
            // Beyond what was ever measured nobody knows how it goes on.
            if let largest = own.map(\.bytes).max(), bytes > largest * 3 / 2 { share = max(share * 2, 0.4) }
        }
        return RecoveryForecast.Span(
            seconds: seconds, least: seconds * max(0, 1 - min(share, 0.9)), most: seconds * (1 + min(share, 2)))
    }
}

extension DrillResult {
    /// Names of the phases a component goes through, or with nil the whole stack, each once.
    fileprivate func recoveryPhases(of component: String?) -> [String] {
        var names: [String] = []
        for phase in phases where phase.isRecovery && phase.of == nil && phase.component == component {
            if !names.contains(phase.name) { names.append(phase.name) }
        }
        return names
    }

    /// What the shared model calls a phase of a drill.
    static func sharedName(_ phase: String) -> String {
        switch phase {
        case DrillPhase.verify: RestoreStep.Action.verifyChunks.rawValue
        case DrillPhase.load: RestoreStep.Action.stage.rawValue
        case DrillPhase.exchange: RestoreStep.Action.swap.rawValue
        case DrillPhase.discard: RestoreStep.Action.discardOld.rawValue
        case DrillPhase.facts: RestoreStep.Action.verifyFacts.rawValue
        default: phase
        }
    }

    /// Whether a phase takes longer for more data. Of the others all time is fixed, however large the data was.
    static func growsWithData(_ phase: String) -> Bool {
        switch phase {
        case DrillPhase.resolve, DrillPhase.authenticate, DrillPhase.prepare, DrillPhase.preflight, DrillPhase.probes:
            false
        default: true
        }
    }

    /// Whether what a phase took says how long it takes for more data. In a sample: of files and collections what was
    /// moved; of a database the whole dump is read for some of its tables, which says neither; of phases of the whole
    /// stack only those in which nothing was left out.
    private func tellsRate(_ phase: Phase, _ component: Component?) -> Bool {
        guard samplePercent != nil else { return true }
        guard let component else {
            return [DrillPhase.resolve, DrillPhase.authenticate, DrillPhase.prepare, DrillPhase.verify]
                .contains(phase.name)
        }
        guard Self.growsWithData(phase.name), let sample = component.sample, !sample.isWhole else { return true }
        return sample.unit != "tables"
    }

    /// What each phase of the recovery took, for forecasts; those of one component under one name add up.
    package var measurements: [PhaseMeasurement] {
        var measured: [PhaseMeasurement] = []
        for phase in phases where phase.isRecovery && phase.of == nil {
            let name = Self.sharedName(phase.name)
            let component = components.first { $0.name == phase.component }
            guard tellsRate(phase, component) else { continue }
            if let index = measured.firstIndex(where: { $0.phase == name && $0.component == phase.component }) {
                measured[index].seconds += phase.seconds
            } else {
                measured.append(
                    PhaseMeasurement(
                        stack: stack, phase: name, component: phase.component, store: component?.store,
                        bytes: Self.growsWithData(phase.name) ? component?.bytes ?? phase.bytes ?? bytes : 0,
                        seconds: phase.seconds,
                        time: ended, origin: .drill))
            }
        }
        return measured
    }
}
