// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatBackup
import LifeboatCore
import LifeboatIO
import LifeboatPolicy
import LifeboatRepository
import LifeboatRestore

/// `lifeboat backup`
struct Backup: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Make a snapshot.",
        discussion: """
            By policy: every component of the stack, or those that are named. Ad hoc, with --repository and paths: \
            each path is a volume of its own, named by its absolute path. Exit code 3 when something is missing from \
            the snapshot; it is kept, and marked as incomplete. After a complete snapshot by policy, old ones are \
            removed by the policy's retention rules.
            """)

    @Argument(help: "Components of the policy, or paths to back up ad hoc.")
    var items: [String] = []

    @Flag(
        name: .long,
        help:
            "Confirm that components lost most of what they had: this snapshot counts, and later ones compare with it.")
    var acceptShrink = false

    @OptionGroup var location: RepositoryOptions
    @OptionGroup(title: "Ad hoc backups") var adHoc: AdHocOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard items.contains(where: { $0.isEmpty }) else { return }
        throw ValidationError("A component or path is empty")
    }

    func run(_ session: CommandSession) throws -> ExitCode {
        let source = try adHocVolumes(session) ?? byPolicy(session)
        var lock: FileLock?
        if let assembly = source.assembly {
            try PendingWork.recover(assembly, session)
            lock = try Self.lock(assembly.policy.stack, session)
        }
        let repository = try location.open(at: source.location, session, policy: source.assembly?.policy)
        try location.requireEncryption(of: repository, session)
        let components = try source.components()
        let host = session.context.host
        let engine = BackupEngine(
            repository: repository,
            settings: BackupEngine.settings(
                processors: host.processors, components: components.count, compressionLevel: 3),
            clock: session.context.clock, progress: session.progress, cancellation: session.cancellation)
        var request = BackupRequest(
            stack: source.stack, host: host.name, components: components, policyText: source.policyText,
            lifeboatVersion: LifeboatProgram.version)
        if let assembly = source.assembly {
            request.freeze = try assembly.freezePlan()
            request.checks = assembly.checks(items)
            request.secrets = assembly.backupSecrets()
            request.shrinkGuard = assembly.policy.shrinkGuard.map {
                ShrinkGuard(least: $0.least, except: $0.except, isAccepted: acceptShrink)
            }
            request.deltaCache = assembly.policy.deltaCache
        }
        let outcome = try engine.run(request)
        lock.take()?.release()
        session.progress.finish()
        for warning in outcome.warnings { session.warn(warning) }
        for problem in outcome.problems { try session.problem(problem) }
        for problem in outcome.repositoryProblems { try session.caution(problem) }
        if let problem = outcome.heldProblem { try session.problem(problem) }
        let manifest = outcome.snapshot.manifest
        let retention = RetentionAfterBackup.run(
            source.assembly?.policy, repository, isComplete: manifest.complete,
            checksHold: manifest.failedChecks.isEmpty, session)
        if let error = retention.error { try session.warnAlways(error) }
        try session.emitReport(
            BackupReport(
                outcome, warnings: outcome.warnings.count + (retention.error == nil ? 0 : 1),
                retention: retention.outcome))
        if retention.error?.exitCode == .interrupted { return .interrupted }
        if outcome.heldProblem != nil { return .failed }
        return manifest.complete && manifest.failedChecks.isEmpty ? .done : .incomplete
    }

    /// The lock of the stack: a second backup would meet frozen services, and a restore exchanges the data. Nil with a
    /// warning when the state directory cannot be written to.
    private static func lock(_ stack: String, _ session: CommandSession) throws -> FileLock? {
        do {
            return try RestoreJournal(stateFolder: try PendingWork.stateFolder(session.context)).lock(stack: stack)
        } catch let error as SystemCallError {
            session.warn(
                LifeboatError.converting(
                    error, "a second backup or a restore of stack '\(stack)' at the same time is not prevented"))
            return nil
        }
    }

    /// What is backed up, from where it is said.
    private struct Source {
        let location: String
        let stack: String
        let policyText: String?
        let assembly: StackAssembly?
        let components: () throws -> [BackupComponent]
    }

    private func byPolicy(_ session: CommandSession) throws -> Source {
        guard !adHoc.isUsed else {
            throw LifeboatError(
                "--stack, --exclude, --exclude-caches and --cross-file-systems are for backups of paths",
                hint: "Set them in the policy, or add --repository FOLDER and paths.", exitCode: .usage)
        }
        let policy = try PolicyFile.require(location.policy, session.context)
        let assembly = StackAssembly(policy, session)
        let named =
            try (location.repository ?? session.context.variable("LIFEBOAT_REPOSITORY")).map {
                try Locations.repository($0, session.context)
            }
        return Source(
            location: named ?? policy.repository, stack: policy.stack, policyText: policy.text, assembly: assembly,
            components: { try assembly.backupComponents(items) })
    }

    /// Nil when a policy is meant.
    private func adHocVolumes(_ session: CommandSession) throws -> Source? {
        let context = session.context
        guard try isAdHoc(context) else { return nil }
        guard let repository = location.repository ?? context.variable("LIFEBOAT_REPOSITORY") else {
            throw LifeboatError(
                "a backup of paths needs a repository", hint: "Give --repository FOLDER or set LIFEBOAT_REPOSITORY.",
                exitCode: .usage)
        }
        guard !acceptShrink else {
            throw LifeboatError(
                "--accept-shrink is for backups by policy", hint: "Leave it out: backups of paths have no guard.",
                exitCode: .usage)
        }
        guard !items.isEmpty else {
            throw LifeboatError("no path to back up was given", hint: "Name at least one.", exitCode: .usage)
        }
        let stack = adHoc.stack ?? AdHocOptions.defaultStack
        guard RepositoryLayout.isValidStackName(stack) else {
            throw LifeboatError(
                "'\(stack)' cannot be the name of a stack",
                hint: "Use a-z, 0-9, '.', '_' and '-', starting with a letter or digit.", exitCode: .usage)
        }
        let volumes = try adHoc.volumes(items, context)
        return Source(
            location: try Locations.repository(repository, context), stack: stack, policyText: nil, assembly: nil,
            components: {
                volumes.map {
                    BackupComponent(name: $0.path, store: StackAssembly.volume($0), source: $0.path)
                }
            })
    }

    /// Paths are meant when a repository was given for them, when they look like paths, and when there is no policy
    /// whose components could be meant.
    private func isAdHoc(_ context: CommandContext) throws -> Bool {
        if location.policy != nil { return false }
        if adHoc.isUsed { return true }
        guard !items.isEmpty else { return false }
        if location.repository != nil { return true }
        if items.contains(where: { $0.contains("/") || $0 == "." || $0 == ".." }) { return true }
        return try context.variable("LIFEBOAT_REPOSITORY") != nil && PolicyFile.find(nil, context) == nil
    }
}
