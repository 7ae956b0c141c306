// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatRepository
import LifeboatStorage

/// `lifeboat key export-recovery-sheet`
struct KeyExportRecoverySheet: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "export-recovery-sheet",
        abstract: "Print one page that tells how to read the repository, with lifeboat and without.",
        discussion: "It holds no secret. Print it, and keep it with the identity or the passphrase.")

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.open(session)
        let config = repository.config
        try session.emit(
            RecoverySheet(
                repository: repository.store.properties.location, repositoryID: config.repositoryID.hex,
                created: config.created, printed: session.context.clock.now(), recipients: config.recipients,
                signers: config.signers,
                wrapped: try WrappedIdentity.list(repository.store).map(\.text)))
        return .done
    }
}

private struct RecoverySheet: OutputRendering {
    static let messageType = "recovery_sheet"
    let repository: String
    let repositoryID: String
    let created: Timestamp
    let printed: Timestamp
    let recipients: [String]
    let signers: [RepositoryConfig.Signer]
    /// Objects that hold an identity wrapped with a passphrase.
    let wrapped: [String]

    private enum CodingKeys: String, CodingKey {
        case repository, created, printed, recipients, signers, wrapped
        case repositoryID = "repository_id"
    }

    var text: String {
        var lines = [
            "LIFEBOAT RECOVERY SHEET",
            "",
            "Repository   \(EscapedName.line(repository))",
            "Id           \(repositoryID)",
            "Created      \(created.tableText) UTC      Printed  \(printed.tableText) UTC",
            "",
            "WHO CAN READ IT",
        ]
        if recipients.isEmpty { lines.append("  everybody: it is not encrypted") }
        for recipient in recipients {
            lines += ["  \(recipient)", "    identity kept at: ______________________________________________"]
        }
        for object in wrapped {
            lines += [
                "  passphrase for \(object)", "    passphrase kept at: ____________________________________________",
            ]
        }
        lines += ["", "WHOSE SNAPSHOTS COUNT (minisign public keys)"]
        lines += signers.map { "  \($0.key)  \(EscapedName.line($0.host))" }
        let key = recipients.isEmpty ? "" : wrapped.isEmpty ? " --identity FILE" : " --passphrase-file FILE"
        lines += [
            "", "WITH LIFEBOAT",
            "  lifeboat snapshots --repository FOLDER" + key,
            "  lifeboat restore latest --repository FOLDER --to EMPTY_FOLDER" + key,
            "", "WITHOUT LIFEBOAT (apt install age zstd tar b3sum minisign xxd jq)",
        ]
        if !wrapped.isEmpty { lines.append("  age -d KEY_OBJECT > IDENTITY          asks for the passphrase") }
        if let signer = signers.first {
            lines.append("  minisign -Vm SNAPSHOT -P \(signer.key)")
        }
        lines += [
            recipients.isEmpty
                ? "  zstd -dc PACK | tar -x                each file is a chunk, named by the BLAKE3 of its bytes"
                : "  age -d -i IDENTITY PACK | zstd -d | tar -x    each file is a chunk, named by its BLAKE3",
            "  The README.txt in the repository tells how chunks become files again.",
        ]
        return lines.joined(separator: "\n")
    }
}
