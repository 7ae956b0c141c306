// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// The steps of a plan, in order.
struct PlannedSteps {
    private let plan: RestorePlan
    private let verifiesData: Bool

    init(_ plan: RestorePlan, verifiesData: Bool) {
        self.plan = plan
        self.verifiesData = verifiesData
    }

    private var staged: [RestorePlan.Component] { plan.components.filter { !$0.isInPlace } }
    private var overwritten: [RestorePlan.Component] { plan.components.filter(\.isInPlace) }

    /// What is written in place comes after all that can be undone.
    var all: [RestoreStep] { before + stopping + exchange + starting + verification + old }

    private var before: [RestoreStep] {
        let total = ByteCount(plan.bytes)
        var steps = [
            RestoreStep(
                .verifyChunks, touches: nil, summary: "verify that every chunk of \(total) is in the repository")
        ]
        if verifiesData {
            steps.append(
                RestoreStep(
                    .verifyData, touches: nil, bytes: plan.bytes, summary: "read and verify all \(total) of it"))
        }
        steps += plan.components.map {
            RestoreStep(
                .preflight, component: $0.name, touches: nil,
                summary: "check that \($0.subject) can take the restored data")
        }
        steps += staged.map {
            RestoreStep(
                .stage, component: $0.name, touches: $0.subject, bytes: $0.bytes,
                summary: "stage \(ByteCount($0.bytes)) of '\($0.name)' beside \($0.subject), which stays in use")
        }
        return steps
    }

    private var stopping: [RestoreStep] {
        guard let services = plan.services else { return [] }
        let summary =
            plan.stopping.map { "stop \($0.joined(separator: ", ")) of \(services); the others keep running" }
            ?? "stop \(services)"
        return [RestoreStep(.stopServices, touches: services, isDowntime: true, summary: summary)]
    }

    private var exchange: [RestoreStep] {
        staged.map {
            RestoreStep(
                .swap, component: $0.name, touches: $0.subject, isDowntime: true,
                summary: "exchange \($0.subject) and the staged data")
        }
            + overwritten.map {
                RestoreStep(
                    .writeInPlace, component: $0.name, touches: $0.subject, bytes: $0.bytes, isDowntime: true,
                    summary: "write what differs of \(ByteCount($0.bytes)) over \($0.subject)")
            }
    }

    private var starting: [RestoreStep] {
        var steps: [RestoreStep] = []
        if let services = plan.services {
            steps.append(
                RestoreStep(.startServices, touches: services, isDowntime: true, summary: "start \(services)"))
        }
        let probes = plan.healthProbes
        if probes > 0 {
            let waits = "wait until \(probes) health probe\(probes == 1 ? "" : "s") pass\(probes == 1 ? "es" : "")"
            steps.append(RestoreStep(.awaitHealth, touches: nil, isDowntime: true, summary: waits))
        }
        return steps
    }

    private var verification: [RestoreStep] {
        var steps = plan.components.map {
            RestoreStep(
                .verifyFacts, component: $0.name, touches: nil,
                summary: "compare \($0.subject) with the facts in the snapshot")
        }
        if let count = plan.checks?.count, count > 0 {
            steps.append(
                RestoreStep(
                    .askChecks, touches: nil, summary: "ask \(count) check\(count == 1 ? "" : "s") of the policy"))
        }
        return steps
    }

    private var old: [RestoreStep] {
        staged.map { component in
            switch plan.oldData {
            case .discard:
                RestoreStep(
                    .discardOld, component: component.name, touches: component.subject,
                    summary: "remove what '\(component.name)' was before")
            case .keep:
                RestoreStep(
                    .keepOld, component: component.name, touches: component.subject,
                    summary: "keep what '\(component.name)' was before, for a rollback")
            }
        }
    }
}

extension RestorePlan {
    /// Says of each step, and of all together, how long it is expected to take. `lanes`: components that are staged at
    /// a time.
    mutating func foretell(_ rates: RecoveryRates, lanes: Int) {
        var total = 0.0
        var downtime = 0.0
        var sideBySide: [Double] = []
        for position in steps.indices {
            let step = steps[position]
            let store = step.component.flatMap { component($0)?.store }
            let estimate = rates.estimate(
                step.action.rawValue, stack: stack, component: step.component, store: store, bytes: size(of: step))
            steps[position].expected = estimate
            if step.action.isSideBySide {
                sideBySide.append(estimate.seconds)
            } else {
                total += estimate.seconds
            }
            if step.isDowntime { downtime += estimate.seconds }
        }
        forecast = Forecast(
            totalSeconds: total + RecoveryRates.elapsed(sideBySide, lanes: lanes), downtimeSeconds: downtime,
            assumedSteps: steps.count { $0.expected?.basis == .assumed })
    }
}
