// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatPolicy
import LifeboatRepository
import LifeboatRestore
import LifeboatServices
import LifeboatStores

/// What holds the sandbox against the snapshot and the policy.
extension DrillRun {
    func compareFacts(
        _ compared: [DrillSeat], _ phase: String, isRecovery: Bool = true,
        _ keep: (DrillSeat, [DrillResult.Fact]) -> Void
    ) throws {
        for seat in compared where !seat.hasFailed {
            do {
                let (found, absent) = try timeline.measure(phase, seat.name, isRecovery: isRecovery) {
                    try FactComparison.compare(
                        seat.store, seat.content, lacksNetwork: seat.lacksNetwork, cancellation)
                }
                let facts = compose == nil ? found : found.map(Self.grown)
                keep(seat, facts)
                for fact in facts where fact.state == .different {
                    find(Self.error(fact, seat), phase, seat.name)
                }
                if isRecovery { seat.result.warnings += absent }
                if isRecovery, !facts.contains(where: { $0.state == .different }) { seat.result.state = .verified }
            } catch {
                try fail(seat, error, phase)
            }
        }
    }

    /// Services run by now, and may have added to what was restored.
    private static func grown(_ fact: DrillResult.Fact) -> DrillResult.Fact {
        guard fact.state == .different, FactDifference.hasGrown(fact.expected, to: fact.found) else { return fact }
        var told = fact
        told.state = .told
        return told
    }

    private static func error(_ fact: DrillResult.Fact, _ seat: DrillSeat) -> LifeboatError {
        LifeboatError(
            "'\(fact.name)' of component '\(seat.name)' is \(fact.found ?? "missing"), not \(fact.expected)",
            hint: "The snapshot says so; what was restored from it does not hold that.")
    }

    /// A check without all of its values says nothing about the data.
    private static func failure(_ verdict: CheckResult) -> String {
        verdict.values.allSatisfy { $0.number != nil } ? "does not hold" : "could not be queried"
    }

    func askChecks() throws {
        guard !request.policy.checks.isEmpty else { return }
        try timeline.measure(DrillPhase.checks) {
            for verdict in try verdicts() {
                let captured = manifest.checks?.first { $0.name == verdict.name }
                let isAsCaptured =
                    captured.map {
                        $0.holds == verdict.holds && $0.values.map(\.number) == verdict.values.map(\.number)
                    }
                    ?? true
                result.checks.append(
                    DrillResult.Check(
                        name: verdict.name, holds: verdict.holds, explanation: verdict.explanation,
                        captured: captured?.explanation, isAsCaptured: isAsCaptured))
                guard captured?.holds ?? true else { continue }
                if !verdict.holds {
                    find(
                        LifeboatError(
                            "check '\(verdict.name)' \(Self.failure(verdict)): \(verdict.explanation)",
                            causes: [verdict.requirement]), DrillPhase.checks)
                } else if !isAsCaptured {
                    find(
                        LifeboatError(
                            "check '\(verdict.name)' gives other values than in the snapshot: \(verdict.explanation)",
                            causes: ["in the snapshot \(captured?.explanation ?? "")"]), DrillPhase.checks)
                }
            }
        }
    }

    /// Of the checks that ask nothing but components in the sandbox.
    private func verdicts() throws -> [CheckResult] {
        let sources = Dictionary(uniqueKeysWithValues: seats.filter { !$0.hasFailed }.map { ($0.name, $0.store) })
        let asked = request.policy.checks.filter { check in
            check.values.allSatisfy { value in
                switch value {
                case .number: true
                case .component(let name, let question): sources[name] != nil && hasAll(question, of: name)
                case .http: false
                }
            }
        }
        for check in request.policy.checks where !asked.contains(check) {
            let place = request.sample == nil ? "in the sandbox" : "in the sample"
            let reason = "check '\(check.name)' was not asked: not all it asks is \(place)"
            if !result.leftOut.contains(reason) { result.leftOut.append(reason) }
        }
        let evaluation = CheckEvaluation(asked)
        try evaluation.askAll(sources.mapValues { $0 as? any NumberSource }, cancellation)
        return evaluation.results
    }

    /// Whether all the data that a question is about is in the sandbox.
    private func hasAll(_ question: CheckQuestion, of component: String) -> Bool {
        guard let seat = seats.first(where: { $0.name == component }), let sampled = seat.sampled, !seat.isWhole else {
            return true
        }
        // Of a query nobody knows which tables it reads.
        guard case .points(let collection) = question else { return false }
        return sampled.holds(collection: collection)
    }

    func askProbes() throws {
        let probes = DrillProbes(
            policy: request.policy, seats: seats.filter { !$0.hasFailed }, compose: compose, servicesRun: servicesRun,
            drill: result.drill, folder: sandbox?.folder ?? "/", request: request)
        let questions = probes.questions
        result.leftOut += questions.leftOut
        guard !questions.probes.isEmpty else { return }
        try timeline.measure(DrillPhase.probes) {
            for probe in questions.probes {
                try cancellation.check()
                let answer = probe.ask(clock, cancellation)
                result.probes.append(answer)
                guard !answer.passed else { continue }
                // What was interrupted says nothing of the recovery.
                try cancellation.check()
                find(
                    LifeboatError("probe '\(answer.name)' did not pass", causes: [answer.detail]), DrillPhase.probes,
                    probe.component)
            }
        }
    }

    // MARK: - Once more

    func restart() throws {
        let working = seats.filter { !$0.hasFailed }
        if let compose {
            try timeline.measure(DrillPhase.restart, isRecovery: false) { try compose.stop() }
            try timeline.measure(DrillPhase.again, isRecovery: false) { try bringUpServices(compose) }
            // A container that is started again may get the address another one had.
            if let plan, let sandbox {
                for seat in working {
                    seat.store = try request.makeStore(seat.place.policy, plan.policy, sandbox.folder)
                }
            }
        }
        let engines = compose == nil ? working.filter { $0.engine != nil } : []
        try each(DrillPhase.restart, of: engines, isRecovery: false) { seat in
            try seat.engine?.stop()
            try seat.engine?.start()
        }
        try each(DrillPhase.again, of: engines, isRecovery: false) { try $0.engine?.awaitReady(cancellation) }
        let before = result.findings.count
        try compareFacts(working, DrillPhase.factsAgain, isRecovery: false) { seat, facts in
            seat.result.holdsAfterRestart = !facts.contains { $0.state == .different }
        }
        // What was wrong before is named already.
        let known = Set(result.findings[..<before].map(\.message))
        let new = result.findings[before...].filter { !known.contains($0.message) }
        result.findings = Array(result.findings[..<before]) + new
        guard !result.checks.isEmpty else { return }
        try timeline.measure(DrillPhase.checksAgain, isRecovery: false) {
            for verdict in try verdicts() {
                guard let index = result.checks.firstIndex(where: { $0.name == verdict.name }) else { continue }
                result.checks[index].holdsAfterRestart = verdict.holds
                guard result.checks[index].holds, !verdict.holds else { continue }
                find(
                    LifeboatError(
                        "check '\(verdict.name)' \(Self.failure(verdict)) after the restart: \(verdict.explanation)"),
                    DrillPhase.checksAgain)
            }
        }
    }

    /// A secret that is another one breaks what was encrypted or signed with it, on the day it counts.
    func compareSecrets() {
        guard let kept = manifest.secrets else { return }
        do {
            for difference in try SecretComparison.differences(
                kept, breaks: { name in request.policy.secrets.first { $0.name == name }?.breaks },
                secret: request.secret)
            {
                if difference.isOther {
                    find(
                        LifeboatError(
                            difference.message,
                            hint: "Keep the value the snapshot was made with where a recovery finds it."),
                        DrillPhase.authenticate)
                } else {
                    result.warnings.append(difference.message)
                }
            }
        } catch {
            find(LifeboatError.converting(error), DrillPhase.authenticate)
        }
    }
}
