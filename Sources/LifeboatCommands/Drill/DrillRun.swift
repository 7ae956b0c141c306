// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatDrill
import LifeboatIO
import LifeboatPolicy
import LifeboatRepository
import LifeboatRestore
import LifeboatServices
import LifeboatStores

/// `lifeboat drill run`, which `lifeboat drill` means.
struct DrillRunCommand: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Bring a snapshot up in a sandbox, prove it, and take it down.",
        discussion: """
            The data is loaded into the sandbox and compared with the snapshot value by value; checks and probes are \
            asked; all is started once more and asked again; then everything is removed. Nothing live is touched. The \
            result is kept in the repository. Exit code 4: an objective of the policy was missed; 1: it did not recover. \
            With --sandbox compose, the default for the services of a Compose project, these come up under another \
            name, on internal networks, without published ports, on volumes of their own; of a part of the components \
            those that can run with it. With --sandbox engines throw-away engines are made in a directory of their own \
            (PostgreSQL of the snapshot's major version, Redis, Chroma, Qdrant, as far as their programs are on this \
            host). With --sample 10% a share of the files, tables and collections is drilled, another one \
            of each snapshot; Redis, SQLite and what cannot be parted are taken whole. What is said of data that is not \
            all there is not asked, and the snapshot does not count as verified.
            """)

    @Argument(help: "Id of the snapshot (4 digits or more), or 'latest'.")
    var snapshot = "latest"

    @Option(
        name: .long,
        help: TimeArgument.help("The newest complete snapshot not after this time"))
    var at: TimeArgument?

    @Option(
        name: [.short, .long], parsing: .singleValue,
        help: ArgumentHelp("Only this component (repeatable).", valueName: "name"))
    var component: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Make the sandbox below this folder; else 'drill.folder' of the policy, else /var/tmp.",
            valueName: "folder"))
    var folder: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Only a share of the files, tables and collections; else 'drill.sample' of the policy, else 100%.",
            valueName: "N%"))
    var sample: String?

    enum Kind: String, ExpressibleByArgument, CaseIterable { case engines, compose }

    @Option(
        name: .long,
        help: ArgumentHelp(
            "compose (the stack's own project under another name) or engines (throw-away); else 'drill.sandbox' of the "
                + "policy, else compose when the policy names a service for each server.", valueName: "kind"))
    var sandbox: Kind?

    @Flag(name: .long, help: "Leave the sandbox running, to look around; 'lifeboat drill clean' removes it.")
    var keep = false

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard let sample, DrillPolicy.percent(sample) == nil else { return }
        throw ValidationError("'\(sample)' is not a share of the data, such as 10%")
    }

    /// Percent; nil: all of it.
    private func sample(_ policy: Policy) -> Double? {
        let percent = sample.flatMap { DrillPolicy.percent($0) } ?? policy.drill.sample ?? 100
        return percent < 100 ? percent : nil
    }

    func run(_ session: CommandSession) throws -> ExitCode {
        let context = session.context
        let policy = try PolicyFile.require(location.policy, context)
        let assembly = StackAssembly(policy, session)
        _ = try assembly.chosen(component)
        let project = try project(policy)
        let journal = SandboxJournal(stateFolder: try PendingWork.stateFolder(context))
        let lock = try journal.lock(stack: policy.stack)
        try Self.clearUp(journal, session)
        let code = try drill(policy, project, assembly, journal, session)
        lock.release()
        return code
    }

    /// The Compose project to bring up; nil: throw-away engines.
    private func project(_ policy: Policy) throws -> ComposeProject? {
        let kind = sandbox.flatMap { DrillPolicy.Sandbox(rawValue: $0.rawValue) } ?? policy.drill.sandbox
        guard kind ?? policy.usualSandbox == .compose else { return nil }
        guard case .compose(let compose)? = policy.services.control else {
            throw LifeboatError(
                "the policy names no Compose project that could be brought up in a sandbox",
                hint: "Use --sandbox engines, or name the project with 'services.compose'.", exitCode: .usage)
        }
        return ComposeProject(
            files: compose.files, name: compose.project, directory: compose.projectDirectory,
            environmentFiles: compose.environmentFiles, profiles: compose.profiles)
    }

    /// What drills that were killed left on this host.
    private static func clearUp(_ journal: SandboxJournal, _ session: CommandSession) throws {
        let (cleared, problems) = try Sandbox.clearUp(
            journal, docker: session.context.docker, clock: session.context.clock)
        for record in cleared { session.note("cleared up after drill \(record.drill), which was cut off") }
        for problem in problems { session.warn(problem) }
    }

    private func drill(
        _ policy: Policy, _ project: ComposeProject?, _ assembly: StackAssembly, _ journal: SandboxJournal,
        _ session: CommandSession
    ) throws -> ExitCode {
        let started = session.context.clock.now()
        let timeline = DrillTimeline(session.context.clock, session.progress)
        let (repository, catalog, chosen) = try timeline.measure(DrillPhase.resolve) {
            () -> (Repository, SnapshotCatalog, Snapshot) in
            let repository = try location.openForReading(session, policy: policy)
            let catalog = try SnapshotCatalog.readable(repository, stack: policy.stack, session)
            let selected = component.isEmpty ? policy.capturedComponents : Set(component)
            let chosen = try SnapshotOptions.choose(
                snapshot, at: at?.timestamp(session.context), holding: selected, catalog, stack: policy.stack,
                repository, session)
            return (repository, catalog, chosen)
        }
        let found = try timeline.measure(DrillPhase.authenticate) {
            // Read from the repository once more: digest, signature, and that it stands under its own name.
            let manifest = chosen.manifest
            return try SnapshotCatalog.read(
                RepositoryLayout.manifest(stack: manifest.stack, time: manifest.frozen, id: chosen.id), repository)
        }
        let id = DrillRequest.newID(started)
        let request = request(policy, project, assembly, journal, found, catalog, repository, session)
        let result = try DrillRun(request, timeline, id: id, started: started).run()
        return try conclude(result, repository, policy, session)
    }

    private func request(
        _ policy: Policy, _ project: ComposeProject?, _ assembly: StackAssembly, _ journal: SandboxJournal,
        _ found: Snapshot,
        _ catalog: SnapshotCatalog, _ repository: Repository, _ session: CommandSession
    ) -> DrillRequest {
        let context = session.context
        let style = output.style
        let parent = folder.map { context.absolutePath($0) } ?? policy.drill.folder ?? "/var/tmp"
        return DrillRequest(
            policy: policy, snapshot: found, snapshots: catalog.snapshots, repository: repository,
            selected: component, sample: sample(policy), parent: parent, isKept: keep, host: context.host.name,
            lifeboat: LifeboatProgram.version, repeatCommand: repeatCommand(found, policy),
            threads: context.host.processors, path: context.variable("PATH") ?? "/usr/local/bin:/usr/bin:/bin",
            clock: context.clock, progress: session.progress, cancellation: context.cancellation,
            runner: assembly.runner,
            docker: DockerProgram(
                runner: assembly.runner, environment: context.environment,
                projectVariables: project.map(assembly.composeVariables) ?? [:]), project: project, journal: journal,
            secret: { assembly.secret($0) },
            makeStore: { component, policy, folder in
                var inside = context
                // What stores keep on this host stays in the sandbox.
                inside.environment["LIFEBOAT_STATE"] = "\(folder)/state"
                inside.environment["LIFEBOAT_CACHE"] = "\(folder)/cache"
                inside.environment["TMPDIR"] = "\(folder)/tmp"
                return try StackAssembly(policy, CommandSession(inside, style)).store(component)
            })
    }

    private func repeatCommand(_ found: Snapshot, _ policy: Policy) -> String {
        var words = ["lifeboat", "drill", found.id.shortHex]
        if let sandbox { words += ["--sandbox", sandbox.rawValue] }
        words += component.flatMap { ["--component", $0] }
        if let percent = sample(policy) {
            words += ["--sample", (Int(exactly: percent).map { "\($0)" } ?? "\(percent)") + "%"]
        } else if policy.drill.sample != nil {
            words += ["--sample", "100%"]
        }
        if let source = policy.source { words += ["--policy", source] }
        if let repository = location.repository { words += ["--repository", repository] }
        words += location.keys.identity.flatMap { ["--identity", $0] }
        if let file = location.keys.passphraseFile { words += ["--passphrase-file", file] }
        return words.joined(separator: " ")
    }

    /// Keeps the result, and what it tells about times to come.
    private func conclude(
        _ result: DrillResult, _ repository: Repository, _ policy: Policy, _ session: CommandSession
    ) throws -> ExitCode {
        var id: Digest?
        do {
            id = try DrillHistory.store(result, in: repository)
        } catch {
            try session.warnAlways(
                LifeboatError.converting(error, "the result of the drill could not be kept in the repository"))
        }
        if result.findings.isEmpty {
            let rates = RateHistory(stateFolder: try PendingWork.stateFolder(session.context))
            do {
                try rates.add(result.measurements, stack: result.stack)
            } catch {
                session.warn(LifeboatError.converting(error, "what the drill took could not be kept on this host"))
            }
        }
        session.progress.finish()
        for finding in result.findings {
            try session.problem(
                LifeboatError(finding.message, causes: finding.causes, hint: finding.hint, exitCode: result.exitCode))
        }
        // The summary says it too, which is not printed then.
        if session.isQuiet, result.findings.isEmpty, result.exitCode == .objectiveMissed {
            try session.problem(Self.missed(result))
        }
        try session.emitReport(DrillSummary(id: id, result: result))
        return result.exitCode
    }

    private static func missed(_ result: DrillResult) -> LifeboatError {
        let objectives = result.objectives
        var causes: [String] = []
        if result.samplePercent == nil, objectives.missesRTO, let rta = objectives.rta, let rto = objectives.rto {
            causes.append("recovery time \(DurationText.short(rta)), objective \(DurationText.short(rto))")
        }
        if objectives.missesRPO, let rpa = objectives.rpa, let rpo = objectives.rpo {
            causes.append("recovery point \(DurationText.short(rpa)), objective \(DurationText.short(rpo))")
        }
        return LifeboatError(
            "the drill of stack '\(result.stack)' recovered, and missed an objective", causes: causes,
            exitCode: .objectiveMissed)
    }
}
