// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatFormats
import LifeboatRepository
import LifeboatStorage

/// `lifeboat key list`
struct KeyList: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Tell who can read a repository, who signs in it, and with what this host signs."
    )

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.open(session, for: .reading)
        let own = (try? repository.trust?.signingKeyCreating())?.publicKey.text ?? ""
        let wrapped = try WrappedIdentity.list(repository.store).count
        let config = repository.config
        var rows = config.recipients.map { KeyRow(role: "reader", key: $0, host: "", thisHost: false) }
        rows += config.signers.map {
            KeyRow(role: $0.role ?? "signer", key: $0.key, host: $0.host, thisHost: $0.key == own)
        }
        if !own.isEmpty, !config.signers.contains(where: { $0.key == own }) {
            rows.append(KeyRow(role: "untrusted", key: own, host: session.context.host.name, thisHost: true))
        }
        try session.emitTable(rows, whenEmpty: "no keys")
        if wrapped > 0 { session.note("\(wrapped) of the identities are in the repository, wrapped with a passphrase") }
        return .done
    }
}

private struct KeyRow: TableRow {
    static let messageType = "key"
    static let columns = [TableColumn("ROLE"), TableColumn("KEY"), TableColumn("HOST")]
    /// `reader`, `signer`, `recovery` (the recovery key), or `untrusted`: this host's key, which the repository does not know.
    let role: String
    let key: String
    let host: String
    let thisHost: Bool

    private enum CodingKeys: String, CodingKey {
        case role, key, host
        case thisHost = "this_host"
    }

    var cells: [String] { [role, key, EscapedName.line(host) + (thisHost ? " (this host)" : "")] }
}
