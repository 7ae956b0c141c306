// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatRepository
package import LifeboatStores

/// What a plan is made from.
package struct RestoreRequest: Sendable {
    /// A component of the stack's policy, as it is on this host.
    package struct Target: Sendable, Equatable {
        package var name: String
        package var store: String
        package var subject: String
        package var staged: StagedState
        /// Whether its store can write over the live data.
        package var canWriteInPlace: Bool
        /// The paths, collections or tables to restore of it; nil: all it holds.
        package var parts: [String]?
        /// What they are of the snapshot; nil: not known, or all of it.
        package var amount: Amount?

        package init(
            name: String, store: String, subject: String, staged: StagedState, canWriteInPlace: Bool = false
        ) {
            self.name = name
            self.store = store
            self.subject = subject
            self.staged = staged
            self.canWriteInPlace = canWriteInPlace
        }
    }

    /// Plain bytes and files.
    package struct Amount: Sendable, Equatable {
        package var bytes: UInt64
        package var files: UInt64

        package init(bytes: UInt64, files: UInt64) {
            self.bytes = bytes
            self.files = files
        }
    }

    package var id: String
    package var stack: String
    package var snapshot: Snapshot
    /// All components of the policy, in its order.
    package var targets: [Target]
    /// Names of the components to restore; empty: all of the policy.
    package var selected: [String] = []
    /// Values that were given instead of the policy's.
    package var policyTargets: [RestorePlan.Target] = []
    /// Components that are left as they are.
    package var excluded: [String] = []
    /// Components to write over in place.
    package var inPlace: [String] = []
    /// Read all data before anything is touched.
    package var verifiesData = false
    /// The snapshot may be of another stack than this one.
    package var allowsForeign = false
    /// How services are stopped and started, for people; nil: no service is touched.
    package var services: String?
    /// The services that use what is restored, which alone are stopped; nil: all that run are.
    package var stopping: [String]?
    package var healthProbes = 0
    /// Checks of the policy.
    package var checks: [StackCheck] = []
    /// What the reader of the plan should know besides what the planner finds.
    package var warnings: [String] = []
    package var oldData = RestorePlan.OldData.discard
    /// How long kept old data stays; nil: until it is discarded.
    package var keepSeconds: Int64?
    /// What earlier recoveries took.
    package var rates = RecoveryRates()
    /// Components that are staged at a time.
    package var lanes = RestoreExecutor.defaultLanes
    /// Restore what an incomplete snapshot holds of its components.
    package var allowsIncomplete = false
    package var created: Timestamp

    package init(id: String, stack: String, snapshot: Snapshot, targets: [Target], created: Timestamp) {
        self.id = id
        self.stack = stack
        self.snapshot = snapshot
        self.targets = targets
        self.created = created
    }

    /// A new id: the time, and enough chance that two restores never share one.
    package static func newID(_ time: Timestamp) -> String {
        let chance = String(UInt32.random(in: .min ... .max), radix: 16)
        return time.compact.lowercased() + "-" + String(repeating: "0", count: 8 - chance.count) + chance
    }
}

/// Makes plans. Pure: no I/O, the same request gives the same plan.
package enum RestorePlanner {
    /// Throws what makes the request impossible; what is only doubtful becomes a warning of the plan.
    package static func plan(_ request: RestoreRequest) throws(LifeboatError) -> RestorePlan {
        let manifest = request.snapshot.manifest
        guard manifest.stack == request.stack || request.allowsForeign else {
            throw LifeboatError(
                "snapshot '\(request.snapshot.id.shortHex)' is of stack '\(manifest.stack)', not of '\(request.stack)'",
                hint: "Choose a snapshot of this stack, or extract that one with --to DIR. To replace the data of "
                    + "'\(request.stack)' with it all the same, add --into-stack '\(request.stack)'.",
                exitCode: .usage)
        }
        var warnings: [String] = []
        var components: [RestorePlan.Component] = []
        if manifest.stack != request.stack {
            warnings.append(
                "the snapshot is of another stack, '\(manifest.stack)' of host '\(manifest.host)': its data replaces "
                    + "that of '\(request.stack)'")
        }
        for target in try chosen(request) {
            if target.parts != nil, request.inPlace.contains(target.name) {
                throw LifeboatError(
                    "parts of component '\(target.name)' cannot be restored in place",
                    causes: ["only whole volumes can"],
                    hint: "Leave --in-place away: the parts are exchanged one by one.", exitCode: .usage)
            }
            let captured = try capture(of: target, request)
            warnings += captured.problems.map { "component '\(target.name)' is not complete in the snapshot: \($0)" }
            components.append(
                RestorePlan.Component(
                    name: target.name, store: target.store, subject: target.subject,
                    bytes: target.amount?.bytes ?? captured.bytes, files: target.amount?.files ?? captured.files,
                    staged: target.staged, mode: request.inPlace.contains(target.name) ? .inPlace : .staged,
                    parts: target.parts))
        }
        let planned = Set(components.map(\.name))
        let left = request.excluded
        warnings += manifest.components.filter {
            !planned.contains($0.name) && request.selected.isEmpty && !left.contains($0.name)
                && $0.store != ProjectStore.kind
        }.map {
            "component '\($0.name)' of the snapshot is not in the policy: it is not restored"
        }
        if request.services != nil, request.healthProbes == 0 {
            warnings.append("the policy has no health probe: nothing proves that the stack works after the restore")
        }
        let overwritten = components.filter(\.isInPlace)
        if !overwritten.isEmpty {
            warnings.append(
                "\(overwritten.map(\.subject).joined(separator: ", ")) is written over in place: what is there now "
                    + "cannot be brought back, and a restore that is cut off can only go on")
        }
        // A component restored in part is another state than that of the snapshot: nothing is promised about it.
        let whole = Set(components.filter { $0.parts == nil }.map(\.name))
        let checks = checks(request, restored: whole, &warnings)
        var plan = RestorePlan(
            id: request.id, stack: request.stack, snapshot: request.snapshot.id, snapshotTime: manifest.frozen,
            created: request.created, components: components, services: request.services,
            healthProbes: request.healthProbes, checks: checks, oldData: request.oldData, steps: [],
            warnings: warnings + request.warnings)
        if request.oldData == .keep { plan.keepSeconds = request.keepSeconds }
        if !request.policyTargets.isEmpty { plan.targets = request.policyTargets }
        if manifest.stack != request.stack { plan.foreignStack = manifest.stack }
        plan.stopping = request.stopping
        plan.steps = PlannedSteps(plan, verifiesData: request.verifiesData).all
        plan.foretell(request.rates, lanes: request.lanes)
        return plan
    }

    /// An error as one of the warnings of a plan.
    package static func text(_ error: LifeboatError) -> String {
        ([error.message] + error.causes).joined(separator: ": ")
    }

    /// A check binds the restore when it held in the snapshot and everything it asks is restored from it.
    private static func checks(
        _ request: RestoreRequest, restored: Set<String>, _ warnings: inout [String]
    ) -> [RestorePlan.Check] {
        request.checks.map { check in
            let kept = request.snapshot.manifest.checks?.first { $0.name == check.name }
            if let kept, !kept.holds {
                warnings.append("check '\(check.name)' did not hold in the snapshot: \(kept.explanation)")
            }
            let isWhole = Set(check.values.compactMap(\.component)).isSubset(of: restored)
            return RestorePlan.Check(name: check.name, isRequired: kept?.holds == true && isWhole)
        }
    }

    private static func chosen(_ request: RestoreRequest) throws(LifeboatError) -> [RestoreRequest.Target] {
        for name in request.selected + request.excluded + request.inPlace {
            guard let target = request.targets.first(where: { $0.name == name }) else {
                throw LifeboatError(
                    "the policy has no component '\(name)'",
                    causes: ["it has: \(request.targets.map(\.name).joined(separator: ", "))"], exitCode: .usage)
            }
            if request.inPlace.contains(name), !target.canWriteInPlace {
                throw LifeboatError(
                    "component '\(name)' cannot be restored in place", causes: ["only files of a volume can"],
                    exitCode: .usage)
            }
        }
        let chosen = request.targets.filter {
            (request.selected.isEmpty || request.selected.contains($0.name)) && !request.excluded.contains($0.name)
        }
        guard !chosen.isEmpty else {
            throw LifeboatError(
                "the policy has no component to restore", hint: "Extract the snapshot with --to DIR.", exitCode: .usage)
        }
        return chosen
    }

    private static func capture(
        of target: RestoreRequest.Target, _ request: RestoreRequest
    ) throws(LifeboatError) -> Manifest.Component {
        let shown = "snapshot '\(request.snapshot.id.shortHex)'"
        guard let captured = request.snapshot.manifest.component(target.name) else {
            throw LifeboatError(
                "\(shown) holds no component '\(target.name)'",
                hint: "Name the components to restore with --component, or choose another snapshot.",
                exitCode: .incomplete)
        }
        guard captured.store == target.store else {
            throw LifeboatError(
                "component '\(target.name)' is a \(captured.store) in \(shown), but a \(target.store) in the policy",
                hint: "Extract it with --to DIR, or use the policy that the snapshot keeps.")
        }
        guard captured.isComplete || request.allowsIncomplete else {
            throw LifeboatError(
                "component '\(target.name)' is not complete in \(shown)", causes: captured.problems,
                hint: "Choose a complete snapshot, or extract what there is with --to DIR.", exitCode: .incomplete)
        }
        return captured
    }
}
