// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatPolicy
import LifeboatRepository
import LifeboatStorage

/// Which repository, and which policy may name it.
struct RepositoryOptions: ParsableArguments {
    @Option(
        name: [.short, .long],
        help: ArgumentHelp(
            "Folder of the repository; else LIFEBOAT_REPOSITORY, else what the policy says.", valueName: "folder"))
    var repository: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The stack's policy; else LIFEBOAT_POLICY, else ./lifeboat.yaml, else the one file /etc/lifeboat/*.yaml.",
            valueName: "file"))
    var policy: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Folder for local copies of indexes; else LIFEBOAT_CACHE, else $XDG_CACHE_HOME/lifeboat or "
                + "~/.cache/lifeboat.", valueName: "folder"))
    var cache: String?

    @OptionGroup var keys: KeyOptions

    /// Where the repository is: flag, environment, policy, in this order.
    func location(_ context: CommandContext) throws -> String {
        if let flag = repository ?? context.variable("LIFEBOAT_REPOSITORY") {
            return try Locations.repository(flag, context)
        }
        guard let policy = try PolicyFile.find(policy, context) else {
            throw LifeboatError(
                "no repository was named",
                hint: "Give --repository FOLDER, set LIFEBOAT_REPOSITORY, or give a policy with --policy FILE.",
                exitCode: .usage)
        }
        return policy.repository
    }

    /// The stack that `latest` means when the command line names none: the policy's, when the policy also names the
    /// repository.
    func defaultStack(_ context: CommandContext) throws -> String? { try defaultPolicy(context)?.stack }

    /// The policy whose stack `latest` means when the command line names none.
    func defaultPolicy(_ context: CommandContext) throws -> Policy? {
        if repository != nil && policy == nil { return nil }
        if policy == nil, context.variable("LIFEBOAT_REPOSITORY") != nil { return nil }
        return try PolicyFile.find(policy, context)
    }

    /// What the policy says of the encryption, when it is the policy that names the repository.
    func policyEncryption(_ session: CommandSession) throws -> (encryption: EncryptionPolicy, policy: Policy)? {
        let context = session.context
        if policy == nil, repository != nil || context.variable("LIFEBOAT_REPOSITORY") != nil { return nil }
        return try PolicyFile.find(policy, context).map { ($0.encryption, $0) }
    }

    /// The passphrase that was named, else the policy's.
    func passphrase(_ session: CommandSession) throws -> Secret? {
        if let named = try keys.passphrase(session) { return named }
        guard keys.identity.isEmpty, let (encryption, policy) = try policyEncryption(session),
            case .passphrase(let reference) = encryption
        else { return nil }
        return try StackAssembly.secrets(policy, session).resolve(reference, for: "passphrase of the repository")
    }

    /// Opens the repository. `policy`: the one the command acts on; else the one that names the repository counts.
    /// `resuming`: see `PendingWork.report`.
    func open(
        _ session: CommandSession, for use: RepositoryUse = .acting, policy: Policy? = nil, resuming: String? = nil
    ) throws -> Repository {
        try open(at: location(session.context), session, for: use, policy: policy, resuming: resuming)
    }

    /// Opens the repository for a command that reads chunks: a lease keeps prunes from deleting under it until the
    /// command ends. A place that takes no writes is read without.
    func openForReading(
        _ session: CommandSession, for use: RepositoryUse = .acting, policy: Policy? = nil, resuming: String? = nil
    ) throws -> Repository {
        let repository = try open(session, for: use, policy: policy, resuming: resuming)
        try repository.requireKey()
        let lease = try Lease.takeForReading(repository, host: session.context.host.name)
        if let lease { session.atEnd { lease.release() } }
        return repository
    }

    /// Opens the place of the repository, whatever is there.
    func openStore(_ session: CommandSession) throws -> any ObjectStore {
        try Self.openStore(location(session.context), session)
    }

    private static func openStore(
        _ location: String, _ session: CommandSession, resuming: String? = nil
    ) throws -> any ObjectStore {
        try PendingWork.report(session, resuming: resuming)
        do {
            return try LocalFolderStore(opening: location)
        } catch  where error.kind == .notFound {
            throw RepositoryError.absent(location)
        } catch {
            throw error.lifeboatError.wrapped("cannot open the repository '\(location)'")
        }
    }

    /// Opens the repository at a known place, and tells what an earlier lifeboat left undone on this host. What follows
    /// when the repository is not the one this host trusts depends on the `use`.
    func open(
        at location: String, _ session: CommandSession, for use: RepositoryUse = .acting, policy: Policy? = nil,
        resuming: String? = nil
    ) throws -> Repository {
        let store = try Self.openStore(location, session, resuming: resuming)
        let cacheRoot = Locations.cacheRoot(cache, session.context)
        let trust = HostTrust(
            state: Result { () throws(LifeboatError) in try PendingWork.stateFolder(session.context) })
        let identities: [AgeIdentity]
        do {
            identities = try keys.identities(for: store, passphrase: passphrase(session), session)
        } catch let error as LifeboatError where error.exitCode == .wrongKey {
            // Of a repository that was put in the place of another no key of ours opens anything.
            throw try Repository.open(store, cacheRoot: cacheRoot, trust: trust).distrust ?? error
        }
        let repository = try Repository.open(
            store, cacheRoot: cacheRoot, keys: identities.map(AgeKey.identity), trust: trust)
        if let distrust = repository.distrust {
            switch use {
            case .acting: throw distrust
            case .reading: try session.caution(distrust)
            case .examining: break
            }
        }
        session.atEnd {
            if let problem = repository.cacheProblem { session.warn(problem) }
            // Standard error that is gone ends nothing.
            if let problem = repository.stateProblem { try? session.warnAlways(problem) }
        }
        if let policy = try policy ?? policyEncryption(session)?.policy {
            try Self.requireKindOfEncryption(of: repository, policy)
        }
        do {
            try repository.requireFittingKey()
        } catch {
            throw use == .examining ? repository.distrust ?? error : error
        }
        return repository
    }

    /// Throws when the policy says that the repository is encrypted and it is not, or the other way round.
    private static func requireKindOfEncryption(of repository: Repository, _ policy: Policy) throws {
        guard (policy.encryption == .none) == repository.sealing.isEncrypted else { return }
        throw LifeboatError(
            "the repository is not encrypted as the policy of stack '\(policy.stack)' says",
            causes: [
                repository.sealing.isEncrypted
                    ? "the policy says 'encryption: none'; it is encrypted"
                    : "the policy wants it encrypted; it is not"
            ],
            hint:
                "Find out whether this is the repository that is meant. If it is, correct 'encryption' in the policy.",
            exitCode: .usage)
    }

    /// The repository has to be encrypted the way the policy says, before anything is written to it.
    ///
    /// Other recipients than the policy names are a warning on a host that has backed up there before: it accepts a
    /// change of readers only with the signature of a key it trusts. On any other host they end the backup, since the
    /// repository may be one that somebody else put there.
    func requireEncryption(of repository: Repository, _ session: CommandSession) throws {
        guard let (encryption, policy) = try policyEncryption(session) else { return }
        let config = repository.config
        if case .recipients(let wanted) = encryption, !config.recipients.isEmpty {
            guard Set(wanted) != Set(config.recipients) else { return }
            var difference = Self.otherRecipients(wanted, config, policy)
            let host = session.context.host.name
            guard try repository.newestRemembered(stack: policy.stack, host: host) == nil else {
                return try session.warnAlways(difference)
            }
            difference.exitCode = .usage
            throw difference
        }
        let difference: String? =
            switch encryption {
            case .none: config.recipients.isEmpty ? nil : "the policy says 'encryption: none'; it is encrypted"
            case .passphrase: config.recipients.isEmpty ? "the policy wants a passphrase; it is not encrypted" : nil
            case .recipients: config.recipients.isEmpty ? "the policy wants it encrypted; it is not" : nil
            }
        guard let difference else { return }
        throw LifeboatError(
            "the repository is not encrypted as the policy of stack '\(policy.stack)' says", causes: [difference],
            hint: "Correct the policy, or change the repository's readers with 'lifeboat key add' and 'key remove'.",
            exitCode: .usage)
    }
}

extension RepositoryOptions {
    /// Tells which readers differ, and which line of the policy to change.
    private static func otherRecipients(
        _ wanted: [String], _ config: RepositoryConfig, _ policy: Policy
    ) -> LifeboatError {
        let missing = wanted.filter { !config.recipients.contains($0) }
        let extra = config.recipients.filter { !wanted.contains($0) }
        var causes: [String] = []
        if !extra.isEmpty { causes.append("the repository is also encrypted for \(extra.joined(separator: ", "))") }
        if !missing.isEmpty { causes.append("it is not encrypted for \(missing.joined(separator: ", "))") }
        let lines = policy.text.split(separator: "\n", omittingEmptySubsequences: false)
        let number = lines.firstIndex { $0.hasPrefix("encryption:") }.map { ":\($0 + 1)" } ?? ""
        let file = policy.source.map { "'\(EscapedName.line($0))\(number)'" } ?? "the policy"
        return LifeboatError(
            "the policy of stack '\(policy.stack)' names other recipients than the repository has", causes: causes,
            hint: "If the repository is right, write in \(file): "
                + "encryption: {recipients: [\(config.recipients.joined(separator: ", "))]}. "
                + "If the policy is, run 'lifeboat key add' and 'lifeboat key remove'.")
    }
}

/// What a command does with a repository: decides what follows when the repository is not the one this host trusts.
enum RepositoryUse: Sendable {
    /// It acts on a policy, or changes the repository: refused with 13.
    case acting
    /// It reads, and leaves everything else alone: it goes on, says so, and ends with 3 where it would have ended with 0.
    case reading
    /// It is about the state of the repository, trust included: it reports by itself.
    case examining
}

/// Where lifeboat keeps things on this host.
enum Locations {
    /// An absolute path for what a user typed as a repository.
    static func repository(_ text: String, _ context: CommandContext) throws -> String {
        guard !text.isEmpty else {
            throw LifeboatError("the name of the repository is empty", exitCode: .usage)
        }
        guard !text.contains("://") else {
            throw LifeboatError(
                "repositories like '\(text.prefix { $0 != ":" })://…' are not supported by this version",
                hint: "Give the path of a folder.", exitCode: .usage)
        }
        return context.absolutePath(text)
    }

    /// Local copies of indexes; losing them costs time, never data.
    static func cacheRoot(_ flag: String?, _ context: CommandContext) -> String {
        if let named = flag ?? context.variable("LIFEBOAT_CACHE") { return context.absolutePath(named) }
        if let cache = context.variable("XDG_CACHE_HOME"), cache.hasPrefix("/") { return "\(cache)/lifeboat" }
        if let home = context.variable("HOME") { return "\(context.absolutePath(home))/.cache/lifeboat" }
        // Without HOME there is nowhere to keep anything: nothing can be made below a file, and the cache says so.
        return context.host.userID == 0 ? "/var/cache/lifeboat" : "/dev/null"
    }
}
