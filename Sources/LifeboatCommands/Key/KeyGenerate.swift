// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// `lifeboat key generate`
struct KeyGenerate: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate", abstract: "Make an age identity, the key that reads an encrypted repository.",
        discussion: "The identity goes to FILE, readable for its owner only; the recipient, its public half, is "
            + "printed. It is an age-keygen file. Keep a copy away from the hosts it reads the backups of.")

    @Argument(help: "File to write; it must not exist.")
    var file: String

    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let identity = try KeyText.freshIdentity()
        let path = session.context.absolutePath(file)
        let bytes = AgeIdentityFile.render(identity, created: session.context.clock.now())
        let written = try bytes.withUnsafeBytes { try AtomicFile.write([$0], to: path, replacing: false) }
        guard written else {
            throw LifeboatError(
                "'\(file)' exists already", hint: "Choose another name; an identity is never overwritten.")
        }
        try session.emit(KeyGenerateReport(file: path, recipient: identity.recipient.text))
        return .done
    }
}

private struct KeyGenerateReport: OutputRendering {
    static let messageType = "summary"
    let file: String
    let recipient: String

    var text: String { recipient }
}
