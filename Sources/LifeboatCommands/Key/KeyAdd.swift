// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatFormats
import LifeboatRepository

/// Which keys `key add` and `key remove` are about.
struct NamedKeys: ParsableArguments {
    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp("A reader, by age recipient (repeatable).", valueName: "age1…"))
    var recipient: [String] = []

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp("A host that backs up, by the key 'key list' prints there (repeatable).", valueName: "RW…"))
    var signer: [String] = []

    /// `passphraseOption` names a third kind of key, which `passphrase` gives; `others`: a key of another kind was named.
    func requireSome(or passphrase: String?, _ passphraseOption: String, others: Bool = false) throws {
        guard recipient.isEmpty, signer.isEmpty, passphrase == nil, !others else { return }
        throw LifeboatError(
            "no key was named", hint: "Give --recipient age1…, --signer RW… or \(passphraseOption) FILE.",
            exitCode: .usage)
    }
}

/// `lifeboat key add`
struct KeyAdd: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Let somebody read what is backed up from now on, or let a host back up.",
        discussion: "A new reader opens snapshots whose data is written from now on; what is stored already is for the "
            + "old ones only until 'lifeboat key rewrap' makes it readable for all. A new passphrase opens all that the key opens with which this command is "
            + "run. Only a host the repository trusts can do this.")

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var keys: NamedKeys

    @Option(name: .long, help: ArgumentHelp("Name of the host of --signer, for people.", valueName: "name"))
    var host: String = ""

    @Option(
        name: .long,
        help: ArgumentHelp("A passphrase to wrap the identity with that opens the repository.", valueName: "file"))
    var newPassphraseFile: String?

    @Flag(
        name: .long,
        help: "A new recovery key in place of the old one, if any: with it readers let a new host in ('key adopt').")
    var recoveryKey = false

    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        try keys.requireSome(or: newPassphraseFile, "--new-passphrase-file", others: recoveryKey)
        let repository = try location.open(session)
        if let newPassphraseFile {
            try wrap(repository, with: KeyOptions.secret(newPassphraseFile, for: "new passphrase", session), session)
        }
        var config = repository.config
        let recipients = try keys.recipient.map(KeyText.recipient)
        guard recipients.isEmpty || !config.recipients.isEmpty else {
            throw LifeboatError(
                "the repository is not encrypted, and stays so",
                hint: "Create a new one with 'lifeboat repository init --recipient age1…'.")
        }
        guard !recoveryKey || !config.recipients.isEmpty else {
            throw LifeboatError(
                "a repository that is not encrypted has no recovery key",
                causes: ["whoever can read its storage could take the key and change who signs"],
                hint: "A new host is let in with 'lifeboat key adopt --yes' there.")
        }
        for recipient in recipients where !config.recipients.contains(recipient.text) {
            config.recipients.append(recipient.text)
        }
        for signer in try keys.signer.map(KeyText.signer)
        where !config.signers.contains(where: { $0.key == signer.text }) {
            config.signers.append(RepositoryConfig.Signer(host: host, key: signer.text))
        }
        if config != repository.config || recoveryKey {
            try repository.replaceConfig(config, renewingRecoveryKey: recoveryKey)
        } else if newPassphraseFile == nil {
            session.note("the repository knows these keys already")
            return .done
        }
        try session.emitReport(KeyChangeReport(recipients: config.recipients, signers: config.signers))
        if config.recipients != repository.config.recipients {
            session.note(
                "what is stored already is for the old readers only; 'lifeboat key rewrap' makes it readable for all")
        }
        return .done
    }

    /// Wraps every reader's identity that was given.
    private func wrap(_ repository: Repository, with passphrase: Secret, _ session: CommandSession) throws {
        let identities = repository.sealing.identities.filter {
            repository.config.recipients.contains($0.recipient.text)
        }
        guard !identities.isEmpty else {
            throw LifeboatError(
                "there is no identity to wrap",
                causes: [
                    repository.sealing.isEncrypted
                        ? "no key of a reader of this repository was given" : "the repository is not encrypted"
                ],
                hint: "Give the key with --identity FILE or --passphrase-file FILE.", exitCode: .wrongKey)
        }
        for identity in identities {
            try WrappedIdentity.store(
                identity, passphrase: passphrase, in: repository.store, created: session.context.clock.now())
        }
    }
}

/// `lifeboat key remove`
struct KeyRemove: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Encrypt no longer for a reader, or trust a host's signatures no longer.",
        discussion: "What is stored already stays readable for a removed reader until 'lifeboat key rewrap' and a "
            + "prune after it. Snapshots of a removed host no longer count: they cannot be restored with lifeboat until its key is added again."
    )

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var keys: NamedKeys

    @Option(
        name: .long,
        help: ArgumentHelp("A passphrase that is to open the repository no longer.", valueName: "file"))
    var oldPassphraseFile: String?

    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        try keys.requireSome(or: oldPassphraseFile, "--old-passphrase-file")
        let repository = try location.open(session)
        var config = repository.config
        for text in keys.recipient {
            guard config.recipients.contains(text) else { throw unknown(text) }
            config.recipients.removeAll { $0 == text }
        }
        guard !config.recipients.isEmpty || repository.config.recipients.isEmpty else {
            throw LifeboatError(
                "the last reader cannot be removed", hint: "Add another one first with 'lifeboat key add'.")
        }
        for text in keys.signer {
            guard config.signers.contains(where: { $0.key == text }) else { throw unknown(text) }
            config.signers.removeAll { $0.key == text }
        }
        guard config.signers.contains(where: { !$0.isRecovery }) else {
            throw LifeboatError(
                "the last signer cannot be removed", hint: "Add another one first with 'lifeboat key add'.")
        }
        if let oldPassphraseFile {
            let old = try KeyOptions.secret(oldPassphraseFile, for: "old passphrase", session)
            let other = try location.passphrase(session)
            try WrappedIdentity.remove(
                old, from: repository.store,
                keeping: location.keys.identities(
                    for: repository.store, passphrase: other == old ? nil : other, session))
        }
        if config != repository.config { try repository.replaceConfig(config) }
        try session.emitReport(KeyChangeReport(recipients: config.recipients, signers: config.signers))
        return .done
    }

    private func unknown(_ text: String) -> LifeboatError {
        LifeboatError(
            "the repository does not know the key '\(EscapedName.line(text))'",
            hint: "See which it knows with 'lifeboat key list'.", exitCode: .usage)
    }
}

struct KeyChangeReport: OutputRendering {
    static let messageType = "summary"
    let recipients: [String]
    let signers: [RepositoryConfig.Signer]

    var text: String {
        let hosts = signers.count { !$0.isRecovery }
        return "the repository now has \(recipients.count) reader\(recipients.count == 1 ? "" : "s") and "
            + "\(hosts) signer\(hosts == 1 ? "" : "s")"
    }
}
