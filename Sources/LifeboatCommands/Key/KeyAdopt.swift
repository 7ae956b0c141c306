// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatFormats
import LifeboatRepository

/// `lifeboat key adopt`
struct KeyAdopt: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "adopt", abstract: "Let this host back up when no trusted host is left to add it.",
        discussion: """
            Needs the identity or passphrase that reads the repository: it opens the recovery key, which signs the \
            change, so every host accepts it. Without a recovery key (the repository is not encrypted, or older than \
            recovery keys) --yes signs the change with this host's own key; hosts that know the repository then refuse \
            it until 'lifeboat repository trust --yes' is run on each of them. Snapshots of other hosts count as before.
            """)

    @OptionGroup var location: RepositoryOptions

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp(
            "Only when config.json is signed by this key, as the recovery sheet lists it (repeatable).",
            valueName: "RW…"))
    var signedBy: [String] = []

    @Flag(name: .long, help: "Also without a recovery key, signed by this host's own key.")
    var yes = false

    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let printed = try signedBy.map(KeyText.signer)
        let repository = try location.open(session)
        if let distrust = repository.distrust { throw distrust }
        if repository.sealing.isEncrypted { try repository.requireKey() }
        if !printed.isEmpty, try !repository.isConfigSigned(by: printed) {
            throw LifeboatError(
                "config.json is not signed by any of the keys given with --signed-by",
                causes: ["its signers are \(repository.config.signers.map(\.key).joined(separator: ", "))"],
                hint: "Find out who changed the repository since the recovery sheet was printed. Without --signed-by "
                    + "its configuration is taken as it is.", exitCode: .damagedRepository)
        }
        let recovery = try RecoveryKey.open(repository)
        guard recovery != nil || yes else { throw noRecoveryKey(repository) }
        guard try repository.adopt(host: session.context.host.name, signingWith: recovery) else {
            session.note("the repository trusts this host already")
            return .done
        }
        let adopted = try location.open(session)
        try adopted.rememberNewest()
        let config = adopted.config
        try session.emitReport(
            KeyAdoptReport(
                host: session.context.host.name, byRecoveryKey: recovery != nil, recipients: config.recipients,
                signers: config.signers))
        return .done
    }

    private func noRecoveryKey(_ repository: Repository) -> LifeboatError {
        LifeboatError(
            "the repository has no recovery key",
            causes: [
                repository.sealing.isEncrypted
                    ? repository.config.signers.contains(where: \.isRecovery)
                        ? "config.json names one, and it is missing below 'keys/'"
                        : "it was created before lifeboat made one" : "it is not encrypted"
            ],
            hint: "Compare 'lifeboat repository trust' with the recovery sheet, then run 'lifeboat key adopt --yes'. "
                + "Other hosts that back up there need 'lifeboat repository trust --yes' once.")
    }
}

private struct KeyAdoptReport: OutputRendering {
    static let messageType = "summary"
    let host: String
    /// Signed by the recovery key: every host accepts it.
    let byRecoveryKey: Bool
    let recipients: [String]
    let signers: [RepositoryConfig.Signer]

    var text: String {
        "the repository now trusts this host, '\(EscapedName.line(host))'"
            + (byRecoveryKey
                ? ""
                : "\nit is signed by this host alone: run 'lifeboat repository trust --yes' on every other host that "
                    + "uses the repository")
    }
}
