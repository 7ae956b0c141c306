// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatPolicy
import LifeboatRepository
import LifeboatRestore
import LifeboatServices
import LifeboatStores

/// Which snapshot and components a restore or its plan is about.
struct RestoreSelection: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp("The newest complete snapshot not after this time (UTC).", valueName: "time"))
    var at: TimeArgument?

    @Option(
        name: [.short, .long], parsing: .singleValue,
        help: ArgumentHelp("Only this component (repeatable).", valueName: "name"))
    var component: [String] = []

    @Flag(name: .long, help: "Also from an incomplete snapshot, what it holds.")
    var incomplete = false

    /// The snapshot: an id or `latest`, or what `--at` says.
    func snapshot(
        _ text: String?, _ repository: Repository, _ options: SnapshotOptions, _ location: RepositoryOptions,
        _ session: CommandSession
    ) throws -> Snapshot {
        if text != nil, text != "latest", at != nil {
            throw LifeboatError(
                "both a snapshot and --at were given", hint: "Give one of them.", exitCode: .usage)
        }
        guard text != nil || at != nil else {
            throw LifeboatError(
                "no snapshot was named", hint: "Give its id, 'latest', or a time with --at TIME.", exitCode: .usage)
        }
        return try options.find(text ?? "latest", at: at?.timestamp, repository, location, session)
    }
}

/// A plan with the live stack and the snapshot it is about. `startsServers`: servers that do not run are started first,
/// since stores are asked where they would put their data.
struct PlannedRestore {
    let plan: RestorePlan
    let stack: RestoreStack
    let snapshot: Snapshot

    init(
        _ assembly: StackAssembly, _ snapshot: Snapshot, _ selection: RestoreSelection, keepsOld: Bool,
        startsServers: Bool = false, _ session: CommandSession
    ) throws {
        self.snapshot = snapshot
        var stack = try assembly.restoreStack()
        if startsServers {
            let names = try assembly.chosen(selection.component).map(\.name)
            stack.startedServers = try RestoreServers(stack, clock: session.context.clock, progress: session.progress)
                .startMissing(names, session.cancellation)
        }
        self.stack = stack
        let now = session.context.clock.now()
        let id = RestoreRequest.newID(now)
        let targets = try assembly.policy.components.compactMap { component -> RestoreRequest.Target? in
            guard let store = stack.stores[component.name] else { return nil }
            let captured = snapshot.manifest.component(component.name)
            let facts = StoreFacts(counts: captured?.counts ?? [:], texts: captured?.texts ?? [:])
            return RestoreRequest.Target(
                name: component.name, store: store.kind, subject: store.subject,
                staged: try store.planStaging(id, of: facts))
        }
        var request = RestoreRequest(
            id: id, stack: assembly.policy.stack, snapshot: snapshot, targets: targets, created: now)
        request.selected = selection.component
        request.services = stack.services?.subject
        request.checks = assembly.policy.checks
        request.warnings = try SecretComparison.warnings(
            snapshot.manifest.secrets, breaks: { name in assembly.policy.secrets.first { $0.name == name }?.breaks },
            secret: assembly.secret)
        request.healthProbes = assembly.policy.health.count
        request.oldData = keepsOld ? .keep : .discard
        request.allowsIncomplete = selection.incomplete
        plan = try RestorePlanner.plan(request)
    }
}

/// A snapshot of a repository as restores read it.
struct SnapshotSource: RestoreSource {
    private let snapshot: Snapshot
    private let reader: ChunkReader
    private let options: RepositoryContent.Options
    private let counters: RestoreCounters

    init(
        _ snapshot: Snapshot, _ repository: Repository, _ plan: RestorePlan, allowsIncomplete: Bool,
        _ session: CommandSession
    ) throws {
        self.snapshot = snapshot
        // Only packs that are present count: a restore finds out before it touches anything.
        reader = ChunkReader(repository, try repository.openIndexesOfPresentPacks())
        var options = RepositoryContent.Options(threads: session.context.host.processors)
        options.allowsIncomplete = allowsIncomplete
        self.options = options
        counters = RestoreCounters(session.progress, filesTotal: plan.files, bytesTotal: plan.bytes)
    }

    func verifyChunks(of components: [String], _ cancellation: Cancellation) throws {
        var verification = SnapshotVerification(reader, cancellation)
        try verification.verify(try components.map(captured))
    }

    func content(of component: String) throws -> any RestoreContent {
        RepositoryContent(try captured(component), reader, options: options, counters: counters)
    }

    private func captured(_ name: String) throws -> Manifest.Component {
        guard let component = snapshot.manifest.component(name) else {
            throw LifeboatError(
                "snapshot '\(snapshot.id.shortHex)' holds no component '\(name)'", exitCode: .incomplete)
        }
        return component
    }
}
