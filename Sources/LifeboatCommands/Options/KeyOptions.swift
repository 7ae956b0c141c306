// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatStorage

/// What opens an encrypted repository.
struct KeyOptions: ParsableArguments {
    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp(
            "File with the age identity that opens the repository (repeatable); else LIFEBOAT_IDENTITY.",
            valueName: "file"))
    var identity: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp(
            "File with the passphrase of the repository; else LIFEBOAT_PASSPHRASE_FILE.", valueName: "file"))
    var passphraseFile: String?

    /// The identities that were named, and those in the repository that `passphrase` opens; none on a host that only
    /// backs up.
    func identities(
        for store: any ObjectStore, passphrase: Secret?, _ session: CommandSession
    ) throws -> [AgeIdentity] {
        let context = session.context
        let files = identity.isEmpty ? context.variable("LIFEBOAT_IDENTITY").map { [$0] } ?? [] : identity
        var identities = try files.flatMap { try Self.identities($0, session) }
        if let passphrase {
            identities += try WrappedIdentity.open(passphrase, in: store)
        }
        return identities
    }

    /// The passphrase that was named; nil when none was.
    func passphrase(_ session: CommandSession) throws -> Secret? {
        guard let file = passphraseFile ?? session.context.variable("LIFEBOAT_PASSPHRASE_FILE") else { return nil }
        return try Self.secret(file, for: "passphrase of the repository", session)
    }

    /// Everything in an identity file, which only its owner should be able to read.
    private static func identities(_ file: String, _ session: CommandSession) throws -> [AgeIdentity] {
        let text = try secret(file, for: "identity", session)
        do throws(AgeError) {
            return try text.reveal { text throws(AgeError) in try AgeIdentityFile.parse(Array(text.utf8)) }
        } catch {
            throw error.lifeboatError.wrapped("cannot use the identity file '\(file)'")
        }
    }

    static func secret(_ file: String, for subject: String, _ session: CommandSession) throws -> Secret {
        let context = session.context
        let resolver = SecretResolver(
            environment: context.environment, runner: context.processRunner,
            warn: { [progress = session.progress] warning in progress.report(.warning(warning)) })
        return try resolver.resolve(.file(context.absolutePath(file)), for: subject)
    }
}
