// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatRepository

/// One page for the worst hour: who can read a repository, and the steps from an empty host to the next backup.
struct RecoverySheet: OutputRendering {
    static let messageType = "recovery_sheet"
    let repository: String
    let repositoryID: String
    let created: Timestamp
    let printed: Timestamp
    let recipients: [String]
    let signers: [RepositoryConfig.Signer]
    /// Objects that hold an identity wrapped with a passphrase.
    let wrapped: [String]
    let stacks: [String]

    private enum CodingKeys: String, CodingKey {
        case repository, created, printed, recipients, signers, wrapped, stacks
        case repositoryID = "repository_id"
    }

    private var hasRecoveryKey: Bool { signers.contains(where: \.isRecovery) }

    var text: String {
        ([
            "LIFEBOAT RECOVERY SHEET",
            "",
            "Repository   \(EscapedName.line(repository))",
            "Id           \(repositoryID)",
            "Created      \(created.tableText) UTC      Printed  \(printed.tableText) UTC",
            "",
        ] + readers + [""] + writers + [""] + steps + [""] + byHand).joined(separator: "\n")
    }

    private var readers: [String] {
        var lines = ["WHO CAN READ IT"]
        if recipients.isEmpty { lines.append("  everybody: it is not encrypted") }
        for recipient in recipients {
            lines += ["  \(recipient)", "    identity kept at: ______________________________________________"]
        }
        for object in wrapped {
            lines += [
                "  passphrase for \(object)", "    passphrase kept at: ____________________________________________",
            ]
        }
        return lines
    }

    private var writers: [String] {
        ["WHOSE SNAPSHOTS COUNT (minisign public keys)"]
            + signers.filter { !$0.isRecovery }.map { "  \($0.key)  \(EscapedName.line($0.host))" }
            + signers.filter(\.isRecovery).map { "  \($0.key)  recovery key, signs config.json only" }
    }

    /// Lines that begin with two blanks and `lifeboat` are commands, to be run in this order.
    private var steps: [String] {
        let key = recipients.isEmpty ? "" : wrapped.isEmpty ? " --identity IDENTITY" : " --passphrase-file PASSPHRASE"
        // An identity is not needed to back up; a passphrase may be what the policy asks for.
        let backupKey = recipients.isEmpty || wrapped.isEmpty ? "" : key
        let location = " --repository \(ShellWord.quoted(repository))"
        let policy = " --policy lifeboat.yaml"
        let stack = stacks.first.map { " --stack \($0)" } ?? ""
        let signed = signers.map { " --signed-by \($0.key)" }.joined()
        var lines = ["WHEN THE HOST IS LOST: on a new one, with lifeboat and the data's programs installed"]
        if !key.isEmpty {
            lines.append("  Put the \(wrapped.isEmpty ? "identity" : "passphrase") into a file of mode 0600.")
        }
        if stacks.count > 1 {
            lines.append("  Stacks: \(stacks.joined(separator: ", ")). Do steps 2 and 4 to 6 for each of them.")
        }
        return lines + [
            "  1. See that id and keys are those above, and which snapshots there are.",
            "  lifeboat repository trust\(location)",
            "  lifeboat snapshots\(location)\(key)",
            "  2. Get the policy. Change in it what differs on this host; bring back the secrets it refers to.",
            "  lifeboat show latest --policy-text\(stack)\(location)\(key) > lifeboat.yaml",
            "  3. Let this host back up." + (hasRecoveryKey ? "" : " Other hosts then need 'repository trust --yes'."),
            "  lifeboat key adopt\(hasRecoveryKey ? "" : " --yes")\(location)\(key)\(signed)",
            "  4. Restore.",
            "  lifeboat restore latest --yes\(policy)\(location)\(key)",
            "  5. Back up again, every night from now on.",
            "  lifeboat backup\(policy)\(location)\(backupKey)",
            "  6. Rehearse the next recovery.",
            "  lifeboat drill\(policy)\(location)\(key)",
        ]
    }

    private var byHand: [String] {
        var lines = ["WITHOUT LIFEBOAT (apt install age zstd tar b3sum minisign xxd jq)"]
        if !wrapped.isEmpty { lines.append("  age -d KEY_OBJECT > IDENTITY          asks for the passphrase") }
        if let signer = signers.first {
            lines.append("  minisign -Vm SNAPSHOT -P \(signer.key)")
        }
        return lines + [
            recipients.isEmpty
                ? "  zstd -dc PACK | tar -x                each file is a chunk, named by the BLAKE3 of its bytes"
                : "  age -d -i IDENTITY PACK | zstd -d | tar -x    each file is a chunk, named by its BLAKE3",
            "  The README.txt in the repository tells how chunks become files again.",
        ]
    }
}
