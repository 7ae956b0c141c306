// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatPolicy
import LifeboatRepository
import LifeboatStorage

/// `lifeboat repository`
struct RepositoryNoun: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repository", abstract: "Create and describe repositories.",
        subcommands: [RepositoryInit.self, RepositoryInfo.self, RepositoryTrust.self])
}

/// `lifeboat repository init`
struct RepositoryInit: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Create a repository.",
        discussion: """
            The folder is made when it does not exist. How snapshots are encrypted has to be said: for recipients \
            (age public keys: whoever has the identity of one can read, this host needs none), with a passphrase \
            (--passphrase-file: an identity is made, wrapped with it and kept in the repository), or not at all. On a \
            terminal it asks.
            """)

    @OptionGroup var location: RepositoryOptions

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp("Encrypt for this age recipient (repeatable).", valueName: "age1…"))
    var recipient: [String] = []

    @Option(name: .long, help: ArgumentHelp("Do not encrypt: none.", valueName: "method"))
    var encryption: EncryptionMethod?

    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let choice = try chosen(session)
        let path = try location.location(session.context)
        let store: LocalFolderStore
        do {
            store = try LocalFolderStore.create(at: path)
        } catch {
            throw error.lifeboatError.wrapped("cannot create the repository '\(path)'")
        }
        let context = session.context
        var recipients: [AgeRecipient] = []
        var wrapped: (identity: AgeIdentity, passphrase: Secret)?
        switch choice {
        case .none: break
        case .recipients(let texts): recipients = try texts.map(KeyText.recipient)
        case .passphrase(let passphrase):
            let identity = try KeyText.freshIdentity()
            recipients = [identity.recipient]
            wrapped = (identity, passphrase)
        }
        let config = try Repository.create(
            in: store, recipients: recipients, trust: HostTrust(state: PendingWork.stateFolder(context)),
            host: context.host.name, clock: context.clock,
            beforeConfig: {
                guard let wrapped else { return }
                try WrappedIdentity.store(
                    wrapped.identity, passphrase: wrapped.passphrase, in: store, created: context.clock.now())
            })
        try session.emitReport(
            RepositoryInitReport(
                repository: path, repositoryID: config.repositoryID.hex, encryption: config.encryption,
                recipients: config.recipients, wrapped: wrapped != nil))
        return .done
    }

    private enum Choice {
        case none
        case recipients([String])
        case passphrase(Secret)
    }

    private func chosen(_ session: CommandSession) throws -> Choice {
        let passphrase = try location.keys.passphrase(session)
        let said = [encryption != nil, !recipient.isEmpty, passphrase != nil].count { $0 }
        guard said <= 1 else {
            throw LifeboatError(
                "--recipient, --passphrase-file and --encryption none exclude each other",
                hint: "Give one of them; more readers are added later with 'lifeboat key add'.", exitCode: .usage)
        }
        if encryption != nil { return .none }
        if !recipient.isEmpty { return .recipients(recipient) }
        if let passphrase { return .passphrase(passphrase) }
        if let (encryption, policy) = try location.policyEncryption(session) {
            switch encryption {
            case .none: return .none
            case .recipients(let recipients): return .recipients(recipients)
            case .passphrase(let reference):
                return .passphrase(
                    try StackAssembly.secrets(policy, session)
                        .resolve(reference, for: "passphrase of the repository"))
            }
        }
        guard session.canAsk else {
            throw LifeboatError(
                "how to encrypt was not said",
                hint: "Add --recipient age1… (make one with 'lifeboat key generate'), --passphrase-file FILE, or "
                    + "--encryption none.",
                exitCode: .usage)
        }
        let answer = try session.ask(
            """
            How shall snapshots be encrypted?
              age1…       for these age recipients (one or more, separated by blanks): this host needs no key to back up
              passphrase  for a new key that is kept in the repository, wrapped with a passphrase
              none        not at all: whoever can read the repository can read every snapshot
            Type recipients, 'passphrase' or 'none':\u{20}
            """)
        let words = answer.split(whereSeparator: \.isWhitespace).map(String.init)
        guard !words.isEmpty else {
            throw LifeboatError(
                "nothing was answered, nothing was created",
                hint: "Make a key with 'lifeboat key generate', or give --passphrase-file FILE.", exitCode: .usage)
        }
        switch words {
        case ["none"]: return .none
        case ["passphrase"]: return .passphrase(try session.askPassphrase("passphrase: "))
        default: return .recipients(words)
        }
    }
}

/// The word for `--encryption`.
enum EncryptionMethod: String, ExpressibleByArgument, CaseIterable {
    case none
}

private struct RepositoryInitReport: OutputRendering {
    static let messageType = "summary"
    let repository: String
    let repositoryID: String
    let encryption: String
    let recipients: [String]
    /// The identity is in the repository, wrapped with the passphrase.
    let wrapped: Bool

    private enum CodingKeys: String, CodingKey {
        case repository, encryption, recipients, wrapped
        case repositoryID = "repository_id"
    }

    var text: String {
        let created = "created repository \(repositoryID.prefix(12)) in '\(EscapedName.line(repository))'"
        if recipients.isEmpty {
            return created + "\nit is not encrypted: whoever can read that folder can read every snapshot"
        }
        if wrapped {
            return created
                + "\nit is encrypted; its key is in it, wrapped with the passphrase: without that nothing can be read"
                + "\nnext: lifeboat key export-recovery-sheet --repository \(ShellWord.quoted(repository))"
        }
        return created + "\nit is encrypted for "
            + recipients.joined(separator: ", ")
            + "\nkeep the identity somewhere else than on this host: without it nothing can be read"
    }
}
