// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO
import LifeboatPolicy
import LifeboatRepository
import LifeboatRestore
import LifeboatServices
import LifeboatStores

/// One drill on throw-away engines: the data of a snapshot brought up beside everything that lives on this host.
///
/// What goes wrong with one component is a finding, and the others go on, so that one drill names all there is. The
/// sandbox is torn down on every path. What brings the data up is in `DrillRecovery.swift`, what proves it in
/// `DrillProof.swift`. Blocking, on the calling thread.
package final class DrillRun {
    let request: DrillRequest
    let timeline: DrillTimeline
    let start: Double
    var result: DrillResult
    var seats: [DrillSeat] = []
    var plan: SandboxPlan?
    var sandbox: Sandbox?
    var compose: ComposeSandbox?
    /// All services of the Compose project were started, not servers alone.
    var servicesRun = false
    /// What was on the container engine before.
    var living: [String] = []

    var clock: any Clock { request.clock }
    var cancellation: Cancellation { request.cancellation }
    var manifest: Manifest { request.snapshot.manifest }

    /// `timeline` has begun: what was measured before counts into the recovery. `started`: when that was.
    package init(_ request: DrillRequest, _ timeline: DrillTimeline, id: String, started: Timestamp) {
        self.request = request
        self.timeline = timeline
        start = request.clock.monotonicSeconds() - timeline.elapsed
        let manifest = request.snapshot.manifest
        var objectives = DrillResult.Objectives(
            rto: request.policy.objectives.rto, rpo: request.policy.objectives.rpo)
        let components = request.policy.components.map(\.name)
        objectives.take(
            RecoveryPoint.figures(
                request.snapshots, now: started,
                components: request.selected.isEmpty ? components : components.filter(request.selected.contains)))
        result = DrillResult(
            drill: id, repositoryID: request.repository.config.repositoryID, stack: manifest.stack,
            host: request.host, lifeboat: request.lifeboat,
            sandbox: (request.project == nil ? DrillPolicy.Sandbox.engines : .compose).rawValue,
            snapshot: request.snapshot.id, snapshotTime: manifest.frozen, sequence: manifest.sequence,
            started: started, objectives: objectives, repeatCommand: request.repeatCommand)
        result.samplePercent = request.sample
        result.isFull = request.sample == nil
    }

    /// Drills; the result, also when it failed. Throws only what is no result: interrupted, or the sandbox could not
    /// be torn down.
    package func run() throws -> DrillResult {
        do {
            try rehearse()
        } catch {
            let told = LifeboatError.converting(error)
            if told.exitCode == .interrupted {
                try tearDown()
                throw told
            }
            find(told, timeline.phases.last?.name ?? DrillPhase.prepare)
        }
        try tearDown()
        conclude()
        return result
    }

    private func rehearse() throws {
        compareSecrets()
        try bringUp()
        let working = seats.filter { !$0.hasFailed }
        try compareFacts(working, DrillPhase.facts) { seat, facts in
            seat.result.facts = facts + seat.leftOutFacts
        }
        try askChecks()
        try askProbes()
        if result.findings.isEmpty {
            let extra = timeline.phases.filter { !$0.isRecovery }.reduce(0) { $0 + $1.seconds }
            result.objectives.rta = timeline.elapsed - extra
        }
        try restart()
    }

    // MARK: - Down

    private func tearDown() throws {
        guard let sandbox else { return }
        self.sandbox = nil
        if request.isKept {
            try sandbox.keep()
            for seat in seats where seat.engine != nil { seat.engine?.letGo() }
            request.progress.report(.note("the sandbox is kept in '\(sandbox.folder)'"))
            return
        }
        try timeline.measure(DrillPhase.tearDown, isRecovery: false) {
            for seat in seats {
                // What does not go in order is ended with the rest of the sandbox.
                if compose == nil { do { try seat.engine?.stop() } catch { continue } }
            }
            try sandbox.remove()
            try compareLiving()
        }
    }

    /// That nothing on the container engine is another than before.
    private func compareLiving() throws {
        guard let compose else { return }
        let now = try ComposeSandbox.living(request.docker, without: compose.name)
        let changed = Set(living).symmetricDifference(now).sorted()
        result.untouched = living.count
        guard !changed.isEmpty else { return }
        result.untouched = nil
        result.warnings.append(
            "while it was drilled something on the container engine changed: \(changed.prefix(4).joined(separator: "; "))"
        )
    }

    private func conclude() {
        result.components += seats.map(\.result)
        let order = manifest.components.map(\.name)
        result.components.sort {
            (order.firstIndex(of: $0.name) ?? order.count) < (order.firstIndex(of: $1.name) ?? order.count)
        }
        result.phases = timeline.phases
        result.seconds = timeline.elapsed
        result.ended = clock.now()
        result.conclude()
    }

    // MARK: - Troubles

    /// Runs a step for every component that is still on its way, each measured.
    func each(
        _ phase: String, of chosen: [DrillSeat]? = nil, isRecovery: Bool = true, _ step: (DrillSeat) throws -> Void
    ) throws {
        for seat in chosen ?? seats where !seat.hasFailed {
            try cancellation.check()
            do {
                try timeline.measure(phase, seat.name, isRecovery: isRecovery) { try step(seat) }
            } catch {
                try fail(seat, error, phase)
            }
        }
    }

    func fail(_ seat: DrillSeat, _ error: any Error, _ phase: String) throws {
        try findUnlessInterrupted(error, phase, seat.name)
        seat.hasFailed = true
        seat.result.state = .failed
    }

    func findUnlessInterrupted(_ error: any Error, _ phase: String, _ component: String?) throws {
        let told = LifeboatError.converting(error)
        // Which component it was on does not matter.
        if told.exitCode == .interrupted { throw LifeboatError.interrupted }
        find(told, phase, component)
    }

    func find(_ error: LifeboatError, _ phase: String, _ component: String? = nil) {
        result.findings.append(DrillResult.Finding(error, phase: phase, component: component))
    }

    func warn(_ warning: LifeboatError, _ seat: DrillSeat) {
        seat.result.warnings.append(([warning.message] + warning.causes).joined(separator: ": "))
    }
}

extension DrillSeat {
    /// Its data goes through the server, which has to run for it: no stop, no start.
    var isServed: Bool { store.swapsWithServer }
}
