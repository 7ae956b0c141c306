// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatPolicy
import LifeboatRepository
import LifeboatRestore
import LifeboatServices
import LifeboatStores

/// A plan with the live stack and the snapshot it is about. Everything was asked that can be without touching anything:
/// what makes the restore impossible is among the problems of the plan.
struct PlannedRestore {
    let plan: RestorePlan
    let stack: RestoreStack
    let source: RepositorySource

    /// `isDryRun`: nothing is touched at all, and every chunk is looked for. Else servers that do not run are started
    /// first, since stores are asked where they would put their data; the execution begins with the chunks by itself.
    /// `allowsForeign`: the snapshot may be of another stack.
    init(
        _ aim: RestoreAim, _ snapshot: Snapshot, _ repository: Repository, _ selection: RestoreSelection,
        isDryRun: Bool, allowsForeign: Bool, _ session: CommandSession
    ) throws {
        let assembly = aim.assembly
        let stack = try aim.stack()
        var started: Set<String> = []
        let idle = try stack.services?.idle(session.cancellation) ?? []
        let failing = try stack.health?.failing(session.cancellation) ?? []
        let names = try assembly.chosen(aim.selected).map(\.name).filter { !selection.exclude.contains($0) }
        // Servers that the restore itself starts: a plan starts nothing, and cannot query them.
        let unasked = isDryRun ? Set(names.filter { stack.servers[$0].map(idle.contains) ?? false }) : []
        if !isDryRun {
            started = try RestoreServers(stack, clock: session.context.clock, progress: session.progress)
                .startMissing(names, session.cancellation)
        }
        self.stack = stack
        let now = session.context.clock.now()
        let id = RestoreRequest.newID(now)
        var unplaced: [String: LifeboatError] = [:]
        let targets = try assembly.policy.components.compactMap { component -> RestoreRequest.Target? in
            guard let store = stack.stores[component.name] else { return nil }
            let captured = snapshot.manifest.component(component.name)
            let facts = StoreFacts(counts: captured?.counts ?? [:], texts: captured?.texts ?? [:])
            var staged = StagedState([:])
            if aim.includes(component.name), !unasked.contains(component.name),
                !selection.exclude.contains(component.name), !selection.inPlace.contains(component.name)
            {
                do {
                    staged = try store.planStaging(id, of: facts)
                } catch {
                    let told = LifeboatError.converting(error)
                    if told.exitCode == .interrupted { throw told }
                    unplaced[component.name] = told
                }
            }
            var target = RestoreRequest.Target(
                name: component.name, store: store.kind, subject: store.subject,
                staged: staged,
                canWriteInPlace: store is any InPlaceStore)
            target.parts = aim.parts[component.name]
            return target
        }
        var request = RestoreRequest(
            id: id, stack: assembly.policy.stack, snapshot: snapshot, targets: targets, created: now)
        request.selected = aim.selected
        request.policyTargets = aim.targets.map { RestorePlan.Target(key: $0.key, value: $0.value) }
        request.excluded = selection.exclude
        request.inPlace = selection.inPlace
        request.verifiesData = selection.verifyFirst
        request.allowsForeign = allowsForeign
        request.services = stack.services?.subject
        if names.count < assembly.policy.components.count || !aim.parts.isEmpty {
            request.stopping = try stack.users?(names, session.cancellation)
        }
        request.checks = stack.checks
        request.warnings =
            try aim.warnings
            + Self.stateWarnings(idle, failing, unasked, stack, onlyRunning: selection.onlyRunning)
            + SecretComparison.warnings(
                snapshot.manifest.secrets,
                breaks: { name in assembly.policy.secrets.first { $0.name == name }?.breaks },
                secret: assembly.secret)
        request.healthProbes = stack.health == nil ? 0 : assembly.policy.health.count
        request.oldData = selection.keepOld == nil ? .discard : .keep
        request.keepSeconds = selection.keepOld.map { Int64($0.seconds) }
        request.allowsIncomplete = selection.incomplete
        // Without a state directory there is nothing to forecast from.
        if let stateFolder = try? PendingWork.stateFolder(session.context) {
            let history = RateHistory(stateFolder: stateFolder).measurements()
            for problem in history.problems { session.warn(problem) }
            request.rates = RecoveryRates(history.measurements)
        }

        let lanes = RestoreExecutor.defaultLanes
        var options = RepositoryContent.Options(threads: max(1, session.context.host.processors / lanes))
        if targets.count == 1 || aim.selected.count == 1 { options.threads = session.context.host.processors }
        options.allowsIncomplete = selection.incomplete
        let preflight = RestorePreflight(stack: stack, fallsToInPlace: selection.inPlaceWhenFull)
        let first = try RestorePlanner.plan(request)
        var source = try RepositorySource(
            repository, snapshot, components: first.components.map(\.name), options: options,
            progress: session.progress)
        Self.measureParts(&request, first, stack, source)
        let found = try preflight.run(
            first, source, checksChunks: isDryRun, unasked: unasked, session.cancellation)
        request.inPlace += found.inPlace
        request.warnings += found.warnings
        let isFinal = found.inPlace.isEmpty && found.warnings.isEmpty && aim.parts.isEmpty
        var plan = isFinal ? first : try RestorePlanner.plan(request)
        source.expect(plan)
        self.source = source
        let homeless = plan.components.filter { !$0.isInPlace }.compactMap { unplaced[$0.name] }
        let problems = homeless.filter { !found.problems.contains($0) } + found.problems
        if !started.isEmpty { plan.startedServers = started.sorted() }
        if !idle.isEmpty { plan.servicesDown = idle }
        if selection.onlyRunning { plan.onlyRunning = true }
        if !failing.isEmpty { plan.failingProbes = failing }
        // A service that ended well and is watched by no probe may be a task that is over.
        let ended = try stack.health == nil ? [] : stack.services?.ended(session.cancellation) ?? []
        if !failing.isEmpty || !started.isEmpty || !idle.allSatisfy(ended.contains) { plan.wasDown = true }
        plan.problems = problems.isEmpty ? nil : problems.map { RestoreRecord.Failure($0) }
        self.plan = plan
    }

    /// What of the stack does not work before the restore, and what becomes of it.
    private static func stateWarnings(
        _ idle: [String], _ failing: [RestorePlan.FailingProbe], _ unasked: Set<String>, _ stack: RestoreStack,
        onlyRunning: Bool
    ) -> [String] {
        var warnings: [String] = []
        if !idle.isEmpty {
            let names = idle.joined(separator: ", ")
            warnings.append(
                onlyRunning
                    ? "services do not run, and stay stopped: \(names)"
                    : "services do not run, and are started by the restore: \(names)")
        }
        warnings += failing.map { "a health probe fails already, before the restore: '\($0.name)': \($0.reason)" }
        warnings += unasked.sorted().map { component in
            "the server of '\(component)' does not run: the restore starts '\(stack.servers[component] ?? "")' first,"
                + " and checks then whether it can take the data"
        }
        return warnings
    }

    /// How much of the snapshot the parts are. One that cannot be told, since it is not there, is a problem the preflight
    /// finds.
    private static func measureParts(
        _ request: inout RestoreRequest, _ plan: RestorePlan, _ stack: RestoreStack, _ source: RepositorySource
    ) {
        for position in request.targets.indices where request.targets[position].parts != nil {
            let name = request.targets[position].name
            guard plan.component(name) != nil, let selection = try? stack.selections(of: [name], in: source)[name]
            else { continue }
            request.targets[position].amount = RestoreRequest.Amount(bytes: selection.bytes, files: selection.files)
        }
    }

    /// Throws what makes the restore impossible: all of it, not the first.
    func requirePossible() throws {
        let problems = (plan.problems ?? []).map(\.error)
        guard let first = problems.first else { return }
        if problems.count == 1 { throw first }
        throw LifeboatError(
            "the restore is not possible: \(counted(problems.count, "problem")) found",
            causes: problems.map(RestorePlanner.text), hint: "Nothing was touched. Remove the causes and try again.",
            exitCode: first.exitCode)
    }
}
