// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatRepository

/// `lifeboat repository trust`
struct RepositoryTrust: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "trust", abstract: "Accept a repository as it is now.",
        discussion: """
            This host remembers which repository is at a location, who can read it, and who may sign in it. After a \
            change that no key it trusts has signed, every command that acts on a policy or changes the repository \
            ends with 13. This prints what is there now; with --yes it is trusted from now on.
            """)

    @OptionGroup var location: RepositoryOptions

    @Flag(name: .long, help: "Trust it.")
    var yes = false

    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.open(session, for: .examining)
        if let distrust = repository.distrust { session.warn(distrust) }
        let accepted = yes && repository.distrust != nil
        if accepted { try repository.acceptConfig() }
        try session.emit(
            TrustReport(
                repositoryID: repository.config.repositoryID.hex, recipients: repository.config.recipients,
                signers: repository.config.signers, trusted: repository.distrust == nil || accepted))
        guard repository.distrust == nil || accepted else {
            session.note("nothing was changed; add --yes to trust these recipients and signers")
            return .failed
        }
        return .done
    }
}

private struct TrustReport: OutputRendering {
    static let messageType = "summary"
    let repositoryID: String
    let recipients: [String]
    let signers: [RepositoryConfig.Signer]
    let trusted: Bool

    private enum CodingKeys: String, CodingKey {
        case recipients, signers, trusted
        case repositoryID = "repository_id"
    }

    var text: String {
        TextTable.fields(
            [("id", repositoryID), ("trusted", trusted ? "yes" : "no")]
                + (recipients.isEmpty ? [("recipient", "none: not encrypted")] : recipients.map { ("recipient", $0) })
                + signers.map { ("signer", "\($0.key) \(EscapedName.line($0.host))") })
    }
}
